"""Reads a table with other engines; a program of their environment, not of Headwater's.

``python readers.py < question.json`` prints, as one line of JSON for each engine and version, how many rows it read and
a digest of them. A question has the ``engines``, the ``versions`` (null for the present one), and either ``metadata``,
the location of the table's metadata on this machine, or ``url``, ``key``, ``warehouse`` and ``table`` of a catalog.
"""
# An engine is loaded where it is asked for, and what is printed is the answer.
# ruff: noqa: PLC0415, T201

import importlib
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")

Row = tuple[str, str, str]
_COLUMNS = ["id", "task", "document"]


def digest(rows: Iterable[Iterable[str]]) -> tuple[int, str]:
    """Return the number of rows, and a digest that does not depend on their order."""
    lines = sorted(json.dumps(list(row)) for row in rows)
    return len(lines), sha256("\n".join(lines).encode()).hexdigest()


def _catalog(asked: dict[str, Any]) -> Any:
    from pyiceberg.catalog.rest import RestCatalog

    # The catalog's URL and the key are all it needs: the catalog tells where files are, and how to read them.
    return RestCatalog("headwater", uri=f"{asked['url']}/iceberg", token=asked["key"], warehouse=asked["warehouse"])


def _table(asked: dict[str, Any], version: int | None) -> Any:
    if "metadata" in asked:
        from pyiceberg.table import StaticTable

        return StaticTable.from_metadata(asked["metadata"])
    return _catalog(asked).load_table(("streams", _name(asked, version)))


def _name(asked: dict[str, Any], version: int | None) -> str:
    return asked["table"] if version is None else f"{asked['table']}@{version}"


def _snapshot(asked: dict[str, Any], version: int | None) -> int | None:
    """Return the snapshot to ask for: the metadata list all, and a table of a catalog is of its version."""
    return version if "metadata" in asked else None


def pyiceberg(asked: dict[str, Any], version: int | None) -> Iterable[Row]:
    """PyIceberg, with Arrow."""
    table = _table(asked, version).scan(snapshot_id=_snapshot(asked, version)).to_arrow()
    return zip(*(table.column(name).to_pylist() for name in _COLUMNS), strict=True)


def polars(asked: dict[str, Any], version: int | None) -> Iterable[Row]:
    """Polars, with its own reader."""
    import polars as pl

    table = _table(asked, version)
    # Its own reader takes the credentials of the catalog only if they are handed over.
    options = {name: value for name, value in table.io.properties.items() if name.startswith("s3.")}
    scan = pl.scan_iceberg(
        table, snapshot_id=_snapshot(asked, version), reader_override="native", storage_options=options or None
    )
    return scan.select(_COLUMNS).collect().rows()


def daft(asked: dict[str, Any], version: int | None) -> Iterable[Row]:
    """Daft."""
    import daft as engine

    columns = engine.read_iceberg(_table(asked, version), snapshot_id=_snapshot(asked, version)).to_pydict()
    return zip(*(columns[name] for name in _COLUMNS), strict=True)


def duckdb(asked: dict[str, Any], version: int | None) -> Iterable[Row]:
    """DuckDB, with its extension for Iceberg."""
    import duckdb as engine

    connection = engine.connect(config={"allow_unsigned_extensions": "true"})
    for name in ("avro", "httpfs", "iceberg"):
        # As packages, so that nothing is fetched from elsewhere; else INSTALL iceberg.
        [path] = importlib.import_module(f"duckdb_extension_{name}").__path__
        [file] = Path(path).glob("extensions/*/*.duckdb_extension")
        connection.execute(f"LOAD '{file}'")
    if "metadata" in asked:
        at = "" if version is None else f", snapshot_from_id => {version}"
        table = f"iceberg_scan('{asked['metadata']}'{at})"
    else:
        connection.execute(f"CREATE SECRET (TYPE iceberg, TOKEN '{asked['key']}')")
        connection.execute(
            f"ATTACH '{asked['warehouse']}' AS headwater (TYPE iceberg, ENDPOINT '{asked['url']}/iceberg')"
        )
        table = f'headwater.streams."{_name(asked, version)}"'
    return connection.execute(f"SELECT {', '.join(_COLUMNS)} FROM {table}").fetchall()


def chdb(asked: dict[str, Any], version: int | None) -> Iterable[Row]:
    """ClickHouse, in this process."""
    os.chdir("/")  # it reads no files outside of its folder
    from chdb import session

    clickhouse = session.Session()
    columns = ", ".join(_COLUMNS)
    if "metadata" in asked:
        folder = asked["metadata"].removeprefix("file://").rpartition("/metadata/")[0]
        at = "" if version is None else f" SETTINGS iceberg_snapshot_id = {version}"
        question = f"SELECT {columns} FROM icebergLocal('{folder}/'){at}"
    else:
        clickhouse.query(
            f"""
            CREATE DATABASE headwater ENGINE = DataLakeCatalog('{asked["url"]}/iceberg/v1')
            SETTINGS catalog_type = 'rest', warehouse = '{asked["warehouse"]}',
                auth_header = 'Authorization: Bearer {asked["key"]}', vended_credentials = true
            SETTINGS allow_experimental_database_iceberg = 1
            """
        )
        question = f"SELECT {columns} FROM headwater.`streams.{_name(asked, version)}`"
    found = str(clickhouse.query(question, "JSONCompactEachRow"))
    return [tuple(json.loads(line)) for line in found.splitlines()]


ENGINES: dict[str, Callable[[dict[str, Any], int | None], Iterable[Row]]] = {
    reader.__name__: reader for reader in (pyiceberg, polars, daft, duckdb, chdb)
}


def main() -> None:
    """Answer the question."""
    asked = json.load(sys.stdin)
    for name in asked["engines"]:
        for version in asked["versions"]:
            rows, found = digest(ENGINES[name](asked, version))
            print(json.dumps({"engine": name, "version": version, "rows": rows, "digest": found}), flush=True)


if __name__ == "__main__":
    main()
