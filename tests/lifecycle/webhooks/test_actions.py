"""Webhooks told of what happens, turn by turn, by a clock that the test moves."""

import asyncio
import json
from datetime import timedelta

import httpx
import pytest

from builders import a_stream, a_webhook, read_events
from headwater.catalog import deliveries, event_order, events, objects, webhooks
from headwater.catalog.core.database import Database
from headwater.catalog.objects import STREAMS, WEBHOOKS
from headwater.domain.errors import NotFound, WebhookDisabled
from headwater.domain.webhook import FAILING_FOR, PAUSES, TEST, DeliveryState
from headwater.lifecycle.webhooks import actions
from headwater.lifecycle.webhooks.actions import BOTH_VALID, WebhookConfig
from headwater.lifecycle.webhooks.client import WebhookClient
from headwater.lifecycle.webhooks.dispatcher import KEPT, MOST_TO_ONE, WebhookDispatcher

OK = httpx.Response(204)
DOWN = httpx.Response(500, content=b"out of order")


class Post:
    """A dispatcher whose turns the test takes, and the webhooks that it serves."""

    def __init__(self, world, db, transport) -> None:
        self.world, self.db = world, db
        self.webhook_client = WebhookClient(transport=transport)
        self.webhook_dispatcher = WebhookDispatcher(
            db, self.webhook_client, vault=world.vault, clock=world.clock, rng=lambda: 0.0
        )

    async def turn(self, **wait: float) -> None:
        self.world.wait(**wait)
        await self.webhook_dispatcher.turn(at=self.world.at)
        await self.webhook_dispatcher.idle()

    async def settle(self) -> None:
        """Take turns until nothing is due."""
        while await read_events(self.db, _has_work, self.world.at):
            await self.turn()

    async def webhook(self, **fields):
        since = await read_events(self.db, events.last)
        return await self.db.write(
            objects.add, WEBHOOKS, a_webhook(vault=self.world.vault, **{"since": since} | fields)
        )

    async def now(self, webhook):
        return await self.db.read(objects.get, WEBHOOKS, webhook.fid)

    async def of(self, webhook):
        """The deliveries to a webhook, oldest first."""
        return (await self.db.read(deliveries.page, webhook.fid, state=None, before=None, limit=1000))[::-1]

    async def attempts(self, delivery):
        return (await self.db.read(deliveries.attempts_of, [delivery.fid]))[delivery.fid]


def _has_work(tx, at):
    return bool(webhooks.to_fan_out(tx, webhooks.enabled(tx), limit=1)) or bool(deliveries.due(tx, at=at))


@pytest.fixture
async def post(world, ecs):
    made = Post(world, world.db, ecs.transport())
    yield made
    await made.webhook_client.close()


async def _stream(world, **fields):
    return await world.db.write(objects.add, STREAMS, a_stream(world.at, **fields))


def _types(ecs):
    return [body["type"] for body in ecs.bodies()]


async def test_every_event_is_sent_once_with_its_three_headers(world, post, ecs):
    ecs.answer(OK)
    webhook = await post.webhook()
    streams = [await _stream(world) for _ in range(3)]
    await post.settle()
    await post.settle()
    told = [body["data"]["stream"] for body in ecs.bodies() if body["type"] == "stream.created"]
    assert sorted(told) == sorted(stream.fid for stream in streams)
    stored = {delivery.fid: delivery for delivery in await post.of(webhook)}
    assert sorted(request.headers["webhook-id"] for request in ecs.asked) == sorted(stored)
    for request in ecs.asked:
        assert request.content.decode() == stored[request.headers["webhook-id"]].body
        assert request.headers["webhook-timestamp"] == str(int(world.at.timestamp()))
        assert request.headers["webhook-signature"].startswith("v1,")
        assert request.headers["content-type"] == "application/json"
        assert request.headers["user-agent"].startswith("Headwater/")
    assert {delivery.state for delivery in stored.values()} == {DeliveryState.DELIVERED}


async def test_what_happened_before_a_webhook_was_set_up_is_not_sent(world, post, ecs):
    ecs.answer(OK)
    await _stream(world)
    first = await post.webhook(types=("stream.*",))
    await _stream(world)
    second = await post.webhook(types=("stream.*",))  # before anybody was told of anything
    await _stream(world)
    await post.settle()
    assert [len(await post.of(webhook)) for webhook in (first, second)] == [2, 1]


async def test_the_events_of_a_task_come_in_order_though_one_of_them_fails(world, post, ecs):
    crawlers = [await world.crawler(), await world.crawler()]
    await post.webhook(types=("task.*",))
    waits, goes = [await world.task(crawler) for crawler in crawlers]
    refused = {waits.fid}

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(503 if json.loads(request.content)["data"]["task"] in refused else 200)

    ecs.answer(answer)
    await post.settle()
    for task in (waits, goes):
        await world.report(task, 102)
        await world.report(task, 200)
    await post.settle()
    sent = [(body["data"]["task"], body["type"]) for body in ecs.bodies()]
    words = ["task.created", "task.running", "task.done"]
    assert [kind for task, kind in sent if task == goes.fid] == words
    assert {kind for task, kind in sent if task == waits.fid} == {"task.created"}
    refused.clear()
    ecs.asked.clear()
    world.wait(seconds=PAUSES[1])
    await post.settle()
    assert [(body["data"]["task"], body["type"]) for body in ecs.bodies()] == [(waits.fid, word) for word in words]


async def test_what_follows_an_event_that_is_given_up_is_sent_then(world, post, ecs):
    task = await world.task()
    await post.webhook(types=("task.*",))
    await world.report(task, 102)
    await world.report(task, 200)
    ecs.answer(lambda request: DOWN if b"task.running" in request.content else OK)
    await post.settle()
    for pause in PAUSES:
        assert "task.done" not in _types(ecs)
        world.wait(seconds=pause)
        await post.settle()
    assert _types(ecs) == ["task.running"] * 10 + ["task.done"]


async def test_tries_are_made_as_the_table_says_and_every_answer_is_kept(world, post, ecs):
    ecs.answer(DOWN)
    webhook = await post.webhook(types=("stream.created",))
    await _stream(world)
    began = world.at
    await post.settle()
    for pause in PAUSES:
        tries = len(ecs.asked)
        await post.turn(seconds=pause - 1)
        assert len(ecs.asked) == tries
        await post.turn(seconds=1)
        assert len(ecs.asked) == tries + 1
    await post.turn(days=2)
    (delivery,) = await post.of(webhook)
    attempts = await post.attempts(delivery)
    assert (delivery.state, delivery.settled_at) == (DeliveryState.FAILED, began + timedelta(seconds=sum(PAUSES)))
    assert [attempt.number for attempt in attempts] == list(range(1, 11))
    assert {(attempt.status, attempt.answer) for attempt in attempts} == {(500, "out of order")}
    assert attempts[0].error == "the answer was 500 Internal Server Error"
    assert {request.headers["webhook-id"] for request in ecs.asked} == {delivery.fid}
    # The signature is of the moment of the try.
    assert len({request.headers["webhook-timestamp"] for request in ecs.asked}) == 10
    assert len({request.content for request in ecs.asked}) == 1


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (httpx.Response(301, headers={"Location": "https://receiver.test/other"}), "redirects are not followed"),
        (httpx.Response(404), "the answer was 404 Not Found"),
        (httpx.ConnectError("refused"), "it cannot be reached: refused"),
        (httpx.ReadTimeout("slow"), "no answer came within 20 seconds"),
    ],
)
async def test_what_is_not_2xx_is_tried_again(world, post, ecs, answer, says):
    ecs.answer(answer, OK)
    webhook = await post.webhook(types=("stream.*",))
    await _stream(world)
    await post.settle()
    (waiting,) = await post.of(webhook)
    assert waiting.state is DeliveryState.PENDING
    await post.turn(seconds=PAUSES[0])
    (delivery,) = await post.of(webhook)
    failure, success = await post.attempts(delivery)
    assert says in failure.error
    assert (delivery.state, success.status, success.error) == (DeliveryState.DELIVERED, 204, None)
    assert [request.url.path for request in ecs.asked] == ["/hook", "/hook"]


@pytest.mark.parametrize("asked", ["600", "Sun, 01 Mar 2026 12:10:00 GMT"])
@pytest.mark.parametrize("status", [429, 503])
async def test_a_receiver_may_say_how_much_patience_it_needs(world, post, ecs, status, asked):
    ecs.answer(httpx.Response(status, headers={"Retry-After": asked}), OK)
    await post.webhook(types=("stream.*",))
    await _stream(world)
    await post.settle()
    await post.turn(seconds=599)
    assert len(ecs.asked) == 1
    await post.turn(seconds=1)
    assert len(ecs.asked) == 2


@pytest.mark.parametrize("asked", ["soon", "-1", "Sun, 01 Mar 2026 12:00:00", ""])
async def test_patience_that_cannot_be_understood_is_none(world, post, ecs, asked):
    ecs.answer(httpx.Response(503, headers={"Retry-After": asked}), OK)
    await post.webhook(types=("stream.*",))
    await _stream(world)
    await post.settle()
    await post.turn(seconds=PAUSES[0])
    assert len(ecs.asked) == 2


async def test_gone_disables_and_what_waits_goes_on_once_it_is_enabled_again(world, post, ecs):
    task = await world.task()
    webhook = await post.webhook()
    await world.report(task, 102)
    await world.report(task, 200)
    ecs.answer(httpx.Response(410))
    await post.settle()
    disabled = await post.now(webhook)
    assert (disabled.enabled, disabled.disabled_at) == (False, world.at)
    assert disabled.disabled_reason == "its receiver answered 410 (Gone)"
    assert disabled.version == webhook.version + 1
    gone, waiting = await post.of(webhook)
    assert (gone.state, waiting.state) == (DeliveryState.FAILED, DeliveryState.PENDING)
    await _stream(world)  # while it is disabled
    ecs.asked.clear()
    ecs.answer(OK)
    await post.turn(days=1)
    assert ecs.asked == []
    await _change(world, webhook, enabled=True)
    stream = await _stream(world)
    await post.settle()
    enabled = await post.now(webhook)
    assert (enabled.disabled_at, enabled.disabled_reason) == (None, None)
    # What is about something else does not wait for it.
    assert waiting.fid in {request.headers["webhook-id"] for request in ecs.asked}
    told = [body["data"]["stream"] for body in ecs.bodies() if body["type"] == "stream.created"]
    assert told == [stream.fid]


async def _change(world, webhook, **fields):
    present = await world.db.read(objects.get, WEBHOOKS, webhook.fid)
    names = ("url", "types", "stream", "crawler", "enabled", "meta")
    setting = WebhookConfig(**({name: getattr(present, name) for name in names} | fields))
    return await world.db.write(actions.change, present, setting, at=world.at)


async def test_a_webhook_to_which_nothing_came_for_days_is_disabled_and_others_are_told(world, post, ecs):
    watching = await post.webhook(types=("webhook.*",))
    failing = await post.webhook(types=("stream.*",), url="https://down.test/hook")
    ecs.answer(lambda request: DOWN if request.url.host == "down.test" else OK)
    await post.settle()
    ecs.asked.clear()
    began = world.at
    for _ in range(2):
        await _stream(world)
        for pause in (0, *PAUSES):
            world.wait(seconds=pause)
            await post.settle()
            is_due = pause == PAUSES[-1] and world.at - began >= FAILING_FOR
            assert (await post.now(failing)).enabled is not is_due
    disabled = await post.now(failing)
    assert disabled.failing_since == began
    assert disabled.disabled_reason.startswith("nothing could be delivered since 2026-03-01 12:00 UTC; the last error:")
    assert {each.state for each in await post.of(failing)} == {DeliveryState.FAILED}
    (told,) = [body for body in ecs.bodies() if body["type"] == "webhook.updated"]
    assert told["data"]["webhook"] == failing.fid
    assert (await post.now(watching)).enabled


async def test_a_success_ends_the_days_of_failure(world, post, ecs):
    ecs.answer(DOWN, OK)
    webhook = await post.webhook(types=("stream.*",))
    await _stream(world)
    await post.settle()
    assert (await post.now(webhook)).failing_since == world.at
    await post.turn(seconds=PAUSES[0])
    now = await post.now(webhook)
    assert (now.failing_since, now.version) == (None, webhook.version)


async def test_two_processes_write_the_deliveries_of_an_event_once(world, post, ecs, url):
    other = Database(url)
    ecs.answer(OK)
    webhook = await post.webhook(types=("stream.*",))
    colleague = Post(world, other, ecs.transport())
    for _ in range(10):
        await asyncio.gather(*(_stream(world) for _ in range(5)), post.turn(), colleague.turn())
    await post.settle()
    await colleague.webhook_client.close()
    other.close()
    told = [delivery.event for delivery in await post.of(webhook)]
    assert len(told) == len(set(told)) == 50
    assert len(ecs.asked) == len({request.headers["webhook-id"] for request in ecs.asked}) == 50


async def test_many_events_are_told_over_several_transactions(world, post):
    webhook = await post.webhook(types=("stream.created",))
    for _ in range(7):
        await _stream(world)
    await event_order.catch_up(world.db)
    told = []
    for _ in range(4):
        world.wait(seconds=1)
        told.append(await world.db.write(actions.fan_out, at=world.at, limit=3))
    assert told == [3, 3, 2, 0]
    stored = [delivery.event for delivery in await post.of(webhook)]
    assert stored == sorted(set(stored))
    assert len(stored) == 7


async def test_one_that_hangs_holds_up_nobody_else(world):
    hanging = asyncio.Event()
    answered = []

    async def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "hangs.test":
            await hanging.wait()
        answered.append(request.url.host)
        return httpx.Response(200)

    post = Post(world, world.db, httpx.MockTransport(answer))
    await post.webhook(types=("stream.*",), url="https://hangs.test/hook")
    await post.webhook(types=("stream.*",))
    for _ in range(3 * MOST_TO_ONE):
        await _stream(world)
    async with asyncio.timeout(20):
        while answered.count("receiver.test") < 3 * MOST_TO_ONE:
            await post.webhook_dispatcher.turn(at=world.at)
            await asyncio.sleep(0.01)
    assert "hangs.test" not in answered
    hanging.set()
    await post.webhook_dispatcher.idle()
    assert answered.count("hangs.test") == MOST_TO_ONE
    await post.webhook_client.close()


async def test_a_secret_that_was_replaced_signs_for_another_day(world, post, ecs):
    ecs.answer(OK)
    webhook = await post.webhook(types=("stream.*",))
    old = world.vault.unseal(webhook.sealed_secret)
    rotated, new = await world.db.write(actions.rotate, webhook, vault=world.vault, at=world.at)
    assert new != old
    assert actions.secrets_of(rotated, vault=world.vault, at=world.at) == [new, old]
    assert actions.secrets_of(rotated, vault=world.vault, at=world.at + BOTH_VALID) == [new]
    await _stream(world)
    await post.settle()
    assert len(ecs.asked[0].headers["webhook-signature"].split(" ")) == 2


async def test_a_test_is_sent_at_once_and_only_once(post, ecs):
    ecs.answer(DOWN)
    webhook = await post.webhook(enabled=False)
    failed = await post.webhook_dispatcher.test(webhook.fid)
    await post.turn(days=1)
    assert (failed.type, failed.event, failed.state) == (TEST, None, DeliveryState.FAILED)
    assert json.loads(ecs.asked[0].content)["data"] == {"webhook": webhook.fid}
    assert len(ecs.asked) == 1
    assert (await post.now(webhook)).failing_since is None
    ecs.answer(OK)
    assert (await post.webhook_dispatcher.test(webhook.fid)).state is DeliveryState.DELIVERED
    with pytest.raises(NotFound):
        await post.webhook_dispatcher.test("0" * 32)


async def test_a_replay_has_the_same_id_all_tries_and_a_lane_of_its_own(world, post, ecs):
    task = await world.task()
    webhook = await post.webhook(types=("task.*",))
    await world.report(task, 102)
    ecs.answer(OK)
    await post.settle()
    (delivered,) = await post.of(webhook)
    ecs.answer(DOWN)
    world.wait(hours=1)
    replayed = await world.db.write(actions.replay, delivered.fid, at=world.at)
    assert (replayed.state, replayed.due_at, replayed.settled_at) == (DeliveryState.PENDING, world.at, None)
    await post.settle()
    ecs.answer(OK)
    await world.report(task, 200)  # it need not wait for what is replayed
    await post.settle()
    assert _types(ecs) == ["task.running", "task.running", "task.done"]
    await post.turn(seconds=PAUSES[0])
    again = (await post.of(webhook))[0]
    assert (again.fid, again.state, again.tries) == (delivered.fid, DeliveryState.DELIVERED, 3)
    assert [attempt.status for attempt in await post.attempts(again)] == [204, 500, 204]


async def test_nothing_is_replayed_to_a_webhook_that_is_disabled(world, post, ecs):
    ecs.answer(OK)
    webhook = await post.webhook(types=("stream.*",))
    await _stream(world)
    await post.settle()
    (delivery,) = await post.of(webhook)
    await _change(world, webhook, enabled=False)
    with pytest.raises(WebhookDisabled, match="by hand"):
        await world.db.write(actions.replay, delivery.fid, at=world.at)
    with pytest.raises(NotFound):
        await world.db.write(actions.replay, "0" * 32, at=world.at)


async def test_what_cannot_be_signed_has_its_tries_like_any_other(world, post, ecs):
    ecs.answer(OK)
    webhook = await post.webhook(types=("stream.*",), sealed_secret="sealed with another key")
    await _stream(world)
    await post.settle()
    (delivery,) = await post.of(webhook)
    (attempt,) = await post.attempts(delivery)
    assert (delivery.state, delivery.due_at) == (DeliveryState.PENDING, world.at + timedelta(seconds=PAUSES[0]))
    assert attempt.error == "Headwater failed to send it; its log says why"
    assert ecs.asked == []


async def test_a_webhook_that_is_deleted_while_it_is_called_leaves_nothing(world, post, ecs):
    webhook = await post.webhook(types=("stream.*",))
    await _stream(world)

    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200)

    ecs.answer(answer)
    await post.webhook_dispatcher.turn(at=world.at)  # its delivery is under way
    await world.db.write(objects.remove, WEBHOOKS, webhook, at=world.at)
    await post.webhook_dispatcher.idle()
    assert await post.of(webhook) == []


async def test_what_was_settled_long_ago_is_forgotten(world, post, ecs):
    ecs.answer(OK)
    webhook = await post.webhook(types=("stream.*",))
    await _stream(world)
    await post.settle()
    await post.turn(seconds=KEPT.total_seconds())
    assert len(await post.of(webhook)) == 1
    await post.turn(hours=1)
    assert await post.of(webhook) == []


async def test_an_address_that_is_not_public_is_refused_when_it_is_connected_to(world):
    post = Post(world, world.db, None)
    webhooks_ = [
        await post.webhook(types=("stream.*",), url=url)
        for url in ("https://localhost:1/hook", "https://[::1]:1/", "https://10.0.0.1/", "http://receiver.test/")
    ]
    await _stream(world)
    await post.settle()
    errors = []
    for webhook in webhooks_:
        (delivery,) = await post.of(webhook)
        (attempt,) = await post.attempts(delivery)
        assert attempt.status is None
        errors.append(attempt.error)
    await post.webhook_client.close()
    assert all("which is not called" in error for error in errors[:3])
    assert errors[3] == "only https is sent to, unless webhook_private_addresses is set"
