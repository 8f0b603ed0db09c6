"""The current version of each document (merge-on-read)."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, cast

import pyarrow as pa

from headwater.domain.filter import Condition
from headwater.domain.segment_table import SegmentFile, VisibleSegments, all_of
from headwater.domain.stream import Segment
from headwater.lake.engine import VERSIONS, Engine, Found, seen_table
from headwater.lake.filters import clause
from headwater.lake.hidden import SHOWS, shown, with_shows
from headwater.lake.lookup import Lookup, Stored, Winners, part_of
from headwater.lake.page_size import in_portions, until_full

#: Row groups of the largest file that are looked at for a page, at first and at most; each time so many times more.
FIRST_GROUPS = 1
WIDER = 4
MOST_GROUPS = 16
#: Row groups from which on all that are left are searched for the few documents that match, instead of some.
SEARCHED = 16
#: Documents that a query names, so that most row groups are not read.
MOST_NAMED = 1_000
#: Rows read for each document of a page, from files in which the ids are in no order.
LOOK_AHEAD = 3
WIDEST = 100_000
#: Current versions that are looked at together, where some of them show nothing.
MOST_TOGETHER = 4_096

_REACH = """
    SELECT max(doc_id), count(*) FROM (
        SELECT doc_id FROM rows_of(files) WHERE doc_id > $after OR $after IS NULL ORDER BY doc_id LIMIT $rows
    )
"""

_CURRENT = f"""
    {VERSIONS},
    between AS (
        SELECT * FROM versions
        WHERE (doc_id > $after OR $after IS NULL) AND (doc_id <= $bound OR $bound IS NULL){{among}}
    ),
    current AS (
        SELECT doc_id, task, doc FROM between
        WHERE rank IN (SELECT max(rank) FROM between GROUP BY doc_id) AND {SHOWS}{{condition}}
    )
"""


def current(condition: str | None = None, *, ids: Collection[str] = ()) -> str:
    """Return SQL for the current documents after ``$after`` up to ``$bound``, for queries ``WITH {current()}``.

    Only those that match the condition, SQL about ``doc``, if there is one; and only those with some ids, if the names
    of their parameters are given.
    """
    among = f" AND doc_id IN ({', '.join(f'${name}' for name in ids)})" if ids else ""
    return _CURRENT.format(condition=f" AND ({condition})" if condition is not None else "", among=among)


CURRENT = current()

_DOCUMENTS = "WITH {current} SELECT doc_id, task, doc FROM current ORDER BY doc_id"
#: All of them, unchanged, in id order.
DOCUMENTS = _DOCUMENTS.format(current=CURRENT)


def documents_of(condition: str | None = None) -> str:
    """Return the query for the documents that match a condition, unchanged, in id order."""
    return _DOCUMENTS.format(current=current(condition))


_PAGE = "WITH {current} SELECT doc_id, task, doc FROM current ORDER BY doc_id LIMIT $rows"

# Texts are read once, and no versions are compared: of few that match, most are not current, or all of them are.
_MATCHING = f"""
    WITH {VERSIONS}
    SELECT DISTINCT doc_id FROM versions
    WHERE (doc_id > $after OR $after IS NULL) AND ({{condition}}) ORDER BY doc_id LIMIT $most
"""

_BOUNDS = """
    SELECT doc_id FROM (
        SELECT doc_id, row_number() OVER (ORDER BY doc_id) AS place, count(*) OVER () AS ids
        FROM (SELECT DISTINCT doc_id FROM rows_of(files))
    ) WHERE place % greatest(1, ids // $ranges) = 0 ORDER BY doc_id
"""

_COUNT_SHOWN = f"WITH {CURRENT} SELECT count(*) AS docs FROM current"
_COUNT = f"WITH {VERSIONS} SELECT count(DISTINCT doc_id) FROM versions"

_ARRIVED = """
    SELECT doc_id, pos, doc FROM rows_of(files)
    WHERE part = $part AND pos > $after AND doc != '' ORDER BY pos LIMIT $rows
"""

_LAST = """
    SELECT v.doc_id, max(v.pos + s.base)::BIGINT FROM rows_of(files) v
    JOIN (SELECT unnest($parts)::BIGINT AS part, unnest($bases)::BIGINT AS base) s USING (part)
    WHERE v.doc_id IN (SELECT unnest($ids)) GROUP BY v.doc_id
"""


def page(
    engine: Engine, seen: VisibleSegments, *, after: str | None, limit: int, condition: Condition | None = None
) -> list[Found]:
    """Return the current documents after the id ``after``, in id order, at most ``limit``.

    There are fewer if they are large (see ``page_size``). The largest file tells how far to look: up to the end of its
    next row group, and further if that was not enough.
    """
    return list(until_full(_after(engine, seen, after=after, limit=limit, condition=condition), text_of))


def _after(
    engine: Engine, seen: VisibleSegments, *, after: str | None, limit: int, condition: Condition | None
) -> Iterator[Found]:
    left = limit
    seen = seen.holding(after, None)
    groups = FIRST_GROUPS
    with engine.explaining(seen.files):
        engine.require_intact(seen.files, anew=False)
        lookup = Lookup(engine, seen)
        while seen.files and left > 0:
            bound = lookup.bound(after, groups)
            if condition is not None and groups >= SEARCHED:
                ids, bound = _ids_of_matching(engine, seen, after, condition)
                found = _matching(engine, seen, after, bound, limit=left, condition=condition, ids=ids)
            elif condition is not None or not lookup.is_small:
                bound = _reach(engine, seen, after, bound, rows=limit * LOOK_AHEAD * groups)
                found = _matching(engine, seen, after, bound, limit=left, condition=condition)
            else:
                found = _first(engine, lookup, seen, lookup.current(after, bound), limit=left)
            for document in found:
                left -= 1
                yield document
            if bound is None:
                break
            after = bound
            groups = groups * WIDER if condition is not None else min(groups * WIDER, MOST_GROUPS)


def text_of(document: Found) -> int:
    """Return the size of a document's text, in characters."""
    return len(document.text)


def _first(engine: Engine, lookup: Lookup, seen: VisibleSegments, winners: Winners, *, limit: int) -> Iterator[Found]:
    """Yield the first of the current versions that show, at most ``limit``."""
    start, size, left = 0, limit, limit
    while start < len(winners) and left > 0:
        some = part_of(winners, start, size)
        ranks = some.rank.tolist()
        for portion in lookup.documents(some):
            found = shown(engine, seen, ranks[: len(portion)], portion)[:left]
            del ranks[: len(portion)]
            yield from found
            left -= len(found)
            if left <= 0:
                return
        # Where many show nothing, more are looked at together.
        start, size = start + size, min(size * WIDER, MOST_TOGETHER)


def _reach(engine: Engine, seen: VisibleSegments, after: str | None, bound: str | None, *, rows: int) -> str | None:
    """Return an id up to which there are about ``rows`` rows after ``after``; None if there are not more."""
    if bound is not None:
        return bound
    rows = min(rows, WIDEST)
    reached, counted = engine.rows(_REACH, {"after": after, "rows": rows}, reads={"files": seen.files})[0]
    return reached if counted == rows else None


def _matching(
    engine: Engine,
    seen: VisibleSegments,
    after: str | None,
    bound: str | None,
    *,
    limit: int,
    condition: Condition | None,
    ids: Sequence[str] | None = None,
) -> Iterator[Found]:
    """Return the first current documents after an id up to another that match, of all or of those with some ids."""
    if ids is not None and not ids:
        return iter(())
    text, values = clause(condition) if condition is not None else (None, {})
    named = {f"id{place}": doc_id for place, doc_id in enumerate(ids or ())}
    question, values = _PAGE.format(current=current(text, ids=named)), values | named

    def ask(after: str | None, rows: int) -> list[Found]:
        batches = between(engine, seen, after=after, bound=bound, question=question, values=values | {"rows": rows})
        return [
            Found(id=row["doc_id"], task=row["task"], text=row["doc"])
            for batch in batches
            for row in cast("Any", batch).to_pylist()
        ]

    return in_portions(ask, after, limit, lambda found: found.id)


def _ids_of_matching(
    engine: Engine, seen: VisibleSegments, after: str | None, condition: Condition
) -> tuple[list[str], str | None]:
    """Return the first ids after another of which any version matches, and the last of them if there may be more."""
    text, values = clause(condition)
    if seen.has_deletions:
        text = f"doc != '' AND ({text})"
    asked = {**values, "after": after, "most": MOST_NAMED}
    seen = seen.holding(after, None)
    rows = engine.rows(
        _MATCHING.format(condition=text), asked, reads={"files": seen.files}, tables={"seen": seen_table(seen)}
    )
    ids = [doc_id for (doc_id,) in rows]
    return ids, ids[-1] if len(ids) == MOST_NAMED else None


def one(engine: Engine, seen: VisibleSegments, doc_id: str) -> Found | None:
    """Return the current document of an id, or None."""
    seen = seen.holding(doc_id, doc_id)
    with engine.explaining(seen.files):
        engine.require_intact(seen.files, anew=False)
        lookup = Lookup(engine, seen)
        return next(_first(engine, lookup, seen, lookup.current(doc_id, doc_id, is_inclusive=True), limit=1), None)


def between(
    engine: Engine,
    seen: VisibleSegments,
    *,
    after: str | None,
    bound: str | None,
    question: str = DOCUMENTS,
    values: Mapping[str, Any] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Yield the result of a query on the current documents after an id up to another.

    The default query returns the documents in id order, ``doc_id``, ``task``, ``doc``.

    Raises:
        Unavailable: the query needs more memory than there is.
    """
    if seen:
        seen = seen.holding(after, bound)
        question, hiding = with_shows(question, seen)
        asked = {**(values or {}), **hiding, "after": after, "bound": bound}
        yield from engine.batches(question, asked, reads={"files": seen.files}, tables={"seen": seen_table(seen)})


def bounds(engine: Engine, seen: VisibleSegments) -> list[str]:
    """Return ids that divide the current documents into ranges that can be sorted in memory.

    DuckDB would sort all documents in memory at once, and cannot spill their texts.
    """
    return cut(engine, seen.files, ranges=engine.ranges_for(sum(file.bytes for file in seen.files)))


def cut(engine: Engine, files: Sequence[SegmentFile], *, ranges: int) -> list[str]:
    """Return ids that divide those in files into ``ranges`` ranges of about the same size."""
    if ranges <= 1:
        return []
    return [bound for (bound,) in engine.rows(_BOUNDS, {"ranges": ranges}, reads={"files": files})]


def count(engine: Engine, seen: VisibleSegments) -> int:
    """Return the number of current documents."""
    if not seen:
        return 0
    if seen.hides:
        ends = bounds(engine, seen)
        return sum(
            row["docs"]
            for after, bound in zip([None, *ends], [*ends, None], strict=True)
            for batch in between(engine, seen, after=after, bound=bound, question=_COUNT_SHOWN)
            for row in cast("Any", batch).to_pylist()
        )
    return engine.rows(_COUNT, {}, reads={"files": seen.files}, tables={"seen": seen_table(seen)})[0][0]


def arrived(engine: Engine, segment: Segment, *, after: int, limit: int) -> list[tuple[int, Found]]:
    """Return documents of one segment with their positions, in order of arrival, after the position ``after``."""
    seen = all_of([segment])
    part = int(seen.table.part[0])

    def ask(after: int, rows: int) -> list[tuple[int, Found]]:
        found = engine.rows(_ARRIVED, {"part": part, "after": after, "rows": rows}, reads={"files": seen.files})
        return [(pos, Found(id=doc_id, task=segment.task, text=text)) for doc_id, pos, text in found]

    return list(until_full(in_portions(ask, after, limit, itemgetter(0)), lambda one: text_of(one[1])))


def last_places(engine: Engine, segments: Sequence[Segment], ids: Sequence[str]) -> dict[str, int]:
    """Return the position of the last version of each id in an attempt, whose segments these are."""
    if not segments or not ids:
        return {}
    seen = all_of(segments)
    values = {"parts": seen.table.part.tolist(), "bases": seen.table.base.tolist(), "ids": list(ids)}
    return dict(engine.rows(_LAST, values, reads={"files": seen.files}))  # pyright: ignore[reportArgumentType] - pairs


def versions_of(engine: Engine, seen: VisibleSegments, doc_id: str) -> list[Stored]:
    """Return every version of a document in the files of some segments."""
    seen = seen.holding(doc_id, doc_id)
    with engine.explaining(seen.files):
        engine.require_intact(seen.files, anew=False)
        return Lookup(engine, seen).versions(doc_id)


def texts_of(engine: Engine, seen: VisibleSegments, doc_id: str, wanted: Sequence[Stored]) -> list[str]:
    """Return the texts of versions of a document; those of the first ones if they are large (see ``page_size``)."""
    seen = seen.holding(doc_id, doc_id)
    with engine.explaining(seen.files):
        return list(until_full(Lookup(engine, seen).texts(doc_id, wanted), len))


def deletions_of(engine: Engine, seen: VisibleSegments, doc_id: str, versions: Sequence[Stored]) -> list[bool]:
    """Return which versions of a document are deletions."""
    seen = seen.holding(doc_id, doc_id)
    if not seen.has_deletions:
        return [False] * len(versions)
    with engine.explaining(seen.files):
        return [not text for text in Lookup(engine, seen).texts(doc_id, versions)]
