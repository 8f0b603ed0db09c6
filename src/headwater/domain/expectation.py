"""Expected runs: by when a crawler should have ended well, whoever starts it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from headwater.domain.schedule import Schedule, next_run


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """A run is expected at the times of a cron expression, or within so many seconds of the last good one."""

    #: Five fields, as in a schedule. None for an interval.
    cron: str | None = None
    #: The time zone of ``cron``; None for an interval.
    timezone: str | None = None
    #: The longest time between two good runs, in seconds. None for a cron expression.
    every: int | None = None
    #: Seconds after the expected time within which the run must have ended well.
    grace: int

    def deadline(self, *, after: datetime) -> datetime | None:
        """Return by when the next run must have ended well; None if none is expected any more.

        ``after`` is when the last one did, or when the expectation began.
        """
        schedule = Schedule(cron=self.cron, timezone=self.timezone, every=self.every)
        plan = next_run(schedule, after=after, last=None, rng=lambda: 0.0)
        return None if plan is None else plan.planned_at + timedelta(seconds=self.grace)

    def deadline_after_miss(self, missed: datetime, *, at: datetime) -> datetime | None:
        """Return the next deadline after a missed one, in the future.

        An interval has none: it begins anew with the next good run.
        """
        if self.cron is None:
            return None
        # Of the times that were missed while no server was there, only the first is told.
        grace = timedelta(seconds=self.grace)
        return self.deadline(after=max(missed - grace, at - grace))
