"""The whole API, by a key: blocking and awaiting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import httpx

from headwater_client import happenings, parts
from headwater_client.answers import AuditEntry, Event, Link
from headwater_client.asking import TIMEOUT, USER_AGENT, Awaiting, Blocking
from headwater_client.awaited_writer import AsyncTaskWriter
from headwater_client.crawlers import Crawlers
from headwater_client.errors import HeadwaterError, TaskAlreadyRunning
from headwater_client.externals import Externals
from headwater_client.objects import BegunTask, UploadTarget
from headwater_client.parts import PAGE
from headwater_client.patience import Patience
from headwater_client.questions import D, Pages, Part, Question, Ref, Walk, call, fid_of, given, walk
from headwater_client.streams import Streams
from headwater_client.tasks import Tasks
from headwater_client.webhooks import Webhooks
from headwater_client.writer import TaskWriter

if TYPE_CHECKING:
    from typing_extensions import Self

#: Seconds for which a call is tried again: a person is waiting, unlike behind an upload.
PATIENCE = 60.0


class _Everything(Part[D]):
    def __init__(self, driver: D) -> None:
        super().__init__(driver)
        self.streams: Streams[D] = Streams(driver)
        self.externals: Externals[D] = Externals(driver)
        self.crawlers: Crawlers[D] = Crawlers(driver)
        self.tasks: Tasks[D] = Tasks(driver)
        self.webhooks: Webhooks[D] = Webhooks(driver)

    @walk
    def links(self, around: Ref) -> Pages[Link]:
        """Iterate over the links of an object to others."""
        return Pages("/links", Link.read, {"fid": fid_of(around)})

    @walk
    def audit(
        self,
        *,
        key: str | None = None,
        action: str | None = None,
        type: str | None = None,  # noqa: A002 - named so on the wire
        object: Ref | None = None,  # noqa: A002 - likewise
        since: datetime | str | None = None,
        until: datetime | str | None = None,
    ) -> Pages[AuditEntry]:
        """Iterate over who did what to which object, newest first; needs a key with the scope ``admin``.

        Args:
            key: the fid of the API key that did it.
            action: what was done, such as ``delete_task``.
            type: of the object, such as ``streams``.
            object: to which it was done.
            since: then or later.
            until: before.
        """
        moments = {"since": _text(since), "until": _text(until)}
        about = None if object is None else fid_of(object)
        filters = given(key=key, action=action, type=type, object=about, limit=PAGE, **moments)
        return Pages("/audit", AuditEntry.read, filters)

    @walk
    def events(
        self,
        *,
        stream: Ref | None = None,
        crawler: Ref | None = None,
        task: Ref | None = None,
        type: str | Sequence[str] | None = None,  # noqa: A002 - named so on the wire
        since: datetime | str | None = None,
        last_event_id: int | None = None,
        follow: bool = True,
    ) -> Walk[Event]:
        """Iterate over what happens, each event once and in order, from now on and without end; leave it to end it.

        A connection that breaks, or a server that is started anew, is waited for, and nothing is missed. Who keeps
        the ``id`` of the last event goes on behind it another time.

        Args:
            stream: only events about that stream; ``crawler`` and ``task`` likewise.
            crawler: see there.
            task: see there.
            type: only events of these types: ``task.done``, or ``task`` for all that begin so.
            since: only events of that moment or later, with those that are kept; with a time zone.
            last_event_id: begin behind that event; 0 is before all that are kept.
            follow: False tells those that there are, from the oldest on unless something else is said, and ends.

        Raises:
            EventForgotten: events behind ``last_event_id`` are purged.
        """
        params = happenings.filters(stream, crawler, task, type, since)
        if follow:
            return happenings.Listening(params, None if last_event_id is None else str(last_event_id))
        params |= {"feed": "normal", "last_event_id": last_event_id, "limit": parts.PAGE}
        return Pages(happenings.PATH, Event.read, params)

    @call
    def openapi(self) -> Question[dict[str, Any]]:
        """Return the description of the API."""
        return Question("GET", "/openapi.json", lambda answer: answer.json(), is_harmless=True)


class Headwater(_Everything[Blocking]):
    """Headwater, at a URL, with a key.

    A call that is harmless to repeat is tried again when Headwater cannot be reached, fails, or asks for patience;
    another one only if it has surely not been done. Errors are in ``headwater_client.errors``. One object serves many
    threads.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        patience: float = PATIENCE,
        user_agent: str = USER_AGENT,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Talk to the Headwater at ``url``.

        Args:
            url: where it is, without a path of its API.
            key: an API key; what it may do is its scope's matter.
            patience: seconds since the first try of a call after which there is no other.
            user_agent: what the program calls itself.
            transport: what sends, if it is not the network.
        """
        headers = _headers(key, user_agent)
        client = httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT, transport=transport)
        super().__init__(Blocking(client, Patience(seconds=patience)))

    def writer(self, crawler: Ref, params: Mapping[str, Any] | None = None, **options: Any) -> TaskWriter:
        """Start a run of a crawler whose documents this program uploads, and return what takes them.

        Args:
            crawler: whose run.
            params: override the crawler's, key by key.
            options: those of ``TaskWriter``.

        Raises:
            TaskAlreadyRunning: the crawler has an open task.
            HeadwaterError: the External has an endpoint, so that its server uploads.
        """
        target = target_of(self.tasks.create(crawler, params))
        return TaskWriter(target.endpoint, target.token, **options)

    def close(self) -> None:
        """Close the connections."""
        self.driver.client.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close the connections."""
        self.close()


class AsyncHeadwater(_Everything[Awaiting]):
    """A ``Headwater`` whose calls are awaited, and whose lists are iterated by ``async for``."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        patience: float = PATIENCE,
        user_agent: str = USER_AGENT,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Talk to the Headwater at ``url``; see ``Headwater``."""
        headers = _headers(key, user_agent)
        client = httpx.AsyncClient(base_url=url, headers=headers, timeout=TIMEOUT, transport=transport)
        super().__init__(Awaiting(client, Patience(seconds=patience)))

    async def writer(self, crawler: Ref, params: Mapping[str, Any] | None = None, **options: Any) -> AsyncTaskWriter:
        """Start a run of a crawler whose documents this program uploads; see ``Headwater.writer``."""
        target = target_of(await self.tasks.create(crawler, params))
        return AsyncTaskWriter(target.endpoint, target.token, **options)

    async def close(self) -> None:
        """Close the connections."""
        await self.driver.client.aclose()

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Close the connections."""
        await self.close()


def _text(moment: datetime | str | None) -> str | None:
    return moment.isoformat() if isinstance(moment, datetime) else moment


def _headers(key: str, user_agent: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}", "User-Agent": user_agent}


def target_of(task: BegunTask) -> UploadTarget:
    """Return where the program that has asked for a task uploads its documents.

    Raises:
        TaskAlreadyRunning: it was open before.
        HeadwaterError: its External has an endpoint, so that its server uploads.
    """
    if task.already_running:
        raise TaskAlreadyRunning(task)
    if task.upload is None:
        raise HeadwaterError(f"task {task.fid} is begun, and its External's server uploads; an endpoint makes it so")
    return task.upload
