"""Permanent deletion of relational objects, with cascades.

A cascade over many tasks deletes most of them first, some in each transaction, so that uploads of other streams do not
wait until it ends. When it is interrupted, the object and the tasks that are left can be deleted by the same request.
"""

from datetime import datetime
from typing import Any

from headwater.catalog import garbage, objects, segments, streams, task_logs, tasks
from headwater.catalog.core.database import Database
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.garbage import READERS_LEAVE
from headwater.catalog.objects import CRAWLERS, EXTERNALS, STREAMS, TASKS, ObjectType
from headwater.catalog.vault import Vault
from headwater.domain.crawler import Crawler
from headwater.domain.errors import InUse
from headwater.domain.stream import Stream
from headwater.domain.task import Task
from headwater.lifecycle import oauth
from headwater.lifecycle import tasks as task_actions

#: Tasks that are deleted in one transaction: a few hundred milliseconds.
AT_ONCE = 100


async def delete_crawler(
    db: Database, fid: str, *, cascade: bool, expected: frozenset[int] | None, vault: Vault, at: datetime
) -> None:
    """Delete a crawler; with ``cascade`` its tasks and their documents too.

    Raises:
        NotFound, VersionMismatch: there is no such crawler, or not at an expected version.
        InUse: it has tasks.
    """
    if cascade:
        await _thin_out(db, CRAWLERS, fid, expected=expected, vault=vault, at=at)
    await db.write(remove_crawler, fid, cascade=cascade, expected=expected, vault=vault, at=at)


async def delete_stream(
    db: Database, fid: str, *, cascade: bool, expected: frozenset[int] | None, vault: Vault, at: datetime
) -> None:
    """Delete a stream; with ``cascade`` its crawlers and all of their tasks too.

    Raises:
        NotFound, VersionMismatch: there is no such stream, or not at an expected version.
        InUse: a crawler feeds it.
    """
    if cascade:
        await _thin_out(db, STREAMS, fid, expected=expected, vault=vault, at=at)
    await db.write(remove_stream, fid, cascade=cascade, expected=expected, vault=vault, at=at)


async def delete_external(
    db: Database, fid: str, *, cascade: bool, expected: frozenset[int] | None, vault: Vault, at: datetime
) -> None:
    """Delete an External and its credentials; with ``cascade`` its crawlers and all of their tasks too.

    Raises:
        NotFound, VersionMismatch: there is no such External, or not at an expected version.
        InUse: a crawler uses it.
    """
    if cascade:
        await _thin_out(db, EXTERNALS, fid, expected=expected, vault=vault, at=at)
    await db.write(remove_external, fid, cascade=cascade, expected=expected, vault=vault, at=at)


def remove_crawler(
    tx: Transaction, fid: str, *, cascade: bool, expected: frozenset[int] | None, vault: Vault, at: datetime
) -> int:
    """Delete a crawler; with ``cascade`` its tasks and their documents too. Return the number of tasks.

    Raises:
        NotFound, VersionMismatch: there is no such crawler, or not at an expected version.
        InUse: it has tasks.
    """
    crawler = objects.get(tx, CRAWLERS, fid, lock=True)
    objects.require_version(crawler, expected)
    runs = tasks.of_crawler(tx, fid)
    if runs and not cascade:
        raise InUse(
            f"crawler {fid} has {len(runs)} {'task' if len(runs) == 1 else 'tasks'}, the latest {runs[-1].fid}; "
            "?cascade=true deletes it with all of its tasks, and their documents leave the stream"
        )
    _remove_runs(tx, crawler, runs, vault=vault, at=at)
    objects.remove(tx, CRAWLERS, crawler, at=at)
    tx.annotate(name=crawler.meta.get("name"), stream=crawler.stream, stream_version=None, tasks=len(runs) or None)
    return len(runs)


def remove_stream(
    tx: Transaction, fid: str, *, cascade: bool, expected: frozenset[int] | None, vault: Vault, at: datetime
) -> None:
    """Delete a stream; with ``cascade`` its crawler and all of that crawler's tasks too.

    Raises:
        NotFound, VersionMismatch: there is no such stream, or not at an expected version.
        InUse: a crawler feeds it.
    """
    # Locked last, as by uploads, which lock their task and then its stream.
    objects.require_version(objects.get(tx, STREAMS, fid), expected)
    _remove_crawlers(tx, "stream", fid, cascade=cascade, vault=vault, at=at)
    stream = objects.get(tx, STREAMS, fid, lock=True)
    objects.require_version(stream, expected)
    # A crawler that came in between is not deleted unasked: its creator has been told that it is there.
    _require_unused(tx, "stream", fid)
    streams.forget_log(tx, fid)
    objects.remove(tx, STREAMS, stream, at=at)
    tx.annotate(name=stream.meta.get("name"), stream=None)


def remove_external(
    tx: Transaction, fid: str, *, cascade: bool, expected: frozenset[int] | None, vault: Vault, at: datetime
) -> None:
    """Delete an External and its credentials; with ``cascade`` its crawlers and all of their tasks too.

    Raises:
        NotFound, VersionMismatch: there is no such External, or not at an expected version.
        InUse: a crawler uses it.
    """
    external = objects.get(tx, EXTERNALS, fid, lock=True)
    objects.require_version(external, expected)
    _remove_crawlers(tx, "external", fid, cascade=cascade, vault=vault, at=at)
    oauth.forget_all(tx, external, vault=vault, at=at)
    objects.remove(tx, EXTERNALS, external, at=at)
    tx.annotate(name=external.meta.get("name"), stream=None)


async def _thin_out(
    db: Database, kind: ObjectType[Any], fid: str, *, expected: frozenset[int] | None, vault: Vault, at: datetime
) -> None:
    """Delete tasks that a cascade from an object deletes, until one transaction can delete the rest with it."""
    while await db.write(_thin, kind, fid, expected=expected, vault=vault, at=at):
        pass


def _thin(
    tx: Transaction, kind: ObjectType[Any], fid: str, *, expected: frozenset[int] | None, vault: Vault, at: datetime
) -> bool:
    """Delete the newest tasks, up to ``AT_ONCE``, if there are more; return whether there were."""
    # A stream is locked last, as by uploads.
    found = objects.get(tx, kind, fid, lock=kind is not STREAMS)
    objects.require_version(found, expected)
    crawlers: list[Crawler] = [found] if kind is CRAWLERS else _users(tx, kind.singular, fid)
    doomed: list[tuple[Crawler, list[Task]]] = []
    left = AT_ONCE
    for crawler in crawlers:
        runs = tasks.of_crawler(tx, crawler.fid, newest=left + 1)
        doomed.append((crawler, runs[max(0, len(runs) - left) :]))
        left -= len(runs)
        if left < 0:
            break
    else:
        return False
    for crawler, runs in doomed:
        _remove_runs(tx, crawler, runs, vault=vault, at=at)
    tx.annotate(crawlers=[crawler.fid for crawler, _ in doomed], tasks=AT_ONCE)
    return True


def _remove_runs(tx: Transaction, crawler: Crawler, runs: list[Task], *, vault: Vault, at: datetime) -> None:
    for run in runs:
        deleted = task_actions.delete(tx, run.fid, vault=vault, at=at, with_stream=True)
        _, files = segments.purge(tx, segments.of_task(deleted.fid))
        garbage.leave(tx, files, until=at + READERS_LEAVE)
        garbage.leave(tx, task_logs.remove_of_tasks(tx, [deleted.fid]), until=at + READERS_LEAVE)
        objects.remove(tx, TASKS, deleted, at=at)
    if runs:
        # The tasks' documents vanish without a trace: followers of the stream must start over.
        stream: Stream = objects.get(tx, STREAMS, crawler.stream)
        streams.purged(tx, stream.fid, version=stream.stream_version)


def _remove_crawlers(tx: Transaction, use: str, fid: str, *, cascade: bool, vault: Vault, at: datetime) -> None:
    if not cascade:
        _require_unused(tx, use, fid)
    users = _users(tx, use, fid)
    # All tasks are locked before the first stream, for the same reason.
    for each in sorted(users, key=lambda crawler: crawler.fid):
        tasks.of_crawler(tx, each.fid)
    gone = [remove_crawler(tx, each.fid, cascade=True, expected=None, vault=vault, at=at) for each in users]
    tx.annotate(crawlers=[crawler.fid for crawler in users] or None, tasks=sum(gone) or None)


def _require_unused(tx: Transaction, use: str, fid: str) -> None:
    if users := _users(tx, use, fid):
        raise InUse(
            f"{use} {fid} is used by crawler {users[0].fid}"
            + (f" and {len(users) - 1} more" if len(users) > 1 else "")
            + f"; ?cascade=true deletes the {use} with its crawlers, tasks and documents"
        )


def _users(tx: Transaction, use: str, fid: str) -> list[Crawler]:
    return objects.page(tx, CRAWLERS, where={use: fid}, after=None, limit=objects.ALL)
