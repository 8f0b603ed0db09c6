"""Which runs brought documents that match a condition to a stream, and which removed them."""

from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import Query, Response
from pydantic import BaseModel, Field

from headwater.api import routing
from headwater.api.auth import READS
from headwater.api.dependencies import ServicesOf
from headwater.api.openapi import fails
from headwater.api.query_params import HIGHEST, AskedSkipped, Comparisons, Words
from headwater.api.responses import EXAMPLE_FID, Envelope, headers_of
from headwater.api.routers.revert import MOST_TASKS
from headwater.domain.errors import Flaw, RequestInvalid
from headwater.domain.filter import condition_of
from headwater.domain.stream import Change
from headwater.streams.bisect import Bisected, Step

router = routing.router("reading")


class StepOut(BaseModel):
    """A change of which documents match: what an attempt brought, or another change of the stream."""

    version: int = Field(description="The first stream version that changed which documents match.", examples=[12])
    until: int = Field(description="The last one: an attempt makes a version with each upload.", examples=[14])
    at: datetime = Field(description="When it made the first one.", examples=["2026-03-01T12:30:00.000000Z"])
    change: Change = Field(examples=["upload"])
    task: str | None = Field(description="Null where it was none, or several.", examples=[EXAMPLE_FID])
    attempt: int | None = Field(examples=[1])
    tasks: list[str] | None = Field(description="Those that went or came back together.", examples=[None])
    brought: int = Field(description="Documents that did not match before, and did then.", examples=[310])
    removed: int = Field(
        description="Documents that matched before and did not then: changed, or no longer shown.", examples=[0]
    )

    @classmethod
    def of(cls, step: Step) -> Self:
        """Return the change in the form of the API."""
        return cls(**{name: getattr(step, name) for name in cls.model_fields})


class UndoOut(BaseModel):
    """A call that tells what undoing runs would change."""

    method: str = Field(examples=["POST"])
    path: str = Field(examples=[f"/actions/streams/{EXAMPLE_FID}/revert?dry_run=true"])
    body: dict[str, Any] = Field(examples=[{"tasks": [EXAMPLE_FID]}])


class BisectedOut(BaseModel):
    """When documents of a stream matched."""

    since: int = Field(description="The stream version from which on changes are looked at.", examples=[0])
    stream_version: int = Field(description="The one up to which they are.", examples=[40])
    before: int = Field(
        description="Documents that matched at `since`; then the first run that brought one may be older.", examples=[0]
    )
    docs: int = Field(description="Documents that match now.", examples=[310])
    first: StepOut | None = Field(
        description="The first change after `since` by which a document came to match; null if there is none."
    )
    runs: list[StepOut] = Field(description="All changes of which documents match, oldest first.")
    more: bool = Field(
        description="Whether there are more than `limit`: they follow with `since` = `until` of the last one.",
        examples=[False],
    )
    to_undo: list[str] = Field(
        description="The tasks without which none of the documents that match now would, oldest first: those that "
        "wrote them, and those whose versions, which match as well, are beneath.",
        examples=[[EXAMPLE_FID]],
    )
    dry_run: UndoOut | None = Field(
        description=f"Tells what undoing these tasks would change; null if there are none, or more than {MOST_TASKS}."
    )

    @classmethod
    def of(cls, stream: str, found: Bisected, *, limit: int) -> Self:
        """Return the result in the form of the API."""
        path = f"/actions/streams/{stream}/revert?dry_run=true"
        can_undo = 0 < len(found.to_undo) <= MOST_TASKS
        return cls(
            since=found.since,
            stream_version=found.version,
            before=found.before,
            docs=found.docs,
            first=None if found.first is None else StepOut.of(found.first),
            runs=[StepOut.of(step) for step in found.steps[:limit]],
            more=len(found.steps) > limit,
            to_undo=found.to_undo,
            dry_run=UndoOut(method="POST", path=path, body={"tasks": found.to_undo}) if can_undo else None,
        )


@router.get("/streams/{fid}/bisect", dependencies=[READS], responses=fails(404))
async def bisect_stream(
    fid: str,
    services: ServicesOf,
    response: Response,
    skipped: AskedSkipped,
    q: Words = None,
    where: Comparisons = None,
    doc_id: Annotated[
        str | None, Query(alias="id", description="Only the document with this id.", examples=["sku-1"])
    ] = None,
    since: Annotated[
        int | None,
        Query(ge=0, le=HIGHEST, description="Only changes after this stream version; by default, all that are kept."),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=10_000, description="Changes in the answer.")] = 1_000,
) -> Envelope[BisectedOut]:
    """Find the runs that brought documents that match, and those that removed them.

    Give a condition (`q`, `where`), an `id`, or both. `dry_run` in the answer is the call that tells what undoing the
    runs that are to blame would change.
    """
    condition = condition_of(q, where or [])
    if condition is None and doc_id is None:
        detail = "say which documents are wrong: where=price<0, q=error, or id=sku-1"
        raise RequestInvalid(f"?where: {detail}", flaws=[Flaw(pointer="?where", detail=detail)])
    found = await services.bisection.runs(fid, condition, doc_id=doc_id, since=since, skipped=skipped)
    response.headers.update(headers_of(skipped))
    return Envelope(payload=BisectedOut.of(fid, found, limit=limit))
