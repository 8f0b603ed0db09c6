"""What reading, undoing and running costs as the number of runs grows: the same versions as few and as many runs.

Run it with ``make bench-runs``, or ``python -m bench.runs``. Each layout is a stream of its own on a server of its own;
data are made anew each time, and deleted.
"""

import argparse
import base64
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from rich import box
from rich.console import Console
from rich.table import Table

from bench import documents, report
from bench.measure import timed
from bench.plain import MEMORY, THREADS
from bench.served import Served, catalog_rows, end_on_signals, serving
from examples.packages_crawler.processes import Failed

#: Versions and ids of the layouts that differ in the number of runs alone.
VERSIONS, IDS = 15_000_000, 1_000_000
RUNS = (15, 150, 1_500, 15_000)
#: A year of hourly crawls: each brings all of its documents, and so many of them changed.
HOURS, HOURLY, CHANGED = 8_760, 2_000, 0.05
#: Documents of a small run, and of an upload.
SMALL, UPLOAD = 100, 10_000
#: Runs after a year of hourly crawls that change nothing.
UNCHANGED = 512
#: Mean bytes of a document.
SIZE = 250
PAGE = 100
ROUNDS = 30
FEW_ROUNDS = 5
#: Seconds that folding and counting may take after the last run.
PATIENCE = 3_600.0

_LINES = {"Content-Type": "application/x-ndjson"}
_FILES = "SELECT DISTINCT path FROM segments WHERE stream = ? AND path LIKE 'streams/%'"
_SEEN = """
    SELECT path, part, layer FROM segments
    WHERE stream = ? AND added_version IS NOT NULL AND removed_version IS NULL
"""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The runs of a stream."""

    name: str
    runs: int
    docs: int
    ids: int
    #: The share of documents that a run changes; None: it changes all of them.
    changed: float | None = None

    def numbers(self, run: int) -> list[int]:
        """Return the numbers of a run's documents, in the order of their upload."""
        rng = random.Random(f"{self.name} {run}")
        return rng.sample(range(self.ids), self.docs) if self.docs < self.ids else rng.sample(range(self.ids), self.ids)

    def bodies(self, run: int) -> Iterator[bytes]:
        """Yield the bodies of a run's uploads."""
        numbers = self.numbers(run)
        for start in range(0, len(numbers), UPLOAD):
            some = numbers[start : start + UPLOAD]
            if self.changed is None:
                yield documents.ndjson(some, seed=f"{self.name} {run}", size=SIZE)
            else:
                yield b"".join(self.hourly(number, run) for number in some)

    def hourly(self, number: int, run: int) -> bytes:
        """Return a document as a run of a layout with few changes has it."""
        # The last run at or before this one in which the document changed.
        every = round(1 / (self.changed or 1))
        edition = (run - number) // every
        text = random.Random(f"{number} {edition}").getrandbits(4 * SIZE - 240)
        return b'{"id":"%s","product":"%d","author":"%d","text":"%x"}\n' % (
            documents.review_id(number).encode(), number, number % 97, text,
        )  # fmt: skip


@dataclass(kw_only=True)
class Measured:
    """What was measured of a layout; times in ms."""

    layout: Layout
    values: dict[str, float] = field(default_factory=dict[str, float])


def measure(layout: Layout, folder: Path, console: Console) -> Measured:
    """Make the stream of a layout, and ask everything about it."""
    found = Measured(layout=layout)
    with serving(folder / "data", log=folder / "server.log") as served, console.status("") as status:
        stream, crawler = set_up(served, layout)
        began, raw = time.monotonic(), 0
        tasks: list[str] = []
        with ThreadPoolExecutor(2) as threads:
            for run in range(layout.runs):
                task, size = run_task(served, crawler, layout.bodies(run), threads)
                tasks.append(task)
                raw += size
                if run % 10 == 0:
                    status.update(f"{layout.name}: run {run:,} of {layout.runs:,}")
        found.values["make, s"] = time.monotonic() - began
        status.update(f"{layout.name}: asked while merging lags behind")
        asked = Asked(served, layout, stream, tasks)
        for name, question in asked.quick.items():
            found.values[f"{name}, lagging"] = asked.median(question, FEW_ROUNDS)
        status.update(f"{layout.name}: waiting until all is folded and counted")
        began = time.monotonic()
        served.wait_until_counted(stream)
        wait_until_idle(served)
        found.values["settle, s"] = time.monotonic() - began
        for name, question in asked.quick.items():
            status.update(f"{layout.name}: {name}")
            found.values[name] = asked.median(question, ROUNDS)
        for name, question in asked.slow.items():
            status.update(f"{layout.name}: {name}")
            found.values[name] = asked.median(question, FEW_ROUNDS)
        status.update(f"{layout.name}: plain DuckDB")
        found.values |= _plain(served, layout, stream)
        status.update(f"{layout.name}: small runs")
        found.values |= _small_runs(served, crawler, layout)
        wait_until_idle(served)
        files, on_disk = _on_disk(served, stream)
        found.values |= {"files": files, "on disk, MB": on_disk / 1e6, "uploaded, MB": raw / 1e6}
        found.values["written / on disk"] = _written(served.pid) / max(1, on_disk)
        if layout.changed is not None:
            status.update(f"{layout.name}: runs that change nothing")
            found.values |= _unchanged_runs(served, crawler, layout, stream)
    return found


class Asked:
    """The questions about a stream."""

    def __init__(self, served: Served, layout: Layout, stream: str, tasks: Sequence[str]) -> None:
        """Ask a server."""
        self._served, self._layout, self._stream, self._tasks = served, layout, stream, tasks
        self._rng = random.Random(layout.name)
        self._path = f"/streams/{stream}"
        self._cursor = served.client.get(f"{self._path}/docs", params={"limit": 1}).json()["next_cursor"]
        #: Those that should take milliseconds, and those that may take seconds.
        self.quick = {"page of 100": self._page, "one document": self._one, "last change": self._last_change}
        self.slow = {"dry run of a delete": self._dry_run, "diff of a run": self._diff, "export": self._export}

    def median(self, question: Callable[[], object], rounds: int) -> float:
        """Return the median time of a question in ms; it is asked once before."""
        question()
        return 1e3 * statistics.median(timed(lambda _: question(), None)[0] for _ in range(rounds))

    def _page(self) -> object:
        _, version = json.loads(base64.urlsafe_b64decode(self._cursor + "=="))
        after = base64.urlsafe_b64encode(json.dumps([self._id(), version]).encode()).decode().rstrip("=")
        return self._served.call("GET", f"{self._path}/docs", params={"limit": PAGE, "cursor": after})

    def _one(self) -> object:
        doc_id = self._id()
        answer = self._served.client.get(f"{self._path}/docs/{doc_id}")
        # With random runs, a few ids have no document.
        if answer.status_code not in {HTTPStatus.OK, HTTPStatus.NOT_FOUND}:
            raise Failed(f"document {doc_id}: {answer.status_code} {answer.text[:300]}")
        return answer

    def _last_change(self) -> object:
        version = self._served.call("GET", self._path)["stream_version"]
        params = {"since": version - 1, "limit": PAGE}
        return self._served.client.get(f"{self._path}/changes", params=params).raise_for_status().content

    def _dry_run(self) -> object:
        task = self._rng.choice(self._tasks)
        return self._served.call("DELETE", f"/actions/tasks/{task}", params={"dry_run": "true"})

    def _diff(self) -> object:
        task = self._rng.choice(self._tasks)
        return self._served.call("GET", f"/tasks/{task}/diff", params={"op": "changed", "limit": PAGE})

    def _export(self) -> object:
        with self._served.client.stream(
            "GET", f"{self._path}/export", headers={"Accept-Encoding": "identity"}
        ) as answer:
            answer.raise_for_status()
            return sum(len(piece) for piece in answer.iter_raw())

    def _id(self) -> str:
        return documents.review_id(self._rng.randrange(self._layout.ids))


def _small_runs(served: Served, crawler: str, layout: Layout) -> dict[str, float]:
    """Run small runs; return how long they take, and until their summaries are there."""
    times: list[float] = []
    waits: list[float] = []
    rng = random.Random(layout.name)
    with ThreadPoolExecutor(1) as threads:
        for number in range(FEW_ROUNDS * 2):
            body = documents.ndjson(rng.sample(range(layout.ids), SMALL), seed=f"small {number}", size=SIZE)
            seconds, (task, _) = timed(lambda one: run_task(served, crawler, [one], threads), body)
            times.append(seconds)
            began = time.monotonic()
            while served.call("GET", f"/tasks/{task}")["summary"] is None:
                if time.monotonic() - began > PATIENCE:
                    raise Failed(f"task {task} has no summary")
                time.sleep(0.05)
            waits.append(time.monotonic() - began)
    return {"run of 100": 1e3 * statistics.median(times), "its summary after": 1e3 * statistics.median(waits)}


def _unchanged_runs(served: Served, crawler: str, layout: Layout, stream: str) -> dict[str, float]:
    """Run what changes nothing, and return what such a run takes on disk, and of its text, once it is folded."""
    _, before = _on_disk(served, stream)
    body = b"".join(layout.hourly(number, layout.runs) for number in layout.numbers(0))
    with ThreadPoolExecutor(1) as threads:
        # The first one makes the documents the same as those of the others.
        for _ in range(UNCHANGED):
            run_task(served, crawler, [body], threads)
    served.wait_until_counted(stream)
    wait_until_idle(served)
    _, after = _on_disk(served, stream)
    taken = (after - before) / UNCHANGED
    return {"unchanged run, bytes": taken, "unchanged run, % of its text": 100 * taken / len(body)}


def _on_disk(served: Served, stream: str) -> tuple[int, int]:
    """Return how many files a stream has, and their bytes."""
    files = [path for (path,) in catalog_rows(served.data, _FILES, stream)]
    return len(files), sum((served.data / "lake" / path).stat().st_size for path in files)


def _plain(served: Served, layout: Layout, stream: str) -> dict[str, float]:
    """Ask plain DuckDB for pages and documents over the same files."""
    lake = served.data.resolve() / "lake"
    rows = [(str(lake / path), part, layer) for path, part, layer in catalog_rows(served.data, _SEEN, stream)]
    folded = sorted(
        {path for path, part, _ in rows if part} & {path for path, _, _ in rows if path.endswith(".parquet")}
    )
    if not folded:
        return {}
    rng = random.Random(layout.name)
    with duckdb.connect(":memory:", config={"memory_limit": MEMORY, "threads": THREADS}) as db:
        seen = {"parts": [part for _, part, _ in rows], "layers": [layer for _, _, layer in rows]}
        db.execute("CREATE TABLE seen AS SELECT unnest($parts)::BIGINT AS part, unnest($layers)::BIGINT AS layer", seen)
        names = ", ".join("'" + path.replace("'", "''") + "'" for path in folded)
        db.execute(
            f"CREATE VIEW versions AS SELECT doc_id, layer << 32 | pos AS rank, doc FROM read_parquet([{names}]) "
            "JOIN seen USING (part)"
        )

        def one(doc_id: str) -> object:
            query = "SELECT doc FROM versions WHERE doc_id = $id ORDER BY rank DESC LIMIT 1"
            return db.execute(query, {"id": doc_id}).fetchall()

        def page(doc_id: str) -> object:
            query = """
                WITH ids AS (SELECT DISTINCT doc_id FROM versions WHERE doc_id > $id ORDER BY doc_id LIMIT 100)
                SELECT doc_id, doc FROM versions JOIN ids USING (doc_id)
                QUALIFY row_number() OVER (PARTITION BY doc_id ORDER BY rank DESC) = 1 ORDER BY doc_id
            """
            return db.execute(query, {"id": doc_id}).fetchall()

        found: dict[str, float] = {}
        for name, ask in (("page of 100, plain DuckDB", page), ("one document, plain DuckDB", one)):
            ids = [documents.review_id(rng.randrange(layout.ids)) for _ in range(FEW_ROUNDS + 1)]
            ask(ids[0])
            found[name] = 1e3 * statistics.median(timed(ask, doc_id)[0] for doc_id in ids[1:])
        return found


def set_up(served: Served, layout: Layout) -> tuple[str, str]:
    """Create a stream and its crawler; return their fids."""
    created = HTTPStatus.CREATED
    stream = served.call("POST", "/streams", json={"meta": {"name": layout.name}}, expect=created)["fid"]
    external = served.call(
        "POST", "/externals", json={"meta": {"name": layout.name}, "docIdField": "id"}, expect=created
    )
    body = {"meta": {"name": layout.name, "links": [{"from": {"type": "streams", "fid": stream}}]}}
    path = f"/actions/externals/{external['fid']}/crawler"
    return stream, served.call("POST", path, json=body, expect=created)["fid"]


def run_task(
    served: Served, crawler: str, bodies: Iterator[bytes] | Sequence[bytes], threads: ThreadPoolExecutor
) -> tuple[str, int]:
    """Upload a task and end it; return its fid, and how many bytes it uploaded."""
    task = served.call("POST", f"/actions/crawlers/{crawler}/task", expect=HTTPStatus.CREATED)["fid"]

    def upload(body: bytes) -> int:
        served.call("POST", f"/actions/tasks/{task}/upload", content=body, headers=_LINES)
        return len(body)

    size = sum(threads.map(upload, bodies))
    served.call("POST", f"/actions/tasks/{task}/status", json={"code": HTTPStatus.OK})
    return task, size


def wait_until_idle(served: Served) -> None:
    """Wait until nothing is folded any more."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            served.wait_until_idle()
        except Failed:
            if time.monotonic() > until:
                raise
        else:
            return


def _written(pid: int) -> int:
    """Return how many bytes a process has written to files."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("write_bytes")).split()[1])


def shown(measured: Sequence[Measured], console: Console) -> None:
    """Print everything as one table, with ratios to the first layout."""
    table = Table(box=box.SIMPLE_HEAD, title="The cost of runs, over HTTP; times in ms, and as many times the first")
    table.add_column("")
    for each in measured:
        table.add_column(each.layout.name, justify="right")
    for name in measured[0].values:
        cells: list[str] = []
        for each in measured:
            value, first = each.values.get(name), measured[0].values.get(name)
            if value is None:
                cells.append("")
            elif first and each is not measured[0] and each.layout.changed is None:
                cells.append(f"{value:,.1f}  {value / first:.2f}x")
            else:
                cells.append(f"{value:,.1f}")
        table.add_row(name, *cells)
    console.print(table)
    year = next((each for each in measured if each.layout.changed), None)
    if year is not None:
        distinct = _distinct_bytes(year.layout)
        bytes_of_run = year.values["on disk, MB"] * 1e6 / year.layout.runs
        console.print(
            f"A year of hourly crawls: {year.values['on disk, MB']:,.0f} MB on disk; its distinct versions, as one "
            f"file, take {distinct / 1e6:,.0f} MB: {year.values['on disk, MB'] * 1e6 / distinct:.2f} times. "
            f"A run takes {bytes_of_run:,.0f} bytes; one that changes nothing, once it is folded, "
            f"{year.values['unchanged run, bytes']:,.0f}, "
            f"{year.values['unchanged run, % of its text']:.1f} % of its text."
        )


def _distinct_bytes(layout: Layout) -> int:
    """Return what the distinct versions of a layout take as one Parquet file, in the order of their ids."""
    every = round(1 / (layout.changed or 1))
    with tempfile.TemporaryDirectory() as folder:
        schema = pa.schema([("doc_id", pa.string()), ("doc", pa.string())])
        with pq.ParquetWriter(Path(folder, "x"), schema, compression="zstd", compression_level=3) as writer:
            for begin in range(0, layout.ids, 50):
                rows = [
                    (documents.review_id(number), layout.hourly(number, run).decode())
                    for number in range(begin, min(layout.ids, begin + 50))
                    for run in range(layout.runs)
                    if run == 0 or (run - number) % every == 0
                ]
                ids, texts = zip(*rows, strict=True)
                writer.write_table(cast("Any", pa).table([pa.array(ids), pa.array(texts)], schema=schema))
        return Path(folder, "x").stat().st_size


def layouts(times_smaller: int) -> list[Layout]:
    """Return the layouts, with so many times fewer documents."""
    versions, ids = VERSIONS // times_smaller, IDS // times_smaller
    found = [
        Layout(name=f"{runs:,} runs", runs=runs, docs=versions // runs, ids=ids)
        for runs in RUNS
        if versions // runs >= SMALL
    ]
    hours = max(100, HOURS // times_smaller)
    return [*found, Layout(name=f"{hours:,} hourly", runs=hours, docs=HOURLY, ids=HOURLY, changed=CHANGED)]


def main() -> int:
    """Measure; return 0 whatever the numbers are, and 1 if there are none."""
    parser = argparse.ArgumentParser(description="Measure what reading and running costs as the number of runs grows.")
    parser.add_argument("--smaller", type=int, default=1, metavar="TIMES", help="so many times fewer documents")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="only the layouts whose names begin so")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the numbers")
    chosen = parser.parse_args()
    end_on_signals()
    console = Console(width=report.WIDTH + 30, highlight=False)

    def run() -> None:
        measured: list[Measured] = []
        for layout in layouts(chosen.smaller):
            if chosen.only and not any(layout.name.startswith(name) for name in chosen.only):
                continue
            folder = Path(tempfile.mkdtemp(prefix="bench-runs-"))
            try:
                measured.append(measure(layout, folder, console))
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        shown(measured, console)
        if chosen.json is not None:
            kept = [{"layout": asdict(each.layout), **each.values} for each in measured]
            chosen.json.write_text(json.dumps({"machine": report.machine(), "measured": kept}, indent=2) + "\n")

    return report.status_of(console, run)


if __name__ == "__main__":
    sys.exit(main())
