"""Makes a backup beside a running server: first the catalog, then the files that this copy of it names."""

import shutil
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from headwater.backup.archive import Archive, BackupWrong, Manifest, StoredFile, blocks_of, copied
from headwater.catalog import inspection
from headwater.catalog.core import migrate, snapshot
from headwater.catalog.inspection import LakeFile
from headwater.domain.ids import new_fid
from headwater.domain.software_version import software_version
from headwater.lake.store import Store

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
        OSError: the directory cannot be written.
    """
    name = f"{at:%Y%m%dT%H%M%SZ}-{new_fid(at)[-8:]}"
    folder = archive.folder(name)
    for turn in range(TRIES):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            return _saved(archive, store, folder, url=url, at=at)
        except _FileGone as error:
            shutil.rmtree(folder)
            if turn == TRIES - 1:
                raise BackupWrong(f"{error}, named by the catalog, is missing; see 'headwater verify'") from None
        except BaseException:
            # A full disk would not become emptier by repeated tries.
            shutil.rmtree(folder, ignore_errors=True)
            raise
    raise AssertionError


def _saved(archive: Archive, store: Store, folder: Path, *, url: str, at: datetime) -> Saved:
    with snapshot.taken(url, folder) as (copy, tx):
        named = inspection.files(tx)
    digested = copied(blocks_of(copy), copy.with_name(f"{copy.name}.copy"))
    copy.with_name(f"{copy.name}.copy").rename(copy)
    files: list[StoredFile] = []
    new_files = new_bytes = 0
    for file in named:
        stored, is_new = _stored(archive, store, file)
        files.append(stored)
        new_files += is_new
        new_bytes += stored.size if is_new else 0
    manifest = Manifest(
        name=folder.name,
        at=at.isoformat(),
        headwater=software_version(),
        schema=migrate.newest(),
        catalog=replace(digested, path=copy.name),
        files=tuple(files),
    )
    archive.finish(manifest)
    return Saved(manifest=manifest, new_files=new_files, new_bytes=new_bytes)


def _stored(archive: Archive, store: Store, file: LakeFile) -> tuple[StoredFile, bool]:
    """Store a file unless it is there already; return it, and whether it is new."""
    target = archive.stored(file.path)
    if file.size is not None and file.digest is not None and target.exists() and target.stat().st_size == file.size:
        return StoredFile(path=file.path, size=file.size, digest=file.digest), False
    try:
        made = replace(copied(store.blocks(file.path), target), path=file.path)
    except FileNotFoundError:
        raise _FileGone(file.path) from None
    if file.digest is not None and made.digest != file.digest:
        target.unlink()
        raise BackupWrong(f"{file.path} is damaged: its digest is {made.digest}, not {file.digest}")
    return made, True
