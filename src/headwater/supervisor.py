"""Supervisor of several worker processes on one port: starts, replaces and stops them.

uvicorn's own supervisor does not fit: its workers do not know their own numbers, cannot notify each other
of changes, outlive a parent that is killed, and are killed when they do not respond to it for a while.
"""

import gc
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Generator, MutableSequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType

import structlog

from headwater import bootstrap, log_config
from headwater.api.rate_limit import cells
from headwater.catalog.core.pubsub import Relay, forward
from headwater.handoff import Handoff
from headwater.metrics_dir import counts
from headwater.settings import LEAST_QUERY_MEMORY, Settings

log = structlog.get_logger(__name__)

#: The number of the worker that runs the background loops.
FIRST = 0
#: Seconds between iterations, so that notifications in quick succession are forwarded together.
REST = 0.02

#: Lifetime in seconds after which a worker that ends is restarted at once.
STABLE_AFTER = 60.0
#: Maximum seconds before a worker that keeps ending is restarted.
LONGEST_RESTART_PAUSE = 30.0

#: Connections that the kernel queues until they are accepted.
_BACKLOG = 2048

# A forked process would inherit the locks of threads, but not the threads.
_spawning = multiprocessing.get_context("spawn")


@dataclass(frozen=True, kw_only=True)
class _Worker:
    number: int
    process: SpawnProcess
    #: Our end of the socket for notifications.
    end: socket.socket
    #: The supervisor's monotonic time.
    started: float


class RestartBackoff:
    """Exponential backoff for restarts of workers."""

    def __init__(self) -> None:
        """Start without failures."""
        self._failed: dict[int, int] = {}

    def pause(self, number: int, *, lived: float) -> float:
        """Return the seconds to wait: 0 at first, then doubling while the worker is short-lived."""
        failed = self._failed[number] = 1 if lived >= STABLE_AFTER else self._failed.get(number, 0) + 1
        return 0.0 if failed == 1 else min(2.0 ** (failed - 2), LONGEST_RESTART_PAUSE)


class Supervisor:
    """Runs the workers of one server."""

    def __init__(self, settings: Settings, listening: socket.socket) -> None:
        """Let the workers serve ``listening``."""
        self._settings = shared(settings)
        self._listening = listening
        self._handoff = Handoff(listening)
        self._workers: dict[int, _Worker] = {}
        self._backoff = RestartBackoff()
        #: When each ended worker is to be restarted.
        self._due: dict[int, float] = {}
        self._is_stopping = False
        self._status = 0
        #: The directory of the workers' metrics.
        self._metrics_dir = Path()
        #: The shared memory of the rate limiter; it needs no lock, since a lost count does no harm.
        self._rate_limits = _spawning.RawArray("d", cells())

    def run(self) -> int:
        """Run until stopped by a signal, or until a worker cannot start; return the exit status."""
        with _stop_signals() as stop_signals, counts() as self._metrics_dir:
            # prometheus_client reads the environment when a worker imports it.
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(self._metrics_dir)
            self._listening.listen(_BACKLOG)
            self._handoff.start()
            for number in range(self._settings.workers):
                self._start(number)
            while self._workers or self._due:
                self._wait(stop_signals)
                time.sleep(REST)
        return self._status

    def _wait(self, stop_signals: socket.socket) -> None:
        """Wait for an event, and handle it."""
        workers = list(self._workers.values())
        handles = (handle for worker in workers for handle in (worker.process.sentinel, worker.end))
        ready = wait([stop_signals, *handles], timeout=self._until_due())
        if stop_signals in ready:
            stop_signals.recv(1)
            self._stop()
        for worker in workers:
            if worker.process.sentinel in ready:
                self._ended(worker)
            elif worker.end in ready:
                forward(worker.end, [other.end for other in workers if other is not worker])
        for number in [number for number, due in self._due.items() if due <= time.monotonic()]:
            del self._due[number]
            self._start(number)

    def _until_due(self) -> float | None:
        return max(0.0, min(self._due.values()) - time.monotonic()) if self._due else None

    def _start(self, number: int) -> None:
        try:
            self._workers[number] = self._started(number)
        except OSError as error:  # out of descriptors, processes or memory
            self._handoff.remove(number)
            log.exception("worker.start_failed", worker=number, reason=error.strerror)
            self._restart(number, lived=0.0)
        else:
            log.info("worker.started", worker=number, pid=self._workers[number].process.pid)

    def _started(self, number: int) -> _Worker:
        ours, theirs = socket.socketpair()
        try:
            ours.setblocking(False)
            with theirs, self._handoff.add(number) as queue, _interrupts_ignored():
                process = _spawning.Process(
                    target=_work,
                    args=(number, self._settings, queue, theirs, self._rate_limits),
                    name=f"worker-{number}",
                    daemon=True,
                )
                process.start()
        except OSError:
            ours.close()
            raise
        return _Worker(number=number, process=process, end=ours, started=time.monotonic())

    def _restart(self, number: int, *, lived: float) -> None:
        pause = self._backoff.pause(number, lived=lived)
        self._due[number] = time.monotonic() + pause
        if pause:
            log.warning("worker.restart_delayed", worker=number, seconds=pause)

    def _ended(self, worker: _Worker) -> None:
        """Restart a worker that was killed; stop all if one exited with an error, since its replacement would too."""
        worker.process.join()
        worker.end.close()
        self._handoff.remove(worker.number)
        # Drop its live gauges; keep its counters.
        for file in self._metrics_dir.glob(f"gauge_live*_{worker.process.pid}.db"):
            file.unlink(missing_ok=True)
        del self._workers[worker.number]
        if self._is_stopping:
            return
        status = worker.process.exitcode or 0
        log.error("worker.ended", worker=worker.number, pid=worker.process.pid, status=status)
        if status > 0:
            self._status = 1
            self._stop()
        else:
            self._restart(worker.number, lived=time.monotonic() - worker.started)

    def _stop(self) -> None:
        self._is_stopping = True
        self._due.clear()
        self._handoff.stop()
        for worker in self._workers.values():
            worker.process.terminate()


def shared(settings: Settings) -> Settings:
    """Return the settings of one worker, with its share of the server's memory."""
    share = {
        "upload_memory": settings.upload_memory // settings.workers,
        "query_memory": max(settings.query_memory // settings.workers, LEAST_QUERY_MEMORY),
    }
    return settings.model_copy(update=share)


def _work(
    number: int, settings: Settings, queue: socket.socket, end: socket.socket, rate_limits: MutableSequence[float]
) -> None:
    """Run a worker process."""
    gc.disable()  # until the server has started, as in ``headwater serve``
    # Not needed by the supervisor.
    from headwater import lean_imports  # noqa: PLC0415

    lean_imports.import_server()
    from headwater.app import Role  # noqa: PLC0415
    from headwater.server import serve  # noqa: PLC0415

    os.umask(0o077)
    log_config.set_up(form=settings.log_format, level=settings.log_level, worker=number)
    log_config.protect_stderr()
    try:
        bootstrap.prepare(settings, at=datetime.now(UTC))
    except bootstrap.NotReady as error:
        sys.exit(f"headwater: {error}")
    # Without a supervisor, nobody would stop or restart this worker.
    relay = Relay(end, orphaned=lambda: signal.raise_signal(signal.SIGTERM))
    sys.exit(serve(settings, queue=queue, role=Role(runs_loops=number == FIRST, relay=relay, rate_limits=rate_limits)))


@contextmanager
def _stop_signals() -> Generator[socket.socket]:
    """Return a socket that receives a byte for each stop signal."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with ours, theirs:
        for sign in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sign, _ignore)
        signal.set_wakeup_fd(theirs.fileno())
        try:
            yield ours
        finally:
            signal.set_wakeup_fd(-1)


def _ignore(_sign: int, _frame: FrameType | None) -> None:
    """Do nothing; Python writes the wakeup byte only for signals with a handler."""


@contextmanager
def _interrupts_ignored() -> Generator[None]:
    """Make child processes ignore Ctrl-C until they install handlers: the supervisor stops them."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
