"""Tasks: start, list, read, change, retry, stop, publish."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import Depends, Query, Request, Response, status
from pydantic import BaseModel, ConfigDict, Field

from headwater.api import key_limits, routing
from headwater.api.audit_actor import origin_of
from headwater.api.auth import READS, WRITES, Reader
from headwater.api.crawler_bodies import Scope
from headwater.api.dependencies import Services, ServicesOf
from headwater.api.openapi import ec_calls, fails
from headwater.api.query_params import FidPrefix, Moment
from headwater.api.request_bodies import IfMatch, MergePatch, Meta, RequestBody, RunVersion, merge_patch, patched
from headwater.api.responses import (
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
from headwater.catalog import objects, task_lists
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import TASKS
from headwater.catalog.task_lists import TaskOrder, TaskQuery
from headwater.catalog.vault import redact
from headwater.domain.errors import MethodNotAllowed
from headwater.domain.task import Mode, Origin, Reason, Task, TaskState
from headwater.lifecycle import publication
from headwater.lifecycle import tasks as task_actions
from headwater.lifecycle.ec.dispatcher import task_endpoint
from headwater.lifecycle.tasks import Opened

router = routing.router("tasks")


class TaskParams(RequestBody):
    """The parameters of a new task."""

    params: dict[str, Any] = Field(
        default_factory=dict,
        description="Override the stored parameters, key by key; checked with them as a whole.",
        examples=[{"language": "en"}],
    )


class NewTask(TaskParams):
    """A task to create."""

    mode: Mode | None = Field(
        default=None,
        description="`merge` or `snapshot`; otherwise the crawler's. Retries keep it.",
        examples=["snapshot"],
    )
    scope: Scope | None = Field(
        default=None,
        description="Of a snapshot: conditions on the documents that it may hide, as `where` takes them; all must "
        "match. Otherwise the crawler's; empty: all documents.",
        examples=[["shop=north"]],
    )


class TaskBody(RequestBody):
    """The writable fields of a task."""

    meta: Meta = Field(default_factory=Meta)


class UploadOut(BaseModel):
    """Where a script uploads; returned only once."""

    endpoint: str = Field(description="Append `/upload` or `/status`; it holds the token.")
    token: str


class CountsOut(BaseModel):
    """The diff of the task, in numbers of documents."""

    model_config = ConfigDict(from_attributes=True)

    added: int = Field(description="Nothing showed before.", examples=[12])
    changed: int = Field(description="Another text showed before.", examples=[3])
    unchanged: int = Field(description="The same text showed before, byte for byte.", examples=[235])
    removed: int = Field(
        description="Nothing shows after: a snapshot run, or an attempt that replaced former ones, did not bring them.",
        examples=[0],
    )


class TaskOut(ObjectOut):
    """One run of a crawler: a change set on its stream."""

    crawler: str = Field(examples=[EXAMPLE_FID])
    stream: str = Field(examples=[EXAMPLE_FID])
    external: str = Field(examples=[EXAMPLE_FID])
    external_version: int = Field(description="The version that the current attempt runs with.", examples=[3])
    params: dict[str, Any] = Field(description="Passwords read as `********`.", examples=[{"language": "de"}])
    mode: Mode = Field(
        description="`snapshot`: once it ended with 200, the stream shows nothing of earlier runs.",
        examples=["merge"],
    )
    scope: list[str] | None = Field(
        description="Of a snapshot: the conditions on the documents that it may hide; null: all.", examples=[None]
    )
    attempt: int = Field(description="1, 2, …: each retry is a new attempt.", examples=[1])
    origin: Origin
    code: int = Field(
        description="0 new, 102 running, 200 done, 408 timed out, 410 stopped, 4xx or 5xx failed.", examples=[200]
    )
    state: TaskState = Field(examples=["done"])
    reason: Reason | None = Field(description="Why it ended; null while it is open.", examples=["reported"])
    message: str | None = Field(description="What its crawler said last, for people.", examples=["250 of 250"])
    detail: Any = Field(description="What it said beside it; any JSON.", examples=[{"done": 250}])
    docs: int = Field(description="Documents that the current attempt has uploaded.", examples=[250])
    bytes: int = Field(description="Their size, decompressed.", examples=[143250])
    uploads: int = Field(description="Uploads of the current attempt that were accepted.", examples=[5])
    rejected: int = Field(description="Documents of the current attempt that were kept aside.", examples=[0])
    deleted: int = Field(description="Documents that the current attempt has deleted by a line.", examples=[0])
    started_at: datetime = Field(examples=["2026-03-01T12:00:00.000000Z"])
    heard_at: datetime | None = Field(examples=["2026-03-01T12:29:58.000000Z"])
    deadline: datetime | None = Field(description="When it times out unless it is heard from.", examples=[None])
    ended_at: datetime | None = Field(examples=["2026-03-01T12:30:00.000000Z"])
    duration: float | None = Field(
        description="Seconds from the start of its current attempt to the end; null while it is open.",
        examples=[1800.0],
    )
    retry_at: datetime | None = Field(description="When it is retried by itself.", examples=[None])
    removed_at: datetime | None = Field(description="Set while its documents are removed from the stream.")
    summary: CountsOut | None = Field(
        description="What its current attempt did to the stream; counted some time after its end."
    )

    @classmethod
    def of(cls, task: Task, **more: Any) -> Self:
        """Return a task in the form of the API."""
        plain = cls.model_fields.keys() - {"type", "params", "summary", *more}
        counted = None if task.summary is None else CountsOut.model_validate(task.summary)
        fields = {name: getattr(task, name) for name in plain}
        return cls(type="tasks", params=redact(task.params), summary=counted, **fields, **more)


class BegunTask(TaskOut):
    """A task that was just started."""

    upload: UploadOut | None = Field(default=None, description="For a push External: where its script uploads.")


def _begun(services: Services, response: Response, opened: Opened, *, code: int) -> Envelope[BegunTask]:
    task = opened.task
    response.headers["Location"] = f"/tasks/{task.fid}"
    response.status_code = code if opened.begun else status.HTTP_208_ALREADY_REPORTED
    upload = None
    if opened.begun and opened.push:
        token = services.vault.task_token(task.fid, task.attempt)
        upload = UploadOut(endpoint=task_endpoint(services.public_url, task.fid, token), token=token)
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
    services: ServicesOf,
    request: Request,
    response: Response,
    version: RunVersion = None,
    mode: Annotated[Mode | None, Query(description="As in the body, where it may stand instead.")] = None,
    body: NewTask | None = None,
) -> Envelope[BegunTask]:
    """Start a run of a crawler, with the published version of its External or with another one."""
    wanted = body or NewTask()
    opened = await services.db.write(
        task_actions.create,
        fid,
        wanted.params,
        vault=services.vault,
        origin=origin_of(request),
        at=services.clock(),
        version=version,
        mode=mode or wanted.mode,
        scope=wanted.scope,
    )
    return _begun(services, response, opened, code=status.HTTP_201_CREATED)


@router.post(
    "/actions/crawlers/{fid}/task/{task_fid}",
    dependencies=[WRITES],
    responses=_BEGINS | fails(404, 409, 415),
    callbacks=ec_calls("retry_task"),
)
async def retry_task(
    fid: str,
    task_fid: str,
    services: ServicesOf,
    response: Response,
    version: RunVersion = None,
    body: TaskParams | None = None,
) -> Envelope[BegunTask]:
    """Run a task again, as its next attempt, with the External's version that a new task would have.

    The former attempt's documents stay in the stream until the new one ends with 200; then they are
    replaced in one step.
    """
    params = body.params if body is not None else {}
    opened = await services.db.write(
        task_actions.retry, fid, task_fid, params, vault=services.vault, at=services.clock(), version=version
    )
    return _begun(services, response, opened, code=status.HTTP_200_OK)


@router.post("/tasks", include_in_schema=False)
async def tasks_are_created_elsewhere() -> None:
    """Refer to the endpoint that creates tasks."""
    raise MethodNotAllowed("a task is created by the action POST /actions/crawlers/{fid}/task")


@router.post("/actions/tasks/{fid}/stop", dependencies=[WRITES], responses=fails(404, 409))
async def stop_task(fid: str, services: ServicesOf, response: Response) -> Envelope[TaskOut]:
    """Stop an open task with 410 and keep its documents; its EC is notified.

    If it failed and waits for an automatic retry, that is cancelled.
    """
    task = await services.db.write(task_actions.stop, fid, vault=services.vault, at=services.clock())
    return answer(response, TaskOut.of(task))


@router.post("/actions/tasks/{fid}/publish", dependencies=[WRITES], responses=fails(404, 409))
async def publish_task(fid: str, services: ServicesOf, response: Response) -> Envelope[TaskOut]:
    """Publish a task that a gate has withheld, with all its documents in one step.

    They take their regular place in the order; those of a retry replace the former attempt's.
    """
    task = await services.db.write(publication.publish, fid, at=services.clock())
    return answer(response, TaskOut.of(task))


_STATES = "|".join(TaskState)
_ORDERS = "|".join(TaskOrder)


async def _task_query(
    state: Annotated[
        str | None,
        Query(
            pattern=f"^({_STATES})(,({_STATES}))*$",
            description="One or several, separated by commas.",
            examples=["failed,timed_out"],
        ),
    ] = None,
    crawler: str | None = None,
    stream: str | None = None,
    external: str | None = None,
    name: Annotated[str | None, Query(description="Only those whose `meta.name` is this.")] = None,
    since: Annotated[Moment | None, Query(description="Started then or later.")] = None,
    until: Annotated[Moment | None, Query(description="Started before then.")] = None,
    ended_since: Annotated[Moment | None, Query(description="Ended then or later.")] = None,
    fid: FidPrefix = None,
    sort: Annotated[
        str,
        Query(
            pattern=f"^-?({_ORDERS})$",
            description="With `-`, highest first. By `ended_at` and `duration`, only tasks that have ended are listed.",
            examples=["-duration"],
        ),
    ] = f"-{TaskOrder.CREATED}",
) -> TaskQuery:
    return TaskQuery(
        states=frozenset(map(TaskState, state.split(","))) if state else frozenset(),
        crawler=crawler,
        stream=stream,
        external=external,
        name=name,
        since=since,
        until=until,
        ended_since=ended_since,
        fid=fid,
        order=TaskOrder(sort.removeprefix("-")),
        is_descending=sort.startswith("-"),
    )


@router.get("/tasks")
async def list_tasks(
    key: Reader,
    services: ServicesOf,
    request: Request,
    response: Response,
    query: Annotated[TaskQuery, Depends(_task_query)],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[TaskOut]:
    """List tasks, newest first or in another order."""
    page = await services.db.read(
        task_lists.page, query, after=position_of(cursor, str), limit=limit, within=key_limits.within(key, TASKS)
    )
    last = page[-1].fid if page else None
    return listing(request, response, [TaskOut.of(task) for task in page], limit=limit, last=last)


@router.get("/tasks/{fid}", dependencies=[READS], responses=fails(404))
async def get_task(fid: str, services: ServicesOf, response: Response) -> Envelope[TaskOut]:
    """Read a task."""
    return answer(response, TaskOut.of(await services.db.read(objects.get, TASKS, fid)))


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
    services: ServicesOf,
    response: Response,
) -> Envelope[TaskOut]:
    """Change a task's `meta` by a merge patch; actions change everything else."""
    return answer(response, await services.db.write(_change, fid, expected, patch, services.clock()))


@router.put("/tasks/{fid}", dependencies=[WRITES], responses=fails(404, 409, 412, 415))
async def put_task(
    fid: str, body: TaskBody, expected: IfMatch, services: ServicesOf, response: Response
) -> Envelope[TaskOut]:
    """Replace a task's `meta`."""
    return answer(response, await services.db.write(_change, fid, expected, body, services.clock()))
