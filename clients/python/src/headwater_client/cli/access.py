"""Which Headwater a command talks to, and with which key."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from headwater_client.cli.endings import Code, Refusal
from headwater_client.cli.logins import Logins

if TYPE_CHECKING:
    from headwater_client.headwater import Headwater

URL = "HEADWATER_URL"
KEY = "HEADWATER_KEY"
DEFAULT_URL = "http://127.0.0.1:8080"
#: Tells the server that a task was started from the command line.
USER_AGENT = f"headwater-cli/{version('headwater-client')} (python)"
#: What a Headwater answers with.
ANSWERS = {
    "application/json",
    "application/x-ndjson",
    "text/csv",
    "text/event-stream",
    "application/vnd.apache.parquet",
}
#: Seconds for which a call is tried again: somebody is looking at an empty line.
PATIENCE = 3.0


@dataclass(frozen=True)
class Access:
    """A Headwater, and a key for it."""

    url: str
    key: str


def access(url: str | None) -> Access:
    """Return where Headwater is, and with which key: as given, of the environment, of the login.

    Raises:
        Refusal: the URL is none, or there is no key for it.
    """
    logins = Logins.read()
    at = checked(url or os.environ.get(URL) or logins.present or DEFAULT_URL)
    # A key is sent nowhere but where its owner logged in with it, or has put it into the environment for.
    key = os.environ.get(KEY) or logins.keys.get(at)
    if not key:
        raise Refusal(
            f"there is no key for {at}: 'headwater login {at}' keeps one, or set {KEY} (and {URL}); "
            "the first key of a server is in its data directory, admin.key",
            code=Code.NOT_ALLOWED,
        )
    return Access(at, key)


def checked(url: str) -> str:
    """Return a URL without a slash at its end.

    Raises:
        Refusal: it is none.
    """
    parts = urlsplit(url.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise Refusal(
            f"{url!r} is no URL of a Headwater: expected one like https://headwater.example.org", code=Code.USAGE
        )
    if parts.username is not None:
        raise Refusal("a URL holds no user or key: 'headwater login' asks for the key", code=Code.USAGE)
    return url.strip().rstrip("/")


def connected(url: str | None) -> Headwater:
    """Return the Headwater to talk to.

    Raises:
        Refusal: it is not said which, or there is no key for it.
    """
    return opened(access(url))


def opened(settled: Access, *, patience: float = PATIENCE) -> Headwater:
    """Return a Headwater, with a key."""
    import httpx  # noqa: PLC0415 - help need not wait for it

    from headwater_client.headwater import Headwater  # noqa: PLC0415 - likewise

    def require_headwater(answer: httpx.Response) -> None:
        kind = answer.headers.get("content-type", "").partition(";")[0]
        if answer.is_success and kind not in ANSWERS:
            raise Refusal(f"{settled.url} answers {kind or 'nothing'}: it is no Headwater, or not its URL")

    try:
        headwater = Headwater(settled.url, settled.key, patience=patience, user_agent=USER_AGENT)
    except (httpx.InvalidURL, UnicodeEncodeError) as error:
        raise Refusal(f"{settled.url} or its key cannot be used: {error}", code=Code.USAGE) from error
    headwater.driver.client.event_hooks["response"] = [require_headwater]
    return headwater
