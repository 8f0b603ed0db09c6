"""Every stored version of the documents that matched a condition at some time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headwater.domain.filter import Comparison, Condition
from headwater.domain.segment_table import VisibleSegments
from headwater.lake import current
from headwater.lake.engine import Engine
from headwater.lake.filters import clause

#: Document versions that are looked at together.
MOST_AT_ONCE = 4_000_000
#: Documents up to which queries name them.
MOST_NAMED = 1_000

_MATCHING = """
    CREATE TEMP TABLE matching AS
    SELECT doc_id, part, pos FROM rows_of(files) v SEMI JOIN seen USING (part)
    WHERE (doc_id > $after OR $after IS NULL) AND (doc_id <= $bound OR $bound IS NULL) AND ({condition})
"""
_IDS = """
    CREATE TEMP TABLE ids AS
    SELECT doc_id, row_number() OVER () AS document FROM (SELECT DISTINCT doc_id FROM matching)
"""
_VERSIONS = """
    SELECT i.document, s.row, v.pos, m.part IS NOT NULL AS matches{scopes}
    FROM rows_of(files) v JOIN seen s USING (part) JOIN ids i USING (doc_id)
    LEFT JOIN matching m ON m.part = v.part AND m.pos = v.pos
    WHERE v.doc_id >= $lowest AND v.doc_id <= $highest {among}
"""


@dataclass(frozen=True, kw_only=True)
class StoredVersions:
    """Versions of documents; the columns are of the same length."""

    #: A number for the document's id.
    document: "NDArray[np.int64]"
    #: Its row in the table of segments. A version is repeated for each of the rows that name its part.
    row: "NDArray[np.int64]"
    #: Its position in the part.
    pos: "NDArray[np.int64]"
    matches: "NDArray[np.bool_]"
    #: Whether it matches each of some scopes.
    in_scope: "Sequence[NDArray[np.bool_]]"


def versions_of_matching(
    engine: Engine,
    seen: VisibleSegments,
    condition: Condition | None,
    *,
    doc_id: str | None,
    scopes: Sequence[tuple[Comparison, ...]] = (),
) -> Iterator[StoredVersions]:
    """Yield all versions, in some segments, of the documents of which one matches; all versions of one at a time.

    ``condition`` is on their texts, ``doc_id`` on their ids; deletions never match.

    Raises:
        SegmentDamaged: a file is damaged.
    """
    seen = seen.holding(doc_id, doc_id)
    if not seen.files:
        return
    text, values = clause(condition) if condition is not None else ("true", {})
    if seen.has_deletions:
        text = f"doc != '' AND ({text})"
    if doc_id is not None:
        text, values = f"doc_id = $doc_id AND ({text})", {**values, "doc_id": doc_id}
    ranges = 1 if doc_id is not None else -(-sum(file.docs for file in seen.files) // MOST_AT_ONCE)
    bounds = current.cut(engine, seen.files, ranges=ranges)
    for after, bound in zip([None, *bounds], [*bounds, None], strict=True):
        values |= {"after": after, "bound": bound}
        found = _range(engine, seen.holding(after, bound), text, values, scopes)
        if found is not None:
            yield found


def _range(
    engine: Engine,
    seen: VisibleSegments,
    text: str,
    values: Mapping[str, Any],
    scopes: Sequence[tuple[Comparison, ...]],
) -> StoredVersions | None:
    """Return the versions of the documents in a range of ids; None if none matches."""
    table = cast("Any", pa).table({"part": seen.table.part[seen.rows], "row": seen.rows})
    reads = {"files": seen.files}
    with engine.cursor(seen.files, {"seen": table}) as cursor:
        engine.execute(cursor, _MATCHING.format(condition=text), values, reads=reads)
        try:
            engine.execute(cursor, _IDS, {}, reads={})
            count, lowest, highest = cursor.execute("SELECT count(*), min(doc_id), max(doc_id) FROM ids").fetchall()[0]
            if not count:
                return None
            among, named = "", {"lowest": lowest, "highest": highest}
            if count <= MOST_NAMED:
                ids = {
                    f"id{at}": name for at, (name,) in enumerate(cursor.execute("SELECT doc_id FROM ids").fetchall())
                }
                among = f"AND v.doc_id IN ({', '.join(f'${name}' for name in ids)})"
                named |= ids
            columns = ""
            for number, scope in enumerate(scopes):
                inside, more = clause(Condition(comparisons=scope), column="v.doc", prefix=f"s{number}_")
                columns += f", v.doc != '' AND ({inside}) AS scope{number}"
                named |= more
            query = _VERSIONS.format(among=among, scopes=columns)
            # Arrow's columns are filled by all threads.
            found: Any = engine.select(cursor, query, named, reads=reads).to_arrow_table()
        finally:
            cursor.execute("DROP TABLE IF EXISTS ids")
            cursor.execute("DROP TABLE matching")
    document, row, pos, matches, *in_scope = (column.to_numpy() for column in found.columns)
    return StoredVersions(document=document, row=row, pos=pos, matches=matches, in_scope=in_scope)
