import asyncio
from datetime import timedelta

import pytest

from builders import AT, a_stream, read_events
from headwater.catalog import events, objects, tasks
from headwater.catalog.core.database import Database
from headwater.catalog.objects import STREAMS
from headwater.domain.errors import NotFound


async def _told(db, place=0):
    return await read_events(db, events.after, place, limit=1000)


async def test_a_change_is_told_with_it(db):
    stream = await db.write(objects.add, STREAMS, a_stream())
    (event,) = await _told(db)
    assert (event.type, event.stream, event.at) == ("stream.created", stream.fid, stream.created_at)


async def test_what_fails_tells_nothing(db):
    def fails(tx):
        objects.add(tx, STREAMS, a_stream())
        raise NotFound("nothing of it")

    with pytest.raises(NotFound):
        await db.write(fails)
    assert await _told(db) == []


async def test_events_come_in_the_order_in_which_changes_were_committed(db, url):
    other = Database(url)
    seen, place = [], 0
    streams = [a_stream() for _ in range(60)]

    async def follow():
        nonlocal place
        while len(seen) < len(streams):
            for event in await _told(db, place):
                assert event.id > place
                place = event.id
                seen.append(event.stream)

    following = asyncio.create_task(follow())
    await asyncio.gather(
        *((db, other)[number % 2].write(objects.add, STREAMS, stream) for number, stream in enumerate(streams))
    )
    await asyncio.wait_for(following, timeout=20)
    other.close()
    assert sorted(seen) == sorted(stream.fid for stream in streams)


async def test_the_first_upload_tells_that_a_task_runs_and_the_next_do_not(world):
    task = await world.task()
    before = await read_events(world.db, events.last)
    for minute in range(2):
        await world.db.write(tasks.credit, task, docs=3, size=30, at=AT + timedelta(minutes=minute))
    (event,) = await _told(world.db, before)
    assert (event.type, event.data["docs"], event.data["code"]) == ("task.running", 3, 102)
