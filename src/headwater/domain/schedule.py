"""Schedules: when a crawler runs automatically."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

#: Returns a random number from 0 up to 1.
Rng = Callable[[], float]

#: Limits in seconds of a schedule's interval and of its jitter.
LONGEST_STEP = 366 * 86400
LONGEST_JITTER = 86400

_FIELDS = 5
#: The field's name, its minimum and maximum.
_RANGES = (("minute", 0, 59), ("hour", 0, 23), ("day-of-month", 1, 31), ("month", 1, 12), ("day-of-week", 0, 6))
_STEP = re.compile(r"(?P<from>\*|\w+)(-(?P<to>\w+))?/(?P<step>\d+)")

#: Not real zones: the computer's setting, copies of the database with leap seconds, and names for "unknown".
_NO_PLACES = {"localtime", "factory", "posixrules", "etc/unknown"}
_COPIES = {"right", "posix"}


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A cron expression in a time zone, or a fixed interval in seconds."""

    #: Five fields: minute, hour, day of the month, month, day of the week. None for an interval.
    cron: str | None = None
    #: The schedule's time zone, ``Europe/Berlin``; None for an interval.
    timezone: str | None = None
    #: The interval in seconds; None for a cron expression.
    every: int | None = None
    #: Runs are delayed by a random 0 to this many seconds.
    jitter: int = 0
    #: Whether the schedule is suspended.
    paused: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The next run."""

    #: Its time by the schedule.
    planned_at: datetime
    #: Its time with the random delay.
    run_at: datetime


def next_run(schedule: Schedule | None, *, after: datetime, last: datetime | None, rng: Rng) -> Plan | None:
    """Return the first run after a time, skipping missed ones; None if there is none.

    ``last`` is the scheduled time of the last run: an interval is counted from there, not from the delayed start. It
    is None when the schedule begins, which is at ``after`` then.
    """
    if schedule is None or schedule.paused:
        return None
    planned_at = _step(schedule.every, after, last or after) if schedule.every else _on_the_clock(schedule, after)
    if planned_at is None:
        return None
    return Plan(planned_at=planned_at, run_at=planned_at + timedelta(seconds=schedule.jitter * rng()))


def kept_moments(plan: Plan | None) -> dict[str, datetime | None]:
    """Return a crawler's fields for its next run: both are None if there is none."""
    if plan is None:
        return {"planned_at": None, "next_run_at": None}
    return {"planned_at": plan.planned_at, "next_run_at": plan.run_at}


def check_cron(cron: str) -> None:
    """Raise unless a cron expression is valid and matches at some time.

    Raises:
        ValueError: with the error.
    """
    if len(cron.split()) != _FIELDS:
        raise ValueError("five fields are expected, minute hour day-of-month month day-of-week: 30 2 * * *")
    try:
        comes = next(CronSim(cron, datetime(2000, 1, 1)), None)  # noqa: DTZ001 - in any time zone
    except CronSimError as error:
        raise ValueError(f"{str(error).lower()} in {cron!r}") from error
    if comes is None:
        raise ValueError(f"{cron!r} never comes true")
    for field, (name, least, greatest) in zip(cron.split(), _RANGES, strict=True):
        for term in field.split(","):
            _check_step(term, name, least, greatest)


def _check_step(term: str, name: str, least: int, greatest: int) -> None:
    """Raise if a step is too long to be taken: ``*/70`` would run at minute 0 of each hour.

    Raises:
        ValueError: it is.
    """
    found = _STEP.fullmatch(term)
    if found is None:
        return
    first, last = (_bound(found["from"], least), _bound(found["to"], greatest))
    if first is not None and last is not None and int(found["step"]) > last - first:
        instead = "; a schedule in steps of seconds is written with 'every'" if name in {"minute", "hour"} else ""
        raise ValueError(
            f"bad {name}: {term!r} has a step of {found['step']}, but the values go from {first} to {last}, so that "
            f"only {first} would match; write {first} if that is meant{instead}"
        )


def _bound(text: str | None, unless: int) -> int | None:
    """Return one end of a range; None if it is a name, such as MON."""
    if text is None or text == "*":
        return unless
    return int(text) if text.isdecimal() else None


def check_timezone(name: str) -> None:
    """Raise unless a time zone exists.

    Raises:
        ValueError: it does not.
    """
    place = name.casefold()
    if place in _NO_PLACES or place.split("/")[0] in _COPIES:
        raise ValueError(f"{name!r} names no place; time zones are called as in Europe/Berlin, or UTC")
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
    """Yield the times at which a cron expression matches, in order, from about ``after`` on.

    An expression that names hours means local times, each of which occurs once a day: a time skipped by daylight saving
    runs as soon as the clock continues, and of a repeated time the first counts. An expression for every hour means an
    interval, which a skipped or repeated hour does not interrupt.
    """
    here = after.astimezone(zone)
    if cron.split()[1] == "*":
        for moment in CronSim(cron, here):
            yield moment.astimezone(UTC)
    else:
        for wall in CronSim(cron, here.replace(tzinfo=None)):
            yield _when(wall, zone)


def _when(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the first moment at which a local clock shows a time, or has skipped it."""
    while (moment := wall.replace(tzinfo=zone, fold=0).astimezone(UTC)).astimezone(zone).replace(tzinfo=None) != wall:
        wall += timedelta(minutes=1)
    return moment
