"""Telling what happens to many who listen, who come from different places and take their time."""

import asyncio
import contextlib
from bisect import bisect_right
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter

import msgspec
import structlog

from headwater.catalog import events
from headwater.catalog.database import Database
from headwater.catalog.transaction import Transaction
from headwater.domain.errors import EventForgotten, Flaw, RequestInvalid
from headwater.domain.event import Event, EventFilter
from headwater.streams.bell import PATIENCE, REST, Bell

log = structlog.get_logger(__name__)

#: Events that are read, or handed on, at a time.
MANY = 500
#: Ids that one question looks through, so that it is short whatever is wanted.
WINDOW = 20_000
#: Windows that one page looks through.
WINDOWS = 50
#: Events that are kept in memory for those who listen; who is behind them reads from the catalog.
RECENT = 2_000
#: Moments of events may be so far out of order: those of several processes, and of long transactions.
DISORDER = timedelta(minutes=2)
#: Seconds for which the events of an idle Headwater are waited for before whether anybody listens is asked again.
_LONG = 60.0

_id = attrgetter("event.id")


@dataclass(frozen=True, kw_only=True)
class Told:
    """An event as it goes to all who want it."""

    event: Event
    #: It as JSON, in one line.
    text: bytes


@dataclass(frozen=True, kw_only=True)
class Heard:
    """Events that somebody wants, and how far was looked for them."""

    told: Sequence[Told]
    #: Behind all of them, and behind others that are not wanted: go on from here.
    place: int
    #: Whether nothing lay behind that place.
    is_all: bool


class Teller:
    """Tells events; the catalog is asked once for all who listen, whenever there are some."""

    def __init__(self, db: Database) -> None:
        """Tell what is told in ``db``."""
        self._db = db
        self._bell = Bell(db, events.TOLD)
        self._listeners = 0
        self._looking: asyncio.Task[None] | None = None
        #: The newest events, those behind ``_since`` up to ``_until``.
        self._recent: list[Told] = []
        self._since = self._until = -1
        self._news = asyncio.Event()

    @property
    def is_closed(self) -> bool:
        """Whether it tells nobody anything any more."""
        return self._bell.is_closed

    @property
    def is_heard(self) -> bool:
        """Whether somebody listens, and events are looked for."""
        return self._until >= 0 and self._looking is not None and not self._looking.done()

    async def begin(self, held: int | None, since: datetime | None, *, name: str, otherwise_all: bool) -> int:
        """Return the place from which somebody is told: behind the event that is held, or before a moment.

        If neither is given: before all that is kept, or behind all that there is. ``name`` is what the caller
        calls the one that is held.

        Raises:
            EventForgotten: events behind the one that is held are purged.
            RequestInvalid: the one that is held was never told.
        """
        return await self._db.read(_begin, held, since, name, otherwise_all=otherwise_all)

    async def page(self, place: int, wanted: EventFilter, *, limit: int) -> Heard:
        """Return wanted events behind a place, so many at most; fewer where they are rare."""
        told: list[Told] = []
        for _ in range(WINDOWS):
            heard = await self._db.read(_look, place, wanted, limit=limit - len(told))
            told += heard.told
            place = heard.place
            if heard.is_all or len(told) >= limit:
                return Heard(told=told, place=place, is_all=heard.is_all)
        return Heard(told=told, place=place, is_all=False)

    @contextlib.contextmanager
    def listening(self) -> Generator[None]:
        """Have events looked for while the block lasts."""
        self._listeners += 1
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look_for_ever())
        try:
            yield
        finally:
            self._listeners -= 1

    async def after(self, place: int, wanted: EventFilter, *, seconds: float) -> Heard:
        """Wait for wanted events behind a place, so long at most; for who is ``listening``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.is_closed:
                    news = self._news
                    if place >= self._until:
                        await news.wait()
                        continue
                    heard = await self._next(place, wanted)
                    place = heard.place
                    if heard.told:
                        return heard
        return Heard(told=(), place=place, is_all=place >= self._until)

    def close(self) -> None:
        """Let those who listen go, so that the server can stop."""
        self._bell.close()
        if self._looking is not None:
            self._looking.get_loop().call_soon_threadsafe(self._ring)

    async def end(self) -> None:
        """Let those who listen go, and look no more."""
        self.close()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    async def _next(self, place: int, wanted: EventFilter) -> Heard:
        if place < self._since:
            return await self._db.read(_look, place, wanted, limit=MANY)
        first = bisect_right(self._recent, place, key=_id)
        some = self._recent[first : first + MANY]
        last = some[-1].event.id if some else self._until
        return Heard(told=[told for told in some if wanted.takes(told.event)], place=last, is_all=False)

    async def _look_for_ever(self) -> None:
        """Look for events while anybody listens: the next ones that are told to all."""
        self._recent = []
        self._since = self._until = -1
        while self._listeners and not self.is_closed:
            try:
                await self._bell.until(self._finds_more, seconds=_LONG)
                await asyncio.sleep(REST)
            except Exception:
                # The database may be away for a while, and those who listen stay.
                log.exception("events.not_read")
                await asyncio.sleep(PATIENCE)
        self._ring()

    async def _finds_more(self) -> bool:
        if self._until < 0:
            self._since = self._until = await self._db.read(events.last)
            self._ring()
            return True
        found = await self._db.read(_look, self._until, EventFilter(), limit=MANY)
        if not found.told:
            return not self._listeners
        self._recent += found.told
        self._until = found.place
        if len(self._recent) > RECENT:
            self._since = self._recent[-RECENT - 1].event.id
            self._recent = self._recent[-RECENT:]
        self._ring()
        return True

    def _ring(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def _begin(tx: Transaction, held: int | None, since: datetime | None, name: str, *, otherwise_all: bool) -> int:
    oldest, newest = events.oldest(tx), events.last(tx)
    if held is None:
        if since is not None:
            return events.place_at(tx, since - DISORDER)
        return 0 if otherwise_all else newest
    if held > newest:
        detail = f"event {held} was never told, the newest one is {newest}; begin anew without it"
        raise RequestInvalid(f"{name}: {detail}", flaws=[Flaw(pointer=name, detail=detail)])
    # 0 is before all that there is, whatever there was.
    if 0 < held < oldest - 1:
        detail = (
            f"events behind {held} are purged, the oldest one that is kept is {oldest}; "
            f"look at what you follow, and go on from {oldest - 1}"
        )
        raise EventForgotten(f"{name}: {detail}", flaws=[Flaw(pointer=name, detail=detail)])
    return held


def _look(tx: Transaction, place: int, wanted: EventFilter, *, limit: int) -> Heard:
    """Return wanted events behind a place, within a window of ids."""
    newest = events.last(tx)
    until = min(max(place, events.oldest(tx) - 1) + WINDOW, newest)
    found = events.within(tx, place, until, wanted, limit=limit)
    reached = found[-1].id if len(found) == limit else until
    told = [Told(event=event, text=msgspec.json.encode(event)) for event in found if wanted.takes(event)]
    return Heard(told=told, place=max(reached, place), is_all=reached >= newest)
