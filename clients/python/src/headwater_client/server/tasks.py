"""The task objects passed to crawl functions, with a writer for documents."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from headwater_client.async_writer import AsyncTaskWriter
from headwater_client.errors import TaskGone
from headwater_client.models.objects import Task
from headwater_client.server.start_request import StartRequest
from headwater_client.writer import TaskWriter

P = TypeVar("P")
T = TypeVar("T")


class _BaseTask(Generic[P]):
    """Common to sync and async tasks."""

    def __init__(self, order: StartRequest[P], over: threading.Event) -> None:
        self._order = order
        #: Set when the task was stopped, deleted or retried, or the server is shutting down.
        self.over = over

    @property
    def fid(self) -> str:
        """The task's fid."""
        return self._order.fid

    @property
    def params(self) -> P:
        """The task's parameters: an instance of the params class."""
        return self._order.params

    @property
    def credential(self) -> Mapping[str, Any] | None:
        """Credentials for the source; None if the External uses none.

        They are ``{"user", "password"}``, or for OAuth the service's response, including its ``token``.
        """
        return self._order.credential

    @property
    def version(self) -> int | None:
        """The External's version that the task was started with."""
        return self._order.version

    @property
    def is_over(self) -> bool:
        """Whether the task is over."""
        return self.over.is_set()


class CrawlTask(_BaseTask[P]):
    """A task, as passed to a non-async function."""

    def __init__(self, order: StartRequest[P], over: threading.Event, writer: TaskWriter) -> None:
        """Write to ``writer``, until ``over``."""
        super().__init__(order, over)
        #: Writer of the documents; this class's ``write``, ``write_all`` and ``status`` also check for the end.
        self.writer = writer

    def write(self, document: object) -> None:
        """Write a document: a mapping, dataclass, pydantic model or attrs class.

        Raises:
            TaskGone: the task is over; do not catch it, so that the run ends.
            HeadwaterError: as ``TaskWriter.write``.
        """
        self._unless_over(lambda: self.writer.write(document))

    def write_all(self, documents: Iterable[object]) -> None:
        """Write documents one after the other; raises as ``write``."""
        for document in documents:
            self.write(document)

    def log(self, text: str, level: str = "info", **fields: Any) -> None:
        """Write a line to the task's log; see ``TaskWriter.log``. Records of ``logging`` are sent as well."""
        self.writer.log(text, level, **fields)

    def status(self, code: int, message: str | None = None, detail: Any = None) -> Task:
        """Report the task's status: 102 running; any other code ends the task.

        Raises:
            HeadwaterError: as ``write``.
        """
        return self._unless_over(lambda: self.writer.status(code, message, detail))

    def _unless_over(self, action: Callable[[], T]) -> T:
        """Run an action unless the task is over; mark it as over on ``TaskGone``."""
        if self.over.is_set():
            raise TaskGone(f"nothing more is wanted for task {self.fid}")
        try:
            return action()
        except TaskGone:
            self.over.set()
            raise


class AsyncCrawlTask(_BaseTask[P]):
    """A task, as passed to a coroutine function, which is cancelled when the task is over."""

    def __init__(self, order: StartRequest[P], over: threading.Event, writer: AsyncTaskWriter) -> None:
        """Write to ``writer``, until ``over``."""
        super().__init__(order, over)
        #: Writer of the documents.
        self.writer = writer

    async def write(self, document: object) -> None:
        """Write a document: a mapping, dataclass, pydantic model or attrs class; see ``TaskWriter.write``."""
        await self.writer.write(document)

    async def write_all(self, documents: Iterable[object] | AsyncIterable[object]) -> None:
        """Write documents one after the other; see ``TaskWriter.write``."""
        await self.writer.write_all(documents)

    def log(self, text: str, level: str = "info", **fields: Any) -> None:
        """Write a line to the task's log; see ``TaskWriter.log``. Records of ``logging`` are sent as well."""
        self.writer.log(text, level, **fields)

    async def status(self, code: int, message: str | None = None, detail: Any = None) -> Task:
        """Report the task's status: 102 running; any other code ends the task."""
        return await self.writer.status(code, message, detail)
