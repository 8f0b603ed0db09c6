"""Whether ingest slows down as a stream grows: ten tasks of a million documents, one after the other.

Run it with ``python -m bench.ingest --long``.
"""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich import box
from rich.console import Console
from rich.table import Table

from bench import documents, report
from bench.apart import Apart
from bench.documents import REVIEW_BYTES
from bench.ingest_bodies import Body, Corpus, Kind
from bench.ingest_cells import crawlers, started
from bench.ingest_client import Load, Sent, send_with
from bench.ingest_rounds import opened
from bench.measure import Goal, Neighbours, effort_of
from bench.served import Served
from examples.packages_crawler.processes import Failed

_TASKS, _DOCS, _UPLOAD, _CONNECTIONS = 10, 1_000_000, 10_000, 4
_FLAT = Goal(bound=0.9, unit="x", more=True)
_REMARKS = """\
Tasks of {docs:,} documents, one after the other to one stream, each ended with 200 before the next; uploads of
{upload:,}, not compressed, over {connections} connections. The texts are the same in each task, and each document has
an id of its own, put into bodies that were made before. What merging and counting take of the cores, they take while
the next task is uploaded. Memory: the server's, in MB, at the end of a task and at its highest meanwhile; CPU: its
seconds for a million documents, its background work included.

The stream showed all {total:,} documents {counted:.1f} s after the last task had ended.
"""
#: Where the id begins in a line.
_BEFORE_ID = len(b'{"id":"')
_ID = 16
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)


@dataclass(frozen=True, kw_only=True)
class Lap:
    """What was measured of one task."""

    docs_per_second: float
    #: Seconds for a million documents, the server's.
    server_cpu: float
    #: Cores that were at work, whoever used them.
    cores: float
    #: The server's memory at its end, ...
    memory_mb: float
    #: ... and at its highest.
    peak_mb: float


def measure(console: Console, *, smaller: int, keep: Path | None) -> None:
    """Upload everything, print a line for each task; the data are deleted in the end.

    Raises:
        Failed: an upload was not accepted, or is not there afterwards.
    """
    kind = Kind(corpus=Corpus(size=REVIEW_BYTES, docs=_DOCS // smaller), docs=_UPLOAD, gzipped=False)
    docs = kind.bodies * kind.docs
    neighbours = Neighbours(os.getpid())
    with opened() as bench, console.status("making documents ...") as status:
        bench.client.call(prepare, kind)
        with bench.served() as served:
            (crawler,) = crawlers(served, 1)
            laps: list[Lap] = []
            for number in range(_TASKS):
                status.update(f"task {number + 1} of {_TASKS}")
                laps.append(_lap(served, bench.client, crawler, number, kind))
            status.update("waiting until the stream is counted ...")
            counted = _counted(served, crawler, docs=docs * _TASKS)
    machine = {**report.machine(), "others_used_cores": round(neighbours.cores(), 2)}
    ratio = laps[-1].docs_per_second / laps[0].docs_per_second
    remarks = _REMARKS.format(docs=docs, upload=_UPLOAD, connections=_CONNECTIONS, total=docs * _TASKS, counted=counted)
    tables = [_ratio_table(ratio), _laps_table(laps, docs)]
    report.shown(console, "A stream that grows", {"machine": report.machine_lines(machine)}, tables, remarks)
    if keep is not None:
        told: dict[str, Any] = {"machine": machine, "task_docs": docs, "last_over_first": ratio, "counted_s": counted}
        keep.write_text(json.dumps({**told, "tasks": list(map(asdict, laps))}, indent=2) + "\n")


def _lap(served: Served, client: Apart, crawler: str, number: int, kind: Kind) -> Lap:
    """Upload a task and end it."""
    run = started(served, crawler)
    load = Load(kind=kind, uploads=kind.bodies)
    try:
        with effort_of(served.pid) as effort:
            sent = client.call(
                send_renamed, load, [run.endpoint] * _CONNECTIONS, first=number * kind.bodies * kind.docs
            )
        served.call("POST", f"/actions/tasks/{run.task}/status", json={"code": HTTPStatus.OK})
    except Failed as error:
        raise served.blamed(error, f"task {number + 1}") from error
    docs = kind.bodies * kind.docs
    return Lap(
        docs_per_second=docs / sent.seconds,
        server_cpu=1e6 * effort.cpu / docs,
        cores=effort.cores,
        memory_mb=effort.memory.after / 1e6,
        peak_mb=effort.memory.peak / 1e6,
    )


def _counted(served: Served, crawler: str, *, docs: int) -> float:
    """Return how many seconds it takes until the stream of a crawler shows so many documents."""
    stream = served.call("GET", f"/crawlers/{crawler}")["stream"]
    began = time.monotonic()
    found = served.wait_until_counted(stream)
    if found != docs:
        raise Failed(f"stream {stream} shows {found:,} documents, not {docs:,}")
    return time.monotonic() - began


def prepare(kind: Kind) -> None:
    """Make the bodies of a task, and keep them for as long as the process lives."""
    _bodies(kind)


def send_renamed(load: Load, endpoints: Sequence[str], *, first: int) -> Sent:
    """Upload the bodies of a task, their documents numbered from ``first``, each with the id of its number.

    Raises:
        Failed: an answer is not what it should be, or none came.
    """
    bodies, docs = _bodies(load.kind), load.kind.docs

    def body(number: int) -> Body:
        text, starts = bodies[number]
        text[starts[:, None] + np.arange(_ID)] = _ids(first + number * docs, docs)
        return Body(content=text.data, size=len(text))

    return send_with(load, endpoints, body)


@cache
def _bodies(kind: Kind) -> "list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]]":
    """Return the bodies of a task, and where in them the ids begin."""
    found: list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]] = []
    for number in range(kind.bodies):
        lines = documents.ndjson(range(kind.docs), seed=f"long {number}", size=kind.corpus.size)
        text = np.frombuffer(bytearray(lines), np.uint8)
        ends = np.flatnonzero(text == ord("\n"))
        found.append((text, np.append(0, ends[:-1] + 1) + _BEFORE_ID))
    return found


def _ids(first: int, count: int) -> npt.NDArray[np.uint8]:
    """Return the ids of numbers, a row of hex digits each: all different, and in no order."""
    # The end of SplitMix64: each step can be undone, so that no two numbers become the same.
    mixed = np.arange(first, first + count, dtype=np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    octets = (mixed ^ (mixed >> np.uint64(31))).view(np.uint8).reshape(count, 8)
    return _HEX[np.stack([octets >> 4, octets & 15], axis=2).reshape(count, _ID)]


def _ratio_table(ratio: float) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("ratio", "goal", "value", "met?"):
        table.add_column(name)
    verdict = report.verdict(_FLAT.is_met_by(ratio))
    table.add_row("last task / first, docs/s", report.goal_told(_FLAT), report.value_told(ratio, _FLAT.unit), verdict)
    return table


def _laps_table(laps: Sequence[Lap], docs: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("documents\nbefore", "\ndocs/s", "CPU\nserver", "\ncores", "memory\nat the end", "\nat most"):
        table.add_column(name, justify="right")
    for number, lap in enumerate(laps):
        table.add_row(
            f"{number * docs:,}",
            f"{lap.docs_per_second:,.0f}",
            f"{lap.server_cpu:.1f}",
            f"{lap.cores:.2f}",
            f"{lap.memory_mb:,.0f}",
            f"{lap.peak_mb:,.0f}",
        )
    return table
