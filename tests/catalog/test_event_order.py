import asyncio
import random
import threading
import time
from functools import partial

from builders import AT, a_stream, read_events
from headwater.catalog import event_order, events, objects
from headwater.catalog.core.database import Database
from headwater.catalog.objects import STREAMS
from headwater.catalog.stats import collect


def _add(tx, *, before_commit=lambda: None) -> str:
    """Add a stream; its event is written, and then ``before_commit`` is called."""
    stream = objects.add(tx, STREAMS, a_stream())
    tx.before_commit(lambda _tx, waits: [wait() for wait in waits], before_commit)
    return stream.fid


class Follower:
    """Reads events by their ids, as any subscriber does."""

    def __init__(self, db) -> None:
        self._db = db
        self._place = 0
        self.streams: list[str] = []

    async def look(self) -> None:
        for event in await read_events(self._db, events.after, self._place, limit=7):
            assert event.id > self._place
            self._place = event.id
            self.streams.append(event.stream)


async def test_a_follower_sees_each_event_once_however_long_writers_take_to_commit(url):
    nodes = [Database(url) for _ in range(3)]
    follower = Follower(nodes[0])
    made: set[str] = set()
    pauses = random.Random(7)

    async def write(db) -> None:
        for _ in range(6):
            pause = pauses.choice((0, 0, 0.001, 0.005, 0.02))
            made.add(await db.write(_add, before_commit=partial(time.sleep, pause)))

    writers = [asyncio.ensure_future(write(nodes[number % 3])) for number in range(12)]
    while not all(writer.done() for writer in writers):
        await follower.look()
    await asyncio.gather(*writers)
    for _ in range(len(made)):
        await follower.look()
    assert len(follower.streams) == len(made) == 72
    assert set(follower.streams) == made
    for node in nodes:
        node.close()


async def test_a_follower_on_each_node_sees_the_same_order(url):
    nodes = [Database(url) for _ in range(2)]
    followers = [Follower(node) for node in nodes]
    writing = asyncio.gather(*(nodes[number % 2].write(_add) for number in range(40)))
    while not writing.done():
        await asyncio.gather(*(follower.look() for follower in followers))
    await writing
    for _ in range(40):
        await asyncio.gather(*(follower.look() for follower in followers))
    assert len(followers[0].streams) == 40
    assert followers[0].streams == followers[1].streams
    for node in nodes:
        node.close()


async def test_a_change_that_is_not_committed_holds_back_its_own_event_only(postgres_url):
    one, other = Database(postgres_url), Database(postgres_url)
    follower = Follower(other)
    committing, may_commit = threading.Event(), threading.Event()

    def wait() -> None:
        committing.set()
        may_commit.wait(60)

    slow = asyncio.ensure_future(one.write(_add, before_commit=wait))
    await asyncio.to_thread(committing.wait, 60)
    quick = await other.write(_add)
    await follower.look()
    assert follower.streams == [quick]
    may_commit.set()
    late = await slow
    await follower.look()
    assert follower.streams == [quick, late]
    for node in (one, other):
        node.close()


async def test_events_of_one_change_keep_their_order(db):
    def add(tx) -> list[str]:
        return [_add(tx) for _ in range(30)]

    made = await db.write(add)
    found = await read_events(db, events.after, 0, limit=100)
    assert [event.stream for event in found] == made


async def test_more_events_than_one_transaction_orders_are_all_put_in_order(db, monkeypatch):
    monkeypatch.setattr(event_order, "MANY", 4)
    for _ in range(11):
        await db.write(_add)
    assert len(await read_events(db, events.after, 0, limit=100)) == 11


async def test_what_was_committed_before_a_position_is_taken_lies_before_it(db, monkeypatch):
    monkeypatch.setattr(event_order, "MANY", 2)
    for _ in range(5):
        await db.write(_add)
    place = await db.write(event_order.newest)
    later = await db.write(_add)
    assert [event.stream for event in await read_events(db, events.after, place, limit=10)] == [later]


async def test_who_puts_events_in_order_tells_those_who_wait_for_events(postgres_url):
    db = Database(postgres_url)
    await db.write(_add)
    told = threading.Event()
    db.subscribe(events.APPENDED, told.set)
    await event_order.catch_up(db)
    assert told.is_set()
    db.close()


async def test_monitoring_says_what_is_not_in_order_yet(postgres_url):
    db = Database(postgres_url)
    await db.write(_add)
    waiting = (await db.read(collect)).unordered_events
    assert (waiting.number, waiting.oldest_at) == (1, AT)
    await event_order.catch_up(db)
    waiting = (await db.read(collect)).unordered_events
    assert (waiting.number, waiting.oldest_at) == (0, None)
    db.close()


async def test_one_writer_needs_no_order(sqlite_url):
    db = Database(sqlite_url)
    stream = await db.write(_add)
    assert [event.stream for event in await db.read(events.after, 0, limit=10)] == [stream]
    assert (await db.read(event_order.waiting)).number == 0
    db.close()
