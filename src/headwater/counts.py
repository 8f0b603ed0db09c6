"""The folder in whose files the workers of a server count for Prometheus: gone with the server, however it ended."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "headwater-metrics-"
#: Seconds after which a folder that nobody holds was left behind, and is not about to be held.
_LEFT_BEHIND = 60.0


@contextmanager
def counts() -> Generator[Path]:
    """Make such a folder, hold it, and delete it in the end; those of servers that were killed are deleted first."""
    _sweep()
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as folder:
        held = os.open(folder, os.O_RDONLY)
        try:
            # The kernel lets go of it when we end, also by kill -9.
            fcntl.flock(held, fcntl.LOCK_EX)
            yield Path(folder)
        finally:
            os.close(held)


def _sweep() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # It may be another user's, or another server may sweep at the same time.
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > _LEFT_BEHIND and not _is_held(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _is_held(folder: Path) -> bool:
    looking = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(looking, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(looking)
