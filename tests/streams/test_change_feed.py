import asyncio
import json
import time
from datetime import timedelta

import pytest

from headwater.catalog.core.database import Database
from headwater.domain.errors import NotFound, RequestInvalid, VersionForgotten
from headwater.domain.task import Publish
from headwater.streams.change_feed import ChangeFeed
from headwater.streams.topic_waiter import PATIENCE
from headwater.streams.views import View


def _told(changes):
    return [(change["op"], change["id"]) for change in changes]


async def _follow(world, stream, *, limit, since=0):
    """Go on with what each answer gave, to the end: the versions at which it stopped, and what is held then."""
    held, stops = {}, []
    for _ in range(200):
        version, changes = await world.changes(stream, since, limit=limit)
        _apply(changes, held)
        if version == since:
            return stops, held
        stops.append(version)
        since = version
    raise AssertionError("it never ends")


async def test_changes_are_those_from_one_version_to_the_present(world):
    crawler = await world.crawler()
    first = await world.done(crawler, [{"id": "a", "v": 1}, {"id": "b", "v": 1}])
    second = await world.done(crawler, [{"id": "b", "v": 2}, {"id": "c", "v": 2}])
    await world.delete(first)
    assert await world.changes(crawler.stream, 1) == (
        3,
        [
            {"id": "a", "op": "delete", "doc": None, "task": first.fid},
            {"id": "b", "op": "upsert", "doc": {"id": "b", "v": 2}, "task": second.fid},
            {"id": "c", "op": "upsert", "doc": {"id": "c", "v": 2}, "task": second.fid},
        ],
    )
    assert _told((await world.changes(crawler.stream, 2))[1]) == [("delete", "a")]
    assert await world.changes(crawler.stream, 3) == (3, [])


async def test_the_text_of_a_document_is_told_as_it_was_uploaded(world):
    crawler = await world.crawler()
    await world.done(crawler, b'{ "id":"\\u00fc\\"",  "n": 1.50, "x": [1, 2] }\r\n')
    changes = await world.change_feed.since(crawler.stream, 0, View(), limit=None)
    [line] = b"".join([piece async for piece in changes.lines]).splitlines()
    assert b'"doc":{ "id":"\\u00fc\\"",  "n": 1.50, "x": [1, 2] },' in line
    assert json.loads(line)["id"] == 'ü"'


async def test_what_came_and_went_in_between_is_nothing(world):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}])
    task = await world.done(crawler, [{"id": "a", "v": 2}, {"id": "b"}])
    await world.delete(task)
    assert await world.changes(crawler.stream, 1) == (3, [])
    assert _told((await world.changes(crawler.stream, 2))[1]) == [("upsert", "a"), ("delete", "b")]
    await world.restore(task)
    assert await world.changes(crawler.stream, 2) == (4, [])


async def test_the_same_text_by_another_task_is_nothing(world):
    crawler = await world.crawler()
    first = await world.done(crawler, [{"id": "a", "v": 1}])
    await world.done(crawler, [{"id": "a", "v": 1}])
    assert await world.changes(crawler.stream, 1) == (2, [])
    await world.delete(first)
    assert await world.changes(crawler.stream, 1) == (3, [])


async def test_a_retry_that_brought_less_tells_of_what_went(world):
    crawler = await world.crawler()
    task = await world.task(crawler)
    await world.upload(task, [{"id": "a"}, {"id": "b"}])
    await world.report(task, 500)
    await world.retry(task)
    await world.upload(task, [{"id": "b"}, {"id": "c"}])
    assert _told((await world.changes(crawler.stream, 1))[1]) == [("upsert", "c")]
    await world.report(task, 200)
    assert _told((await world.changes(crawler.stream, 1))[1]) == [("delete", "a"), ("upsert", "c")]


async def test_what_waits_for_success_is_told_of_when_it_comes(world):
    crawler = await world.crawler(publish=Publish.ON_SUCCESS)
    task = await world.task(crawler)
    await world.upload(task, [{"id": "a"}])
    assert await world.changes(crawler.stream, 0) == (0, [])
    await world.report(task, 200)
    assert _told((await world.changes(crawler.stream, 0))[1]) == [("upsert", "a")]


async def test_since_nothing_is_everything_that_shows(world):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": name} for name in "cab"])
    assert _told((await world.changes(crawler.stream, 0))[1]) == [("upsert", name) for name in "abc"]


async def test_as_of_is_the_upper_end(world):
    crawler = await world.crawler()
    for name in "abcd":
        await world.done(crawler, [{"id": name}])
    version, changes = await world.changes(crawler.stream, 1, view=View(as_of=3))
    assert (version, _told(changes)) == (3, [("upsert", "b"), ("upsert", "c")])
    version, changes = await world.changes(crawler.stream, 1, view=View(as_of=3), limit=1)
    assert (version, _told(changes)) == (2, [("upsert", "b")])
    assert await world.changes(crawler.stream, 3, view=View(as_of=3)) == (3, [])


@pytest.mark.parametrize("limit", [None, 1])
async def test_an_upper_end_below_the_lower_one_is_refused(world, limit):
    crawler = await world.crawler()
    for name in "abc":
        await world.done(crawler, [{"id": name}])
    with pytest.raises(RequestInvalid, match="since version 2 end at version 1"):
        await world.changes(crawler.stream, 2, view=View(as_of=1), limit=limit)


async def test_up_to_nothing_there_is_nothing_whatever_is_purged(world):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}])
    await world.purge()
    for limit in (None, 1):
        assert await world.changes(crawler.stream, 0, view=View(as_of=0), limit=limit) == (0, [])


async def test_tasks_are_looked_past_on_both_sides(world):
    crawler = await world.crawler()
    tasks = [await world.done(crawler, [{"id": "a", "v": v}, {"id": f"only{v}"}]) for v in range(3)]
    view = View(without=frozenset({tasks[1].fid}))
    assert await world.changes(crawler.stream, 1, view=View(without=view.without, as_of=2)) == (2, [])
    version, changes = await world.changes(crawler.stream, 1, view=view)
    assert (version, _told(changes)) == (3, [("upsert", "a"), ("upsert", "only2")])
    await world.delete(tasks[1])
    assert await world.changes(crawler.stream, 3, view=view) == (4, [])
    with pytest.raises(RequestInvalid, match="no task of stream"):
        await world.changes(crawler.stream, 0, view=View(without=frozenset({"x"})))


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 1_000])
async def test_with_a_limit_the_answers_together_are_what_one_would_be(world, limit):
    crawler = await world.crawler()
    first = await world.done(crawler, [{"id": f"{number}", "v": 1} for number in range(4)])
    for v in (2, 3):
        await world.done(crawler, [{"id": f"{number}", "v": v} for number in range(v, v + 2)])
    await world.delete(first)
    await world.done(crawler, [{"id": "z"}])
    stops, held = await _follow(world, crawler.stream, limit=limit)
    assert held == await world.shown(crawler.stream)
    assert stops == sorted(set(stops))
    assert stops[-1] == 5


async def test_a_limit_never_divides_what_one_version_did(world):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": f"{number}"} for number in range(5)])
    await world.done(crawler, [{"id": "x"}])
    assert [(version, len(changes)) for version, changes in [await world.changes(crawler.stream, 0, limit=2)]] == [
        (1, 5)
    ]
    assert [(version, len(changes)) for version, changes in [await world.changes(crawler.stream, 0, limit=5)]] == [
        (1, 5)
    ]
    assert [(version, len(changes)) for version, changes in [await world.changes(crawler.stream, 0, limit=6)]] == [
        (2, 6)
    ]


async def test_who_begins_with_a_limit_after_a_purge_comes_to_the_present(world):
    crawler = await world.crawler()
    first = await world.done(crawler, [{"id": name} for name in "abc"])
    await world.done(crawler, [{"id": name} for name in "cd"])
    await world.delete(first)
    await world.purge()
    await world.done(crawler, [{"id": "z"}])
    stops, held = await _follow(world, crawler.stream, limit=1)
    assert held == await world.shown(crawler.stream)
    assert min(stops) >= 3


async def test_a_version_that_has_not_come_is_refused(world):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}])
    with pytest.raises(RequestInvalid, match="no version 2 yet"):
        await world.changes(crawler.stream, 2)
    with pytest.raises(RequestInvalid, match="no version 2 yet"):
        await world.changes(crawler.stream, 0, view=View(as_of=2))
    with pytest.raises(RequestInvalid, match="no version 2 yet"):
        await world.change_feed.wait(crawler.stream, 2, seconds=5)


async def test_a_version_that_is_purged_is_refused(world):
    crawler = await world.crawler()
    task = await world.done(crawler, [{"id": "a"}])
    await world.delete(task)
    await world.done(crawler, [{"id": "b"}])
    await world.purge()
    for since in (1, 2):
        with pytest.raises(VersionForgotten, match="since"):
            await world.changes(crawler.stream, since)
        with pytest.raises(VersionForgotten, match="since"):
            await world.change_feed.wait(crawler.stream, since, seconds=5)
    assert await world.changes(crawler.stream, 3) == (3, [])


async def test_an_unknown_stream_is_not_found(world):
    with pytest.raises(NotFound):
        await world.changes("x", 0)
    with pytest.raises(NotFound):
        await world.change_feed.wait("x", 0, seconds=5)


async def _timed(waiting):
    began = time.monotonic()
    return await waiting, time.monotonic() - began


async def test_waiting_for_what_is_there_already_takes_no_time(world):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}])
    changed, took = await _timed(world.change_feed.wait(crawler.stream, 0, seconds=20))
    assert changed
    assert took < 5


@pytest.mark.parametrize("seconds", [0, 0.2])
async def test_waiting_in_vain_ends_with_its_time(world, seconds):
    crawler = await world.crawler()
    changed, took = await _timed(world.change_feed.wait(crawler.stream, 0, seconds=seconds))
    assert not changed
    assert seconds <= took < seconds + 5


async def test_waiting_no_time_still_tells_what_is_there(world):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}])
    assert await world.change_feed.wait(crawler.stream, 0, seconds=0)
    assert not await world.change_feed.wait(crawler.stream, 1, seconds=0)


async def test_many_who_wait_hear_of_one_change(world):
    crawler, other = await world.crawler(), await world.crawler()
    waiting = [asyncio.create_task(world.change_feed.wait(crawler.stream, 0, seconds=20)) for _ in range(20)]
    elsewhere = asyncio.create_task(world.change_feed.wait(other.stream, 0, seconds=20))
    await asyncio.sleep(0.1)
    assert not any(one.done() for one in waiting)
    await world.done(crawler, [{"id": "a"}])
    assert all(await asyncio.wait_for(asyncio.gather(*waiting), 5))
    assert not elsewhere.done()
    await world.done(other, [{"id": "a"}])
    assert await asyncio.wait_for(elsewhere, 5)


async def test_what_does_not_show_wakes_nobody(world):
    crawler = await world.crawler(publish=Publish.ON_SUCCESS)
    task = await world.task(crawler)
    waiting = asyncio.create_task(world.change_feed.wait(crawler.stream, 0, seconds=20))
    await world.upload(task, [{"id": "a"}])
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await world.report(task, 200)
    assert await asyncio.wait_for(waiting, 5)


async def test_who_waits_hears_of_what_another_process_did(world, url):
    other = Database(url)
    change_feed = ChangeFeed(other, world.engine)
    crawler = await world.crawler()
    waiting = asyncio.create_task(change_feed.wait(crawler.stream, 0, seconds=20))
    await asyncio.sleep(0.1)
    await world.done(crawler, [{"id": "a"}])
    assert await asyncio.wait_for(waiting, 5 + PATIENCE)
    changes = await change_feed.since(crawler.stream, 0, View(), limit=None)
    assert changes.version == 1
    assert len([piece async for piece in changes.lines]) == 1
    other.close()


async def test_closing_lets_those_who_wait_go(world):
    crawler = await world.crawler()
    waiting = [asyncio.create_task(world.change_feed.wait(crawler.stream, 0, seconds=20)) for _ in range(3)]
    await asyncio.sleep(0.1)
    world.change_feed.close()
    assert await asyncio.wait_for(asyncio.gather(*waiting), 5) == [False] * 3
    assert not await world.change_feed.wait(crawler.stream, 0, seconds=20)


async def test_closing_what_nobody_waited_for_is_fine(world):
    world.change_feed.close()
    assert world.change_feed.is_closed


async def test_changes_that_were_begun_are_told_to_their_end_though_files_are_merged_away(world):
    crawler = await world.crawler()
    task = await world.task(crawler)
    for number in range(3):
        await world.upload(task, [{"id": f"{number}"}])
    await world.report(task, 200)
    changes = await world.change_feed.since(crawler.stream, 0, View(), limit=None)
    await world.compact()
    await world.retention.delete_garbage(at=world.at + timedelta(minutes=59))
    assert len(b"".join([piece async for piece in changes.lines]).splitlines()) == 3


async def test_very_many_changes_come_in_pieces(world):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": f"{number:06}"} for number in range(20_000)])
    changes = await world.change_feed.since(crawler.stream, 0, View(), limit=None)
    pieces = [piece async for piece in changes.lines]
    ids = [json.loads(line)["id"] for line in b"".join(pieces).splitlines()]
    assert len(pieces) > 1
    assert ids == [f"{number:06}" for number in range(20_000)]


def _apply(changes, held):
    for change in changes:
        if change["op"] == "upsert":
            held[change["id"]] = change["doc"]
        else:
            del held[change["id"]]


async def _work(world, crawler):
    """Uploads, deletes and restores, one after another."""
    tasks = []
    for number in range(12):
        task = await world.task(crawler)
        for part in range(3):
            await world.upload(task, [{"id": f"{(number + part) % 5}", "v": number}, {"id": f"x{number}"}])
        tasks.append(await world.report(task, 200))
        if number % 3 == 2:
            await world.delete(tasks[number - 1])
        if number % 4 == 3:
            await world.restore(tasks[number - 2])


async def _compact(world):
    while True:
        await world.compaction.turn()
        await asyncio.sleep(0)


async def test_a_follower_that_goes_on_beside_uploads_deletes_and_compaction_holds_what_shows(world):
    crawler = await world.crawler()
    since, held = 0, {}
    working = asyncio.create_task(_work(world, crawler))
    compacting = asyncio.create_task(_compact(world))
    while not working.done() or await world.change_feed.wait(crawler.stream, since, seconds=0):
        if await world.change_feed.wait(crawler.stream, since, seconds=0.5):
            since, changes = await world.changes(crawler.stream, since, limit=4)
            _apply(changes, held)
            assert held == await world.shown(crawler.stream, since)
    await working
    compacting.cancel()
    await asyncio.gather(compacting, return_exceptions=True)
    assert held == await world.shown(crawler.stream)
