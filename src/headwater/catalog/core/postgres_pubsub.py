"""Publish/subscribe between all processes that share a PostgreSQL, with LISTEN and NOTIFY.

Each process listens with a connection of its own, and sends the topics that are published in it with another one, some
milliseconds after the commit: PostgreSQL takes a lock for all databases when a transaction with a NOTIFY commits, and
what is published in the meantime is sent together. Nothing depends on it: subscribers poll as well, more often while
the connection is away.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import structlog

from headwater.catalog.core.database import Database

if TYPE_CHECKING:
    from psycopg import AsyncConnection

log = structlog.get_logger(__name__)

#: The channel of all servers on a database.
CHANNEL = "headwater"
#: Minimum seconds between two messages: what is published in between is one message.
REST = 0.05
#: Seconds between two checks that a message to oneself arrives, and those that it may take.
CHECK_EVERY = 60.0
CHECK_WITHIN = 10.0
#: Seconds until the first and until later tries to connect again.
RECONNECT_AFTER = (0.5, 2.0, 10.0, 60.0)

_CHECK = "check:"


class NotHeard(Exception):
    """Messages do not arrive."""


class PostgresRelay:
    """A process's connection to the others."""

    def __init__(self, db: Database) -> None:
        """Connect ``db`` to the processes on the same database, while ``run`` does."""
        self._db = db
        self._topics: set[str] = set()
        self._news = asyncio.Event()
        #: The last check that arrived.
        self._arrived = ""
        self._arrival = asyncio.Event()

    async def run(self) -> None:
        """Send and receive topics until cancelled; connect again whenever the connection breaks."""
        loop = asyncio.get_running_loop()
        relay: Callable[[str], object] = lambda topic: loop.call_soon_threadsafe(self._collect, topic)  # noqa: E731
        self._db.relay_to(relay)
        failures = 0
        try:
            while True:
                try:
                    await self._connected()
                except Exception as error:  # noqa: BLE001 - whatever it is: subscribers poll, and it is tried again
                    failures = 1 if self._db.hears_others else failures + 1
                    log.warning("catalog.not_listening", why=str(error).strip(), tries=failures)
                finally:
                    self._db.hears_others = False
                await asyncio.sleep(RECONNECT_AFTER[min(max(failures, 1), len(RECONNECT_AFTER)) - 1])
        finally:
            self._db.relay_no_more(relay)

    def _collect(self, topic: str) -> None:
        self._topics.add(topic)
        self._news.set()

    async def _connected(self) -> None:
        """Listen and send until either fails."""
        async with await self._connect() as listener, await self._connect() as sender:
            await listener.execute(f"LISTEN {CHANNEL}")
            works = [asyncio.create_task(self._receive(listener)), asyncio.create_task(self._send(sender))]
            try:
                ended, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
                ended.pop().result()
            finally:
                for work in works:
                    work.cancel()
                await asyncio.wait(works)

    async def _connect(self) -> "AsyncConnection[Any]":
        # Imported here: who uses SQLite need not wait for it.
        from psycopg import AsyncConnection  # noqa: PLC0415

        address = self._db.url.set(drivername="postgresql").render_as_string(hide_password=False)
        # Without prepared statements, which PgBouncer may not know.
        return await AsyncConnection.connect(address, autocommit=True, prepare_threshold=None)

    async def _receive(self, listener: "AsyncConnection[Any]") -> None:
        async for message in listener.notifies():
            if message.payload.startswith(_CHECK):
                self._arrived = message.payload
                self._arrival.set()
            else:
                for topic in message.payload.splitlines():
                    self._db.notify(topic)

    async def _send(self, sender: "AsyncConnection[Any]") -> None:
        while True:
            await self._check(sender)
            if not self._db.hears_others:
                self._db.hears_others = True
                # What was published while nobody listened is not known.
                self._db.notify_all()
            until = asyncio.get_running_loop().time() + CHECK_EVERY
            while await _is_set_until(self._news, until):
                self._news.clear()
                topics, self._topics = self._topics, set()
                await _notify(sender, "\n".join(sorted(topics)))
                await asyncio.sleep(REST)

    async def _check(self, sender: "AsyncConnection[Any]") -> None:
        """Send a message to this process, and wait for it.

        Raises:
            NotHeard: it did not arrive: a pooler may have taken the connection's session away, as PgBouncer does
                between transactions.
        """
        token = f"{_CHECK}{uuid4().hex}"
        await _notify(sender, token)
        until = asyncio.get_running_loop().time() + CHECK_WITHIN
        while self._arrived != token:
            self._arrival.clear()
            if not await _is_set_until(self._arrival, until):
                raise NotHeard("a message to itself did not arrive; is there a pooler in transaction mode?")


async def _notify(sender: "AsyncConnection[Any]", payload: str) -> None:
    await sender.execute("SELECT pg_notify(%s, %s)", (CHANNEL, payload))


async def _is_set_until(event: asyncio.Event, until: float) -> bool:
    try:
        async with asyncio.timeout_at(until):
            return await event.wait()
    except TimeoutError:
        return False
