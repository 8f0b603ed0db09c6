"""Served Headwaters, as an operator starts them."""

import asyncio
import contextlib
import os
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

from headwater.catalog import keys
from headwater.catalog.database import Database
from headwater.catalog.keys import Scope

#: Lines of a log that are shown where a test failed.
LAST_WORDS = 60
#: How a process ends that did wrong outside of Python.
CRASHES = {-number for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Served:
    """A ``headwater serve`` of its own process, or of several."""

    def __init__(
        self, data: Path, *, port: int | None = None, arguments: Sequence[str] = (), **environment: str
    ) -> None:
        self.data = data
        self.arguments = arguments
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = environment
        self.log = data.parent / f"{data.name}-{self.port}.log"
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
        command = [sys.executable, "-m", "headwater", "serve", "--data", str(self.data), "--port", str(self.port)]
        command += self.arguments
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, env=environment | self.environment, stdout=log, stderr=log, cwd=self.data.parent
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/healthz").is_success:
                    return
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"Headwater did not start: {self.log.read_text()[-3000:]}")

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


def wait_for(question, *, seconds: float = 30):
    """Return the first answer that is true; a wait for an event, not a measure of time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := question():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen")
