from datetime import timedelta

import pytest

from builders import AT, a_stream, a_webhook, read_events
from headwater.catalog import events, objects, webhooks
from headwater.catalog.objects import STREAMS, WEBHOOKS
from headwater.domain.errors import MovedMeanwhile

LATER = AT + timedelta(hours=1)


async def _told(db, *told):
    return [event.id for event in await read_events(db, webhooks.to_fan_out, told, limit=100)]


async def test_only_webhooks_that_are_enabled_are_told(db):
    on, _off = [await db.write(objects.add, WEBHOOKS, a_webhook(enabled=enabled)) for enabled in (True, False)]
    assert await db.read(webhooks.enabled) == [on]
    assert await db.write(webhooks.enabled, lock=True) == [on]


async def test_what_is_untold_lies_behind_the_place_and_behind_what_every_webhook_begins_with(db):
    for _ in range(4):
        await db.write(objects.add, STREAMS, a_stream())
    assert await _told(db) == []
    assert await _told(db, a_webhook(since=1), a_webhook(since=3)) == [2, 3, 4]
    await db.write(webhooks.move_place, 0, 2)
    assert await _told(db, a_webhook(since=1), a_webhook(since=3)) == [3, 4]
    assert await _told(db, a_webhook(since=3)) == [4]
    assert await read_events(db, events.last) == 4


async def test_who_moves_the_place_second_is_told_so(db):
    assert await db.write(webhooks.take_place) == 0
    await db.write(webhooks.move_place, 0, 7)
    with pytest.raises(MovedMeanwhile):
        await db.write(webhooks.move_place, 0, 7)
    assert await db.write(webhooks.take_place) == 7


async def test_since_when_a_webhook_fails_is_noted_once_and_until_it_thrives(db):
    webhook = await db.write(objects.add, WEBHOOKS, a_webhook())
    for at in (AT, LATER):
        await db.write(webhooks.fails, webhook, since=at)
    failing = await db.read(objects.get, WEBHOOKS, webhook.fid)
    assert (failing.failing_since, failing.version) == (AT, 1)
    await db.write(webhooks.thrives, webhook)
    assert await db.read(objects.get, WEBHOOKS, webhook.fid) == webhook
