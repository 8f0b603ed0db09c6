"""Many tasks of a stream at once: taken out in one stream version, and put back in one."""

from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Self

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from headwater.api.auth import WRITES
from headwater.api.bodies import HIGHEST_EDIT, WHOLE, RequestBody
from headwater.api.differences import AskedForesight, DifferenceOut, Foresight, foreseen
from headwater.api.envelope import EXAMPLE_FID, Envelope, Listing
from headwater.api.moments import Moment
from headwater.api.openapi import fails
from headwater.api.parts import Backend
from headwater.api.undo import DELETIONS, RESTORATIONS, DeletionOp, DeletionOut, RestorationOp, RestorationOut
from headwater.api.views import HIGHEST
from headwater.catalog import tasks
from headwater.domain.errors import Flaw, RequestInvalid
from headwater.domain.task import Origin, TaskFilter
from headwater.lake.difference import Moves
from headwater.lifecycle import bulk
from headwater.lifecycle.bulk import Moved
from headwater.streams import effects

router = APIRouter(tags=["streams"])


#: So many tasks can be named one by one.
MOST_TASKS = 1_000


class FilterBody(RequestBody):
    """Which tasks of the stream are meant: those of which everything holds that is given."""

    since: Moment | None = Field(
        default=None, description="Whose attempt began then or later.", examples=["2026-03-01T00:00:00Z"]
    )
    until: Moment | None = Field(default=None, description="Whose attempt began before.", examples=[None])
    external_version: Annotated[int, Field(ge=1, le=HIGHEST_EDIT), WHOLE] | None = Field(
        default=None, description="That ran with this version of the External.", examples=[3]
    )
    origin: Origin | None = Field(default=None, examples=["schedule"])
    params: dict[str, Any] | None = Field(
        default=None, description="That were called with these values, among others.", examples=[{"language": "de"}]
    )
    tasks: list[str] | None = Field(
        default=None, max_length=MOST_TASKS, description="That are among these.", examples=[[EXAMPLE_FID]]
    )
    dry_run: bool = Field(default=False, description="The same as the query parameter.")

    def also(self, asked: Foresight) -> Foresight:
        """Return what is asked in the query, with the body's word for it."""
        return replace(asked, dry_run=asked.dry_run or self.dry_run)

    def wanted(self) -> TaskFilter:
        """Return the filter.

        Raises:
            RequestInvalid: it says nothing, and so means every task.
        """
        # No parameters at all are no condition; no tasks at all are one, that nothing fulfils.
        given = self.model_dump(exclude={"dry_run"}, exclude_none=True)
        if not given or given == {"params": {}}:
            names = ", ".join(sorted(type(self).model_fields.keys() - {"dry_run"}))
            detail = (
                f"the filter says nothing, and would mean every task: give one or more of {names} "
                '(every task is {"since": "1970-01-01T00:00:00Z"})'
            )
            raise RequestInvalid(detail, flaws=[Flaw(pointer="", detail=detail)])
        return TaskFilter(
            since=self.since,
            until=self.until,
            external_version=self.external_version,
            origin=self.origin,
            params=self.params,
            tasks=None if self.tasks is None else tuple(self.tasks),
            removed_version=given.get("stream_version"),
        )


class RestoreBody(FilterBody):
    """Which deleted tasks of the stream are meant."""

    stream_version: Annotated[int, Field(ge=0, le=HIGHEST), WHOLE] | None = Field(
        default=None,
        description="That were taken out by this stream version, as `revert` answers it.",
        examples=[17],
    )


class RevertedOut(BaseModel):
    """What was taken out together."""

    tasks: list[str] = Field(description="Oldest first.", examples=[[EXAMPLE_FID]])
    stream_version: int | None = Field(
        description="The version that took them out, to restore them by; null if nothing of them showed.", examples=[17]
    )

    @classmethod
    def of(cls, moved: Moved) -> Self:
        """Return what was done."""
        return cls(tasks=moved.tasks, stream_version=moved.version)


class RestoredOut(RevertedOut):
    """What was put back together."""

    purged: list[str] = Field(description="Tasks that could not come back: their documents are purged.", examples=[[]])

    @classmethod
    def of(cls, moved: Moved) -> Self:
        """Return what was done."""
        return cls(tasks=moved.tasks, stream_version=moved.version, purged=moved.purged)


class ReversalOut(DeletionOut):
    """What taking tasks out together would do."""

    tasks: list[str] = Field(examples=[[EXAMPLE_FID]])


class RecoveryOut(RestorationOut):
    """What putting tasks back together would do."""

    tasks: list[str] = Field(examples=[[EXAMPLE_FID]])
    purged: list[str] = Field(description="Tasks that could not come back: their documents are purged.", examples=[[]])


@router.post(
    "/actions/streams/{fid}/revert",
    dependencies=[WRITES],
    responses=fails(404, 415),
    response_model=Envelope[RevertedOut] | Envelope[ReversalOut] | Listing[DifferenceOut],
)
async def revert_stream(
    fid: str, body: FilterBody, backend: Backend, request: Request, asked: AskedForesight, op: DeletionOp = None
) -> object:
    """Delete all tasks that a filter means, in one stream version; one call restores them.

    Each is as if it had been deleted by itself, and can be restored by itself. An open one is stopped.
    """
    wanted = body.wanted()
    question = partial(effects.reversal, stream=fid, wanted=wanted)
    match await foreseen(request, backend, question, body.also(asked), op=DELETIONS.get(op or "")):
        case Moves() as moves:
            found = await backend.db.read(tasks.matching, fid, wanted, removed=False)
            fids = [task.fid for task in found]
            return Envelope(payload=ReversalOut(tasks=fids, **DeletionOut.of(moves).model_dump()))
        case Response() as page:
            return page
        case None:
            moved = await backend.db.write(bulk.revert, fid, wanted, vault=backend.vault, at=backend.clock())
            return Envelope(payload=RevertedOut.of(moved))


@router.post(
    "/actions/streams/{fid}/restore",
    dependencies=[WRITES],
    responses=fails(404, 415),
    response_model=Envelope[RestoredOut] | Envelope[RecoveryOut] | Listing[DifferenceOut],
)
async def restore_stream(
    fid: str, body: RestoreBody, backend: Backend, request: Request, asked: AskedForesight, op: RestorationOp = None
) -> object:
    """Put back all deleted tasks that a filter means, in one stream version, each at its place in the order."""
    wanted = body.wanted()
    question = partial(effects.recovery, stream=fid, wanted=wanted)
    match await foreseen(request, backend, question, body.also(asked), op=RESTORATIONS.get(op or "")):
        case Moves() as moves:
            back, purged = await backend.db.read(effects.recoverable, fid, wanted)
            fids = [[task.fid for task in some] for some in (back, purged)]
            counts = RestorationOut.of(moves).model_dump()
            return Envelope(payload=RecoveryOut(tasks=fids[0], purged=fids[1], **counts))
        case Response() as page:
            return page
        case None:
            moved = await backend.db.write(bulk.restore, fid, wanted, at=backend.clock())
            return Envelope(payload=RestoredOut.of(moved))
