"""Origins of web pages (RFC 6454): scheme, host and port."""

from urllib.parse import urlsplit

#: In a list of origins: every one.
ANY = "*"

_DEFAULT_PORTS = {"http": 80, "https": 443}


def is_origin(text: str) -> bool:
    """Return whether a text is an origin as browsers send it: scheme, host, and a port unless it is the default."""
    found = authority(text)
    if found is None:
        return False
    scheme, host, port = found
    named = f"[{host}]" if ":" in host else host
    return text == (f"{scheme}://{named}" if port == _DEFAULT_PORTS.get(scheme) else f"{scheme}://{named}:{port}")


def authority(url: str) -> tuple[str, str, int | None] | None:
    """Return scheme, host and port of a URL, the default port included; None if it has no host."""
    try:
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (parts.scheme, parts.hostname, port) if parts.scheme and parts.hostname else None
