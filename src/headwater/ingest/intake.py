"""The way of one upload from received bytes to a written segment; memory is one block and one row group."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, cast

import numpy as np
import pyarrow as pa
import structlog

from headwater.domain.errors import Unavailable, UploadTooLarge
from headwater.domain.stream import Written
from headwater.ingest.aside import Aside
from headwater.ingest.decompression import Decompressor
from headwater.ingest.lines import Block, LineCutter
from headwater.ingest.validation import Checker, Faults
from headwater.lake.segment import SCHEMA, SegmentWriter

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much an upload may be."""

    #: Bytes of an upload, decompressed.
    upload: int
    #: Bytes of a document.
    document: int
    #: Bytes of documents of an upload that the catalog keeps instead of a file.
    inlined: int = 64 << 10
    #: Bytes of documents that all uploads together hold in memory.
    memory: int = 512 << 20
    #: Seconds for which nothing of an upload may come.
    stall: float = 60.0
    #: Uploads of one task at once.
    of_task: int = 32


class Inflow:
    """Decodes a body, and measures it."""

    def __init__(self, decompressor: Decompressor, *, most: int, digest: bool) -> None:
        """Let through at most ``most`` decoded bytes; take their digest if it is asked for."""
        self._decompressor = decompressor
        self._most = most
        self._hash = sha256() if digest else None
        self._size = 0
        self._received = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the decoded bytes.

        Raises:
            UploadBroken: they cannot be decoded.
            UploadTooLarge: there are too many.
        """
        self._received += len(data)
        self._require(self._received)  # a body may go on without end and decode to nothing
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
        """Tell that the body has ended.

        Raises:
            UploadBroken: in the middle of its encoding.
        """
        self._decompressor.finish()

    @property
    def digest(self) -> str | None:
        """SHA-256 of the decoded bytes, in hex, if it was asked for."""
        return None if self._hash is None else self._hash.hexdigest()


class Intake:
    """Takes one upload; use it in one thread at a time."""

    def __init__(
        self, inflow: Inflow, *, checker: Checker, writer: SegmentWriter, longest: int, aside: Aside | None = None
    ) -> None:
        """Take documents of at most ``longest`` bytes; with ``aside``, lines that are none are kept there."""
        self._inflow = inflow
        self._cutter = LineCutter(longest=longest)
        self._checker = checker
        self._writer = writer
        self._aside = aside
        self._faults = Faults() if aside is None else aside
        self._docs = 0
        self._failed: Exception | None = None
        self._is_over = False

    @property
    def held(self) -> int:
        """Bytes of the upload that are in memory."""
        aside = 0 if self._aside is None else self._aside.held
        return self._cutter.held + self._writer.held + aside

    def spill(self) -> None:
        """Write the documents that there are, though they are fewer than are well read together.

        Whoever asks for it may belong to another upload, so that what goes wrong is told with the next part.
        """
        if self._is_over:
            return  # whoever asks had looked before
        try:
            for block in self._cutter.flush():
                self._take(block)
            with _kept():
                self._writer.spill()
        except Exception as error:  # noqa: BLE001 - it is told to whom it concerns
            self._failed = error

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield what received bytes decode to.

        Raises:
            UploadBroken, UploadTooLarge: they cannot be taken.
        """
        return self._inflow.feed(data)

    def take(self, pieces: Iterable[bytes]) -> None:
        """Take decoded bytes.

        Raises:
            DocumentTooLarge: the upload cannot be taken.
        """
        if self._failed is not None:
            raise self._failed
        for piece in pieces:
            for block in self._cutter.feed(piece):
                self._take(block)

    def finish(self) -> Written | None:
        """Return the segment, on disk; None if the upload holds no document.

        Raises:
            UploadBroken, DocumentInvalid, DocumentTooLarge: the upload cannot be taken.
        """
        self._is_over = True
        self._inflow.finish()
        for block in self._cutter.finish():
            self._take(block)
        if self._faults and self._aside is None:
            raise self._faults.error(external=self._checker.external)
        with _kept():
            return self._writer.finish()

    def discard(self) -> None:
        """Leave nothing behind."""
        self._is_over = True
        self._writer.discard()

    def _take(self, block: Block) -> None:
        ids = self._checker.ids(block, self._faults)
        # A faulty upload is read to its end, so that all that is wrong is told at once.
        if self._faults and self._aside is None:
            return
        # The received bytes are the column: nothing is copied.
        offsets = pa.py_buffer(cast("Any", block.offsets))
        documents = pa.StringArray.from_buffers(len(block), offsets, pa.py_buffer(block.data))
        size = len(block.data)
        if ids.null_count:
            is_good = cast("Any", ids).is_valid()
            size = int(np.diff(block.offsets)[is_good.to_numpy(zero_copy_only=False)].sum())
            documents, ids = cast("Any", documents).filter(is_good), cast("Any", ids).drop_null()
        if not len(ids):
            return
        first = self._docs
        self._docs += len(ids)
        places = pa.array(np.arange(first, self._docs))
        columns = [ids, places, documents]
        batch = cast("Any", pa).record_batch(columns, schema=SCHEMA)
        with _kept():
            self._writer.add(batch, size=size)


class Measure:
    """Takes a body that is known, to see whether it is the same."""

    held = 0

    def __init__(self, inflow: Inflow) -> None:
        self._inflow = inflow

    def spill(self) -> None:
        """Do nothing: nothing is held."""

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield what received bytes decode to."""
        return self._inflow.feed(data)

    def take(self, pieces: Iterable[bytes]) -> None:
        """Look at decoded bytes."""
        for _ in pieces:
            pass

    def finish(self) -> None:
        """Tell that the body has ended."""
        self._inflow.finish()

    def discard(self) -> None:
        """Do nothing: nothing is written."""


@contextmanager
def _kept() -> Generator[None]:
    """Say that the store does not take what is written, a full disk say, and is not the sender's fault."""
    try:
        yield
    except OSError as error:
        log.exception("store.failed")
        raise Unavailable(
            "the store cannot take documents now; nothing of the upload was kept", retry_after=30
        ) from error
