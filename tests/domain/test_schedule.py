from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest

from headwater.domain.schedule import Schedule, check_cron, check_timezone, next_run

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"


def _lowest() -> float:
    return 0.0


def _runs(schedule: Schedule, after: datetime):
    """When the schedule runs after a moment, each run started as it comes."""
    last = None
    while (plan := next_run(schedule, after=after, last=last, rng=_lowest)) is not None:
        yield plan.run_at
        after, last = plan.run_at, plan.planned_at


def _walls(cron: str, zone: str, day: tuple[int, int, int], *, days: int) -> list[str]:
    """What the clock on the wall, and its offset, say at each run from the beginning of a day on."""
    begin = datetime(*day, tzinfo=ZoneInfo(zone))
    last_day = begin.date() + timedelta(days=days - 1)
    found = []
    for moment in _runs(Schedule(cron=cron, timezone=zone), begin - timedelta(seconds=1)):
        local = moment.astimezone(ZoneInfo(zone))
        if local.date() > last_day:
            break
        found.append(local.strftime("%d %H:%M %z"))
    return found


@pytest.mark.parametrize(
    ("zone", "day", "cron", "walls"),
    [
        # The clock goes from 2:00 to 3:00 on the second day.
        (BERLIN, (2026, 3, 28), "30 2 * * *", ["28 02:30 +0100", "29 03:00 +0200", "30 02:30 +0200"]),
        (NEW_YORK, (2026, 3, 7), "30 2 * * *", ["07 02:30 -0500", "08 03:00 -0400", "09 02:30 -0400"]),
        # It goes from 2:00 to 2:30 there.
        (LORD_HOWE, (2026, 10, 3), "15 2 * * *", ["03 02:15 +1030", "04 02:30 +1100", "05 02:15 +1100"]),
        # And back: from 3:00 to 2:00, from 2:00 to 1:00, and from 2:00 to 1:30.
        (BERLIN, (2026, 10, 24), "30 2 * * *", ["24 02:30 +0200", "25 02:30 +0200", "26 02:30 +0100"]),
        (NEW_YORK, (2026, 10, 31), "30 1 * * *", ["31 01:30 -0400", "01 01:30 -0400", "02 01:30 -0500"]),
        (LORD_HOWE, (2026, 4, 4), "45 1 * * *", ["04 01:45 +1100", "05 01:45 +1100", "06 01:45 +1030"]),
    ],
)
def test_a_daily_run_comes_once_on_the_day_on_which_the_clock_is_changed(zone, day, cron, walls):
    assert _walls(cron, zone, day, days=3) == walls


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK, LORD_HOWE])
@pytest.mark.parametrize("minute", range(0, 60, 15))
@pytest.mark.parametrize("hour", range(4))
def test_every_daily_run_of_a_year_comes_once_a_day(zone, hour, minute):
    schedule = Schedule(cron=f"{minute} {hour} * * *", timezone=zone)
    begin = datetime(2026, 1, 1, tzinfo=ZoneInfo(zone)) - timedelta(seconds=1)
    days = [moment.astimezone(ZoneInfo(zone)).date() for moment in islice(_runs(schedule, begin), 365)]
    assert days == [date(2026, 1, 1) + timedelta(days=n) for n in range(365)]


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK])
@pytest.mark.parametrize("month", [3, 10, 11])
def test_an_hourly_run_keeps_its_rhythm_when_the_clock_is_changed(zone, month):
    runs = list(
        islice(_runs(Schedule(cron="30 * * * *", timezone=zone), datetime(2026, month, 1, tzinfo=UTC)), 24 * 31)
    )
    assert {later - sooner for sooner, later in pairwise(runs)} == {timedelta(hours=1)}


@pytest.mark.parametrize(
    ("day", "walls"),
    [
        ((2026, 3, 29), ["29 00:00 +0100", "29 03:00 +0200", "29 04:00 +0200", "29 06:00 +0200"]),
        ((2026, 10, 25), ["25 00:00 +0200", "25 02:00 +0200", "25 04:00 +0100", "25 06:00 +0100"]),
    ],
)
def test_runs_at_named_hours_neither_double_nor_vanish(day, walls):
    assert _walls("0 */2 * * *", BERLIN, day, days=1)[:4] == walls


def test_several_runs_within_the_hour_that_is_left_out_are_one():
    assert _walls("*/20 2 * * *", BERLIN, (2026, 3, 29), days=1) == ["29 03:00 +0200"]
    assert _walls("*/20 2 * * *", BERLIN, (2026, 10, 25), days=1) == [
        "25 02:00 +0200",
        "25 02:20 +0200",
        "25 02:40 +0200",
    ]


@pytest.mark.parametrize("minutes", range(-30, 150, 10))
def test_a_run_that_is_made_up_for_in_the_hour_that_comes_twice_does_not_come_again(minutes):
    # An outage ended then, around 2:30, which comes twice; the next run lies ahead whenever that was.
    at = datetime(2026, 10, 25, 0, 30, tzinfo=UTC) + timedelta(minutes=minutes)
    plan = next_run(Schedule(cron="30 2 * * *", timezone=BERLIN), after=at, last=None, rng=_lowest)
    first, second = datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 26, 1, 30, tzinfo=UTC)
    assert plan.run_at == (first if at < first else second)


def test_a_clock_that_is_changed_at_midnight_skips_no_day():
    # In Beirut the day begins at 1:00 then.
    assert _walls("10 0 * * *", "Asia/Beirut", (2026, 3, 28), days=3) == [
        "28 00:10 +0200",
        "29 01:00 +0300",
        "30 00:10 +0300",
    ]


def test_steps_are_counted_from_when_the_schedule_had_the_last_run():
    schedule = Schedule(every=600)
    first = next_run(schedule, after=AT, last=None, rng=_lowest)
    assert first.planned_at == first.run_at == AT + timedelta(seconds=600)
    late = AT + timedelta(seconds=605)
    assert next_run(schedule, after=late, last=first.planned_at, rng=_lowest).run_at == AT + timedelta(seconds=1200)


@pytest.mark.parametrize("schedule", [Schedule(every=600), Schedule(cron="*/10 * * * *", timezone="UTC")])
def test_after_an_outage_the_next_run_lies_ahead(schedule):
    back = AT + timedelta(days=2, seconds=1)
    plan = next_run(schedule, after=back, last=AT, rng=_lowest)
    assert plan.run_at == AT + timedelta(days=2, seconds=600)


@pytest.mark.parametrize(("drawn", "later"), [(0.0, 0), (0.5, 150), (0.99, 297)])
def test_jitter_is_drawn_and_steps_do_not_drift_by_it(drawn, later):
    schedule = Schedule(every=600, jitter=300)
    plan = next_run(schedule, after=AT, last=None, rng=lambda: drawn)
    assert plan.planned_at == AT + timedelta(seconds=600)
    assert plan.run_at == plan.planned_at + timedelta(seconds=later)
    following = next_run(schedule, after=plan.run_at, last=plan.planned_at, rng=lambda: drawn)
    assert following.planned_at == AT + timedelta(seconds=1200)


def test_jitter_does_not_let_a_run_by_the_clock_come_twice():
    schedule = Schedule(cron="30 2 * * *", timezone=BERLIN, jitter=3600)
    moment, last, runs = AT, None, []
    for drawn in (0.9, 0.0, 0.5):
        plan = next_run(schedule, after=moment, last=last, rng=lambda drawn=drawn: drawn)
        moment, last = plan.run_at, plan.planned_at
        runs.append(plan.planned_at.day)
    assert runs == [2, 3, 4]


@pytest.mark.parametrize("schedule", [None, Schedule(every=60, paused=True)])
def test_nothing_comes_without_a_schedule_or_while_it_is_paused(schedule):
    assert next_run(schedule, after=AT, last=None, rng=_lowest) is None


@pytest.mark.parametrize("cron", ["30 2 * * *", "*/5 * * * MON-FRI", "0 0 1,15 JAN *", "0 12 L * *", "0 9 * * 1#1"])
def test_cron_expressions_are_understood(cron):
    check_cron(cron)


@pytest.mark.parametrize(
    ("cron", "why"),
    [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("0 30 2 * * *", "five fields"),
        ("61 * * * *", "bad minute"),
        ("* 25 * * *", "bad hour"),
        ("* * 0 * *", "bad day-of-month"),
        ("* * * BLA *", "bad month"),
        ("* * * * 8", "bad day-of-week"),
        ("0 0 30 2 *", "bad day-of-month"),
        ("* * */20 * 1L", "never comes true"),
        ("@daily", "five fields"),
    ],
)
def test_what_is_wrong_with_a_cron_expression_is_told(cron, why):
    with pytest.raises(ValueError, match=why):
        check_cron(cron)


@pytest.mark.parametrize(
    ("cron", "field", "only"),
    [
        ("*/70 * * * *", "minute", 0),
        ("*/60 * * * *", "minute", 0),
        ("0,*/90 * * * *", "minute", 0),
        ("10-20/15 * * * *", "minute", 10),
        ("30/40 * * * *", "minute", 30),
        ("0 */24 * * *", "hour", 0),
        ("0 9-17/9 * * *", "hour", 9),
        ("0 0 */31 * *", "day-of-month", 1),
        ("0 0 1 */12 *", "month", 1),
        ("0 0 * * */7", "day-of-week", 0),
        ("*/99999999999999999999 * * * *", "minute", 0),
    ],
)
def test_a_step_that_is_never_taken_is_refused_with_the_value_that_would_match(cron, field, only):
    with pytest.raises(ValueError, match=rf"bad {field}: .* so that only {only} would match"):
        check_cron(cron)


@pytest.mark.parametrize(
    "cron",
    [
        *("*/59 * * * *", "*/45 * * * *", "0-30/30 * * * *", "0 */23 * * *", "0 0 */30 * *", "0 0 1 */11 *"),
        *("0 0 * * */6", "0 0 * * MON-FRI/2", "0 0 29 2 *", "0 0 31 12 *", "0 0 31 1,2 *"),
    ],
)
def test_a_step_that_is_taken_is_understood(cron):
    check_cron(cron)


@pytest.mark.parametrize(
    ("cron", "why"),
    [
        ("*/0 * * * *", "bad minute"),
        ("30-10 * * * *", "bad minute"),
        ("0 22-4 * * *", "bad hour"),
        ("0 0 * * FRI-MON", "bad day-of-week"),
        ("0 0 31 2 *", "bad day-of-month"),
        ("0 0 31 4,6,9,11 *", "bad day-of-month"),
        ("*/-5 * * * *", "bad minute"),
        ("1.5 * * * *", "bad minute"),
        ("*/ * * * *", "bad minute"),
        ("60 * * * *", "bad minute"),
    ],
)
def test_what_no_moment_matches_is_refused(cron, why):
    with pytest.raises(ValueError, match=why):
        check_cron(cron)


@pytest.mark.parametrize(
    "name",
    [
        *("localtime", "Localtime", "Factory", "posixrules", "Etc/Unknown", "right/Europe/Berlin", "posix/UTC"),
        *("right/UTC", "posix", "right"),
    ],
)
def test_a_time_zone_that_names_no_place_is_refused(name):
    with pytest.raises(ValueError, match="names no place"):
        check_timezone(name)


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/Argentina/Salta"])
def test_time_zones_are_known(name):
    check_timezone(name)


@pytest.mark.parametrize("name", ["", "Berlin", "America", "../etc/passwd", "/etc/passwd", "CEST", "a\x00b"])
def test_what_is_no_time_zone_is_told(name):
    with pytest.raises(ValueError, match="there is no time zone"):
        check_timezone(name)
