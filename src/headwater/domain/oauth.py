"""OAuth at an EC: the login page, and the grant that results."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from headwater.domain.errors import NoLogin
from headwater.domain.external import CredentialType, External
from headwater.domain.json_limits import clean_text, unstorable
from headwater.domain.parameter import moment

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Larger numbers are milliseconds: as seconds they would be beyond the year 5000.
_MILLISECONDS = 10**11
#: No token was issued or expired before: a smaller number is a duration, or nonsense.
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
#: Maximum length of an EC's texts beside its token, in characters.
_LONGEST_TEXT = 1000
#: Fields of a grant for people: characters that cannot be stored are replaced in them, and refused in all others.
_FOR_PEOPLE = ("user", "reported_name", "email_address")


@dataclass(frozen=True, kw_only=True)
class Service:
    """The OAuth service of an External's EC."""

    #: Its base URL; its query is kept in each call.
    url: str
    #: Passed to the login page.
    parameters: dict[str, Any]
    #: Sent with each request to the EC; values are encrypted (see ``catalog/vault.py``).
    headers: dict[str, Any]

    def login_url(self, uuid: str, *, reset: bool) -> str:
        """Return the URL of the login page; ``reset`` asks the EC to log out its current user."""
        flags = [("reset", "true")] if reset else []
        own = [pair for pair in _pairs(self.parameters) if pair[0] not in {"uuid", "reset"}]
        return _below(self.url, "/login", [("uuid", uuid), *own, *flags])

    def token_url(self, uuid: str) -> str:
        """Return the URL at which the EC gives the token of a login, and revokes it."""
        tenant = {"subdomain": self.parameters.get("subdomain")}
        return _below(self.url, "/token", [("uuid", uuid), *_pairs(tenant)])


@dataclass(frozen=True, kw_only=True)
class Grant:
    """An EC's answer to a completed login."""

    #: All of it, unchanged: crawlers are started with it.
    given: dict[str, Any] = field(repr=False)
    user: str | None
    #: The EC's display name for the person.
    reported_name: str | None
    email_address: str | None
    issued_at: datetime | None
    #: When the token expires; None if it does not.
    expires_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Credential:
    """A stored login at an EC, for crawlers to use."""

    fid: str
    external: str
    #: The hash of the login's uuid: anyone with the uuid itself can get the token from the EC.
    login_digest: str
    #: ``{uuid, url, given}``, encrypted: the login, the URL of its token, and the EC's grant.
    sealed: str = field(repr=False)
    user: str | None
    reported_name: str | None
    email_address: str | None
    issued_at: datetime | None
    expires_at: datetime | None
    created_at: datetime
    #: When its token was last fetched.
    renewed_at: datetime

    def is_expired(self, *, at: datetime) -> bool:
        """Whether its token has expired by then."""
        return self.expires_at is not None and self.expires_at <= at


def service_of(external: External) -> Service:
    """Return the OAuth service of an External.

    Raises:
        NoLogin: it has no logins.
    """
    definition = external.definition
    wanted = definition.credential
    if wanted is not CredentialType.OAUTH:
        raise NoLogin(
            f"External {external.name!r} has the credential {wanted or 'null'}, so that nobody logs in at its "
            f'crawler; set "credential": "oauth" and "oauth" (version {external.version} is in question)'
        )
    if definition.oauth is None:
        raise NoLogin(
            f'External {external.name!r} does not say where a person logs in; set "oauth" to the URL of its '
            f"crawler's OAuth service (version {external.version} is in question)"
        )
    given: Any = definition.oauth_parameters
    parameters = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
    return Service(url=definition.oauth, parameters=parameters, headers=definition.headers)


def read_grant(answer: Any) -> Grant:
    """Parse an EC's grant, ``{user, token, expiry, issued, reported_name?, email_address?}``.

    It may be in an envelope, as an EC's other answers.

    Raises:
        ValueError: it is unusable; the text says why, without quoting the answer.
    """
    found = _object(answer)
    if "token" not in found and "payload" in found:
        found = _object(found["payload"])
    for_people = {name: clean_text(found[name]) for name in _FOR_PEOPLE if isinstance(found.get(name), str)}
    found = {**found, **for_people}
    fault = unstorable(found)
    if fault is not None:
        raise ValueError(fault)
    if not isinstance(found.get("token"), str) or not found["token"]:
        raise ValueError("token: expected a text that is not empty")
    return Grant(
        given=found,
        user=_text(found, "user"),
        reported_name=_text(found, "reported_name"),
        email_address=_text(found, "email_address"),
        issued_at=_moment(found, "issued"),
        expires_at=_moment(found, "expiry"),
    )


def _object(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return cast("dict[str, Any]", value)
    raise ValueError('expected an object, {"user", "token", "expiry", "issued"}')


def _text(given: dict[str, Any], name: str) -> str | None:
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name}: expected a text, or null")
    if value is not None and len(value) > _LONGEST_TEXT:
        raise ValueError(f"{name}: longer than {_LONGEST_TEXT} characters")
    return value


def _moment(given: dict[str, Any], name: str) -> datetime | None:
    value = given.get(name)
    if value is None:
        return None
    found: datetime | None = None
    with contextlib.suppress(OverflowError):
        found = _named_moment(value)
    if found is None:
        raise ValueError(f"{name}: expected an RFC 3339 moment, or seconds or milliseconds since 1970, or null")
    if found < _EARLIEST:
        raise ValueError(f"{name}: names a moment before the year 2000; expected a moment, and no duration")
    return found


def _named_moment(value: Any) -> datetime | None:
    if isinstance(value, str) and len(value) > len("2026-01-31"):  # longer than a date
        named = moment(value)
        return None if named is None else named.astimezone(UTC)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _EPOCH + timedelta(seconds=value / 1000 if value >= _MILLISECONDS else value)
    return None


def _below(base: str, path: str, pairs: list[tuple[str, str]]) -> str:
    parts = urlsplit(base)
    query = "&".join(filter(None, [parts.query, urlencode(pairs, quote_via=quote, safe="")]))
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/") + path, query, ""))


def _pairs(parameters: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield parameters as query parameters: an array repeats its name, an object is JSON, null is omitted."""
    for name, value in parameters.items():
        for each in cast("list[Any]", value) if isinstance(value, list) else [value]:
            if each is not None:
                yield name, each if isinstance(each, str) else json.dumps(each, separators=(",", ":"))
