"""Publish/subscribe between the workers of one server.

The supervisor holds a socket to each worker and forwards published topics to the other workers. A topic is
a line. Sends never block: what a full socket does not accept is dropped, and subscribers find the change a
little later, since all of them poll as well.
"""

import asyncio
import socket
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress

from headwater.catalog.core.database import Database

_MOST = 1 << 16


class Relay:
    """A worker's end of the socket."""

    def __init__(self, end: socket.socket, *, orphaned: Callable[[], object]) -> None:
        """Use the socket ``end``; call ``orphaned`` once the supervisor is gone."""
        self._end = end
        self._orphaned = orphaned
        end.setblocking(False)

    @contextmanager
    def connected_to(self, db: Database) -> Generator[None]:
        """Connect a database to the other workers: send the topics published here, and notify it of theirs."""
        loop = asyncio.get_running_loop()

        def receive() -> None:
            try:
                received = self._end.recv(_MOST)
            except BlockingIOError:
                return
            except OSError:  # the supervisor is gone, and did not read all that was sent
                received = b""
            if not received:
                loop.remove_reader(self._end)
                self._orphaned()
            for topic in _topics(received):
                db.notify(topic.decode())

        loop.add_reader(self._end, receive)
        relay: Callable[[str], object] = lambda topic: _send(self._end, [topic.encode()])  # noqa: E731
        db.relay_to(relay)
        try:
            yield
        finally:
            db.relay_no_more(relay)
            loop.remove_reader(self._end)


def forward(end: socket.socket, others: Iterable[socket.socket]) -> None:
    """Forward one worker's topics to the others, each topic once."""
    with suppress(OSError):
        topics = _topics(end.recv(_MOST))
        for other in others:
            _send(other, topics)


def _topics(received: bytes) -> set[bytes]:
    return set(received.splitlines())


def _send(end: socket.socket, topics: Iterable[bytes]) -> None:
    with suppress(OSError):  # the socket is full, or its worker is gone
        end.send(b"".join(topic + b"\n" for topic in topics))
