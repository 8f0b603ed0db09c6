"""Request bodies of crawlers: parameters, credential, schedule, gates."""

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, field_validator, model_validator

from headwater.api.request_bodies import WHOLE, Meta, NewMeta, RequestBody
from headwater.domain.crawler import LONGEST_TIMEOUT, MOST_RETRIES, TIMEOUT, Crawler
from headwater.domain.errors import Flaw, RequestInvalid
from headwater.domain.expectation import Expectation
from headwater.domain.filter import LONGEST_PART, MOST_PARTS, scope_of
from headwater.domain.gates import Gates
from headwater.domain.schedule import LONGEST_JITTER, LONGEST_STEP, Schedule, check_cron, check_timezone
from headwater.domain.task import Mode, Publish
from headwater.lifecycle.crawlers import CrawlerConfig


def _cron(value: str | None) -> str | None:
    if value is not None:
        check_cron(value)
    return value


def _timezone(value: str | None) -> str | None:
    if value is not None:
        check_timezone(value)
    return value


class ScheduleBody(RequestBody):
    """When a crawler runs automatically: `cron` with `timezone`, or `every` N seconds."""

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
        default=0, description="Each run comes delayed by a random 0 to N s.", examples=[300]
    )
    paused: StrictBool = Field(default=False, description="Nothing is run, and nothing made up for later.")

    _comes_true = field_validator("cron")(_cron)
    _is_known = field_validator("timezone")(_timezone)

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


class ExpectBody(RequestBody):
    """When a run is expected to have ended with 200, whoever starts it."""

    model_config = ConfigDict(from_attributes=True)

    cron: str | None = Field(
        default=None, max_length=200, description="When a run is expected, as in a schedule.", examples=["0 3 * * *"]
    )
    timezone: str | None = Field(
        default=None, max_length=100, description="Of `cron`; UTC unless given.", examples=["Europe/Berlin"]
    )
    every: Annotated[int, Field(ge=1, le=LONGEST_STEP), WHOLE] | None = Field(
        default=None, description="Or: the longest time from one good run to the next, in seconds.", examples=[None]
    )
    grace: Annotated[int, Field(ge=0, le=LONGEST_STEP), WHOLE] = Field(
        description="Seconds after the expected time within which it must have ended.", examples=[3600]
    )

    _comes_true = field_validator("cron")(_cron)
    _is_known = field_validator("timezone")(_timezone)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.cron is None) == (self.every is None):
            raise ValueError("expect has either cron or every; to change from one to the other, set the first null")
        return self

    def expectation(self) -> Expectation:
        """Return the expectation."""
        zone = None if self.cron is None else self.timezone or "UTC"
        return Expectation(cron=self.cron, timezone=zone, every=self.every, grace=self.grace)


class SkipOut(BaseModel):
    """A scheduled run that was skipped."""

    at: datetime
    why: str

    @classmethod
    def of(cls, crawler: Crawler) -> Self | None:
        """Return the last skipped run of a crawler, if there is one."""
        return None if crawler.skipped_at is None else cls(at=crawler.skipped_at, why=crawler.skipped_because or "")


#: The maximum of a 32-bit integer, as in databases.
HIGHEST = (1 << 31) - 1


class GatesBody(RequestBody):
    """Conditions that a run must meet when it ends with 2xx, or it is not published; null lets everything pass."""

    model_config = ConfigDict(from_attributes=True)

    min_docs: Annotated[int, Field(ge=0, le=HIGHEST), WHOLE] | None = Field(
        default=None, description="The fewest documents that a run brings.", examples=[100]
    )
    max_shrink: Annotated[float, Field(ge=0, le=1, strict=True)] | None = Field(
        default=None,
        description="By which share it may bring fewer documents than the crawler's last good run.",
        examples=[0.4],
    )
    max_rejected: Annotated[float, Field(ge=0, le=HIGHEST, strict=True)] | None = Field(
        default=None,
        description="How many lines may have been rejected: below 1 a share of all lines, from 1 on a number of them.",
        examples=[0.05],
    )

    @field_validator("max_rejected")
    @classmethod
    def _a_share_or_a_number(cls, value: float | None) -> float | None:
        if value is not None and value > 1 and value != int(value):
            raise ValueError("from 1 on it is a number of lines, and whole")
        return value

    def gates(self) -> Gates:
        """Return the gates."""
        return Gates(**self.model_dump())


def _scope(value: list[str]) -> list[str]:
    scope_of(value)
    return value


#: Conditions on documents, as ``where`` takes them.
Scope = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=LONGEST_PART)]],
    Field(max_length=MOST_PARTS),
    AfterValidator(_scope),
]


class CrawlerFields(RequestBody):
    """The settings of a crawler."""

    params: dict[str, Any] = Field(
        default_factory=dict, description="Values for the External's parameters.", examples=[{"language": "de"}]
    )
    credential: dict[str, Any] | None = Field(
        default=None,
        description="Write-only: user and password, stored encrypted, sent to the EC, never returned; for an External "
        'with OAuth, `{"fid": …}` of the credential that a login came to.',
        examples=[{"user": "jo", "password": "…"}],
    )
    schedule: ScheduleBody | None = Field(default=None, description="When it runs by itself; null: when it is started.")
    timeout: Annotated[int, Field(ge=1, le=LONGEST_TIMEOUT), WHOLE] = Field(
        default=TIMEOUT, description="Seconds of silence after which a running task times out."
    )
    publish: Publish = Field(
        default=Publish.LIVE,
        description="`live`: documents show as they are uploaded; `on_success`: at once when the task ends with 200.",
    )
    mode: Mode = Field(
        default=Mode.MERGE,
        description="`merge`: a run adds and changes documents; `snapshot`: when a run ends with 200, the stream shows "
        "what it brought, and nothing else.",
        examples=["snapshot"],
    )
    scope: Scope | None = Field(
        default=None,
        description="Of the mode `snapshot`: conditions on the documents that a run may hide, as `where` takes them; "
        "all must match. Null: all documents.",
        examples=[["shop=north"]],
    )
    gates: GatesBody | None = Field(
        default=None, description="A run that ends with 2xx and fails one of them is kept out of the stream."
    )
    retries: Annotated[int, Field(ge=0, le=MOST_RETRIES), WHOLE] = Field(
        default=0,
        description="How often a task that failed or timed out is retried by itself, after growing pauses.",
        examples=[3],
    )

    expect: ExpectBody | None = Field(
        default=None, description="When a run is expected to have ended well; if none did, that is an event."
    )

    def config(self, meta: dict[str, Any]) -> CrawlerConfig:
        """Return the settings."""
        return CrawlerConfig(
            params=self.params,
            timeout=self.timeout,
            publish=self.publish,
            mode=self.mode,
            scope=self.scope or None,
            schedule=None if self.schedule is None else self.schedule.schedule(),
            gates=None if self.gates is None else self.gates.gates(),
            retries=self.retries,
            expect=None if self.expect is None else self.expect.expectation(),
            meta=meta,
        )


class NewCrawler(CrawlerFields):
    """A crawler to create; `meta.links` names its stream."""

    meta: NewMeta = Field(
        default_factory=NewMeta,
        examples=[
            {
                "name": "German reviews",
                "links": [{"from": {"type": "streams", "fid": "0197f3a0c1d27000a1b2c3d4e5f60718"}}],
            }
        ],
    )

    def stream(self) -> str:
        """Return the stream that it feeds.

        Raises:
            RequestInvalid: the links do not name exactly one stream.
        """
        named = [link.start.fid for link in self.meta.links if link.start is not None and link.start.type == "streams"]
        if len(named) != 1 or len(self.meta.links) != 1:
            detail = 'expected exactly one link, from its stream: [{"from": {"type": "streams", "fid": "…"}}]'
            raise RequestInvalid(detail, flaws=[Flaw(pointer="/meta/links", detail=detail)])
        return named[0]


class CrawlerBody(CrawlerFields):
    """The writable fields of a crawler."""

    meta: Meta = Field(default_factory=Meta)
