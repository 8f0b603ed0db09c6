"""DuckDB over segments: which version of a document shows, and how it reads.

Of two versions of a document the one in the higher layer shows, and within a segment the later one.
Both are one number here, the *rank*: ``layer << 32 | pos``, unique in a stream.
"""

import asyncio
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import duckdb
import numpy as np
import pyarrow as pa

from headwater.domain.errors import Unavailable
from headwater.domain.stream import Segment
from headwater.lake.store import LocalStore

P = ParamSpec("P")
T = TypeVar("T")

#: Rows looked at for each document of a page: with up to so many versions of each, one look is enough.
LOOK_AHEAD = 3
#: Questions that are answered at once; DuckDB shares its own threads among them.
MOST_AT_ONCE = 8
#: An export sorts a range of documents at a time, of which so many would fill the memory.
RANGES_IN_MEMORY = 8
#: Documents in a batch of an export.
EXPORT_BATCH = 8192

# A file's layer and task come from a join on its name: the lists are bound, never part of the text.
_VERSIONS = """
    versions AS (
        SELECT v.doc_id, s.layer << 32 | v.pos AS rank, s.task, v.doc
        FROM read_parquet($files, filename = true, hive_partitioning = false) v
        JOIN (SELECT unnest($files) AS filename, unnest($layers)::BIGINT AS layer, unnest($tasks) AS task) s
        USING (filename)
    )
"""

_BOUND = """
    SELECT max(doc_id), count(*) FROM (
        SELECT doc_id FROM read_parquet($files, hive_partitioning = false)
        WHERE doc_id > $after OR $after IS NULL ORDER BY doc_id LIMIT $rows
    )
"""

_BETWEEN = f"""
    WITH {_VERSIONS}
    SELECT doc_id, task, doc FROM versions
    WHERE (doc_id > $after OR $after IS NULL) AND doc_id <= $bound
    QUALIFY row_number() OVER (PARTITION BY doc_id ORDER BY rank DESC) = 1
    ORDER BY doc_id
"""

_ONE = f"""
    WITH {_VERSIONS}
    SELECT doc_id, task, doc FROM versions WHERE doc_id = $id ORDER BY rank DESC LIMIT 1
"""

_WINNERS = f"""
    WITH {_VERSIONS},
    between AS (
        SELECT * FROM versions
        WHERE (doc_id > $after OR $after IS NULL) AND (doc_id <= $bound OR $bound IS NULL)
    )
    SELECT doc_id, task, doc FROM between
    WHERE rank IN (SELECT max(rank) FROM between GROUP BY doc_id)
    ORDER BY doc_id
"""

_BOUNDS = """
    SELECT doc_id FROM (
        SELECT doc_id, row_number() OVER (ORDER BY doc_id) AS place
        FROM (SELECT DISTINCT doc_id FROM read_parquet($files, hive_partitioning = false))
    ) WHERE place % $every = 0 ORDER BY doc_id
"""

_COUNT = "SELECT count(DISTINCT doc_id) FROM read_parquet($files, hive_partitioning = false)"

_ARRIVED = """
    SELECT doc_id, pos, doc FROM read_parquet($files, hive_partitioning = false)
    WHERE pos > $after ORDER BY pos LIMIT $rows
"""


@dataclass(frozen=True, kw_only=True)
class Found:
    """A document as a reader finds it."""

    id: str
    #: The task that wrote this version of it.
    task: str
    #: Its JSON text, ended by a line end.
    text: str


class Engine:
    """One DuckDB in memory that reads the store's files and nothing else."""

    def __init__(self, store: LocalStore, *, memory: int, spill: Path, threads: int) -> None:
        """Open it, to use ``memory`` bytes."""
        self._store = store
        self._memory = memory
        self._threads = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="query")
        spill.mkdir(parents=True, exist_ok=True)
        self._db = duckdb.connect(
            ":memory:",
            config={
                "memory_limit": f"{memory // 1024}KiB",
                "temp_directory": str(spill),
                "threads": threads,
                # Every query that cares for order says so; keeping it unasked takes memory.
                "preserve_insertion_order": False,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            },
        )
        allowed = ", ".join("'" + str(folder).replace("'", "''") + "'" for folder in (store.root, spill))
        self._db.execute(f"SET allowed_directories = [{allowed}]")  # SET takes no bound values
        # A file never changes once it is kept, so that what was read of its footer stays true.
        self._db.execute("SET parquet_metadata_cache = true")
        self._db.execute("SET enable_external_access = false")
        self._db.execute("SET lock_configuration = true")

    async def ask(self, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the answer to a question of this engine, asked in a thread."""
        asked = partial(question, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, asked)

    def close(self) -> None:
        """Wait for the questions that are being answered, then let go of memory and spilled files."""
        self._threads.shutdown()
        self._db.close()

    def page(self, segments: Sequence[Segment], *, after: str | None, limit: int) -> list[Found]:
        """Return the current documents behind the id ``after``, in id order, at most ``limit``.

        In two steps: the id that bounds the next rows, for which statistics prune nearly everything,
        then the winners up to it. In one step, DuckDB would rank the whole stream for each page.
        """
        found: list[Found] = []
        while segments and len(found) < limit:
            rows = (limit - len(found)) * LOOK_AHEAD
            plain = {"files": self._files(segments), "after": after, "rows": rows}
            bound, seen = self._all(_BOUND, plain)[0]
            if bound is None:
                break
            found += self._found(_BETWEEN, segments, after=after, bound=bound)
            if seen < rows:
                break
            after = bound
        return found[:limit]

    def one(self, segments: Sequence[Segment], doc_id: str) -> Found | None:
        """Return the current document of an id, or None."""
        return next(iter(self._found(_ONE, segments, id=doc_id)), None) if segments else None

    def export(self, segments: Sequence[Segment]) -> Iterator[pa.RecordBatch]:
        """Yield batches of all current documents in id order, columns ``doc_id``, ``task`` and ``doc``.

        A range of ids at a time: DuckDB would sort all documents in memory, and cannot spill their texts.

        Raises:
            Unavailable: the documents of a range need more memory than there is.
        """
        if not segments:
            return
        after = None
        for bound in [*self._bounds(segments), None]:
            values = self._versions(segments) | {"after": after, "bound": bound}
            with closing(self._db.cursor()) as cursor, _within_memory():
                yield from cursor.sql(_WINNERS, params=values).to_arrow_reader(EXPORT_BATCH)
            after = bound

    def _bounds(self, segments: Sequence[Segment]) -> list[str]:
        """Return ids that cut the current documents into ranges that can be sorted in memory."""
        ranges = -(-sum(segment.bytes for segment in segments) * RANGES_IN_MEMORY // self._memory)
        if ranges <= 1:
            return []
        every = max(1, self.count(segments) // ranges)
        return [bound for (bound,) in self._all(_BOUNDS, {"files": self._files(segments), "every": every})]

    def count(self, segments: Sequence[Segment]) -> int:
        """Return the number of current documents."""
        return self._all(_COUNT, {"files": self._files(segments)})[0][0] if segments else 0

    def arrived(self, segment: Segment, *, after: int, limit: int) -> list[tuple[int, Found]]:
        """Return documents of one segment with their places, in order of arrival, behind the place ``after``."""
        rows = self._all(_ARRIVED, {"files": self._files([segment]), "after": after, "rows": limit})
        return [(pos, Found(id=doc_id, task=segment.task, text=text)) for doc_id, pos, text in rows]

    def check(self) -> None:
        """Raise unless DuckDB answers.

        Raises:
            duckdb.Error: it does not.
        """
        self._all("SELECT 1", {})

    def _found(self, query: str, segments: Sequence[Segment], **values: Any) -> list[Found]:
        rows = self._all(query, self._versions(segments) | values)
        return [Found(id=doc_id, task=task, text=text) for doc_id, task, text in rows]

    def _all(self, query: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        # A cursor is a connection of its own: threads do not wait for each other.
        with closing(self._db.cursor()) as cursor, _within_memory():
            return cursor.execute(query, values).fetchall()

    def _files(self, segments: Sequence[Segment]) -> list[str]:
        return [self._store.locate(segment.path) for segment in segments]

    def _versions(self, segments: Sequence[Segment]) -> dict[str, Any]:
        return {
            "files": self._files(segments),
            "layers": [segment.layer for segment in segments],
            "tasks": [segment.task for segment in segments],
        }


@contextmanager
def _within_memory() -> Generator[None]:
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        fault = "reading this needs more memory than there is (setting query_memory)"
        raise Unavailable(fault, retry_after=30) from error


def lines(batch: pa.RecordBatch) -> bytes:
    """Return the documents of a batch as NDJSON: the bytes of the column, end to end."""
    column = cast("Any", batch.column("doc"))
    if not len(column):
        return b""
    _, offsets, data = column.buffers()
    bounds = np.frombuffer(offsets, dtype=np.int32)
    return data[int(bounds[column.offset]) : int(bounds[column.offset + len(column)])].to_pybytes()
