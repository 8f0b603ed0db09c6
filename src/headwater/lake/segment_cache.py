"""A cache of whole files on the local disk, shared by the processes of one node.

Files never change, so that a copy is never stale. The cache is bounded, and the least recently used copies go first.
A process that reads a copy has a hard link to it in a folder of its own: whatever another process evicts meanwhile,
the copy stays readable, and the folder of a process that was killed is deleted by the next one (``lake/scratch.py``).
Whether a copy is intact is for ``lake/integrity.py`` to verify before the first read.
"""

import errno
import fcntl
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

import structlog

log = structlog.get_logger(__name__)

#: Files that are fetched at once.
AT_ONCE = 16
#: The share of its size that a process adds to the cache between two looks at what is in it,
ADDED_BETWEEN = 1 / 50
#: and the share that is left after a look that found too much: several processes may be adding.
LEFT = 4 / 5
#: Seconds after which the use of a copy is recorded again.
TOUCHED_FOR = 60.0
#: Copies whose latest use a process remembers.
MOST_REMEMBERED = 100_000
#: Stands for a slash in the name of a copy; no path has one.
_SLASH = "~"
#: The folder of the copies.
FILES = "files"


@dataclass(kw_only=True)
class CacheCounts:
    """What a process has read through its cache since it started."""

    #: Files that were there already, and files that were fetched.
    hits: int = 0
    misses: int = 0
    #: Bytes that were fetched.
    fetched: int = 0


class SegmentCache:
    """Copies of files, fetched on demand; thread-safe."""

    def __init__(
        self,
        folder: Path,
        held: Path,
        fetch: Callable[[str, Path], None],
        *,
        most_bytes: int,
        reserve: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep at most about ``most_bytes`` of copies in ``folder``, and fewer while less than ``reserve`` is free.

        ``held`` is this process's folder on the same disk; ``fetch`` downloads a path to a new local file.
        """
        self._files = folder / FILES
        self._files.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock_file = folder / "lock"
        self._held = held
        self._fetch = fetch
        self._most = most_bytes
        self._reserve = reserve
        self._clock = clock
        self._lock = threading.Lock()
        #: How many readers in this process hold each path.
        self._holders: dict[str, int] = {}
        self._fetching: dict[str, Future[None]] = {}
        self._touched: OrderedDict[str, float] = OrderedDict()
        #: Bytes that this process has added since it looked; it looks at its first addition.
        self._added = most_bytes
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fetch")
        self.counts = CacheCounts()

    def close(self) -> None:
        """Stop fetching."""
        self._pool.shutdown(cancel_futures=True)

    @contextmanager
    def reading(self, paths: Sequence[str]) -> Generator[None]:
        """Hold copies of files until the end of the block; those that are not there are fetched together.

        Raises:
            FileNotFoundError: there is no such file.
            OSError: a file cannot be fetched, or the disk cannot take it.
        """
        held: list[str] = []
        try:
            missing = [path for path in dict.fromkeys(paths) if not self._hold(path, held)]
            fetched = [self._pool.submit(self._obtain, path, held) for path in missing[1:]]
            try:
                if missing:
                    self._obtain(missing[0], held)  # by the caller: a single file needs no other thread
            finally:
                for one in fetched:
                    one.exception()  # wait for all of them: each adds to what is held
            for one in fetched:
                one.result()
            self.counts.hits += len(paths) - len(missing)
            yield
        finally:
            for path in held:
                self._release(path)

    def locate(self, path: str) -> Path:
        """Return where the copy of a file is; one that nobody holds is fetched if necessary, and may be evicted."""
        with self._lock:
            if path in self._holders:
                return self._held / _name(path)
        file = self._files / _name(path)
        if not file.exists():
            with self.reading([path]):
                pass
        return file

    def add(self, file: Path, path: str) -> None:
        """Move a local file that was just stored at a path into the cache."""
        size = file.stat().st_size
        file.replace(self._files / _name(path))
        self._make_room(size)

    def drop(self, path: str) -> None:
        """Remove the copy of a file; who holds it can go on reading."""
        (self._files / _name(path)).unlink(missing_ok=True)

    def renew(self, path: str) -> None:
        """Fetch a file again, for this process's readers, too.

        Raises:
            FileNotFoundError: there is no such file.
            OSError: it cannot be fetched, or the disk cannot take it.
        """
        self.drop(path)
        new = self._download(path)
        with self._lock, _disk_errors():
            if path in self._holders:
                _link_over(new, self._held / _name(path))
            new.replace(self._files / _name(path))

    def paths(self) -> list[str]:
        """Return the paths of all copies."""
        return [_path(file.name) for _, _, file in self._copies()]

    def size(self) -> int:
        """Return the bytes of all copies."""
        return sum(size for _, size, _ in self._copies())

    def _hold(self, path: str, held: list[str]) -> bool:
        """Hold a copy if it is there, and add it to ``held``."""
        name = _name(path)
        with self._lock:
            count = self._holders.get(path, 0)
            if not count:
                try:
                    with _disk_errors(but=FileNotFoundError):
                        _link_over(self._files / name, self._held / name)
                except FileNotFoundError:
                    if not self._held.is_dir():
                        raise _no_disk(f"{self._held} is missing") from None
                    return False
            self._holders[path] = count + 1
            held.append(path)
            self._touch(path, self._held / name)
            return True

    def _touch(self, path: str, file: Path) -> None:
        """Record the use of a copy, for all processes: its access time, and nothing that a verification looks at."""
        now = self._clock()
        if now - self._touched.get(path, -TOUCHED_FOR) < TOUCHED_FOR:
            return
        self._touched[path] = now
        self._touched.move_to_end(path)
        while len(self._touched) > MOST_REMEMBERED:
            self._touched.popitem(last=False)
        with suppress(OSError):
            os.utime(file, ns=(time.time_ns(), file.stat().st_mtime_ns))

    def _release(self, path: str) -> None:
        with self._lock:
            left = self._holders[path] - 1
            if left:
                self._holders[path] = left
            else:
                del self._holders[path]
                with suppress(OSError):
                    (self._held / _name(path)).unlink(missing_ok=True)

    def _obtain(self, path: str, held: list[str]) -> None:
        """Hold a copy, fetched if necessary; threads that want the same file wait for one of them."""
        while not self._hold(path, held):
            mine: Future[None] = Future()
            with self._lock:
                under_way = self._fetching.setdefault(path, mine)
            if under_way is not mine:
                under_way.exception()  # wait
                if self._hold(path, held):
                    return
                under_way.result()  # raises what the other thread met
                continue
            try:
                self._fetch_and_hold(path, held)
            except BaseException as error:
                mine.set_exception(error)
                raise
            else:
                mine.set_result(None)
                return
            finally:
                with self._lock:
                    del self._fetching[path]

    def _fetch_and_hold(self, path: str, held: list[str]) -> None:
        new = self._download(path)
        size = new.stat().st_size
        with self._lock, _disk_errors():
            # Linked before it is in the cache: nobody can evict it in between.
            _link_over(new, self._held / _name(path))
            new.replace(self._files / _name(path))
            self._holders[path] = self._holders.get(path, 0) + 1
            held.append(path)
            self._touched[path] = self._clock()
        self._make_room(size)

    def _download(self, path: str) -> Path:
        new = self._held / f"{token_hex(8)}.new"
        try:
            self._fetch(path, new)
            size = new.stat().st_size
        except BaseException:
            with suppress(OSError):
                new.unlink(missing_ok=True)
            raise
        self.counts.misses += 1
        self.counts.fetched += size
        return new

    def _make_room(self, size: int) -> None:
        """Evict copies if there may be too many, now that ``size`` bytes were added."""
        with self._lock:
            self._added += size
            if self._added < self._most * ADDED_BETWEEN:
                return
            self._added = 0
        with suppress(BlockingIOError), self._looking():
            self._evict()

    @contextmanager
    def _looking(self) -> Generator[None]:
        """Let one process at a time evict.

        Raises:
            BlockingIOError: another one does.
        """
        handle = os.open(self._lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        finally:
            os.close(handle)

    def _evict(self) -> None:
        copies = sorted(self._copies())
        total = sum(size for _, size, _ in copies)
        disk = os.statvfs(self._files)
        most = min(self._most, max(0, total + disk.f_bavail * disk.f_frsize - self._reserve))
        if total <= most - self._most * ADDED_BETWEEN:
            return
        evicted = 0
        for _, size, file in copies:
            if total <= most * LEFT:
                break
            with suppress(OSError):
                file.unlink(missing_ok=True)
                total -= size
                evicted += 1
        log.info("cache.evicted", files=evicted, bytes_left=total)

    def _copies(self) -> list[tuple[int, int, Path]]:
        """Return each copy with its latest use (in ns) and its size."""
        found: list[tuple[int, int, Path]] = []
        with os.scandir(self._files) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    status = entry.stat()
                    found.append((status.st_atime_ns, status.st_size, Path(entry.path)))
        return found


def _name(path: str) -> str:
    """Return the name of a file's copy: one folder holds them all."""
    return path.replace("/", _SLASH)


def _path(name: str) -> str:
    return name.replace(_SLASH, "/")


def _link_over(file: Path, link: Path) -> None:
    link.unlink(missing_ok=True)
    os.link(file, link)


@contextmanager
def _disk_errors(*, but: type[OSError] | tuple[()] = ()) -> Generator[None]:
    """Raise errors of the local disk as such: they say nothing about the file that is read."""
    try:
        yield
    except but:
        raise
    except OSError as error:
        raise _no_disk(error.strerror or str(error)) from error


def _no_disk(why: str) -> OSError:
    return OSError(errno.ENOSPC, f"the cache of the lake cannot be written: {why}")
