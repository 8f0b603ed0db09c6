"""Lock of the data directory: one server at a time on an embedded database, unless several are allowed."""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

from headwater.settings import Settings

log = structlog.get_logger(__name__)

FILE = "server.lock"


class DataInUse(Exception):
    """Another server uses the data directory."""


@contextmanager
def held(settings: Settings) -> Generator[None]:
    """Lock the data directory for this server; the system releases the lock when the process ends in any way.

    Commands, and the workers of a server, do not take the lock.

    Raises:
        DataInUse: another server holds it, or it cannot be used.
    """
    if not settings.is_embedded or settings.shared_data:
        yield
        return
    file = settings.data / FILE
    try:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise DataInUse(f"the data directory {settings.data} cannot be used: {error.strerror}") from error
    try:
        _lock(handle, file)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, file: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
        raise DataInUse(
            f"another server (process {holder}) uses the data directory {file.parent}; stop that one, choose another "
            "directory with --data, or set HEADWATER_SHARED_DATA=true for both if they are to share it"
        ) from error
    except OSError as error:  # not every file system supports locks
        log.warning("data.not_locked", file=str(file), reason=error.strerror)
        return
    with suppress(OSError):  # on a full disk, the lock still works
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
