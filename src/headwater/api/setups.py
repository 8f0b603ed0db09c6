"""How crawlers are set up, as callers write it."""

from typing import Annotated, Any

from pydantic import Field

from headwater.api.bodies import (
    WHOLE,
    Meta,
    NewMeta,
    RequestBody,
)
from headwater.api.gates import GatesBody
from headwater.api.schedules import ScheduleBody
from headwater.domain.errors import Flaw, RequestInvalid
from headwater.domain.task import Publish
from headwater.lifecycle.setup import Setting

#: Seconds of silence after which a running task times out, where the caller says nothing.
TIMEOUT = 3600
#: So often a task may be retried by itself.
MOST_RETRIES = 100


class CrawlerFields(RequestBody):
    """How a crawler is set up."""

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
    timeout: Annotated[int, Field(ge=1, le=31 * 86400), WHOLE] = Field(
        default=TIMEOUT, description="Seconds of silence after which a running task times out."
    )
    publish: Publish = Field(
        default=Publish.LIVE,
        description="`live`: documents show as they are uploaded; `on_success`: at once when the task ends with 200.",
    )
    gates: GatesBody | None = Field(
        default=None, description="A run that ends with 2xx and fails one of them is kept out of the stream."
    )
    retries: Annotated[int, Field(ge=0, le=MOST_RETRIES), WHOLE] = Field(
        default=0,
        description="How often a task that failed or timed out is retried by itself, after growing pauses.",
        examples=[3],
    )

    def setting(self, meta: dict[str, Any]) -> Setting:
        """Return what the caller decides."""
        return Setting(
            params=self.params,
            timeout=self.timeout,
            publish=self.publish,
            schedule=None if self.schedule is None else self.schedule.schedule(),
            gates=None if self.gates is None else self.gates.gates(),
            retries=self.retries,
            meta=meta,
        )


class NewCrawler(CrawlerFields):
    """A crawler to set up; `meta.links` names its stream."""

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
            RequestInvalid: the links do not name exactly one.
        """
        named = [link.start.fid for link in self.meta.links if link.start is not None and link.start.type == "streams"]
        if len(named) != 1 or len(self.meta.links) != 1:
            detail = 'expected exactly one link, from its stream: [{"from": {"type": "streams", "fid": "…"}}]'
            raise RequestInvalid(detail, flaws=[Flaw(pointer="/meta/links", detail=detail)])
        return named[0]


class CrawlerBody(CrawlerFields):
    """What of a crawler can be written."""

    meta: Meta = Field(default_factory=Meta)
