import asyncio
import threading

import pytest
from sqlalchemy import bindparam, event, func, insert, select, update

from builders import AT, a_stream, read_events
from headwater.catalog import events, objects, tables
from headwater.catalog.core.database import Database
from headwater.catalog.core.dialects import BEGIN_WRITE, engine_for
from headwater.catalog.core.prepared_statement import PreparedStatement
from headwater.catalog.core.steps import Call, Turn, together
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import STREAMS
from headwater.domain.errors import NotFound
from headwater.domain.ids import new_fid

_streams = tables.streams.c
_COUNT_UP = PreparedStatement(
    update(tables.streams)
    .where(_streams.fid == bindparam("of"))
    .values(stream_version=_streams.stream_version + 1)
    .returning(_streams.stream_version)
)
_ADD = PreparedStatement(insert(tables.inlined))


def _counted_up(fid: str):
    return Call(statement=_COUNT_UP, values={"of": fid}, turn=Turn.STREAMS, locks=fid)


def _count(tx, fid: str):
    """Count a stream's version up, and add a row that names it."""
    (row,) = yield [_counted_up(fid)]
    if row is None:
        raise NotFound("no such stream")
    tx.add(_ADD, {"path": f"{fid}/{row[0]}", "packed": b""})
    return row[0]


def _number_of_rows(tx) -> int:
    return tx.execute(select(func.count()).select_from(tables.inlined)).scalar_one()


async def _a_stream(db) -> str:
    return (await db.write(objects.add, STREAMS, a_stream())).fid


@pytest.fixture
async def occupied(db):
    """Have all writers wait, so that what is written meanwhile is one group; the call lets them go."""
    may_go = threading.Event()
    began = threading.Semaphore(0)

    def wait(_tx) -> None:
        began.release()
        may_go.wait(60)

    writers = 1 if db.commits_in_order else 4
    waiting = []
    for _ in range(writers):
        waiting.append(asyncio.ensure_future(db.write(wait)))
        await asyncio.to_thread(began.acquire)
    yield may_go.set
    may_go.set()
    await asyncio.gather(*waiting)


async def test_actions_of_a_group_take_their_steps_together_and_get_their_own_results(db, occupied):
    one, other = await _a_stream_beside(db), await _a_stream_beside(db)
    writing = [asyncio.ensure_future(db.write_steps(_count, fid)) for fid in (one, other, one, one, other)]
    await asyncio.sleep(0)
    occupied()
    assert sorted(await asyncio.gather(*writing)) == [1, 1, 2, 2, 3]
    assert await db.read(_number_of_rows) == 5


async def test_of_actions_in_steps_those_that_fail_fail_alone(db, occupied):
    stream = await _a_stream_beside(db)
    writing = [asyncio.ensure_future(db.write_steps(_count, fid)) for fid in (stream, "0" * 32, stream)]
    await asyncio.sleep(0)
    occupied()
    found = await asyncio.gather(*writing, return_exceptions=True)
    assert sorted(each for each in found if isinstance(each, int)) == [1, 2]
    assert isinstance(found[1], NotFound)
    assert await db.read(_number_of_rows) == 2


async def _a_stream_beside(db) -> str:
    """A stream that is written while the writers of ``db`` wait."""
    stream = a_stream()
    if db.commits_in_order:
        # The one writer waits, and what it writes next is written before what comes after.
        asyncio.ensure_future(db.write(objects.add, STREAMS, stream))  # noqa: RUF006 - it is awaited by what follows
        await asyncio.sleep(0)
        return stream.fid
    beside = Database(db.url.render_as_string(hide_password=False))
    await beside.write(objects.add, STREAMS, stream)
    beside.close()
    return stream.fid


async def test_a_row_that_cannot_be_added_fails_its_own_action_only(db):
    stream = await _a_stream(db)

    def add_twice(tx) -> None:
        for _ in range(2):
            tx.add(_ADD, {"path": "taken", "packed": b""})

    found = await asyncio.gather(
        *(db.write_steps(_count, stream) for _ in range(3)), db.write(add_twice), return_exceptions=True
    )
    assert sorted(found[:3]) == [1, 2, 3]
    assert isinstance(found[3], Exception)
    assert await db.read(_number_of_rows) == 3


async def test_what_was_added_is_there_for_the_next_statement(db):
    def add(tx) -> int:
        tx.add(_ADD, {"path": "a", "packed": b""})
        return _number_of_rows(tx)

    assert await db.write(add) == 1


async def test_an_action_that_raises_after_a_step_changes_nothing(db):
    stream = await _a_stream(db)

    def fail(tx, fid):
        yield from _count(tx, fid)
        raise NotFound("nothing of it")

    with pytest.raises(NotFound):
        await db.write_steps(fail, stream)
    assert await db.write_steps(_count, stream) == 1
    assert await db.read(_number_of_rows) == 1


async def test_parts_that_take_different_numbers_of_steps_each_get_their_rows(db):
    streams = [await _a_stream(db) for _ in range(2)]

    def several(fid, times):
        reached = []
        for _ in range(times):
            (row,) = yield [_counted_up(fid)]
            reached.append(row[0])
        return reached

    def both(_tx):
        return (yield from together(several(streams[0], 3), several(streams[1], 1), several(streams[0], 0)))

    assert await db.write_steps(both) == [[1, 2, 3], [1], []]


async def test_an_audited_action_in_steps_is_recorded(db):
    stream = await _a_stream(db)
    seen = []

    class Recorder:
        def record(self, _tx, changes) -> None:
            seen.append(changes.changed)

    assert await db.write(lambda tx: tx.audited(Recorder(), lambda inner: _count(inner, stream))) == 1
    assert seen == [True]


async def test_a_change_in_steps_takes_two_round_trips_whatever_it_writes(postgres_url):
    db = Database(postgres_url)
    stream = await _a_stream(db)
    engine = engine_for(db.url, writes=True, size=1)
    by_themselves, pipelines = [], []
    event.listen(engine, "before_cursor_execute", lambda *of: by_themselves.append(of[2]))
    with engine.connect() as connection:
        driver = connection.connection.dbapi_connection
        begin_pipeline = driver.pipeline

        def pipeline():
            pipelines.append(driver.info.transaction_status.name)
            return begin_pipeline()

        driver.pipeline = pipeline
        tx = Transaction(connection, begin=BEGIN_WRITE)
        for _ in range(3):
            tx.run_steps(_count(tx, stream)) if not pipelines else tx.add(_ADD, {"path": new_fid(AT), "packed": b""})
        tx.commit()
        assert driver.info.transaction_status.name == "IDLE"
    engine.dispose()
    assert (pipelines, by_themselves) == (["IDLE", "INTRANS"], [])
    assert await db.read(_number_of_rows) == 3
    db.close()


async def test_a_connection_that_the_server_closed_costs_no_write_and_no_read(postgres_url):
    db = Database(postgres_url)
    stream = await _a_stream(db)
    await db.write_steps(_count, stream)
    for _ in range(2):
        _end_connections(postgres_url)
        assert await db.write_steps(_count, stream) > 1
        assert await db.read(_number_of_rows) > 1
    assert len(await read_events(db, events.after, 0, limit=9)) == 1
    db.close()


def _end_connections(url: str) -> None:
    import psycopg  # noqa: PLC0415 - of this test alone

    plain = url.replace("+psycopg", "")
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
