"""Tasks: the runs of crawlers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from headwater_client import parts
from headwater_client.answers import (
    Attempt,
    Counts,
    Difference,
    Document,
    Reject,
    Removal,
    Replayed,
    Restoration,
)
from headwater_client.objects import BegunTask, Task
from headwater_client.questions import D, Pages, Part, Question, Ref, call, fid_of, given, payload_of, reading, walk

_ALREADY_REPORTED = 208


class Tasks(Part[D]):
    """``hw.tasks``."""

    @call
    def create(
        self, crawler: Ref, params: Mapping[str, Any] | None = None, *, version: int | None = None
    ) -> Question[BegunTask]:
        """Start a run of a crawler; if it has an open one, return that, ``already_running``.

        Args:
            crawler: whose run.
            params: override the crawler's, key by key.
            version: of its External, to try one that is not published.
        """
        return _beginning(f"/actions/crawlers/{fid_of(crawler)}/task", params, version)

    @call
    def retry(
        self, task: Task, params: Mapping[str, Any] | None = None, *, version: int | None = None
    ) -> Question[BegunTask]:
        """Run a task again, as its next attempt, whose documents replace those of the former once it ends with 200."""
        return _beginning(f"/actions/crawlers/{task.crawler}/task/{task.fid}", params, version)

    @call
    def delete(self, task: Ref) -> Question[Task]:
        """Delete a task: stop it if it runs, and take its documents out of the stream, at once and whole."""
        return Question("DELETE", f"/actions/tasks/{fid_of(task)}", reading(Task.read), is_harmless=True)

    @call
    def preview_delete(self, task: Ref) -> Question[Removal]:
        """Count what ``delete`` would do."""
        path = f"/actions/tasks/{fid_of(task)}"
        return Question("DELETE", path, reading(Removal.read), params=parts.DRY, is_harmless=True)

    @call
    def restore(self, task: Ref) -> Question[Task]:
        """Put a deleted task's documents back at their place in the order."""
        return Question("POST", f"/actions/tasks/{fid_of(task)}/restore", reading(Task.read), is_harmless=True)

    @call
    def preview_restore(self, task: Ref) -> Question[Restoration]:
        """Count what ``restore`` would do."""
        path = f"/actions/tasks/{fid_of(task)}/restore"
        return Question("POST", path, reading(Restoration.read), params=parts.DRY, is_harmless=True)

    @call
    def stop(self, task: Ref) -> Question[Task]:
        """End an open task with 410, and keep its documents."""
        return Question("POST", f"/actions/tasks/{fid_of(task)}/stop", reading(Task.read), is_harmless=True)

    @call
    def publish(self, task: Ref) -> Question[Task]:
        """Let a task in that ended well and that a gate kept out of its stream."""
        return Question("POST", f"/actions/tasks/{fid_of(task)}/publish", reading(Task.read), is_harmless=True)

    @call
    def status(self, task: Ref, code: int, message: str | None = None, detail: Any = None) -> Question[Task]:
        """Report how a task goes, in its crawler's place: 102 goes on, 2xx is done, 4xx and 5xx failed."""
        return reporting(f"/actions/tasks/{fid_of(task)}", code, message, detail)

    @call
    def get(self, task: Ref) -> Question[Task]:
        """Read a task."""
        return parts.getting(Task, "tasks", task)

    @walk
    def list(
        self,
        *,
        state: str | None = None,
        crawler: Ref | None = None,
        stream: Ref | None = None,
        external: Ref | None = None,
        name: str | None = None,
    ) -> Pages[Task]:
        """Iterate over tasks, newest first."""
        filters = given(
            state=state,
            crawler=None if crawler is None else fid_of(crawler),
            stream=None if stream is None else fid_of(stream),
            external=None if external is None else fid_of(external),
            name=name,
        )
        return parts.listing(Task, "tasks", filters)

    @call
    def update(self, task: Ref, meta: Mapping[str, Any], *, if_version: int | None = None) -> Question[Task]:
        """Merge into a task's ``meta`` (RFC 7396: null removes)."""
        return parts.writing(Task, "PATCH", "tasks", task, fields={"meta": dict(meta)}, if_version=if_version)

    @walk
    def attempts(self, task: Ref) -> Pages[Attempt]:
        """Iterate over a task's attempts, newest first."""
        return Pages(f"/tasks/{fid_of(task)}/attempts", Attempt.read, {"limit": parts.PAGE})

    @walk
    def docs(self, task: Ref) -> Pages[Document]:
        """Iterate over what the present attempt uploaded, in order of arrival."""
        return Pages(f"/tasks/{fid_of(task)}/docs", Document.read, {"limit": parts.PAGE})

    @walk
    def rejects(self, task: Ref, *, attempt: int | None = None) -> Pages[Reject]:
        """Iterate over what lenient uploads left aside, of the present attempt or of another."""
        return Pages(f"/tasks/{fid_of(task)}/rejects", Reject.read, {"attempt": attempt, "limit": parts.PAGE})

    @call
    def replay(self, task: Ref) -> Question[Replayed]:
        """Try what was left aside again, by the External as runs begin with it now; what passes joins the task."""
        return Question("POST", f"/actions/tasks/{fid_of(task)}/replay", reading(Replayed.read))

    @call
    def diff(self, task: Ref) -> Question[Counts]:
        """Count what the present attempt did to its stream."""
        return Question("GET", f"/tasks/{fid_of(task)}/diff", reading(Counts.read), is_harmless=True)

    @walk
    def differences(self, task: Ref, op: str) -> Pages[Difference]:
        """Iterate over the documents that it ``added``, ``changed``, left ``unchanged`` or ``removed``."""
        return Pages(f"/tasks/{fid_of(task)}/diff", Difference.read, {"op": op, "limit": parts.PAGE})


def reporting(task_path: str, code: int, message: str | None, detail: Any, **headers: str) -> Question[Task]:
    """Ask for a task's status to be changed; a repetition is harmless."""
    body = {"code": code, **given(message=message, detail=detail)}
    return Question("POST", f"{task_path}/status", reading(Task.read), json=body, headers=headers, is_harmless=True)


def _beginning(path: str, params: Mapping[str, Any] | None, version: int | None) -> Question[BegunTask]:
    def begun(answer: httpx.Response) -> BegunTask:
        return BegunTask.begun(payload_of(answer), already_running=answer.status_code == _ALREADY_REPORTED)

    return Question("POST", path, begun, params=given(version=version), json={"params": params or {}})
