import asyncio
import contextlib
import errno
import sqlite3
import subprocess
import sys
import threading
from uuid import uuid4

import pytest
import structlog
from sqlalchemy import literal, make_url, select, text
from sqlalchemy.exc import OperationalError

from builders import a_stream
from headwater.catalog import objects
from headwater.catalog.core import dialects
from headwater.catalog.core.database import Database
from headwater.catalog.core.dialects import check_url
from headwater.catalog.core.write_lock import WriteLock
from headwater.catalog.objects import STREAMS
from headwater.domain.errors import NotFound, Unavailable


async def test_what_a_write_did_is_there_for_the_next_read(db):
    stream = await db.write(objects.add, STREAMS, a_stream(meta={"name": "né", "n": [1, 2.5, None]}))
    assert await db.read(objects.get, STREAMS, stream.fid) == stream


async def test_moments_come_back_in_utc_to_the_microsecond(db):
    stream = await db.write(objects.add, STREAMS, a_stream())
    found = await db.read(objects.get, STREAMS, stream.fid)
    assert found.created_at == stream.created_at
    assert found.created_at.utcoffset().total_seconds() == 0


async def test_an_action_that_raises_changes_nothing(db):
    stream = a_stream()

    def half(tx):
        objects.add(tx, STREAMS, stream)
        raise NotFound("no")

    with pytest.raises(NotFound):
        await db.write(half)
    assert await db.read(objects.find, STREAMS, stream.fid) is None


async def test_a_transaction_whose_process_hangs_is_ended_and_the_others_go_on(postgres_url, monkeypatch):
    monkeypatch.setattr(dialects, "HANGS_FOR", 0.5)
    stream, tries = a_stream(), []
    entered, others_are_done = threading.Event(), threading.Event()

    def hang(tx):
        tries.append(tx)
        tx.advisory_lock("what all wait for")
        entered.set()
        if len(tries) == 1:
            others_are_done.wait(60)
        objects.add(tx, STREAMS, stream)

    def wait(tx):
        tx.advisory_lock("what all wait for")

    with contextlib.closing(Database(postgres_url)) as db:
        hanging = asyncio.create_task(db.write(hang))
        await asyncio.to_thread(entered.wait, 60)
        await db.write(wait)
        others_are_done.set()
        await hanging
        assert len(tries) == 2
        assert await db.read(objects.find, STREAMS, stream.fid) == stream


async def test_of_actions_that_share_a_commit_the_failing_ones_fail_alone(db):
    held, entered = threading.Event(), threading.Event()

    def hold(_tx):
        entered.set()
        held.wait(10)

    writers = 1 if db.url.get_backend_name() == "sqlite" else 4
    holding = [asyncio.create_task(db.write(hold)) for _ in range(writers)]
    await asyncio.to_thread(entered.wait, 10)
    streams = [a_stream() for _ in range(20)]

    def add(tx, stream, *, fails):
        objects.add(tx, STREAMS, stream)
        if fails == "ours":
            raise NotFound("as asked")
        if fails == "other":
            raise ZeroDivisionError

    fails = [("ours", "other", None)[n % 3] for n in range(20)]
    waiting = [
        asyncio.create_task(db.write(add, stream, fails=fail)) for stream, fail in zip(streams, fails, strict=True)
    ]
    await asyncio.sleep(0.05)
    held.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    await asyncio.gather(*holding)

    expected = {"ours": NotFound, "other": ZeroDivisionError, None: type(None)}
    assert [type(outcome) for outcome in outcomes] == [expected[fail] for fail in fails]
    stored = [await db.read(objects.find, STREAMS, stream.fid) is not None for stream in streams]
    assert stored == [fail is None for fail in fails]


async def test_who_listens_is_told_after_the_commit_and_not_of_what_failed(db):
    heard = []
    db.subscribe("topic", lambda: heard.append("topic"))

    def fail(tx):
        tx.publish("topic")
        raise NotFound("no")

    with pytest.raises(NotFound):
        await db.write(fail)
    assert heard == []
    await db.write(lambda tx: tx.publish("topic"))
    await db.write(lambda tx: tx.publish("other"))
    assert heard == ["topic"]


async def test_what_is_announced_here_is_relayed_and_what_is_elsewhere_is_heard(db):
    heard, relayed = [], []
    db.subscribe("topic", lambda: heard.append("topic"))
    db.relay_to(relayed.append)
    await db.write(lambda tx: tx.publish("topic"))
    assert (heard, relayed) == (["topic"], ["topic"])
    db.notify("topic")
    db.notify("nobody listens to this one")
    assert (heard, relayed) == (["topic", "topic"], ["topic"])


async def test_a_question_of_several_statements_sees_one_state(url, db):
    other = Database(url)
    begun, written = threading.Event(), threading.Event()

    def count_twice(tx):
        first = len(objects.page(tx, STREAMS, where={}, after=None, limit=100))
        begun.set()
        written.wait(10)
        return first, len(objects.page(tx, STREAMS, where={}, after=None, limit=100))

    asking = asyncio.create_task(db.read(count_twice))
    await asyncio.to_thread(begun.wait, 10)
    await other.write(objects.add, STREAMS, a_stream())
    written.set()
    assert await asking == (0, 0)
    other.close()


async def test_two_processes_writing_at_once_both_succeed(url, db):
    other = Database(url)
    await asyncio.gather(*(d.write(objects.add, STREAMS, a_stream()) for d in (db, other) for _ in range(30)))
    assert len(await db.read(objects.page, STREAMS, where={}, after=None, limit=100)) == 60
    other.close()


def test_processes_that_begin_with_one_new_file_at_once_all_can_use_it(tmp_path):
    command = [sys.executable, "-m", "headwater", "keys", "create", "k", "--data", str(tmp_path / "new")]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    told = [process.communicate(timeout=60) for process in started]
    assert [process.returncode for process in started] == [0] * 3, told
    assert len({secret for secret, _ in told}) == 3


async def test_closing_finishes_the_writes_that_wait(url):
    database = Database(url)
    waiting = [asyncio.create_task(database.write(objects.add, STREAMS, a_stream())) for _ in range(10)]
    await asyncio.sleep(0)
    await asyncio.to_thread(database.close)
    assert len(await asyncio.gather(*waiting)) == 10


@pytest.mark.synced
async def test_the_embedded_database_survives_a_power_cut(sqlite_url):
    database = Database(sqlite_url)

    def pragmas(tx):
        return [tx.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous", "foreign_keys")]

    assert await database.write(pragmas) == ["wal", 2, 1]
    database.close()


async def test_a_statement_is_compiled_once_for_readers_writers_and_the_next_database(url, monkeypatch):
    statement = select(literal(1).label(f"asked_{uuid4().hex}"))

    def first(tx):
        return tx.execute(statement).scalar_one()

    compiler = make_url(url).get_dialect()().statement_compiler
    compiled = []
    compile_select = compiler.visit_select
    monkeypatch.setattr(
        compiler, "visit_select", lambda *args, **more: compiled.append(args) or compile_select(*args, **more)
    )
    for _ in range(2):
        with contextlib.closing(Database(url)) as db:
            assert (await db.read(first), await db.write(first)) == (1, 1)
    assert len(compiled) == 1


@pytest.mark.parametrize("url", ["mysql://x/y", "postgresql://x/y", "sqlite+aiosqlite:///x"])
def test_a_database_that_we_do_not_know_is_refused(url):
    with pytest.raises(ValueError, match="no database that Headwater knows"):
        check_url(url)


async def test_a_database_that_does_not_answer_is_unavailable(postgres_url):
    url = make_url(postgres_url)
    silent = Database(url.set(query={"host": "/nowhere"}).render_as_string(), readers=1, writers=1)
    with pytest.raises(Unavailable):
        await silent.read(objects.find, STREAMS, a_stream().fid)
    with pytest.raises(Unavailable):
        await silent.write(objects.add, STREAMS, a_stream())
    silent.close()


async def test_of_actions_that_deadlock_all_succeed_in_the_end(postgres_url):
    pair = [Database(postgres_url, writers=1) for _ in range(2)]
    first, second = [await pair[0].write(objects.add, STREAMS, a_stream()) for _ in range(2)]
    meet = threading.Barrier(2, timeout=10)

    def lock(tx, *fids):
        for place, fid in enumerate(fids):
            objects.get(tx, STREAMS, fid, lock=True)
            if place == 0:
                with contextlib.suppress(threading.BrokenBarrierError):  # the second try meets nobody
                    meet.wait()
        meet.abort()
        return "done"

    outcomes = await asyncio.gather(
        pair[0].write(lock, first.fid, second.fid), pair[1].write(lock, second.fid, first.fid)
    )
    assert outcomes == ["done", "done"]
    for database in pair:
        database.close()


#: Reads rows of types that were never read before in several threads at once, and says that they were whole.
_READING_AT_ONCE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import make_dataclass
from enum import StrEnum
from threading import Barrier

from sqlalchemy import literal, select

from headwater.catalog.core.database import Database

sys.setswitchinterval(1e-6)
db, together = Database(f"sqlite:///{sys.argv[1]}", readers=4), Barrier(4)
names = [f"field{number}" for number in range(20)]
row = select(*(literal("word7").label(name) for name in names))


def read(kind):
    together.wait()
    return db.read_blocking(lambda tx: tx.value(row, kind))


with ThreadPoolExecutor(4) as threads:
    for _ in range(60):
        word = StrEnum("Word", [f"word{number}" for number in range(20)])
        kind = make_dataclass("Kind", [(name, word) for name in names])
        assert list(threads.map(read, [kind] * 4)) == [kind(**dict.fromkeys(names, word.word7))] * 4
db.close()
print("whole")
"""


def test_threads_may_read_values_of_a_type_for_the_first_time_at_once(tmp_path):
    # In a process of its own: it crashed.
    command = [sys.executable, "-c", _READING_AT_ONCE, str(tmp_path / "catalog.sqlite")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "whole\n"), ran.stderr


async def _still_writes(db):
    stream = await asyncio.wait_for(db.write(objects.add, STREAMS, a_stream()), 30)
    assert await db.read(objects.find, STREAMS, stream.fid) == stream


class Full:
    """A log on a disk that is full."""

    def msg(self, _line):
        raise OSError(errno.ENOSPC, "no space left on device")

    debug = info = warning = error = critical = exception = msg


@pytest.mark.usefixtures("logs_as_before")
async def test_a_log_that_fails_costs_neither_the_answer_nor_the_writer(db):
    structlog.configure(logger_factory=Full, cache_logger_on_first_use=False)

    def fail(_tx):
        raise OperationalError("COMMIT", {}, Exception("disk I/O error"))

    with pytest.raises(Unavailable):
        await asyncio.wait_for(db.write(fail), 30)
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    await _still_writes(db)


async def test_a_turn_that_cannot_be_had_is_answered_and_the_writer_goes_on(sqlite_url, monkeypatch):
    db = Database(sqlite_url)
    faults = [OSError("no locks available"), KeyboardInterrupt()]
    turn = WriteLock.hold

    def broken(turns):
        if faults:
            raise faults.pop()
        return turn(turns)

    monkeypatch.setattr(WriteLock, "hold", broken)
    for _ in range(2):
        with pytest.raises(Unavailable, match="nothing is known to have changed"):
            await asyncio.wait_for(db.write(objects.add, STREAMS, a_stream()), 30)
    await _still_writes(db)
    db.close()


@pytest.mark.parametrize("error", [StopIteration, KeyboardInterrupt, SystemExit, MemoryError, asyncio.CancelledError])
async def test_whatever_an_action_raises_it_is_answered_with_those_that_share_its_commit(db, error):
    def fail(_tx):
        raise error

    streams = [a_stream() for _ in range(3)]
    waiting = [asyncio.create_task(db.write(objects.add, STREAMS, stream)) for stream in streams]
    waiting.insert(1, asyncio.ensure_future(_caught(db.write(fail))))
    outcomes = await asyncio.wait_for(asyncio.gather(*waiting), 30)
    assert outcomes[1] is (MemoryError if error is MemoryError else RuntimeError)
    assert [outcome for place, outcome in enumerate(outcomes) if place != 1] == streams
    await _still_writes(db)


async def _caught(write):
    try:
        await write
    except BaseException as error:  # noqa: BLE001 - that is the question
        return type(error)


async def test_a_listener_or_relay_that_fails_does_not_make_a_commit_fail(db):
    def fail(*_):
        raise ValueError("no")

    heard = []
    db.subscribe("topic", fail)
    db.subscribe("topic", lambda: heard.append("topic"))
    db.relay_to(fail)
    assert await asyncio.wait_for(db.write(lambda tx: tx.publish("topic") or "committed"), 30) == "committed"
    assert heard == ["topic"]
    await _still_writes(db)


async def test_what_is_asked_of_a_closed_database_is_refused_at_once(url):
    database = Database(url)
    await asyncio.to_thread(database.close)
    with pytest.raises(Unavailable, match="closed"):
        await asyncio.wait_for(database.write(objects.add, STREAMS, a_stream()), 30)
    with pytest.raises(Unavailable, match="closed"):
        await database.read(objects.find, STREAMS, a_stream().fid)
    with pytest.raises(Unavailable, match="closed"):
        database.read_blocking(objects.find, STREAMS, a_stream().fid)


async def test_each_write_beside_a_close_is_either_committed_or_refused(url):
    database = Database(url)
    closing = asyncio.create_task(asyncio.to_thread(database.close))
    outcomes = []
    while not (outcomes and isinstance(outcomes[-1], Unavailable)):
        outcomes += await asyncio.wait_for(
            asyncio.gather(database.write(objects.add, STREAMS, a_stream()), return_exceptions=True), 30
        )
    await closing
    again = Database(url)
    stored = await again.read(objects.page, STREAMS, where={}, after=None, limit=100_000)
    assert len(stored) == len(outcomes) - 1
    again.close()


def _full():
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return OperationalError("INSERT", {}, error)


async def test_a_write_that_finds_the_disk_full_is_tried_again_once_there_is_room(sqlite_url):
    freed, full = [], [True]

    def make_room():
        freed.append(None)
        if len(freed) > 1:
            return False
        full.clear()
        return True

    db = Database(sqlite_url, make_room=make_room)

    def grow(tx):
        if full:
            raise _full()
        return objects.add(tx, STREAMS, a_stream())

    stored = await asyncio.wait_for(asyncio.gather(*(db.write(grow) for _ in range(5))), 30)
    assert len({stream.fid for stream in stored}) == 5
    assert len(freed) == 1
    full.append(True)
    with pytest.raises(Unavailable):
        await asyncio.wait_for(db.write(grow), 30)
    await _still_writes(db)
    db.close()
