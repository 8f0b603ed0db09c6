"""What a crawler's function is given: a task, with a writer for its documents."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from headwater_client.awaited_writer import AsyncTaskWriter
from headwater_client.errors import TaskGone
from headwater_client.objects import Task
from headwater_client.server.orders import Order
from headwater_client.writer import TaskWriter

P = TypeVar("P")
T = TypeVar("T")


class _Ordered(Generic[P]):
    """What both kinds of tasks have."""

    def __init__(self, order: Order[P], over: threading.Event) -> None:
        self._order = order
        #: Set when nothing more is wanted: the task was stopped, deleted or retried, or the server shuts down.
        self.over = over

    @property
    def fid(self) -> str:
        """The task's id."""
        return self._order.fid

    @property
    def params(self) -> P:
        """What the crawl is told: an instance of the params class."""
        return self._order.params

    @property
    def credential(self) -> Mapping[str, Any] | None:
        """What to log in with at the source; None where the External asks for none.

        It is ``{"user", "password"}``, or of a login by OAuth what the service gave, its ``token`` among it.
        """
        return self._order.credential

    @property
    def version(self) -> int | None:
        """The version of the External that the task was begun with."""
        return self._order.version

    @property
    def is_over(self) -> bool:
        """Whether nothing more is wanted."""
        return self.over.is_set()


class CrawlTask(_Ordered[P]):
    """A task, as a plain function gets it."""

    def __init__(self, order: Order[P], over: threading.Event, writer: TaskWriter) -> None:
        """Write to ``writer``, until ``over``."""
        super().__init__(order, over)
        #: What takes the documents; ``write``, ``write_all`` and ``status`` are its own, and know of the end.
        self.writer = writer

    def write(self, document: object) -> None:
        """Take a document: a mapping, dataclass, pydantic model or attrs class.

        Raises:
            TaskGone: nothing more is wanted; let it pass, and the run is at its end.
            HeadwaterError: as ``TaskWriter.write``.
        """
        self._heeding(lambda: self.writer.write(document))

    def write_all(self, documents: Iterable[object]) -> None:
        """Take documents one after the other; raises as ``write``."""
        for document in documents:
            self.write(document)

    def status(self, code: int, message: str | None = None, detail: Any = None) -> Task:
        """Report how the task goes: 102 goes on; any other code ends it, and nothing is reported behind it.

        Raises:
            HeadwaterError: as ``write``.
        """
        return self._heeding(lambda: self.writer.status(code, message, detail))

    def _heeding(self, say: Callable[[], T]) -> T:
        """Do something, unless, or until, the task is over."""
        if self.over.is_set():
            raise TaskGone(f"nothing more is wanted for task {self.fid}")
        try:
            return say()
        except TaskGone:
            self.over.set()
            raise


class AsyncCrawlTask(_Ordered[P]):
    """A task, as a coroutine function gets it; the function is cancelled when nothing more is wanted."""

    def __init__(self, order: Order[P], over: threading.Event, writer: AsyncTaskWriter) -> None:
        """Write to ``writer``, until ``over``."""
        super().__init__(order, over)
        #: What takes the documents; ``write``, ``write_all`` and ``status`` are its own.
        self.writer = writer

    async def write(self, document: object) -> None:
        """Take a document: a mapping, dataclass, pydantic model or attrs class; see ``TaskWriter.write``."""
        await self.writer.write(document)

    async def write_all(self, documents: Iterable[object] | AsyncIterable[object]) -> None:
        """Take documents one after the other; see ``TaskWriter.write``."""
        await self.writer.write_all(documents)

    async def status(self, code: int, message: str | None = None, detail: Any = None) -> Task:
        """Report how the task goes: 102 goes on; any other code ends it, and nothing is reported behind it."""
        return await self.writer.status(code, message, detail)
