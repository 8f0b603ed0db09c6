"""How fast documents come in: Headwater over HTTP, beside the bare work of one core and DuckDB loading a file.

Run it with ``make bench``, or ``python -m bench.ingest``.
"""

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import ingest_long, ingest_report, report
from bench.ingest_cells import matrix
from bench.ingest_rounds import Findings, Plan, as_json, chosen, name_of, opened
from bench.measure import Neighbours
from bench.served import end_on_signals
from examples.packages_crawler.processes import Failed

_ROUNDS = 3
#: So many times fewer documents, and one round, are quick.
_QUICK = 5


def measure(console: Console, plan: Plan, *, rounds: int, only: list[str], keep: Path | None) -> None:
    """Measure everything, print the table.

    Raises:
        Failed: an upload was not accepted, or is not there afterwards.
    """
    contest = chosen(plan.contest, only)
    every_cell = matrix(plan.reviews, plan.long_reviews, smaller=plan.smaller)
    others = [item for item in chosen(every_cell, only) if name_of(item) not in map(name_of, contest)]
    if not contest + others:
        names = " ".join(map(name_of, [*plan.contest, *every_cell]))
        raise Failed(f"--only {' '.join(only)} is part of no name; there are {names}")
    found = Findings()
    neighbours = Neighbours(os.getpid())
    with opened() as bench, console.status("making documents ...") as status:
        bench.prepare(contest + others, plan)
        for items in filter(None, (contest, others)):
            bench.rounds(items, rounds, found, status.update)
    machine = {**report.machine(), "others_used_cores": round(neighbours.cores(), 2)}
    # What was to be measured and could not be is told as well.
    ratios = [ratio for ratio in ingest_report.ratios(found, plan) if not only or ratio.value is not None]
    ingest_report.shown(console, machine, ratios, found, every_cell, rounds=rounds)
    if keep is not None:
        told: dict[str, Any] = {"machine": machine, "rounds": rounds, "smaller": plan.smaller}
        keep.write_text(json.dumps({**told, "ratios": list(map(asdict, ratios)), **as_json(found)}, indent=2) + "\n")


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure how fast documents come in, beside DuckDB.")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"of each cell; {_ROUNDS} if nothing is said")
    parser.add_argument("--quick", action="store_true", help=f"one round with {_QUICK} times fewer documents")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="PART", help="what has this in its name, such as gzip-10000-4 or bare"
    )
    parser.add_argument("--long", action="store_true", help="instead: ten million documents, and whether it slows down")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep all numbers")
    return parser


def main() -> int:
    """Measure; return 0 whatever the numbers are, and 1 if there are none."""
    asked = _arguments().parse_args()
    end_on_signals()
    console = Console(width=report.WIDTH, highlight=False)
    smaller = _QUICK if asked.quick else 1

    def run() -> None:
        if asked.long:
            ingest_long.measure(console, smaller=smaller, keep=asked.json)
        else:
            rounds = asked.rounds or (1 if asked.quick else _ROUNDS)
            measure(console, Plan(smaller=smaller), rounds=rounds, only=asked.only, keep=asked.json)

    return report.status_of(console, run)


if __name__ == "__main__":
    sys.exit(main())
