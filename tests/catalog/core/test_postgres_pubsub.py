"""Topics between processes that share a PostgreSQL: two catalogs of one database stand for two machines."""

import asyncio
import contextlib

import psycopg
import pytest

from builders import a_stream, eventually
from headwater.catalog import events, objects
from headwater.catalog.core.database import Database
from headwater.catalog.core.postgres_pubsub import PostgresRelay
from headwater.catalog.objects import STREAMS
from headwater.domain.event import EventFilter
from headwater.streams import topic_waiter
from headwater.streams.event_feed import EventFeed


class Node:
    """A catalog, and its connection to the others."""

    def __init__(self, url: str) -> None:
        self.db = Database(url)
        self.heard: list[str] = []
        self.db.subscribe("topic", lambda: self.heard.append("topic"))
        self._relay = asyncio.ensure_future(PostgresRelay(self.db).run())

    async def hears(self) -> None:
        await eventually(self._hears_others)

    async def _hears_others(self) -> bool:
        return self.db.hears_others

    async def close(self) -> None:
        self._relay.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._relay
        self.db.close()


@pytest.fixture
async def nodes(postgres_url):
    made = [Node(postgres_url) for _ in range(2)]
    for node in made:
        await node.hears()
    yield made
    for node in made:
        await node.close()


async def _publish(node, topic: str = "topic") -> None:
    await node.db.write(lambda tx: tx.publish(topic))


async def _has_heard(node, times: int) -> None:
    async def has() -> bool:
        return len(node.heard) >= times

    await eventually(has)


async def test_what_one_machine_publishes_another_hears(nodes):
    one, other = nodes
    before = len(other.heard)
    await _publish(one)
    await _has_heard(other, before + 1)


async def test_a_follower_hears_of_another_machines_change_without_polling(nodes, monkeypatch):
    monkeypatch.setattr(topic_waiter, "LONG_PATIENCE", 3600.0)
    one, other = nodes
    feed = EventFeed(other.db)
    with feed.listening():

        async def is_heard() -> bool:
            return feed.is_heard

        await eventually(is_heard)
        waiting = asyncio.ensure_future(feed.after(0, EventFilter(), seconds=60))
        stream = await one.db.write(objects.add, STREAMS, a_stream())
        assert [told.event.stream for told in (await waiting).events] == [stream.fid]
    await feed.end()


async def test_a_connection_that_breaks_is_made_again_and_subscribers_look_at_once(nodes, postgres_url):
    one, other = nodes
    before = len(other.heard)
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND query LIKE 'LISTEN%'"
        )
    # Notified once by the reconnection itself: what was published meanwhile is not known.
    await _has_heard(other, before + 1)
    await other.hears()
    await one.hears()
    before = len(other.heard)
    await _publish(one)
    await _has_heard(other, before + 1)


async def test_events_are_published_to_others_when_they_are_appended(nodes):
    one, other = nodes
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    other.db.subscribe(events.APPENDED, lambda: loop.call_soon_threadsafe(told.set))
    await one.db.write(objects.add, STREAMS, a_stream())
    async with asyncio.timeout(30):
        await told.wait()
