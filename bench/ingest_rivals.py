"""What ingest is compared with: the bare work of one core, with commits too, and DuckDB loading the same documents."""

import sqlite3
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import duckdb
import msgspec

from bench import documents
from examples.packages_crawler.processes import Failed
from headwater.domain.schema import compile_schema

#: Lines that are cut at a time, as many as an upload has: a large one, ...
_LINES = 10_000
#: ... and a small one; so many of those, one of each connection, are committed together.
_FEW_LINES, _TOGETHER = 50, 8
#: Small uploads that are enough to tell.
_SMALL_UPLOADS = 4_000

_QUIET = "SET enable_progress_bar = false"
_DETECTED = "read_json_auto(?)"
_DECLARED = """
    read_json(?, format = 'newline_delimited', columns = {
        id: 'VARCHAR', product: 'VARCHAR', author: 'VARCHAR', rating: 'BIGINT', title: 'VARCHAR', text: 'VARCHAR',
        language: 'VARCHAR', verified: 'BOOLEAN', written_at: 'TIMESTAMP'
    })
"""


def bare_loop(file: Path) -> float:
    """Return how many documents one core decodes, validates and takes the id of in a second: nothing else.

    Raises:
        Failed: a document is not valid.
    """
    bodies, take = _bodies(file, _LINES), _bare_work()
    take(bodies[0])
    began = time.perf_counter()
    for body in bodies:
        take(body)
    return _docs(bodies) / (time.perf_counter() - began)


def committed_loop(file: Path) -> float:
    """Return how many documents a second the bare work comes to if small uploads are committed to SQLite, by eights.

    It waits for the same disk as whoever answers small uploads when they are on it.

    Raises:
        Failed: a document is not valid.
    """
    bodies, take = _bodies(file, _FEW_LINES)[:_SMALL_UPLOADS], _bare_work()
    groups = [bodies[start : start + _TOGETHER] for start in range(0, len(bodies), _TOGETHER)]
    with (
        tempfile.TemporaryDirectory(dir=file.parent) as folder,
        closing(sqlite3.connect(f"{folder}/committed.db", isolation_level=None)) as db,
    ):
        db.execute("PRAGMA journal_mode = wal")
        db.execute("PRAGMA synchronous = full")
        db.execute("CREATE TABLE uploads (number INTEGER PRIMARY KEY, ids TEXT NOT NULL, body BLOB NOT NULL)")
        began = time.perf_counter()
        for group in groups:
            rows = [(",".join(take(body)), body) for body in group]
            db.execute("BEGIN IMMEDIATE")
            db.executemany("INSERT INTO uploads (ids, body) VALUES (?, ?)", rows)
            db.execute("COMMIT")
        return _docs(bodies) / (time.perf_counter() - began)


def _bodies(file: Path, size: int) -> list[bytes]:
    lines = file.read_bytes().splitlines(keepends=True)
    return [b"".join(lines[start : start + size]) for start in range(0, len(lines), size)]


def _docs(bodies: Sequence[bytes]) -> int:
    return sum(body.count(b"\n") for body in bodies)


def _bare_work() -> Callable[[bytes], list[str]]:
    is_valid, decode = compile_schema(documents.SCHEMA).is_valid, msgspec.json.Decoder().decode

    def take(body: bytes) -> list[str]:
        ids: list[str] = []
        for line in body.split(b"\n")[:-1]:
            document = decode(line)
            if not is_valid(document):
                raise Failed(f"a document does not match the schema: {line!r}")
            ids.append(document["id"])
        return ids

    return take


def duckdb_load(file: Path) -> float:
    """Return how many documents a second DuckDB loads into a table of a database file, wholly written."""
    return max(_loaded(file, source) for source in (_DETECTED, _DECLARED))


def duckdb_parquet(file: Path) -> float:
    """Return how many documents a second DuckDB copies to a Parquet file."""
    return max(_copied(file, source) for source in (_DETECTED, _DECLARED))


def _loaded(file: Path, source: str) -> float:
    with tempfile.TemporaryDirectory(dir=file.parent) as folder, duckdb.connect(f"{folder}/loaded.duckdb") as db:
        db.execute(_QUIET)
        began = time.perf_counter()
        db.execute(f"CREATE TABLE loaded AS SELECT * FROM {source}", [str(file)])
        db.execute("CHECKPOINT")
        seconds = time.perf_counter() - began
        return _count(db, "FROM loaded") / seconds


def _copied(file: Path, source: str) -> float:
    with tempfile.TemporaryDirectory(dir=file.parent) as folder, duckdb.connect() as db:
        db.execute(_QUIET)
        target = f"{folder}/copied.parquet"
        began = time.perf_counter()
        db.execute(f"COPY (SELECT * FROM {source}) TO '{target}' (FORMAT parquet, COMPRESSION zstd)", [str(file)])
        seconds = time.perf_counter() - began
        return _count(db, f"FROM '{target}'") / seconds


def _count(db: duckdb.DuckDBPyConnection, of: str) -> int:
    return db.sql(f"SELECT count(*) {of}").fetchall()[0][0]


BARE, COMMITTED, LOAD, PARQUET = "bare", "committed", "duckdb-load", "duckdb-parquet"

#: Each returns documents a second.
RIVALS: Mapping[str, Callable[[Path], float]] = {
    BARE: bare_loop,
    COMMITTED: committed_loop,
    LOAD: duckdb_load,
    PARQUET: duckdb_parquet,
}
