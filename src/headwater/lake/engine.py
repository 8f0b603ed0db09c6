"""One DuckDB in memory over the store's files. What it is asked stands in the modules beside this one.

Of two versions of a document the one in the higher layer shows, and within a segment the later one.
Both are one number, the *rank*: ``layer << 32 | pos``, unique in what a stream shows at a version.
"""

import asyncio
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from headwater.domain.errors import Unavailable
from headwater.domain.stream import Seen, Segment, inlined_path, is_inlined
from headwater.lake.inlining import Inlined
from headwater.lake.segment import SCHEMA
from headwater.lake.store import LocalStore

P = ParamSpec("P")
T = TypeVar("T")

#: Questions that are answered at once; DuckDB shares its own threads among them.
MOST_AT_ONCE = 8
#: How much a patient engine lets others go first, as ``nice`` counts it.
PATIENCE = 19
#: Documents in a batch of a long answer.
BATCH = 8192
#: What is sorted at a time may fill this part of the memory.
RANGES_IN_MEMORY = 12
#: A place that no document has: all of a segment lies before it.
WHOLE = 1 << 40

# What lies in segments, whether they are files or rows that the catalog keeps; those are lent to a connection as a
# view that hides the table. No list of files may be empty, so that there is one without rows.
_ROWS_OF = """
    CREATE TABLE inlined (doc_id VARCHAR, pos BIGINT, doc VARCHAR, filename VARCHAR);
    CREATE MACRO rows_of(names) AS TABLE
        SELECT doc_id, pos, doc, filename FROM read_parquet(
            list_append(list_filter(names, lambda name: NOT starts_with(name, '{inlined}')), {empty}),
            filename = true, hive_partitioning = false
        )
        UNION ALL SELECT doc_id, pos, doc, filename FROM inlined WHERE list_contains(names, filename)
"""

_ROWS = re.compile(r"rows_of\((\$\w+)\)")

#: The versions of documents that are seen. A file's layer and task come from a join on its name: the
#: lists are bound, never part of the text.
VERSIONS = """
    versions AS (
        SELECT v.doc_id, s.layer << 32 | v.pos AS rank, s.task, v.doc
        FROM rows_of($files) v
        JOIN (
            SELECT unnest($files) AS filename, unnest($layers)::BIGINT AS layer, unnest($tasks) AS task,
                unnest($untils)::BIGINT AS until
        ) s USING (filename)
        WHERE v.pos < s.until
    )
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

    def __init__(
        self,
        store: LocalStore,
        *,
        memory: int,
        spill: Path,
        threads: int,
        inlined: Inlined | None = None,
        is_patient: bool = False,
    ) -> None:
        """Open it, to use ``memory`` bytes; what is no file comes from ``inlined``.

        A patient one, with one thread, works in the time that others leave: uploads and readers come first.
        """
        self._store = store
        self.inlined = inlined or Inlined(lambda _paths: {})
        self._memory = memory
        self._working: set[threading.Thread] = set()
        self._is_patient = is_patient
        self._threads = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="query", initializer=self._begin)
        #: Connections that are in use.
        self._lent: set[duckdb.DuckDBPyConnection] = set()
        self._is_closing = False
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
        allowed = ", ".join(_quoted(folder) for folder in (store.root, spill))
        self._db.execute(f"SET allowed_directories = [{allowed}]")  # SET takes no bound values
        # A file never changes once it is kept, so that what was read of its footer stays true.
        self._db.execute("SET parquet_metadata_cache = true")
        # Reading ahead is for files that are far away.
        self._db.execute("SET disable_parquet_prefetching = true")
        self._nothing = _without_rows(spill)
        self._db.execute(_ROWS_OF.format(inlined=inlined_path(""), empty=_quoted(self._nothing)))
        self._db.execute("SET enable_external_access = false")
        self._db.execute("SET lock_configuration = true")

    def _begin(self) -> None:
        self._working.add(threading.current_thread())
        if self._is_patient:
            with suppress(OSError, AttributeError):  # only Linux has it for a thread
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), PATIENCE)

    async def ask(self, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the answer to a question of this engine, asked in a thread."""
        asked = partial(question, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, asked)

    def close(self) -> None:
        """Break off the questions that are being answered, then let go of memory and spilled files."""
        self._is_closing = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        # Again and again: one that is just about to begin is not broken off.
        while any(thread.is_alive() for thread in self._working):
            for cursor in list(self._lent):
                with suppress(duckdb.Error):  # it has just ended
                    cursor.interrupt()
            time.sleep(0.01)
        self._db.close()
        self._nothing.unlink(missing_ok=True)

    def rows(self, query: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        """Return the rows of an answer.

        Raises:
            Unavailable: it needs more memory than there is.
        """
        names = _inlined_among(values)
        with self._lend(names) as cursor:
            return cursor.execute(_asked(query, names), values).fetchall()

    def batches(self, query: str, values: dict[str, Any]) -> Iterator[pa.RecordBatch]:
        """Yield the batches of a long answer.

        Raises:
            Unavailable: it needs more memory than there is.
        """
        names = _inlined_among(values)
        with self._lend(names) as cursor:
            yield from cursor.sql(_asked(query, names), params=values).to_arrow_reader(BATCH)

    def cursor(self, values: Mapping[str, Any] | None = None) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        """Lend a connection of one's own, so that threads do not wait for each other.

        Of the segments among ``values`` it reads those that are no files, too.

        Raises:
            Unavailable: what it is used for needs more memory than there is, or the engine is being closed.
        """
        return self._lend(_inlined_among(values or {}))

    @contextmanager
    def _lend(self, inlined: Sequence[str]) -> Generator[duckdb.DuckDBPyConnection]:
        if self._is_closing:
            raise Unavailable(_CLOSING)
        with closing(self._db.cursor()) as cursor, _answerable():
            self._lent.add(cursor)
            try:
                if inlined:
                    cursor.register("inlined", self.inlined.table(inlined))
                yield cursor
            finally:
                self._lent.discard(cursor)

    def files(self, segments: Sequence[Segment]) -> list[str]:
        """Return what ``rows_of`` calls segments: where their files lie, or the paths of those that have none."""
        return [segment.path if segment.is_inlined else self._store.locate(segment.path) for segment in segments]

    def values(self, seen: Sequence[Seen]) -> dict[str, Any]:
        """Return what ``VERSIONS`` leaves open."""
        return {
            "files": self.files([one.segment for one in seen]),
            "layers": [one.segment.layer for one in seen],
            "tasks": [one.segment.task for one in seen],
            "untils": [WHOLE if one.until is None else one.until for one in seen],
        }

    def ranges_for(self, size: int) -> int:
        """Return in how many parts so many bytes of documents can be sorted in memory."""
        return max(1, -(-size * RANGES_IN_MEMORY // self._memory))

    def held(self) -> int:
        """Return how many bytes of memory DuckDB holds."""
        ((held,),) = self.rows("SELECT coalesce(sum(memory_usage_bytes), 0)::BIGINT FROM duckdb_memory()", {})
        return held

    def check(self) -> None:
        """Raise unless DuckDB answers.

        Raises:
            duckdb.Error: it does not.
        """
        self.rows("SELECT 1", {})


def _asked(query: str, inlined: Sequence[str]) -> str:
    """Return a query as it is best asked: where all is in files, DuckDB is faster without the union."""
    plain = r"read_parquet(\1, filename = true, hive_partitioning = false)"
    return query if inlined else _ROWS.sub(plain, query)


def _inlined_among(values: Mapping[str, Any]) -> list[str]:
    lists = [cast("list[Any]", value) for value in values.values() if isinstance(value, list)]
    return list({each: None for one in lists for each in one if isinstance(each, str) and is_inlined(each)})


def _without_rows(folder: Path) -> Path:
    """Make a file of a segment's form without rows."""
    file = folder / f"none-{secrets.token_hex(8)}.parquet"  # each engine deletes its own
    cast("Any", pq).write_table(cast("Any", SCHEMA).empty_table(), file)
    return file


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


_CLOSING = "Headwater is stopping"


@contextmanager
def _answerable() -> Generator[None]:
    try:
        yield
    except duckdb.InterruptException as error:
        raise Unavailable(_CLOSING) from error
    except duckdb.OutOfMemoryException as error:
        fault = "reading this needs more memory than there is (setting query_memory)"
        raise Unavailable(fault, retry_after=30) from error


def lines(batch: pa.RecordBatch) -> bytes:
    """Return the documents of a batch as NDJSON: the bytes of the column, end to end."""
    return joined(batch.column("doc"))


def joined(texts: Any) -> bytes:
    """Return the texts of an Arrow column, end to end: its bytes, which are not parsed."""
    start, end = _bounds(texts)
    return texts.buffers()[2][start:end].to_pybytes() if end > start else b""


def size_of(texts: Any) -> int:
    """Return of how many bytes they are; nothing is copied."""
    start, end = _bounds(texts)
    return end - start


def _bounds(texts: Any) -> tuple[int, int]:
    if not len(texts):
        return 0, 0
    offsets = np.frombuffer(texts.buffers()[1], dtype=np.int32)
    return int(offsets[texts.offset]), int(offsets[texts.offset + len(texts)])
