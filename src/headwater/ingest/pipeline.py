"""Pipeline of one upload, from received bytes to a written segment; memory is bounded by a block and a row group."""

import errno
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import structlog

from headwater.domain.errors import NoRoom, Unavailable, UploadTooLarge
from headwater.domain.stream import WrittenSegment
from headwater.ingest.decompression import Decompressor
from headwater.ingest.lines import Block, LineCutter
from headwater.ingest.rejected_lines import RejectedLines
from headwater.ingest.validation import Checker, LineErrors
from headwater.lake.segment import SegmentWriter
from headwater.lake.segment_format import SCHEMA
from headwater.sandbox.pool import WouldBlock

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of uploads."""

    #: Bytes of an upload, decompressed.
    upload: int
    #: Bytes of a document.
    document: int
    #: Bytes of an upload's documents up to which they are stored in the catalog instead of a file.
    inlined: int = 64 << 10
    #: Bytes of documents that all uploads together may hold in memory.
    memory: int = 512 << 20
    #: Seconds without data after which an upload is aborted.
    idle_timeout: float = 60.0
    #: Concurrent uploads per task.
    of_task: int = 32


class DecodedBody:
    """Decompresses a body, counts its bytes, and hashes them."""

    def __init__(self, decompressor: Decompressor, *, most: int, digest: bool) -> None:
        """Limit the decompressed size to ``most`` bytes; compute a digest on request."""
        self._decompressor = decompressor
        self._most = most
        self._hash = sha256() if digest else None
        self._size = 0
        self._received = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the decompressed bytes.

        Raises:
            UploadBroken: the data is corrupt.
            UploadTooLarge: the limit is exceeded.
        """
        self._received += len(data)
        self._require(self._received)  # an endless body may decompress to nothing
        for piece in self._decompressor.feed(data):
            self._size += len(piece)
            self._require(self._size)
            if self._hash is not None:
                self._hash.update(piece)
            yield piece

    def _require(self, size: int) -> None:
        if size > self._most:
            raise UploadTooLarge(
                f"the upload is over the limit of {self._most} bytes, decompressed (setting max_upload); "
                "send it in several uploads"
            )

    def finish(self) -> None:
        """Signal the end of the body.

        Raises:
            UploadBroken: the body is truncated.
        """
        self._decompressor.finish()

    @property
    def digest(self) -> str | None:
        """SHA-256 of the decompressed bytes, in hex, if requested."""
        return None if self._hash is None else self._hash.hexdigest()


class UploadPipeline:
    """Processes one upload; used by one thread at a time."""

    def __init__(
        self,
        decoded: DecodedBody,
        *,
        checker: Checker,
        writer: SegmentWriter,
        longest: int,
        aside: RejectedLines | None = None,
    ) -> None:
        """Take documents of at most ``longest`` bytes; rejected lines go to ``aside`` if that is given."""
        self._inflow = decoded
        self._cutter = LineCutter(longest=longest)
        self._checker = checker
        self._writer = writer
        self._aside = aside
        self._faults = LineErrors() if aside is None else aside
        self._docs = 0
        #: The remaining blocks once the body has ended; None before.
        self._last: deque[Block] | None = None
        self._failed: Exception | None = None
        self._is_over = False

    @property
    def held(self) -> int:
        """Bytes of the upload that are in memory."""
        aside = 0 if self._aside is None else self._aside.held
        return self._cutter.held + self._writer.held + aside

    def spill(self) -> None:
        """Write the buffered documents, even as a row group smaller than ideal.

        Another upload's thread may call this, so errors are raised with this upload's next chunk.
        """
        if self._is_over:
            return  # the caller checks before
        try:
            for block in self._cutter.flush():
                self._take(block)
            with _kept():
                self._writer.spill()
        except Exception as error:  # noqa: BLE001 - raised by the next call
            self._failed = error

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield the decompressed pieces of a chunk.

        Raises:
            UploadBroken, UploadTooLarge: the upload is rejected.
        """
        return self._inflow.feed(data)

    def take(self, pieces: Iterable[bytes]) -> None:
        """Process decompressed bytes.

        Raises:
            DocumentTooLarge: the upload is rejected.
        """
        if self._failed is not None:
            raise self._failed
        for piece in pieces:
            for block in self._cutter.feed(piece):
                self._take(block)

    def finish(self) -> WrittenSegment | None:
        """Return the written segment, synced to disk; None if the upload has no documents.

        Raises:
            UploadBroken, DocumentInvalid, DocumentTooLarge: the upload is rejected.
            WouldBlock: in an event loop, if it has to wait for the sandbox; call it again in a thread.
        """
        self._is_over = True
        if self._last is None:
            self._inflow.finish()
            self._last = deque(self._cutter.finish())
        while self._last:
            self._take(self._last[0])
            self._last.popleft()
        if self._faults and self._aside is None:
            raise self._faults.error(external=self._checker.external)
        with _kept():
            return self._writer.finish()

    def discard(self) -> None:
        """Discard all that was written."""
        self._is_over = True
        self._writer.discard()

    def _take(self, block: Block) -> None:
        try:
            checked = self._checker.checked(block, self._faults)
        except WouldBlock:
            # Only a strict upload of one block is processed in an event loop, so no earlier errors are lost.
            self._faults = LineErrors()
            raise
        # An upload with errors is read to its end, to report all of them at once.
        if self._faults and self._aside is None:
            return
        # Zero copy: the received bytes become the column.
        offsets = pa.py_buffer(cast("Any", block.offsets))
        documents = pa.StringArray.from_buffers(len(block), offsets, pa.py_buffer(block.data))
        size, ids = len(block.data), checked.ids
        sizes = np.diff(block.offsets)
        if checked.deletions:
            is_deletion = np.zeros(len(block), bool)
            is_deletion[checked.deletions] = True
            sizes = np.where(is_deletion, 0, sizes)
            size = int(sizes.sum())
            documents = cast("Any", pc).if_else(pa.array(is_deletion), "", documents)
        if ids.null_count:
            is_good = cast("Any", ids).is_valid()
            size = int(sizes[is_good.to_numpy(zero_copy_only=False)].sum())
            documents, ids = cast("Any", documents).filter(is_good), cast("Any", ids).drop_null()
        if not len(ids):
            return
        first = self._docs
        self._docs += len(ids)
        places = pa.array(np.arange(first, self._docs))
        columns = [ids, places, documents]
        batch = cast("Any", pa).record_batch(columns, schema=SCHEMA)
        with _kept():
            self._writer.add(batch, size=size, deletions=len(checked.deletions))


class DigestOnly:
    """Hashes a repeated body, to compare it with the first one."""

    held = 0

    def __init__(self, decoded: DecodedBody) -> None:
        self._inflow = decoded

    def spill(self) -> None:
        """Do nothing: nothing is held."""

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield the decompressed pieces of a chunk."""
        return self._inflow.feed(data)

    def take(self, pieces: Iterable[bytes]) -> None:
        """Consume decompressed bytes."""
        for _ in pieces:
            pass

    def finish(self) -> None:
        """Signal the end of the body."""
        self._inflow.finish()

    def discard(self) -> None:
        """Do nothing: nothing is written."""


@contextmanager
def _kept() -> Generator[None]:
    """Report write errors of the store (a full disk, say) as such, and not as the sender's fault."""
    try:
        yield
    except OSError as error:
        log.exception("store.failed")
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise NoRoom("the server's disk is full; nothing of the upload was kept") from error
        raise Unavailable(
            "the store cannot take documents now; nothing of the upload was kept", retry_after=30
        ) from error
