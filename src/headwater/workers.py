"""Several processes that answer on one port, so that all cores are used: started, replaced, stopped together.

uvicorn's own supervisor does not fit: its workers do not know which of them they are, cannot hear of each
other's changes, outlive a parent that is killed, and are killed when they do not answer it for a while.
"""

import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Generator, MutableSequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType

import structlog

from headwater import logs, preparation
from headwater.api.allowance import cells
from headwater.catalog.relay import Relay, pass_on
from headwater.counts import counts
from headwater.settings import LEAST_QUERY_MEMORY, Settings

log = structlog.get_logger(__name__)

#: Runs the loops; when it dies, its replacement does.
FIRST = 0
#: Seconds between two rounds of passing on what workers tell: what comes in quick succession is told together.
REST = 0.02

#: Connections that may wait until they are given to a worker.
_BACKLOG = 2048

# A forked process would have the locks of threads, and not the threads.
_spawning = multiprocessing.get_context("spawn")


@dataclass(frozen=True, kw_only=True)
class _Worker:
    number: int
    process: SpawnProcess
    #: Our end of what it tells and is told.
    end: socket.socket
    #: Our end of where it is given connections.
    door: socket.socket


class Workers:
    """The workers of one server, and their supervisor."""

    def __init__(self, settings: Settings, listening: socket.socket) -> None:
        """Let them answer on ``listening``."""
        self._settings = shared(settings)
        self._listening = listening
        self._workers: dict[int, _Worker] = {}
        self._is_stopping = False
        self._status = 0
        #: In whose files they count for Prometheus, so that each can tell of all.
        self._counts = Path()
        #: In which they count the requests of keys together: a lost count between two of them does no harm.
        self._allowances = _spawning.RawArray("d", cells())

    def run(self) -> int:
        """Work until told to stop by a signal, or until a worker cannot be started; return the exit status."""
        with _stop_signals() as told, counts() as self._counts:
            # In the environment, since prometheus_client looks there when a worker imports it.
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(self._counts)
            self._listening.listen(_BACKLOG)
            threading.Thread(target=self._give_out, name="connections", daemon=True).start()
            for number in range(self._settings.workers):
                self._start(number)
            while self._workers:
                workers = list(self._workers.values())
                ready = wait(
                    [told, *(handle for worker in workers for handle in (worker.process.sentinel, worker.end))]
                )
                if told in ready:
                    told.recv(1)
                    self._stop()
                for worker in workers:
                    if worker.process.sentinel in ready:
                        self._ended(worker)
                    elif worker.end in ready:
                        pass_on(worker.end, [other.end for other in workers if other is not worker])
                time.sleep(REST)
        return self._status

    def _give_out(self) -> None:
        """Give connections to the workers in turn.

        Left to the kernel, most of a few connections go to one of them, and half of the cores are idle.
        """
        turn = 0
        while not self._is_stopping:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                continue  # who wanted to connect has gone, or we are stopping
            with connection:
                while not self._is_stopping:
                    workers = list(self._workers.values())
                    turn += 1
                    try:
                        socket.send_fds(workers[turn % len(workers)].door, [b"c"], [connection.fileno()])
                    except (OSError, ZeroDivisionError):  # it has just ended; there is none at the moment
                        time.sleep(REST)
                    else:
                        break

    def _start(self, number: int) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        outer, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        process = _spawning.Process(
            target=_work,
            args=(number, self._settings, inner, theirs, self._allowances),
            name=f"worker-{number}",
            daemon=True,
        )
        with theirs, inner, _deaf_to_interrupts():
            process.start()
        self._workers[number] = _Worker(number=number, process=process, end=ours, door=outer)
        log.info("worker.started", worker=number, pid=process.pid)

    def _ended(self, worker: _Worker) -> None:
        """Replace a worker that was killed; stop all when one gave up by itself, since its replacement would too."""
        worker.process.join()
        worker.end.close()
        worker.door.close()
        # What it held, it holds no more; what it had counted stays counted.
        for file in self._counts.glob(f"gauge_live*_{worker.process.pid}.db"):
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
            self._start(worker.number)

    def _stop(self) -> None:
        self._is_stopping = True
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # who waits for connections is woken
        self._listening.close()  # so that nobody connects whom no worker will answer
        for worker in self._workers.values():
            worker.process.terminate()


def shared(settings: Settings) -> Settings:
    """Return the settings of one worker: its share of what a server may use."""
    share = {
        "upload_memory": settings.upload_memory // settings.workers,
        "query_memory": max(settings.query_memory // settings.workers, LEAST_QUERY_MEMORY),
    }
    return settings.model_copy(update=share)


def _work(
    number: int, settings: Settings, door: socket.socket, end: socket.socket, allowances: MutableSequence[float]
) -> None:
    """Be a worker."""
    # Imported here: the supervisor needs none of it.
    from headwater.app import Role  # noqa: PLC0415
    from headwater.serving import serve  # noqa: PLC0415

    logs.set_up(form=settings.log_format, level=settings.log_level, worker=number)
    try:
        preparation.prepare(settings, at=datetime.now(UTC))
    except preparation.NotReady as error:
        sys.exit(f"headwater: {error}")
    # Without a supervisor nobody would stop us, nor replace us.
    relay = Relay(end, orphaned=lambda: signal.raise_signal(signal.SIGTERM))
    sys.exit(serve(settings, door=door, role=Role(runs_loops=number == FIRST, relay=relay, allowances=allowances)))


@contextmanager
def _stop_signals() -> Generator[socket.socket]:
    """Return a socket from which a byte can be read for each signal to stop."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with ours, theirs:
        for sign in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sign, _survive)
        signal.set_wakeup_fd(theirs.fileno())
        try:
            yield ours
        finally:
            signal.set_wakeup_fd(-1)


def _survive(_sign: int, _frame: FrameType | None) -> None:
    """Let Python write the byte, which it does for signals that are handled."""


@contextmanager
def _deaf_to_interrupts() -> Generator[None]:
    """Let what is started here ignore Ctrl-C until it minds it: a terminal tells all of us, and we tell the others."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
