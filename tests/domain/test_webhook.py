import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from builders import AT, a_delivery, a_webhook
from headwater.domain.event import Event
from headwater.domain.webhook import (
    JITTER,
    MOST_PATIENCE,
    PAUSES,
    body_of,
    headers_of,
    lane_of,
    new_secret,
    pause_after,
)


def an_event(kind="task.done", **fields):
    return Event(**({"id": 7, "at": AT, "type": kind} | fields))


def _never_later():
    return 0.0


@pytest.mark.parametrize("length", [24, 32, 64])
def test_the_library_of_the_specification_finds_what_is_sent_signed(length):
    secret = new_secret(b"\x07" * length)
    delivery = a_delivery(a_webhook(), body=body_of(an_event(data={"name": "Äpfel 🍏"})))
    headers = headers_of(delivery, [secret], at=datetime.now(UTC))
    assert Verifier(secret).verify(delivery.body.encode(), headers) == json.loads(delivery.body)
    with pytest.raises(WebhookVerificationError):
        Verifier(new_secret(b"\x08" * 32)).verify(delivery.body, headers)
    with pytest.raises(WebhookVerificationError):
        Verifier(secret).verify(delivery.body + " ", headers)


def test_a_receiver_with_either_of_two_secrets_finds_it_signed():
    old, new = new_secret(b"o" * 32), new_secret(b"n" * 32)
    delivery = a_delivery(a_webhook())
    headers = headers_of(delivery, [new, old], at=datetime.now(UTC))
    for secret in (old, new):
        assert Verifier(secret).verify(delivery.body, headers) == {}
    assert len(headers["webhook-signature"].split(" ")) == 2


def test_a_secret_is_told_by_its_beginning_and_is_base64_of_its_bytes():
    secret = new_secret(bytes(range(32)))
    assert secret.startswith("whsec_")
    assert base64.b64decode(secret.removeprefix("whsec_"), validate=True) == bytes(range(32))


def test_a_message_has_the_three_members_and_says_what_the_event_is_about():
    event = an_event(task="t" * 32, stream="5" * 32, data={"code": 200})
    assert json.loads(body_of(event)) == {
        "type": "task.done",
        "timestamp": "2026-03-01T12:00:00.000000Z",
        "data": {
            "event": 7,
            "stream": "5" * 32,
            "crawler": None,
            "external": None,
            "task": "t" * 32,
            "code": 200,
        },
    }


@pytest.mark.parametrize(
    ("types", "kind", "wanted"),
    [
        ((), "stream.changed", True),
        (("task.done",), "task.done", True),
        (("task.done",), "task.donee", False),
        (("task.done", "task.failed"), "task.failed", True),
        (("task.*",), "task.timed_out", True),
        (("task.*",), "tasks.done", False),
        (("stream.*",), "task.done", False),
    ],
)
def test_types_are_named_one_by_one_or_by_their_object(types, kind, wanted):
    assert a_webhook(types=types).wants(an_event(kind)) is wanted


def test_only_what_its_stream_or_crawler_is_about_is_wanted():
    webhook = a_webhook(stream="5" * 32)
    assert webhook.wants(an_event(stream="5" * 32))
    assert not webhook.wants(an_event(stream="6" * 32))
    assert not webhook.wants(an_event())
    assert not a_webhook(crawler="c" * 32).wants(an_event(crawler="d" * 32))


def test_what_happened_before_and_what_happens_to_itself_is_not_wanted():
    webhook = a_webhook(since=7)
    assert not webhook.wants(an_event())
    assert webhook.wants(an_event(id=8))
    assert not webhook.wants(an_event("webhook.updated", id=8, data={"webhook": webhook.fid}))
    assert webhook.wants(an_event("webhook.updated", id=8, data={"webhook": "f" * 32}))


def test_an_event_is_told_in_order_with_those_of_its_task_else_of_its_stream_else_of_its_external():
    about = {"external": "e" * 32, "stream": "5" * 32, "task": "t" * 32}
    lanes = []
    for name in ("task", "stream", "external"):
        lanes.append(lane_of(an_event(**about)))
        del about[name]
    assert [*lanes, lane_of(an_event())] == ["t" * 32, "5" * 32, "e" * 32, ""]


def test_the_pauses_are_those_of_the_specification_and_come_to_three_days():
    given = [pause_after(n, PAUSES, asked=0, rng=_never_later) for n in range(1, 11)]
    hours = [timedelta(hours=n) for n in (2, 5, 10, 14, 20, 24)]
    assert given == [timedelta(seconds=5), timedelta(minutes=5), timedelta(minutes=30), *hours, None]


def test_a_pause_is_never_shorter_and_up_to_a_tenth_longer():
    longest = pause_after(1, PAUSES, asked=0, rng=lambda: 1.0)
    assert longest == timedelta(seconds=PAUSES[0] * (1 + JITTER))


@pytest.mark.parametrize(("asked", "seconds"), [(-5.0, 300), (60.0, 300), (900.0, 900), (1e9, MOST_PATIENCE)])
def test_a_receiver_may_ask_for_patience_within_bounds(asked, seconds):
    assert pause_after(2, PAUSES, asked=asked, rng=_never_later) == timedelta(seconds=seconds)
