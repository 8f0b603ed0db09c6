"""The event feed: events for many subscribers, which start at different positions and read at their own pace."""

import asyncio
import contextlib
from bisect import bisect_right
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter

import msgspec
import structlog

from headwater.catalog import event_order, events
from headwater.catalog.core.database import Database
from headwater.catalog.core.transaction import Transaction
from headwater.domain.errors import EventForgotten, Flaw, RequestInvalid
from headwater.domain.event import Event, EventFilter
from headwater.streams.topic_waiter import PATIENCE, REST, TopicWaiter

log = structlog.get_logger(__name__)

#: Events that are read, or sent, at a time.
MANY = 500
#: Ids that one query scans, so that it is short whatever the filter.
WINDOW = 20_000
#: Windows that one page scans.
WINDOWS = 50
#: Events cached for subscribers; a subscriber further behind reads from the catalog.
RECENT = 2_000
#: Event times may be out of order by this much, between several processes and in long transactions.
DISORDER = timedelta(minutes=2)
#: Seconds that an idle loop waits for events before it checks again whether there are subscribers.
_LONG = 60.0

_id = attrgetter("event.id")


@dataclass(frozen=True, kw_only=True)
class EncodedEvent:
    """An event, encoded once for all subscribers."""

    event: Event
    #: The event as one line of JSON.
    text: bytes


@dataclass(frozen=True, kw_only=True)
class EventPage:
    """Events that match a filter, and the position up to which they were searched."""

    events: Sequence[EncodedEvent]
    #: The position after all of them, and after others that do not match: continue from here.
    place: int
    #: Whether there were no events after that position.
    is_all: bool


class EventFeed:
    """Distributes events; the catalog is queried once for all subscribers, and only while there are some."""

    def __init__(self, db: Database) -> None:
        """Distribute the events of ``db``."""
        self._db = db
        self._waiter = TopicWaiter(db, events.APPENDED)
        self._listeners = 0
        self._polling: asyncio.Task[None] | None = None
        #: The newest events, after ``_since`` up to ``_until``.
        self._recent: list[EncodedEvent] = []
        self._since = self._until = -1
        self._news = asyncio.Event()

    @property
    def is_closed(self) -> bool:
        """Whether the feed is closed."""
        return self._waiter.is_closed

    @property
    def is_heard(self) -> bool:
        """Whether there are subscribers, so that the catalog is polled."""
        return self._until >= 0 and self._polling is not None and not self._polling.done()

    async def begin(self, held: int | None, since: datetime | None, *, name: str, from_start: bool) -> int:
        """Return the position to start from: after the event ``held``, or before the time ``since``.

        If neither is given: before all retained events with ``from_start``, else after the last one. ``name`` is the
        caller's name for ``held``, for errors.

        Raises:
            EventForgotten: events after ``held`` are purged.
            RequestInvalid: ``held`` is an id that was never assigned.
        """
        await event_order.catch_up(self._db)
        return await self._db.read(_begin, held, since, name, from_start=from_start)

    async def page(self, place: int, wanted: EventFilter, *, limit: int) -> EventPage:
        """Return matching events after a position, at most ``limit``; fewer if they are rare."""
        told: list[EncodedEvent] = []
        for _ in range(WINDOWS):
            heard = await self._db.read(_look, place, wanted, limit=limit - len(told))
            told += heard.events
            place = heard.place
            if heard.is_all or len(told) >= limit:
                return EventPage(events=told, place=place, is_all=heard.is_all)
        return EventPage(events=told, place=place, is_all=False)

    @contextlib.contextmanager
    def listening(self) -> Generator[None]:
        """Subscribe: have the catalog polled while the block lasts."""
        self._listeners += 1
        if self._polling is None or self._polling.done():
            self._polling = asyncio.get_running_loop().create_task(self._poll())
        try:
            yield
        finally:
            self._listeners -= 1

    async def after(self, place: int, wanted: EventFilter, *, seconds: float) -> EventPage:
        """Wait up to ``seconds`` for matching events after a position; call it within ``listening``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.is_closed:
                    news = self._news
                    if place >= self._until:
                        await news.wait()
                        continue
                    heard = await self._next(place, wanted)
                    place = heard.place
                    if heard.events:
                        return heard
        return EventPage(events=(), place=place, is_all=place >= self._until)

    def close(self) -> None:
        """End all waits, so that the server can stop."""
        self._waiter.close()
        if self._polling is not None:
            self._polling.get_loop().call_soon_threadsafe(self._wake)

    async def end(self) -> None:
        """End all waits, and stop polling."""
        self.close()
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.wait([self._polling])

    async def _next(self, place: int, wanted: EventFilter) -> EventPage:
        if place < self._since:
            return await self._db.read(_look, place, wanted, limit=MANY)
        first = bisect_right(self._recent, place, key=_id)
        some = self._recent[first : first + MANY]
        last = some[-1].event.id if some else self._until
        return EventPage(events=[encoded for encoded in some if wanted.takes(encoded.event)], place=last, is_all=False)

    async def _poll(self) -> None:
        """Poll for events while there are subscribers, and pass the next ones to all of them."""
        self._recent = []
        self._since = self._until = -1
        while self._listeners and not self.is_closed:
            try:
                await self._waiter.wait_for(self._fetch, seconds=_LONG)
                await asyncio.sleep(REST)
            except Exception:
                # The database may be unavailable for a while, and subscribers stay.
                log.exception("events.not_read")
                await asyncio.sleep(PATIENCE)
        self._wake()

    async def _fetch(self) -> bool:
        await event_order.catch_up(self._db)
        if self._until < 0:
            self._since = self._until = await self._db.read(events.last)
            self._wake()
            return True
        found = await self._db.read(_look, self._until, EventFilter(), limit=MANY)
        if not found.events:
            return not self._listeners
        self._recent += found.events
        self._until = found.place
        if len(self._recent) > RECENT:
            self._since = self._recent[-RECENT - 1].event.id
            self._recent = self._recent[-RECENT:]
        self._wake()
        return True

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def _begin(tx: Transaction, held: int | None, since: datetime | None, name: str, *, from_start: bool) -> int:
    oldest, newest = events.oldest(tx), events.last(tx)
    if held is None:
        if since is not None:
            return events.place_at(tx, since - DISORDER)
        return 0 if from_start else newest
    if held > newest:
        detail = f"event {held} was never told, the newest one is {newest}; begin anew without it"
        raise RequestInvalid(f"{name}: {detail}", flaws=[Flaw(pointer=name, detail=detail)])
    # 0 is before all events, whatever is purged.
    if 0 < held < oldest - 1:
        detail = (
            f"events behind {held} are purged, the oldest one that is kept is {oldest}; "
            f"look at what you follow, and go on from {oldest - 1}"
        )
        raise EventForgotten(f"{name}: {detail}", flaws=[Flaw(pointer=name, detail=detail)])
    return held


def _look(tx: Transaction, place: int, wanted: EventFilter, *, limit: int) -> EventPage:
    """Return matching events after a position, within a window of ids."""
    newest = events.last(tx)
    until = min(max(place, events.oldest(tx) - 1) + WINDOW, newest)
    found = events.within(tx, place, until, wanted, limit=limit)
    reached = found[-1].id if len(found) == limit else until
    told = [EncodedEvent(event=event, text=msgspec.json.encode(event)) for event in found if wanted.takes(event)]
    return EventPage(events=told, place=max(reached, place), is_all=reached >= newest)
