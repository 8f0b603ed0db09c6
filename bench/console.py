"""What the pages of the console cost: a stream of a million documents that 15,000 runs have made.

Run it with ``make bench-console``, or ``python -m bench.console``.
"""

import argparse
import contextlib
import gzip
import json
import re
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import httpx
from rich import box
from rich.console import Console
from rich.table import Table

from bench import report
from bench.console_data import ConsoleData, served_data
from bench.measure import cpu_seconds, timed
from bench.served import Served, end_on_signals
from examples.packages_crawler.processes import Failed

ROUNDS = 10
#: Seconds after which a page is asked no more, and how often it is asked at least.
LONG_ENOUGH, FEWEST = 10.0, 3
#: What a page may take, and how large it may be, with the scripts of all pages, compressed.
MOST_MS, MOST_HTML, MOST_SCRIPT = 200.0, 100_000, 60_000
#: Requests of the constant that each page is compared with.
_HEALTH = "/healthz"
_HEALTH_ROUNDS = 20
#: Runs in a list of layers that are unticked.
_UNTICKED = 3
#: Stands in a page whose frame has come first.
_PENDING = re.compile('class="pending"|Counting the documents')
_SCRIPT = re.compile(r'<script[^>]* src="([^"]+)"')


@dataclass(frozen=True, kw_only=True)
class Page:
    """What was measured of a page."""

    name: str
    url: str
    #: The median and the worst until the page has come.
    median_ms: float
    worst_ms: float
    #: Until what it shows has come, where its frame comes first.
    rest_ms: float | None
    #: What the server's processes have worked for one.
    cpu_ms: float
    #: How many times as long as a look at its health takes.
    ratio: float
    #: Of the HTML, and compressed.
    bytes: int
    compressed: int


def pages_of(data: ConsoleData, served: Served) -> dict[str, str]:
    """Return the URLs of the pages, by name."""
    stream, crawler = f"/console/streams/{data.stream}", f"/console/crawlers/{data.crawler}"
    small, large, newest = (f"/console/runs/{fid}" for fid in (data.runs[-3], data.large, data.runs[-1]))
    document = served.call("GET", f"/streams/{data.stream}/docs", params={"limit": 1})[0]
    doc_id = quote(document["id"])
    version = served.call("GET", f"/streams/{data.stream}")["stream_version"]
    other = served.call("GET", "/tasks", params={"sort": "created_at", "limit": 1})[0]["fid"]
    without = urlencode({"without": ",".join(data.runs[-_UNTICKED:])})
    return {
        "home": "/console/",
        "home, anew": "/console/#part",
        "streams": "/console/streams",
        "streams, the largest": "/console/streams?sort=largest",
        "streams, failed": "/console/streams?state=failed",
        "crawlers": "/console/crawlers",
        "crawlers, the latest": "/console/crawlers?sort=latest",
        "externals": "/console/externals",
        "externals, most crawlers": "/console/externals?sort=most",
        "runs": "/console/runs",
        "runs, after the middle": f"/console/runs?after={data.runs[len(data.runs) // 2]}",
        "runs, done": "/console/runs?state=done",
        "runs, failed": "/console/runs?state=failed",
        "runs, withheld": "/console/runs?state=withheld",
        "runs, undone": "/console/runs?state=undone",
        "runs, by schedule": "/console/runs?origin=schedule",
        "runs of the stream": f"/console/runs?stream={data.stream}",
        "runs of the crawler, failed": f"/console/runs?crawler={data.crawler}&state=failed",
        "newer runs": f"/console/newer-runs?than={data.runs[0]}",
        "stream": stream,
        "stream, after the middle": f"{stream}?after=8",
        "stream, a condition that few match": f"{stream}?where=author=reader-0000001",
        "stream, a condition that some match": f"{stream}?where=rating=1",
        "stream, a word": f"{stream}?q=vedorlun",
        "stream, as of the middle": f"{stream}?as_of={version // 2}",
        "stream, without runs": f"{stream}?{without}",
        "stream, without the large run": f"{stream}?without={data.large}",
        "differences without runs": f"{stream}/differences?{without}",
        "differences without the large run": f"{stream}/differences?without={data.large}",
        "undo of runs, asked": f"{stream}/undo?{urlencode([('run', fid) for fid in data.runs[-_UNTICKED:]])}",
        "stream's log": f"{stream}/log",
        "stream's settings": f"{stream}/settings",
        "bisect": f"{stream}/bisect",
        "bisect, a condition": f"{stream}/bisect?where=author=reader-0000001",
        "bisect, a document": f"{stream}/bisect?id={doc_id}",
        "document": f"{stream}/document?id={doc_id}",
        "run, small": small,
        "run, small, added": f"{small}?op=added",
        "run, large": large,
        "run, large, unchanged": f"{large}?op=unchanged",
        "run's documents": f"{large}/documents",
        "run's log": f"{newest}/log",
        "undo of runs of two streams, asked": f"/console/runs/undo?run={data.runs[-1]}&run={other}",
        "run's rejected lines": f"{newest}/rejected",
        "run's details": f"{newest}/details",
        "undo of a small run, asked": f"{small}/undo",
        "undo of the large run, asked": f"{large}/undo",
        "crawler": crawler,
        "crawler's form": f"{crawler}/edit",
        "start, asked": f"{crawler}/start",
        "External": f"/console/externals/{data.external}",
        "webhooks": "/console/webhooks",
        "webhook": f"/console/webhooks/{data.webhook}",
        "notifications": "/console/notifications",
        "keys": "/console/keys",
        "audit": "/console/audit",
        "audit, an action": "/console/audit?action=create_key",
        "audit, of an object": f"/console/audit?object_fid={data.stream}",
        "system": "/console/system",
        "search": "/console/jump?q=shop",
        "search of a run": f"/console/jump?q={data.runs[0]}",
        "open runs": "/console/open-runs",
    }


def _signed_in(served: Served) -> httpx.Client:
    client = httpx.Client(base_url=served.client.base_url, timeout=served.client.timeout, trust_env=False)
    key = (served.data / "admin.key").read_text().strip()
    answer = client.post("/console/sign-in", data={"key": key})
    if answer.status_code != HTTPStatus.SEE_OTHER:
        raise Failed(f"signing in was answered with {answer.status_code}")
    return client


def measured(client: httpx.Client, pid: int, name: str, url: str, health_ms: float) -> Page:
    """Ask for a page until its times are known.

    Raises:
        Failed: it does not come.
    """
    path, _, part = url.partition("#")

    def ask(_: object) -> httpx.Response:
        return client.get(path, headers={"HX-Request": "true"} if part else {})

    first = ask(None)
    if first.status_code != HTTPStatus.OK:
        raise Failed(f"{name} ({url}) was answered with {first.status_code}: {first.text[:300]}")
    began, worked, times = time.monotonic(), cpu_seconds(pid), list[float]()
    while len(times) < FEWEST or (len(times) < ROUNDS and time.monotonic() - began < LONG_ENOUGH):
        times.append(1e3 * timed(ask, None)[0])
    median = statistics.median(times)
    rest_ms = None
    if _PENDING.search(first.text):
        rest = httpx.URL(path).copy_merge_params({"wait": "yes"})
        rest_ms = 1e3 * timed(lambda _: client.get(rest).raise_for_status(), None)[0]
    return Page(
        name=name,
        url=url,
        median_ms=median,
        worst_ms=max(times),
        rest_ms=rest_ms,
        cpu_ms=1e3 * (cpu_seconds(pid) - worked) / len(times),
        ratio=median / health_ms,
        bytes=len(first.content),
        compressed=len(gzip.compress(first.content)),
    )


def _scripts(client: httpx.Client) -> dict[str, int]:
    """Return the scripts of a page, and their compressed sizes."""
    found: dict[str, int] = {}
    for url in _SCRIPT.findall(client.get("/console/").text):
        found[url.rpartition("/")[2]] = len(gzip.compress(client.get(url).raise_for_status().content))
    return found


def shown(console: Console, pages: Sequence[Page], scripts: dict[str, int], health_ms: float) -> None:
    """Print everything, what is too slow or too large in red."""
    table = Table(box=box.SIMPLE_HEAD, title="The pages of the console")
    table.add_column("")
    for title in ("median, ms", "worst, ms", "its rest, ms", "processor, ms", "x health", "HTML", "compressed"):
        table.add_column(title, justify="right")
    for page in pages:
        is_over = page.median_ms > MOST_MS or page.bytes > MOST_HTML
        table.add_row(
            page.name,
            f"{page.median_ms:,.0f}",
            f"{page.worst_ms:,.0f}",
            "" if page.rest_ms is None else f"{page.rest_ms:,.0f}",
            f"{page.cpu_ms:,.0f}",
            f"{page.ratio:,.1f}",
            f"{page.bytes:,}",
            f"{page.compressed:,}",
            style="red" if is_over else None,
        )
    console.print(table)
    script = sum(scripts.values())
    console.print(f"health: {health_ms:.1f} ms; scripts of all pages, compressed: {script:,} bytes", highlight=False)
    slow = [page.name for page in pages if page.median_ms > MOST_MS]
    large = [page.name for page in pages if page.bytes > MOST_HTML]
    console.print(f"above {MOST_MS:.0f} ms: {', '.join(slow) or 'none'}")
    console.print(f"above {MOST_HTML:,} bytes: {', '.join(large) or 'none'}")
    console.print(f"scripts above {MOST_SCRIPT:,} bytes: {'yes' if script > MOST_SCRIPT else 'no'}")


def main() -> int:
    """Measure; return 0 whatever the numbers are, and 1 if there are none."""
    parser = argparse.ArgumentParser(description="Measure the pages of the console.")
    parser.add_argument(
        "--smaller", type=int, default=1, metavar="TIMES", help="so many times fewer runs and documents"
    )
    parser.add_argument("--only", nargs="*", metavar="NAME", help="only the pages whose names contain one of these")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="where the data are made, and kept")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the numbers")
    chosen = parser.parse_args()
    end_on_signals()
    console = Console(width=report.WIDTH + 20, highlight=False)

    def run() -> None:
        with served_data(console, smaller=chosen.smaller, folder=chosen.data) as (served, data):
            _measure(served, data, console, only=chosen.only, file=chosen.json)

    return report.status_of(console, run)


def _measure(served: Served, data: ConsoleData, console: Console, *, only: Sequence[str], file: Path | None) -> None:
    wanted = {
        name: url for name, url in pages_of(data, served).items() if not only or any(part in name for part in only)
    }
    with contextlib.closing(_signed_in(served)) as client, console.status("") as status:
        health = [1e3 * timed(lambda _: client.get(_HEALTH), None)[0] for _ in range(_HEALTH_ROUNDS)]
        health_ms = statistics.median(health)
        found: list[Page] = []
        for name, url in wanted.items():
            status.update(name)
            found.append(measured(client, served.pid, name, url, health_ms))
        scripts = _scripts(client)
    shown(console, found, scripts, health_ms)
    if file is not None:
        kept: dict[str, Any] = {"machine": report.machine(), "health_ms": health_ms, "scripts": scripts}
        file.write_text(json.dumps(kept | {"pages": [asdict(page) for page in found]}, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
