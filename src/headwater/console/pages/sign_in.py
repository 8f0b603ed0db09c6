"""Signing in with an API key or a one-time link, and signing out."""

from functools import partial
from typing import Any

import structlog
from cryptography.fernet import InvalidToken
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from headwater.catalog import ended_sessions, keys, sign_in_links
from headwater.catalog.audit import Actor
from headwater.catalog.core.change_tracking import Changes
from headwater.catalog.keys import Key
from headwater.console import rendering, sessions
from headwater.console.oidc import SignInRefused
from headwater.console.routing import SIGN_IN, PageRoute, Pages
from headwater.console.services import ConsoleServices
from headwater.console.sessions import Session
from headwater.console.visits import Visit, is_secure, read_form, services_of, signed_in
from headwater.domain.errors import TooManyRequests, Unavailable
from headwater.domain.scope import Scope
from headwater.domain.task import Origin

log = structlog.get_logger(__name__)

pages = Pages()

HOME = "/console/"
#: What a browser keeps while somebody signs in at the identity provider, sealed; for so many seconds.
OIDC_COOKIE = "headwater_oidc"
_OIDC_PATH = "/console/oidc"
_OIDC_WITHIN = 900
_SEE_OTHER = 303
_WRONG_KEY = "This key is unknown or revoked. 'headwater keys list' on the server shows those that are valid."
_WRONG_LINK = (
    "This link was used before, or has expired: each works once. 'headwater console' on the server prints a new one."
)


async def sign_in(request: Request) -> Response:
    """Show the form, or take the key that it sends."""
    services = services_of(request)
    if request.method == "GET":
        after = _own_path(request.query_params.get("next"))
        if await signed_in(request) is not None:
            return RedirectResponse(f"{services.root}{after}", _SEE_OTHER)
        return _form(services, after=after)
    form = await read_form(request)
    after = _own_path(form.get("next"))
    if sessions.is_foreign(request):
        return _form(
            services, after=after, wrong="This form was sent by another site, so that nobody was signed in.", status=403
        )
    secret = form.get("key").strip()
    address = None if request.client is None else request.client.host
    try:
        services.logins.require(address, secret)
    except TooManyRequests as error:
        wrong = f"Too many wrong keys came from your address. Try again in {error.retry_after:.0f} s."
        return _form(services, after=after, wrong=wrong, status=429)
    key = await services.db.read(keys.find, secret, services.clock())
    # Pages show all there is: a key that is limited to some streams and crawlers is for the API.
    if key is None or key.reach is not None:
        services.logins.failed(address)
        return _form(services, after=after, wrong=_WRONG_KEY, status=401)
    services.logins.succeeded(secret)
    return await _begin(request, services, key, after)


async def enter(request: Request) -> Response:
    """Show whom a one-time link signs in, or use it: a link is used by its form alone, and not by a preview of it."""
    services = services_of(request)
    if request.method == "GET":
        return rendering.public(services.root, "enter.html", token=request.query_params.get("link", ""))
    form = await read_form(request)
    token = form.get("link")
    key = None
    if not sessions.is_foreign(request):
        key = await services.db.write(partial(sign_in_links.use, at=services.clock()), token)
    if key is None:
        return _form(services, after=HOME, wrong=_WRONG_LINK, status=401)
    return await _begin(request, services, key, HOME)


async def begin_oidc(request: Request) -> Response:
    """Lead to the identity provider."""
    services = services_of(request)
    after = _own_path(request.query_params.get("next"))
    if services.oidc is None:
        return _form(services, after=after, wrong="No identity provider is set (setting oidc_issuer).", status=404)
    try:
        begun = await services.oidc.begin()
    except (SignInRefused, Unavailable) as error:
        return _not_signed_in(services, error)
    response = RedirectResponse(begun.url, _SEE_OTHER)
    sealed = services.vault.seal({**begun.kept, "next": after, "began": services.clock().timestamp()})
    is_https = is_secure(request, services)
    response.set_cookie(
        OIDC_COOKIE,
        sealed,
        max_age=_OIDC_WITHIN,
        path=f"{services.root}{_OIDC_PATH}",
        secure=is_https,
        httponly=True,
        samesite="lax",
    )
    return response


async def finish_oidc(request: Request) -> Response:
    """Sign somebody in who comes back from the identity provider."""
    services = services_of(request)
    kept = _kept(request.cookies.get(OIDC_COOKIE), services)
    try:
        key = await _key_of_person(services, dict(request.query_params), kept)
    except (SignInRefused, Unavailable) as error:
        response = _not_signed_in(services, error)
    else:
        response = await _begin(request, services, key, _own_path(None if kept is None else kept["next"]))
    response.delete_cookie(OIDC_COOKIE, path=f"{services.root}{_OIDC_PATH}")
    return response


async def _key_of_person(services: ConsoleServices, answer: dict[str, str], kept: dict[str, str] | None) -> Key:
    """Return the key of whom the identity provider has named.

    Raises:
        SignInRefused: nobody has signed in, or may not come in.
        Unavailable: the provider does not answer.
    """
    at = services.clock()
    if services.oidc is None or kept is None:
        raise SignInRefused("This sign-in was not begun in this browser, or too long ago. Try again.")
    identity = await services.oidc.finish(answer, kept, at=at)
    person = f"{identity.issuer}\n{identity.subject}"
    until = at + sessions.IDLE
    key = await services.db.write(
        partial(keys.for_person, person=person, name=identity.name, scope=identity.scope, expires_at=until, at=at)
    )
    if key is None:
        raise SignInRefused(f"The access of {identity.name} was revoked.")
    return key


def _kept(cookie: str | None, services: ConsoleServices) -> dict[str, str] | None:
    try:
        found: Any = services.vault.unseal(cookie or "")
        is_fresh = 0 <= services.clock().timestamp() - found["began"] <= _OIDC_WITHIN
        return {name: str(found[name]) for name in ("state", "nonce", "verifier", "next")} if is_fresh else None
    except (InvalidToken, ValueError, KeyError, TypeError):
        return None


def _not_signed_in(services: ConsoleServices, error: SignInRefused | Unavailable) -> Response:
    refused = isinstance(error, SignInRefused)
    wrong = str(error) if refused else "The identity provider does not answer. Try again, or sign in with a key."
    if not refused:
        log.warning("oidc.unavailable", why=str(error))
    return _form(services, after=HOME, wrong=wrong, status=401 if refused else 503)


@pages.post("/sign-out", action="sign_out", about=None, needs=Scope.READ)
async def sign_out(visit: Visit) -> Response:
    """End the session: its cookie is deleted, and no copy of it is accepted any more."""
    session, root = visit.session, visit.services.root
    await visit.services.db.write(partial(ended_sessions.add, expires_at=session.ends_at, at=visit.at), session.csrf)
    response = RedirectResponse(f"{root}{SIGN_IN}", _SEE_OTHER)
    response.delete_cookie(sessions.COOKIE, path=f"{root}{sessions.PATH}")
    visit.session = visit.session.renewed(visit.at)  # so that it is not given anew
    return response


async def _begin(request: Request, services: ConsoleServices, key: Key, after: str) -> Response:
    at = services.clock()
    actor = Actor(
        clock=services.clock,
        key=key.fid,
        name=key.name,
        origin=Origin.CONSOLE,
        action="sign_in",
        object_type="keys",
        object_fid=key.fid,
        request_id=rendering.request_id_of(request),
    )
    await services.db.write(lambda tx: actor.record(tx, Changes()))
    response = RedirectResponse(f"{services.root}{after}", _SEE_OTHER)
    session, is_https = Session.begin(key.fid, at=at), is_secure(request, services)
    sessions.set_cookie(response, session, services.vault, root=services.root, is_secure=is_https)
    return response


def _form(services: ConsoleServices, *, after: str, wrong: str | None = None, status: int = 200) -> Response:
    has_oidc = services.oidc is not None
    return rendering.public(services.root, "sign_in.html", status=status, after=after, wrong=wrong, has_oidc=has_oidc)


def _own_path(given: str | None) -> str:
    """Return a path of the console to go to after signing in; anything else leads home."""
    if given is None or not given.startswith("/console/") or "\\" in given or given.startswith("/console/sign-"):
        return HOME
    return given


routes: list[Route] = [
    PageRoute("/console/sign-in", sign_in, methods=["GET", "POST"]),
    PageRoute("/console/oidc", begin_oidc, methods=["GET"]),
    PageRoute("/console/oidc/callback", finish_oidc, methods=["GET"]),
    PageRoute("/console/enter", enter, methods=["GET", "POST"]),
]
