"""Files in a local directory that are either wholly there, and on disk, or not at all."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

#: Files that are being written; what a crash leaves here is garbage.
STAGING = "staging"
#: Files that the catalog may name.
STREAMS = "streams"

#: Bytes that are written to see whether there is room.
_PROBE = 4096


class LocalStore:
    """A directory of immutable files. A path in it is relative, with ``/``."""

    def __init__(self, root: Path) -> None:
        """Use, and make where needed, the directory.

        Raises:
            ValueError: its name would be read as a pattern.
        """
        self.root = root.resolve()
        if set(str(self.root)) & set("*?["):
            raise ValueError(f"{self.root} cannot hold the lake: readers take *, ? and [ in a path for a pattern")
        (self.root / STAGING).mkdir(parents=True, exist_ok=True)
        (self.root / STREAMS).mkdir(exist_ok=True)

    def locate(self, path: str) -> str:
        """Return where a file lies for programs that read it themselves."""
        return str(self.root / path)

    @property
    def staging(self) -> Path:
        """The folder of what is not kept yet."""
        return self.root / STAGING

    def stage(self, name: str) -> Path:
        """Return where a file of that name is to be written before ``keep``."""
        return self.root / STAGING / name

    def keep(self, staged: Path, path: str) -> None:
        """Put a file that was written to ``staged`` in its place, on disk with its name when this returns."""
        target = self.root / path
        _make_folder(target.parent)
        _sync(staged)
        staged.rename(target)
        _sync(target.parent)

    def delete(self, path: str) -> None:
        """Delete a file; one that is gone already is fine."""
        (self.root / path).unlink(missing_ok=True)

    def garbage(self, *, before: datetime) -> Iterator[str]:
        """Yield the paths of staged files that nobody has written to since ``before``."""
        yield from self._older(STAGING, before)

    def kept(self, *, before: datetime) -> Iterator[str]:
        """Yield the paths of kept files that were written before a moment."""
        yield from self._older(STREAMS, before)

    def check(self) -> None:
        """Raise unless files can be written and are then on disk.

        Raises:
            OSError: they cannot.
        """
        probe = self.stage(f"probe-{os.getpid()}")
        try:
            probe.write_bytes(os.urandom(_PROBE))  # with something in it: on a full disk, an empty file is still made
            _sync(probe)
        finally:
            probe.unlink(missing_ok=True)

    def _older(self, folder: str, before: datetime) -> Iterator[str]:
        for place, _, names in os.walk(self.root / folder):
            for name in names:
                file = Path(place, name)
                try:
                    written = datetime.fromtimestamp(file.stat().st_mtime, UTC)
                except FileNotFoundError:
                    continue
                if written <= before:
                    yield file.relative_to(self.root).as_posix()


def _make_folder(folder: Path) -> None:
    """Make a folder that is still there after a crash: its name is in its parent, which is synced too."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync(folder.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
