from datetime import timedelta

import pytest

from builders import AT
from headwater.domain.clock_jump import CATCH_UP, TOLERANCE, ClockWatch, believed

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("jump", [DAY, -DAY, 365 * DAY, TOLERANCE + SECOND, -TOLERANCE - SECOND])
def test_a_jump_is_what_the_wall_clock_moved_beyond_the_time_that_passed(jump):
    steady = [100.0]
    watch = ClockWatch(steady=lambda: steady[0])
    assert watch.jump(AT) == timedelta(0)
    steady[0] += 5
    assert watch.jump(AT + 5 * SECOND + jump) == jump
    steady[0] += 5
    assert watch.jump(AT + 10 * SECOND + jump) == timedelta(0)


@pytest.mark.parametrize("passed", [1, 60, 86400])
@pytest.mark.parametrize("correction", [timedelta(0), TOLERANCE, -TOLERANCE])
def test_neither_time_that_passes_nor_a_small_correction_is_a_jump(passed, correction):
    steady = [0.0]
    watch = ClockWatch(steady=lambda: steady[0])
    watch.jump(AT)
    steady[0] += passed
    assert watch.jump(AT + timedelta(seconds=passed) + correction) == timedelta(0)


def test_a_clock_that_goes_like_time_is_believed_at_once():
    assert believed(AT, AT + DAY, passed=DAY) == AT + DAY
    assert believed(AT, AT + 70 * SECOND, passed=60 * SECOND) == AT + 70 * SECOND


@pytest.mark.parametrize("jump", [31 * DAY, -31 * DAY])
def test_a_jump_is_followed_slowly_in_both_directions(jump):
    hour = timedelta(hours=1)
    assert abs(believed(AT, AT + jump, passed=hour) - AT) == CATCH_UP * hour
    assert believed(AT, AT + jump, passed=timedelta(0)) == AT
    moment, wall, hours = AT, AT + jump, 0
    while moment != wall:
        wall += hour
        moment = believed(moment, wall, passed=hour)
        hours += 1
    assert 24 < hours < 31 * 24 / (CATCH_UP - 1) + 1
