"""Which version of each document shows, and how it reads."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from headwater.domain.condition import Condition
from headwater.domain.stream import Seen, Segment
from headwater.lake.conditions import clause
from headwater.lake.engine import VERSIONS, Engine, Found

#: Rows looked at for each document of a page: with up to so many versions of each, one look is enough.
LOOK_AHEAD = 3
#: Each look that finds too little is followed by one at so many times the rows, up to so many.
WIDER = 4
WIDEST = 100_000

_NEXT = """
    SELECT doc_id, filename, pos FROM rows_of($files)
    WHERE doc_id > $after OR $after IS NULL ORDER BY doc_id LIMIT $rows
"""

_TEXTS = """
    SELECT v.doc_id, w.task, v.doc FROM rows_of($files) v
    JOIN (SELECT unnest($names) AS filename, unnest($places)::BIGINT AS pos, unnest($tasks) AS task) w
    USING (filename, pos)
    WHERE v.doc_id >= $lowest AND v.doc_id <= $highest AND {condition}
    ORDER BY v.doc_id
"""

_ONE = f"""
    WITH {VERSIONS}
    SELECT doc_id, task, doc FROM versions WHERE doc_id = $id ORDER BY rank DESC LIMIT 1
"""

#: The current documents behind the id ``$after`` up to ``$bound``, for questions that begin ``WITH {CURRENT}``.
CURRENT = f"""
    {VERSIONS},
    between AS (
        SELECT * FROM versions
        WHERE (doc_id > $after OR $after IS NULL) AND (doc_id <= $bound OR $bound IS NULL)
    ),
    current AS (
        SELECT doc_id, task, doc FROM between
        WHERE rank IN (SELECT max(rank) FROM between GROUP BY doc_id)
    )
"""

#: All of them as they are, in id order.
DOCUMENTS = f"WITH {CURRENT} SELECT doc_id, task, doc FROM current ORDER BY doc_id"

_BOUNDS = """
    SELECT doc_id FROM (
        SELECT doc_id, row_number() OVER (ORDER BY doc_id) AS place, count(*) OVER () AS ids
        FROM (SELECT DISTINCT doc_id FROM rows_of($files))
    ) WHERE place % greatest(1, ids // $ranges) = 0 ORDER BY doc_id
"""

_COUNT = f"WITH {VERSIONS} SELECT count(DISTINCT doc_id) FROM versions"

_ARRIVED = """
    SELECT doc_id, pos, doc FROM rows_of($files)
    WHERE pos > $after ORDER BY pos LIMIT $rows
"""

_VERSIONS_OF = """
    SELECT filename, pos, doc FROM rows_of($files)
    WHERE doc_id = $id
"""

_LAST = """
    SELECT v.doc_id, max(v.pos + s.base)::BIGINT FROM rows_of($files) v
    JOIN (SELECT unnest($files) AS filename, unnest($bases)::BIGINT AS base) s USING (filename)
    WHERE v.doc_id IN (SELECT unnest($ids)) GROUP BY v.doc_id
"""

#: Where a version lies: its segment's layer, its place in it, and its file.
_Place = tuple[int, int, str]


def page(
    engine: Engine, seen: Sequence[Seen], *, after: str | None, limit: int, condition: Condition | None = None
) -> list[Found]:
    """Return the current documents behind the id ``after``, in id order, at most ``limit``.

    In two steps: where the next rows lie, for which statistics prune nearly everything, then the texts
    of the winners among them, for which only their files are opened. In one step, DuckDB would rank
    the whole stream for each page.
    """
    found: list[Found] = []
    files = dict(zip(engine.files([one.segment for one in seen]), seen, strict=True))
    rows = limit * LOOK_AHEAD
    while files and len(found) < limit:
        looked = engine.rows(_NEXT, {"files": list(files), "after": after, "rows": rows})
        is_end = len(looked) < rows
        # Of the last id there may be more versions behind it.
        ids = {doc_id for doc_id, _, _ in looked} if is_end else {doc_id for doc_id, _, _ in looked} - {looked[-1][0]}
        if ids:
            best = _winners(looked, files, ids)
            found += _texts(engine, best, files, condition)
            after = max(ids, key=str.encode)
        if is_end:
            break
        rows = min(rows * WIDER, max(WIDEST, rows)) if ids else rows * WIDER
    return found[:limit]


def _winners(looked: Sequence[tuple[str, str, int]], files: dict[str, Seen], ids: set[str]) -> dict[str, _Place]:
    best: dict[str, _Place] = {}
    for doc_id, file, pos in looked:
        one = files[file]
        place = (one.segment.layer, pos, file)
        if doc_id in ids and (one.until is None or pos < one.until) and place > best.get(doc_id, (-1,)):
            best[doc_id] = place
    return best


def _texts(engine: Engine, best: dict[str, _Place], files: dict[str, Seen], condition: Condition | None) -> list[Found]:
    if not best:
        return []
    ids = sorted(best, key=str.encode)
    text, bound = clause(condition) if condition is not None else ("true", {})
    values: dict[str, Any] = {
        "files": sorted({file for _, _, file in best.values()}),
        "names": [best[doc_id][2] for doc_id in ids],
        "places": [best[doc_id][1] for doc_id in ids],
        "tasks": [files[best[doc_id][2]].segment.task for doc_id in ids],
        "lowest": ids[0],
        "highest": ids[-1],
    }
    return _found(engine.rows(_TEXTS.format(condition=text), values | bound))


def one(engine: Engine, seen: Sequence[Seen], doc_id: str) -> Found | None:
    """Return the current document of an id, or None."""
    return next(iter(_found(engine.rows(_ONE, engine.values(seen) | {"id": doc_id}))), None) if seen else None


def between(
    engine: Engine,
    seen: Sequence[Seen],
    *,
    after: str | None,
    bound: str | None,
    question: str = DOCUMENTS,
    values: Mapping[str, Any] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Yield the answer to a question about the current documents behind an id up to another.

    Unless another question is asked, that is the documents in id order, ``doc_id``, ``task``, ``doc``.

    Raises:
        Unavailable: it needs more memory than there is.
    """
    if seen:
        yield from engine.batches(question, engine.values(seen) | dict(values or {}) | {"after": after, "bound": bound})


def bounds(engine: Engine, seen: Sequence[Seen]) -> list[str]:
    """Return ids that cut the current documents into ranges that can be sorted in memory.

    DuckDB would sort all documents in memory at once, and cannot spill their texts.
    """
    segments = [one.segment for one in seen]
    return cut(engine, segments, ranges=engine.ranges_for(sum(segment.bytes for segment in segments)))


def cut(engine: Engine, segments: Sequence[Segment], *, ranges: int) -> list[str]:
    """Return ids that cut those in segments into so many ranges of about the same size."""
    if ranges <= 1:
        return []
    return [bound for (bound,) in engine.rows(_BOUNDS, {"files": engine.files(segments), "ranges": ranges})]


def count(engine: Engine, seen: Sequence[Seen]) -> int:
    """Return the number of current documents."""
    return engine.rows(_COUNT, engine.values(seen))[0][0] if seen else 0


def arrived(engine: Engine, segment: Segment, *, after: int, limit: int) -> list[tuple[int, Found]]:
    """Return documents of one segment with their places, in order of arrival, behind the place ``after``."""
    rows = engine.rows(_ARRIVED, {"files": engine.files([segment]), "after": after, "rows": limit})
    return [(pos, Found(id=doc_id, task=segment.task, text=text)) for doc_id, pos, text in rows]


def last_places(engine: Engine, segments: Sequence[Segment], ids: Sequence[str]) -> dict[str, int]:
    """Return at which place of an attempt, whose segments these are, the last version of each id came that did."""
    if not segments or not ids:
        return {}
    values = {
        "files": engine.files(segments),
        "bases": [segment.base for segment in segments],
        "ids": list(ids),
    }
    return dict(engine.rows(_LAST, values))  # pyright: ignore[reportArgumentType] - pairs


def versions_of(engine: Engine, segments: Sequence[Segment], doc_id: str) -> list[tuple[str, int, str]]:
    """Return every version of a document in segments: the segment's path, the place in it, the text."""
    paths = dict(zip(engine.files(segments), (segment.path for segment in segments), strict=True))
    if not paths:
        return []
    rows = engine.rows(_VERSIONS_OF, {"files": list(paths), "id": doc_id})
    return [(paths[file], pos, text) for file, pos, text in rows]


def _found(rows: Sequence[tuple[Any, ...]]) -> list[Found]:
    return [Found(id=doc_id, task=task, text=text) for doc_id, task, text in rows]
