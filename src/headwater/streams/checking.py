"""All that a stream shows, held against something: here the documents are read, who judges them is handed in."""

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, cast

from pyarrow import RecordBatch

from headwater.domain.errors import NotFound, VersionForgotten
from headwater.domain.stream import Stream
from headwater.lake.engine import Engine
from headwater.streams.reading import Reader
from headwater.streams.views import NOW


class Judge(Protocol):
    """Who looks at the documents of one stream."""

    def take(self, batch: RecordBatch) -> None:
        """Look at documents: ``doc_id``, ``task``, ``doc``; called in a thread, for one batch after the other."""
        ...


J = TypeVar("J", bound=Judge)


@dataclass(frozen=True, kw_only=True)
class Judged(Generic[J]):
    """A stream whose documents were all looked at."""

    stream: Stream
    #: The stream version that showed them.
    version: int
    judge: J


async def judged(reader: Reader, engine: Engine, stream: str, judge: Callable[[], J]) -> Judged[J] | None:
    """Let a judge see the current documents of a stream, in id order; None if the stream is gone.

    Memory is a batch, however many there are. Cancelled, it ends with the batch that is being looked at.

    Raises:
        Unavailable: they cannot be read now.
    """
    while True:
        seeing = judge()
        try:
            documents = await reader.documents(stream, NOW)
            # Closed at once if this is broken off, and not when somebody finds it.
            async with aclosing(cast("Any", reader.batches(documents))) as batches:
                async for batch in batches:
                    await engine.ask(seeing.take, batch)
        except VersionForgotten:
            continue  # its crawler was deleted while we read: begin anew with what it shows now
        except NotFound:
            return None
        return Judged(stream=documents.stream, version=documents.view.as_of or 0, judge=seeing)
