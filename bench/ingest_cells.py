"""The cells of the ingest benchmark: uploads of one kind over so many connections, and what was measured of them."""

import contextlib
import math
from collections.abc import Generator
from dataclasses import dataclass, fields, replace
from http import HTTPStatus
from itertools import product
from statistics import median
from typing import Self

from bench import documents
from bench.apart import Apart
from bench.ingest_bodies import Corpus, Kind
from bench.ingest_client import Load, Sent, send
from bench.measure import Effort, effort_of
from bench.served import Served
from examples.packages_crawler.processes import Failed

#: How many documents an upload of the matrix holds, ...
UPLOADS = (10_000, 1_000, 50, 1)
#: ... and over how many connections they come.
CONNECTIONS = (1, 4, 8)
#: A cell of small uploads has fewer documents, so that it does not take longer than the others.
_MOST_UPLOADS = {50: 2_000, 1: 600}
#: Each connection of a cell has so many uploads to send, on the average, or more.
_FEWEST_OF_A_CONNECTION = 4
#: Seconds after which a cell of the matrix begins no upload any more.
_LONGEST = 1.5
#: Seconds that the server is to be idle for before the next cell.
_BREATH = 0.2


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Uploads of one kind."""

    kind: Kind
    #: Each uploads to a task of its own.
    connections: int
    uploads: int
    #: Uploads a second; None is as fast as they are answered.
    pace: float | None = None
    #: Seconds after which no upload is begun any more.
    longest: float = math.inf
    #: Processes of the server.
    workers: int = 1
    #: Whether the documents that the streams show are counted afterwards, which takes a while.
    is_counted: bool = False

    @property
    def name(self) -> str:
        """What it is called, ``573-gzip-10000-4`` say."""
        encoding = "gzip" if self.kind.gzipped else "plain"
        paced = "" if self.pace is None else f"-paced-{self.pace:g}"
        workers = "" if self.workers == 1 else f"-workers-{self.workers}"
        return f"{self.kind.corpus.size}-{encoding}-{self.kind.docs}-{self.connections}{paced}{workers}"


def cell(corpus: Corpus, *, docs: int, connections: int, gzipped: bool, smaller: int = 1) -> Cell:
    """Return a cell that uploads a corpus once, or more often if a connection had too little to do, or part of it."""
    kind = Kind(corpus=corpus, docs=docs, gzipped=gzipped)
    once = min(kind.bodies, _MOST_UPLOADS.get(docs, kind.bodies) // smaller)
    uploads = max(once, _FEWEST_OF_A_CONNECTION * connections)
    return Cell(kind=kind, connections=connections, uploads=uploads)


def matrix(*corpora: Corpus, smaller: int = 1) -> list[Cell]:
    """Return the cells of all sizes, encodings and numbers of connections, none of them long."""
    return [
        replace(cell(corpus, docs=docs, connections=connections, gzipped=gzipped, smaller=smaller), longest=_LONGEST)
        for corpus, gzipped, docs, connections in product(corpora, (True, False), UPLOADS, CONNECTIONS)
    ]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured of a cell once, or the medians of that."""

    docs_per_second: float
    #: Of documents, not compressed.
    mb_per_second: float
    uploads_per_second: float
    p50_ms: float
    p99_ms: float
    #: Seconds of processor time for a million documents: the server's, its background work included, ...
    server_cpu: float
    #: ... and the client's.
    client_cpu: float
    #: Cores that were at work, whoever used them.
    cores: float
    #: The server's memory at its highest.
    peak_mb: float

    @classmethod
    def median(cls, *rounds: Self) -> Self:
        """Return the median of each value."""
        return cls(**{field.name: median(getattr(each, field.name) for each in rounds) for field in fields(cls)})


def measured(served: Served, client: Apart, cell: Cell) -> Measured:
    """Upload a cell to new streams, see that all of it is there, and delete them.

    Raises:
        Failed: something was not accepted, or is not there; with the end of the server's log.
    """
    try:
        with _runs(served, cell.connections) as runs:
            endpoints = [run.endpoint for run in runs]
            warm = client.call(send, Load(kind=cell.kind, uploads=cell.connections), endpoints)
            load = Load(kind=cell.kind, uploads=cell.uploads, pace=cell.pace, longest=cell.longest)
            with effort_of(served.pid) as effort:
                sent = client.call(send, load, endpoints)
            for run, *numbers in zip(runs, warm.numbers, sent.numbers, strict=True):
                _require_there(served, run, cell, *numbers)
    except Failed as error:
        raise served.blamed(error, cell.name) from error
    served.wait_until_idle(seconds=_BREATH)
    return _values(cell, sent, effort)


def _values(cell: Cell, sent: Sent, effort: Effort) -> Measured:
    docs = sent.uploads * cell.kind.docs
    return Measured(
        docs_per_second=docs / sent.seconds,
        mb_per_second=sent.size / 1e6 / sent.seconds,
        uploads_per_second=sent.uploads / sent.seconds,
        p50_ms=1e3 * sent.percentile(50),
        p99_ms=1e3 * sent.percentile(99),
        server_cpu=1e6 * effort.cpu / docs,
        client_cpu=1e6 * sent.cpu / docs,
        cores=effort.cores,
        peak_mb=effort.memory.peak / 1e6,
    )


@dataclass(frozen=True, kw_only=True)
class Run:
    """A task that runs, and where its documents go."""

    task: str
    stream: str
    endpoint: str


def started(served: Served, crawler: str) -> Run:
    """Start a task."""
    task = served.call("POST", f"/actions/crawlers/{crawler}/task", expect=HTTPStatus.CREATED)
    return Run(task=task["fid"], stream=task["stream"], endpoint=task["upload"]["endpoint"])


def crawlers(served: Served, count: int) -> list[str]:
    """Create crawlers of reviews, each with a stream of its own; return their fids."""
    created = HTTPStatus.CREATED
    definition = {"meta": {"name": "reviews"}, "docIdField": "id", "schema": documents.SCHEMA}
    path = f"/actions/externals/{served.call('POST', '/externals', json=definition, expect=created)['fid']}/crawler"
    found: list[str] = []
    for number in range(count):
        name = f"reviews {number}"
        stream = served.call("POST", "/streams", json={"meta": {"name": name}}, expect=created)["fid"]
        body = {"meta": {"name": name, "links": [{"from": {"type": "streams", "fid": stream}}]}}
        found.append(served.call("POST", path, json=body, expect=created)["fid"])
    return found


@contextlib.contextmanager
def _runs(served: Served, count: int) -> Generator[list[Run]]:
    """Start tasks, and delete them for good afterwards, so that the next cell has none of their merging to wait for."""
    runs = [started(served, crawler) for crawler in crawlers(served, count)]
    yield runs
    for run in runs:
        served.call("DELETE", f"/streams/{run.stream}", params={"cascade": "true"})


def _require_there(served: Served, run: Run, cell: Cell, *numbers: tuple[int, ...]) -> None:
    """See that a task took all that its connection uploaded, and what its stream shows of it."""
    task = served.call("GET", f"/tasks/{run.task}")
    uploads = sum(map(len, numbers))
    if (task["uploads"], task["docs"]) != (uploads, uploads * cell.kind.docs):
        raise Failed(
            f"task {run.task} has {task['docs']:,} documents of {task['uploads']:,} uploads; "
            f"{uploads:,} uploads of {cell.kind.docs:,} were accepted"
        )
    if not cell.is_counted:
        return
    different = {number % cell.kind.bodies for part in numbers for number in part}
    docs = served.wait_until_counted(run.stream)
    if docs != len(different) * cell.kind.docs:
        raise Failed(f"stream {run.stream} shows {docs:,} documents, not {len(different) * cell.kind.docs:,}")
