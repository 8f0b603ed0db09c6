"""The data that reading is measured with: two streams, uploaded over HTTP to a served Headwater.

Made once and used again by later runs; ``python -m bench.read_data`` makes them and measures nothing.
"""

import argparse
import json
import random
import shutil
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench import documents
from bench.served import Served, catalog_rows, end_on_signals, serving
from examples.packages_crawler.processes import Failed

#: Where data are kept from one run to the next; git ignores it.
KEPT = Path(__file__).with_name("data")
#: Seconds that merging may take until it is given up.
_LONGEST_MERGE = 900.0
#: Uploads of one task at once: documents of one are made while the server takes another.
_AT_ONCE = 2

_VISIBLE = """
    SELECT path, part, layer, task, docs, bytes FROM segments
    WHERE stream = ? AND added_version IS NOT NULL AND removed_version IS NULL ORDER BY layer
"""
_UNMERGED = """
    SELECT count(DISTINCT tasks.fid) FROM tasks JOIN segments ON segments.task = tasks.fid
    WHERE tasks.state = 'done' AND segments.removed_version IS NULL AND NOT segments.is_compact
"""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The form of a stream: tasks of one size, each of which writes half of the ids of the one before anew."""

    name: str
    tasks: int
    #: Documents of a task.
    docs: int
    #: Documents of an upload.
    upload: int

    @property
    def step(self) -> int:
        """How much higher the numbers of a task's documents begin than those of the task before."""
        return self.docs // 2

    @property
    def versions(self) -> int:
        """Document versions of all tasks."""
        return self.tasks * self.docs

    @property
    def current(self) -> int:
        """Documents that the stream shows."""
        return (self.tasks - 1) * self.step + self.docs

    def numbers(self, task: int) -> list[int]:
        """Return the numbers of a task's documents in the order of their upload."""
        numbers = list(range(task * self.step, task * self.step + self.docs))
        random.Random(self.seed(task)).shuffle(numbers)
        return numbers

    def seed(self, task: int) -> str:
        """Return the seed of what a task writes."""
        return f"{self.name} {task}"

    def smaller(self, times: int) -> Self:
        """Return the same with so many times fewer documents in a task."""
        docs = max(2, self.docs // times)
        return type(self)(name=self.name, tasks=self.tasks, docs=docs, upload=max(1, self.upload // times))


LARGE = Layout(name="large tasks", tasks=25, docs=200_000, upload=20_000)
MANY = Layout(name="many tasks", tasks=1000, docs=2000, upload=2000)


@dataclass(frozen=True, kw_only=True)
class Laid:
    """A stream that was made after a layout."""

    layout: Layout
    stream: str
    #: Fids, oldest first.
    tasks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ReadData:
    """Both streams, and where they are."""

    folder: Path
    large: Laid
    many: Laid

    @property
    def served_from(self) -> Path:
        """The data directory."""
        return _served_from(self.folder)

    @property
    def log(self) -> Path:
        """What the server that is measured has to say."""
        return self.folder / "server.log"


@dataclass(frozen=True, kw_only=True)
class File:
    """A segment that a stream shows."""

    path: str
    #: Its number in a folded file; 0 if the file is its own.
    part: int
    layer: int
    task: str
    docs: int
    bytes: int


def files_of(data: ReadData, laid: Laid) -> list[File]:
    """Return the files of the segments that a stream shows, lowest layer first."""
    lake = data.served_from.resolve() / "lake"
    return [
        File(path=str(lake / path), part=part, layer=layer, task=task, docs=docs, bytes=size)
        for path, part, layer, task, docs, size in catalog_rows(data.served_from, _VISIBLE, laid.stream)
    ]


def prepared(console: Console, *, times_smaller: int = 1, fresh: bool = False) -> ReadData:
    """Return the data, made now unless a former run made the same.

    Raises:
        Failed: the server does not take them.
    """
    layouts = [layout.smaller(times_smaller) for layout in (LARGE, MANY)]
    folder = KEPT / ("read" if times_smaller == 1 else f"read-{times_smaller}-times-smaller")
    stamp = folder / "made.json"
    wanted = json.loads(json.dumps({"edition": documents.EDITION, "layouts": [asdict(each) for each in layouts]}))
    made = json.loads(stamp.read_text()) if stamp.exists() and not fresh else {}
    if made.get("of") != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        made = {"of": wanted, "streams": _make(folder, layouts, console)}
        # Written last: without it, whatever is there is made anew.
        stamp.write_text(json.dumps(made))
    large, many = (
        Laid(layout=layout, stream=stream["fid"], tasks=tuple(stream["tasks"]))
        for layout, stream in zip(layouts, made["streams"], strict=True)
    )
    return ReadData(folder=folder, large=large, many=many)


def wait_until_merged(served: Served, console: Console) -> None:
    """Return when each ended task is one segment, and the server has nothing left to do.

    Raises:
        Failed: that takes too long.
    """
    until = time.monotonic() + _LONGEST_MERGE
    with console.status("waiting until segments are merged ...") as status:
        while unmerged := catalog_rows(served.data, _UNMERGED)[0][0]:
            served.child.require_alive()
            if time.monotonic() > until:
                raise Failed(f"segments were not merged within {_LONGEST_MERGE:g} seconds; --no-wait goes on without")
            status.update(f"waiting until segments are merged: {unmerged} tasks to go")
            time.sleep(0.5)
        status.update("waiting until the server is idle ...")
        served.wait_until_idle()


def _served_from(folder: Path) -> Path:
    return folder / "headwater-data"


def _make(folder: Path, layouts: Sequence[Layout], console: Console) -> list[dict[str, Any]]:
    columns = (TextColumn("{task.description}"), BarColumn(30), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        serving(_served_from(folder), log=folder / "uploads.log") as served,
        Progress(*columns, console=console) as progress,
    ):
        return [_lay(served, layout, progress) for layout in layouts]


def _lay(served: Served, layout: Layout, progress: Progress) -> dict[str, Any]:
    """Fill a stream; return its fid and those of its tasks."""
    stream, crawler = _set_up(served, layout)
    told = f"uploading {layout.name}: {layout.tasks:,} x {layout.docs:,} documents"
    bar = progress.add_task(told, total=layout.tasks)
    tasks: list[str] = []
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="upload") as threads:
        for number in range(layout.tasks):
            tasks.append(_run(served, crawler, layout, number, threads))
            progress.advance(bar)
    return {"fid": stream, "tasks": tasks}


def _set_up(served: Served, layout: Layout) -> tuple[str, str]:
    """Create stream, External and crawler; return the fids of stream and crawler."""
    created = HTTPStatus.CREATED
    stream = served.call("POST", "/streams", json={"meta": {"name": layout.name}}, expect=created)["fid"]
    definition = {"meta": {"name": f"reviews, {layout.name}"}, "docIdField": "id", "schema": documents.SCHEMA}
    external = served.call("POST", "/externals", json=definition, expect=created)["fid"]
    body = {"meta": {"name": layout.name, "links": [{"from": {"type": "streams", "fid": stream}}]}}
    path = f"/actions/externals/{external}/crawler"
    return stream, served.call("POST", path, json=body, expect=created)["fid"]


def _run(served: Served, crawler: str, layout: Layout, number: int, threads: ThreadPoolExecutor) -> str:
    """Upload a task and end it; return its fid."""
    task = served.call("POST", f"/actions/crawlers/{crawler}/task", expect=HTTPStatus.CREATED)["fid"]
    numbers = layout.numbers(number)

    def upload(start: int) -> None:
        body = documents.ndjson(numbers[start : start + layout.upload], seed=f"{layout.seed(number)} {start}")
        served.call("POST", f"/actions/tasks/{task}/upload", content=body, headers=_LINES)

    # The list has the results drawn, and with them what went wrong.
    list(threads.map(upload, range(0, layout.docs, layout.upload)))
    served.call("POST", f"/actions/tasks/{task}/status", json={"code": HTTPStatus.OK})
    return task


_LINES = {"Content-Type": "application/x-ndjson"}


def arguments(about: str) -> argparse.ArgumentParser:
    """Return the options that making and measuring have in common."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--fresh", action="store_true", help="make the data anew, whatever is there")
    parser.add_argument("--no-wait", action="store_true", help="do not wait until segments are merged")
    parser.add_argument(
        "--smaller", type=int, default=1, metavar="TIMES", help="so many times fewer documents, to try things out"
    )
    return parser


def main() -> int:
    """Make the data, and say where they are."""
    chosen = arguments("Make the data that reading is measured with.").parse_args()
    end_on_signals()
    console = Console(width=100)
    try:
        data = prepared(console, times_smaller=chosen.smaller, fresh=chosen.fresh)
        if not chosen.no_wait:
            with serving(data.served_from, log=data.log) as served:
                wait_until_merged(served, console)
    except Failed as error:
        console.print(f"bench: {error}", style="red", markup=False)
        return 1
    size = sum(file.stat().st_size for file in data.folder.rglob("*") if file.is_file())
    console.print(f"{data.folder.relative_to(Path.cwd())}: {size / 1e6:,.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
