from datetime import timedelta

from sqlalchemy import func, select

from builders import Retention
from headwater.catalog import expiry, streams, tables
from headwater.catalog.audit import Actor, acting_as
from headwater.domain.stream import Change
from headwater.domain.task import Origin
from headwater.streams.retention import Kept

DAY = timedelta(days=1)


def retention(world, **kept) -> Retention:
    """Keeps records for a day, or as given."""
    times = {"events": DAY, "receipts": DAY, "attempts": DAY, "audit": 400 * DAY} | kept
    return Retention(world.db, world.store, keep=timedelta(days=30), kept=Kept(**times), clock=world.clock)


async def count(world, table) -> int:
    return await world.db.read(lambda tx: tx.execute(select(func.count()).select_from(table)).scalar_one())


async def log_of(world, stream):
    """The lines of a stream's log: version, change, documents."""
    log = tables.stream_log.c
    wanted = select(log.version, log.change, log.docs).where(log.stream == stream).order_by(log.version)
    return await world.db.read(lambda tx: [tuple(row) for row in tx.execute(wanted)])


async def test_answers_to_uploads_go_some_time_after_their_task_has_ended(world):
    crawler = await world.crawler()
    task = await world.task(crawler)
    await world.upload(task, [{"id": "a"}], key="one")
    world.wait(days=5)
    await retention(world).turn()
    assert await count(world, tables.receipts) == 1
    await world.report(task, 200)
    await retention(world).turn()
    assert await count(world, tables.receipts) == 1
    world.wait(days=2)
    await retention(world).turn()
    assert await count(world, tables.receipts) == 0


async def test_former_attempts_go(world):
    crawler = await world.crawler()
    task = await world.task(crawler)
    await world.report(task, 500)
    await world.retry(task)
    await retention(world).turn()
    assert await count(world, tables.attempts) == 1
    world.wait(days=2)
    await retention(world, attempts=3 * DAY).turn()
    assert await count(world, tables.attempts) == 1
    await retention(world).turn()
    assert await count(world, tables.attempts) == 0


async def test_old_entries_of_the_audit_go(world):
    with acting_as(Actor(clock=world.clock, name="nightly", origin=Origin.API, action="create_stream")):
        await world.crawler()
    made = await count(world, tables.audit)
    assert made > 0
    world.wait(days=5)
    await retention(world, audit=10 * DAY).turn()
    assert await count(world, tables.audit) == made
    await retention(world, audit=2 * DAY).turn()
    assert await count(world, tables.audit) == 1  # the purge itself
    await retention(world, audit=2 * DAY).turn()
    assert await count(world, tables.audit) == 1


async def test_log_lines_of_uploads_that_no_readable_version_needs_are_merged(world, monkeypatch):
    monkeypatch.setitem(expiry.uploads_in_log.__kwdefaults__, "limit", 3)
    crawler = await world.crawler()
    tasks = []
    for run in range(3):
        tasks.append(await world.task(crawler))
        for number in range(5):
            await world.upload(tasks[-1], [{"id": f"{number}", "run": run}, {"id": f"{run}-{number}"}])
        await world.report(tasks[-1], 200)
    await world.delete(tasks[1])
    world.wait(days=40)
    last = await world.task(crawler)
    for number in range(3):
        await world.upload(last, [{"id": f"{number}", "run": "last"}])
    keeper = retention(world)
    await keeper.turn()
    assert await log_of(world, crawler.stream) == [
        (5, Change.UPLOAD, 10),
        (10, Change.UPLOAD, 10),
        (15, Change.UPLOAD, 10),
        (16, Change.REMOVE, 10),
        (17, Change.UPLOAD, 1),
        (18, Change.UPLOAD, 1),
        (19, Change.UPLOAD, 1),
    ]
    assert await keeper.merge_logs() == 0
    assert await retention(world).merge_logs() == 0


async def test_what_streams_show_and_tell_is_the_same_after_their_logs_are_merged(world):
    crawler = await world.crawler()
    task = await world.task(crawler)
    for number in range(4):
        await world.upload(task, [{"id": "a", "n": number}])
    await world.report(task, 200)
    await world.compact()
    world.wait(days=40)
    await world.done(crawler, [{"id": "b"}])
    version = (await world.stream(crawler.stream)).stream_version
    await world.purge(before=world.at - 2 * DAY)
    before = [await world.shown(crawler.stream, number) for number in (version - 1, version)]
    assert await retention(world).merge_logs() > 0
    assert [await world.shown(crawler.stream, number) for number in (version - 1, version)] == before
    assert await world.db.read(streams.made_by, await world.now(task)) == version - 1
