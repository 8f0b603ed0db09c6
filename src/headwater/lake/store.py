"""The interface of a store of immutable files, and the store that is a local directory.

A file is complete and durable, or absent. Programs that read files (DuckDB, Arrow) read them from a local folder: that
of the store, or its cache if the files are in an object store.
"""

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import structlog

from headwater.lake.segment_cache import CacheCounts

log = structlog.get_logger(__name__)

#: Files being written; what a crash leaves here is garbage.
STAGING = "staging"
#: Files that the catalog may name.
STREAMS = "streams"

#: Bytes written to test for free space.
_PROBE = 4096
#: Bytes of a file that are read at a time.
_BLOCK = 1 << 20


class Store(Protocol):
    """Immutable files. Paths are relative, with ``/``; none is ever used for two different files."""

    #: The local folder below which all files can be read while they are held by ``reading``.
    root: Path
    #: Whether the catalog has to know the path of a file before it is kept, since the store cannot be searched for
    #: files that nothing names.
    is_remote: bool

    @property
    def staging(self) -> Path:
        """The local folder of files being written."""
        ...

    def stage(self, name: str) -> Path:
        """Return where to write a file of that name before ``keep``."""
        ...

    def keep(self, staged: Path, path: str) -> None:
        """Move a file from ``staged`` to its path; it is durable when this returns.

        Raises:
            OSError: it cannot be stored; nothing is at the path then, or it is garbage.
        """
        ...

    def reading(self, paths: Sequence[str]) -> AbstractContextManager[None]:
        """Hold local copies of files, so that ``locate`` leads to them until the end of the block.

        Raises:
            OSError: one of them is missing or cannot be read.
        """
        ...

    def locate(self, path: str) -> str:
        """Return a file's location, for libraries that read it themselves."""
        ...

    def status(self, path: str) -> tuple[int, int, int, int, int]:
        """Return device, inode, size, mtime and ctime (in ns) of a file; a write through the file system changes them.

        Raises:
            OSError: it is missing or unreadable.
        """
        ...

    def blocks(self, path: str) -> Iterator[memoryview]:
        """Yield the bytes of a file; each block is valid until the next one.

        Raises:
            OSError: it is missing or unreadable.
        """
        ...

    def original(self, path: str) -> AbstractContextManager[Path]:
        """Return a file as the lake has it, past all copies, until the end of the block.

        Raises:
            OSError: it is missing or unreadable.
        """
        ...

    def renew(self, path: str) -> bool:
        """Replace a damaged local copy of a file; return False if there is no other copy.

        Raises:
            OSError: the other copy is missing or unreadable.
        """
        ...

    def delete(self, path: str) -> None:
        """Delete a file; one that is already deleted is fine."""
        ...

    def delete_all(self, paths: Sequence[str]) -> list[str]:
        """Delete files, and return those that are gone; the others could not be deleted."""
        ...

    def garbage(self, *, before: datetime) -> Iterator[str]:
        """Yield the paths of staged files that were not written to since ``before``."""
        ...

    def discard_staged(self, path: str) -> None:
        """Delete a file that ``garbage`` yielded."""
        ...

    def kept(self, *, before: datetime) -> Iterator[str]:
        """Yield the paths of kept files that were written before a time; none if the store is remote."""
        ...

    def copies(self) -> list[str]:
        """Return the paths of files of which there are copies that ``delete`` elsewhere does not remove."""
        ...

    def discard_copy(self, path: str) -> None:
        """Delete the local copy of a file."""
        ...

    @property
    def cache_counts(self) -> CacheCounts:
        """How often this process found a local copy."""
        ...

    def check(self) -> None:
        """Raise unless files can be written and read.

        Raises:
            OSError: they cannot.
        """
        ...


class LocalStore:
    """A directory of immutable files."""

    is_remote = False

    def __init__(self, root: Path) -> None:
        """Use the directory, and create it if needed.

        Raises:
            ValueError: its name would be read as a glob pattern.
        """
        self.root = root.resolve()
        if set(str(self.root)) & set("*?["):
            raise ValueError(f"{self.root} cannot hold the lake: readers take *, ? and [ in a path for a pattern")
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (STAGING, STREAMS):
            (self.root / folder).mkdir(mode=0o700, exist_ok=True)

    @contextmanager
    def reading(self, paths: Sequence[str]) -> Generator[None]:
        """Do nothing: files stay where they are."""
        del paths
        yield

    @contextmanager
    def original(self, path: str) -> Generator[Path]:
        """Return the file itself."""
        yield self.root / path

    def renew(self, path: str) -> bool:
        """Return False: there is one copy of each file."""
        del path
        return False

    def locate(self, path: str) -> str:
        """Return a file's location, for libraries that read it themselves."""
        return str(self.root / path)

    def status(self, path: str) -> tuple[int, int, int, int, int]:
        """Return device, inode, size, mtime and ctime (in ns) of a file; a write through the file system changes them.

        Raises:
                OSError: it is missing or unreadable.
        """
        found = os.stat(f"{self.root}/{path}")  # noqa: PTH116 - for each file of each read: a Path costs twice as much
        return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    def blocks(self, path: str) -> Iterator[memoryview]:
        """Yield the bytes of a file; each block is valid until the next one.

        Raises:
                OSError: it is missing or unreadable.
        """
        return blocks_of(self.root / path)

    @property
    def staging(self) -> Path:
        """The folder of files being written."""
        return self.root / STAGING

    def stage(self, name: str) -> Path:
        """Return where to write a file of that name before ``keep``."""
        return self.root / STAGING / name

    def keep(self, staged: Path, path: str) -> None:
        """Move a file from ``staged`` to its path; the file and its name are on disk when this returns."""
        target = self.root / path
        _make_folder(target.parent)
        _sync(staged, mode=0o600)
        staged.rename(target)
        _sync(target.parent)

    def delete(self, path: str) -> None:
        """Delete a file; one that is already deleted is fine."""
        (self.root / path).unlink(missing_ok=True)

    def delete_all(self, paths: Sequence[str]) -> list[str]:
        """Delete files, and return those that are gone; the others could not be deleted."""
        return list(_deleted(self, paths))

    def garbage(self, *, before: datetime) -> Iterator[str]:
        """Yield the paths of staged files that were not written to since ``before``."""
        yield from older_files(self.root, STAGING, before)

    def discard_staged(self, path: str) -> None:
        """Delete a file that ``garbage`` yielded."""
        self.delete(path)

    def kept(self, *, before: datetime) -> Iterator[str]:
        """Yield the paths of kept files that were written before a time."""
        yield from older_files(self.root, STREAMS, before)

    def copies(self) -> list[str]:
        """Return nothing: there are no copies."""
        return []

    def discard_copy(self, path: str) -> None:
        """Do nothing."""

    @property
    def cache_counts(self) -> CacheCounts:
        """Nothing: there are no copies."""
        return CacheCounts()

    def check(self) -> None:
        """Raise unless files can be written and synced.

        Raises:
            OSError: they cannot.
        """
        probe(self.staging)


def blocks_of(file: Path) -> Iterator[memoryview]:
    """Yield the bytes of a local file; each block is valid until the next one."""
    buffer = bytearray(_BLOCK)
    view = memoryview(buffer)
    with file.open("rb", buffering=0) as opened:
        while size := opened.readinto(buffer):
            yield view[:size]


def older_files(root: Path, folder: str, before: datetime) -> Iterator[str]:
    """Yield the paths below ``root`` of the files in a folder that were written before a time."""
    for place, _, names in os.walk(root / folder):
        for name in names:
            file = Path(place, name)
            try:
                written = datetime.fromtimestamp(file.stat().st_mtime, UTC)
            except FileNotFoundError:
                continue
            if written <= before:
                yield file.relative_to(root).as_posix()


def probe(folder: Path) -> None:
    """Raise unless files can be written to a folder and synced.

    Raises:
        OSError: they cannot.
    """
    file = folder / f"probe-{os.getpid()}"
    try:
        file.write_bytes(os.urandom(_PROBE))  # not empty: even a full disk takes an empty file
        _sync(file)
    finally:
        file.unlink(missing_ok=True)


def _deleted(store: LocalStore, paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        try:
            store.delete(path)
        except OSError:
            log.exception("garbage.not_deleted", path=path)
        else:
            yield path


def _make_folder(folder: Path) -> None:
    """Create a folder durably: its parent is synced, so that its name survives a crash."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    _sync(folder.parent)


def _sync(path: Path, *, mode: int | None = None) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        if mode is not None:
            os.fchmod(handle, mode)
        os.fsync(handle)
    finally:
        os.close(handle)
