"""Bulk revert and restore of a stream's tasks, each in one stream version."""

from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Self

from fastapi import Request, Response
from pydantic import BaseModel, Field

from headwater.api import routing
from headwater.api.auth import WRITES
from headwater.api.dependencies import ServicesOf
from headwater.api.diff_responses import AskedDryRun, DiffOut, DryRun, preview
from headwater.api.openapi import fails
from headwater.api.query_params import HIGHEST, Moment
from headwater.api.request_bodies import HIGHEST_EDIT, WHOLE, RequestBody
from headwater.api.responses import EXAMPLE_FID, Envelope, Listing, headers_of
from headwater.api.routers.task_deletion import (
    DELETIONS,
    RESTORATIONS,
    DeletionOp,
    DeletionOut,
    RestorationOp,
    RestorationOut,
)
from headwater.catalog import tasks
from headwater.domain.errors import Flaw, RequestInvalid
from headwater.domain.task import Origin, TaskFilter
from headwater.lake.diff import Moves
from headwater.lifecycle import bulk
from headwater.lifecycle.bulk import Moved
from headwater.streams import diffs

router = routing.router("streams")


#: Maximum number of explicitly listed tasks.
MOST_TASKS = 1_000


class FilterBody(RequestBody):
    """A filter of the stream's tasks: all given conditions must hold."""

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

    def also(self, asked: DryRun) -> DryRun:
        """Return the dry-run parameters of the query combined with the body's."""
        return replace(asked, dry_run=asked.dry_run or self.dry_run)

    def wanted(self) -> TaskFilter:
        """Return the filter.

        Raises:
            RequestInvalid: it has no condition, and would match every task.
        """
        # Empty params are no condition; an empty list of tasks is one, which matches nothing.
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
    """A filter of the stream's deleted tasks."""

    stream_version: Annotated[int, Field(ge=0, le=HIGHEST), WHOLE] | None = Field(
        default=None,
        description="That were taken out by this stream version, as `revert` answers it.",
        examples=[17],
    )


class RevertedOut(BaseModel):
    """The result of a revert."""

    tasks: list[str] = Field(description="Oldest first.", examples=[[EXAMPLE_FID]])
    stream_version: int | None = Field(
        description="The version that took them out, to restore them by; null if nothing of them showed.", examples=[17]
    )

    @classmethod
    def of(cls, moved: Moved) -> Self:
        """Return the result in the form of the API."""
        return cls(tasks=moved.tasks, stream_version=moved.version)


class RestoredOut(RevertedOut):
    """The result of a restore."""

    purged: list[str] = Field(description="Tasks that could not come back: their documents are purged.", examples=[[]])

    @classmethod
    def of(cls, moved: Moved) -> Self:
        """Return the result in the form of the API."""
        return cls(tasks=moved.tasks, stream_version=moved.version, purged=moved.purged)


class ReversalOut(DeletionOut):
    """The effect that a revert would have."""

    tasks: list[str] = Field(examples=[[EXAMPLE_FID]])


class RecoveryOut(RestorationOut):
    """The effect that a restore would have."""

    tasks: list[str] = Field(examples=[[EXAMPLE_FID]])
    purged: list[str] = Field(description="Tasks that could not come back: their documents are purged.", examples=[[]])


@router.post(
    "/actions/streams/{fid}/revert",
    dependencies=[WRITES],
    responses=fails(404, 415),
    response_model=Envelope[RevertedOut] | Envelope[ReversalOut] | Listing[DiffOut],
)
async def revert_stream(
    fid: str,
    body: FilterBody,
    services: ServicesOf,
    request: Request,
    response: Response,
    asked: AskedDryRun,
    op: DeletionOp = None,
) -> object:
    """Delete all tasks that match a filter, in one stream version; one call restores them.

    Each task is deleted as if by itself, and can be restored by itself. Open ones are stopped.
    """
    wanted = body.wanted()
    question = partial(diffs.of_revert, stream=fid, wanted=wanted)
    match await preview(request, services, question, body.also(asked), op=DELETIONS.get(op or "")):
        case Moves() as moves:
            response.headers.update(headers_of(asked.skipped))
            found = await services.db.read(tasks.matching, fid, wanted, removed=False)
            fids = [task.fid for task in found]
            return Envelope(payload=ReversalOut(tasks=fids, **DeletionOut.of(moves).model_dump()))
        case Response() as page:
            return page
        case None:
            moved = await services.db.write(bulk.revert, fid, wanted, vault=services.vault, at=services.clock())
            return Envelope(payload=RevertedOut.of(moved))


@router.post(
    "/actions/streams/{fid}/restore",
    dependencies=[WRITES],
    responses=fails(404, 415),
    response_model=Envelope[RestoredOut] | Envelope[RecoveryOut] | Listing[DiffOut],
)
async def restore_stream(
    fid: str,
    body: RestoreBody,
    services: ServicesOf,
    request: Request,
    response: Response,
    asked: AskedDryRun,
    op: RestorationOp = None,
) -> object:
    """Restore all deleted tasks that match a filter, in one stream version, each at its place in the order."""
    wanted = body.wanted()
    question = partial(diffs.of_restore_all, stream=fid, wanted=wanted)
    match await preview(request, services, question, body.also(asked), op=RESTORATIONS.get(op or "")):
        case Moves() as moves:
            response.headers.update(headers_of(asked.skipped))
            back, purged = await services.db.read(diffs.recoverable, fid, wanted)
            fids = [[task.fid for task in some] for some in (back, purged)]
            counts = RestorationOut.of(moves).model_dump()
            return Envelope(payload=RecoveryOut(tasks=fids[0], purged=fids[1], **counts))
        case Response() as page:
            return page
        case None:
            moved = await services.db.write(bulk.restore, fid, wanted, at=services.clock())
            return Envelope(payload=RestoredOut.of(moved))
