import asyncio

from builders import eventually
from headwater.domain.loop_health import MOST_FAILED_TURNS, turn_failed, turn_succeeded
from headwater.loops import Loops, repeat


async def _until(question):
    async def asked():
        return bool(question())

    await eventually(asked)


async def test_a_loop_that_ends_is_reported_and_started_anew():
    loops, begun = Loops(restart_after=0.01), []

    async def run():
        begun.append(None)
        if len(begun) == 1:
            raise OSError("the disk is full")
        if len(begun) == 2:
            return
        if len(begun) == 3:
            raise asyncio.CancelledError  # of something that it awaited
        await asyncio.Event().wait()

    loops.start("sweep", run)
    await _until(lambda: len(begun) == 4)
    assert list(loops.failing()) == ["sweep"]
    await loops.cancel()


async def test_a_loop_that_was_started_anew_is_well_again_after_one_good_turn():
    loops, begun = Loops(restart_after=0.0), []

    async def run():
        begun.append(None)
        if len(begun) == 1:
            raise OSError
        turn_succeeded()
        await asyncio.Event().wait()

    loops.start("sweep", run)
    await _until(lambda: len(begun) == 2)
    assert loops.failing() == {}
    await loops.cancel()


async def test_a_loop_whose_turns_fail_again_and_again_is_failing_and_others_are_not():
    loops, failed, is_away = Loops(), [], True

    async def work():
        if is_away:
            failed.append(None)
            raise OSError("away")

    async def other():
        turn_failed(OSError("once"))
        await asyncio.Event().wait()

    loops.start("work", lambda: repeat(work, every=0.001, fault="work.failed"))
    loops.start("other", other)
    await _until(lambda: len(failed) >= MOST_FAILED_TURNS)
    await _until(loops.failing)
    assert {name: str(fault) for name, fault in loops.failing().items()} == {"work": "away"}
    is_away = False
    await _until(lambda: not loops.failing())
    await loops.cancel()
