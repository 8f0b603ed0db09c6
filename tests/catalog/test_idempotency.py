import pytest

from headwater.catalog import idempotency
from headwater.catalog.idempotency import KeyTaken, StoredReceipt


def _receipt(task, **fields) -> StoredReceipt:
    base = {"task": task.fid, "attempt": 1, "idempotency_key": "k", "body_digest": "d"}
    return StoredReceipt(**(base | {"count": 1, "total": 1, "bytes": 10} | fields))


def _require_free(_tx, receipt: StoredReceipt):
    return idempotency.require_free(receipt.task, receipt.attempt, receipt.idempotency_key)


async def test_a_key_is_taken_once_for_an_attempt(world):
    task = await world.task()
    first = _receipt(task)
    await world.db.write(idempotency.add, first)
    assert await world.db.read(idempotency.find, task.fid, 1, "k") == first
    with pytest.raises(KeyTaken):
        await world.db.write(_require_free, first)
    for other in (_receipt(task, attempt=2), _receipt(task, idempotency_key="l")):
        await world.db.write(_require_free, other)
    await world.db.write(idempotency.add, _receipt(task, attempt=2))
    await world.db.write(idempotency.add, _receipt(task, idempotency_key="l"))
    assert await world.db.read(idempotency.find, task.fid, 2, "l") is None


async def test_the_receipts_of_a_task_can_be_forgotten(world):
    task, other = await world.task(), await world.task()
    for each in (task, other):
        await world.db.write(idempotency.add, _receipt(each))
    await world.db.write(idempotency.forget, task.fid)
    assert await world.db.read(idempotency.find, task.fid, 1, "k") is None
    assert await world.db.read(idempotency.find, other.fid, 1, "k") is not None
