"""How fast streams are read and changed: Headwater over HTTP, beside plain DuckDB SQL over the same files.

Run it with ``make bench-read``, or ``python -m bench.read``. The first run makes the data.
"""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from bench import report
from bench.measure import Goal, Memory, Neighbours, Result, timed
from bench.plain import MEMORY, THREADS, plain_sql
from bench.questions import PAGE, Reading
from bench.read_data import File, Laid, ReadData, arguments, files_of, prepared, wait_until_merged
from bench.served import Served, end_on_signals, serving
from examples.packages_crawler.processes import Failed

_REMARKS = """\
The client shares the cores with the server. Rounds: Headwater's/plain DuckDB's, in turn; one more before them
warms up and is not counted. Ratio: how many times as fast as plain DuckDB. MB: a million bytes.

Plain DuckDB: {threads} threads, {memory}, in the client's process, with no HTTP and no JSON. A view joins the files
with their layers; it is asked which ids first, then for their documents. Deleting and restoring
have none: SQL would have to write a table of documents anew, and has no way back.

Export: by id on both sides. Plain DuckDB needs {ordered:.1f} s with this order and {unordered:.1f} s without it. The
server's memory: {before:,.0f} MB before the exports; the most in them {sampled:,.0f} MB in samples, {exact:,.0f} MB by
VmHWM.
"""


@dataclass(kw_only=True)
class Findings:
    """What was found so far."""

    results: list[Result] = field(default_factory=list)
    #: The server's, during the exports.
    memory: Memory = field(default_factory=Memory)
    #: Seconds that plain SQL needs for all documents in any order.
    unordered: float = 0.0


def asked_of_large(served: Served, laid: Laid, files: Sequence[File], say: Callable[[str], None]) -> Findings:
    """Ask everything about the stream of few large tasks."""
    found = Findings()
    with plain_sql(files) as sql:
        reading = Reading(served, laid, sql)
        say(f"pages of {PAGE}")
        found.results.append(reading.page(f"page of {PAGE}", Goal(bound=50, unit="ms")))
        say("single documents")
        found.results.append(reading.one("one document", Goal(bound=30, unit="ms")))
        say("dry runs of a deletion")
        found.results.append(reading.dry_run("dry run of a delete", Goal(bound=2000, unit="ms")))
        say("deletions and restorations")
        found.results += reading.delete_and_restore("delete a task", "restore a task", Goal(bound=100, unit="ms"))
        say("exports")
        results, found.memory = reading.export(
            "export", Goal(bound=300_000, unit="docs/s", more=True), "memory of an export", Goal(bound=1000, unit="MB")
        )
        found.results += results
        found.unordered, _ = timed(lambda _: sql.export_unordered(), None)
    return found


def asked_of_many(served: Served, laid: Laid, files: Sequence[File], say: Callable[[str], None]) -> Result:
    """Ask for pages of the stream of many small tasks."""
    with plain_sql(files) as sql:
        say(f"pages of {PAGE}, {laid.layout.name}")
        question = f"page, {laid.layout.tasks:,} tasks"
        return Reading(served, laid, sql).page(question, Goal(bound=200, unit="ms"))


def measured(data: ReadData, console: Console, *, wait: bool, keep: Path | None) -> None:
    """Serve the data, ask everything, print the table."""
    with serving(data.served_from, log=data.log) as served:
        if wait:
            wait_until_merged(served, console)
        for laid in (data.large, data.many):
            _require_whole(served, laid)
        files = {laid.layout.name: files_of(data, laid) for laid in (data.large, data.many)}
        neighbours = Neighbours(os.getpid(), served.pid)
        with console.status("") as status:
            large, many = (files[laid.layout.name] for laid in (data.large, data.many))
            found = asked_of_large(served, data.large, large, status.update)
            found.results.append(asked_of_many(served, data.many, many, status.update))
        machine = {**report.machine(), "others_used_cores": round(neighbours.cores(), 2)}
    sizes = {laid.layout.name: _size_of(laid, files[laid.layout.name]) for laid in (data.large, data.many)}
    facts = {"machine": report.machine_lines(machine), **sizes}
    report.shown(
        console, "Reading, over HTTP", facts, [report.results_table(found.results)], _remarks(found, data.large)
    )
    if keep is not None:
        report.kept(keep, {"machine": machine, "sizes": sizes}, found.results)


def _require_whole(served: Served, laid: Laid) -> None:
    docs = served.wait_until_counted(laid.stream)
    if docs != laid.layout.current:
        raise Failed(f"stream {laid.stream} shows {docs:,} documents, not {laid.layout.current:,}; use --fresh")


def _size_of(laid: Laid, files: Sequence[File]) -> str:
    layout = laid.layout
    paths = {file.path for file in files}
    on_disk = sum(Path(path).stat().st_size for path in paths) / 1e6
    uploaded = sum(file.bytes for file in files) / 1e6
    return (
        f"{layout.tasks:,} of {layout.docs:,} documents: {layout.versions:,} versions, {layout.current:,} current\n"
        f"{len(files):,} segments in {len(paths):,} files, {on_disk:,.0f} MB; documents {uploaded:,.0f} MB"
    )


def _remarks(found: Findings, laid: Laid) -> str:
    ordered = next(result.plain_median for result in found.results if result.question == "export") or 0
    return _REMARKS.format(
        threads=THREADS,
        memory=MEMORY,
        unordered=found.unordered,
        ordered=laid.layout.current / ordered,
        before=found.memory.before / 1e6,
        sampled=found.memory.sampled / 1e6,
        exact=found.memory.exact / 1e6,
    )


def main() -> int:
    """Measure; return 0 whatever the numbers are, and 1 if there are none."""
    parser = arguments("Measure how fast streams are read and changed, beside plain DuckDB SQL.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the numbers")
    chosen = parser.parse_args()
    end_on_signals()
    console = Console(width=report.WIDTH, highlight=False)

    def run() -> None:
        data = prepared(console, times_smaller=chosen.smaller, fresh=chosen.fresh)
        measured(data, console, wait=not chosen.no_wait, keep=chosen.json)

    return report.status_of(console, run)


if __name__ == "__main__":
    sys.exit(main())
