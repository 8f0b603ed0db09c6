"""What the retention of the catalog's records costs with many rows: rows a second, and the longest transaction.

Run it with ``make bench-retention``, or ``python -m bench.retention``. Each table gets a million rows, of which half
are old; the catalog is SQLite in a temporary folder, and takes a gigabyte.
"""

import argparse
import asyncio
import contextlib
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from bench import report
from headwater.catalog import audit, deliveries, events, expiry
from headwater.catalog.core import migrate
from headwater.catalog.core.database import Database
from headwater.domain.ids import first_fid
from headwater.streams.retention import MANY_EVENTS, MANY_RECORDS, MANY_TASKS

_ROWS = 1_000_000
_NOW = datetime(2026, 6, 1, tzinfo=UTC)
_OLD = _NOW - timedelta(days=400)
#: The rows from before it are old.
_BEFORE = _NOW - timedelta(days=200)
#: Uploads of a task, each with a receipt and a line in the log.
_UPLOADS = 100
_STREAM = "5" * 32
_WEBHOOK = "6" * 32


def _stored(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(" ", "microseconds")


def _rows(table: str, rows: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table, evenly over the time, oldest first."""
    step = timedelta(days=400) / rows
    for number in range(rows):
        at = _OLD + number * step
        fid, task = first_fid(at)[:24] + f"{number:08x}", f"{number // _UPLOADS:032x}"
        now = _stored(at)
        yield {
            "events": {"at": now, "type": "stream.changed", "stream": _STREAM, "data": '{"stream_version": 1}'},
            "receipts": {
                "task": task, "attempt": 1, "idempotency_key": fid, "body_digest": 2 * fid, "count": 1, "total": 1,
                "bytes": 9,
            },
            "attempts": {
                "task": fid, "attempt": 1, "external_version": 1, "params": "{}", "code": 500, "state": "failed",
                "docs": 0, "bytes": 0, "uploads": 0, "rejected": 0, "started_at": now, "ended_at": now,
            },
            "deliveries": {
                "fid": fid, "webhook": _WEBHOOK, "event": number, "type": "task.done", "body": "{}", "lane": fid,
                "state": "delivered", "tries": 1, "failures": 0, "due_at": now, "created_at": now, "settled_at": now,
            },
            "stream_log": {
                "stream": _STREAM, "version": number + 1, "at": now, "change": "upload", "task": task, "attempt": 1,
                "docs": 50,
            },
            "audit": {
                "fid": fid, "at": now, "key": _STREAM, "name": "nightly", "origin": "api", "action": "create_task",
                "object_type": "tasks", "object_fid": fid, "detail": "{}",
            },
            "tasks": {
                "fid": f"{number:032x}", "version": 1, "created_at": now, "updated_at": now, "meta": "{}",
                "crawler": _STREAM, "stream": _STREAM, "external": _STREAM, "external_version": 1, "params": "{}",
                "timeout": 9, "publish": "live", "attempt": 1, "origin": "api", "code": 200, "state": "done", "docs": 0,
                "bytes": 0, "uploads": 0, "rejected": 0, "started_at": now, "ended_at": now, "summary": "{}",
            },
        }[table]  # fmt: skip


def _fill(path: Path, rows: int) -> None:
    with contextlib.closing(sqlite3.connect(path)) as catalog:
        catalog.execute("PRAGMA synchronous = OFF")
        for table in ("tasks", "events", "receipts", "attempts", "deliveries", "stream_log", "audit"):
            made = _rows(table, max(rows // _UPLOADS, 1) if table == "tasks" else rows)
            first = next(made)
            statement = f"INSERT INTO {table} ({', '.join(first)}) VALUES ({', '.join(f':{name}' for name in first)})"
            catalog.execute(statement, first)
            catalog.executemany(statement, made)
            catalog.commit()


async def _all(db: Database, work: Callable[..., Any], *arguments: Any, **named: Any) -> dict[str, float]:
    """Repeat a purge until nothing is left; return its seconds, the longest one's, and those of one without work."""
    began, longest = time.monotonic(), 0.0
    while True:
        at = time.monotonic()
        done = await db.write(work, *arguments, **named)
        seconds = time.monotonic() - at
        if isinstance(done, expiry.Merged):
            named["after"], done = done.after, done.after is not None
        if not done:
            return {"seconds": time.monotonic() - began, "longest": longest or seconds, "idle": seconds}
        longest = max(longest, seconds)


async def _purge(db: Database, rows: int) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    found["receipts"] = await _all(db, expiry.receipts, before=_BEFORE, limit=MANY_TASKS)
    found["attempts"] = await _all(db, expiry.attempts, before=_BEFORE, limit=MANY_RECORDS)
    found["deliveries"] = await _all(db, deliveries.forget, before=_BEFORE, limit=MANY_RECORDS)
    found["stream log"] = await _all(db, expiry.uploads_in_log, _STREAM, until=rows // 2, after=0)
    until = await db.read(events.place_at, _BEFORE)
    found["events"] = await _all(db, events.forget, until=until, limit=MANY_EVENTS)
    await db.write(audit.keep_since, _BEFORE)
    found["audit"] = await _all(db, audit.forget, limit=MANY_RECORDS)
    return found


def measured(rows: int) -> dict[str, dict[str, float]]:
    """Return what the purge of each kind of record costs, in seconds."""
    with tempfile.TemporaryDirectory(prefix="headwater-retention-") as folder:
        path = Path(folder) / "catalog.sqlite"
        url = f"sqlite:///{path}"
        migrate.upgrade(url)
        _fill(path, rows)
        with contextlib.closing(Database(url, readers=1)) as db:
            return asyncio.run(_purge(db, rows))


def main() -> int:
    """Measure, print a table, and return 0."""
    parser = argparse.ArgumentParser(description="Measure the retention of the catalog's records.")
    parser.add_argument("--rows", type=int, default=_ROWS, help=f"of each table; {_ROWS:,}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to it")
    asked = parser.parse_args()
    console = Console(width=report.WIDTH, highlight=False)
    found = measured(asked.rows)
    table = Table("", "rows purged", "rows/s", "longest transaction, ms", "without work, ms", box=box.SIMPLE)
    for name, cost in found.items():
        rate = asked.rows / 2 / cost["seconds"]
        shown = (f"{asked.rows // 2:,}", f"{rate:,.0f}", f"{1e3 * cost['longest']:.1f}", f"{1e3 * cost['idle']:.1f}")
        table.add_row(name, *shown)
    console.print(table)
    if asked.json is not None:
        asked.json.write_text(json.dumps({"machine": report.machine(), "rows": asked.rows, **found}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
