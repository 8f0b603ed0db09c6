from datetime import timedelta

from builders import AT
from headwater.catalog import notices
from headwater.catalog.core.database import Database
from headwater.catalog.notices import Notice, NoticeKind
from headwater.domain.ids import new_fid

LEASE = timedelta(seconds=60)


def a_notice(task="t" * 32, at=AT, **fields):
    base = {
        "fid": new_fid(at),
        "task": task,
        "attempt": 1,
        "kind": NoticeKind.START,
        "sealed_target": "sealed",
        "code": 0,
        "message": None,
        "tries": 0,
        "due_at": at,
        "leased_until": None,
        "created_at": at,
    }
    return Notice(**(base | fields))


async def _claimed(db, at):
    return [notice.fid for notice in await db.write(notices.claim, at=at, lease=LEASE, limit=10)]


async def test_a_notice_that_is_due_is_given_out_once(db):
    notice = a_notice()
    await db.write(notices.add, notice)
    assert await _claimed(db, AT - timedelta(seconds=1)) == []
    assert await _claimed(db, AT) == [notice.fid]
    assert await _claimed(db, AT) == []


async def test_the_claim_of_a_dead_process_comes_back(db):
    notice = a_notice()
    await db.write(notices.add, notice)
    await _claimed(db, AT)
    again = await db.write(notices.claim, at=AT + LEASE, lease=LEASE, limit=10)
    assert [(found.fid, found.tries) for found in again] == [(notice.fid, 1)]


async def test_two_processes_never_claim_one_notice(url, db):
    other = Database(url)
    for n in range(20):
        await db.write(notices.add, a_notice(task=f"{n:032}"))
    found = await _claimed(db, AT) + await _claimed(other, AT) + await _claimed(db, AT)
    assert len(found) == len(set(found)) == 20
    other.close()


async def test_of_one_tasks_notices_the_later_waits_for_the_earlier(db):
    start, end = a_notice(), a_notice(at=AT + timedelta(seconds=1), kind=NoticeKind.END)
    for notice in (end, start):
        await db.write(notices.add, notice)
    later = AT + timedelta(seconds=5)
    assert await _claimed(db, later) == [start.fid]
    assert await _claimed(db, later) == []
    await db.write(notices.done, start)
    assert await _claimed(db, later) == [end.fid]


async def test_a_notice_that_was_put_off_waits(db):
    notice = a_notice()
    await db.write(notices.add, notice)
    await _claimed(db, AT)
    await db.write(notices.put_off, notice, until=AT + timedelta(seconds=6))
    assert await _claimed(db, AT + timedelta(seconds=5)) == []
    assert await _claimed(db, AT + timedelta(seconds=6)) == [notice.fid]


async def test_only_what_nobody_has_begun_to_tell_can_be_withdrawn(db):
    await db.write(notices.add, a_notice())
    assert await db.write(notices.withdraw, "t" * 32) is True
    assert await _claimed(db, AT) == []
    await db.write(notices.add, a_notice())
    await _claimed(db, AT)
    assert await db.write(notices.withdraw, "t" * 32) is False
    assert len(await _claimed(db, AT + LEASE)) == 1
