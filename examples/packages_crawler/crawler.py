"""A crawler of the Python packages that are installed on its machine, as a server that Headwater starts.

What it crawls is in ``packages.py``. For another source, write another such module, and describe it here.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from examples.packages_crawler import packages
from headwater_client import Headwater
from headwater_client.server import CrawlTask, ExternalCrawler

#: Packages from one report to the next.
REPORT_EVERY = 5

SCHEMA: dict[str, Any] = json.loads(Path(__file__).with_name("schema.json").read_text())

crawler = ExternalCrawler(
    "Installed packages",
    params=packages.Params,
    schema=SCHEMA,
    doc_id_field="name",
    writer={"max_seconds": 0.5},  # who watches a run sees its documents soon
)


@crawler.task
def crawl(task: CrawlTask[packages.Params]) -> None:
    """The Python packages that are installed where the crawler runs."""
    found = packages.chosen(task.params)
    for done, package in enumerate(found, start=1):
        task.over.wait(task.params.pause / 1000)
        task.write(packages.document(package, task.params))
        if done % REPORT_EVERY == 0:
            task.status(102, f"{done} of {len(found)}", {"done": done, "of": len(found)})
    task.status(200, f"{len(found)} packages", {"done": len(found), "of": len(found)})


def main() -> None:
    """Serve until interrupted; register first, if the environment says where."""
    parser = argparse.ArgumentParser(prog="packages_crawler", description="A crawler of the installed Python packages.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=9000, help="port to listen on (9000)")
    asked = parser.parse_args()
    url, key = (os.environ.get(name) for name in ("HEADWATER_URL", "HEADWATER_KEY"))
    crawler.run(host=asked.host, port=asked.port, register=Headwater(url, key) if url and key else None)


if __name__ == "__main__":
    main()
