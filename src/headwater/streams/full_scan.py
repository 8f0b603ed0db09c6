"""Reads all documents of a stream and passes them to a visitor."""

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, cast

from pyarrow import RecordBatch

from headwater.domain.errors import NotFound, VersionForgotten
from headwater.domain.stream import Stream
from headwater.lake.engine import Engine
from headwater.streams.documents import DocumentReader
from headwater.streams.views import NOW


class Visitor(Protocol):
    """Receives the documents of one stream."""

    def take(self, batch: RecordBatch) -> None:
        """Process documents: ``doc_id``, ``task``, ``doc``; called in a thread, one batch after another."""
        ...


J = TypeVar("J", bound=Visitor)


@dataclass(frozen=True, kw_only=True)
class Scan(Generic[J]):
    """A stream whose documents were all read."""

    stream: Stream
    #: The stream version that was read.
    version: int
    visitor: J


async def scan_all(reader: DocumentReader, engine: Engine, stream: str, visitor: Callable[[], J]) -> Scan[J] | None:
    """Pass the current documents of a stream, in id order, to a visitor; None if the stream is gone.

    It holds one batch in memory, however many there are. When cancelled, it ends after the current batch.

    Raises:
        Unavailable: they cannot be read now.
    """
    while True:
        seeing = visitor()
        try:
            documents = await reader.documents(stream, NOW)
            # Closed at once when this is cancelled, and not by the garbage collector.
            async with aclosing(cast("Any", reader.batches(documents))) as batches:
                async for batch in batches:
                    await engine.ask(seeing.take, batch)
        except VersionForgotten:
            continue  # its crawler was deleted during the read: start over with the current version
        except NotFound:
            return None
        return Scan(stream=documents.stream, version=documents.view.as_of or 0, visitor=seeing)
