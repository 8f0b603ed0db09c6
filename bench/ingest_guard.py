"""Whether ingest has become slower than it was: ratios to the bare work of one core, against those recorded.

Run it with ``make bench-guard``, or ``python -m bench.ingest_guard``. The status is 1 if a ratio has fallen. A ratio
depends on the machine far less than a rate does, but record it anew, with ``--record``, on one of another kind.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from bench import report
from bench.ingest_cells import Cell
from bench.ingest_rivals import BARE, COMMITTED
from bench.ingest_rounds import Findings, Plan, opened
from bench.measure import Neighbours
from bench.served import end_on_signals
from examples.packages_crawler.processes import Failed

#: The ratios that the repository keeps, and by how much one may fall.
RECORDED = Path(__file__).with_name("recorded.json")
_MARGIN = 0.2
_ROUNDS = 3
#: Of a machine on which others use more cores than this, the ratios tell little: the bare loop has one thread only.
_QUIET = 0.2


def measured(console: Console, *, rounds: int) -> dict[str, Any]:
    """Return the ratios, and the facts of the machine.

    Raises:
        Failed: an upload was not accepted, or is not there afterwards.
    """
    plan, found, neighbours = Plan(), Findings(), Neighbours(os.getpid())
    # What small uploads wait for is the disk: they stand beside what waits for it as well.
    guarded = {plan.gzipped: BARE, plan.plain: BARE, plan.small: COMMITTED}
    items = [plan.gzipped, BARE, plan.plain, plan.small, COMMITTED]
    with opened() as bench, console.status("making documents ...") as status:
        bench.prepare(items, plan)
        bench.rounds(items, rounds, found, status.update)
    machine = {**report.machine(), "others_used_cores": round(neighbours.cores(), 2)}
    return {"machine": machine, "ratios": {cell.name: _ratio(found, cell, rival) for cell, rival in guarded.items()}}


def _ratio(found: Findings, cell: Cell, rival: str) -> float:
    ratio = found.ratio(cell, rival)
    if ratio is None:
        raise Failed(f"{cell.name} was not measured")
    return round(ratio, 4)


def held(console: Console, now: Mapping[str, Any], recorded: Mapping[str, Any]) -> bool:
    """Say of each recorded ratio what it is now, and return whether none has fallen too far."""
    margin = recorded["margin"]
    console.print(report.machine_lines(now["machine"]), style="dim")
    console.print(
        f"documents/s over those of the bare loop, for small uploads with commits; a ratio may fall by {margin:.0%}"
    )
    fallen = 0
    for name, before in recorded["ratios"].items():
        ratio, least = now["ratios"].get(name), before * (1 - margin)
        is_held = ratio is not None and ratio >= least
        fallen += not is_held
        told = "not measured any more" if ratio is None else f"{ratio:.3f}"
        line = f"{name:16} {told}, recorded {before:.3f}, at least {least:.3f}: {'held' if is_held else 'FALLEN'}"
        console.print(Text(line, "green" if is_held else "red"))
    if now["machine"]["others_used_cores"] > _QUIET:
        console.print("others used so much of the cores meanwhile that this tells little", style="yellow")
    return not fallen


def record(now: Mapping[str, Any]) -> None:
    """Keep ratios as those to be held; the margin stays what it was."""
    margin = _recorded()["margin"] if RECORDED.exists() else _MARGIN
    RECORDED.write_text(json.dumps({"margin": margin, **now}, indent=2) + "\n")


def _recorded() -> dict[str, Any]:
    if not RECORDED.exists():
        raise Failed(f"{RECORDED} is not there; --record makes it")
    return json.loads(RECORDED.read_text())


def main() -> int:
    """Compare, or record; return 0 if nothing has fallen, and 1 otherwise."""
    parser = argparse.ArgumentParser(description="See whether ingest has become slower than was recorded.")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, metavar="N", help=f"{_ROUNDS} if nothing is said")
    parser.add_argument("--record", action="store_true", help=f"write {RECORDED.name} instead of comparing with it")
    asked = parser.parse_args()
    end_on_signals()
    console = Console(width=report.WIDTH, highlight=False)

    def run() -> int:
        recorded = None if asked.record else _recorded()
        now = measured(console, rounds=asked.rounds)
        if recorded is not None:
            return 0 if held(console, now, recorded) else 1
        record(now)
        console.print(f"recorded {', '.join(f'{name} {ratio:.3f}' for name, ratio in now['ratios'].items())}")
        return 0

    return report.status_of(console, run)


if __name__ == "__main__":
    sys.exit(main())
