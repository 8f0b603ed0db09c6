"""The task that a file is pushed to: a new one, or the open one that holds the beginning of the file already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headwater_client.cli.endings import Code, Refusal
from headwater_client.cli.pushing.files import File

if TYPE_CHECKING:
    from headwater_client.headwater import Headwater
    from headwater_client.objects import Crawler, Task

#: Under this name a task's ``meta`` says what is pushed to it.
META = "push"
_REDACTED = "********"
_ANEW = "--new stops it and begins anew"


@dataclass(frozen=True)
class Beginning:
    """Where pushing begins."""

    task: Task
    #: Opens the task, and only this attempt of it; None where it was said to another.
    token: str | None


def begun(
    headwater: Headwater,
    crawler: Crawler,
    file: File,
    params: Mapping[str, Any],
    *,
    version: int | None = None,
    anew: bool,
) -> Beginning:
    """Start a task for a file, or return the open one that the same file was pushed to before.

    Args:
        headwater: where.
        crawler: whose task.
        file: what will be pushed.
        params: override the crawler's.
        version: of its External; None is the one in use.
        anew: whether an open task is stopped first.

    Raises:
        Refusal: there is an open task, of something else.
        HeadwaterError: it cannot be started.
    """
    identity = file.identity()
    task = headwater.tasks.create(crawler, params, version=version)
    if task.already_running and anew:
        headwater.tasks.stop(task)
        task = headwater.tasks.create(crawler, params, version=version)
    if task.already_running:
        if version is not None and task.external_version != version:
            raise _busy(f"task {task.fid} is open with version {task.external_version} of the External: {_ANEW}")
        _require_same(headwater.tasks.get(task), file, identity, params)
    known = {**(identity or {"file": file.name}), "attempt": task.attempt}
    if task.meta.get(META) != known:
        headwater.tasks.update(task, {META: known})
    return Beginning(headwater.tasks.get(task), task.upload.token if task.upload is not None else None)


def _require_same(task: Task, file: File, identity: Mapping[str, Any] | None, params: Mapping[str, Any]) -> None:
    """Go on if an open task waits for this file.

    Raises:
        Refusal: it does not.
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


def _busy(why: str) -> Refusal:
    return Refusal(why, code=Code.GONE)
