"""Served Headwaters, as an operator starts them."""

import asyncio
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
import pytest

from catalog_template import migrated_catalog
from fork_server import Process, fork_server
from headwater.catalog import keys
from headwater.catalog.core.database import Database
from headwater.catalog.keys import Scope
from readiness import wait_until_ready

#: Lines of a log that are shown where a test failed.
LAST_WORDS = 60
#: How a process ends that did wrong outside of Python.
CRASHES = {-number for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)}


#: Of the environment and the arguments: with these, another interpreter is started for the server or by it.
_SPAWNING = {"LD_PRELOAD", "HEADWATER_WORKERS", "--workers"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Served:
    """A ``headwater serve`` of its own process, or of several."""

    def __init__(
        self,
        data: Path,
        *,
        port: int | None = None,
        arguments: Sequence[str] = (),
        stderr: int | None = None,
        descriptors: int | None = None,
        is_forked: bool = True,
        **environment: str,
    ) -> None:
        self.descriptors = descriptors
        #: Whether it is a fork of a process that has imported it already.
        self.is_forked = is_forked and not _SPAWNING.intersection([*environment, *arguments])
        self.data = data
        self.arguments = arguments
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = environment
        #: Where its log goes; None: to the file ``log``.
        self.stderr = stderr
        self.log = data.parent / f"{data.name}-{self.port}.log"
        self.process: subprocess.Popen | Process | None = None

    def start(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
        arguments = ["serve", "--data", str(self.data), "--port", str(self.port), *self.arguments]
        if self.is_forked and not self.data.exists() and "HEADWATER_DATABASE_URL" not in self.environment:
            self._spare_migrations()
        with self.log.open("ab") as log:
            options = {
                "env": environment | self.environment,
                "stdout": log.fileno(),
                "stderr": log.fileno() if self.stderr is None else self.stderr,
                "cwd": self.data.parent,
            }
            if self.is_forked:
                self.process = fork_server().start("headwater", arguments, descriptors=self.descriptors, **options)
            else:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "headwater", *arguments],
                    preexec_fn=None if self.descriptors is None else self._limit_descriptors,  # noqa: PLW1509 - only a limit
                    **options,
                )
        if not wait_until_ready(self.process, self.port):
            self.stop()
            raise AssertionError(f"Headwater did not start: {self.log.read_text()[-3000:]}")

    def _spare_migrations(self) -> None:
        """Give it a migrated catalog, empty but for that: the first start of one that is not forked migrates."""
        self.data.mkdir(mode=0o700)
        catalog = self.data / "catalog.sqlite"
        catalog.touch(mode=0o600)
        catalog.write_bytes(migrated_catalog())

    def _limit_descriptors(self) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.descriptors, self.descriptors))

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """End it; pytest shows its last words where a test failed, and a crash fails any."""
        if self.process is None:
            return
        before = self.process.poll()
        if before is None:
            self.process.terminate()
        ended = self.process.wait(40)
        words = "\n".join(self.log.read_text(errors="replace").splitlines()[-LAST_WORDS:])
        sys.stdout.write(
            f"{words}\n{self.log.name} ends here; before it was told to, the process had ended with {before}\n"
        )
        assert ended not in CRASHES, f"Headwater crashed, {signal.Signals(-ended).name}:\n{words}"

    def key(self) -> str:
        return (self.data / "admin.key").read_text().strip()

    def client(self, key: str | None = None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key or self.key()}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)

    def memory(self) -> int:
        """Resident bytes."""
        return psutil.Process(self.process.pid).memory_info().rss


@pytest.fixture
def serve(tmp_path):
    started = []

    def start(name: str = "data", **options) -> Served:
        served = Served(tmp_path / name, **options)
        served.start()
        started.append(served)
        return served

    yield start
    for served in started:
        served.stop()


def admin_key(url: str) -> str:
    """Return a new key of a server on PostgreSQL, which makes none by itself."""
    db = Database(url, readers=1, writers=1)
    try:
        return asyncio.run(db.write(keys.add, name="test", scopes=(Scope.ADMIN,), at=datetime.now(UTC)))[1]
    finally:
        db.close()


def made(client: httpx.Client, path: str, body: dict | None = None) -> dict:
    answer = client.post(path, json=body or {})
    assert answer.status_code == 201, answer.text
    return answer.json()["payload"]


def a_crawler(client: httpx.Client, *, external: dict | None = None, **fields) -> dict:
    registered = made(client, "/externals", {"docIdField": "id"} | (external or {}))
    stream = made(client, "/streams")
    links = [{"from": {"type": "streams", "fid": stream["fid"]}}]
    return made(client, f"/actions/externals/{registered['fid']}/crawler", {"meta": {"links": links}} | fields)


def wait_for(question, *, seconds: float = 60):
    """Return the first answer that is true; a wait for an event, not a measure of time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := question():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen")
