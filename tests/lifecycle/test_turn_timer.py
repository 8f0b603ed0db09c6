import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from headwater.lifecycle import turn_timer
from headwater.lifecycle.turn_timer import TurnTimer

NOW = datetime(2031, 1, 1, tzinfo=UTC)


class _Due:
    """The next deadline, and how often it was asked for."""

    def __init__(self, moment: datetime | None) -> None:
        self.moment = moment
        self.asked = 0

    async def __call__(self) -> datetime | None:
        self.asked += 1
        return self.moment


@pytest.fixture
def long_rests(monkeypatch):
    monkeypatch.setattr(turn_timer, "LONGEST_REST", 3600.0)


@pytest.fixture
def short_rests(monkeypatch):
    monkeypatch.setattr(turn_timer, "REST", 0.02)


async def _ends(timer: TurnTimer, due: _Due) -> bool:
    try:
        async with asyncio.timeout(0.5):
            await timer.wait(due, clock=lambda: NOW)
    except TimeoutError:
        return False
    return True


@pytest.mark.usefixtures("long_rests")
async def test_an_urgent_topic_ends_the_rest_at_once(db, monkeypatch):
    monkeypatch.setattr(turn_timer, "REST", 3600.0)
    timer, due = TurnTimer(), _Due(None)
    timer.wake_on(db, urgent=("one", "other"))
    for topic in ("one", "other"):
        timer.begin_turn()
        await db.write(lambda tx, topic=topic: tx.publish(topic))
        async with asyncio.timeout(10):
            await timer.wait(due, clock=lambda: NOW)
    assert due.asked == 0


@pytest.mark.usefixtures("long_rests", "short_rests")
async def test_a_change_ends_the_wait_after_the_rest(db):
    timer, due = TurnTimer(), _Due(None)
    timer.wake_on(db, changes=("events",))
    timer.begin_turn()
    assert not await _ends(timer, due)
    waiting = asyncio.create_task(timer.wait(due, clock=lambda: NOW))
    await asyncio.sleep(0.1)
    await db.write(lambda tx: tx.publish("events"))
    async with asyncio.timeout(10):
        await waiting


@pytest.mark.usefixtures("long_rests", "short_rests")
@pytest.mark.parametrize(
    ("seconds", "ends"),
    [
        pytest.param(-60, True, id="it is past"),
        pytest.param(0.1, True, id="it is soon"),
        pytest.param(60, False, id="it is later"),
    ],
)
async def test_the_next_deadline_ends_the_wait(seconds, ends):
    timer = TurnTimer()
    timer.begin_turn()
    assert await _ends(timer, _Due(NOW + timedelta(seconds=seconds))) is ends


@pytest.mark.usefixtures("short_rests")
async def test_without_a_deadline_a_loop_still_looks_now_and_then(monkeypatch):
    monkeypatch.setattr(turn_timer, "LONGEST_REST", 0.1)
    timer = TurnTimer()
    timer.begin_turn()
    assert await _ends(timer, _Due(None))


@pytest.mark.usefixtures("long_rests", "short_rests")
async def test_a_catalog_that_does_not_answer_begins_the_next_turn():
    async def fails():
        raise ConnectionError("away")

    timer = TurnTimer()
    timer.begin_turn()
    async with asyncio.timeout(10):
        await timer.wait(fails, clock=lambda: NOW)


@pytest.mark.usefixtures("long_rests", "short_rests")
async def test_what_was_published_before_a_turn_does_not_end_the_wait_after_it():
    timer = TurnTimer()
    timer.wake()
    timer.begin_turn()
    assert not await _ends(timer, _Due(None))


@pytest.mark.usefixtures("short_rests")
async def test_a_loop_that_is_cancelled_at_any_moment_ends(monkeypatch):
    monkeypatch.setattr(turn_timer, "LONGEST_REST", 0.0001)
    monkeypatch.setattr(turn_timer, "REST", 0.0)
    timer = TurnTimer()

    async def loop():
        while True:
            timer.begin_turn()
            await timer.wait(_Due(None), clock=lambda: NOW)

    for steps in range(30):
        task = asyncio.create_task(loop())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        async with asyncio.timeout(5):
            await asyncio.wait([task])
        assert task.cancelled()
