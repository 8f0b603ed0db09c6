"""What finding the runs that brought some documents costs: 1,000 runs that brought a million versions of documents.

With ``--base 1000000`` the stream had a million documents before. Run it with ``python -m bench.bisect``; data are made
anew each time, and deleted.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import report
from bench.measure import cpu_seconds, timed
from bench.runs import Layout, run_task, set_up, wait_until_idle
from bench.served import Served, end_on_signals, serving

RUNS, DOCS, IDS = 1_000, 1_000, 100_000
ROUNDS = 5
#: What is looked for, and how it is asked for.
QUESTIONS = {
    "nothing matches": {"where": "rating<0"},
    "one in a thousand matches": {"where": "author=reader-{author}"},
    "one in five matches": {"where": "rating=1"},
    "a word": {"q": "vedorlun"},
    "one document": {"id": "{id}"},
}


def measure(folder: Path, console: Console, *, smaller: int, base: int) -> None:
    """Make a stream, and ask."""
    layout = Layout(name="bisect", runs=max(2, RUNS // smaller), docs=DOCS, ids=IDS)
    with serving(folder / "data", log=folder / "server.log") as served:
        stream, crawler = set_up(served, layout)
        began = time.monotonic()
        with ThreadPoolExecutor(2) as threads:
            if base:
                run_task(served, crawler, Layout(name="base", runs=1, docs=base, ids=base).bodies(0), threads)
            for run in range(layout.runs):
                run_task(served, crawler, layout.bodies(run), threads)
        console.print(f"made in {time.monotonic() - began:.0f} s")
        _ask(served, stream, console, "folding lags behind")
        served.wait_until_counted(stream)
        wait_until_idle(served)
        _ask(served, stream, console, "all is folded")


def _ask(served: Served, stream: str, console: Console, when: str) -> None:
    doc: dict[str, Any] = served.call("GET", f"/streams/{stream}/docs", params={"limit": 1})[0]
    for name, asked in QUESTIONS.items():
        params = {key: text.format(id=doc["id"], author=_author_of(doc)) for key, text in asked.items()}
        times: list[float] = []
        found: dict[str, Any] = {}
        worked = cpu_seconds(served.pid)
        for _ in range(ROUNDS):
            seconds, found = timed(
                lambda params: served.call("GET", f"/streams/{stream}/bisect", params=params), params
            )
            times.append(seconds)
        console.print(
            f"{when}, {name}: {1e3 * statistics.median(times):,.0f} ms (worst {1e3 * max(times):,.0f}, "
            f"{1e3 * (cpu_seconds(served.pid) - worked) / ROUNDS:,.0f} of the processor's); "
            f"{found['docs']:,} documents match, {len(found['runs']):,} changes, {len(found['to_undo']):,} to undo"
        )


def _author_of(doc: dict[str, Any]) -> str:
    """Return the number of a document's author."""
    return str(doc["doc"].get("author", "")).rpartition("-")[2]


def main() -> int:
    """Measure; return 0 whatever the numbers are, and 1 if there are none."""
    parser = argparse.ArgumentParser(description="Measure what finding the runs that brought documents costs.")
    parser.add_argument("--smaller", type=int, default=1, metavar="TIMES", help="so many times fewer runs")
    parser.add_argument("--base", type=int, default=0, metavar="DOCS", help="documents that a first run brings")
    chosen = parser.parse_args()
    end_on_signals()
    console = Console(width=report.WIDTH, highlight=False)
    folder = Path(tempfile.mkdtemp(prefix="bench-bisect-"))

    def run() -> None:
        try:
            measure(folder, console, smaller=chosen.smaller, base=chosen.base)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    return report.status_of(console, run)


if __name__ == "__main__":
    sys.exit(main())
