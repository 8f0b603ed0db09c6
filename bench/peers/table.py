"""What is printed of a run, and what is kept as JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench import report
from bench.peers.rounds import Outcome, Run

_COLORS = {"yes": "green", "part": "yellow", "no": "dim"}
#: What of a failure is printed; all of it is in the JSON.
_REASON = 80
#: Ratios are given to a hundredth below this.
_EXACT = 10

_REMARKS = """\
Medians of {rounds}, with Headwater at the begin and the end of each. Each begins with an empty folder, takes 200 other
documents to warm up, and is asked afterwards how many it holds. Times: how many times as fast Headwater is, by
documents a second. Those with HTTP share the cores with their client; ClickHouse, DuckDB and dlt read a file in their
own process.

Schema: refuses what does not match the JSON Schema. Ids: keeps one document of an id, that of the newest load; of two
in one load Headwater keeps the later, DuckDB the first, dlt either. Fsync: on the disk before it answers. ClickHouse,
checked: by constraints, which take a missing field for an empty one; older documents of an id go when parts merge or
reading says FINAL. DuckDB, checked: by constraints, but values are cast and unknown fields dropped.
"""


def shown(console: Console, facts: Mapping[str, Any], run: Run) -> None:
    """Print everything."""
    failures = [
        Text(f"{each.peer.name}: {each.failure[:_REASON]}", "yellow") for each in run.others if each.failure is not None
    ]
    remarks = _REMARKS.format(rounds=f"{len(run.busy)} rounds" if len(run.busy) > 1 else "one round")
    report.shown(console, "Taking documents in", {"machine": _machine(facts)}, [_table(run), *failures], remarks)


def kept(file: Path, facts: Mapping[str, Any], run: Run) -> None:
    """Write all numbers as JSON."""
    rows = [_numbers(each, run.headwater) for each in (run.headwater, *run.others)]
    file.write_text(json.dumps({"machine": facts, "busy_before_rounds": run.busy, "results": rows}, indent=2) + "\n")


def _numbers(outcome: Outcome, headwater: Outcome) -> dict[str, Any]:
    peer = outcome.peer
    return {
        "name": peer.name,
        "distribution": peer.distribution,
        "version": outcome.version,
        "docs": peer.docs,
        "seconds": outcome.seconds,
        "median": outcome.median,
        "docs_a_second": outcome.rate,
        "ratio": outcome.ratio(headwater),
        "promises": asdict(peer.promises),
        "goal": asdict(peer.goal),
        "is_met": outcome.is_met(headwater),
        "failure": outcome.failure,
    }


def _machine(facts: Mapping[str, Any]) -> str:
    return (
        f"{facts['cores']} cores, {facts['memory_bytes'] / 1e9:.0f} GB, {facts['system']}; "
        f"others used {facts['others_used_cores']} cores before the rounds\n"
        f"Python {facts['python']}, PostgreSQL {facts['postgres']}"
    )


def _table(run: Run) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    for name in ("peer", "version"):
        table.add_column(f"{name} ", no_wrap=True)
    for name in ("docs", "seconds", "docs/s", "times", "goal"):
        table.add_column(f" {name}", justify="right", no_wrap=True)
    for name in ("met?", "HTTP", "schema", "ids", "fsync"):
        table.add_column(name, no_wrap=True)
    for outcome in (run.headwater, *run.others):
        table.add_row(*_row(outcome, run.headwater))
    return table


def _row(outcome: Outcome, headwater: Outcome) -> list[str | Text]:
    peer, ratio, is_ours = outcome.peer, outcome.ratio(headwater), outcome is headwater
    return [
        Text(peer.name, "bold" if is_ours else ""),
        outcome.version or "-",
        f"{peer.docs:,}",
        "-" if outcome.median is None else f"{outcome.median:.2f}",
        "-" if outcome.rate is None else f"{outcome.rate:,.0f}",
        "-" if ratio is None or is_ours else f"{ratio:,.{2 if ratio < _EXACT else 0}f}x",
        "" if is_ours else f"{'>' if peer.goal.more else '≥'} {peer.goal.times:g}x",
        _verdict(outcome, headwater),
        *(Text(kept, _COLORS[kept]) for kept in asdict(peer.promises).values()),
    ]


def _verdict(outcome: Outcome, headwater: Outcome) -> Text:
    if outcome is headwater:
        return Text()
    return Text("failed", "yellow") if outcome.failure else report.verdict(outcome.is_met(headwater))
