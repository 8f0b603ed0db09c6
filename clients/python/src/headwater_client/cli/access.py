"""Selects the server and the API key of a command: from options, environment or login."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from headwater_client.cli.errors import CliError, ExitCode
from headwater_client.cli.logins import Logins

if TYPE_CHECKING:
    from headwater_client.headwater import Headwater

URL = "HEADWATER_URL"
KEY = "HEADWATER_KEY"
DEFAULT_URL = "http://127.0.0.1:8080"
#: User-Agent by which the server recognizes tasks started from the command line.
USER_AGENT = f"headwater-cli/{version('headwater-client')} (python)"
#: Content types of Headwater's responses.
ANSWERS = {
    "application/json",
    "application/x-ndjson",
    "text/csv",
    "text/event-stream",
    "application/vnd.apache.parquet",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
#: Seconds for which a failed call is retried; short, since a person is waiting.
RETRY_FOR = 3.0


@dataclass(frozen=True)
class Access:
    """A server's URL and an API key for it."""

    url: str
    key: str


def access(url: str | None) -> Access:
    """Return the server and key: as given, from the environment, or from the login.

    Raises:
        CliError: the URL is invalid, or there is no key for it.
    """
    logins = Logins.read()
    at = selected_url(url, logins)
    # A key is sent only to the server that its owner logged in to, or set it in the environment for.
    key = os.environ.get(KEY) or logins.keys.get(at)
    if not key:
        raise CliError(
            f"there is no key for {at}: 'headwater login {at}' keeps one, or set {KEY} (and {URL}); "
            "the first key of a server is in its data directory, admin.key",
            code=ExitCode.NOT_ALLOWED,
        )
    return Access(at, key)


def selected_url(url: str | None, logins: Logins | None = None) -> str:
    """Return the server's URL: as given, from the environment, or from the login.

    Raises:
        CliError: it is invalid.
    """
    return checked(url or os.environ.get(URL) or (logins or Logins.read()).present or DEFAULT_URL)


def checked(url: str) -> str:
    """Return a URL without a trailing slash.

    Raises:
        CliError: it is invalid.
    """
    parts = urlsplit(url.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise CliError(
            f"{url!r} is no URL of a Headwater: expected one like https://headwater.example.org", code=ExitCode.USAGE
        )
    if parts.username is not None:
        raise CliError("a URL holds no user or key: 'headwater login' asks for the key", code=ExitCode.USAGE)
    return url.strip().rstrip("/")


def connected(url: str | None) -> Headwater:
    """Return a client for the selected server.

    Raises:
        CliError: the URL is invalid, or there is no key for it.
    """
    return opened(access(url))


def opened(settled: Access, *, retry_for: float = RETRY_FOR) -> Headwater:
    """Return a client."""
    import httpx  # noqa: PLC0415 - help need not wait for it

    from headwater_client.headwater import Headwater  # noqa: PLC0415 - likewise

    def require_headwater(answer: httpx.Response) -> None:
        kind = answer.headers.get("content-type", "").partition(";")[0]
        if answer.is_success and kind not in ANSWERS:
            raise CliError(f"{settled.url} answers {kind or 'nothing'}: it is no Headwater, or not its URL")

    try:
        headwater = Headwater(settled.url, settled.key, retry_for=retry_for, user_agent=USER_AGENT)
    except (httpx.InvalidURL, UnicodeEncodeError) as error:
        raise CliError(f"{settled.url} or its key cannot be used: {error}", code=ExitCode.USAGE) from error
    headwater.driver.client.event_hooks["response"] = [require_headwater]
    return headwater
