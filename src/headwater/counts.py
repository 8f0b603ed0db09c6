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
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as folder, _held(Path(folder)):
        yield Path(folder)


def _sweep() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # A server may hold it, it may be another user's, or another server may sweep at the same time.
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > _LEFT_BEHIND:
                with _held(folder, fcntl.LOCK_NB):
                    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _held(folder: Path, how: int = 0) -> Generator[None]:
    """Hold a folder; the kernel lets go of it when we end, also by kill -9.

    Raises:
        BlockingIOError: another holds it, and ``how`` is ``LOCK_NB``.
    """
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | how)
        yield
    finally:
        os.close(held)
