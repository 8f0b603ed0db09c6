"""Handing a body to worker threads as it comes in, the next part received while one is worked on."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from itertools import chain, islice
from threading import Lock
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from headwater.domain.errors import UploadBroken
from headwater.ingest.room import Room

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

#: So many received bytes are handed to a worker thread that is free, ...
FEED = 256 << 10
#: ... and as many as came meanwhile, up to these, to one that was busy: each time costs a change of threads.
MOST_FED = 1 << 20
#: Seconds between two looks whether there is room again.
_LOOK = 0.05


class Sink(Protocol[T_co]):
    """What takes a body; used by one thread at a time."""

    @property
    def held(self) -> int:
        """Bytes of the body that it holds."""
        ...

    def spill(self) -> None:
        """Hold less."""
        ...

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield what a part of the body decodes to."""
        ...

    def take(self, pieces: Iterable[bytes]) -> None:
        """Take decoded pieces."""
        ...

    def finish(self) -> T_co:
        """Tell that the body has ended."""
        ...

    def discard(self) -> None:
        """Leave nothing behind of a body that did not come to its end."""
        ...


class Pump:
    """Takes bodies, any number at once, with some threads and so much memory."""

    def __init__(self, *, threads: int, room: Room, stall: float, at_once: int) -> None:
        """Drop a body of which nothing comes for ``stall`` seconds.

        A body that is whole, and of no more than ``at_once`` bytes, is worked on right here if it is quick
        work: to wake a thread takes as long.
        """
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="upload")
        self._room = room
        self._stall = stall
        self._at_once = at_once

    def close(self) -> None:
        """Finish what the threads do."""
        self._threads.shutdown()

    def start(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        """Begin something in a thread."""
        return asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def pour(
        self,
        body: AsyncIterator[bytes],
        sink: Sink[T],
        *,
        is_quick: bool,
        heard: Callable[[], Awaitable[None]],
    ) -> T:
        """Give a body to a sink and return what it makes of it; with each part of it, call ``heard``.

        Raises:
            UploadBroken: nothing of it came for too long.
        """
        pouring = _Pouring(sink, self._room, start=self.start)
        held: list[bytes] = []
        size = 0
        try:
            async with _Patience(self._stall) as patience:
                async for chunk in body:
                    held.append(chunk)
                    size += len(chunk)
                    if size >= (MOST_FED if pouring.is_busy else FEED):
                        patience.rest()
                        await pouring.give(b"".join(held))
                        held, size = [], 0
                        await heard()
                        while not self._room.lets(sink):
                            await asyncio.sleep(_LOOK)
                            await heard()  # it is not silent: we do not listen
                    patience.begin()
            return await pouring.end(b"".join(held), at_once=self._at_once if is_quick else 0)
        except BaseException:
            await asyncio.shield(pouring.discard())
            raise
        finally:
            pouring.leave()


class _Pouring(Generic[T]):
    """One body on its way."""

    def __init__(
        self, sink: Sink[T], room: Room, *, start: "Callable[[Callable[[], Any]], asyncio.Future[Any]]"
    ) -> None:
        self._sink = sink
        self._room = room
        self._start = start
        self._working: asyncio.Future[Any] | None = None
        #: Whoever works on the sink has it; there is none while nothing of the body is held.
        self._lock: Lock | None = None

    @property
    def is_busy(self) -> bool:
        """Whether the part before is still worked on."""
        return self._working is not None and not self._working.done()

    async def give(self, data: bytes) -> None:
        """Have a part worked on, once the one before is done."""
        await self._done()
        if self._lock is None:
            self._lock = self._room.enter(self._sink)
        self._working = self._start(lambda: self._take(data))

    async def end(self, rest: bytes, *, at_once: int) -> T:
        """Work on the last part, and return what the sink makes of the whole."""
        await self._done()
        pieces = self._sink.decode(rest) if rest else iter(())
        if self._working is None and len(rest) <= at_once:
            first = list(islice(pieces, 2))
            if len(first) < 2 and sum(map(len, first)) <= at_once:  # noqa: PLR2004 - so that there is no second
                self._sink.take(first)
                return self._sink.finish()
            pieces = chain(first, pieces)
        self._working = self._start(lambda: self._finish(pieces))
        return await asyncio.shield(self._working)

    async def discard(self) -> None:
        """Leave nothing behind; a thread that still writes is waited for."""
        if self._working is not None:
            await asyncio.wait([self._working])
        await self._start(self._discard)

    def leave(self) -> None:
        """Count no more."""
        if self._lock is not None:
            self._room.leave(self._sink)

    async def _done(self) -> None:
        if self._working is not None:
            await asyncio.shield(self._working)

    def _take(self, data: bytes) -> None:
        with self._lock or nullcontext():
            self._sink.take(self._sink.decode(data))
            self._room.make(self._sink)

    def _discard(self) -> None:
        with self._lock or nullcontext():
            self._sink.discard()

    def _finish(self, pieces: Iterable[bytes]) -> T:
        with self._lock or nullcontext():
            self._sink.take(pieces)
            return self._sink.finish()


class _Patience:
    """Ends a block in which nothing comes for too long.

    Raises:
        UploadBroken: when that happens.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timeout = asyncio.timeout(seconds)

    def begin(self) -> None:
        """Wait anew."""
        self._timeout.reschedule(asyncio.get_running_loop().time() + self._seconds)

    def rest(self) -> None:
        """Wait for nothing: we are at work ourselves."""
        self._timeout.reschedule(None)

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            raise UploadBroken(
                f"nothing came for {self._seconds:g} seconds in the middle of the upload (setting upload_stall); "
                "nothing of it was kept: send it again, whole"
            ) from None
