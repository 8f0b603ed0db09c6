"""Async version of the writer of a task's documents."""

from __future__ import annotations

import functools
import logging
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread

from headwater_client.encoding import line_of
from headwater_client.errors import HeadwaterError
from headwater_client.models.objects import Task
from headwater_client.writer import DELETE, TaskWriter

if TYPE_CHECKING:
    from typing import Self

P = ParamSpec("P")
T = TypeVar("T")

#: Documents between two checkpoints; together they take about a millisecond.
_CHECKPOINT_EVERY = 64


class AsyncTaskWriter:
    """Async version of ``TaskWriter``, for asyncio and trio.

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
        """The task's fid."""
        return self._writer.fid

    @property
    def written(self) -> int:
        """Number of documents accepted by ``write``."""
        return self._writer.written

    @property
    def taken(self) -> int:
        """Number of documents that the server has written to disk."""
        return self._writer.taken

    @property
    def rejected(self) -> int:
        """Number of documents that the server has rejected (lenient uploads)."""
        return self._writer.rejected

    @property
    def rejections(self) -> list[Mapping[str, Any]]:
        """Errors of about the first hundred rejected documents."""
        return self._writer.rejections

    async def write(self, document: object) -> None:
        """Write a document; see ``TaskWriter.write``."""
        await self.write_line(line_of(document))

    async def delete(self, doc_id: str | int) -> None:
        """Delete a document of the stream by its id; see ``TaskWriter.delete``."""
        await self.write({DELETE: doc_id})

    async def write_all(self, documents: Iterable[object] | AsyncIterable[object]) -> None:
        """Write documents one after the other; see ``TaskWriter.write``."""
        if isinstance(documents, AsyncIterable):
            async for document in documents:
                await self.write(document)
        else:
            for document in documents:
                await self.write(document)

    async def write_line(self, line: bytes) -> None:
        """Write a document that is already a line of JSON; see ``TaskWriter.write_line``."""
        # Usually there is room, and no thread is needed.
        while not self._writer.offer_line(line):
            await _in_thread(self._writer.wait_for_room)
        if not self._writer.written % _CHECKPOINT_EVERY:
            # Nothing above yields to the event loop, so a fast source would starve other tasks.
            await anyio.lowlevel.checkpoint()

    def log(self, text: str, level: str = "info", **fields: Any) -> None:
        """Write a line to the task's log; see ``TaskWriter.log``. It is not awaited."""
        self._writer.log(text, level, **fields)

    def log_handler(self, level: int | str = logging.INFO) -> logging.Handler:
        """Return a handler of ``logging``; see ``TaskWriter.log_handler``."""
        return self._writer.log_handler(level)

    async def flush(self) -> None:
        """Wait until every written document is on the server's disk; see ``TaskWriter.flush``."""
        await _in_thread(self._writer.flush)

    async def status(self, code: int, message: str | None = None, detail: Any = None) -> Task:
        """Report the task's status; see ``TaskWriter.status``."""
        return await _in_thread(self._writer.status, code, message, detail)

    async def close(self) -> None:
        """Close the task with 200, unless a status has closed it; see ``TaskWriter.close``."""
        await _in_thread(self._writer.close)

    async def fail(self, error: BaseException) -> None:
        """Close the task with 500; see ``TaskWriter.fail``. Shielded from cancellation."""
        with anyio.CancelScope(shield=True):
            await _in_thread(self._writer.fail, error)

    def abandon(self, error: HeadwaterError | None = None) -> None:
        """Discard documents not yet uploaded, and leave the task open; see ``TaskWriter.abandon``."""
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
