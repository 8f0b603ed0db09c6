from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, insert, text, update
from sqlalchemy.exc import DBAPIError

from builders import AT, a_stream
from headwater.catalog import audit, objects, tables
from headwater.catalog.audit import Actor, Wanted, acting_as, changed_fields
from headwater.catalog.core.database import Database
from headwater.catalog.core.dialects import migration_engine
from headwater.catalog.objects import STREAMS
from headwater.domain.errors import MovedMeanwhile
from headwater.domain.ids import first_fid
from headwater.domain.task import Origin

DOER = Actor(
    clock=lambda: AT,
    key="a" * 32,
    name="nightly",
    origin=Origin.API,
    action="create_stream",
    object_type="streams",
    request_id="r-1",
)


async def entries(db: Database, **wanted):
    return await db.read(audit.page, Wanted(**wanted), before=None, limit=100)


async def test_what_somebody_changes_is_written_down_with_who_did_it(db):
    stream = a_stream(meta={"name": "Books"})
    with acting_as(DOER):
        await db.write(objects.add, STREAMS, stream)
    (entry,) = await entries(db)
    assert (entry.at, entry.key, entry.name, entry.origin) == (AT, "a" * 32, "nightly", Origin.API)
    assert (entry.action, entry.object_type, entry.object_fid) == ("create_stream", "streams", stream.fid)
    assert (entry.request_id, entry.detail) == ("r-1", {"name": "Books"})


async def test_what_nobody_does_is_not_written_down(db):
    await db.write(objects.add, STREAMS, a_stream())
    assert await entries(db) == []


async def test_what_has_changed_nothing_is_not_written_down(db):
    stream = a_stream()
    await db.write(objects.add, STREAMS, stream)
    with acting_as(DOER):
        await db.write(objects.get, STREAMS, stream.fid, lock=True)
        await db.write(lambda tx: tx.execute(delete(tables.streams).where(tables.streams.c.fid == "nobody's")))
    assert await entries(db) == []


async def test_what_fails_is_not_written_down_and_what_is_written_together_with_it_is(db):
    stream = a_stream()
    await db.write(objects.add, STREAMS, stream)

    def fail(tx):
        objects.save(tx, STREAMS, stream, replace(stream, meta={"name": "lost"}, version=2))
        raise MovedMeanwhile("too late")

    with acting_as(DOER):
        # Put in the queue together, so that they are run in one transaction at first.
        failing, made = db.write(fail), [db.write(objects.add, STREAMS, a_stream()) for _ in range(3)]
        with pytest.raises(MovedMeanwhile):
            await failing
        for each in made:
            await each
    assert len(await entries(db)) == 3
    assert (await db.read(objects.get, STREAMS, stream.fid)).meta == {}


async def test_entries_are_found_by_who_what_and_when_newest_first(db):
    async def do(minutes: int, **doer) -> None:
        with acting_as(replace(DOER, clock=lambda: AT + timedelta(minutes=minutes), **doer)):
            await db.write(lambda tx: objects.add(tx, STREAMS, a_stream()))

    await do(0)
    await do(1, key="b" * 32)
    await do(2, action="delete_stream")
    first, second, third = reversed(await entries(db))
    assert await entries(db, key="b" * 32) == [second]
    assert await entries(db, action="delete_stream") == [third]
    assert await entries(db, object_type="tasks") == []
    assert await entries(db, object_fid=first.object_fid) == [first]
    assert await entries(db, since=AT + timedelta(minutes=1)) == [third, second]
    assert await entries(db, until=AT + timedelta(minutes=1)) == [first]
    just_behind = AT + timedelta(microseconds=1)
    assert await entries(db, since=AT, until=just_behind) == [first]
    assert await entries(db, since=just_behind, until=just_behind) == []
    assert await db.read(audit.page, Wanted(), before=third.fid, limit=1) == [second]


@pytest.mark.parametrize(
    "change",
    [
        update(tables.audit).values(name="somebody else"),
        delete(tables.audit),
        delete(tables.audit).where(tables.audit.c.name == "nightly"),
    ],
    ids=["update", "delete all", "delete one"],
)
async def test_no_entry_is_changed_or_deleted(db, change):
    with acting_as(DOER):
        await db.write(objects.add, STREAMS, a_stream())
    with pytest.raises(DBAPIError, match="only ever added to"):
        await db.write(lambda tx: tx.execute(change))
    assert len(await entries(db)) == 1


LATER = AT + timedelta(days=40)


async def _purge(db, before) -> int:
    with acting_as(replace(DOER, name="retention", action="purge_audit", clock=lambda: LATER)):
        if not await db.write(audit.keep_since, before):
            return 0
    return await db.write(audit.forget, limit=100)


async def _three_days(db) -> None:
    for day in range(3):
        with acting_as(replace(DOER, clock=lambda day=day: AT + timedelta(days=day))):
            await db.write(objects.add, STREAMS, a_stream())


async def test_old_entries_go_by_whole_days_and_the_purge_is_an_entry(db):
    await _three_days(db)
    assert await _purge(db, AT) == 0
    assert await _purge(db, AT + timedelta(days=2)) == 2
    purge, left = await entries(db)
    assert left.at == AT + timedelta(days=2)
    assert (purge.name, purge.action, purge.detail) == (
        "retention",
        "purge_audit",
        {"before": (AT + timedelta(days=2)).date().isoformat()},
    )
    assert await _purge(db, AT + timedelta(days=2)) == 0
    assert len(await entries(db)) == 2


async def test_entries_go_some_at_a_time(db):
    await _three_days(db)
    await db.write(audit.keep_since, LATER)
    assert [await db.write(audit.forget, limit=2) for _ in range(3)] == [2, 1, 0]


async def test_what_is_kept_cannot_be_deleted_after_a_purge_either(db):
    await _three_days(db)
    await _purge(db, AT + timedelta(days=2))
    with pytest.raises(DBAPIError, match="only ever added to"):
        await db.write(lambda tx: tx.execute(delete(tables.audit)))


@pytest.mark.parametrize(
    "change",
    [
        update(tables.audit_kept).values(since=""),
        update(tables.audit_kept).values(since=first_fid(datetime.now(UTC) - timedelta(hours=23))),
        update(tables.audit_kept).values(since="f" * 32),
        delete(tables.audit_kept),
        insert(tables.audit_kept).values(id=2, since="f" * 32),
    ],
    ids=["back", "within the last day", "all", "no mark", "a second mark"],
)
async def test_the_mark_moves_forward_only_and_never_within_the_last_day(db, change):
    await _three_days(db)
    await db.write(audit.keep_since, AT + timedelta(days=1))
    with pytest.raises(DBAPIError, match="moves forward"):
        await db.write(lambda tx: tx.execute(change))


def test_the_audit_is_not_emptied_either(postgres_url):
    engine = migration_engine(postgres_url)
    with engine.begin() as connection, pytest.raises(DBAPIError, match="only ever added to"):
        connection.execute(text("TRUNCATE audit"))
    engine.dispose()


@pytest.mark.own_database
async def test_an_entry_takes_half_a_kilobyte(db):
    """The documentation says so."""
    detail = {"stream": "5" * 32, "stream_version": 1234}
    row = {
        "at": AT,
        "key": "a" * 32,
        "name": "nightly",
        "origin": "api",
        "action": "delete_task",
        "object_type": "tasks",
        "request_id": "5f2c9a1b7e3d4c60",
        "detail": detail,
    }
    many = 5_000
    before = await _size(db)
    rows = [row | {"fid": f"{n * 7919:032x}", "object_fid": f"{n * 104729:032x}"} for n in range(many)]
    await db.write(lambda tx: tx.execute(insert(tables.audit), rows))
    assert 300 < (await _size(db) - before) / many < 700


async def _size(db: Database) -> int:
    if db.url.get_backend_name() == "sqlite":
        question = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
    else:
        question = "SELECT pg_total_relation_size('audit')"
    return await db.read(lambda tx: tx.execute(text(question)).scalar_one())


def test_fields_that_changed_are_named_as_callers_know_them():
    before = {"version": 1, "timeout": 60, "params": {"a": 1, "b": 2}, "schedule": None, "sealed_credential": "x"}
    after = {
        "version": 2,
        "timeout": 60,
        "params": {"a": 1, "c": 3},
        "schedule": {"every": 5},
        "sealed_credential": "y",
    }
    assert changed_fields(before, after) == ["/credential", "/params/b", "/params/c", "/schedule"]
