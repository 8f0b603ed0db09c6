"""Who is measured: Headwater, and what a team would use instead, each as its documentation has it for much data."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from bench.peers import headwater, in_process
from bench.peers.datasette import load as datasette
from bench.peers.first_service import load as first_service
from bench.peers.kinto import load as kinto
from bench.peers.loading import Loaded
from bench.peers.turn import Turn

Kept = Literal["yes", "part", "no"]


@dataclass(frozen=True, kw_only=True)
class Promises:
    """What a peer does beside storing."""

    #: Takes documents from another machine.
    http: Kept
    #: Refuses a document that does not match the JSON Schema.
    schema: Kept
    #: Holds one document of an id, that of the newest load.
    ids: Kept
    #: What it answered for survives a power cut.
    fsync: Kept


@dataclass(frozen=True, kw_only=True)
class Goal:
    """How many times as fast as a peer Headwater shall be."""

    times: float
    #: Whether just so many times are not enough.
    more: bool = False

    def is_met_by(self, ratio: float) -> bool:
        """Whether that is fast enough."""
        return ratio > self.times if self.more else ratio >= self.times


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A way to take documents in."""

    name: str
    #: Its folder beside this module, which holds its requirements.
    home: str
    #: The package whose version is shown.
    distribution: str
    #: Documents of a load: enough to take a second or so.
    docs: int
    promises: Promises
    goal: Goal
    load: Callable[[Turn], Loaded]


AHEAD = Goal(times=1, more=True)
FIVE_TIMES = Goal(times=5)

_ALL = Promises(http="yes", schema="yes", ids="yes", fsync="yes")


def headwater_of(workers: int, *, gzipped: bool) -> Peer:
    """Return Headwater with so many processes: it needs no environment but this one, and is its own measure."""
    return Peer(
        name=f"Headwater, {workers} worker{'' if workers == 1 else 's'}{'' if gzipped else ', plain'}",
        home="",
        distribution="headwater",
        docs=200_000,
        promises=_ALL,
        goal=Goal(times=1),
        load=partial(headwater.load, workers=workers, gzipped=gzipped),
    )


#: Where the loader is, and the package that it uses.
_CLICKHOUSE, _DUCKDB = ("clickhouse", "chdb"), ("duckdb", "duckdb")


def _reader(name: str, home: tuple[str, str], *, way: str, promises: Promises, gzipped: bool = False) -> Peer:
    """Return a peer that reads files, and is to be left behind."""
    folder, distribution = home
    return Peer(
        name=name,
        home=folder,
        distribution=distribution,
        docs=200_000,
        promises=promises,
        goal=AHEAD,
        load=partial(in_process.load, home=folder, way=way, gzipped=gzipped),
    )


_UNCHECKED = Promises(http="no", schema="no", ids="no", fsync="no")

PEERS = (
    _reader("ClickHouse", _CLICKHOUSE, way="plain", promises=_UNCHECKED),
    _reader("ClickHouse, gzipped", _CLICKHOUSE, way="plain", promises=_UNCHECKED, gzipped=True),
    _reader(
        "ClickHouse, checked",
        _CLICKHOUSE,
        way="checked",
        promises=Promises(http="no", schema="part", ids="part", fsync="yes"),
    ),
    _reader("DuckDB table", _DUCKDB, way="table", promises=Promises(http="no", schema="no", ids="no", fsync="yes")),
    _reader(
        "DuckDB table, gzipped",
        _DUCKDB,
        way="table",
        promises=Promises(http="no", schema="no", ids="no", fsync="yes"),
        gzipped=True,
    ),
    _reader(
        "DuckDB table, checked",
        _DUCKDB,
        way="checked",
        promises=Promises(http="no", schema="part", ids="yes", fsync="yes"),
    ),
    _reader("DuckDB Parquet", _DUCKDB, way="parquet", promises=_UNCHECKED),
    _reader("DuckDB Parquet, gzipped", _DUCKDB, way="parquet", promises=_UNCHECKED, gzipped=True),
    Peer(
        name="Datasette, by 100",
        home="datasette",
        distribution="datasette",
        docs=20_000,
        promises=Promises(http="yes", schema="no", ids="yes", fsync="yes"),
        goal=FIVE_TIMES,
        load=partial(datasette.load, rows=100),
    ),
    Peer(
        name="Datasette, by 5,000",
        home="datasette",
        distribution="datasette",
        docs=50_000,
        promises=Promises(http="yes", schema="no", ids="yes", fsync="yes"),
        goal=FIVE_TIMES,
        load=partial(datasette.load, rows=5000),
    ),
    Peer(
        name="dlt, JSON objects",
        home="dlt",
        distribution="dlt",
        docs=20_000,
        promises=Promises(http="no", schema="no", ids="yes", fsync="yes"),
        goal=FIVE_TIMES,
        load=partial(in_process.load, home="dlt", way="documents"),
    ),
    Peer(
        name="dlt, Arrow batches",
        home="dlt",
        distribution="dlt",
        docs=200_000,
        promises=Promises(http="no", schema="no", ids="yes", fsync="yes"),
        goal=FIVE_TIMES,
        load=partial(in_process.load, home="dlt", way="arrow"),
    ),
    Peer(
        name="Kinto, PostgreSQL",
        home="kinto",
        distribution="kinto",
        docs=1000,
        promises=_ALL,
        goal=FIVE_TIMES,
        load=kinto.load,
    ),
    Peer(
        name="FastAPI, SQLite",
        home="first_service",
        distribution="fastapi",
        docs=50_000,
        promises=_ALL,
        goal=FIVE_TIMES,
        load=first_service.load_sqlite,
    ),
    Peer(
        name="FastAPI, PostgreSQL",
        home="first_service",
        distribution="fastapi",
        docs=50_000,
        promises=_ALL,
        goal=FIVE_TIMES,
        load=first_service.load_postgres,
    ),
)
