"""Taking tasks out of their stream and putting them back, what that would do, and what tasks did."""

from datetime import datetime
from functools import partial
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from headwater.api.auth import READS, WRITES
from headwater.api.bodies import IfMatch
from headwater.api.differences import AskedForesight, DifferenceOut, difference_page, foreseen
from headwater.api.envelope import Cursor, Envelope, Limit, Listing, answer
from headwater.api.openapi import fails
from headwater.api.parts import Backend
from headwater.api.tasks import CountsOut, TaskOut
from headwater.catalog import objects
from headwater.catalog.objects import TASKS
from headwater.catalog.transaction import Transaction
from headwater.domain.task import Task
from headwater.lake.difference import Moves, Operation
from headwater.lifecycle import actions
from headwater.streams import effects

router = APIRouter(tags=["tasks"])


class DeletionOut(BaseModel):
    """What deleting would do."""

    removed: int = Field(description="Documents that would be gone.", examples=[12])
    restored: int = Field(description="Documents of which an older version would show again.", examples=[3])
    unaffected: int = Field(description="Documents of which a newer task's version shows anyway.", examples=[0])

    @classmethod
    def of(cls, moves: Moves) -> Self:
        """Return what a comparison found."""
        return cls(removed=moves.removed, restored=moves.replaced, unaffected=moves.unaffected)


class RestorationOut(BaseModel):
    """What restoring would do."""

    added: int = Field(description="Documents that would show again where none shows now.", examples=[12])
    replaced: int = Field(description="Documents that would show in place of an older version.", examples=[3])
    unaffected: int = Field(description="Documents of which a newer task's version shows anyway.", examples=[0])

    @classmethod
    def of(cls, moves: Moves) -> Self:
        """Return what a comparison found."""
        return cls(added=moves.added, replaced=moves.replaced, unaffected=moves.unaffected)


#: What deleting may do to a document, by the names that callers use.
DELETIONS = {
    "removed": Operation.REMOVED,
    "restored": Operation.REPLACED,
    "unaffected": Operation.UNAFFECTED,
}
#: What restoring may do to a document.
RESTORATIONS = {
    "added": Operation.ADDED,
    "replaced": Operation.REPLACED,
    "unaffected": Operation.UNAFFECTED,
}

_LISTS = Query(description="With `dry_run`: list the documents with which this would happen.")
DeletionOp = Annotated[Literal["removed", "restored", "unaffected"] | None, _LISTS]
RestorationOp = Annotated[Literal["added", "replaced", "unaffected"] | None, _LISTS]

_DELETES = Envelope[TaskOut] | Envelope[DeletionOut] | Listing[DifferenceOut]
_RESTORES = Envelope[TaskOut] | Envelope[RestorationOut] | Listing[DifferenceOut]


@router.delete("/actions/tasks/{fid}", dependencies=[WRITES], responses=fails(404), response_model=_DELETES)
async def delete_task(
    fid: str,
    backend: Backend,
    request: Request,
    response: Response,
    asked: AskedForesight,
    op: DeletionOp = None,
) -> object:
    """Take a task's documents out of the stream, at once and whole.

    For every document, the stream then shows the newest version that another task left, or none. An
    open task is stopped, and its EC told. Deleting twice changes nothing; `restore` undoes it.
    """
    return await _delete(fid, backend, request, response, asked, op, expected=None)


@router.delete("/tasks/{fid}", dependencies=[WRITES], responses=fails(404, 412), response_model=_DELETES)
async def delete_task_object(
    fid: str,
    expected: IfMatch,
    backend: Backend,
    request: Request,
    response: Response,
    asked: AskedForesight,
    op: DeletionOp = None,
) -> object:
    """Do the same as `DELETE /actions/tasks/{fid}`."""
    return await _delete(fid, backend, request, response, asked, op, expected=expected)


async def _delete(
    fid: str,
    backend: Backend,
    request: Request,
    response: Response,
    asked: AskedForesight,
    op: str | None,
    *,
    expected: frozenset[int] | None,
) -> object:
    def delete(tx: Transaction, at: datetime) -> Task:
        if expected is not None:
            objects.require_version(objects.get(tx, TASKS, fid), expected)
        return actions.delete(tx, fid, vault=backend.vault, at=at)

    question = partial(effects.deletion, fid=fid)
    match await foreseen(request, backend, question, asked, op=DELETIONS.get(op or "")):
        case Moves() as moves:
            return Envelope(payload=DeletionOut.of(moves))
        case Response() as page:
            return page
        case None:
            return answer(response, TaskOut.of(await backend.db.write(delete, backend.clock())))


@router.post("/actions/tasks/{fid}/restore", dependencies=[WRITES], responses=fails(404, 409), response_model=_RESTORES)
async def restore_task(
    fid: str,
    backend: Backend,
    request: Request,
    response: Response,
    asked: AskedForesight,
    op: RestorationOp = None,
) -> object:
    """Put a deleted task's documents back at their place in the order, until they are purged."""
    question = partial(effects.restoration, fid=fid)
    match await foreseen(request, backend, question, asked, op=RESTORATIONS.get(op or "")):
        case Moves() as moves:
            return Envelope(payload=RestorationOut.of(moves))
        case Response() as page:
            return page
        case None:
            task = await backend.db.write(actions.restore, fid, at=backend.clock())
            return answer(response, TaskOut.of(task))


@router.get(
    "/tasks/{fid}/diff",
    dependencies=[READS],
    responses=fails(404),
    response_model=Envelope[CountsOut] | Listing[DifferenceOut],
)
async def get_diff(
    fid: str,
    backend: Backend,
    request: Request,
    op: Annotated[
        Literal["added", "changed", "unchanged", "removed"] | None,
        Query(description="List the documents with which this happened, before and after."),
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> object:
    """Tell what the present attempt of a task did to the stream, as of the last version that it made.

    A retry that ended well is compared with what its former attempts had left.
    """
    question = partial(effects.doing, fid=fid)
    if op is not None:
        return await difference_page(request, backend, question, Operation(op), limit=limit, cursor=cursor)
    task = await backend.db.read(objects.get, TASKS, fid)
    counts = task.summary or await backend.effects.counts(question)
    return Envelope(payload=CountsOut.model_validate(counts))
