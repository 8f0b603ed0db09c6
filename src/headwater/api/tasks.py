"""Tasks: start, list, read, retry, stop."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query, Request, Response, status
from pydantic import BaseModel, ConfigDict, Field

from headwater.api.auth import READS, WRITES
from headwater.api.bodies import IfMatch, MergePatch, Meta, RequestBody, RunVersion, merge_patch, patched
from headwater.api.doers import origin_of
from headwater.api.envelope import (
    EXAMPLE_FID,
    Cursor,
    Envelope,
    Limit,
    Listing,
    ObjectOut,
    answer,
    listing,
    position_of,
)
from headwater.api.openapi import ec_calls, fails
from headwater.api.parts import Backend, Parts
from headwater.catalog import objects
from headwater.catalog.objects import TASKS
from headwater.catalog.transaction import Transaction
from headwater.catalog.vault import redact
from headwater.domain.errors import MethodNotAllowed
from headwater.domain.task import Origin, Reason, Task, TaskState
from headwater.lifecycle import actions, publishing
from headwater.lifecycle.actions import Opened
from headwater.lifecycle.dispatcher import task_endpoint

router = APIRouter(tags=["tasks"])


class TaskParams(RequestBody):
    """What a task is started with."""

    params: dict[str, Any] = Field(
        default_factory=dict,
        description="Override the stored parameters, key by key; checked with them as a whole.",
        examples=[{"language": "en"}],
    )


class TaskBody(RequestBody):
    """What of a task can be written."""

    meta: Meta = Field(default_factory=Meta)


class UploadOut(BaseModel):
    """Where a script uploads; said this once."""

    endpoint: str = Field(description="Append `/upload` or `/status`; it holds the token.")
    token: str


class CountsOut(BaseModel):
    """What became of documents, of each id that was touched."""

    model_config = ConfigDict(from_attributes=True)

    added: int = Field(description="Nothing showed before.", examples=[12])
    changed: int = Field(description="Another text showed before.", examples=[3])
    unchanged: int = Field(description="The same text showed before, byte for byte.", examples=[235])
    removed: int = Field(
        description="Nothing shows after: a former attempt of the task had brought them.", examples=[0]
    )


class TaskOut(ObjectOut):
    """One run of a crawler: a change set on its stream."""

    crawler: str = Field(examples=[EXAMPLE_FID])
    stream: str = Field(examples=[EXAMPLE_FID])
    external: str = Field(examples=[EXAMPLE_FID])
    external_version: int = Field(description="The version that the present attempt runs with.", examples=[3])
    params: dict[str, Any] = Field(description="Passwords read as `********`.", examples=[{"language": "de"}])
    attempt: int = Field(description="1, 2, …: each retry is a new attempt.", examples=[1])
    origin: Origin
    code: int = Field(
        description="0 new, 102 running, 200 done, 408 timed out, 410 stopped, 4xx or 5xx failed.", examples=[200]
    )
    state: TaskState = Field(examples=["done"])
    reason: Reason | None = Field(description="Why it ended; null while it is open.", examples=["reported"])
    message: str | None = Field(description="What its crawler said last, for people.", examples=["250 of 250"])
    detail: Any = Field(description="What it said beside it; any JSON.", examples=[{"done": 250}])
    docs: int = Field(description="Documents that the present attempt has uploaded.", examples=[250])
    bytes: int = Field(description="Their size, decompressed.", examples=[143250])
    uploads: int = Field(description="Uploads of the present attempt that were accepted.", examples=[5])
    rejected: int = Field(description="Documents of the present attempt that were kept aside.", examples=[0])
    started_at: datetime = Field(examples=["2026-03-01T12:00:00.000000Z"])
    heard_at: datetime | None = Field(examples=["2026-03-01T12:29:58.000000Z"])
    deadline: datetime | None = Field(description="When it times out unless it is heard from.", examples=[None])
    ended_at: datetime | None = Field(examples=["2026-03-01T12:30:00.000000Z"])
    retry_at: datetime | None = Field(description="When it is retried by itself.", examples=[None])
    removed_at: datetime | None = Field(description="Set while its documents are removed from the stream.")
    summary: CountsOut | None = Field(
        description="What its present attempt did to the stream; counted some time after its end."
    )

    @classmethod
    def of(cls, task: Task, **more: Any) -> Self:
        """Return a task as callers see it."""
        plain = cls.model_fields.keys() - {"type", "params", "summary", *more}
        counted = None if task.summary is None else CountsOut.model_validate(task.summary)
        fields = {name: getattr(task, name) for name in plain}
        return cls(type="tasks", params=redact(task.params), summary=counted, **fields, **more)


class BegunTask(TaskOut):
    """A task that was just started."""

    upload: UploadOut | None = Field(default=None, description="For a push External: where its script uploads.")


def _begun(backend: Parts, response: Response, opened: Opened, *, code: int) -> Envelope[BegunTask]:
    task = opened.task
    response.headers["Location"] = f"/tasks/{task.fid}"
    response.status_code = code if opened.begun else status.HTTP_208_ALREADY_REPORTED
    upload = None
    if opened.begun and opened.push:
        token = backend.vault.task_token(task.fid, task.attempt)
        upload = UploadOut(endpoint=task_endpoint(backend.public_url, task.fid, token), token=token)
    return answer(response, BegunTask.of(task, upload=upload))


_BEGINS: dict[int | str, dict[str, Any]] = {
    208: {"model": Envelope[TaskOut], "description": "The crawler has an open task: this one."},
}


@router.post(
    "/actions/crawlers/{fid}/task",
    status_code=status.HTTP_201_CREATED,
    dependencies=[WRITES],
    responses=_BEGINS | fails(404, 415),
    callbacks=ec_calls("create_task"),
)
async def create_task(
    fid: str,
    backend: Backend,
    request: Request,
    response: Response,
    version: RunVersion = None,
    body: TaskParams | None = None,
) -> Envelope[BegunTask]:
    """Start a run of a crawler, with the published version of its External or with another one."""
    params = body.params if body is not None else {}
    opened = await backend.db.write(
        actions.create,
        fid,
        params,
        vault=backend.vault,
        origin=origin_of(request),
        at=backend.clock(),
        version=version,
    )
    return _begun(backend, response, opened, code=status.HTTP_201_CREATED)


@router.post(
    "/actions/crawlers/{fid}/task/{task_fid}",
    dependencies=[WRITES],
    responses=_BEGINS | fails(404, 409, 415),
    callbacks=ec_calls("retry_task"),
)
async def retry_task(
    fid: str,
    task_fid: str,
    backend: Backend,
    response: Response,
    version: RunVersion = None,
    body: TaskParams | None = None,
) -> Envelope[BegunTask]:
    """Run a task again, as its next attempt, with the version of the External that a new task would have.

    The former attempt's documents stay in the stream until the new one ends with 200; then they are
    replaced in one step.
    """
    params = body.params if body is not None else {}
    opened = await backend.db.write(
        actions.retry, fid, task_fid, params, vault=backend.vault, at=backend.clock(), version=version
    )
    return _begun(backend, response, opened, code=status.HTTP_200_OK)


@router.post("/tasks", include_in_schema=False)
async def tasks_are_created_elsewhere() -> None:
    """Say where tasks are created."""
    raise MethodNotAllowed("a task is created by the action POST /actions/crawlers/{fid}/task")


@router.post("/actions/tasks/{fid}/stop", dependencies=[WRITES], responses=fails(404, 409))
async def stop_task(fid: str, backend: Backend, response: Response) -> Envelope[TaskOut]:
    """End an open task with 410 and keep its documents; its EC is told.

    One that failed and waits to be retried by itself is not retried any more.
    """
    task = await backend.db.write(actions.stop, fid, vault=backend.vault, at=backend.clock())
    return answer(response, TaskOut.of(task))


@router.post("/actions/tasks/{fid}/publish", dependencies=[WRITES], responses=fails(404, 409))
async def publish_task(fid: str, backend: Backend, response: Response) -> Envelope[TaskOut]:
    """Let a task in that a gate had kept out of its stream, with all its documents and at once.

    They take the place that they would have had; of a retry they replace those of the former attempt.
    """
    task = await backend.db.write(publishing.publish, fid, at=backend.clock())
    return answer(response, TaskOut.of(task))


@router.get("/tasks", dependencies=[READS])
async def list_tasks(
    backend: Backend,
    request: Request,
    response: Response,
    state: TaskState | None = None,
    crawler: str | None = None,
    stream: str | None = None,
    external: str | None = None,
    name: Annotated[str | None, Query(description="Only those whose `meta.name` is this.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[TaskOut]:
    """List tasks, newest first."""
    filters = {"state": state, "crawler": crawler, "stream": stream, "external": external, "name": name}
    where = {field: value for field, value in filters.items() if value is not None}
    page = await backend.db.read(objects.page, TASKS, where=where, after=position_of(cursor, str), limit=limit)
    last = page[-1].fid if page else None
    return listing(request, response, [TaskOut.of(task) for task in page], limit=limit, last=last)


@router.get("/tasks/{fid}", dependencies=[READS], responses=fails(404))
async def get_task(fid: str, backend: Backend, response: Response) -> Envelope[TaskOut]:
    """Read a task."""
    return answer(response, TaskOut.of(await backend.db.read(objects.get, TASKS, fid)))


def _change(
    tx: Transaction, fid: str, expected: frozenset[int] | None, body: TaskBody | dict[str, Any], at: datetime
) -> TaskOut:
    old = objects.get(tx, TASKS, fid, lock=True)
    objects.require_version(old, expected)
    if isinstance(body, dict):
        body = patched(TaskBody.model_validate({"meta": old.meta}), body)
    new = replace(old, meta=body.meta.kept(), **objects.edited(at, old.version))
    return TaskOut.of(objects.save(tx, TASKS, old, new))


@router.patch("/tasks/{fid}", dependencies=[WRITES], responses=fails(404, 409, 412, 415))
async def patch_task(
    fid: str,
    patch: Annotated[MergePatch, merge_patch(TaskBody)],
    expected: IfMatch,
    backend: Backend,
    response: Response,
) -> Envelope[TaskOut]:
    """Change a task's `meta` by a merge patch; all else of a task changes by actions."""
    return answer(response, await backend.db.write(_change, fid, expected, patch, backend.clock()))


@router.put("/tasks/{fid}", dependencies=[WRITES], responses=fails(404, 409, 412, 415))
async def put_task(
    fid: str, body: TaskBody, expected: IfMatch, backend: Backend, response: Response
) -> Envelope[TaskOut]:
    """Overwrite a task's `meta`."""
    return answer(response, await backend.db.write(_change, fid, expected, body, backend.clock()))
