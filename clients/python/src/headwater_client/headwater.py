"""The clients for the whole API with an API key: ``Headwater`` and ``AsyncHeadwater``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import httpx

from headwater_client import event_stream, resource
from headwater_client.async_writer import AsyncTaskWriter
from headwater_client.crawlers import Crawlers
from headwater_client.errors import HeadwaterError, TaskAlreadyRunning
from headwater_client.externals import Externals
from headwater_client.keys import Keys
from headwater_client.models.objects import BegunTask, UploadTarget
from headwater_client.models.results import AuditEntry, Event, Link
from headwater_client.notifications import Notifications
from headwater_client.requests import Call, D, Pages, Paginator, Ref, Resource, endpoint, fid_of, given, paginated
from headwater_client.resource import PAGE
from headwater_client.retry import RetryPolicy
from headwater_client.streams import Streams
from headwater_client.tasks import Tasks
from headwater_client.transport import TIMEOUT, USER_AGENT, AsyncTransport, SyncTransport
from headwater_client.webhooks import Webhooks
from headwater_client.writer import TaskWriter

if TYPE_CHECKING:
    from typing import Self

#: Seconds for which a failed call is retried; shorter than for uploads, since a person may be waiting.
RETRY_FOR = 60.0


class _Api(Resource[D]):
    def __init__(self, driver: D) -> None:
        super().__init__(driver)
        self.streams: Streams[D] = Streams(driver)
        self.externals: Externals[D] = Externals(driver)
        self.crawlers: Crawlers[D] = Crawlers(driver)
        self.tasks: Tasks[D] = Tasks(driver)
        self.webhooks: Webhooks[D] = Webhooks(driver)
        #: Notifications.
        self.notifications: Notifications[D] = Notifications(driver)
        self.keys: Keys[D] = Keys(driver)

    @paginated
    def links(self, around: Ref) -> Pages[Link]:
        """Iterate over the links of an object to others."""
        return Pages("/links", Link.read, {"fid": fid_of(around)})

    @paginated
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
        """Iterate over the audit log, newest first; needs a key with the scope ``admin``.

        Args:
            key: fid of the API key that was used.
            action: the action, such as ``delete_task``.
            type: type of the object, such as ``streams``.
            object: the object acted on.
            since: at or after this time.
            until: before this time.
        """
        moments = {"since": _text(since), "until": _text(until)}
        about = None if object is None else fid_of(object)
        filters = given(key=key, action=action, type=type, object=about, limit=PAGE, **moments)
        return Pages("/audit", AuditEntry.read, filters)

    @paginated
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
    ) -> Paginator[Event]:
        """Follow the event feed: yields each event once and in order, from now on, without end.

        Reconnects after broken connections and server restarts without missing events. To resume later, pass the last
        event's ``id`` as ``last_event_id``.

        Args:
            stream: only events about this stream.
            crawler: only events about this crawler.
            task: only events about this task.
            type: only events of these types: ``task.done``, or ``task`` for all types with that prefix.
            since: only events since this time, including retained ones; with a time zone.
            last_event_id: start after this event; 0 = oldest retained.
            follow: False yields the retained events, oldest first, and ends.

        Raises:
            EventForgotten: events after ``last_event_id`` have been purged.
        """
        params = event_stream.filters(stream, crawler, task, type, since)
        if follow:
            return event_stream.EventStream(params, None if last_event_id is None else str(last_event_id))
        params |= {"feed": "normal", "last_event_id": last_event_id, "limit": resource.PAGE}
        return Pages(event_stream.PATH, Event.read, params)

    @endpoint
    def openapi(self) -> Call[dict[str, Any]]:
        """Return the OpenAPI document."""
        return Call("GET", "/openapi.json", lambda answer: answer.json(), is_harmless=True)


class Headwater(_Api[SyncTransport]):
    """Client for one Headwater server and API key.

    Idempotent calls are retried when Headwater is unreachable, fails, or is overloaded; other calls only if they
    certainly had no effect. Exceptions are in ``headwater_client.errors``. Thread-safe.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        retry_for: float = RETRY_FOR,
        user_agent: str = USER_AGENT,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Create a client for the Headwater at ``url``.

        Args:
            url: the server's base URL.
            key: an API key; its scope limits what it may do.
            retry_for: seconds for which a failed call is retried, counted from the first attempt.
            user_agent: the ``User-Agent`` header.
            transport: the httpx transport, if not the network.
        """
        headers = _headers(key, user_agent)
        client = httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT, transport=transport)
        super().__init__(SyncTransport(client, RetryPolicy(seconds=retry_for)))

    def writer(
        self,
        crawler: Ref,
        params: Mapping[str, Any] | None = None,
        *,
        mode: str | None = None,
        scope: Sequence[str] | None = None,
        **options: Any,
    ) -> TaskWriter:
        """Start a task of a push crawler, and return a writer for its documents.

        Args:
            crawler: the crawler.
            params: override the crawler's params, key by key.
            mode: ``merge`` or ``snapshot``, if not the crawler's.
            scope: conditions on the documents that a snapshot may hide, if not the crawler's.
            options: options of ``TaskWriter``.

        Raises:
            TaskAlreadyRunning: the crawler has an open task.
            HeadwaterError: the External has an endpoint, so its server uploads.
        """
        target = target_of(self.tasks.create(crawler, params, mode=mode, scope=scope))
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


class AsyncHeadwater(_Api[AsyncTransport]):
    """Async version of ``Headwater``: calls are awaited, and lists are iterated by ``async for``."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        retry_for: float = RETRY_FOR,
        user_agent: str = USER_AGENT,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Create a client for the Headwater at ``url``; see ``Headwater``."""
        headers = _headers(key, user_agent)
        client = httpx.AsyncClient(base_url=url, headers=headers, timeout=TIMEOUT, transport=transport)
        super().__init__(AsyncTransport(client, RetryPolicy(seconds=retry_for)))

    async def writer(
        self,
        crawler: Ref,
        params: Mapping[str, Any] | None = None,
        *,
        mode: str | None = None,
        scope: Sequence[str] | None = None,
        **options: Any,
    ) -> AsyncTaskWriter:
        """Start a task of a push crawler; see ``Headwater.writer``."""
        target = target_of(await self.tasks.create(crawler, params, mode=mode, scope=scope))
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
    """Return where to upload the documents of a task that was just started.

    Raises:
        TaskAlreadyRunning: the crawler already had an open task.
        HeadwaterError: its External has an endpoint, so its server uploads.
    """
    if task.already_running:
        raise TaskAlreadyRunning(task)
    if task.upload is None:
        raise HeadwaterError(f"task {task.fid} is begun, and its External's server uploads; an endpoint makes it so")
    return task.upload
