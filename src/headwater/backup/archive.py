"""The layout of a backup directory.

``files/`` holds the files of the lake under their own paths, shared by all backups: they never change, so that a later
backup only adds what is new. ``backups/{name}/`` holds a copy of the catalog, and ``manifest.json``, which names its
files; it is written last, so that a backup without it does not count.
"""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Generator, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from headwater.lake.integrity import DigestFile

FORMAT = 1
MANIFEST = "manifest.json"
LOCK = "lock"
_FILES = "files"
_BACKUPS = "backups"
_BLOCK = 1 << 20


class BackupWrong(Exception):
    """A backup cannot be made or read."""


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A file of a backup."""

    path: str
    size: int
    digest: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a backup consists of."""

    name: str
    at: str
    #: The version of Headwater, and of the catalog's schema.
    headwater: str
    schema: str
    #: The copy of the catalog, beside the manifest.
    catalog: StoredFile
    files: tuple[StoredFile, ...]


class Archive:
    """A directory with backups."""

    def __init__(self, root: Path) -> None:
        """Use a directory, which need not exist yet."""
        self.root = root.resolve()

    @contextlib.contextmanager
    def locked(self) -> Generator[None]:
        """Lock the directory: another backup may delete files that this one relies on.

        What ended backups have left incomplete is deleted.

        Raises:
            BackupWrong: another process makes a backup here.
            OSError: the directory cannot be written.
        """
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self.root / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if _locked(handle, self.root):
                self._delete_incomplete()
            yield
        finally:
            os.close(handle)

    def _delete_incomplete(self) -> None:
        complete = set(self.names())
        for folder in (self.root / _BACKUPS).glob("*"):
            if folder.is_dir() and folder.name not in complete:
                shutil.rmtree(folder)

    def stored(self, path: str) -> Path:
        """Return where a file of the lake is stored."""
        return self.root / _FILES / path

    def folder(self, name: str) -> Path:
        """Return the folder of a backup."""
        return self.root / _BACKUPS / name

    def names(self) -> list[str]:
        """Return the complete backups, oldest first."""
        return sorted(file.parent.name for file in (self.root / _BACKUPS).glob(f"*/{MANIFEST}"))

    def manifest(self, name: str | None) -> Manifest:
        """Read the manifest of a backup, by default of the newest.

        Raises:
            BackupWrong: there is none, or it cannot be read.
        """
        names = self.names()
        chosen = name or (names[-1] if names else None)
        if chosen is None or chosen not in names:
            known = f"; there are {', '.join(names[-10:])}" if names else ""
            raise BackupWrong(f"{self.root} holds no complete backup{f' {chosen!r}' if chosen else ''}{known}")
        try:
            read: dict[str, Any] = json.loads((self.folder(chosen) / MANIFEST).read_text())
            if read.pop("format") != FORMAT:
                raise BackupWrong(f"backup {chosen} has another format; it was made by a newer Headwater")
            files = tuple(StoredFile(**each) for each in read.pop("files"))
            catalog = StoredFile(**read.pop("catalog"))
            return Manifest(catalog=catalog, files=files, **read)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise BackupWrong(f"the manifest of backup {chosen} cannot be read: {error}") from error

    def finish(self, manifest: Manifest) -> None:
        """Write a manifest: from here on, the backup counts."""
        folder = self.folder(manifest.name)
        staged = folder / f"{MANIFEST}.new"
        staged.write_text(json.dumps({"format": FORMAT, **asdict(manifest)}, indent=1))
        _sync(staged)
        staged.rename(folder / MANIFEST)
        _sync(folder)

    def forget(self, keep: int) -> int:
        """Delete all but the newest backups, and the files that no backup names any more; return how many files."""
        names = self.names()
        for name in names[: max(len(names) - keep, 0)]:
            folder = self.folder(name)
            (folder / MANIFEST).unlink()
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()
        named = {file.path for name in self.names() for file in self.manifest(name).files}
        return _delete_others(self.root / _FILES, named)


def _locked(handle: int, root: Path) -> bool:
    """Lock an open file; return False where the file system has no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BackupWrong(f"another process makes a backup in {root}; wait until it has ended") from None
    except OSError:
        return False
    return True


def _delete_others(root: Path, named: set[str]) -> int:
    others = [file for file in root.rglob("*") if file.is_file() and file.relative_to(root).as_posix() not in named]
    for file in others:
        file.unlink()
    return len(others)


def copied(blocks: Iterable[bytes | memoryview], target: Path) -> StoredFile:
    """Write a file completely or not at all, on disk when this returns; return its size and digest.

    Raises:
        OSError: it cannot be written, or the source cannot be read.
    """
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    staged = target.with_name(f"{target.name}.new")
    with DigestFile(staged) as file:
        for block in blocks:
            file.write(block)
    staged.chmod(0o600)
    _sync(staged)
    staged.rename(target)
    _sync(target.parent)
    return StoredFile(path=target.name, size=file.size, digest=file.digest)


def blocks_of(path: Path) -> Iterable[bytes]:
    """Yield the bytes of a file."""
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
