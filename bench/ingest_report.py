"""What the ingest benchmark prints: ratios first, then the cells, and what the words mean."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from bench import report
from bench.ingest_cells import Cell, Measured
from bench.ingest_rivals import BARE, LOAD, PARQUET
from bench.ingest_rounds import Findings, Item, Plan
from bench.measure import Goal

_REMARKS = """\
Medians of {rounds}, the order turned around each time. The client shares the cores with the server; its bodies are
made before. Each connection uploads to a task of its own. An upload is answered when it is on disk. Afterwards each
task must have, and each stream show, what was sent.

Headwater in the ratios: uploads of 10,000 documents, gzipped, over 4 connections. Bare loop: one core decodes,
validates and takes the id, and does nothing else. DuckDB: reads the same documents from a plain file, on all cores,
with no HTTP, no schema and no ids; the better of columns detected and declared; a table with its CHECKPOINT,
Parquet with zstd. Two workers have a goal beside one if one leaves them enough of the cores. Paced: 200 uploads of one
document a second, sent when it is time whatever became of those before; the latency counts from that time.

Cells: bytes of a document; how the body is encoded; documents of an upload; uploads at once, each over a connection
of its own. MB: a million bytes of documents, not compressed. p50 and p99: milliseconds of an upload. CPU: seconds for
a million documents, the server's with its background work. Cores: at work, whoever used them. Memory: the most of the
server's, in MB.
"""

#: How many times as fast two workers are to be.
_GAIN = 1.4


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """One of the numbers that tell most."""

    question: str
    goal: Goal | None
    unit: str
    #: None if it was not measured.
    value: float | None
    #: What it is made of.
    of: str = ""

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is reached; None if there is no value."""
        return None if self.value is None or self.goal is None else self.goal.is_met_by(self.value)


def ratios(found: Findings, plan: Plan) -> list[Ratio]:
    """Return the numbers that tell most."""
    small, paced = found.cell(plan.small), found.cell(plan.paced)
    one, two = found.cell(plan.gzipped), found.cell(plan.two_workers)
    cores = os.cpu_count() or 1
    # Where one worker leaves so little of the cores, two cannot be as much faster.
    is_reachable = one is None or one.cores * _GAIN <= cores
    pace = Goal(bound=25, unit="ms")
    each = Goal(bound=1_000, unit="uploads/s", more=True)
    return [
        _ratio("Headwater / bare loop", found, plan.gzipped, BARE, bound=0.5),
        _ratio("Headwater / DuckDB to a table", found, plan.gzipped, LOAD, bound=1.5),
        _ratio("Headwater / DuckDB to Parquet", found, plan.gzipped, PARQUET),
        _ratio("two workers / bare loop", found, plan.two_workers, BARE, bound=0.5),
        _ratio("two workers / DuckDB to a table", found, plan.two_workers, LOAD, bound=1.5),
        _ratio(
            "two workers / one",
            found,
            plan.two_workers,
            plan.gzipped,
            bound=_GAIN if is_reachable else None,
            more=f"; {two.cores:.1f} / {one.cores:.1f} of {cores} cores" if one and two else None,
        ),
        Ratio(
            question="uploads of 50, 8 connections",
            goal=each,
            unit=each.unit,
            value=small and small.uploads_per_second,
            of=f"p50 {small.p50_ms:.1f} ms, p99 {small.p99_ms:.1f} ms" if small else "",
        ),
        Ratio(
            question="paced uploads of 1: p99",
            goal=pace,
            unit=pace.unit,
            value=paced and paced.p99_ms,
            of=f"{paced.uploads_per_second:.0f} uploads/s, p50 {paced.p50_ms:.1f} ms" if paced else "",
        ),
    ]


def _ratio(
    question: str, found: Findings, ours: Item, theirs: Item, *, bound: float | None = None, more: str | None = None
) -> Ratio:
    goal = None if bound is None else Goal(bound=bound, unit="x", more=True)
    value = found.ratio(ours, theirs)
    above, below = found.rate(ours), found.rate(theirs)
    of = f"{above:,.0f} / {below:,.0f} docs/s{more or ''}" if above and below else ""
    return Ratio(question=question, goal=goal, unit="x", value=value, of=of)


def shown(
    console: Console,
    machine: Mapping[str, Any],
    ratios: Sequence[Ratio],
    found: Findings,
    cells: Sequence[Cell],
    *,
    rounds: int,
) -> None:
    """Print everything."""
    tables = [_ratios_table(ratios)] if ratios else []
    measured = [(cell, values) for cell in cells if (values := found.cell(cell))]
    if measured:
        tables.append(_cells_table(measured))
    told = "1 round" if rounds == 1 else f"{rounds} rounds"
    facts = {"machine": report.machine_lines(machine)}
    report.shown(console, "Ingest, over HTTP", facts, tables, _REMARKS.format(rounds=told))


def _ratios_table(ratios: Sequence[Ratio]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("ratio", no_wrap=True)
    table.add_column("goal", justify="right")
    table.add_column("median", justify="right")
    table.add_column("met?")
    table.add_column("of")
    for each in ratios:
        met = report.verdict(each.is_met) if each.goal or each.value is None else ""
        goal = report.goal_told(each.goal) if each.goal else ""
        table.add_row(each.question, goal, report.value_told(each.value, each.unit), met, each.of)
    return table


def _cells_table(measured: Sequence[tuple[Cell, Measured]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("\nbytes", justify="right")
    table.add_column("\nbody")
    for name in ("docs of\nupload", "at\nonce", "\ndocs/s", "\nMB/s", "uploads\n/s", "\np50", "\np99"):
        table.add_column(name, justify="right")
    for name in ("CPU\nserver", "\nclient", "\ncores", "\nmemory"):
        table.add_column(name, justify="right")
    for cell, values in measured:
        last = cell.connections == max(each.connections for each, _ in measured if each.kind == cell.kind)
        table.add_row(*_cell_row(cell, values), end_section=last)
    return table


def _cell_row(cell: Cell, values: Measured) -> list[str]:
    return [
        f"{cell.kind.corpus.size:,}",
        "gzip" if cell.kind.gzipped else "plain",
        f"{cell.kind.docs:,}",
        f"{cell.connections}",
        f"{values.docs_per_second:,.0f}",
        _short(values.mb_per_second),
        _short(values.uploads_per_second),
        _short(values.p50_ms),
        _short(values.p99_ms),
        _short(values.server_cpu),
        _short(values.client_cpu),
        f"{values.cores:.2f}",
        f"{values.peak_mb:,.0f}",
    ]


def _short(value: float) -> str:
    """Return a value in three digits or so."""
    digits = 0 if value >= 100 else 1 if value >= 1 else 2  # noqa: PLR2004 - see above
    return f"{value:,.{digits}f}"
