"""The data that the console is measured with: a stream of a million documents that 15,000 runs have made.

Made once and used again by later runs; one that is interrupted goes on where it was.
"""

import json
import random
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import documents
from bench.read_data import KEPT
from bench.served import Served, catalog_rows, serving

#: Grows when other data are made: what was made before is then of no use.
EDITION = 1
RUNS, DOCS = 15_000, 1_000_000
#: Documents of a run, of an upload, and of the large run, as a share of all: one that went wrong.
SMALL, UPLOAD, LARGE_SHARE = 50, 10_000, 0.2
#: Where in the order the large run is, counted from the newest.
LARGE_PLACE = 10
#: Rejected lines of the newest run.
REJECTED = 200
#: Other streams, each with a crawler and a run of its own, webhooks, notifications and keys.
OTHERS = 60
#: Mean bytes of a document.
SIZE = 400
_LINES = {"Content-Type": "application/x-ndjson"}
_TASKS = "SELECT fid FROM tasks WHERE stream = ? ORDER BY fid"
_OPEN = "SELECT fid FROM tasks WHERE stream = ? AND state IN ('new', 'running')"


@dataclass(frozen=True, kw_only=True)
class ConsoleData:
    """What was made; fids."""

    stream: str
    crawler: str
    external: str
    #: The runs of the stream, oldest first.
    runs: list[str]
    webhook: str

    @property
    def large(self) -> str:
        """The run of many documents."""
        return self.runs[-LARGE_PLACE]


@contextmanager
def served_data(console: Console, *, smaller: int, folder: Path | None = None) -> Generator[tuple[Served, ConsoleData]]:
    """Serve the data, which are made first unless they are there, or completed."""
    folder = folder or KEPT / (f"console-{EDITION}" if smaller == 1 else f"console-{EDITION}-{smaller}-times-smaller")
    folder.mkdir(parents=True, exist_ok=True)
    with serving(folder / "headwater-data", log=folder / "server.log") as served:
        yield served, _completed(served, folder / "made.json", console, max(20, RUNS // smaller), DOCS // smaller)


def _completed(served: Served, stamp: Path, console: Console, runs: int, docs: int) -> ConsoleData:
    made: dict[str, Any] = json.loads(stamp.read_text()) if stamp.exists() else {}
    if not made:
        stream, crawler, external = _crawler(served, "Reviews", documents.SCHEMA)
        made = {"stream": stream, "crawler": crawler, "external": external, "webhook": _others(served)}
        stamp.write_text(json.dumps(made))
    stream = made["stream"]
    for (fid,) in catalog_rows(served.data, _OPEN, stream):
        served.call("POST", f"/actions/tasks/{fid}/status", json={"code": HTTPStatus.OK})
    done = len(catalog_rows(served.data, _TASKS, stream))
    with console.status("") as status, ThreadPoolExecutor(2) as threads:
        for number in range(done, runs):
            if number % 10 == 0:
                status.update(f"run {number:,} of {runs:,}")
            _run(served, made["crawler"], threads, Plan(number=number, runs=runs, docs=docs))
        status.update("waiting until all is folded and counted")
        served.wait_until_counted(stream)
        served.wait_until_idle()
    found = [fid for (fid,) in catalog_rows(served.data, _TASKS, stream)]
    return ConsoleData(**made, runs=found)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The run with a number: the first one brings all documents, and a later one changes some of them."""

    number: int
    #: Of the whole stream.
    runs: int
    docs: int

    @property
    def documents(self) -> Sequence[int]:
        """The numbers of its documents."""
        if self.number == 0:
            return range(self.docs)
        is_large = self.number == self.runs - LARGE_PLACE
        count = int(self.docs * LARGE_SHARE) if is_large else SMALL
        return random.Random(self.number).sample(range(self.docs), count)


def _run(served: Served, crawler: str, threads: ThreadPoolExecutor, plan: Plan) -> None:
    numbers, number = plan.documents, plan.number
    task = served.call("POST", f"/actions/crawlers/{crawler}/task", expect=HTTPStatus.CREATED)["fid"]
    path = f"/actions/tasks/{task}"

    def upload(start: int) -> None:
        body = documents.ndjson(numbers[start : start + UPLOAD], seed=f"{number} {start}", size=SIZE)
        served.call("POST", f"{path}/upload", content=body, headers=_LINES)

    list(threads.map(upload, range(0, len(numbers), UPLOAD)))
    if number == plan.runs - 1:
        wrong = b"".join(b'{"id":"%016x","rating":"none"}\n' % each for each in range(REJECTED))
        served.call("POST", f"{path}/upload", content=wrong, headers=_LINES | {"Prefer": "handling=lenient"})
    # Some fail, so that somebody has to look.
    code = HTTPStatus.BAD_GATEWAY if number % 50 == 1 else HTTPStatus.OK
    served.call("POST", f"{path}/status", json={"code": code, "message": f"{len(numbers)} pages"})


def _crawler(served: Served, name: str, schema: dict[str, Any] | None = None) -> tuple[str, str, str]:
    """Create a stream, its External and its crawler; return their fids."""
    created = HTTPStatus.CREATED
    stream = served.call("POST", "/streams", json={"meta": {"name": name}}, expect=created)["fid"]
    definition = {"meta": {"name": name}, "docIdField": "id"} | ({"schema": schema} if schema else {})
    external = served.call("POST", "/externals", json=definition, expect=created)["fid"]
    body = {
        "meta": {"name": name, "links": [{"from": {"type": "streams", "fid": stream}}]},
        "gates": {"min_docs": 10},
        "expect": {"every": 86_400, "grace": 3600},
    }
    path = f"/actions/externals/{external}/crawler"
    return stream, served.call("POST", path, json=body, expect=created)["fid"], external


def _others(served: Served) -> str:
    """Create what lists show beside; return the fid of a webhook."""
    created = HTTPStatus.CREATED
    webhook = ""
    for number in range(OTHERS):
        name = f"Shop {number:02}"
        _, crawler, _ = _crawler(served, name)
        task = served.call("POST", f"/actions/crawlers/{crawler}/task", expect=created)["fid"]
        body = documents.ndjson(range(20), seed=name, size=SIZE)
        served.call("POST", f"/actions/tasks/{task}/upload", content=body, headers=_LINES)
        served.call("POST", f"/actions/tasks/{task}/status", json={"code": HTTPStatus.OK})
        served.call("POST", "/keys", json={"name": name, "scopes": ["read"]}, expect=created)
        # Of events that do not come: deliveries would take the server's time.
        hook = {"meta": {"name": name}, "url": f"https://shop-{number}.example/hook", "types": ["segment.damaged"]}
        webhook = served.call("POST", "/webhooks", json=hook, expect=created)["fid"]
    return webhook
