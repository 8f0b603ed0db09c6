"""What a server costs that nobody uses: seconds until it is ready, and the share of a core that it takes when idle.

Run it with ``make bench-idle``, or ``python -m bench.idle``. A minute of an empty server, and a minute of one with
streams, crawlers, runs and a webhook. Times are those of the process's processor, which others on the machine hardly
change.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
from rich import box
from rich.console import Console
from rich.table import Table

from bench import report
from bench.measure import cpu_seconds
from bench.served import Served, end_on_signals, serving

_SECONDS = 60.0
#: Seconds until what a start or an upload leaves to do is done.
_SETTLED = 15.0
#: What is to be reached: percent of a core, and seconds of processor until ready.
MOST_PERCENT = 0.5
MOST_START = 1.5
_STREAMS = 5


def _fill(served: Served) -> None:
    """Give a server streams with runs that have ended and that are open, and a webhook."""
    for number in range(_STREAMS):
        stream = served.call("POST", "/streams", expect=HTTPStatus.CREATED, json={})
        external = served.call(
            "POST", "/externals", expect=HTTPStatus.CREATED, json={"schema": {"type": "object"}, "docIdField": "id"}
        )
        links = {"meta": {"links": [{"from": {"type": "streams", "fid": stream["fid"]}}]}}
        path = f"/actions/externals/{external['fid']}/crawler"
        crawler = served.call("POST", path, expect=HTTPStatus.CREATED, json=links)
        for is_open in (False, True):
            task = served.call("POST", f"/actions/crawlers/{crawler['fid']}/task", expect=HTTPStatus.CREATED)
            endpoint = task["upload"]["endpoint"]
            body = b"".join(b'{"id": "%d-%d"}\n' % (number, each) for each in range(50))
            httpx.post(f"{endpoint}/upload", content=body, trust_env=False).raise_for_status()
            if not is_open:
                httpx.post(f"{endpoint}/status", json={"code": 200}, trust_env=False).raise_for_status()
    served.call(
        "POST",
        "/webhooks",
        expect=HTTPStatus.CREATED,
        json={"url": "http://127.0.0.1:9/", "types": ["crawler.missed"]},
    )


def _percent(served: Served, seconds: float) -> float:
    time.sleep(_SETTLED)
    before = cpu_seconds(served.pid)
    time.sleep(seconds)
    return 100 * (cpu_seconds(served.pid) - before) / seconds


def measured(seconds: float, database: str | None) -> dict[str, Any]:
    """Return the seconds until ready, of the clock and of the processor, and the percentages of a core when idle."""
    with tempfile.TemporaryDirectory(prefix="headwater-idle-") as folder:
        data = Path(folder) / "data"
        # With bytecode, which the first start writes: without it, each start compiles all that it imports.
        settings = {"HEADWATER_WEBHOOK_PRIVATE_ADDRESSES": "true", "PYTHONDONTWRITEBYTECODE": ""}
        if database is not None:
            settings |= {"HEADWATER_DATABASE_URL": database, "HEADWATER_SECRET_KEY": "an-idle-server-" * 3}
        log = Path(folder) / "log"
        with serving(data, log=log, settings=settings) as served:  # the first start, which makes the catalog
            served.wait_until_idle()
        began = time.monotonic()
        with serving(data, log=log, settings=settings) as served:
            wall, processor = time.monotonic() - began, cpu_seconds(served.pid)
            empty = _percent(served, seconds)
            _fill(served)
            return {"ready_wall": wall, "ready_cpu": processor, "empty": empty, "filled": _percent(served, seconds)}


def _show(console: Console, found: Mapping[str, float]) -> None:
    table = Table("", "measured", "goal", box=box.SIMPLE)
    table.add_row("ready, seconds of the clock", f"{found['ready_wall']:.2f}", f"{MOST_START:g}, quiet machine")
    table.add_row("ready, seconds of the processor", f"{found['ready_cpu']:.2f}", "")
    for name in ("empty", "filled"):
        table.add_row(f"idle, {name}: percent of a core", f"{found[name]:.2f}", f"{MOST_PERCENT:g}")
    console.print(table)


def main() -> int:
    """Measure, print a table, and return 0."""
    parser = argparse.ArgumentParser(description="Measure what an idle server costs.")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help=f"of each measurement; {_SECONDS:g}")
    parser.add_argument("--database-url", metavar="URL", help="a migrated, empty PostgreSQL instead of SQLite")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to it")
    asked = parser.parse_args()
    end_on_signals()
    console = Console(width=report.WIDTH, highlight=False)

    def run() -> int:
        found = measured(asked.seconds, asked.database_url)
        _show(console, found)
        if asked.json is not None:
            asked.json.write_text(json.dumps({"machine": report.machine(), **found}, indent=2) + "\n")
        return 0

    return report.status_of(console, run)


if __name__ == "__main__":
    sys.exit(main())
