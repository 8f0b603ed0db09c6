"""What plain DuckDB SQL needs over the same files: the SQL that a capable analyst would write.

It runs in this process, with no HTTP and no JSON around it, on a view that joins the files with the
layers from the catalog. Each question is asked in two steps, first which ids, then their documents:
where all documents go through one grouping or window, it takes ten times as long.
"""

import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import duckdb

from bench.read_data import File

#: As much as Headwater gives its own DuckDB by default.
MEMORY = "1GiB"
THREADS = 2
#: Documents that are taken from DuckDB at a time.
_BATCH = 8192

_LAYERS = """
    CREATE TABLE layers AS
    SELECT unnest($paths) AS filename, unnest($parts)::BIGINT AS part, unnest($layers)::BIGINT AS layer,
        unnest($tasks) AS task
"""

#: Of files of one segment, and of folded ones.
_SINGLE = """
    SELECT doc_id, layer << 32 | pos AS rank, l.task, doc
    FROM read_parquet([{}], filename = true, hive_partitioning = false) JOIN layers l USING (filename)
"""
_FOLDED = """
    SELECT doc_id, layer << 32 | pos AS rank, l.task, doc
    FROM read_parquet([{}], hive_partitioning = false) JOIN layers l USING (part)
"""

_PAGE = """
    WITH ids AS (SELECT DISTINCT doc_id FROM versions WHERE doc_id > $after ORDER BY doc_id LIMIT $rows)
    SELECT doc_id, doc FROM versions JOIN ids USING (doc_id)
    QUALIFY row_number() OVER (PARTITION BY doc_id ORDER BY rank DESC) = 1 ORDER BY doc_id
"""

_ONE = "SELECT doc FROM versions WHERE doc_id = $id ORDER BY rank DESC LIMIT 1"

_WITHOUT = """
    WITH touched AS (
        SELECT arg_max(task, rank) AS winner, count(*) FILTER (task <> $task) AS others
        FROM versions WHERE doc_id IN (SELECT doc_id FROM versions WHERE task = $task) GROUP BY doc_id
    )
    SELECT count(*) FILTER (winner = $task AND others = 0) AS removed,
           count(*) FILTER (winner = $task AND others > 0) AS restored,
           count(*) FILTER (winner <> $task) AS unaffected
    FROM touched
"""

_ALL = "SELECT doc FROM versions WHERE rank IN (SELECT max(rank) FROM versions GROUP BY doc_id)"


class PlainSql:
    """Asks the files of one stream."""

    def __init__(self, db: duckdb.DuckDBPyConnection, files: Sequence[File]) -> None:
        """Make the view."""
        self._db = db
        layers = {
            "paths": [file.path for file in files],
            "parts": [file.part for file in files],
            "layers": [file.layer for file in files],
            "tasks": [file.task for file in files],
        }
        db.execute(_LAYERS, layers)
        # A view takes no bound values.
        parts = [
            query.format(", ".join("'" + path.replace("'", "''") + "'" for path in paths))
            for query, paths in (
                (_SINGLE, {file.path for file in files if not file.part}),
                (_FOLDED, {file.path for file in files if file.part}),
            )
            if paths
        ]
        db.execute("CREATE VIEW versions AS " + " UNION ALL ".join(parts))

    def page(self, after: str, rows: int) -> list[tuple[str, str]]:
        """Return ids and texts of the current documents behind an id."""
        return self._rows(_PAGE, after=after, rows=rows)

    def one(self, doc_id: str) -> str | None:
        """Return the text of a current document."""
        return next((text for (text,) in self._rows(_ONE, id=doc_id)), None)

    def without(self, task: str) -> tuple[int, int, int]:
        """Return how many documents go, change back and stay when a task is deleted."""
        return self._rows(_WITHOUT, task=task)[0]

    def export(self) -> int:
        """Take all current documents in id order; return their number."""
        return self._taken(f"{_ALL} ORDER BY doc_id")

    def export_unordered(self) -> int:
        """Take all current documents in any order; return their number."""
        return self._taken(_ALL)

    def _taken(self, query: str) -> int:
        return sum(batch.num_rows for batch in self._db.sql(query).to_arrow_reader(_BATCH))

    def _rows(self, query: str, **values: Any) -> list[Any]:
        return self._db.execute(query, values).fetchall()


@contextmanager
def plain_sql(files: Sequence[File]) -> Generator[PlainSql]:
    """Open a DuckDB of its own for the files of a stream."""
    with tempfile.TemporaryDirectory(prefix="bench-spill-") as spill:
        config: dict[str, Any] = {"memory_limit": MEMORY, "threads": THREADS, "temp_directory": spill}
        with duckdb.connect(":memory:", config=config) as db:
            yield PlainSql(db, files)
