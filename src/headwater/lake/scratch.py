"""Folders that belong to one living process: locked by it, and deleted by any process once they are unlocked."""

import fcntl
import os
import secrets
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)


@contextmanager
def held(folder: Path, how: int = 0) -> Generator[None]:
    """Lock a folder; the kernel releases the lock when the process ends, also by kill -9.

    Raises:
        BlockingIOError: another process has locked it, and ``how`` is ``LOCK_NB``.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | how)
        yield
    finally:
        os.close(handle)


@contextmanager
def scratch_folder(root: Path) -> Generator[Path]:
    """Create and lock a folder in ``root``, and delete it at the end; folders of dead processes are deleted first.

    If it cannot be created, on a full disk for example, its path is returned nevertheless: writing to it fails.
    """
    folder = root / secrets.token_hex(8)
    holding = held(folder)
    is_held = False
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A new folder is not locked yet: the lock on the root keeps other processes from deleting it.
        with held(root):
            _delete_abandoned(root)
            folder.mkdir(mode=0o700)
            holding.__enter__()
            is_held = True
    except OSError as error:
        log.warning("scratch.no_folder", folder=str(folder), why=error.strerror)
    try:
        yield folder
    finally:
        if is_held:
            shutil.rmtree(folder, ignore_errors=True)
            holding.__exit__(None, None, None)


def _delete_abandoned(root: Path) -> None:
    for found in root.iterdir():
        with suppress(OSError):  # locked by a living process, or owned by another user
            if found.is_dir() and not found.is_symlink():
                with held(found, fcntl.LOCK_NB):
                    shutil.rmtree(found, ignore_errors=True)
            else:
                found.unlink()  # from a release without a folder for each process
