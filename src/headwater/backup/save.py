"""Makes a backup beside a running server: first the catalog, then the files that this copy of it names."""

import contextlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from headwater.backup.archive import Archive, Manifest
from headwater.backup.places import BackupWrong, StoredFile
from headwater.catalog import inspection
from headwater.catalog.core import migrate, snapshot
from headwater.catalog.inspection import LakeFile
from headwater.domain.ids import new_fid
from headwater.domain.software_version import software_version
from headwater.lake.store import Store, blocks_of

#: Copies of the catalog that are tried: a file may be merged away between the copy and its turn.
TRIES = 3


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A backup that was made."""

    manifest: Manifest
    #: Files, and their bytes, that earlier backups did not have.
    new_files: int
    new_bytes: int


class _FileGone(Exception):
    """A file was deleted after the catalog was copied."""


def save(archive: Archive, store: Store, *, url: str, at: datetime) -> Saved:
    """Make a backup.

    Raises:
        BackupWrong: it cannot be made, or a file is damaged.
        SnapshotFailed: the catalog cannot be copied.
        OSError: the place cannot be written.
    """
    name = f"{at:%Y%m%dT%H%M%SZ}-{new_fid(at)[-8:]}"
    for turn in range(TRIES):
        try:
            with archive.scratch() as folder:
                return _saved(archive, store, folder, name=name, url=url, at=at)
        except _FileGone as error:
            if turn == TRIES - 1:
                raise BackupWrong(f"{error}, named by the catalog, is missing; see 'headwater verify'") from None
        except BaseException:
            # A full disk would not become emptier by repeated tries.
            with contextlib.suppress(OSError):
                archive.discard(name)
            raise
    raise AssertionError


def _saved(archive: Archive, store: Store, folder: Path, *, name: str, url: str, at: datetime) -> Saved:
    with snapshot.taken(url, folder) as (copy, tx):
        named = inspection.files(tx)
    present = archive.sizes()
    files: list[StoredFile] = []
    new_files = new_bytes = 0
    for file in named:
        if file.size is not None and file.digest is not None and present.get(file.path) == file.size:
            files.append(StoredFile(path=file.path, size=file.size, digest=file.digest))
            continue
        files.append(_added(archive, store, file))
        new_files += 1
        new_bytes += files[-1].size
    manifest = Manifest(
        name=name,
        at=at.isoformat(),
        headwater=software_version(),
        schema=migrate.newest(),
        catalog=archive.add_catalog(copy, name),
        files=tuple(files),
    )
    archive.finish(manifest)
    return Saved(manifest=manifest, new_files=new_files, new_bytes=new_bytes)


def _added(archive: Archive, store: Store, file: LakeFile) -> StoredFile:
    """Store a file that is not there yet."""
    try:
        with store.original(file.path) as local:
            return archive.add_file(blocks_of(local), file.path, digest=file.digest)
    except FileNotFoundError:
        raise _FileGone(file.path) from None
