"""Validation of stored documents as if they were uploaded now."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow.compute as pc
from pyarrow import RecordBatch

from headwater.domain.errors import Flaw
from headwater.domain.reject import RejectedLine
from headwater.ingest.lines import BLOCK, Block
from headwater.ingest.validation import Checker, LineErrors
from headwater.lake.engine import joined

#: Failing documents that are reported individually.
MOST_EXAMPLES = 10


@dataclass(frozen=True, kw_only=True)
class Example:
    """A document that would be rejected."""

    id: str
    #: The task that uploaded it.
    task: str
    #: Its first error.
    flaw: Flaw


class _First(LineErrors):
    """The first error of each of the first failing documents."""

    @property
    def listing(self) -> bool:
        """Whether another document would be reported."""
        return len(self.flaws) < MOST_EXAMPLES

    @property
    def thorough(self) -> bool:
        """Whether all errors of a document are wanted."""
        return False

    def record(self, line: RejectedLine) -> None:
        """Store the first error of a document."""
        self.flaws += line.flaws[:1]


class Recheck:
    """Validates documents batch by batch, and collects the results; used by one thread at a time."""

    def __init__(self, checker: Checker) -> None:
        """Validate with a checker, as it does for uploads."""
        self._checker = checker
        self._faults = _First()
        #: Documents that were validated.
        self.documents = 0
        #: Documents that would be accepted, but under another id.
        self.renamed = 0
        self.examples: list[Example] = []

    @property
    def failing(self) -> int:
        """Documents that would be rejected."""
        return self._faults.count

    def take(self, batch: RecordBatch) -> None:
        """Validate documents with the columns of ``current.DOCUMENTS``: ``doc_id``, ``task``, ``doc``."""
        for part in _parts(batch):
            self._take(part)

    def _take(self, part: RecordBatch) -> None:
        listed = len(self._faults.flaws)
        found = self._checker.ids(_block(part), self._faults)
        columns = cast("Any", part)
        ids: list[str] = columns.column("doc_id").to_pylist()
        self.documents += len(ids)
        self.renamed += _count_different(found, columns.column("doc_id"))
        for flaw in self._faults.flaws[listed:]:
            # A line of the block is a row of the batch.
            row = flaw.line or 0
            self.examples.append(Example(id=ids[row], task=columns.column("task")[row].as_py(), flaw=flaw))


def _count_different(some: Any, others: Any) -> int:
    """Return how many pairs of values differ; pairs with a null are not counted."""
    compute = cast("Any", pc)
    return compute.sum(compute.not_equal(some, others), min_count=0).as_py()


def _parts(batch: RecordBatch) -> Iterator[RecordBatch]:
    """Yield a batch in slices of about a block, which bounds what is copied, however long documents are."""
    ends = _offsets(batch)
    start = 0
    while start < batch.num_rows:
        end = max(start + 1, int(ends.searchsorted(ends[start] + BLOCK, side="right")) - 1)
        yield batch.slice(start, end - start)
        start = end


def _block(part: RecordBatch) -> Block:
    """Return stored documents, each with its line end, as a block whose lines are numbered from 0."""
    offsets = _offsets(part)
    places = offsets - offsets[0]
    return Block(
        data=joined(part.column("doc")),
        offsets=places.astype(np.int32),
        numbers=np.arange(part.num_rows),
        places=places[:-1],
    )


def _offsets(batch: RecordBatch) -> Any:
    texts = cast("Any", batch).column("doc")
    offsets = np.frombuffer(texts.buffers()[1], dtype=np.int32)
    return offsets[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
