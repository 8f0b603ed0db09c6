"""Uploading a task's documents, awaited."""

from __future__ import annotations

import functools
import sys
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread

from headwater_client.encoding import line_of
from headwater_client.errors import HeadwaterError
from headwater_client.objects import Task
from headwater_client.writer import TaskWriter

if sys.version_info >= (3, 10):
    from typing import ParamSpec
else:
    from typing_extensions import ParamSpec

if TYPE_CHECKING:
    from typing_extensions import Self

P = ParamSpec("P")
T = TypeVar("T")

#: Documents that are written at a stretch; together they take a millisecond or so.
_TURN = 64


class AsyncTaskWriter:
    """A ``TaskWriter`` whose calls are awaited; it runs on asyncio and on trio.

    ::

        async with AsyncTaskWriter(endpoint) as writer:
            async for page in pages():
                await writer.write(page)
    """

    def __init__(self, endpoint: str, token: str | None = None, **options: Any) -> None:
        """Write to the task at ``endpoint``; arguments and options are those of ``TaskWriter``."""
        self._writer = TaskWriter(endpoint, token, **options)

    @property
    def fid(self) -> str:
        """The task's."""
        return self._writer.fid

    @property
    def written(self) -> int:
        """Documents that ``write`` has taken."""
        return self._writer.written

    @property
    def taken(self) -> int:
        """Documents of them that are on the server's disk."""
        return self._writer.taken

    @property
    def rejected(self) -> int:
        """Documents of them that the server has left aside."""
        return self._writer.rejected

    @property
    def rejections(self) -> list[Mapping[str, Any]]:
        """What was wrong with the first hundred of them or so."""
        return self._writer.rejections

    async def write(self, document: object) -> None:
        """Take a document; see ``TaskWriter.write``."""
        await self.write_line(line_of(document))

    async def write_all(self, documents: Iterable[object] | AsyncIterable[object]) -> None:
        """Take documents one after the other; see ``TaskWriter.write``."""
        if isinstance(documents, AsyncIterable):
            async for document in documents:
                await self.write(document)
        else:
            for document in documents:
                await self.write(document)

    async def write_line(self, line: bytes) -> None:
        """Take a document that is a line of JSON already; see ``TaskWriter.write_line``."""
        # The usual case takes no thread: there is room.
        while not self._writer.offer_line(line):
            await _in_thread(self._writer.wait_for_room)
        if not self._writer.written % _TURN:
            # It waits for nothing, then: a quick source would let nobody else have the loop.
            await anyio.lowlevel.checkpoint()

    async def flush(self) -> None:
        """Wait until every document that was taken is on the server's disk; see ``TaskWriter.flush``."""
        await _in_thread(self._writer.flush)

    async def status(self, code: int, message: str | None = None, detail: Any = None) -> Task:
        """Report how the task goes; see ``TaskWriter.status``."""
        return await _in_thread(self._writer.status, code, message, detail)

    async def close(self) -> None:
        """Close the task with 200, unless a status has closed it; see ``TaskWriter.close``."""
        await _in_thread(self._writer.close)

    async def fail(self, error: BaseException) -> None:
        """Close the task with 500; see ``TaskWriter.fail``. It is done even by a task that is being cancelled."""
        with anyio.CancelScope(shield=True):
            await _in_thread(self._writer.fail, error)

    def abandon(self, error: HeadwaterError | None = None) -> None:
        """Drop what is not uploaded yet, and leave the task as it is; see ``TaskWriter.abandon``."""
        self._writer.abandon(error)

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        """Close the task: with 200, or with 500 if the block raised."""
        if error is not None:
            await self.fail(error)
            return
        try:
            await self.close()
        except BaseException as failure:
            await self.fail(failure)
            raise


async def _in_thread(work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    return await anyio.to_thread.run_sync(functools.partial(work, *args, **options), abandon_on_cancel=True)
