"""The directory of the workers' Prometheus files: deleted when the server stops, or by the next one after a crash."""

import fcntl
import shutil
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from headwater.lake.scratch import held

_PREFIX = "headwater-metrics-"
#: Age in seconds at which an unlocked directory is stale, and not just about to be locked.
_LEFT_BEHIND = 60.0


@contextmanager
def counts() -> Generator[Path]:
    """Create and lock such a directory, and delete it on exit; first delete those of killed servers."""
    _sweep()
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as folder, held(Path(folder)):
        yield Path(folder)


def _sweep() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # It may be locked, belong to another user, or be deleted by another server at the same time.
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > _LEFT_BEHIND:
                with held(folder, fcntl.LOCK_NB):
                    shutil.rmtree(folder, ignore_errors=True)
