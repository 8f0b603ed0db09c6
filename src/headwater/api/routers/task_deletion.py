"""Deleting and restoring tasks, dry runs of both, and the diff of a task."""

from datetime import datetime
from functools import partial
from typing import Annotated, Literal, Self

from fastapi import Query, Request, Response
from pydantic import BaseModel, Field

from headwater.api import routing
from headwater.api.auth import READS, WRITES
from headwater.api.dependencies import ServicesOf
from headwater.api.diff_responses import AskedDryRun, DiffOut, diff_page, preview
from headwater.api.openapi import fails
from headwater.api.query_params import AskedSkipped
from headwater.api.request_bodies import IfMatch
from headwater.api.responses import Cursor, Envelope, Limit, Listing, answer, headers_of
from headwater.api.routers.tasks import CountsOut, TaskOut
from headwater.catalog import objects
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import TASKS
from headwater.domain.task import Task
from headwater.lake.diff import Moves, Operation
from headwater.lifecycle import tasks as task_actions
from headwater.streams import diffs

router = routing.router("tasks")


class DeletionOut(BaseModel):
    """The effect that a deletion would have."""

    removed: int = Field(description="Documents that would be gone.", examples=[12])
    restored: int = Field(description="Documents of which an older version would show again.", examples=[3])
    unaffected: int = Field(description="Documents of which a newer task's version shows anyway.", examples=[0])

    @classmethod
    def of(cls, moves: Moves) -> Self:
        """Return the counts of a diff."""
        return cls(removed=moves.removed, restored=moves.replaced, unaffected=moves.unaffected)


class RestorationOut(BaseModel):
    """The effect that a restore would have."""

    added: int = Field(description="Documents that would show again where none shows now.", examples=[12])
    replaced: int = Field(description="Documents that would show in place of an older version.", examples=[3])
    unaffected: int = Field(description="Documents of which a newer task's version shows anyway.", examples=[0])

    @classmethod
    def of(cls, moves: Moves) -> Self:
        """Return the counts of a diff."""
        return cls(added=moves.added, replaced=moves.replaced, unaffected=moves.unaffected)


#: The effects of a deletion on a document, by their names in the API.
DELETIONS = {
    "removed": Operation.REMOVED,
    "restored": Operation.REPLACED,
    "unaffected": Operation.UNAFFECTED,
}
#: The effects of a restore on a document.
RESTORATIONS = {
    "added": Operation.ADDED,
    "replaced": Operation.REPLACED,
    "unaffected": Operation.UNAFFECTED,
}

_LISTS = Query(description="With `dry_run`: list the documents with which this would happen.")
DeletionOp = Annotated[Literal["removed", "restored", "unaffected"] | None, _LISTS]
RestorationOp = Annotated[Literal["added", "replaced", "unaffected"] | None, _LISTS]

_DELETES = Envelope[TaskOut] | Envelope[DeletionOut] | Listing[DiffOut]
_RESTORES = Envelope[TaskOut] | Envelope[RestorationOut] | Listing[DiffOut]


@router.delete("/actions/tasks/{fid}", dependencies=[WRITES], responses=fails(404), response_model=_DELETES)
async def delete_task(
    fid: str,
    services: ServicesOf,
    request: Request,
    response: Response,
    asked: AskedDryRun,
    op: DeletionOp = None,
) -> object:
    """Delete a task: remove its documents from the stream, in one step.

    For every document, the stream then shows the newest version of another task, or nothing. An open task
    is stopped, and its EC notified. Deleting twice changes nothing; `restore` undoes it.
    """
    return await _delete(fid, services, request, response, asked, op, expected=None)


@router.delete("/tasks/{fid}", dependencies=[WRITES], responses=fails(404, 412), response_model=_DELETES)
async def delete_task_object(
    fid: str,
    expected: IfMatch,
    services: ServicesOf,
    request: Request,
    response: Response,
    asked: AskedDryRun,
    op: DeletionOp = None,
) -> object:
    """Do the same as `DELETE /actions/tasks/{fid}`."""
    return await _delete(fid, services, request, response, asked, op, expected=expected)


async def _delete(
    fid: str,
    services: ServicesOf,
    request: Request,
    response: Response,
    asked: AskedDryRun,
    op: str | None,
    *,
    expected: frozenset[int] | None,
) -> object:
    def delete(tx: Transaction, at: datetime) -> Task:
        if expected is not None:
            objects.require_version(objects.get(tx, TASKS, fid), expected)
        return task_actions.delete(tx, fid, vault=services.vault, at=at)

    question = partial(diffs.of_delete, fid=fid)
    match await preview(request, services, question, asked, op=DELETIONS.get(op or "")):
        case Moves() as moves:
            response.headers.update(headers_of(asked.skipped))
            return Envelope(payload=DeletionOut.of(moves))
        case Response() as page:
            return page
        case None:
            return answer(response, TaskOut.of(await services.db.write(delete, services.clock())))


@router.post("/actions/tasks/{fid}/restore", dependencies=[WRITES], responses=fails(404, 409), response_model=_RESTORES)
async def restore_task(
    fid: str,
    services: ServicesOf,
    request: Request,
    response: Response,
    asked: AskedDryRun,
    op: RestorationOp = None,
) -> object:
    """Restore a deleted task's documents at their place in the order, unless they are purged."""
    question = partial(diffs.of_restore, fid=fid)
    match await preview(request, services, question, asked, op=RESTORATIONS.get(op or "")):
        case Moves() as moves:
            response.headers.update(headers_of(asked.skipped))
            return Envelope(payload=RestorationOut.of(moves))
        case Response() as page:
            return page
        case None:
            task = await services.db.write(task_actions.restore, fid, at=services.clock())
            return answer(response, TaskOut.of(task))


@router.get(
    "/tasks/{fid}/diff",
    dependencies=[READS],
    responses=fails(404),
    response_model=Envelope[CountsOut] | Listing[DiffOut],
)
async def get_diff(
    fid: str,
    services: ServicesOf,
    request: Request,
    response: Response,
    skipped: AskedSkipped,
    op: Annotated[
        Literal["added", "changed", "unchanged", "removed"] | None,
        Query(description="List the documents with which this happened, before and after."),
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> object:
    """Return what the current attempt of a task did to the stream, as of the last version that it made.

    A successful retry is compared with what its former attempts had left.
    """
    question = partial(diffs.of_task, fid=fid)
    if op is not None:
        return await diff_page(request, services, question, Operation(op), limit=limit, cursor=cursor, skipped=skipped)
    task = await services.db.read(objects.get, TASKS, fid)
    counts = task.summary or await services.task_diffs.counts(question, skipped=skipped)
    response.headers.update(headers_of(skipped))
    return Envelope(payload=CountsOut.model_validate(counts))
