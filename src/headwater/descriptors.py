"""File descriptor limits, and how many connections they allow."""

import resource
from contextlib import suppress
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

#: Upper bound when raising the limit: some programs get slower with it.
HIGHEST_LIMIT = 65_536
#: Reserved for the database, for files being read, and for calls to crawlers and webhooks.
RESERVE = 32
#: An upload or an export has a file open besides its connection.
PER_CONNECTION = 2
#: Minimum number of connections, however few descriptors there are.
LEAST_CONNECTIONS = 8


def raise_limit() -> None:
    """Raise this process's soft limit to the hard limit: the usual soft limit is far too low for a server."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = HIGHEST_LIMIT if hard == resource.RLIM_INFINITY else min(hard, HIGHEST_LIMIT)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # some systems report a hard limit that they do not grant
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def connections(wanted: int) -> int:
    """Return how many connections this process can hold, at most ``wanted``; call it once all files are open."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return wanted
    possible = max((limit - _open() - RESERVE) // PER_CONNECTION, LEAST_CONNECTIONS)
    if possible < wanted:
        log.warning("connections.limited", connections=possible, max_connections=wanted, descriptors=limit)
    return min(possible, wanted)


def _open() -> int:
    for folder in ("/proc/self/fd", "/dev/fd"):
        with suppress(OSError):
            return len(list(Path(folder).iterdir()))
    return 2 * RESERVE
