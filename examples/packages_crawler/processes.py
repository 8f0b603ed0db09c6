"""The processes that the demo starts, and that do not outlive it."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

#: Seconds that a process has to begin, and to end.
PATIENCE = 120.0
#: Lines of a log that are shown of a process that died.
LAST_WORDS = 15


class Failed(Exception):
    """The demo cannot go on."""


@dataclass(frozen=True, kw_only=True)
class Child:
    """A server that runs beside the demo."""

    name: str
    process: subprocess.Popen[bytes]
    #: Where it writes what it has to say.
    log: Path

    def require_alive(self) -> None:
        """Raise unless it runs.

        Raises:
            Failed: it has ended; with the end of its log.
        """
        code = self.process.poll()
        if code is not None:
            words = self.log.read_text(errors="replace").splitlines()[-LAST_WORDS:]
            raise Failed("\n".join([f"{self.name} ended with {code}; the end of {self.log}:", *words]))

    def wait_for(self, port: int) -> None:
        """Return when it listens.

        Raises:
            Failed: it has ended, or takes too long.
        """
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            self.require_alive()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
                return
            time.sleep(0.05)
        raise Failed(f"{self.name} did not listen on port {port} within {PATIENCE:g} seconds; {self.log} may say why")


@contextlib.contextmanager
def running(
    name: str, command: Sequence[str | Path], *, log: Path, settings: Mapping[str, str] | None = None
) -> Generator[Child]:
    """Start a process with settings as environment variables, and end it when the block ends, however that comes."""
    # Settings and proxies are those of whoever runs the demo, and not meant for it.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HEADWATER_")}
    environment |= {"HEADWATER_CONFIG": os.devnull, "no_proxy": "127.0.0.1", **(settings or {})}
    with log.open("wb") as words:
        process = subprocess.Popen(  # noqa: S603 - the command is the demo's own
            command, stdin=subprocess.DEVNULL, stdout=words, stderr=subprocess.STDOUT, env=environment
        )
    try:
        yield Child(name=name, process=process, log=log)
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    # A second Ctrl-C must not keep us from this.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process.terminate()
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    finally:
        signal.signal(signal.SIGINT, before)


def free_ports() -> tuple[int, int]:
    """Return two ports of this machine on which nobody listens."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]
