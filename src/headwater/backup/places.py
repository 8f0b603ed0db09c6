"""Where backups are: a directory, or an object store. Each file is complete there, or absent."""

import contextlib
import fcntl
import json
import os
import secrets
import socket
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, cast

from headwater.lake.integrity import DigestFile
from headwater.lake.scratch import scratch_folder
from headwater.lake.store import blocks_of
from headwater.settings import object_store_url

LOCK = "lock"
#: How long the lock of an object store counts after it was last renewed, and the seconds between renewals.
LEASE = timedelta(minutes=15)
RENEW_EVERY = 60.0


class BackupWrong(Exception):
    """A backup cannot be made or read."""


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A file of a backup."""

    path: str
    size: int
    digest: str


@dataclass(frozen=True, kw_only=True)
class Lock:
    """The lock of a place, which this process holds."""

    #: Whether nobody else can hold it: not every file system has locks.
    is_exclusive: bool
    #: Raises ``BackupWrong`` if it has been lost.
    require: Callable[[], None]


class Place(Protocol):
    """Files under relative paths, with ``/``."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    def locked(self) -> AbstractContextManager[Lock]:
        """Lock the place against another backup.

        Raises:
            BackupWrong: another process makes a backup here.
            OSError: it cannot be written.
        """
        ...

    def scratch(self) -> AbstractContextManager[Path]:
        """Return a local folder for files that are being made, deleted at the end of the block."""
        ...

    def put(self, blocks: Iterable[bytes | memoryview], path: str, *, digest: str | None = None) -> StoredFile:
        """Store a file completely or not at all; it is durable when this returns.

        Raises:
            BackupWrong: it does not have the given ``digest``.
            OSError: it cannot be stored, or the source cannot be read.
        """
        ...

    def blocks(self, path: str) -> Iterator[memoryview]:
        """Yield the bytes of a file; each block is valid until the next one.

        Raises:
            FileNotFoundError: there is none.
            OSError: it cannot be read.
        """
        ...

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the paths of all files below a folder, with their sizes."""
        ...

    def delete(self, paths: Iterable[str]) -> None:
        """Delete files; those that are gone are fine."""
        ...


class Directory:
    """A directory."""

    def __init__(self, root: Path) -> None:
        """Use a directory, which need not exist yet."""
        self.root = root.resolve()

    @property
    def name(self) -> str:
        """Its path."""
        return str(self.root)

    @contextlib.contextmanager
    def locked(self) -> Generator[Lock]:
        """Lock the directory; the kernel releases the lock when the process ends."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self.root / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            yield Lock(is_exclusive=_is_locked(handle, self.root), require=lambda: None)
        finally:
            os.close(handle)

    def scratch(self) -> AbstractContextManager[Path]:
        """Return a folder in the directory."""
        return scratch_folder(self.root / "staging")

    def put(self, blocks: Iterable[bytes | memoryview], path: str, *, digest: str | None = None) -> StoredFile:
        """Store a file."""
        target = self.root / path
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        staged = target.with_name(f"{target.name}.new")
        try:
            made = written(blocks, staged, path=path, digest=digest)
            staged.rename(target)
        except BaseException:
            staged.unlink(missing_ok=True)
            raise
        _sync(target.parent)
        return made

    def blocks(self, path: str) -> Iterator[memoryview]:
        """Yield the bytes of a file."""
        return blocks_of(self.root / path)

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the files below a folder."""
        files = (Path(place, name) for place, _, names in os.walk(self.root / folder) for name in names)
        return {file.relative_to(self.root).as_posix(): file.stat().st_size for file in files}

    def delete(self, paths: Iterable[str]) -> None:
        """Delete files, and the folders that they leave empty."""
        for path in paths:
            (self.root / path).unlink(missing_ok=True)
            for parent in PurePosixPath(path).parents[:-1]:
                try:
                    (self.root / parent).rmdir()
                except OSError:
                    break


def _is_locked(handle: int, root: Path) -> bool:
    """Lock an open file; return False where the file system has no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BackupWrong(f"another process makes a backup in {root}; wait until it has ended") from None
    except OSError:
        return False
    return True


class Bucket:
    """A prefix of a bucket in an object store."""

    def __init__(self, client: Any, scratch: Path, *, name: str) -> None:
        """Use a ``client`` of obstore; files are written to folders in ``scratch`` before they are put."""
        self._client = client
        self._scratch = scratch
        self._name = name

    @property
    def name(self) -> str:
        """Its URL."""
        return self._name

    @contextlib.contextmanager
    def locked(self) -> Generator[Lock]:
        """Put the object that is the lock, renew it meanwhile, and delete it at the end.

        One that was not renewed for long is of a process that has ended, and is taken over.
        """
        lease = _Lease(self._client, self._name)
        with lease.held():
            yield Lock(is_exclusive=True, require=lease.require)

    def scratch(self) -> AbstractContextManager[Path]:
        """Return a folder on this machine."""
        return scratch_folder(self._scratch)

    def put(self, blocks: Iterable[bytes | memoryview], path: str, *, digest: str | None = None) -> StoredFile:
        """Store a file."""
        import obstore  # noqa: PLC0415 - backups into a directory need none

        with self.scratch() as folder:
            staged = folder / "file"
            made = written(blocks, staged, path=path, digest=digest)
            with self._errors_translated():
                try:
                    obstore.put(self._client, path, staged)
                except FileNotFoundError as error:  # not a file of the lake, which may be gone
                    raise OSError(error.errno, f"{self._name} cannot be written: {error}") from error
        return made

    def blocks(self, path: str) -> Iterator[memoryview]:
        """Yield the bytes of a file."""
        from headwater.lake.object_store import blocks_of_object  # noqa: PLC0415 - likewise

        with self._errors_translated():
            yield from blocks_of_object(self._client, path)

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the files below a folder."""
        import obstore  # noqa: PLC0415 - likewise

        with self._errors_translated():
            pages = cast("Any", obstore).list(self._client, prefix=folder, chunk_size=1000)
            return {found["path"]: found["size"] for page in pages for found in page}

    def delete(self, paths: Iterable[str]) -> None:
        """Delete files."""
        from headwater.lake.object_store import delete_objects  # noqa: PLC0415 - likewise

        with self._errors_translated():
            delete_objects(self._client, list(paths))

    def _errors_translated(self) -> AbstractContextManager[None]:
        from headwater.lake.object_store import errors_translated  # noqa: PLC0415 - likewise

        return errors_translated(self._name)


class _Lease:
    """A lock that is an object: created if there is none, and renewed only by whoever holds it."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name
        holder = {"host": socket.gethostname(), "pid": os.getpid(), "token": secrets.token_hex(8)}
        self._body = json.dumps(holder).encode()
        self._version: Any = None
        self._renewed_at = datetime.now(UTC)
        self._is_lost = False

    @contextlib.contextmanager
    def held(self) -> Generator[None]:
        """Hold the lock.

        Raises:
            BackupWrong: another process holds it.
            OSError: the store does not answer.
        """
        import obstore  # noqa: PLC0415 - likewise

        from headwater.lake.object_store import errors_translated  # noqa: PLC0415 - likewise

        with errors_translated(self._name):
            self._acquire()
        is_over = threading.Event()
        renewing = threading.Thread(target=self._renew_until, args=[is_over], daemon=True)
        renewing.start()
        try:
            yield
        finally:
            is_over.set()
            renewing.join()
            if not self._is_lost:
                with contextlib.suppress(OSError), errors_translated(self._name):
                    obstore.delete(self._client, LOCK)

    def require(self) -> None:
        """Raise unless the lock is held.

        Raises:
            BackupWrong: it could not be renewed.
        """
        if self._is_lost or datetime.now(UTC) - self._renewed_at > LEASE:
            raise BackupWrong(
                f"the lock of {self._name} could not be renewed for {LEASE.seconds // 60} minutes, so that another "
                "process may make a backup there; try again"
            )

    def _acquire(self) -> None:
        import obstore  # noqa: PLC0415 - likewise
        from obstore.exceptions import AlreadyExistsError, PreconditionError  # noqa: PLC0415 - likewise

        try:
            self._version = obstore.put(self._client, LOCK, self._body, mode="create")
        except AlreadyExistsError:
            held_by = obstore.head(self._client, LOCK)
            if datetime.now(UTC) - held_by["last_modified"] < LEASE:
                raise self._refusal() from None
            try:
                self._version = self._put(held_by)
            except PreconditionError:
                raise self._refusal() from None

    def _refusal(self) -> BackupWrong:
        return BackupWrong(
            f"another process makes a backup in {self._name}; wait until it has ended. The lock of one that was killed "
            f"counts for {LEASE.seconds // 60} minutes"
        )

    def _put(self, over: Any) -> Any:
        """Put the lock over the given version of it."""
        import obstore  # noqa: PLC0415 - likewise

        expected: Any = {key: over[key] for key in ("e_tag", "version") if over[key] is not None}
        return obstore.put(self._client, LOCK, self._body, mode=expected)

    def _renew_until(self, is_over: threading.Event) -> None:
        from obstore.exceptions import BaseError, PreconditionError  # noqa: PLC0415 - likewise

        while not is_over.wait(RENEW_EVERY):
            try:
                self._version = self._put(self._version)
            except PreconditionError:  # another process has taken it over
                self._is_lost = True
                return
            except (BaseError, OSError):
                continue  # until it has not been renewed for too long
            self._renewed_at = datetime.now(UTC)


def place_at(target: str, scratch: Path) -> Place:
    """Return the place that a command or a setting names; ``scratch`` is for files on their way to an object store.

    Raises:
        BackupWrong: it is none, or the environment does not go with it.
    """
    if "://" not in target:
        return Directory(Path(target))
    from headwater.lake.object_store import connected  # noqa: PLC0415 - likewise

    try:
        url = object_store_url(target)
        return Bucket(connected(url), scratch, name=url)
    except ValueError as error:
        raise BackupWrong(str(error)) from error


def written(blocks: Iterable[bytes | memoryview], target: Path, *, path: str, digest: str | None = None) -> StoredFile:
    """Write a local file, on disk when this returns; return its size and digest, under the name ``path``.

    Raises:
        BackupWrong: it does not have the given ``digest``.
        OSError: it cannot be written, or the source cannot be read.
    """
    with DigestFile(target) as file:
        for block in blocks:
            file.write(block)
    if digest is not None and file.digest != digest:
        raise BackupWrong(f"{path} is damaged: its digest is {file.digest}, not {digest}")
    target.chmod(0o600)
    _sync(target)
    return StoredFile(path=path, size=file.size, digest=file.digest)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
