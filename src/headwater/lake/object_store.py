"""The lake in an object store: S3 and what is compatible with it, Google Cloud Storage, Azure.

A file is written to a local folder, put to the store under a path that was never used before, and then named by the
catalog. Files are read from local copies (``lake/segment_cache.py``). Nothing here lists objects: what the catalog
intended and never named is deleted by its path (``ingest/orphans.py``).
"""

import errno
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit
from uuid import uuid4

import obstore
import structlog
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import from_url

from headwater.lake.segment_cache import CacheCounts, SegmentCache
from headwater.lake.store import STAGING, blocks_of, older_files, probe

log = structlog.get_logger(__name__)

#: The object that shows that a place holds a lake.
MARKER = "headwater-lake"
#: Larger files are put in several parts, which are not held in memory together.
MOST_AT_ONCE = 32 << 20
#: Bytes that are received at a time.
_BLOCK = 1 << 20
#: Objects that one request deletes.
_MANY = 1000
#: How often and how long a request is repeated while the store fails.
_RETRY: Any = {"max_retries": 6, "retry_timeout": timedelta(seconds=30)}


def connected(url: str) -> Any:
    """Return the client of the store that a URL names; credentials and endpoint are in the environment.

    Raises:
        ValueError: the environment does not go with it.
    """
    endpoint = os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT_URL_S3") or ""
    options: Any = {"connect_timeout": "5s", "timeout": "60s"}
    if endpoint.startswith("http://"):
        options["allow_http"] = True
    try:
        if urlsplit(url).scheme == "memory":
            return from_url(url)
        return cast("Any", from_url)(url, client_options=options, retry_config=_RETRY)
    except BaseError as error:
        raise ValueError(_short(error)) from error


class ObjectStore:
    """Immutable files in an object store, with a local cache."""

    is_remote = True

    def __init__(
        self,
        client: Any,
        folder: Path,
        held: Path,
        *,
        most_cached: int,
        reserve: int = 0,
        intends: Callable[[str], None] = lambda _path: None,
        name: str = "the object store",
    ) -> None:
        """Use a ``client`` of obstore, with a local ``folder`` and in it this process's own folder ``held``.

        ``intends`` is called with each path before something is put there, and returns once that is on record.
        ``most_cached`` bounds the bytes of the cache, which leaves ``reserve`` bytes of the disk free.

        Raises:
            ValueError: the folder's name would be read as a glob pattern.
        """
        self.root = folder.resolve()
        if set(str(self.root)) & set("*?["):
            raise ValueError(f"{self.root} cannot hold the cache: readers take *, ? and [ in a path for a pattern")
        self._client = client
        self._intends = intends
        self._name = name
        self.staging.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.cache = SegmentCache(self.root, held.resolve(), self._fetch, most_bytes=most_cached, reserve=reserve)

    def close(self) -> None:
        """Stop fetching."""
        self.cache.close()

    def prepare(self) -> None:
        """Make sure that the store can be written.

        Raises:
            OSError: it cannot.
        """
        with errors_translated(self._name):
            try:
                obstore.put(self._client, MARKER, b'{"format": 1}\n', mode="create")
            except AlreadyExistsError:
                return

    @property
    def staging(self) -> Path:
        """The local folder of files being written."""
        return self.root / STAGING

    def stage(self, name: str) -> Path:
        """Return where to write a file of that name before ``keep``."""
        return self.staging / name

    def keep(self, staged: Path, path: str) -> None:
        """Put a file to its path; the store has it when this returns, and so has the cache.

        Raises:
            OSError: it cannot be stored, or something else is at the path.
        """
        staged.chmod(0o600)
        self._intends(path)
        self._put(staged, path)
        try:
            self.cache.add(staged, path)
        except OSError as error:  # it is stored, and can be fetched
            log.warning("cache.not_added", path=path, why=error.strerror)
            staged.unlink(missing_ok=True)

    def reading(self, paths: Sequence[str]) -> AbstractContextManager[None]:
        """Hold local copies of files, so that ``locate`` leads to them until the end of the block.

        Raises:
            OSError: one of them is missing or cannot be read.
        """
        return self.cache.reading(paths)

    def locate(self, path: str) -> str:
        """Return the location of a file's local copy."""
        return str(self.cache.locate(path))

    def status(self, path: str) -> tuple[int, int, int, int, int]:
        """Return device, inode, size and mtime (in ns, twice) of the copy of a file.

        Its ctime changes with each reader, which links to it.

        Raises:
            OSError: it is missing or unreadable.
        """
        with self.cache.reading([path]):
            found = self.cache.locate(path).stat()
        return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_mtime_ns)

    def blocks(self, path: str) -> Iterator[memoryview]:
        """Yield the bytes of a file; each block is valid until the next one.

        Raises:
            OSError: it is missing or unreadable.
        """
        with self.cache.reading([path]):
            yield from blocks_of(self.cache.locate(path))

    @contextmanager
    def original(self, path: str) -> Generator[Path]:
        """Fetch a file past its local copy, and delete it at the end of the block.

        Raises:
            OSError: it is missing or unreadable.
        """
        fetched = self.stage(f"original-{uuid4().hex}")
        try:
            self._fetch(path, fetched)
            yield fetched
        finally:
            fetched.unlink(missing_ok=True)

    def renew(self, path: str) -> bool:
        """Replace a damaged local copy of a file; True.

        Raises:
            OSError: the other copy is missing or unreadable.
        """
        log.warning("cache.renewed", path=path)
        self.cache.renew(path)
        return True

    def delete(self, path: str) -> None:
        """Delete a file; one that is already deleted is fine.

        Raises:
            OSError: the store does not answer.
        """
        with errors_translated(self._name), suppress(FileNotFoundError):
            obstore.delete(self._client, path)
        self.cache.drop(path)

    def delete_all(self, paths: Sequence[str]) -> list[str]:
        """Delete files, and return those that are gone; the others could not be deleted."""
        gone: list[str] = []
        for start in range(0, len(paths), _MANY):
            some = list(paths[start : start + _MANY])
            try:
                with errors_translated(self._name):
                    delete_objects(self._client, some)
            except OSError:
                log.exception("garbage.not_deleted", files=len(some))
                continue
            for path in some:
                self.cache.drop(path)
            gone += some
        return gone

    def garbage(self, *, before: datetime) -> Iterator[str]:
        """Yield the paths of staged files of this node that were not written to since ``before``."""
        yield from older_files(self.root, STAGING, before)

    def discard_staged(self, path: str) -> None:
        """Delete a file that ``garbage`` yielded."""
        (self.root / path).unlink(missing_ok=True)

    def kept(self, *, before: datetime) -> Iterator[str]:
        """Yield nothing: objects are not listed."""
        del before
        yield from ()

    def copies(self) -> list[str]:
        """Return the paths of the files in the cache."""
        return self.cache.paths()

    @property
    def cache_counts(self) -> CacheCounts:
        """How often this process found a local copy."""
        return self.cache.counts

    def discard_copy(self, path: str) -> None:
        """Remove a file from the cache."""
        self.cache.drop(path)

    def check(self) -> None:
        """Raise unless the store answers, and local files can be written.

        Raises:
            OSError: they cannot, or it does not.
        """
        probe(self.staging)
        with errors_translated(self._name):
            obstore.head(self._client, MARKER)

    def _put(self, staged: Path, path: str) -> None:
        with errors_translated(self._name):
            try:
                if staged.stat().st_size <= MOST_AT_ONCE:
                    obstore.put(self._client, path, staged, mode="create")
                else:
                    self._put_in_parts(staged, path)
            except AlreadyExistsError:
                # A request whose answer was lost may have been repeated.
                self._require_same(staged, path)

    def _put_in_parts(self, staged: Path, path: str) -> None:
        try:
            obstore.head(self._client, path)
        except FileNotFoundError:
            obstore.put(self._client, path, staged, use_multipart=True)
        else:
            self._require_same(staged, path)

    def _require_same(self, staged: Path, path: str) -> None:
        own = blocks_of(staged)
        left = memoryview(b"")
        for block in blocks_of_object(self._client, path):
            other = block
            while other:
                left = left or next(own, memoryview(b""))
                size = min(len(left), len(other))
                if not size or left[:size] != other[:size]:
                    raise OSError(errno.EEXIST, f"{self._name} has another object at {path}")
                left, other = left[size:], other[size:]
        if left or next(own, b""):
            raise OSError(errno.EEXIST, f"{self._name} has another object at {path}")

    def _fetch(self, path: str, target: Path) -> None:
        with errors_translated(self._name), target.open("xb", buffering=0) as file:
            os.fchmod(file.fileno(), 0o600)
            for block in blocks_of_object(self._client, path):
                left = block
                while left:
                    left = left[file.write(left) :]


@contextmanager
def errors_translated(name: str) -> Generator[None]:
    """Raise errors of a store as those of a disk that does not answer: nothing is known of the file.

    Raises:
        FileNotFoundError: there is no such object.
        OSError: anything else went wrong.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, f"{name} has no such object: {_short(error)}") from error
    except BaseError as error:
        raise OSError(errno.EHOSTUNREACH, f"{name} does not answer: {_short(error)}") from error


def blocks_of_object(client: Any, path: str) -> Iterator[memoryview]:
    """Yield the bytes of an object."""
    for block in obstore.get(client, path).stream(min_chunk_size=_BLOCK):
        yield memoryview(block)


def delete_objects(client: Any, paths: Sequence[str]) -> None:
    """Delete objects; those that are gone are fine."""
    for start in range(0, len(paths), _MANY):
        some = list(paths[start : start + _MANY])
        try:
            obstore.delete(client, some)
        except FileNotFoundError:  # not every store passes over an object that is gone
            for path in some:
                with suppress(FileNotFoundError):
                    obstore.delete(client, path)


def _short(error: Exception) -> str:
    """Return the first line of an error's text, without its debugging output."""
    return str(error).strip().partition("\n")[0][:500]
