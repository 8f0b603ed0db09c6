"""What the workers of one server tell each other: the topics that one of them announced.

A supervisor holds a socket to each worker and passes on what it hears to the others. A topic is a line.
Nobody waits for anybody: what a socket does not take at once is lost, and who listens finds what has
changed a little later, since all of them look from time to time anyway.
"""

import asyncio
import socket
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress

from headwater.catalog.database import Database

_MOST = 1 << 16


class Relay:
    """A worker's end."""

    def __init__(self, end: socket.socket, *, orphaned: Callable[[], object]) -> None:
        """Speak over ``end``; call ``orphaned`` once the supervisor is gone."""
        self._end = end
        self._orphaned = orphaned
        end.setblocking(False)

    @contextmanager
    def joined_by(self, db: Database) -> Generator[None]:
        """Let a database tell the other workers what is announced in it, and hear of what they announce."""
        loop = asyncio.get_running_loop()

        def hear() -> None:
            try:
                told = self._end.recv(_MOST)
            except BlockingIOError:
                return
            except OSError:  # it left without having heard all that we told
                told = b""
            if not told:
                loop.remove_reader(self._end)
                self._orphaned()
            for topic in _topics(told):
                db.heard(topic.decode())

        loop.add_reader(self._end, hear)
        db.relay_to(lambda topic: _tell(self._end, [topic.encode()]))
        try:
            yield
        finally:
            db.relay_to(None)
            loop.remove_reader(self._end)


def pass_on(end: socket.socket, others: Iterable[socket.socket]) -> None:
    """Tell the other workers what one has told; each topic once, however often it did."""
    with suppress(OSError):
        topics = _topics(end.recv(_MOST))
        for other in others:
            _tell(other, topics)


def _topics(told: bytes) -> set[bytes]:
    return set(told.splitlines())


def _tell(end: socket.socket, topics: Iterable[bytes]) -> None:
    with suppress(OSError):  # it is full, or its worker is gone
        end.send(b"".join(topic + b"\n" for topic in topics))
