"""The layout of a place with backups.

``files/`` holds the files of the lake under their own paths, shared by all backups: they never change, so that a later
backup only adds what is new. ``backups/{name}/`` holds a copy of the catalog, and ``manifest.json``, which names its
files; it is written last, so that a backup without it does not count.
"""

import contextlib
import json
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from headwater.backup.places import BackupWrong, Place, StoredFile
from headwater.lake.store import blocks_of

FORMAT = 1
MANIFEST = "manifest.json"
_FILES = "files"
_BACKUPS = "backups"


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
    """A place with backups."""

    def __init__(self, place: Place) -> None:
        """Use a place, which may be empty."""
        self.place = place
        self._require_lock: Callable[[], None] = lambda: None

    @contextlib.contextmanager
    def locked(self) -> Generator[None]:
        """Lock the place: another backup may delete files that this one relies on.

        What ended backups have left incomplete is deleted.

        Raises:
            BackupWrong: another process makes a backup here.
            OSError: the place cannot be written.
        """
        with self.place.locked() as lock:
            self._require_lock = lock.require
            if lock.is_exclusive:
                self._delete_incomplete()
            yield

    def _delete_incomplete(self) -> None:
        complete = set(self.names())
        found = self.place.sizes(_BACKUPS)
        self.place.delete(path for path in found if path.split("/")[1] not in complete)

    def scratch(self) -> AbstractContextManager[Path]:
        """Return a local folder in which a backup is made."""
        return self.place.scratch()

    def sizes(self) -> dict[str, int]:
        """Return the files of the lake that are stored, with their sizes."""
        found = self.place.sizes(_FILES)
        return {path.removeprefix(f"{_FILES}/"): size for path, size in found.items()}

    def add_file(self, blocks: Iterable[bytes | memoryview], path: str, *, digest: str | None) -> StoredFile:
        """Store a file of the lake.

        Raises:
            BackupWrong: it does not have the given ``digest``.
            OSError: it cannot be stored, or the source cannot be read.
        """
        return replace(self.place.put(blocks, f"{_FILES}/{path}", digest=digest), path=path)

    def add_catalog(self, copy: Path, name: str) -> StoredFile:
        """Store the copy of the catalog of a backup.

        Raises:
            OSError: it cannot be stored.
        """
        return replace(self.place.put(blocks_of(copy), f"{_BACKUPS}/{name}/{copy.name}"), path=copy.name)

    def file(self, path: str) -> Iterator[memoryview]:
        """Yield the bytes of a file of the lake.

        Raises:
            OSError: it is missing or cannot be read.
        """
        return self.place.blocks(f"{_FILES}/{path}")

    def catalog(self, manifest: Manifest) -> Iterator[memoryview]:
        """Yield the bytes of the copy of the catalog.

        Raises:
            OSError: it is missing or cannot be read.
        """
        return self.place.blocks(f"{_BACKUPS}/{manifest.name}/{manifest.catalog.path}")

    def names(self) -> list[str]:
        """Return the complete backups, oldest first."""
        return sorted(path.split("/")[1] for path in self.place.sizes(_BACKUPS) if path.endswith(f"/{MANIFEST}"))

    def manifest(self, name: str | None) -> Manifest:
        """Read the manifest of a backup, by default of the newest.

        Raises:
            BackupWrong: there is none, or it cannot be read.
        """
        names = self.names()
        chosen = name or (names[-1] if names else None)
        if chosen is None or chosen not in names:
            known = f"; there are {', '.join(names[-10:])}" if names else ""
            raise BackupWrong(f"{self.place.name} holds no complete backup{f' {chosen!r}' if chosen else ''}{known}")
        try:
            read: dict[str, Any] = json.loads(b"".join(map(bytes, self.place.blocks(_manifest(chosen)))))
            if read.pop("format") != FORMAT:
                raise BackupWrong(f"backup {chosen} has another format; it was made by a newer Headwater")
            files = tuple(StoredFile(**each) for each in read.pop("files"))
            catalog = StoredFile(**read.pop("catalog"))
            return Manifest(catalog=catalog, files=files, **read)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise BackupWrong(f"the manifest of backup {chosen} cannot be read: {error}") from error

    def finish(self, manifest: Manifest) -> None:
        """Write a manifest: from here on, the backup counts.

        Raises:
            BackupWrong: the lock was lost, so that files may be missing.
            OSError: it cannot be written.
        """
        self._require_lock()
        text = json.dumps({"format": FORMAT, **asdict(manifest)}, indent=1)
        self.place.put([text.encode()], _manifest(manifest.name))

    def discard(self, name: str) -> None:
        """Delete what there is of a backup that was not finished.

        Raises:
            OSError: it cannot be deleted.
        """
        self.place.delete(self.place.sizes(f"{_BACKUPS}/{name}"))

    def forget(self, keep: int) -> int:
        """Delete all but the newest backups, and the files that no backup names any more; return how many files.

        Raises:
            BackupWrong: a manifest cannot be read, or the lock was lost.
            OSError: the place does not answer.
        """
        self._require_lock()
        names = self.names()
        for name in names[: max(len(names) - keep, 0)]:
            self.place.delete([_manifest(name)])  # first: without it, the backup does not count
            self.discard(name)
        named = {file.path for name in self.names() for file in self.manifest(name).files}
        others = [path for path in self.sizes() if path not in named]
        self._require_lock()
        self.place.delete(f"{_FILES}/{path}" for path in others)
        return len(others)


def _manifest(name: str) -> str:
    return f"{_BACKUPS}/{name}/{MANIFEST}"
