"""Puts a backup back, into an empty data directory or an object store."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from headwater.backup.archive import Archive, Manifest
from headwater.backup.places import BackupWrong, written
from headwater.bootstrap import LAKE
from headwater.catalog.core import migrate, snapshot
from headwater.lake.store import LocalStore, Store


def restore(
    archive: Archive,
    manifest: Manifest,
    data: Path,
    *,
    url: str,
    opened: Callable[[], AbstractContextManager[Store]] | None = None,
) -> None:
    """Restore a backup; every digest is checked.

    ``opened`` opens the store of the files; without it, they come into the data directory.

    Raises:
        BackupWrong: the directory is not empty, a file of the backup is missing or damaged, or it is too new.
        SnapshotFailed: the catalog cannot be put back.
        OSError: the directory cannot be written.
    """
    if data.exists() and any(data.iterdir()):
        raise BackupWrong(f"{data} is not empty; restore into a new directory")
    if manifest.schema > migrate.newest():
        raise BackupWrong(f"the backup is of a newer Headwater ({manifest.headwater}); install that one")
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with nullcontext(LocalStore(data / LAKE)) if opened is None else opened() as store:
        for file in manifest.files:
            staged = store.stage(Path(file.path).name)
            _put(archive.file(file.path), staged, path=file.path, digest=file.digest)
            store.keep(staged, file.path)
    checked = data / f"restored-{manifest.catalog.path}"
    # The catalog last: without it, a server would start anew, and nothing of a half restored one would show.
    _put(archive.catalog(manifest), checked, path=manifest.catalog.path, digest=manifest.catalog.digest)
    snapshot.put_back(checked, url, name=manifest.catalog.path)
    checked.unlink()


def _put(blocks: Iterable[memoryview], target: Path, *, path: str, digest: str) -> None:
    try:
        written(blocks, target, path=f"{path} of the backup", digest=digest)
    except FileNotFoundError:
        raise BackupWrong(f"{path} is missing in the backup") from None
    except BackupWrong:
        target.unlink()
        raise
