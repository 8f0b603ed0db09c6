"""Load documents into DuckDB, or with DuckDB into a file.

``table`` makes a table of the file, the fastest way that there is. ``checked`` fills one that has a key and says the
schema in constraints. ``parquet`` writes Parquet, and has no table.
"""

from pathlib import Path

import duckdb

from bench.peers.loading import Load, Loaded, answer, seconds

_TYPES = {
    "id": "VARCHAR",
    "product": "VARCHAR",
    "author": "VARCHAR",
    "rating": "UTINYINT",
    "title": "VARCHAR",
    "text": "VARCHAR",
    "language": "VARCHAR",
    "verified": "BOOLEAN",
    # Left to itself it finds a timestamp, and a document is not given back as it came.
    "written_at": "VARCHAR",
}
_CHECKS = {
    "id": "PRIMARY KEY CHECK (regexp_full_match(id, '[0-9a-f]{16}'))",
    "product": "NOT NULL CHECK (length(product) BETWEEN 1 AND 40)",
    "author": "NOT NULL CHECK (length(author) BETWEEN 1 AND 40)",
    "rating": "NOT NULL CHECK (rating BETWEEN 1 AND 5)",
    "title": "NOT NULL CHECK (length(title) <= 200)",
    "text": "NOT NULL",
    "language": "NOT NULL CHECK (language IN ('en', 'de', 'fr', 'es'))",
    "verified": "NOT NULL",
    "written_at": "NOT NULL CHECK (length(written_at) = 20)",
}


def load(asked: Load) -> Loaded:
    """Read the file on all cores, and write what the way says."""
    work = {"table": _into_table, "checked": _into_checked_table, "parquet": _into_parquet}[asked.way]
    with duckdb.connect(str(Path(asked.folder, "reviews.duckdb"))) as connection:
        work(connection, "warm_up", asked.warm_up, asked.folder)
        taken = work(connection, "reviews", asked.reviews, asked.folder)
        source = f"'{asked.folder}/reviews.parquet'" if asked.way == "parquet" else "reviews"
        row = connection.execute(f"SELECT count(DISTINCT id) FROM {source}").fetchone()
        return Loaded(seconds=taken, held=row[0] if row else 0)


def _into_table(connection: duckdb.DuckDBPyConnection, name: str, file: str, _folder: str) -> float:
    return _run(connection, f"CREATE TABLE {name} AS {_select(file)}", "CHECKPOINT")


def _into_checked_table(connection: duckdb.DuckDBPyConnection, name: str, file: str, _folder: str) -> float:
    columns = ", ".join(f"{column} {kind} {_CHECKS[column]}" for column, kind in _TYPES.items())
    connection.execute(f"CREATE TABLE {name} ({columns})")
    return _run(connection, f"INSERT OR REPLACE INTO {name} {_select(file)}", "CHECKPOINT")


def _into_parquet(connection: duckdb.DuckDBPyConnection, name: str, file: str, folder: str) -> float:
    return _run(connection, f"COPY ({_select(file)}) TO '{folder}/{name}.parquet' (FORMAT parquet, COMPRESSION zstd)")


def _select(file: str) -> str:
    return f"SELECT * FROM read_json('{file}', format = 'newline_delimited', columns = {_TYPES})"


def _run(connection: duckdb.DuckDBPyConnection, *statements: str) -> float:
    return sum(seconds(connection.execute, statement) for statement in statements)


if __name__ == "__main__":
    answer(load)
