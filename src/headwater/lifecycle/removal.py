"""Deleting relational objects for good, with what hangs on them."""

from datetime import datetime

from headwater.catalog import garbage, objects, segments, streams, tasks
from headwater.catalog.garbage import READERS_LEAVE
from headwater.catalog.objects import CRAWLERS, EXTERNALS, STREAMS, TASKS
from headwater.catalog.transaction import Transaction
from headwater.catalog.vault import Vault
from headwater.domain.errors import InUse
from headwater.domain.stream import Stream
from headwater.lifecycle import actions, logins


def remove_crawler(
    tx: Transaction, fid: str, *, cascade: bool, expected: frozenset[int] | None, vault: Vault, at: datetime
) -> int:
    """Delete a crawler; with ``cascade`` its tasks too, and their documents from the stream. Return how many tasks.

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
    for run in runs:
        deleted = actions.delete(tx, run.fid, vault=vault, at=at)
        _, files = segments.purge(tx, segments.of_task(deleted.fid))
        garbage.leave(tx, files, until=at + READERS_LEAVE)
        objects.remove(tx, TASKS, deleted, at=at)
    if runs:
        # What the stream showed goes with its tasks for good: who follows it must begin anew.
        stream: Stream = objects.get(tx, STREAMS, crawler.stream)
        streams.purged(tx, stream.fid, version=stream.stream_version)
    objects.remove(tx, CRAWLERS, crawler, at=at)
    tx.note(name=crawler.meta.get("name"), stream=crawler.stream, stream_version=None, tasks=len(runs) or None)
    return len(runs)


def remove_stream(
    tx: Transaction, fid: str, *, cascade: bool, expected: frozenset[int] | None, vault: Vault, at: datetime
) -> None:
    """Delete a stream; with ``cascade`` its crawler too, with all of its tasks.

    Raises:
        NotFound, VersionMismatch: there is no such stream, or not at an expected version.
        InUse: a crawler feeds it.
    """
    stream = objects.get(tx, STREAMS, fid, lock=True)
    objects.require_version(stream, expected)
    _remove_crawlers(tx, "stream", fid, cascade=cascade, vault=vault, at=at)
    streams.forget_log(tx, fid)
    objects.remove(tx, STREAMS, stream, at=at)
    tx.note(name=stream.meta.get("name"), stream=None)


def remove_external(
    tx: Transaction, fid: str, *, cascade: bool, expected: frozenset[int] | None, vault: Vault, at: datetime
) -> None:
    """Delete an External with the logins at its EC; with ``cascade`` its crawlers too, with all of their tasks.

    Raises:
        NotFound, VersionMismatch: there is no such External, or not at an expected version.
        InUse: a crawler uses it.
    """
    external = objects.get(tx, EXTERNALS, fid, lock=True)
    objects.require_version(external, expected)
    _remove_crawlers(tx, "external", fid, cascade=cascade, vault=vault, at=at)
    logins.forget_all(tx, external, vault=vault, at=at)
    objects.remove(tx, EXTERNALS, external, at=at)
    tx.note(name=external.meta.get("name"), stream=None)


def _remove_crawlers(tx: Transaction, use: str, fid: str, *, cascade: bool, vault: Vault, at: datetime) -> None:
    users = objects.page(tx, CRAWLERS, where={use: fid}, after=None, limit=objects.ALL)
    if users and not cascade:
        raise InUse(
            f"{use} {fid} is used by crawler {users[0].fid}"
            + (f" and {len(users) - 1} more" if len(users) > 1 else "")
            + f"; ?cascade=true deletes the {use} with its crawlers, tasks and documents"
        )
    gone = [remove_crawler(tx, each.fid, cascade=True, expected=None, vault=vault, at=at) for each in users]
    tx.note(crawlers=[crawler.fid for crawler in users] or None, tasks=sum(gone) or None)
