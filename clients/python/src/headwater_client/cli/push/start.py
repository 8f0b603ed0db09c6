"""Starts the task for a pushed file, or resumes the open task that already has part of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headwater_client.cli.errors import CliError, ExitCode
from headwater_client.cli.push.closing import closed_on_failure
from headwater_client.cli.push.files import File

if TYPE_CHECKING:
    from headwater_client.headwater import Headwater
    from headwater_client.models.objects import Crawler, Task

#: Key in a task's ``meta`` that identifies the pushed file.
META = "push"
_REDACTED = "********"
_ANEW = "--new stops it and begins anew"


@dataclass(frozen=True)
class PushStart:
    """The task to push to, and where to resume."""

    task: Task
    #: Token of this attempt; None if another process received it.
    token: str | None
    #: Identifies the file when the push is resumed; None if it can be read only once.
    identity: Mapping[str, Any] | None = None


def begun(
    headwater: Headwater,
    crawler: Crawler,
    file: File,
    params: Mapping[str, Any],
    *,
    version: int | None = None,
    mode: str | None = None,
    scope: Sequence[str] | None = None,
    anew: bool,
) -> PushStart:
    """Start a task for a file, or return the open task of an interrupted push of the same file.

    Args:
        headwater: the client.
        crawler: the crawler.
        file: the file to push.
        params: override the crawler's.
        version: version of the External; None is the one in use.
        mode: ``merge`` or ``snapshot``; None is the crawler's.
        scope: conditions on the documents that a snapshot may hide; None are the crawler's.
        anew: whether to stop an open task first.

    Raises:
        CliError: there is an open task of something else.
        HeadwaterError: it cannot be started.
    """
    identity = file.identity()
    task = headwater.tasks.create(crawler, params, version=version, mode=mode, scope=scope)
    if task.already_running and anew:
        headwater.tasks.stop(task)
        task = headwater.tasks.create(crawler, params, version=version, mode=mode, scope=scope)
    if task.already_running:
        if version is not None and task.external_version != version:
            raise _busy(f"task {task.fid} is open with version {task.external_version} of the External: {_ANEW}")
        if mode is not None and task.mode != mode:
            raise _busy(f"task {task.fid} is open with the mode {task.mode}: {_ANEW}")
        _require_same(headwater.tasks.get(task), file, identity, params)
    # On failure, only a task that this command has started is closed.
    with nullcontext() if task.already_running else closed_on_failure(headwater, task.fid):
        known = {**(identity or {"file": file.name}), "attempt": task.attempt}
        if task.meta.get(META) != known:
            headwater.tasks.update(task, {META: known})
        token = task.upload.token if task.upload is not None else None
        return PushStart(headwater.tasks.get(task), token, identity)


def _require_same(task: Task, file: File, identity: Mapping[str, Any] | None, params: Mapping[str, Any]) -> None:
    """Check that an open task is an interrupted push of this file.

    Raises:
        CliError: it is not.
    """
    held: Mapping[str, Any] = task.meta.get(META) or {}
    if held.get("attempt") != task.attempt:
        if task.origin != "cli" or task.docs:
            raise _busy(f"task {task.fid} of this crawler is open, and was not begun by 'headwater push': {_ANEW}")
    elif identity is None and held.get("size") is None and task.docs:
        raise _busy(
            f"task {task.fid} is open, and what {file.name} gave it cannot be told from what comes now: {_ANEW}"
        )
    elif any(held.get(name) != (identity or {}).get(name) for name in ("size", "digest")):
        raise _busy(
            f"task {task.fid} is open with {task.docs:,} documents of another file, {held.get('file')}: {_ANEW}"
        )
    other = [name for name, value in params.items() if task.params.get(name) not in (value, _REDACTED)]
    if other:
        raise _busy(f"task {task.fid} is open with another value of {', '.join(other)}: {_ANEW}")


def _busy(why: str) -> CliError:
    return CliError(why, code=ExitCode.GONE)
