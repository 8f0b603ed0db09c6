"""Calls for tasks, which are the runs of crawlers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import httpx

from headwater_client import resource
from headwater_client.cleaning import clean_text, cleaned
from headwater_client.encoding import json_of
from headwater_client.log_stream import LogStream
from headwater_client.models.objects import BegunTask, Task
from headwater_client.models.results import (
    Attempt,
    Counts,
    Difference,
    Document,
    LogLine,
    Reject,
    Removal,
    Replayed,
    Restoration,
)
from headwater_client.requests import (
    Call,
    D,
    Pages,
    Ref,
    Resource,
    endpoint,
    fid_of,
    given,
    paginated,
    payload_of,
    reading,
)

_ALREADY_REPORTED = 208


class Tasks(Resource[D]):
    """``hw.tasks``."""

    @endpoint
    def create(
        self,
        crawler: Ref,
        params: Mapping[str, Any] | None = None,
        *,
        version: int | None = None,
        mode: str | None = None,
        scope: Sequence[str] | None = None,
    ) -> Call[BegunTask]:
        """Start a task of a crawler. If it has an open task, return that one, with ``already_running`` set.

        Args:
            crawler: the crawler.
            params: override the crawler's params, key by key.
            version: version of the External, to try one that is not published.
            mode: ``merge`` or ``snapshot``, if not the crawler's.
            scope: conditions on the documents that a snapshot may hide, such as ``shop=north``, if not the crawler's;
                empty: all documents.
        """
        run = given(mode=mode, scope=None if scope is None else list(scope))
        return _beginning(f"/actions/crawlers/{fid_of(crawler)}/task", params, version, run)

    @endpoint
    def retry(
        self, task: Task, params: Mapping[str, Any] | None = None, *, version: int | None = None
    ) -> Call[BegunTask]:
        """Run a task again, as its next attempt. Its documents replace the previous ones once it ends with 200."""
        return _beginning(f"/actions/crawlers/{fid_of(task.crawler)}/task/{fid_of(task)}", params, version)

    @endpoint
    def delete(self, task: Ref) -> Call[Task]:
        """Delete a task: stop it if it is running, and remove its documents from the stream atomically."""
        return Call("DELETE", f"/actions/tasks/{fid_of(task)}", reading(Task.read), is_harmless=True)

    @endpoint
    def preview_delete(self, task: Ref) -> Call[Removal]:
        """Return what ``delete`` would change (dry run)."""
        path = f"/actions/tasks/{fid_of(task)}"
        return Call("DELETE", path, reading(Removal.read), params=resource.DRY, is_harmless=True)

    @endpoint
    def restore(self, task: Ref) -> Call[Task]:
        """Restore a deleted task's documents at their original position."""
        return Call("POST", f"/actions/tasks/{fid_of(task)}/restore", reading(Task.read), is_harmless=True)

    @endpoint
    def preview_restore(self, task: Ref) -> Call[Restoration]:
        """Return what ``restore`` would change (dry run)."""
        path = f"/actions/tasks/{fid_of(task)}/restore"
        return Call("POST", path, reading(Restoration.read), params=resource.DRY, is_harmless=True)

    @endpoint
    def stop(self, task: Ref) -> Call[Task]:
        """End an open task with 410, and keep its documents."""
        return Call("POST", f"/actions/tasks/{fid_of(task)}/stop", reading(Task.read), is_harmless=True)

    @endpoint
    def publish(self, task: Ref) -> Call[Task]:
        """Publish a successful task that a gate has held back."""
        return Call("POST", f"/actions/tasks/{fid_of(task)}/publish", reading(Task.read), is_harmless=True)

    @endpoint
    def status(self, task: Ref, code: int, message: str | None = None, detail: Any = None) -> Call[Task]:
        """Report a task's status on behalf of its crawler: 102 running, 2xx done, 4xx and 5xx failed."""
        return reporting(f"/actions/tasks/{fid_of(task)}", code, message, detail)

    @endpoint
    def get(self, task: Ref) -> Call[Task]:
        """Read a task."""
        return resource.getting(Task, "tasks", task)

    @paginated
    def list(
        self,
        *,
        state: str | Sequence[str] | None = None,
        crawler: Ref | None = None,
        stream: Ref | None = None,
        external: Ref | None = None,
        name: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        ended_since: datetime | None = None,
        sort: str | None = None,
        fid: str | None = None,
    ) -> Pages[Task]:
        """Iterate over tasks, newest first.

        Args:
            state: one or several.
            crawler: only its tasks.
            stream: only tasks that write to it.
            external: only tasks of its crawlers.
            name: of ``meta``.
            since: started then or later.
            until: started before then.
            ended_since: ended then or later.
            sort: ``created_at``, ``started_at``, ``ended_at``, ``duration`` or ``docs``; with ``-``, highest first. By
                ``ended_at`` and ``duration``, only tasks that have ended.
            fid: the start of one.
        """
        filters = given(
            state=state if state is None or isinstance(state, str) else ",".join(state),
            since=resource.moment(since),
            until=resource.moment(until),
            ended_since=resource.moment(ended_since),
            sort=sort,
            crawler=None if crawler is None else fid_of(crawler),
            stream=None if stream is None else fid_of(stream),
            external=None if external is None else fid_of(external),
            name=name,
            fid=fid,
        )
        return resource.listing(Task, "tasks", filters)

    @endpoint
    def update(self, task: Ref, meta: Mapping[str, Any], *, if_version: int | None = None) -> Call[Task]:
        """Merge into a task's ``meta`` (RFC 7396: null removes)."""
        return resource.writing(Task, "PATCH", "tasks", task, fields={"meta": dict(meta)}, if_version=if_version)

    @paginated
    def attempts(self, task: Ref) -> Pages[Attempt]:
        """Iterate over a task's attempts, newest first."""
        return Pages(f"/tasks/{fid_of(task)}/attempts", Attempt.read, {"limit": resource.PAGE})

    @paginated
    def docs(self, task: Ref) -> Pages[Document]:
        """Iterate over the documents of the current attempt, in order of arrival."""
        return Pages(f"/tasks/{fid_of(task)}/docs", Document.read, {"limit": resource.PAGE})

    @paginated
    def rejects(self, task: Ref, *, attempt: int | None = None) -> Pages[Reject]:
        """Iterate over lines rejected by lenient uploads, of the current attempt or another."""
        return Pages(f"/tasks/{fid_of(task)}/rejects", Reject.read, {"attempt": attempt, "limit": resource.PAGE})

    @paginated
    def log(
        self,
        task: Ref,
        *,
        attempt: int | None = None,
        level: str | None = None,
        q: str | None = None,
        tail: int | None = None,
    ) -> Pages[LogLine]:
        """Iterate over the log of the current attempt or another one, oldest lines first.

        Args:
            task: the task.
            attempt: another attempt.
            level: only lines of this level or above: ``debug``, ``info``, ``warning``, ``error``, ``critical``.
            q: only lines whose text contains this, in any case.
            tail: begin with the last lines, so many.
        """
        return Pages(f"/tasks/{fid_of(task)}/log", LogLine.read, _log_params(attempt, level, q, tail))

    @paginated
    def follow_log(
        self,
        task: Ref,
        *,
        attempt: int | None = None,
        level: str | None = None,
        q: str | None = None,
        tail: int | None = None,
    ) -> LogStream:
        """Iterate over a log while it is written, until the attempt is over; arguments are those of ``log``."""
        params = _log_params(attempt, level, q, tail)
        return LogStream(f"/tasks/{fid_of(task)}/log", {name: params[name] for name in params if name != "limit"})

    @endpoint
    def add_log(self, task: Ref, text: str, level: str = "info", **fields: Any) -> Call[None]:
        """Write a line to a task's log."""
        line = json_of(cleaned({**fields, "level": level, "text": text}))
        headers = {"Content-Type": "application/x-ndjson"}
        path = f"/actions/tasks/{fid_of(task)}/log"
        return Call("POST", path, lambda _answer: None, headers=headers, content=lambda: line)

    @endpoint
    def replay(self, task: Ref) -> Call[Replayed]:
        """Validate rejected lines again, with the External's version in use; valid ones are added to the task."""
        return Call("POST", f"/actions/tasks/{fid_of(task)}/replay", reading(Replayed.read))

    @endpoint
    def diff(self, task: Ref) -> Call[Counts]:
        """Return how the current attempt changed its stream."""
        return Call("GET", f"/tasks/{fid_of(task)}/diff", reading(Counts.read), is_harmless=True)

    @paginated
    def differences(self, task: Ref, op: str) -> Pages[Difference]:
        """Iterate over the documents that the attempt ``added``, ``changed``, left ``unchanged`` or ``removed``."""
        return Pages(f"/tasks/{fid_of(task)}/diff", Difference.read, {"op": op, "limit": resource.PAGE})


def _log_params(attempt: int | None, level: str | None, q: str | None, tail: int | None) -> dict[str, Any]:
    return {**given(attempt=attempt, level=level, q=q, tail=tail), "limit": resource.PAGE}


def reporting(task_path: str, code: int, message: str | None, detail: Any, **headers: str) -> Call[Task]:
    """Return the call that reports a task's status, which is idempotent.

    Message and detail are sanitized, so that the report is not refused for a character that cannot be stored.
    """
    texts = given(message=None if message is None else clean_text(message), detail=cleaned(detail))
    body = {"code": code, **texts}
    return Call("POST", f"{task_path}/status", reading(Task.read), json=body, headers=headers, is_harmless=True)


def _beginning(
    path: str, params: Mapping[str, Any] | None, version: int | None, run: Mapping[str, Any] | None = None
) -> Call[BegunTask]:
    def begun(answer: httpx.Response) -> BegunTask:
        return BegunTask.begun(payload_of(answer), already_running=answer.status_code == _ALREADY_REPORTED)

    return Call("POST", path, begun, params=given(version=version), json={"params": params or {}, **(run or {})})
