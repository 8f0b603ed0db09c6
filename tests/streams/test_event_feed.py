import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from builders import AT, a_stream, eventually, read_events
from headwater.catalog import events, objects
from headwater.catalog.objects import STREAMS
from headwater.domain.event import Event, EventFilter
from headwater.streams import event_feed as module
from headwater.streams.event_feed import EventFeed

ALL = EventFilter()


@pytest.fixture
async def event_feed(db):
    made = EventFeed(db)
    yield made
    await made.end()


class Counted:
    """A catalog that counts what it is asked."""

    def __init__(self, db) -> None:
        self._db = db
        self.asked = 0

    def __getattr__(self, name):
        return getattr(self._db, name)

    async def read(self, question, *args, **options):
        self.asked += 1
        return await self._db.read(question, *args, **options)


async def _make(db, number: int = 1, **fields) -> list[str]:
    def store(tx) -> list[str]:
        return [objects.add(tx, STREAMS, a_stream(**fields)).fid for _ in range(number)]

    return await db.write(store)


async def _hear(event_feed, place: int, number: int, wanted: EventFilter = ALL) -> list[int]:
    """The ids of the next events behind a place."""
    heard: list[int] = []
    async with asyncio.timeout(20):
        with event_feed.listening():
            while len(heard) < number:
                some = await event_feed.after(place, wanted, seconds=5)
                heard += [told.event.id for told in some.events]
                place = some.place
    return heard


async def test_those_who_listen_hear_of_all_from_where_they_are(db, event_feed):
    await _make(db, 3)
    listening = [asyncio.create_task(_hear(event_feed, place, 6 - place)) for place in (0, 1, 3)]
    await eventually(lambda: _is(event_feed.is_heard))
    await _make(db, 3)
    assert await asyncio.gather(*listening) == [[1, 2, 3, 4, 5, 6], [2, 3, 4, 5, 6], [4, 5, 6]]


async def _is(it: bool) -> bool:
    return it


async def test_a_hundred_who_listen_cost_one_look_and_not_a_hundred(db):
    counted = Counted(db)
    event_feed = EventFeed(counted)
    listening = [asyncio.create_task(_hear(event_feed, 0, 20)) for _ in range(100)]
    await eventually(lambda: _is(event_feed.is_heard))
    before = counted.asked
    for _ in range(20):
        await _make(db)
        await asyncio.sleep(0.01)
    assert await asyncio.gather(*listening) == [list(range(1, 21))] * 100
    # A look each time that something is announced, and one a second in between.
    assert counted.asked - before < 45
    await event_feed.end()


async def test_who_is_slow_reads_what_is_not_in_memory_any_more(db, monkeypatch):
    monkeypatch.setattr(module, "RECENT", 4)
    monkeypatch.setattr(module, "MANY", 3)
    monkeypatch.setattr(module, "WINDOW", 5)
    event_feed = EventFeed(db)
    with event_feed.listening():
        await eventually(lambda: _is(event_feed.is_heard))
        await _make(db, 30)
        assert await _hear(event_feed, 0, 30) == list(range(1, 31))
        assert await _hear(event_feed, 28, 2) == [29, 30]
    await event_feed.end()


async def test_what_is_wanted_is_found_however_far_it_lies(db, event_feed, monkeypatch):
    monkeypatch.setattr(module, "WINDOW", 4)
    (first,) = await _make(db)
    await _make(db, 30)
    (last,) = await _make(db)
    wanted = EventFilter(stream=last)
    assert await _hear(event_feed, 0, 1, wanted) == [32]
    page = await event_feed.page(0, wanted, limit=10)
    assert ([told.event.id for told in page.events], page.place, page.is_all) == ([32], 32, True)
    page = await event_feed.page(0, EventFilter(stream=first), limit=1)
    assert ([told.event.id for told in page.events], page.is_all) == ([1], False)


async def test_silence_ends_after_a_while_and_tells_how_far_was_looked(db, event_feed):
    await _make(db, 3)
    with event_feed.listening():
        heard = await event_feed.after(0, EventFilter(stream="0" * 32), seconds=1)
    assert (heard.events, heard.place) == ((), 3)


async def test_who_waits_is_let_go(event_feed):
    with event_feed.listening():
        waiting = asyncio.create_task(event_feed.after(0, ALL, seconds=60))
        await eventually(lambda: _is(event_feed.is_heard))
        event_feed.close()
        assert (await asyncio.wait_for(waiting, 5)).events == ()


async def test_nobody_who_listens_costs_nothing(db):
    counted = Counted(db)
    event_feed = EventFeed(counted)
    with event_feed.listening():
        await eventually(lambda: _is(event_feed.is_heard))
    await eventually(lambda: _is(not event_feed.is_heard))
    before = counted.asked
    await _make(db, 3)
    await asyncio.sleep(1.5)
    assert counted.asked == before
    # And the next one who comes hears of all.
    assert await _hear(event_feed, 0, 3) == [1, 2, 3]
    await event_feed.end()


async def test_a_moment_is_found_among_many(db):
    for minute in range(40):
        await _make(db, at=AT + timedelta(minutes=minute))
    for minute in (0, 1, 17, 39):
        assert await read_events(db, events.place_at, AT + timedelta(minutes=minute)) == minute
    assert await read_events(db, events.place_at, AT - timedelta(days=1)) == 0
    assert await read_events(db, events.place_at, AT + timedelta(days=1)) == 40


async def test_a_moment_in_an_empty_catalog_is_before_everything(db):
    assert await read_events(db, events.place_at, AT) == 0


async def test_events_are_forgotten_from_the_oldest_on_and_the_newest_stays(world):
    for day in range(5):
        await _make(world.db, at=AT + timedelta(days=day))
    assert await world.retention.forget_events(before=AT + timedelta(days=2)) == 2
    assert await world.retention.forget_events(before=AT + timedelta(days=99)) == 2
    assert await world.retention.forget_events(before=AT + timedelta(days=99)) == 0
    (left,) = await read_events(world.db, events.after, 0, limit=10)
    assert left.id == 5
    await _make(world.db)
    assert await read_events(world.db, events.last) == 6


def test_a_filter_takes_what_all_of_it_holds_of():
    event = Event(at=AT, type="stream.changed", stream="s", crawler="c", data={"tasks": ["t", "u"]})
    for wanted in (
        ALL,
        EventFilter(stream="s", crawler="c", task="u"),
        EventFilter(types=frozenset({"stream"})),
        EventFilter(types=frozenset({"task", "stream.changed"}), since=AT),
    ):
        assert wanted.takes(event)
        assert not replace(wanted, stream="other").takes(event)
    for refused in (
        EventFilter(task="x"),
        EventFilter(types=frozenset({"task"})),
        EventFilter(types=frozenset({"stream.created"})),
        EventFilter(since=AT + timedelta(seconds=1)),
    ):
        assert not refused.takes(event)
