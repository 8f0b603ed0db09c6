"""The demo: Headwater and a crawler, driven over HTTP from the first registration to the undone run.

Run it with ``make demo``. It ends with 0 when everything was as it says, and with 1 otherwise.
"""

import contextlib
import hashlib
import io
import json
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from itertools import groupby
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from examples.packages_crawler.crawler import SCHEMA
from examples.packages_crawler.crawler import crawler as packages_crawler
from examples.packages_crawler.processes import Failed, free_ports, running
from examples.packages_crawler.stage import WIDTH, Stage, headline, table_of, told

#: Made anew by each run, and left behind.
DATA = Path("demo-data")
#: Where the programs of this installation are.
PROGRAMS = Path(sys.executable).parent
#: Seconds after which a run is given up.
LONGEST_RUN = 60.0
#: With some milliseconds between two packages, so that there is something to see.
FIRST_PARAMS = {"pause": 30, "max_files": 60}
#: What the second run overrides: null takes the limit away.
SECOND_PARAMS = {"max_files": None, "extras": True}
#: With which a run finds nothing.
EMPTY_PARAMS = {"name": "no-such-package"}


def play(stage: Stage, *, endpoint: str) -> dict[str, str]:
    """Play every act with the crawler at ``endpoint``; return the fids of use when going on by hand.

    Raises:
        Failed: something is not as it should be.
    """
    stream, crawler = register(stage, endpoint=endpoint)

    stage.act(
        "A first run",
        "The crawler answers at once, crawls in a thread of its own, uploads in batches, and reports how far it is.",
    )
    first = run(stage, crawler, name="first run")
    before = show_stream(stage, stream)

    stage.act(
        "A second run, with other parameters",
        "No limit on the number of files, which adds packages; the requirements of extras, too, which changes some.",
    )
    second = run(stage, crawler, name="second run", params=SECOND_PARAMS)
    during = show_changes(stage, stream, second, before)

    refuse_empty(stage, stream, crawler, during)
    refuse_uploads(stage)
    undo(stage, stream, second, before=before, during=during)
    show_log(stage, stream, {first: "first run", second: "second run"})
    return {"stream": stream, "crawler": crawler, "second": second}


def register(stage: Stage, *, endpoint: str) -> tuple[str, str]:
    """Register a stream, the External, and a crawler that feeds the one from the other; return stream and crawler."""
    definition = packages_crawler.definition(endpoint)
    stage.act(
        "Register",
        "A stream. An External: endpoint, JSON Schema, id field and parameters, as the crawler's code says them. A "
        "crawler: that External, set up to feed that stream.",
    )
    stream = create_stream(stage, "packages", name="stream")
    external = stage.post("/externals", definition, expect=HTTPStatus.CREATED, name="external")["fid"]
    stage.show(Text(f"parameters {', '.join(map(parameter_line, definition['parameters']))}", "dim"))
    path = f"/actions/externals/{external}/crawler"
    problem = stage.post(path, crawler_of(stream, {"min_files": 100, "max_files": 60}), expect=HTTPStatus.BAD_REQUEST)
    stage.show(told(problem))
    crawler = stage.post(path, crawler_of(stream, FIRST_PARAMS), expect=HTTPStatus.CREATED, name="crawler")["fid"]
    stage.show(Text(f"params {json.dumps(FIRST_PARAMS)}", "dim"))
    return stream, crawler


def parameter_line(parameter: Mapping[str, Any]) -> str:
    """Return a parameter in a few words: ``max_files integer gte min_files``."""
    rules = [f"{each['rule']} {each['target']}" for each in parameter.get("restrictions", ())]
    return " ".join([parameter["name"], parameter["type"], *rules])


def create_stream(stage: Stage, title: str, *, name: str) -> str:
    """Create a stream; return its fid."""
    return stage.post("/streams", {"meta": {"name": title}}, expect=HTTPStatus.CREATED, name=name)["fid"]


def crawler_of(stream: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body that sets up a crawler for a stream."""
    return {"meta": {"links": [{"from": {"type": "streams", "fid": stream}}]}, "params": params}


def run(stage: Stage, crawler: str, *, name: str, params: Mapping[str, Any] | None = None) -> str:
    """Run a task of the crawler to its end, with a progress bar; return its fid."""
    path = f"/actions/crawlers/{crawler}/task"
    task = stage.post(path, {"params": params or {}}, expect=HTTPStatus.CREATED, name=name)
    if params:
        stage.show(Text(f"params {json.dumps(params)}", "dim"))
    stage.console.print()
    columns = (TextColumn(f"  {name}"), BarColumn(40), TextColumn("{task.description}", markup=False))
    until = time.monotonic() + LONGEST_RUN
    with Progress(*columns, console=stage.console) as progress:
        bar = progress.add_task("", total=None)
        while task["state"] in {"new", "running"}:
            require(time.monotonic() < until, f"the {name} has not ended; it says: {task['message']}")
            time.sleep(0.1)
            task = stage.task(task["fid"])
            far: dict[str, Any] = task["detail"] or {}
            said = f"{task['code']} {task['state']}: {task['message'] or 'waiting'}"
            progress.update(bar, completed=far.get("done", 0), total=far.get("of"), description=said)
    require(task["state"] == "done", f"the {name} ended with {task['code']} {task['state']}: {task['message']}")
    return task["fid"]


def show_stream(stage: Stage, stream: str) -> bytes:
    """Show how the stream begins; return all of it."""
    stage.console.print()
    begin = stage.get(f"/streams/{stream}/docs?limit=8")
    require(begin, "the stream is empty after the first run")
    columns = {
        "id": "left",
        "version": "left",
        "licence": "left",
        "requires": "right",
        "files": "right",
        "KiB": "right",
    }
    rows: list[list[object]] = []
    for document in (shown["doc"] for shown in begin):
        files = document["files"] or {"count": 0, "bytes": 0}
        numbers = [len(document["requires"]), files["count"], files["bytes"] // 1024]
        rows.append([document["name"], document["version"], document["licence"], *numbers])
    stage.show(table_of(columns, rows))
    export = stage.export(stream)
    stage.show(Text(f"The export has them all: {len(by_name(export))} packages, {len(export)} bytes."))
    return export


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What lies between two exports of a stream: names of packages."""

    added: list[str]
    changed: list[str]
    unchanged: list[str]
    removed: list[str]


def compare(before: bytes, after: bytes) -> Comparison:
    """Tell two exports apart, document by document."""
    old, new = by_name(before), by_name(after)
    both = sorted(old.keys() & new.keys())
    return Comparison(
        added=sorted(new.keys() - old.keys()),
        changed=[name for name in both if old[name] != new[name]],
        unchanged=[name for name in both if old[name] == new[name]],
        removed=sorted(old.keys() - new.keys()),
    )


def by_name(export: bytes) -> dict[str, dict[str, Any]]:
    """Return the documents of an export by their ids."""
    return {document["name"]: document for document in map(json.loads, export.splitlines())}


def show_changes(stage: Stage, stream: str, task: str, before: bytes) -> bytes:
    """Show what a run did, with one document before and after; return all that the stream shows now."""
    stage.act(
        "What changed", "Headwater tells what the run did; comparing the exports from before and after says the same."
    )
    told = stage.get(f"/tasks/{task}/diff")
    after = stage.export(stream)
    found = compare(before, after)
    require(told == {what: len(names) for what, names in vars(found).items()}, f"the diff says {told}")
    require(found.added and found.changed and found.unchanged, f"the second run did not do what it should: {found}")
    require(not found.removed, f"the second run took {found.removed} out of the stream")
    for what, style in (("added", "green"), ("changed", "yellow"), ("unchanged", "default")):
        names = getattr(found, what)
        stage.show_line(Text.assemble((f"{len(names):>4} {what:<11}", style), (", ".join(names), "dim")))
    old, new = by_name(before), by_name(after)
    # Of those that changed, the one that is soonest read.
    name = min(found.changed, key=lambda each: len(json.dumps(new[each])))
    stage.console.print()
    stage.show(Text(f"{name}, before and after:"))
    for key in new[name]:
        if old[name][key] != new[name][key]:
            stage.show_line(Text(f"- {json.dumps(key)}: {json.dumps(old[name][key])}", "red"))
            stage.show_line(Text(f"+ {json.dumps(key)}: {json.dumps(new[name][key])}", "green"))
    return after


def refuse_empty(stage: Stage, stream: str, crawler: str, before: bytes) -> None:
    """Let a run find nothing, and see that a gate keeps it from looking like a success."""
    stage.act(
        "A run that finds nothing",
        "No package has such a name. The crawler sees no fault in that and reports 200; a gate of its crawler does.",
    )
    gates = {"gates": {"min_docs": 1}}
    stage.patch(f"/crawlers/{crawler}", gates)
    stage.show(Text(json.dumps(gates), "dim"))
    empty = stage.task(run(stage, crawler, name="empty run", params=EMPTY_PARAMS))
    require(empty["reason"] == "gate_failed", f"the empty run ended with the reason {empty['reason']}")
    verdict = Text(f"{empty['code']} {empty['state']}, {empty['reason']}: {empty['message']}", "yellow")
    stage.console.print()
    stage.show(verdict)
    require(stage.export(stream) == before, "the empty run changed the stream")
    stage.show(Text("✓ Nothing of the stream has changed.", "bold green"))
    stage.patch(f"/crawlers/{crawler}", {"gates": None})


def refuse_uploads(stage: Stage) -> None:
    """Upload what is broken and what is invalid, and show how that is told."""
    stage.act(
        "Uploads that are refused",
        "A script may upload, too: to an External without endpoint, whose tasks tell where. This one uploads a good "
        "document, and then twice three lines, of which one is bad.",
    )
    stream = create_stream(stage, "by-hand", name="stream 2")
    push = {"meta": {"name": "Packages by hand"}, "schema": SCHEMA, "docIdField": "name"}
    external = stage.post("/externals", push, expect=HTTPStatus.CREATED, name="external 2")["fid"]
    path = f"/actions/externals/{external}/crawler"
    crawler = stage.post(path, crawler_of(stream, {}), expect=HTTPStatus.CREATED, name="crawler 2")["fid"]
    task = stage.post(f"/actions/crawlers/{crawler}/task", expect=HTTPStatus.CREATED, name="script")
    endpoint = httpx.URL(task["upload"]["endpoint"]).path
    good = line_of("good", "1.0")
    stage.post(f"{endpoint}/upload", good)

    cut_off = line_of("broken", "1.0")[:60] + b"\n"
    refuse(stage, f"{endpoint}/upload", "A line that is not JSON:", cut_off, expect=HTTPStatus.BAD_REQUEST)
    wrong = line_of("Not Normalized", 2)
    refuse(stage, f"{endpoint}/upload", "A document that the schema forbids:", wrong, expect=HTTPStatus.NOT_ACCEPTABLE)

    stage.console.print()
    stage.post(f"{endpoint}/status", {"code": 200, "message": "that was all"})
    require(stage.export(stream) == good, "the stream shows something of a refused upload")
    stage.show(Text("✓ Its stream shows the good document, and nothing of the refused uploads.", "bold green"))


def refuse(stage: Stage, path: str, about: str, bad: bytes, *, expect: HTTPStatus) -> None:
    """Upload a bad line between two good ones, and show what comes of it."""
    stage.console.print()
    stage.show(Text(about))
    lines = [line_of("better", "1.1"), bad, line_of("best", "1.2")]
    for number, line in enumerate(lines, start=1):
        stage.show_line(Text(f"{number}  {line.decode().rstrip()}", "default" if line is bad else "dim"))
    stage.show(told(stage.post(path, b"".join(lines), expect=expect)))


def line_of(name: str, version: object) -> bytes:
    """Return a package as a line of an upload."""
    package = {"name": name, "version": version, "summary": None, "licence": "MIT", "requires": [], "files": None}
    return json.dumps(package).encode() + b"\n"


def undo(stage: Stage, stream: str, task: str, *, before: bytes, during: bytes) -> None:
    """Delete the second run, and see that the stream is what it was."""
    stage.act("Delete the second run", "Its documents leave the stream at once, and what they covered shows again.")
    foreseen = stage.delete(f"/actions/tasks/{task}?dry_run=true")
    told = "A dry run first: {removed} documents would go, of {restored} an older version would show again."
    stage.show(Text(told.format_map(foreseen)))
    stage.delete(f"/actions/tasks/{task}")
    after = stage.export(stream)
    gone = by_name(during).keys() - by_name(after).keys()
    require(len(gone) == foreseen["removed"], f"the dry run said {foreseen}, and {len(gone)} documents went")
    exports = {"before the second run": before, "after the second run": during, "after its deletion": after}
    columns = {"export": "left", "docs": "right", "sha256": "left"}
    rows = [[when, len(by_name(export)), hashlib.sha256(export).hexdigest()] for when, export in exports.items()]
    stage.show(table_of(columns, rows))
    require(during != before, "the second run changed nothing")
    require(after == before, "the stream is not what it was before the second run")
    stage.show(Text("✓ The stream is byte for byte what it was.", "bold green"))


def show_log(stage: Stage, stream: str, runs: Mapping[str, str]) -> None:
    """Show the stream's log, a run's uploads in one row."""
    stage.act("The stream's log", "Nothing was overwritten: each change is a version of the stream, and stays one.")
    entries = stage.get(f"/streams/{stream}/log?limit=1000")
    columns = {"versions": "right", "from (UTC)": "left", "to": "left", "change": "left", "by": "left", "docs": "right"}
    rows: list[list[object]] = []
    for (change, task), group in groupby(reversed(entries), key=lambda entry: (entry["change"], entry["task"])):
        alike = list(group)
        first, last = alike[0], alike[-1]
        versions = f"{first['version']} to {last['version']}" if len(alike) > 1 else first["version"]
        times = [datetime.fromisoformat(entry["at"]).strftime("%H:%M:%S") for entry in (first, last)]
        docs = sum(entry["docs"] for entry in alike)
        rows.append([versions, *times, f"{len(alike)} {change}{'s' * (len(alike) > 1)}", runs[task], docs])
    stage.show(table_of(columns, rows))


def tell_how_to_go_on(console: Console, fids: Mapping[str, str], *, api: str, endpoint: str) -> None:
    """Print the commands for going on by hand."""
    headline(console, "Go on by hand")
    here = shlex.quote(os.path.relpath(PROGRAMS))
    auth = '-H "Authorization: Bearer $HEADWATER_KEY"'
    body = """-H "Content-Type: application/json" -d '{"params": {"detail": "full"}}'"""
    parts = {
        f"Both servers have ended; what they did is in {DATA}/. Start them again, each in a terminal:": (
            f"{here}/headwater serve --data {DATA} --port {httpx.URL(api).port}",
            f"{here}/python -m examples.packages_crawler.crawler --port {httpx.URL(endpoint).port}",
        ),
        "In a third one, read the stream, put the second run back, begin a third:": (
            f"export HEADWATER_KEY=$(cat {DATA}/admin.key) HEADWATER_URL={api}",
            f"curl {auth} $HEADWATER_URL/streams/{fids['stream']}/export",
            f"curl {auth} -X POST $HEADWATER_URL/actions/tasks/{fids['second']}/restore",
            f"curl {auth} {body} $HEADWATER_URL/actions/crawlers/{fids['crawler']}/task",
        ),
        f"All calls are described at {api}/docs.": (),
    }
    for about, commands in parts.items():
        # Soft: a command that was wrapped here could not be copied.
        console.print(Text(f"  {about}"), soft_wrap=True)
        for command in commands:
            console.print(Text(f"    {command}", "cyan"), soft_wrap=True)


def require(holds: object, otherwise: str) -> None:
    """Raise unless something holds.

    Raises:
        Failed: it does not.
    """
    if not holds:
        raise Failed(otherwise)


@contextlib.contextmanager
def set_up(console: Console, *, port: int, crawler_port: int) -> Generator[Stage]:
    """Start Headwater, with a fresh data directory, and the crawler; end both in the end."""
    if DATA.exists():
        shutil.rmtree(DATA)
    DATA.mkdir(mode=0o700)
    headwater = [PROGRAMS / "headwater", "serve", "--data", DATA, "--port", str(port)]
    crawler = [sys.executable, "-m", "examples.packages_crawler.crawler", "--port", str(crawler_port)]
    with (
        running("Headwater", headwater, log=DATA / "headwater.log") as services,
        running("the crawler", crawler, log=DATA / "crawler.log") as external,
    ):
        services.wait_for(port)
        external.wait_for(crawler_port)
        key = (DATA / "admin.key").read_text().strip()
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False) as client:
            yield Stage(console, client, [services, external])


def demo(console: Console) -> None:
    """Run the demo.

    Raises:
        Failed: something is not as it should be.
    """
    began = time.monotonic()
    port, crawler_port = free_ports()
    api, endpoint = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{crawler_port}"
    with set_up(console, port=port, crawler_port=crawler_port) as stage:
        stage.act("Start", "Two processes, which know nothing of each other yet.")
        columns = {"process": "left", "address": "left", "data and log": "left"}
        rows = [["Headwater", api, f"{DATA}/"], ["the crawler", endpoint, f"{DATA}/crawler.log"]]
        stage.show(table_of(columns, rows))
        stage.get("/readyz")
        fids = play(stage, endpoint=endpoint)
    tell_how_to_go_on(console, fids, api=api, endpoint=endpoint)
    console.print(f"\nDone in {time.monotonic() - began:.0f} seconds.")


def screen() -> Console:
    """Return where the demo is shown: a terminal, or a file of the same look without colours."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # not every terminal has a ✓
    console = Console(highlight=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    return console


def main() -> int:
    """Run the demo; return 0, or 1 with a line on standard error that says why."""
    # Ended like this, too, we end our processes first.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    try:
        demo(screen())
    except KeyboardInterrupt:
        return fail("interrupted", code=130)
    except Failed as error:
        return fail(f"{error}\nThe logs of both servers are in {DATA}/.")
    except OSError as error:
        return fail(str(error))
    return 0


def fail(why: str, *, code: int = 1) -> int:
    """Say on standard error why the demo ends; return the exit code."""
    sys.stderr.write(f"demo: {why}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
