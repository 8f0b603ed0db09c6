"""Rounds of the ingest benchmark: everything once, in an order that is turned around from round to round."""

import contextlib
import tempfile
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from statistics import median

from bench.apart import Apart, apart
from bench.documents import LONG_REVIEW_BYTES, REVIEW_BYTES
from bench.ingest_bodies import Corpus, prepare, write
from bench.ingest_cells import Cell, Measured, cell, measured
from bench.ingest_rivals import BARE, LOAD, PARQUET, RIVALS
from bench.served import Served, is_offered, serving

#: Where data are while they are needed: not in a folder for temporary files, which may be memory.
DATA = Path(__file__).with_name("data")

_REVIEWS, _LONG_REVIEWS = 200_000, 50_000
_PACE, _PACED_UPLOADS = 200.0, 2_000
_WORKERS = 2


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured."""

    #: So many times fewer documents, to try things out.
    smaller: int = 1

    @cached_property
    def reviews(self) -> Corpus:
        """Documents of the common size."""
        return Corpus(size=REVIEW_BYTES, docs=_REVIEWS // self.smaller)

    @cached_property
    def long_reviews(self) -> Corpus:
        """Larger documents."""
        return Corpus(size=LONG_REVIEW_BYTES, docs=_LONG_REVIEWS // self.smaller)

    @cached_property
    def gzipped(self) -> Cell:
        """Large compressed uploads, which Headwater is made for."""
        return self._cell(10_000, 4)

    @cached_property
    def plain(self) -> Cell:
        """The same, not compressed."""
        return self._cell(10_000, 4, gzipped=False)

    @cached_property
    def small(self) -> Cell:
        """Many small uploads."""
        return self._cell(50, 8)

    @cached_property
    def paced(self) -> Cell:
        """Single documents that come one by one."""
        return replace(self._cell(1, 8, gzipped=False), uploads=_PACED_UPLOADS // self.smaller, pace=_PACE)

    @cached_property
    def two_workers(self) -> Cell:
        """The first, with a server of two processes."""
        return replace(self.gzipped, workers=_WORKERS)

    @property
    def contest(self) -> "list[Item]":
        """What the ratios are of; those that a ratio compares stand side by side."""
        return [BARE, self.gzipped, LOAD, PARQUET, self.two_workers, self.plain, self.small, self.paced]

    def _cell(self, docs: int, connections: int, *, gzipped: bool = True) -> Cell:
        whole = cell(self.reviews, docs=docs, connections=connections, gzipped=gzipped, smaller=self.smaller)
        return replace(whole, is_counted=True)


#: A cell, or the name of something that it is compared with.
Item = Cell | str


def name_of(item: Item) -> str:
    """Return what an item is called."""
    return item if isinstance(item, str) else item.name


@dataclass(kw_only=True)
class Findings:
    """What was measured so far, round by round."""

    #: Documents a second of what Headwater is compared with, by name.
    rivals: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    #: By the cell's name.
    cells: dict[str, list[Measured]] = field(default_factory=dict[str, list[Measured]])

    def rival(self, name: str) -> float | None:
        """Return the median, in documents a second; None if it was not measured."""
        return median(self.rivals[name]) if name in self.rivals else None

    def cell(self, cell: Cell) -> Measured | None:
        """Return the medians of a cell; None if it was not measured."""
        return Measured.median(*self.cells[cell.name]) if cell.name in self.cells else None

    def rate(self, item: Item) -> float | None:
        """Return the documents a second of a cell or a rival; None if it was not measured."""
        if isinstance(item, str):
            return self.rival(item)
        found = self.cell(item)
        return found and found.docs_per_second

    def ratio(self, ours: Item, theirs: Item) -> float | None:
        """Return how many times as many documents a second one takes as the other; None unless both were measured."""
        above, below = self.rate(ours), self.rate(theirs)
        return above / below if above and below else None


class Bench:
    """Measures cells and rivals on the same documents."""

    def __init__(self, client: Apart, folder: Path) -> None:
        """Upload with a client, and keep data in a folder as long as they are needed."""
        self.client = client
        self._folder = folder
        self._workers_offered = is_offered("--workers")

    def prepare(self, items: Sequence[Item], plan: Plan) -> None:
        """Make all that is uploaded or loaded, so that nothing is left to make when time is taken."""
        self.client.call(prepare, list(dict.fromkeys(item.kind for item in items if isinstance(item, Cell))))
        if not all(isinstance(item, Cell) for item in items):
            self.client.call(write, plan.reviews, self._file)

    def rounds(self, items: Sequence[Item], count: int, found: Findings, say: Callable[[str], None]) -> None:
        """Measure everything so often, each round with new data and in the other order."""
        for number in range(count):
            with self.served() as served:
                for item in items[:: -1 if number % 2 else 1]:
                    say(f"round {number + 1} of {count}: {name_of(item)}")
                    self._measure(item, served, found)

    def _measure(self, item: Item, served: Served, found: Findings) -> None:
        if isinstance(item, str):
            with apart() as process:
                found.rivals.setdefault(item, []).append(process.call(RIVALS[item], self._file))
        elif item.workers == 1:
            found.cells.setdefault(item.name, []).append(measured(served, self.client, item))
        elif self._workers_offered:
            with self.served(item.workers) as another:
                found.cells.setdefault(item.name, []).append(measured(another, self.client, item))

    @property
    def _file(self) -> Path:
        """The reviews as lines of JSON, for who loads files."""
        return self._folder / "reviews.ndjson"

    @contextlib.contextmanager
    def served(self, workers: int = 1) -> Generator[Served]:
        """Serve a new data directory, deleted in the end."""
        options = () if workers == 1 else ("--workers", str(workers))
        # The log outlives the data, so that whoever is told of it can read it.
        log = DATA / f"ingest-server-{workers}.log"
        with (
            tempfile.TemporaryDirectory(dir=self._folder) as data,
            serving(Path(data), log=log, options=options) as served,
        ):
            yield served


@contextlib.contextmanager
def opened() -> Generator[Bench]:
    """Start a client, make room for data; end and remove both with the block."""
    DATA.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ingest-", dir=DATA) as folder, apart() as client:
        yield Bench(client, Path(folder))


def chosen(items: Iterable[Item], parts: Sequence[str]) -> list[Item]:
    """Return the items whose names hold one of the parts, or all if there is none."""
    return [item for item in items if not parts or any(part in name_of(item) for part in parts)]


def as_json(found: Findings) -> Mapping[str, object]:
    """Return everything that was measured."""
    cells = {
        name: {"median": vars(Measured.median(*rounds)), "rounds": [vars(each) for each in rounds]}
        for name, rounds in found.cells.items()
    }
    return {"rivals_docs_per_second": found.rivals, "cells": cells}
