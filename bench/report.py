"""What a benchmark prints: the machine, a table, and remarks; and what it keeps as JSON."""

import importlib.metadata
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import psutil
from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from bench.measure import Goal, Result
from examples.packages_crawler.processes import Failed

#: Columns of what is printed.
WIDTH = 100

_LIBRARIES = ("duckdb", "pyarrow", "httpx")
_UNITS = {"docs/s": "/s", "uploads/s": "/s", "ms": " ms", "MB": " MB", "x": "x"}


def status_of(console: Console, run: Callable[[], int | None]) -> int:
    """Run a benchmark and return the status that it ends with; say in a line why it failed."""
    try:
        return run() or 0
    except KeyboardInterrupt:
        return 130
    except (Failed, httpx.HTTPError) as error:
        console.print(f"bench: {error}", style="red", markup=False)
        return 1


def machine() -> dict[str, Any]:
    """Return what of this machine bears on the numbers."""
    return {
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in _LIBRARIES},
    }


def shown(
    console: Console, title: str, facts: Mapping[str, str], tables: Sequence[RenderableType], remarks: str
) -> None:
    """Print everything."""
    console.print()
    console.print(Text(title, "bold"))
    console.print(_facts_table(facts))
    for table in tables:
        console.print(table)
    for remark in remarks.split("\n\n"):
        console.print(Text(" ".join(remark.split()), "dim"))


def machine_lines(facts: Mapping[str, Any]) -> str:
    """Return the facts of a machine in two lines."""
    libraries = ", ".join(f"{name} {facts[name]}" for name in _LIBRARIES)
    memory, others = facts["memory_bytes"] / 1e9, facts["others_used_cores"]
    return (
        f"{facts['cores']} cores, {memory:.0f} GB, {facts['system']}; others used {others} cores meanwhile\n"
        f"Python {facts['python']}, {libraries}"
    )


def kept(file: Path, facts: Mapping[str, Any], results: Sequence[Result]) -> None:
    """Write all numbers as JSON."""
    rows = [
        asdict(each)
        | {"median": each.median, "worst": each.worst, "plain_median": each.plain_median, "ratio": each.ratio}
        | {"is_met": each.is_met}
        for each in results
    ]
    file.write_text(json.dumps({**facts, "results": rows}, indent=2) + "\n")


def _facts_table(facts: Mapping[str, str]) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, said in facts.items():
        table.add_row(Text(name, "dim"), said)
    return table


def results_table(results: Sequence[Result]) -> Table:
    """Return a table of questions, and of how fast they were answered."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("question", no_wrap=True)
    for name in ("goal", "Headwater\nmedian", "\nworst", "plain\nDuckDB", "ratio", "rounds"):
        table.add_column(name, justify="right")
    table.add_column("met?")
    for result in results:
        table.add_row(*_row(result))
    return table


def _row(result: Result) -> list[str | Text]:
    unit = result.goal.unit
    return [
        f"{result.question}: {result.differing} ANSWERS DIFFER" if result.differing else result.question,
        goal_told(result.goal),
        value_told(result.median, unit),
        value_told(result.worst, unit),
        value_told(result.plain_median, unit),
        "-" if result.ratio is None else f"{result.ratio:.1f}x",
        f"{len(result.ours)}/{len(result.plain) or '-'}",
        verdict(result.is_met),
    ]


def goal_told(goal: Goal) -> str:
    """Return what is to be reached."""
    return f"{'≥' if goal.more else '<'} {value_told(goal.bound, goal.unit)}"


def verdict(is_met: bool | None) -> Text:
    """Return whether a goal is met; None is for what could not be measured."""
    match is_met:
        case None:
            return Text("not there", "yellow")
        case True:
            return Text("yes", "green")
        case False:
            return Text("no", "red")


def value_told(value: float | None, unit: str) -> str:
    """Return a value of a goal's unit, in three digits or so."""
    if value is None:
        return "-"
    if unit == "x":
        return f"{value:.2f}x"
    digits = 1 if value < 100 and not float(value).is_integer() else 0  # noqa: PLR2004 - three digits are enough
    return f"{value:,.{digits}f}{_UNITS[unit]}"
