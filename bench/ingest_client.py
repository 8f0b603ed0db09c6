"""A client that costs as little as it can: bodies made before, blocking sockets, one thread a connection."""

import collections
import math
import re
import resource
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

from bench.ingest_bodies import Body, Kind, bodies
from examples.packages_crawler.processes import Failed

#: Seconds that an answer may take.
PATIENCE = 120
#: A body of up to so many bytes is sent with its head in one piece; a larger one is not copied for that.
_SMALL = 64 << 10
_RECEIVED = 64 << 10

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_COUNT = re.compile(rb'"count": *(\d+)')


@dataclass(frozen=True, kw_only=True)
class Load:
    """What is to be uploaded, and how fast."""

    kind: Kind
    uploads: int
    #: Uploads a second, each at its time whatever became of those before; None is as fast as the answers come.
    pace: float | None = None
    #: Seconds after which no upload is begun any more.
    longest: float = math.inf


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What became of a load, or of as much of it as there was time for: all of it accepted."""

    #: From the first byte sent until the last answer.
    seconds: float
    #: Seconds from when an upload was sent, or should have been, until its answer; in order of size.
    latencies: tuple[float, ...]
    #: Seconds that this process has worked.
    cpu: float
    #: Bytes of documents, not compressed.
    size: int
    #: The numbers of the uploads that each connection sent.
    numbers: tuple[tuple[int, ...], ...]

    @property
    def uploads(self) -> int:
        """How many were sent."""
        return len(self.latencies)

    def percentile(self, percent: float) -> float:
        """Return the latency that so many percent of the uploads did not exceed."""
        return self.latencies[max(0, math.ceil(percent / 100 * len(self.latencies)) - 1)]


class Connection:
    """A connection to the endpoint of one task, kept open."""

    def __init__(self, endpoint: str, *, gzipped: bool) -> None:
        """Connect."""
        where = urlsplit(endpoint)
        self._socket = socket.create_connection((where.hostname, where.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The kernel keeps the time: with a timeout of Python's, each call would be two.
        retry_for = struct.pack("ll", PATIENCE, 0)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self._socket.setsockopt(socket.SOL_SOCKET, option, retry_for)
        encoding = "Content-Encoding: gzip\r\n" if gzipped else ""
        self._head = (
            f"POST {where.path}/upload HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: application/x-ndjson\r\n"
            f"{encoding}Content-Length: "
        ).encode()

    def upload(self, body: bytes | memoryview, *, docs: int) -> None:
        """Upload a body.

        Raises:
            Failed: the answer is not that so many documents were accepted.
        """
        cut_off: OSError | None = None
        try:
            self._send(body)
        except OSError as error:
            cut_off = error  # there may be an answer that says why
        try:
            status, payload = self._answer()
        except OSError as error:
            raise Failed(f"an upload of {docs} documents was not answered: {cut_off or error!r}") from error
        count = _COUNT.search(payload)
        if status != b"200" or count is None or int(count[1]) != docs:
            raise Failed(
                f"an upload of {docs} documents was answered with {status.decode(errors='replace')}: "
                f"{payload[:500].decode(errors='replace')}"
            )

    def close(self) -> None:
        """Disconnect."""
        self._socket.close()

    def _send(self, body: bytes | memoryview) -> None:
        head = b"%b%d\r\n\r\n" % (self._head, len(body))
        if len(body) <= _SMALL:
            self._socket.sendall(head + body)
        else:
            self._socket.sendall(head)
            self._socket.sendall(body)

    def _answer(self) -> tuple[bytes, bytes]:
        """Return status and body of the next answer."""
        received = self._more()
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._more()
        length = _LENGTH.search(received, 0, end)
        whole = end + 4 + (int(length[1]) if length else 0)
        while len(received) < whole:
            received += self._more()
        return received[9:12], received[end + 4 :]

    def _more(self) -> bytes:
        piece = self._socket.recv(_RECEIVED)
        if not piece:
            raise ConnectionError("the server closed the connection")
        return piece


def send(load: Load, endpoints: Sequence[str]) -> Sent:
    """Upload a load over as many connections as there are endpoints; who is free takes the next upload.

    Raises:
        Failed: an answer is not what it should be, or none came.
    """
    made = bodies(load.kind)
    return send_with(load, endpoints, lambda number: made[number % len(made)])


def send_with(load: Load, endpoints: Sequence[str], body: Callable[[int], Body]) -> Sent:
    """Do the same with bodies that are asked for, each by the number of its upload, just before they are sent."""
    connections = [Connection(endpoint, gzipped=load.kind.gzipped) for endpoint in endpoints]
    try:
        return _Sending(load, connections, body).run()
    finally:
        for connection in connections:
            connection.close()


class _Sending:
    """Connections that share a load."""

    def __init__(self, load: Load, connections: Sequence[Connection], body: Callable[[int], Body]) -> None:
        """Take the body of each upload from its number."""
        self._load = load
        self._connections = connections
        self._body = body
        # Taking the next of a range is one step of the interpreter, so that threads can share it.
        self._next = iter(range(load.uploads))
        self._all_there = threading.Barrier(len(connections), action=self._begin)
        self._began = 0.0

    def run(self) -> Sent:
        """Upload everything.

        Raises:
            Failed: an answer is not what it should be, or none came.
        """
        worked = _cpu_seconds()
        with ThreadPoolExecutor(len(self._connections), thread_name_prefix="connection") as threads:
            done = list(threads.map(self._work, self._connections))
        seconds = time.perf_counter() - self._began
        return Sent(
            seconds=seconds,
            latencies=tuple(sorted(latency for part in done for latency in part.latencies)),
            cpu=_cpu_seconds() - worked,
            size=sum(part.size for part in done),
            numbers=tuple(tuple(part.numbers) for part in done),
        )

    def _begin(self) -> None:
        self._began = time.perf_counter()

    def _work(self, connection: Connection) -> "_Part":
        part = _Part()
        self._all_there.wait()
        try:
            for number in self._next:
                body = self._body(number)
                due = self._due(number)
                connection.upload(body.content, docs=self._load.kind.docs)
                now = time.perf_counter()
                part.add(number, size=body.size, latency=now - due)
                if now - self._began > self._load.longest:
                    break
        except BaseException:
            # The others need not go on.
            collections.deque(self._next, maxlen=0)
            raise
        return part

    def _due(self, number: int) -> float:
        """Wait until an upload is due, and return that time: the past, if all connections were busy then."""
        if self._load.pace is None:
            return time.perf_counter()
        due = self._began + number / self._load.pace
        time.sleep(max(0.0, due - time.perf_counter()))
        return due


class _Part:
    """What one connection did."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.numbers: list[int] = []
        self.size = 0

    def add(self, number: int, *, size: int, latency: float) -> None:
        self.latencies.append(latency)
        self.numbers.append(number)
        self.size += size


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
