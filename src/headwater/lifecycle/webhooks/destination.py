"""Where a webhook may lead, and the events that it may want."""

import ipaddress
from urllib.parse import urlsplit

from headwater.domain.errors import Flaw, RequestInvalid
from headwater.domain.event import TYPES, WORDS
from headwater.lifecycle.ssrf_guard import not_public

#: Maximum number of characters of a URL.
LONGEST_URL = 2048
#: Valid event types: exact ones, and all types of an object.
KNOWN_TYPES: list[str] = [*sorted(TYPES), *(f"{kind}.*" for kind in WORDS)]


def checked_type(text: str) -> str:
    """Return a type of events.

    Raises:
        ValueError: there is none such.
    """
    if text not in KNOWN_TYPES:
        raise ValueError(f"there is no such event; there are {', '.join(KNOWN_TYPES)}")
    return text


def checked_url(text: str) -> str:
    """Return the URL of a webhook.

    Raises:
        ValueError: it has not the form of one.
    """
    try:
        parts = urlsplit(text)
        is_whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise ValueError("it is no URL") from None
    if parts.scheme not in {"http", "https"} or not is_whole:
        raise ValueError("a whole URL is expected, https://example.org/hook")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("a URL without user, password and fragment is expected; the signature says who sends")
    if len(text) > LONGEST_URL or not text.isprintable() or " " in text:
        raise ValueError(f"a URL of {LONGEST_URL} printable characters at most is expected")
    return text


def require_public(url: str) -> None:
    """Raise if a URL has a private address; the addresses of a name are checked on delivery.

    Raises:
        RequestInvalid: it has one, or is not https.
    """
    parts = urlsplit(url)
    detail = None if parts.scheme == "https" else "only https is sent to"
    try:
        objection = not_public(ipaddress.ip_address(parts.hostname or ""))
    except ValueError:
        objection = None  # a host name
    if objection is not None:
        detail = f"{parts.hostname} is {objection}, which is not called"
    if detail is not None:
        detail += "; the setting webhook_private_addresses allows it"
        raise RequestInvalid(detail, flaws=[Flaw(pointer="/url", detail=detail)])
