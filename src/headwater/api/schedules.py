"""The schedule of a crawler, as callers write and read it."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, field_validator, model_validator

from headwater.api.bodies import WHOLE, RequestBody
from headwater.domain.crawler import Crawler
from headwater.domain.schedule import Schedule, check_cron, check_timezone

#: Seconds from one run to the next, and how much later than planned one may come.
LONGEST_STEP = 366 * 86400
LONGEST_JITTER = 86400


class ScheduleBody(RequestBody):
    """When a crawler runs by itself: `cron` with `timezone`, or `every` so many seconds."""

    model_config = ConfigDict(from_attributes=True)

    cron: str | None = Field(
        default=None,
        max_length=200,
        description="Minute, hour, day of the month, month, day of the week.",
        examples=["30 2 * * *"],
    )
    timezone: str | None = Field(
        default=None, max_length=100, description="Of `cron`; UTC unless given.", examples=["Europe/Berlin"]
    )
    every: Annotated[int, Field(ge=1, le=LONGEST_STEP), WHOLE] | None = Field(
        default=None, description="Seconds from one run to the next.", examples=[None]
    )
    jitter: Annotated[int, Field(ge=0, le=LONGEST_JITTER), WHOLE] = Field(
        default=0, description="Each run comes up to so many seconds later, by lot.", examples=[300]
    )
    paused: StrictBool = Field(default=False, description="Nothing is run, and nothing made up for later.")

    @field_validator("cron")
    @classmethod
    def _comes_true(cls, value: str | None) -> str | None:
        if value is not None:
            check_cron(value)
        return value

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, value: str | None) -> str | None:
        if value is not None:
            check_timezone(value)
        return value

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.cron is None) == (self.every is None):
            raise ValueError("a schedule has either cron or every; to change from one to the other, set the first null")
        if self.every is not None and self.jitter >= self.every:
            raise ValueError("jitter must be less than every")
        return self

    def schedule(self) -> Schedule:
        """Return the schedule."""
        zone = None if self.cron is None else self.timezone or "UTC"
        return Schedule(cron=self.cron, timezone=zone, every=self.every, jitter=self.jitter, paused=self.paused)


class SkipOut(BaseModel):
    """A run that was due and was not started."""

    at: datetime
    why: str

    @classmethod
    def of(cls, crawler: Crawler) -> Self | None:
        """Return the last one of a crawler, if there was one."""
        return None if crawler.skipped_at is None else cls(at=crawler.skipped_at, why=crawler.skipped_because or "")
