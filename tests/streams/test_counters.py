import asyncio
import contextlib
import random
from functools import partial

import pytest

from builders import eventually
from headwater.catalog import segments, streams
from headwater.domain.errors import NotFound, TaskPurged
from headwater.domain.stream import Counts
from headwater.streams import diffs
from headwater.streams.counters import DocumentCounter


async def test_the_number_of_documents_is_counted_as_of_a_version(world):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}, {"id": "b"}])
    await world.done(crawler, [{"id": "b"}, {"id": "c"}])
    counter = DocumentCounter(world.db, world.engine)
    assert await counter.turn() == 3
    stream = await world.stream(crawler.stream)
    assert (stream.docs, stream.docs_version, stream.stream_version) == (3, 2, 2)
    assert await world.db.read(streams.uncounted, limit=5) == []


async def test_a_stream_that_shows_nothing_any_more_counts_zero(world):
    crawler = await world.crawler()
    task = await world.done(crawler, [{"id": "a"}])
    counter = DocumentCounter(world.db, world.engine)
    await counter.turn()
    await world.delete(task)
    await counter.turn()
    assert (await world.stream(crawler.stream)).docs == 0


async def test_what_did_not_change_since_the_last_count_is_not_read_again(world):
    world.as_files = True
    crawler = await world.crawler()
    task = await world.done(crawler, [{"id": "a"}, {"id": "b"}])
    counter = DocumentCounter(world.db, world.engine)
    await counter.turn()
    (old,) = await world.db.read(segments.in_place, task.fid, 1)
    newer = await world.done(crawler, [{"id": "x"}, {"id": "y"}, {"id": "z"}])
    world.store.delete(old.path)
    await counter.turn()
    assert (await world.stream(crawler.stream)).docs == 5
    await world.delete(newer)
    await counter.turn()
    assert (await world.stream(crawler.stream)).docs == 2


async def test_adding_up_what_changed_gives_what_counting_everything_gives(world):
    rng = random.Random(16)
    crawlers = [await world.crawler()]
    counter = DocumentCounter(world.db, world.engine)
    ran = []
    for step in range(14):
        match rng.choice(["run", "run", "delete", "restore", "erase", "purge"]) if ran else "run":
            case "run":
                docs = [{"id": rng.choice("abcdefgh"), "step": step} for _ in range(rng.randrange(1, 6))]
                ran.append(await world.done(crawlers[0], docs))
            case "delete":
                await world.delete(rng.choice(ran))
            case "restore":
                with contextlib.suppress(TaskPurged):
                    await world.restore(rng.choice(ran))
            case "erase":
                with contextlib.suppress(NotFound):
                    await world.document_erasure.erase(crawlers[0].stream, rng.choice("abcdefgh"))
            case "purge":
                await world.purge()
        if rng.random() < 0.7:
            await counter.turn()
    await counter.turn()
    stream = await world.stream(crawlers[0].stream)
    assert stream.docs == len(await world.shown(crawlers[0].stream))
    assert stream.docs_version == stream.stream_version


async def test_a_running_tally_follows_what_changes(world):
    crawler = await world.crawler()
    running = asyncio.create_task(DocumentCounter(world.db, world.engine).run())
    await world.done(crawler, [{"id": "a"}])

    async def counted() -> bool:
        return (await world.stream(crawler.stream)).docs == 1

    await eventually(counted)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("seed", range(6))
async def test_tasks_that_are_summed_up_together_get_what_each_gets_alone(world, seed):
    rng = random.Random(seed)
    crawler = await world.crawler(publish=rng.choice(["live", "on_success"]))
    ran = []
    for step in range(12):
        task = await world.task(crawler)
        for _ in range(rng.randrange(1, 4)):
            value = rng.choice([step, 0])
            await world.upload(task, [{"id": rng.choice("abcdefgh"), "v": value} for _ in range(rng.randrange(1, 6))])
        ran.append(await world.report(task, rng.choice([200, 200, 500])))
        if rng.random() < 0.2:
            await world.delete(rng.choice(ran))
        if rng.random() < 0.3:
            await world.fold()
    expected = {task.fid: await world.task_diffs.counts(partial(diffs.of_task, fid=task.fid)) for task in ran}
    await DocumentCounter(world.db, world.engine).turn()
    assert {task.fid: (await world.now(task)).summary for task in ran} == expected


async def test_many_tasks_of_one_stream_are_summed_up_in_one_pass(world, monkeypatch):
    crawler = await world.crawler()
    ran = [await world.done(crawler, [{"id": "a", "v": number // 2}, {"id": f"b{number}"}]) for number in range(8)]
    counter = DocumentCounter(world.db, world.engine)
    monkeypatch.setattr(counter, "_sum_up", None)  # not one by one
    await counter.turn()
    summaries = [(await world.now(task)).summary for task in ran]
    assert summaries == [
        Counts(added=2),
        *[Counts(added=1, changed=1 - number % 2, unchanged=number % 2) for number in range(1, 8)],
    ]
