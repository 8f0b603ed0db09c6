"""How fast documents come in through a TaskWriter, beside bodies that were made and compressed before.

Run it with ``make bench-writers``, or ``python -m bench.writers``. Both send over one connection, as a writer has one
upload under way; the bodies have the size of a writer's.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from rich import box
from rich.console import Console
from rich.table import Table

from bench import documents, report
from bench.measure import Neighbours
from bench.served import Served, end_on_signals, serving
from examples.packages_crawler.processes import Failed
from headwater_client.writer import MAX_BYTES

_DOCS = 200_000
_ROUNDS = 5
_GZIP = zlib.MAX_WBITS | 16
#: What a writer is to reach of what the server takes.
GOAL = 0.7
_BENCH = Path(__file__).parent
#: The clients, by the command that runs one.
_WRITERS = {
    "Python": [sys.executable, "-m", "bench.writing"],
    "JavaScript": [shutil.which("node") or "node", str(_BENCH / "writing.mjs")],
}


@dataclass
class Measured:
    """One way to bring documents in, in one encoding."""

    #: Documents a second, round by round.
    rates: list[float] = field(default_factory=list)
    #: Seconds of the client's processor, for a million documents.
    cpu: list[float] = field(default_factory=list)
    #: Bytes that the client needed beyond the documents.
    memory: list[int] = field(default_factory=list)


def _task(served: Served) -> dict[str, Any]:
    stream = served.call("POST", "/streams", expect=httpx.codes.CREATED, json={})
    external = {"schema": documents.SCHEMA, "docIdField": "id"}
    registered = served.call("POST", "/externals", expect=httpx.codes.CREATED, json=external)
    links = {"meta": {"links": [{"from": {"type": "streams", "fid": stream["fid"]}}]}}
    path = f"/actions/externals/{registered['fid']}/crawler"
    crawler = served.call("POST", path, expect=httpx.codes.CREATED, json=links)
    return served.call("POST", f"/actions/crawlers/{crawler['fid']}/task", expect=httpx.codes.CREATED)


def _bodies(lines: Sequence[bytes], encoding: str) -> list[bytes]:
    """Return the lines as a writer cuts them."""
    bodies, size = [[]], 0
    for line in lines:
        if size + len(line) > MAX_BYTES:
            bodies.append([])
            size = 0
        bodies[-1].append(line)
        size += len(line)
    whole = [b"".join(body) for body in bodies]
    return whole if encoding == "plain" else [_gzipped(body) for body in whole]


def _gzipped(body: bytes) -> bytes:
    packer = zlib.compressobj(level=1, wbits=_GZIP)
    return packer.compress(body) + packer.flush()


def _send(served: Served, bodies: Sequence[bytes], encoding: str) -> float:
    """Return the seconds that prepared bodies take, from the first to the closed task."""
    endpoint = _task(served)["upload"]["endpoint"]
    headers = {"Content-Encoding": "gzip"} if encoding == "gzip" else {}
    with httpx.Client(timeout=60, trust_env=False) as client:
        began = time.perf_counter()
        for body in bodies:
            client.post(f"{endpoint}/upload", content=body, headers=headers).raise_for_status()
        client.post(f"{endpoint}/status", json={"code": 200}).raise_for_status()
        return time.perf_counter() - began


def _write(served: Served, command: Sequence[str], file: Path, encoding: str) -> dict[str, Any]:
    task = _task(served)
    ran = subprocess.run(  # noqa: S603 - our own
        [*command, file, task["upload"]["endpoint"], encoding], capture_output=True, text=True, check=False
    )
    if ran.returncode:
        raise Failed(f"{' '.join(command)}: {ran.stderr.strip()[-1000:]}")
    if served.call("GET", f"/tasks/{task['fid']}")["docs"] != _DOCS:
        raise Failed(f"{' '.join(command)} did not bring all documents")
    return json.loads(ran.stdout)


def measured(console: Console, rounds: int) -> tuple[dict[tuple[str, str], Measured], float]:
    """Return what came of each way in each encoding, and the cores that others used."""
    neighbours = Neighbours(os.getpid())
    found: dict[tuple[str, str], Measured] = {}
    lines = list(documents.ndjson(range(_DOCS), seed="writers").splitlines(keepends=True))
    with tempfile.TemporaryDirectory(dir=_BENCH, prefix="data-") as name, console.status("serving ...") as status:
        folder = Path(name)
        file = folder / "documents.ndjson"
        file.write_bytes(b"".join(lines))
        bodies = {encoding: _bodies(lines, encoding) for encoding in ("gzip", "plain")}
        with serving(folder / "data", log=folder / "log") as served:
            for number in range(rounds):
                status.update(f"round {number + 1} of {rounds} ...")
                ways = ["prepared", *_WRITERS]
                for way in ways if number % 2 == 0 else reversed(ways):
                    for encoding in ("gzip", "plain"):
                        one = found.setdefault((way, encoding), Measured())
                        if way == "prepared":
                            one.rates.append(_DOCS / _send(served, bodies[encoding], encoding))
                            continue
                        outcome = _write(served, _WRITERS[way], file, encoding)
                        one.rates.append(_DOCS / outcome["seconds"])
                        one.cpu.append(outcome["cpu"] / _DOCS * 1e6)
                        one.memory.append(outcome["memory"])
    return found, neighbours.cores()


def shown(console: Console, found: dict[tuple[str, str], Measured]) -> None:
    """Print a table of them."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("writer", "encoding"):
        table.add_column(name)
    for name in ("documents/s", "of prepared", "goal", "s for a million", "memory"):
        table.add_column(name, justify="right")
    for (way, encoding), one in found.items():
        rate = statistics.median(one.rates)
        if way == "prepared":
            table.add_row("prepared bodies", encoding, f"{rate:,.0f}", "", "", "", "")
            continue
        pairs = zip(one.rates, found["prepared", encoding].rates, strict=True)
        ratio = statistics.median(ours / theirs for ours, theirs in pairs)
        cpu, memory = statistics.median(one.cpu), statistics.median(one.memory)
        goal = f"{GOAL} {'met' if ratio >= GOAL else 'NOT MET'}"
        table.add_row(way, encoding, f"{rate:,.0f}", f"{ratio:.2f}", goal, f"{cpu:.1f}", f"{memory / 1e6:.0f} MB")
    console.print(table)


def main() -> int:
    """Measure and print; return 0 unless something failed."""
    parser = argparse.ArgumentParser(description="Compare TaskWriters with bodies that are ready.")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, metavar="N", help=f"{_ROUNDS} if nothing is said")
    asked = parser.parse_args()
    end_on_signals()
    console = Console(width=report.WIDTH, highlight=False)

    def run() -> None:
        found, others = measured(console, asked.rounds)
        console.print(report.machine_lines({**report.machine(), "others_used_cores": round(others, 2)}), style="dim")
        shown(console, found)

    return report.status_of(console, run)


if __name__ == "__main__":
    sys.exit(main())
