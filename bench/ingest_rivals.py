"""What ingest is compared with: the bare work of one core, and DuckDB loading the same documents from a file."""

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import duckdb
import msgspec

from bench import documents
from examples.packages_crawler.processes import Failed
from headwater.domain.schema import compile_schema

#: Lines that are cut at a time, as many as an upload has.
_LINES = 10_000

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
    is_valid, decode = compile_schema(documents.SCHEMA).is_valid, msgspec.json.Decoder().decode
    lines = file.read_bytes().splitlines(keepends=True)
    bodies = [b"".join(lines[start : start + _LINES]) for start in range(0, len(lines), _LINES)]
    docs = len(lines)
    del lines

    def take(body: bytes) -> int:
        ids: list[str] = []
        for line in body.split(b"\n")[:-1]:
            document = decode(line)
            if is_valid(document):
                ids.append(document["id"])
        return len(ids)

    take(bodies[0])
    began = time.perf_counter()
    taken = sum(map(take, bodies))
    seconds = time.perf_counter() - began
    if taken != docs:
        raise Failed(f"{docs - taken:,} of {docs:,} documents do not match the schema")
    return docs / seconds


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


BARE, LOAD, PARQUET = "bare", "duckdb-load", "duckdb-parquet"

#: Each returns documents a second.
RIVALS: Mapping[str, Callable[[Path], float]] = {BARE: bare_loop, LOAD: duckdb_load, PARQUET: duckdb_parquet}
