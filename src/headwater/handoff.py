"""Passes accepted connections from the supervisor to its workers, as file descriptors over Unix sockets.

Each worker has its own queue. The supervisor never blocks on one: a queue is bounded, the worker acknowledges
each connection that it takes, and a worker that acknowledges nothing gets only what the others have no room for.
"""

import errno
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

log = structlog.get_logger(__name__)

#: Maximum number of connections in a worker's queue. The kernel counts descriptors in such
#: queues against the user's limit, so they must be short.
QUEUE_SIZE = 64
#: Seconds without an acknowledgement after which a worker gets connections only if all others are as slow.
SLOW_AFTER = 1.0
#: Seconds until the supervisor checks again for a worker with room.
_LOOK_AGAIN = 0.1
#: Seconds to wait after an accept that failed for lack of descriptors or memory: initially, and at most.
_ACCEPT_BACKOFF = (0.05, 1.0)
#: Seconds between log lines about the same problem.
LOG_EVERY = 10.0

#: Errors that mean a lack of descriptors or memory.
OUT_OF = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


@dataclass(eq=False, kw_only=True)
class _Queue:
    """The supervisor's end of one worker's queue."""

    end: socket.socket
    #: When each unacknowledged connection was sent.
    given: deque[float] = field(default_factory=deque[float])
    #: The number of the last round in which this worker got a connection.
    turn: int = 0
    is_broken: bool = False

    def confirm(self) -> None:
        """Read the worker's acknowledgements."""
        try:
            while not self.is_broken:
                if self.end.recv(1):
                    self.given.popleft()
                else:
                    self.is_broken = True
        except BlockingIOError:
            pass
        except (OSError, IndexError):
            self.is_broken = True

    def send(self, connection: socket.socket, *, at: float) -> bool:
        """Enqueue a connection without blocking; return whether that was possible."""
        try:
            socket.send_fds(self.end, [b"c"], [connection.fileno()])
        except OSError as error:
            # A full queue, or too many descriptors in flight, is temporary. All else means that the worker has ended.
            self.is_broken = error.errno not in {errno.EAGAIN, errno.ETOOMANYREFS} | OUT_OF
            return False
        self.given.append(at)
        return True

    def urgency(self, at: float) -> tuple[bool, int, int]:
        """Return a sort key: the worker with the smallest one gets the next connection."""
        return (bool(self.given) and at - self.given[0] > SLOW_AFTER, len(self.given), self.turn)


class Handoff:
    """Accepts connections and passes each to the worker with the shortest queue, round-robin among equals."""

    def __init__(self, listening: socket.socket, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Accept on ``listening``."""
        self._listening = listening
        self._clock = clock
        self._queues: dict[int, _Queue] = {}
        self._lock = threading.Lock()
        self._is_stopping = threading.Event()
        self._turn = 0

    def add(self, number: int) -> socket.socket:
        """Create the queue of a worker; return the worker's end."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with self._lock:
            self._queues[number] = _Queue(end=ours)
        return theirs

    def remove(self, number: int) -> None:
        """Close the queue of a worker that has ended."""
        with self._lock:
            queue = self._queues.pop(number, None)
            if queue is not None:
                queue.end.close()

    def start(self) -> None:
        """Accept and pass on connections in a thread, until ``stop``."""
        threading.Thread(target=self._run, name="connections", daemon=True).start()

    def stop(self) -> None:
        """Stop accepting, so that no client connects that no worker will answer."""
        self._is_stopping.set()
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # wakes the thread blocked in accept()
        self._listening.close()

    def give(self, connection: socket.socket) -> bool:
        """Pass a connection to a worker, without blocking; return whether one had room."""
        at = self._clock()
        with self._lock:
            for queue in self._queues.values():
                queue.confirm()
            for queue in sorted(self._queues.values(), key=lambda each: each.urgency(at)):
                if queue.is_broken or len(queue.given) >= QUEUE_SIZE:
                    continue
                if queue.send(connection, at=at):
                    self._turn += 1
                    queue.turn = self._turn
                    return True
        return False

    def _run(self) -> None:
        pause, most = _ACCEPT_BACKOFF
        logged = -LOG_EVERY
        while not self._is_stopping.is_set():
            try:
                connection, _ = self._listening.accept()
            except OSError as error:
                if error.errno in OUT_OF and not self._is_stopping.is_set():
                    if self._clock() - logged >= LOG_EVERY:
                        logged = self._clock()
                        log.warning("connections.accept_failed", reason=error.strerror)
                    self._is_stopping.wait(pause)
                    pause = min(2 * pause, most)
                continue  # otherwise the client has disconnected, or we are stopping
            pause = _ACCEPT_BACKOFF[0]
            with connection:
                while not self._is_stopping.is_set() and not self.give(connection):
                    self._wait_for_room()

    def _wait_for_room(self) -> None:
        """Wait until a worker acknowledges something, or briefly: workers may have been added meanwhile."""
        waiting = select.poll()
        with self._lock:
            ends = [queue.end.fileno() for queue in self._queues.values() if not queue.is_broken]
        for end in ends:
            waiting.register(end, select.POLLIN)
        if not ends or not waiting.poll(_LOOK_AGAIN * 1000):
            return
        # Avoids a busy loop: a descriptor that was closed meanwhile is reported as ready at once.
        self._is_stopping.wait(_LOOK_AGAIN / 10)


def take(end: socket.socket) -> Sequence[socket.socket] | None:
    """In a worker: take a connection from its queue and acknowledge it; return None once the supervisor has ended.

    If this process had no descriptor left for it, the kernel has closed the connection, and the result is empty.

    Raises:
        BlockingIOError: the queue is empty.
    """
    try:
        data, descriptors, _flags, _ = socket.recv_fds(end, 1, 1)
    except ConnectionError:
        return None
    if not data:
        return None
    with suppress(OSError):  # the supervisor has just ended, which the next call detects
        end.send(b"t")
    return [socket.socket(fileno=descriptor) for descriptor in descriptors]
