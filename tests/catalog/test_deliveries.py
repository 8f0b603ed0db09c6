from datetime import timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from builders import AT, a_delivery, a_webhook
from headwater.catalog import deliveries, objects
from headwater.catalog.core.database import Database
from headwater.catalog.objects import WEBHOOKS
from headwater.domain.errors import NotFound
from headwater.domain.webhook import DeliveryAttempt, DeliveryState

LEASE = timedelta(seconds=30)


@pytest.fixture
async def webhook(db):
    return await db.write(objects.add, WEBHOOKS, a_webhook())


async def _add(db, *new):
    await db.write(deliveries.add, new)
    return new


async def _claimed(db, webhook, at=AT, limit=100):
    return [each.fid for each in await db.write(deliveries.claim, webhook.fid, at=at, lease=LEASE, limit=limit)]


async def test_two_processes_never_claim_one_delivery(url, db, webhook):
    other = Database(url)
    await _add(db, *(a_delivery(webhook) for _ in range(20)))
    found = [fid for each in (db, other, db) for fid in await _claimed(each, webhook, limit=8)]
    assert len(found) == len(set(found)) == 20
    other.close()


async def test_the_claim_of_a_dead_process_comes_back(db, webhook):
    (delivery,) = await _add(db, a_delivery(webhook))
    assert await _claimed(db, webhook) == [delivery.fid]
    assert await _claimed(db, webhook, AT + LEASE - timedelta(seconds=1)) == []
    (again,) = await db.write(deliveries.claim, webhook.fid, at=AT + LEASE, lease=LEASE, limit=9)
    assert (again.fid, again.tries) == (delivery.fid, 1)


async def test_of_a_lane_the_later_waits_until_the_earlier_is_settled(db, webhook):
    first, second, other = await _add(
        db,
        a_delivery(webhook, event=1, lane="t" * 32),
        a_delivery(webhook, event=2, lane="t" * 32),
        a_delivery(webhook, event=3, lane="u" * 32),
    )
    assert set(await _claimed(db, webhook)) == {first.fid, other.fid}
    await db.write(deliveries.put_off, first, until=AT + timedelta(seconds=5))
    assert await _claimed(db, webhook, AT + timedelta(seconds=4)) == []
    assert await db.read(deliveries.due, at=AT + timedelta(seconds=4)) == []
    later = AT + timedelta(seconds=5)
    (again,) = await db.write(deliveries.claim, webhook.fid, at=later, lease=LEASE, limit=9)
    assert (again.fid, again.failures) == (first.fid, 1)
    await db.write(deliveries.succeed, again, at=later)
    assert await _claimed(db, webhook, later) == [second.fid]


async def test_a_lane_of_one_webhook_is_none_of_another(db, webhook):
    other = await db.write(objects.add, WEBHOOKS, a_webhook())
    await _add(db, a_delivery(webhook, event=1, lane="t" * 32))
    (second,) = await _add(db, a_delivery(other, event=2, lane="t" * 32))
    assert await _claimed(db, other) == [second.fid]


async def test_an_event_is_sent_to_a_webhook_once_and_tests_have_none(db, webhook):
    await _add(db, a_delivery(webhook, event=1), a_delivery(webhook), a_delivery(webhook))
    with pytest.raises(IntegrityError):
        await _add(db, a_delivery(webhook, event=1))


async def test_a_claim_that_another_has_followed_does_not_give_up_but_may_succeed(db, webhook):
    (delivery,) = await _add(db, a_delivery(webhook))
    await _claimed(db, webhook)
    await _claimed(db, webhook, AT + LEASE)
    await db.write(deliveries.fail, delivery, at=AT)
    await db.write(deliveries.put_off, delivery, until=AT)
    present = await db.read(deliveries.get, delivery.fid)
    assert (present.state, present.failures, present.tries) == (DeliveryState.PENDING, 0, 2)
    await db.write(deliveries.succeed, delivery, at=AT)
    assert (await db.read(deliveries.get, delivery.fid)).state is DeliveryState.DELIVERED


async def test_a_disabled_webhook_is_not_due(db, webhook):
    disabled = await db.write(objects.add, WEBHOOKS, a_webhook(enabled=False))
    await _add(db, a_delivery(webhook), a_delivery(webhook), a_delivery(disabled))
    assert await db.read(deliveries.due, at=AT) == [webhook.fid]
    assert await db.read(deliveries.due, at=AT - timedelta(seconds=1)) == []


async def test_what_was_settled_long_ago_is_forgotten_and_what_waits_is_not(db, webhook):
    disabled = await db.write(objects.add, WEBHOOKS, a_webhook(enabled=False))
    later = AT + timedelta(days=1)
    old, new, waiting, hopeless = await _add(
        db,
        a_delivery(webhook, state=DeliveryState.DELIVERED, settled_at=AT),
        a_delivery(webhook, state=DeliveryState.FAILED, settled_at=later),
        a_delivery(webhook),
        a_delivery(disabled),
    )
    await db.write(deliveries.note, DeliveryAttempt(delivery=old.fid, number=1, at=AT, duration_ms=1))
    assert await db.write(deliveries.forget, before=later, limit=10) == 2
    for gone in (old, hopeless):
        with pytest.raises(NotFound):
            await db.read(deliveries.get, gone.fid)
    for kept in (new, waiting):
        assert (await db.read(deliveries.get, kept.fid)).fid == kept.fid


async def test_deliveries_go_with_their_webhook(db, webhook):
    (delivery,) = await _add(db, a_delivery(webhook))
    await db.write(deliveries.note, DeliveryAttempt(delivery=delivery.fid, number=1, at=AT, duration_ms=1))
    await db.write(objects.remove, WEBHOOKS, webhook, at=AT)
    with pytest.raises(NotFound):
        await db.read(deliveries.get, delivery.fid)
    assert await db.read(deliveries.attempts_of, [delivery.fid]) == {delivery.fid: []}
