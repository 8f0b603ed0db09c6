"""Routes of pages: who may see what, and which change is whose in the audit.

A page is a function that takes a visit. It is declared with the scope that it needs; one that changes something also
with its action, by the name that the audit and the API have for it.
"""

import hmac
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Match, Route
from starlette.types import Scope as AsgiScope

from headwater.catalog.audit import Actor
from headwater.catalog.core.change_tracking import AUDIT_RECORDER
from headwater.console import rendering, sessions
from headwater.console.services import ConsoleServices
from headwater.console.visits import NOTICE, Visit, is_secure, read_form, services_of, signed_in
from headwater.domain.errors import HeadwaterError, NotAllowed
from headwater.domain.scope import Scope
from headwater.domain.task import Origin

log = structlog.get_logger(__name__)

#: The header by which htmx sends the token.
CSRF_HEADER = "x-csrf-token"
SIGN_IN = "/console/sign-in"
_SEE_OTHER = 303

Handler = Callable[[Visit], Awaitable[Response]]


class PageRoute(Route):
    """A route that tells the metrics and the log its template, and not its path."""

    def matches(self, scope: AsgiScope) -> tuple[Match, AsgiScope]:
        """Return whether the path and the method match."""
        match, child = super().matches(scope)
        return match, {**child, "route": self} if match is not Match.NONE else child


class Pages:
    """The pages of a module."""

    def __init__(self) -> None:
        """Begin without any."""
        self.routes: list[Route] = []

    def get(self, path: str, *, needs: Scope = Scope.READ) -> Callable[[Handler], Handler]:
        """Declare a page."""
        return self._declare(path, "GET", needs, None, None)

    def post(
        self, path: str, *, action: str, about: str | None, needs: Scope = Scope.WRITE
    ) -> Callable[[Handler], Handler]:
        """Declare what a form does: the action's name in the audit, and the type of the object that the path names."""
        return self._declare(path, "POST", needs, action, about)

    def _declare(
        self, path: str, method: str, needs: Scope, action: str | None, about: str | None
    ) -> Callable[[Handler], Handler]:
        def declare(handler: Handler) -> Handler:
            async def endpoint(request: Request) -> Response:
                return await _visited(request, handler, needs, action, about)

            self.routes.append(PageRoute(f"/console{path}", endpoint, methods=[method], name=handler.__name__))
            return handler

        return declare


async def _visited(request: Request, handler: Handler, needs: Scope, action: str | None, about: str | None) -> Response:
    services = services_of(request)
    found = await signed_in(request)
    if found is None:
        return _to_sign_in(request, services.root)
    session, key = found
    visit = Visit(request=request, services=services, session=session, key=key, at=services.clock())
    try:
        services.acquire(key)
        _require_scope(visit, needs)
        if action is not None:
            visit.form = await read_form(request)
            require_own(visit)
            AUDIT_RECORDER.set(actor_of(visit, action, about, visit.request.path_params.get("fid")))
        else:
            visit.notice = _notice(request, services)
        response = await handler(visit)
    except HeadwaterError as error:
        response = rendering.failed(visit, error)
    except Exception:
        log.exception("console.failed", page=handler.__name__)
        response = rendering.broken(visit)
    _keep_session(visit, response)
    return response


def _require_scope(visit: Visit, needs: Scope) -> None:
    if not visit.key.allows(needs):
        scopes = ", ".join(visit.key.scopes)
        raise NotAllowed(f"your key {visit.key.name!r} has the scope {scopes}; this needs {needs}")


def _keep_session(visit: Visit, response: Response) -> None:
    services = visit.services
    if visit.session.is_to_be_rotated(visit.at):
        renewed = visit.session.renewed(visit.at)
        is_https = is_secure(visit.request, services)
        sessions.set_cookie(response, renewed, services.vault, root=services.root, is_secure=is_https)
    if visit.notice is not None:
        response.delete_cookie(NOTICE, path=f"{services.root}{sessions.PATH}")


def _to_sign_in(request: Request, root: str) -> Response:
    if request.headers.get("hx-request") == "true":
        return Response("", 401, headers={"HX-Redirect": f"{root}{SIGN_IN}"})
    back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    asked = urlencode({"next": back}) if request.method == "GET" and back != "/console/" else ""
    return RedirectResponse(f"{root}{SIGN_IN}?{asked}" if asked else f"{root}{SIGN_IN}", _SEE_OTHER)


def require_own(visit: Visit) -> None:
    """Raise unless a form comes from a page of this session.

    Raises:
        NotAllowed: it does not.
    """
    given = visit.request.headers.get(CSRF_HEADER) or visit.form.get("csrf")
    is_ours = hmac.compare_digest(given.encode(), visit.session.csrf.encode())
    if not is_ours or sessions.is_foreign(visit.request):
        raise NotAllowed(
            "this form does not come from a page of your present session, so that nothing was changed; "
            "go back, load the page again, and repeat what you did"
        )


def actor_of(visit: Visit, action: str, about: str | None, fid: str | None) -> Actor:
    """Return whose a change of an object is in the audit."""
    return Actor(
        clock=visit.services.clock,
        key=visit.key.fid,
        name=visit.key.name,
        origin=Origin.CONSOLE,
        action=action,
        object_type=about,
        object_fid=fid,
        request_id=rendering.request_id_of(visit.request),
    )


def _notice(request: Request, services: ConsoleServices) -> str | None:
    sealed = request.cookies.get(NOTICE)
    if sealed is None:
        return None
    try:
        found: Any = services.vault.unseal(sealed)
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it is only a notice
        return None
    return found if isinstance(found, str) else None
