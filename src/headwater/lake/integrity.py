"""Verification of segments against their digests.

DuckDB does not verify page checksums, so that a flipped bit would be served as a document. Each file is therefore
verified as a whole: the catalog stores its size and the digest of its bytes (XXH3, 128 bits: no protection against
deliberate forgery, but 10 to 20 times as fast as a cryptographic hash), and a process verifies a file before the
first query that reads it. After that the file counts as verified while its status (device, inode, size, mtime, ctime)
stays the same, for a limited time; then the next read verifies it again. A write through the file system changes
ctime, which no program can set back, so that the next read detects it. Damage below the file system (a failing disk)
changes no status; it is detected once the verification has expired, and always before a file is rewritten.

A verification reads the file once. Measured, it takes 2 % of the time of exporting the same file and 30 % of that of
reading one document from a file of 13 MB, once a day for each process.
"""

import errno
import io
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from headwater.domain.errors import SegmentDamaged, Unavailable
from headwater.domain.segment_table import SegmentFile
from headwater.lake.store import Store, blocks_of

#: Seconds for which a verification is valid.
VALID_FOR = 24 * 3600.0
#: Maximum number of cached verifications.
MOST_REMEMBERED = 100_000
#: A file that changed shorter than this before its verification may change again with the same ctime.
CLOCK_TICK_NS = 100_000_000

_ALGORITHM = "xxh3-128:"
#: Errors for a file that is missing or that the disk cannot read; other errors may be transient.
_LOST = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EIO, errno.EACCES, errno.EPERM, errno.EUCLEAN})


def digest_of(data: bytes) -> str:
    """Return the digest of bytes in the catalog's form."""
    return _ALGORITHM + xxhash.xxh3_128_hexdigest(data)


def file_digest(file: Path) -> str:
    """Return the digest of a local file.

    Raises:
        OSError: it is missing or unreadable.
    """
    return _digest(blocks_of(file))


class DigestFile(io.RawIOBase):
    """A new file that computes the digest of what is written to it."""

    def __init__(self, path: Path) -> None:
        """Create the file.

        Raises:
            OSError: the file cannot be created.
        """
        super().__init__()
        self._file = path.open("wb", buffering=0)
        self._hash = xxhash.xxh3_128()
        #: Number of bytes written.
        self.size = 0

    @property
    def digest(self) -> str:
        """The digest of what was written."""
        return _ALGORITHM + self._hash.hexdigest()

    def writable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the number of bytes written."""
        return self.size

    def write(self, data: Any, /) -> int:
        """Write all of the data."""
        left = memoryview(data).cast("B")
        self._hash.update(left)
        self.size += len(left)
        written = len(left)
        while left:  # a write to an unbuffered file may be partial
            left = left[self._file.write(left) :]
        return written

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


class Skipped:
    """The damaged segments that a read has skipped, because its caller asked for the rest."""

    def __init__(self) -> None:
        self._files: dict[str, SegmentFile] = {}

    def add(self, file: SegmentFile) -> None:
        """Add a file."""
        self._files.setdefault(file.path, file)

    def __iter__(self) -> Iterator[SegmentFile]:
        """Yield the segments in the order in which they were found."""
        return iter(list(self._files.values()))

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._files)


class Verifier:
    """Verifies the files of segments; thread-safe."""

    def __init__(
        self,
        store: Store,
        *,
        valid_for: float = VALID_FOR,
        on_damage: Callable[[SegmentFile, str], None] | None = None,
        on_repair: Callable[[SegmentFile], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Verify a file again after ``valid_for`` seconds.

        ``on_damage`` is called with each damaged file, ``on_repair`` with each segment that was recorded as damaged
        and is intact, in any thread.
        """
        self._store = store
        self._valid_for = valid_for
        self._on_damage = on_damage
        self._on_repair = on_repair
        self._clock = clock
        self._wall_clock = wall_clock
        self._lock = threading.Lock()
        #: By path: the digest, the file's status, and the expiry of the verification.
        self._verified: OrderedDict[str, tuple[str, tuple[int, ...], float]] = OrderedDict()

    def require(self, files: Sequence[SegmentFile], *, anew: bool = False) -> None:
        """Raise unless the files of all segments are intact; ``anew`` ignores earlier verifications.

        Raises:
            SegmentDamaged: one of them is damaged.
            Unavailable: a file cannot be read for now.
        """
        with self._fetched(files):
            for file in files:
                if not file.is_inlined and (fault := self._fault(file, anew=anew)) is not None:
                    raise self.damaged(file, fault)

    def damaged_among(
        self,
        files: Sequence[SegmentFile],
        skipped: Skipped,
        fault_of_inlined: Callable[[SegmentFile], str | None],
    ) -> list[SegmentFile]:
        """Return the damaged files, and add them to ``skipped``; ``fault_of_inlined`` checks inlined rows.

        Raises:
            Unavailable: a file cannot be read for now.
        """
        found: list[SegmentFile] = []
        with self._fetched(files):
            for file in files:
                fault = fault_of_inlined(file) if file.is_inlined else self._fault(file, thorough=True)
                if fault is not None:
                    self.damaged(file, fault)
                    skipped.add(file)
                    found.append(file)
        return found

    def find_damage(self, files: Sequence[SegmentFile]) -> SegmentDamaged | None:
        """Return what is wrong with files that could not be read, as far as another verification can find out."""
        for file in files:
            if not file.is_inlined and (fault := self._fault(file, anew=True, thorough=True)) is not None:
                return self.damaged(file, fault)
        return None

    def damaged(self, file: SegmentFile, fault: str) -> SegmentDamaged:
        """Return the error that names a damaged file, and report the damage."""
        if self._on_damage is not None:
            self._on_damage(file, fault)
        return SegmentDamaged(file.fid, file.task, path=file.path, fault=fault)

    @contextmanager
    def _fetched(self, files: Sequence[SegmentFile]) -> Generator[None]:
        """Fetch all files together, as far as possible; what is wrong with one is found when it is verified."""
        with ExitStack() as stack:
            with suppress(OSError):
                stack.enter_context(self._store.reading([file.path for file in files if not file.is_inlined]))
            yield

    def _fault(self, file: SegmentFile, *, anew: bool = False, thorough: bool = False) -> str | None:
        """Return what is wrong with a file, or None.

        A file without a digest is from an older release; with ``thorough`` it is decoded completely.
        """
        # Without a digest, only decoding shows whether a file is intact.
        is_known = file.damaged_at is not None
        try:
            fault = self._fault_of_file(file, anew=anew, thorough=thorough or is_known)
            if fault is not None and self._store.renew(file.path):
                fault = self._fault_of_file(file, anew=True, thorough=thorough or is_known)
        except FileNotFoundError:
            return "its file is missing"
        except OSError as error:
            if error.errno in _LOST:
                return f"its file cannot be read: {error.strerror}"
            raise Unavailable(f"the lake cannot be read now: {error.strerror}") from error
        if fault is None and is_known and self._on_repair is not None:
            self._on_repair(file)
        return fault

    def _fault_of_file(self, file: SegmentFile, *, anew: bool, thorough: bool) -> str | None:
        wanted = file.digest or ""
        status = self._store.status(file.path)
        if file.size is not None and status[2] != file.size:
            return f"its file has {status[2]} bytes instead of {file.size}"
        if not (wanted or thorough) or (not anew and self._is_verified(file.path, wanted, status)):
            return None
        if wanted:
            is_same = _digest(self._store.blocks(file.path)) == wanted
            fault = None if is_same else "its file does not have the digest that it was written with"
        else:
            fault = _decoding_fault(self._store.locate(file.path))
        if fault is None:
            self._remember(file.path, wanted, status)
        return fault

    def _is_verified(self, path: str, digest: str, status: tuple[int, ...]) -> bool:
        with self._lock:
            known = self._verified.get(path)
            if known is None or known[:2] != (digest, status) or self._clock() >= known[2]:
                return False
            self._verified.move_to_end(path)
            return True

    def _remember(self, path: str, digest: str, status: tuple[int, ...]) -> None:
        if abs(self._wall_clock() - status[4]) < CLOCK_TICK_NS:
            return  # another write might leave the same ctime
        with self._lock:
            self._verified[path] = (digest, status, self._clock() + self._valid_for)
            self._verified.move_to_end(path)
            while len(self._verified) > MOST_REMEMBERED:
                self._verified.popitem(last=False)


def _digest(blocks: Iterable[memoryview]) -> str:
    found = xxhash.xxh3_128()
    for block in blocks:
        found.update(block)
    return _ALGORITHM + found.hexdigest()


def _decoding_fault(file: str) -> str | None:
    """Return why a file cannot be decoded completely, or None."""
    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as opened:
            for batch in cast("Any", opened).iter_batches():
                batch.validate(full=True)
    except (pa.ArrowException, ValueError, MemoryError) as error:
        return f"its file cannot be decoded: {str(error).splitlines()[0][:200] if str(error) else type(error).__name__}"
    except OSError as error:
        if error.errno is not None:
            raise
        return f"its file cannot be decoded: {str(error).splitlines()[0][:200]}"  # Arrow's message about a broken page
    return None
