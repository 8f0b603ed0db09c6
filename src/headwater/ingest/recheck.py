"""Documents that are stored already, checked as if they were uploaded."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow.compute as pc
from pyarrow import RecordBatch

from headwater.domain.errors import Flaw
from headwater.domain.reject import RejectedLine
from headwater.ingest.lines import BLOCK, Block
from headwater.ingest.validation import Checker, Faults
from headwater.lake.engine import joined

#: Documents at fault that are told of one by one.
MOST_EXAMPLES = 10


@dataclass(frozen=True, kw_only=True)
class Example:
    """A document that would be refused."""

    id: str
    #: The task that wrote it.
    task: str
    #: The first thing that is wrong with it.
    flaw: Flaw


class _First(Faults):
    """The first fault of each of the first documents at fault."""

    @property
    def listing(self) -> bool:
        """Whether there is room to tell of another document."""
        return len(self.flaws) < MOST_EXAMPLES

    @property
    def thorough(self) -> bool:
        """Whether all that is wrong with a document is wanted."""
        return False

    def tell(self, line: RejectedLine) -> None:
        """Keep the first thing that is wrong with a document."""
        self.flaws += line.flaws[:1]


class Recheck:
    """Checks documents batch by batch, and holds what came of it; used by one thread at a time."""

    def __init__(self, checker: Checker) -> None:
        """Check by what a checker demands, in the way that it does for uploads."""
        self._checker = checker
        self._faults = _First()
        #: Documents that were looked at.
        self.documents = 0
        #: Those that would be taken, but under another id.
        self.renamed = 0
        self.examples: list[Example] = []

    @property
    def failing(self) -> int:
        """Documents that would be refused."""
        return self._faults.count

    def take(self, batch: RecordBatch) -> None:
        """Check documents, as ``winners.DOCUMENTS`` asks for them: ``doc_id``, ``task``, ``doc``."""
        for part in _parts(batch):
            self._take(part)

    def _take(self, part: RecordBatch) -> None:
        told = len(self._faults.flaws)
        found = self._checker.ids(_block(part), self._faults)
        columns = cast("Any", part)
        ids: list[str] = columns.column("doc_id").to_pylist()
        self.documents += len(ids)
        self.renamed += _count_different(found, columns.column("doc_id"))
        for flaw in self._faults.flaws[told:]:
            # A line of the block is a row of the part.
            row = flaw.line or 0
            self.examples.append(Example(id=ids[row], task=columns.column("task")[row].as_py(), flaw=flaw))


def _count_different(some: Any, others: Any) -> int:
    """Return how many pairs of values differ; those with a null are not counted."""
    compute = cast("Any", pc)
    return compute.sum(compute.not_equal(some, others), min_count=0).as_py()


def _parts(batch: RecordBatch) -> Iterator[RecordBatch]:
    """Yield a batch in parts of about a block, so that what is copied of it is no more, however long documents are."""
    ends = _offsets(batch)
    start = 0
    while start < batch.num_rows:
        end = max(start + 1, int(ends.searchsorted(ends[start] + BLOCK, side="right")) - 1)
        yield batch.slice(start, end - start)
        start = end


def _block(part: RecordBatch) -> Block:
    """Return documents, each of which is kept with its line end, as lines that are numbered from 0."""
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
