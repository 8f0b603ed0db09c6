"""A visit of a page: who is signed in, and what the URL and the form say."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TypeVar
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from headwater.catalog import ended_sessions, keys
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.keys import Key
from headwater.console import sessions
from headwater.console.services import ConsoleServices
from headwater.console.sessions import Session
from headwater.domain.scope import Scope

T = TypeVar("T")

#: The parameter of the query of a page that is to wait for what it shows.
WAIT = "wait"
#: A notice that the next page shows once, sealed.
NOTICE = "headwater_notice"
_SEE_OTHER = 303


class Form:
    """The fields of a form, or of a query."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Take the fields in order; several may have one name."""
        self.pairs = [(name, value) for name, value in pairs]

    def get(self, name: str, unless: str = "") -> str:
        """Return the last value of a field."""
        return next((value for given, value in reversed(self.pairs) if given == name), unless)

    def all(self, name: str) -> list[str]:
        """Return the values of a field, without empty ones."""
        return [value for given, value in self.pairs if given == name and value]

    def whole(self, name: str) -> int | None:
        """Return the value of a field as a number of at most 15 digits; None if it is none."""
        text = self.get(name).strip()
        return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else None  # noqa: PLR2004 - JSON's

    def __contains__(self, name: str) -> bool:
        """Return whether a field was sent."""
        return any(given == name for given, _ in self.pairs)


@dataclass(kw_only=True)
class Visit:
    """One request of somebody who is signed in."""

    request: Request
    services: ConsoleServices
    session: Session
    key: Key
    #: When it came.
    at: datetime
    form: Form = field(default_factory=lambda: Form([]))
    #: What the page before left to say.
    notice: str | None = None

    @cached_property
    def query(self) -> Form:
        """The query of the URL."""
        return Form(self.request.query_params.multi_items())

    @property
    def fid(self) -> str:
        """The object that the path names."""
        return self.request.path_params["fid"]

    @property
    def stream(self) -> str | None:
        """The stream whose page this is, or whose document's; None of other pages."""
        is_of_stream = self.request.url.path.startswith("/console/streams/")
        return self.request.path_params.get("fid") if is_of_stream else None

    @property
    def is_partial(self) -> bool:
        """Whether a part of a page is asked for, by htmx."""
        return self.request.headers.get("hx-request") == "true"

    def allows(self, scope: str) -> bool:
        """Whether the key has a scope."""
        return self.key.allows(Scope(scope))

    def here(self, **changed: str | Sequence[str] | None) -> str:
        """Return the URL of this page with parameters changed; None removes one, and the cursor never stays.

        Like all URLs outside of templates and answers, it is one of the server, without the path of a proxy.
        """
        kept = [(name, value) for name, value in self.query.pairs if name not in {*changed, "after", WAIT}]
        for name, value in changed.items():
            kept += [(name, each) for each in ([value] if isinstance(value, str) else value or [])]
        return f"{self.request.url.path}?{urlencode(kept)}" if kept else self.request.url.path

    @property
    def rest_url(self) -> str:
        """The URL of this page that waits for all it shows."""
        after = {"after": self.query.get("after")} if "after" in self.query else {}
        return self.here(**{WAIT: "yes"}, **after)

    async def deferred(self, work: Callable[[], Awaitable[T]], *, is_dialog: bool = False) -> T | None:
        """Return the result of some work; None if it takes long, and the page is to come without it.

        The browser then asks for the page again, by htmx or by ``rest_url``, and that request waits. A dialog is asked
        for by htmx from the start, and again by ``rest_url``.
        """
        pairs = [pair for pair in self.query.pairs if pair[0] != WAIT]
        name = f"{self.key.fid} {self.request.url.path} {pairs}"
        waits = WAIT in self.query or (self.is_partial and not is_dialog)
        return await self.services.deferred.result(name, work, waits=waits)

    def go(self, url: str, *, notice: str | None = None) -> Response:
        """Return the answer to a change: another page, which shows a notice once."""
        response = RedirectResponse(f"{self.services.root}{url}", _SEE_OTHER)
        if notice is not None:
            response.set_cookie(
                NOTICE,
                self.services.vault.seal(notice[:1000]),
                max_age=60,
                path=f"{self.services.root}{sessions.PATH}",
                secure=is_secure(self.request, self.services),
                httponly=True,
                samesite="lax",
            )
        return response


def services_of(request: Request) -> ConsoleServices:
    """Return the services of the application."""
    return request.app.state.console


def is_secure(request: Request, services: ConsoleServices) -> bool:
    """Whether the browser reaches the server by https, so that cookies are for https alone."""
    return request.url.scheme == "https" or services.is_behind_tls


async def signed_in(request: Request) -> tuple[Session, Key] | None:
    """Return the session of a request and its key; None if there is none, or it has ended."""
    services = services_of(request)
    session = sessions.unsealed(request.cookies.get(sessions.COOKIE), services.vault)
    if session is None or session.is_over(services.clock()):
        return None
    at = services.clock()

    def read(tx: Transaction) -> Key | None:
        # All cookies of a session have the same token.
        return None if ended_sessions.holds(tx, session.csrf) else keys.valid(tx, session.key, at)

    key = await services.db.read(read)
    # A key that was limited meanwhile is for the API alone: pages show all there is.
    return None if key is None or key.reach is not None else (session, key)


async def read_form(request: Request) -> Form:
    """Return the fields of a form."""
    body = (await request.body()).decode("utf-8", "replace")
    return Form(parse_qsl(body, keep_blank_values=True, max_num_fields=5000))
