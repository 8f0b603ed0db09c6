"""Reads request bodies and passes them to worker threads; one chunk is received while the previous is processed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from itertools import chain, islice
from threading import Lock
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from headwater.domain.errors import UploadBroken
from headwater.ingest.memory_budget import MemoryBudget
from headwater.sandbox.pool import WouldBlock
from headwater.sandbox.slots import Slots

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

#: An idle worker thread gets chunks of at least this many bytes, ...
FEED = 256 << 10
#: ... a busy one gets all that arrived meanwhile, up to this many: each handover costs a thread switch.
MOST_FED = 1 << 20
#: Seconds between checks of the memory budget.
_LOOK = 0.05


#: Threads that may wait for the sandbox, in addition to those that work.
_WAITING = 12


class Sink(Protocol[T_co]):
    """Consumer of a body; used by one thread at a time."""

    @property
    def held(self) -> int:
        """Bytes of the body that it holds in memory."""
        ...

    def spill(self) -> None:
        """Free memory by writing to the file."""
        ...

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield the decompressed pieces of a chunk."""
        ...

    def take(self, pieces: Iterable[bytes]) -> None:
        """Consume decompressed pieces."""
        ...

    def finish(self) -> T_co:
        """Signal the end of the body, and return the result.

        Raises:
            WouldBlock: in an event loop, if it has to wait for the sandbox; it is called again in a thread.
        """
        ...

    def discard(self) -> None:
        """Discard what was made of an incomplete body."""
        ...


class BodyReader:
    """Reads any number of bodies concurrently, with a thread pool and a memory budget."""

    def __init__(self, *, threads: int, budget: MemoryBudget, stall: float, at_once: int) -> None:
        """Abort a body of which nothing arrives for ``stall`` seconds.

        A complete body of at most ``at_once`` bytes is processed in the event loop if that is quick: waking a
        thread takes as long.
        """
        self._threads = ThreadPoolExecutor(threads + _WAITING, thread_name_prefix="upload")
        self._slots = Slots(threads)
        self._budget = budget
        self._stall = stall
        self._at_once = at_once

    def close(self) -> None:
        """Wait for the threads to finish."""
        self._threads.shutdown()

    def start(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        """Run a function in a worker thread."""

        def in_slot() -> T:
            with self._slots.taken():
                return work()

        return asyncio.get_running_loop().run_in_executor(self._threads, in_slot)

    async def read_into(
        self,
        body: AsyncIterator[bytes],
        sink: Sink[T],
        *,
        is_quick: bool,
        heard: Callable[[], Awaitable[None]],
    ) -> T:
        """Pass a body to a sink and return its result; call ``heard`` after each chunk.

        Raises:
            UploadBroken: nothing arrived for too long.
        """
        body_read = _BodyRead(sink, self._budget, start=self.start)
        held: list[bytes] = []
        size = 0
        try:
            async with _StallTimeout(self._stall) as stall:
                async for chunk in body:
                    held.append(chunk)
                    size += len(chunk)
                    if size >= (MOST_FED if body_read.is_busy else FEED):
                        stall.rest()
                        await body_read.feed(b"".join(held))
                        held, size = [], 0
                        await heard()
                        while not self._budget.may_read(sink):
                            await asyncio.sleep(_LOOK)
                            await heard()  # the client is not silent: we are not reading
                    stall.begin()
            return await body_read.end(b"".join(held), at_once=self._at_once if is_quick else 0)
        except BaseException:
            await asyncio.shield(body_read.discard())
            raise
        finally:
            body_read.release()


class _BodyRead(Generic[T]):
    """A body that is being read."""

    def __init__(
        self, sink: Sink[T], budget: MemoryBudget, *, start: "Callable[[Callable[[], Any]], asyncio.Future[Any]]"
    ) -> None:
        self._sink = sink
        self._budget = budget
        self._start = start
        self._working: asyncio.Future[Any] | None = None
        #: Held while the sink is in use; None while the sink holds nothing of the body.
        self._lock: Lock | None = None

    @property
    def is_busy(self) -> bool:
        """Whether the previous chunk is still being processed."""
        return self._working is not None and not self._working.done()

    async def feed(self, data: bytes) -> None:
        """Process a chunk in a thread, once the previous one is done."""
        await self._done()
        if self._lock is None:
            self._lock = self._budget.register(self._sink)
        self._working = self._start(lambda: self._take(data))

    async def end(self, rest: bytes, *, at_once: int) -> T:
        """Process the last chunk, and return the sink's result."""
        await self._done()
        pieces = self._sink.decode(rest) if rest else iter(())
        if self._working is None and len(rest) <= at_once:
            first = list(islice(pieces, 2))
            if len(first) < 2 and sum(map(len, first)) <= at_once:  # noqa: PLR2004 - the first piece is the only one
                self._sink.take(first)
                first = []
                with suppress(WouldBlock):  # it needs the sandbox after all
                    return self._sink.finish()
            pieces = chain(first, pieces)
        self._working = self._start(lambda: self._finish(pieces))
        return await asyncio.shield(self._working)

    async def discard(self) -> None:
        """Discard the sink's work; wait for a thread that still writes."""
        if self._working is not None:
            await asyncio.wait([self._working])
        await self._start(self._discard)

    def release(self) -> None:
        """Stop accounting for this upload."""
        if self._lock is not None:
            self._budget.release(self._sink)

    async def _done(self) -> None:
        if self._working is not None:
            await asyncio.shield(self._working)

    def _take(self, data: bytes) -> None:
        with self._lock or nullcontext():
            self._sink.take(self._sink.decode(data))
            self._budget.charge(self._sink)

    def _discard(self) -> None:
        with self._lock or nullcontext():
            self._sink.discard()

    def _finish(self, pieces: Iterable[bytes]) -> T:
        with self._lock or nullcontext():
            self._sink.take(pieces)
            return self._sink.finish()


class _StallTimeout:
    """Raises if nothing arrives for too long within the block.

    Raises:
        UploadBroken: after the timeout.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timeout = asyncio.timeout(seconds)

    def begin(self) -> None:
        """Restart the timeout."""
        self._timeout.reschedule(asyncio.get_running_loop().time() + self._seconds)

    def rest(self) -> None:
        """Suspend the timeout while the server is busy."""
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
                f"nothing came for {self._seconds:g} seconds in the middle of the upload (setting "
                "upload_idle_timeout); nothing of it was kept: send it again, whole"
            ) from None
