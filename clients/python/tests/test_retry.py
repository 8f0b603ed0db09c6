"""When to try again, and after how long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from headwater_client.retry import RetryPolicy, asked_pause, asks_for_another_try


def _pauses(rng: float) -> list[float | None]:
    retry_for = RetryPolicy(seconds=100)
    return [retry_for.pause(tries, waited=0, asked=None, rng=rng) for tries in range(1, 10)]


def test_pauses_grow_to_half_a_minute():
    assert _pauses(0) == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_the_dice_shorten_a_pause_by_up_to_half():
    assert _pauses(1) == [0.25, 0.5, 1, 2, 4, 8, 15, 15, 15]


def test_a_server_that_asks_for_more_gets_it():
    assert RetryPolicy().pause(1, waited=0, asked=45, rng=0.5) == 45


def test_patience_ends():
    assert RetryPolicy(seconds=10).pause(3, waited=10, asked=None, rng=0) is None


def test_very_many_tries_are_no_overflow():
    assert RetryPolicy().pause(100_000, waited=0, asked=None, rng=0) == 30


def _answer(status: int, *, kind: str = "internal", **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"type": f"https://headwater.dev/problems/{kind}"}, headers=headers)


@pytest.mark.parametrize(
    ("outcome", "harmless", "other"),
    [
        (_answer(429), True, True),
        (_answer(503), True, True),
        (_answer(500), True, False),
        (_answer(502), True, False),
        (_answer(409, kind="upload-in-flight"), True, True),
        (_answer(409, kind="task-closed"), False, False),
        (_answer(400), False, False),
        (_answer(404), False, False),
        (httpx.Response(409, text="a proxy's own words"), False, False),
        (httpx.Response(409, json=["a list"]), False, False),
        (httpx.ConnectError("refused"), True, True),
        (httpx.ConnectTimeout("slow"), True, True),
        (httpx.ReadError("reset"), True, False),
        (httpx.ReadTimeout("slow"), True, False),
        (httpx.RemoteProtocolError("cut"), True, False),
    ],
)
def test_what_is_tried_again(outcome, harmless, other):
    assert asks_for_another_try(outcome, is_harmless=True) is harmless
    assert asks_for_another_try(outcome, is_harmless=False) is other


def test_retry_after_is_understood_as_seconds_and_as_a_moment():
    later = datetime.now(UTC) + timedelta(seconds=60)
    assert asked_pause(_answer(503, **{"Retry-After": "7"})) == 7
    assert asked_pause(_answer(503, **{"Retry-After": format_datetime(later, usegmt=True)})) == pytest.approx(60, abs=2)


@pytest.mark.parametrize("said", ["", "soon", "-1", "Thu, 99 Foo"])
def test_a_retry_after_that_says_nothing_is_none(said):
    assert asked_pause(_answer(503, **{"Retry-After": said})) is None


def test_a_moment_that_has_passed_asks_for_no_pause():
    assert asked_pause(_answer(503, **{"Retry-After": "Thu, 01 Jan 2026 00:00:00 -0000"})) == 0
