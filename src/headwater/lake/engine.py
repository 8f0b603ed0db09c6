"""An in-memory DuckDB over the store's files. Its queries are in the other modules of this package.

Of two versions of a document the one in the higher layer is current, and within a segment the later one.
Both combine to one number, the *rank*: ``layer << 32 | pos``, unique among the visible rows of a stream version.
"""

import asyncio
import os
import re
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeAlias, TypeVar, cast

import duckdb
import numpy as np
import pyarrow as pa

from headwater.domain.errors import Unavailable
from headwater.domain.segment_table import SegmentFile, SegmentTable, VisibleSegments
from headwater.lake.footers import Footers
from headwater.lake.inlined import Inlined, RowsDamaged
from headwater.lake.integrity import Skipped, Verifier
from headwater.lake.store import Store

P = ParamSpec("P")
T = TypeVar("T")

#: Maximum number of concurrent queries; DuckDB shares its own threads among them.
MOST_AT_ONCE = 8
#: The ``nice`` value of a low-priority engine.
PATIENCE = 5
#: Documents in a batch of a streamed result.
BATCH = 8192
#: A sort may use one part of so many of the memory.
RANGES_IN_MEMORY = 12

# The rows of files: doc_id, part, pos, doc. Only a folded file stores the part of each: elsewhere it follows from the
# file. With hashes instead of texts, a folded file has a ``text_hash`` and no ``doc``, other files have it
# the other way.
_FOLDED = "SELECT doc_id, part, pos, {texts} FROM read_parquet(${name}_folded, hive_partitioning = false)"
_PLAIN = """
    SELECT r.doc_id, n.part, r.pos, {texts}
    FROM read_parquet(${name}_plain, filename = true, hive_partitioning = false) r
    JOIN (SELECT unnest(${name}_plain) AS filename, unnest(${name}_parts)::BIGINT AS part) n USING (filename)
"""
_ONE_PLAIN = """
    SELECT doc_id, {part}::BIGINT AS part, pos, {texts} FROM read_parquet(${name}_plain, hive_partitioning = false)
"""
_INLINED = "SELECT doc_id, part, pos, {texts} FROM inlined WHERE list_contains(${name}_inlined, part)"
_NOTHING = """
    SELECT NULL::VARCHAR AS doc_id, 0::BIGINT AS part, 0::BIGINT AS pos, NULL::VARCHAR AS doc,
        NULL::UBIGINT AS text_hash
    WHERE false
"""
_TEXTS = "doc"
_STORED = "doc, text_hash"
_COMPUTED = "doc, md5_number_lower(doc) AS text_hash"
_STORED_HASHES = "NULL::VARCHAR AS doc, text_hash"
_NO_HASHES = "doc, NULL::UBIGINT AS text_hash"
#: The hash of a row's text, of ``hashes_of`` a file.
TEXT_HASH = "coalesce({row}.text_hash, md5_number_lower({row}.doc))"
_ROWS = re.compile(r"(rows|hashes|all)_of\((\w+)\)")
#: The columns of a file's rows by what a query asks for: of a folded file, and of another one.
_COLUMNS = {"rows": (_TEXTS, _TEXTS), "hashes": (_STORED_HASHES, _NO_HASHES), "all": (_STORED, _COMPUTED)}

#: The visible versions of documents, of ``files`` and the table ``seen`` (see ``seen_table``).
VERSIONS = """
    versions AS (
        SELECT v.doc_id, s.layer << 32 | v.pos AS rank, s.task, v.doc
        FROM rows_of(files) v JOIN seen s USING (part)
        WHERE v.pos < s.until
    )
"""

#: The files that a query reads, by the name that it uses for them.
Reads: TypeAlias = Mapping[str, Sequence[SegmentFile]]
NO_FILES: Reads = {}


@dataclass(frozen=True, kw_only=True)
class Found:
    """A document as it is returned to a reader."""

    id: str
    #: The task that wrote this version of it.
    task: str
    #: Its JSON text, with a trailing newline.
    text: str


def is_out_of_memory(error: Unavailable) -> bool:
    """Return whether a query failed because it needs more memory than there is."""
    return isinstance(error.__cause__, duckdb.OutOfMemoryException)


class Engine:
    """An in-memory DuckDB that can read the store's files and nothing else."""

    def __init__(
        self,
        store: Store,
        *,
        memory: int,
        spill: Path,
        threads: int,
        inlined: Inlined | None = None,
        verifier: Verifier | None = None,
        is_patient: bool = False,
    ) -> None:
        """Limit it to ``memory`` bytes; small segments come from ``inlined``, ``verifier`` verifies files.

        DuckDB is opened by the first query. With ``is_patient``, it has one low-priority thread: uploads and
        readers come first.
        """
        self.store = store
        self._verifier = verifier or Verifier(store)
        self.inlined = inlined or Inlined(lambda _paths: {})
        self.footers = Footers(store)
        self._memory = memory
        self._working: set[threading.Thread] = set()
        self._is_patient = is_patient
        self._threads = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="query", initializer=self._begin)
        #: Connections that are in use.
        self._lent: set[duckdb.DuckDBPyConnection] = set()
        self._is_closing = False
        self.spill = spill
        with suppress(OSError):  # on a full disk, only queries that need to spill fail
            spill.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._limit = threads
        self._opened: duckdb.DuckDBPyConnection | None = None
        self._opening = threading.Lock()

    @property
    def _db(self) -> duckdb.DuckDBPyConnection:
        # Opened by the first query: that takes 30 ms of processor and 30 MB, and an idle process needs none.
        with self._opening:
            if self._opened is None:
                if self._is_closing:
                    raise Unavailable(_CLOSING)
                self._opened = self._open()
            return self._opened

    def _open(self) -> duckdb.DuckDBPyConnection:
        db = duckdb.connect(
            ":memory:",
            config={
                "memory_limit": f"{self._memory // 1024}KiB",
                "temp_directory": str(self.spill),
                "threads": self._limit,
                # Queries that need an order specify it; preserving the insertion order takes memory.
                "preserve_insertion_order": False,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            },
        )
        allowed = ", ".join(_quoted(folder) for folder in (self.store.root, self.spill))
        db.execute(f"SET allowed_directories = [{allowed}]")  # SET takes no parameters
        # A stored file never changes, so that its footer can be cached.
        db.execute("SET parquet_metadata_cache = true")
        # Prefetching is for remote files.
        db.execute("SET disable_parquet_prefetching = true")
        db.execute("SET enable_external_access = false")
        db.execute("SET lock_configuration = true")
        return db

    def _begin(self) -> None:
        self._working.add(threading.current_thread())
        if self._is_patient:
            with suppress(OSError, AttributeError):  # only Linux supports it for a thread
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), PATIENCE)

    async def ask(self, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a query function of this engine in a thread and return its result."""
        asked = partial(question, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, asked)

    def close(self) -> None:
        """Interrupt running queries, then release memory and spilled files."""
        self._is_closing = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        # Repeated: a query that is just about to start is not interrupted.
        while alive := [thread for thread in self._working if thread.is_alive()]:
            for cursor in list(self._lent):
                with suppress(duckdb.Error):  # it has just ended
                    cursor.interrupt()
            alive[0].join(0.01)
        with self._opening:
            if self._opened is not None:
                self._opened.close()

    def rows(
        self,
        query: str,
        values: Mapping[str, Any],
        *,
        reads: Reads = NO_FILES,
        tables: Mapping[str, pa.Table] | None = None,
    ) -> list[tuple[Any, ...]]:
        """Return the rows of a query: ``rows_of(name)`` in it stands for the rows of the files ``reads[name]``.

        So does ``hashes_of(name)``, without the texts that a file stores a hash of, and ``all_of(name)``, with both.

        The files are verified first. ``tables`` are Arrow tables that the query names.

        Raises:
            SegmentDamaged: a file is damaged.
            Unavailable: the query needs more memory than there is.
        """
        with self.cursor(_all_of(reads), tables) as cursor:
            return self.execute(cursor, query, values, reads=reads).fetchall()

    def batches(
        self,
        query: str,
        values: Mapping[str, Any],
        *,
        reads: Reads = NO_FILES,
        tables: Mapping[str, pa.Table] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the batches of a query's result; see ``rows``.

        Raises:
            SegmentDamaged: a file is damaged.
            Unavailable: the query needs more memory than there is.
        """
        with self.cursor(_all_of(reads), tables) as cursor:
            yield from self.select(cursor, query, values, reads=reads).to_arrow_reader(BATCH)

    def execute(
        self, cursor: duckdb.DuckDBPyConnection, query: str, values: Mapping[str, Any], *, reads: Reads
    ) -> duckdb.DuckDBPyConnection:
        """Run a query on a cursor, which was opened for all files that it reads."""
        text, bound = _bound(self, query, reads)
        return cursor.execute(text, {**values, **bound} or None)

    def select(
        self, cursor: duckdb.DuckDBPyConnection, query: str, values: Mapping[str, Any], *, reads: Reads
    ) -> duckdb.DuckDBPyRelation:
        """Return the result of a query on a cursor, which was opened for all files that it reads."""
        text, bound = _bound(self, query, reads)
        return cursor.sql(text, params={**values, **bound} or None)

    @contextmanager
    def cursor(
        self, reads: Sequence[SegmentFile] = (), tables: Mapping[str, pa.Table] | None = None
    ) -> Generator[duckdb.DuckDBPyConnection]:
        """Return a separate connection, so that threads do not wait for each other.

        The files that it ``reads`` are verified first, and inlined rows among them are readable as well.

        Raises:
            SegmentDamaged: a file is damaged.
            Unavailable: a query needs more memory than there is, or the engine is being closed.
        """
        if self._is_closing:
            raise Unavailable(_CLOSING)
        with closing(self._db.cursor()) as cursor, self.explaining(reads):
            self._lent.add(cursor)
            try:
                self._verifier.require(reads)
                if inlined := list({one.path: one for one in reads if one.is_inlined}.values()):
                    cursor.register("inlined", self.inlined.table(inlined))
                for name, table in (tables or {}).items():
                    cursor.register(name, table)
                yield cursor
            finally:
                self._lent.discard(cursor)

    @contextmanager
    def explaining(self, reads: Sequence[SegmentFile]) -> Generator[None]:
        """Hold files for reading, and raise an error that names the damaged file if reading fails because of it.

        Raises:
                SegmentDamaged: reading failed, and a file is damaged.
                Unavailable: reading needs more memory than there is, or the engine is being closed.
        """
        try:
            with _errors_translated(), self.store.reading([file.path for file in reads if not file.is_inlined]):
                yield
        except RowsDamaged as error:
            raise self._verifier.damaged(error.file, error.fault) from error
        except Unavailable as error:
            # In a file without a digest, a damaged length field may request any amount of memory.
            if is_out_of_memory(error):
                undigested = [file for file in reads if file.digest is None]
                if (damage := self._verifier.find_damage(undigested)) is not None:
                    raise damage from error
            raise
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            if (damage := self._verifier.find_damage(reads)) is not None:
                raise damage from error
            raise

    def require_intact(self, files: Sequence[SegmentFile], *, anew: bool = True) -> None:
        """Verify files; before a rewrite ``anew``, even if they were verified recently.

        Raises:
            SegmentDamaged: one of them is damaged.
        """
        self._verifier.require(files, anew=anew)

    def intact(self, seen: VisibleSegments, skipped: Skipped) -> VisibleSegments:
        """Return the readable segments, and add the files of the others to ``skipped``."""
        return seen.without(self._verifier.damaged_among(seen.files, skipped, self.inlined.fault))

    def inlined_rows(self, files: Sequence[SegmentFile]) -> list[pa.RecordBatch]:
        """Return the rows of inlined segments.

        Raises:
                SegmentDamaged: their rows are damaged.
                Unavailable: one of them was deleted meanwhile.
        """
        with self.explaining(files):
            return self.inlined.batches(files)

    def location(self, file: SegmentFile) -> str:
        """Return where a file is."""
        return self.store.locate(file.path)

    def ranges_for(self, size: int) -> int:
        """Return the number of ranges in which so many bytes of documents can be sorted in memory."""
        return max(1, -(-size * RANGES_IN_MEMORY // self._memory))

    def held(self) -> int:
        """Return how many bytes of memory DuckDB uses: none before its first query."""
        if self._opened is None:
            return 0
        ((held,),) = self.rows("SELECT coalesce(sum(memory_usage_bytes), 0)::BIGINT FROM duckdb_memory()", {})
        return held

    def check(self) -> None:
        """Raise unless DuckDB answers.

        Raises:
            duckdb.Error: it does not answer.
        """
        self.rows("SELECT 1", {})


def seen_table(seen: VisibleSegments) -> pa.Table:
    """Return the visible parts: ``part``, their ``layer``, ``task``, and the position ``until`` which they are visible.

    In a join of it with rows, a row beyond ``until`` has not arrived yet.
    """
    table, rows = seen.table, seen.rows
    columns = {"part": table.part[rows], "layer": table.layer[rows], "until": seen.until[rows]}
    return cast("Any", pa).table({**columns, "task": task_names(table, rows)})


def task_names(table: SegmentTable, rows: Any) -> Any:
    """Return the tasks of rows of a table as a column."""
    names = pa.array(table.tasks, pa.string())
    return cast("Any", pa.DictionaryArray).from_arrays(pa.array(table.task[rows]), names)


def _all_of(reads: Reads) -> list[SegmentFile]:
    return list({file.path: file for files in reads.values() for file in files}.values())


def _bound(engine: Engine, query: str, reads: Reads) -> tuple[str, dict[str, Any]]:
    """Return a query with the SQL of the rows that it reads, and the parameters of that SQL."""
    values: dict[str, Any] = {}

    def rows(match: re.Match[str]) -> str:
        kind, name = match.groups()
        stored, computed = _COLUMNS[kind]
        folded, plain, inlined = _kinds(reads[name])
        parts: list[str] = []
        if folded:
            values[f"{name}_folded"] = [engine.location(file) for file in folded]
            parts.append(_FOLDED.format(name=name, texts=stored))
        if len(plain) == 1:
            values[f"{name}_plain"] = [engine.location(plain[0])]
            parts.append(_ONE_PLAIN.format(name=name, texts=computed, part=plain[0].part))
        elif plain:
            values[f"{name}_plain"] = [engine.location(file) for file in plain]
            values[f"{name}_parts"] = [file.part for file in plain]
            parts.append(_PLAIN.format(name=name, texts=computed))
        if inlined:
            values[f"{name}_inlined"] = [file.part for file in inlined]
            parts.append(_INLINED.format(name=name, texts=computed))
        return f"({' UNION ALL '.join(parts) or _NOTHING})"

    return _ROWS.sub(rows, query), values


def _kinds(files: Sequence[SegmentFile]) -> tuple[list[SegmentFile], list[SegmentFile], list[SegmentFile]]:
    """Return files by kind: folded, of one segment, inlined."""
    folded = [file for file in files if file.is_folded]
    plain = [file for file in files if not file.is_folded and not file.is_inlined]
    return folded, plain, [file for file in files if file.is_inlined]


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


_CLOSING = "Headwater is stopping"


@contextmanager
def _errors_translated() -> Generator[None]:
    try:
        yield
    except duckdb.InterruptException as error:
        raise Unavailable(_CLOSING) from error
    except duckdb.OutOfMemoryException as error:
        fault = "reading this needs more memory than there is (setting query_memory)"
        raise Unavailable(fault, retry_after=30) from error


def lines(batch: pa.RecordBatch) -> bytes:
    """Return the documents of a batch as NDJSON: the bytes of the column, concatenated."""
    return joined(batch.column("doc"))


def joined(texts: Any) -> bytes:
    """Return the texts of an Arrow column, concatenated: its bytes, without parsing."""
    start, end = _bounds(texts)
    return texts.buffers()[2][start:end].to_pybytes() if end > start else b""


def size_of(texts: Any) -> int:
    """Return their size in bytes, without copying."""
    start, end = _bounds(texts)
    return end - start


def _bounds(texts: Any) -> tuple[int, int]:
    if not len(texts):
        return 0, 0
    offsets = np.frombuffer(texts.buffers()[1], dtype=np.int32)
    return int(offsets[texts.offset]), int(offsets[texts.offset + len(texts)])
