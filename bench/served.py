"""A Headwater of its own process, as an operator starts it, and the catalog that it keeps."""

import contextlib
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx

from bench.measure import cpu_seconds
from examples.packages_crawler.processes import LAST_WORDS, Child, Failed, free_ports, running

#: Seconds that an answer may take.
PATIENCE = 300.0
#: Seconds between two looks at something that is waited for.
_REST = 0.2
#: A server is idle that has used less than this part of a core ...
_IDLE = 0.05
#: ... for so many seconds.
_IDLE_SECONDS = 4.0
#: What the log's lines hold that tell of no fault.
_ORDINARY = ('"level": "info"', "The admin key")
_SERVE = (sys.executable, "-m", "headwater", "serve")


@dataclass(frozen=True, kw_only=True)
class Served:
    """A Headwater that runs, and a client that talks to it."""

    child: Child
    #: Its data directory.
    data: Path
    #: Keeps its connection open.
    client: httpx.Client

    @property
    def pid(self) -> int:
        """The server's process."""
        return self.child.process.pid

    def call(self, method: str, path: str, *, expect: HTTPStatus = HTTPStatus.OK, **request: Any) -> Any:
        """Return the payload of an answer.

        Raises:
            Failed: it has another status than expected, or none came.
        """
        try:
            answer = self.client.request(method, path, **request)
        except httpx.TransportError as error:
            self.child.require_alive()
            raise Failed(f"{method} {path}: {error!r}; {self.child.log} may say why") from error
        if answer.status_code != expect:
            raise Failed(f"{method} {path} was answered with {answer.status_code}: {answer.text[:500]}")
        return answer.json()["payload"]

    def blamed(self, error: Failed, doing: str) -> Failed:
        """Return an error as it is to be told: with what was done, and what the server's log has to say."""
        try:
            self.child.require_alive()
        except Failed as end:
            return Failed(f"{doing}: {end}")
        lines = self.child.log.read_text(errors="replace").splitlines()
        words = [line for line in lines if not any(part in line for part in _ORDINARY)][-LAST_WORDS:]
        return Failed("\n".join([f"{doing}: {error}", *(words or [f"nothing unusual in {self.child.log}"])]))

    def wait_until_counted(self, stream: str) -> int:
        """Return the number of a stream's documents when it is counted, so that nothing works in the background.

        Raises:
            Failed: that takes too long.
        """
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            shown = self.call("GET", f"/streams/{stream}")
            if shown["docs_version"] == shown["stream_version"]:
                return shown["docs"]
            time.sleep(_REST)
        raise Failed(f"stream {stream} was not counted within {PATIENCE:g} seconds")

    def wait_until_idle(self, *, seconds: float = _IDLE_SECONDS) -> None:
        """Return when the server has done next to nothing for some seconds.

        Raises:
            Failed: it goes on working.
        """
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            before = cpu_seconds(self.pid)
            time.sleep(seconds)
            if cpu_seconds(self.pid) - before < _IDLE * seconds:
                return
        raise Failed(f"the server was still at work after {PATIENCE:g} seconds")


@contextlib.contextmanager
def serving(
    data: Path, *, log: Path, options: Sequence[str] = (), settings: Mapping[str, str] | None = None
) -> Generator[Served]:
    """Serve a data directory on a free port of 127.0.0.1, and stop when the block ends, however that comes."""
    port, _ = free_ports()
    command = [*_SERVE, "--data", data, "--host", "127.0.0.1", "--port", str(port), *options]
    with running("Headwater", command, log=log, settings=settings) as child:
        child.wait_for(port)
        headers = {"Authorization": f"Bearer {(data / 'admin.key').read_text().strip()}"}
        # Proxies are for the world outside.
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=PATIENCE, trust_env=False
        ) as client:
            yield Served(child=child, data=data, client=client)


def is_offered(option: str) -> bool:
    """Whether ``headwater serve`` has an option."""
    told = subprocess.run([*_SERVE, "--help"], capture_output=True, check=False, text=True)  # noqa: S603 - our own
    return option in told.stdout


def end_on_signals() -> None:
    """Let SIGTERM and SIGHUP end this process as Ctrl-C does: what it started first."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))


def catalog_rows(data: Path, question: str, *values: str) -> list[tuple[Any, ...]]:
    """Return what the catalog of a data directory answers to a SELECT, whether it is served or not."""
    # Bounded: a reader waits for the writer only while it begins.
    address = f"{(data / 'catalog.sqlite').resolve().as_uri()}?mode=ro"
    with contextlib.closing(sqlite3.connect(address, uri=True, timeout=30)) as catalog:
        return catalog.execute(question, values).fetchall()
