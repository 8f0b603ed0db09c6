"""When a crawler runs by itself."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

#: Draws a number from 0 up to 1.
Dice = Callable[[], float]

_FIELDS = 5


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """By the clock on a wall, or in steps of so many seconds."""

    #: Five fields: minute, hour, day of the month, month, day of the week. None if it goes in steps.
    cron: str | None = None
    #: Where the wall is, ``Europe/Berlin``; None if it goes in steps.
    timezone: str | None = None
    #: Seconds from one run to the next; None if it goes by the clock.
    every: int | None = None
    #: A run comes up to so many seconds later than planned, by lot.
    jitter: int = 0
    #: Whether nothing is run for now.
    paused: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The next run."""

    #: When the schedule has it.
    planned_at: datetime
    #: When it comes, by the lot that was drawn.
    run_at: datetime


def next_run(schedule: Schedule | None, *, after: datetime, last: datetime | None, dice: Dice) -> Plan | None:
    """Return the first run after a moment, whatever was missed before; None if there is none to come.

    ``last`` is when the schedule had the last one: steps are counted from there, and not from when it came. It is None
    when the schedule begins, which is at ``after`` then.
    """
    if schedule is None or schedule.paused:
        return None
    planned_at = _step(schedule.every, after, last or after) if schedule.every else _on_the_clock(schedule, after)
    if planned_at is None:
        return None
    return Plan(planned_at=planned_at, run_at=planned_at + timedelta(seconds=schedule.jitter * dice()))


def kept_moments(plan: Plan | None) -> dict[str, datetime | None]:
    """Return what a crawler keeps of the next run: both are None if there is none to come."""
    if plan is None:
        return {"planned_at": None, "next_run_at": None}
    return {"planned_at": plan.planned_at, "next_run_at": plan.run_at}


def check_cron(cron: str) -> None:
    """Raise unless a cron expression can be understood, and comes true at some time.

    Raises:
        ValueError: with what is wrong with it.
    """
    if len(cron.split()) != _FIELDS:
        raise ValueError("five fields are expected, minute hour day-of-month month day-of-week: 30 2 * * *")
    try:
        comes = next(CronSim(cron, datetime(2000, 1, 1)), None)  # noqa: DTZ001 - wherever the wall is
    except CronSimError as error:
        raise ValueError(f"{str(error).lower()} in {cron!r}") from error
    if comes is None:
        raise ValueError(f"{cron!r} never comes true")


def check_timezone(name: str) -> None:
    """Raise unless a time zone is known.

    Raises:
        ValueError: it is not.
    """
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a folder of zones, such as America, is an OSError
        raise ValueError(f"there is no time zone {name!r}; they are called as in Europe/Berlin") from None


def _step(every: int, after: datetime, last: datetime) -> datetime:
    step = timedelta(seconds=every)
    return last + step * ((after - last) // step + 1)


def _on_the_clock(schedule: Schedule, after: datetime) -> datetime | None:
    zone = ZoneInfo(schedule.timezone or "UTC")
    return next((moment for moment in _moments(schedule.cron or "", zone, after) if moment > after), None)


def _moments(cron: str, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """Yield when a cron expression comes true, in order, from about a moment on.

    One that names hours means times on the clock, each of which comes once a day: a time that is skipped comes as soon
    as the clock goes on, and of one that comes twice the first counts. One for every hour means a rhythm, which an hour
    that is left out or repeated does not break.
    """
    here = after.astimezone(zone)
    if cron.split()[1] == "*":
        for moment in CronSim(cron, here):
            yield moment.astimezone(UTC)
    else:
        for wall in CronSim(cron, here.replace(tzinfo=None)):
            yield _when(wall, zone)


def _when(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the first moment at which a clock on the wall shows a time, or has gone on past it."""
    while (moment := wall.replace(tzinfo=zone, fold=0).astimezone(UTC)).astimezone(zone).replace(tzinfo=None) != wall:
        wall += timedelta(minutes=1)
    return moment
