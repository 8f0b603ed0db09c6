"""Plans: the files of a view of a stream, and which of their rows show, cut into ranges of document ids.

A plan is for readers on other machines: they need neither the catalog nor what it says about layers and floors, only
the files, and of each the positions of the rows to leave out. Folded files, and those of one segment, are named as they
are; inlined rows become one file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headwater.domain.segment_table import SegmentFile, VisibleSegments, file_name
from headwater.lake.engine import Engine
from headwater.lake.iceberg.files import parquet_writer, sync, write_positions
from headwater.lake.iceberg.rows import current_rows
from headwater.lake.segment_format import FOLDED_SCHEMA, with_field_ids

#: Ranges that a plan can be cut into.
MOST_RANGES = 1_000
#: Files that all ranges of a plan name together, at most, unless one range has more.
MOST_NAMED = 50_000

#: The columns of the file of inlined rows: the first ones of a folded file.
_INLINED = with_field_ids(cast("Any", pa).schema(list(cast("Any", FOLDED_SCHEMA))[:3]))


@dataclass(frozen=True, kw_only=True)
class Deletes:
    """A position delete file: the positions of rows that do not show, ascending, in the column ``pos``."""

    path: str
    size: int
    rows: int


@dataclass(frozen=True, kw_only=True)
class PlannedFile:
    """A file in which documents of the view are: ``doc_id``, ``doc``, and ``task`` unless all are of one."""

    path: str
    size: int
    rows: int
    #: How many of the rows show.
    docs: int
    task: str | None
    #: Bounds of the ids.
    low: bytes
    high: bytes
    #: None if all rows show.
    deletes: Deletes | None


@dataclass(frozen=True, kw_only=True)
class PlannedRange:
    """The ids after one, up to another, inclusive; None is unbounded."""

    after: str | None
    upto: str | None
    files: list[PlannedFile]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The files of a view of a stream."""

    version: int
    docs: int
    files: list[PlannedFile]
    #: Ids that cut the documents into as many ranges of about the same number of documents as can be asked for.
    bounds: list[str]

    def encoded(self) -> bytes:
        """Return it as JSON."""
        return msgspec.json.encode(self)

    @classmethod
    def decoded(cls, text: bytes) -> "Plan":
        """Return it from JSON."""
        return msgspec.json.decode(text, type=cls)

    def ranges(self, most: int) -> list[PlannedRange]:
        """Return the documents in ``most`` ranges or fewer, of about the same number of documents."""
        finest = len(self.bounds) + 1
        count = max(1, min(most, finest, MOST_NAMED // max(1, len(self.files))))
        bounds = [self.bounds[nth * finest // count - 1] for nth in range(1, count)]
        return [
            PlannedRange(after=after, upto=upto, files=[file for file in self.files if _holds(file, after, upto)])
            for after, upto in zip([None, *bounds], [*bounds, None], strict=True)
        ]


def write_plan(engine: Engine, seen: VisibleSegments, *, staged: Path, path: str, version: int) -> Plan:
    """Return the plan of a view; its own files are written to ``staged``, which becomes ``path`` in the lake.

    Raises:
        SegmentDamaged: a segment is damaged.
        Unavailable: there is not enough memory, or a segment was merged meanwhile.
        OSError: the disk is full.
    """
    # Those who read the files have no digests of them.
    engine.require_intact(seen.files, anew=False)
    rows = current_rows(engine, seen)
    files = [
        _planned(engine, file, is_current, staged / f"deletes-{file_name(file.path)}.parquet", path)
        for file, is_current in rows.files
    ]
    if rows.inlined is not None:
        files.append(_inlined(rows.inlined, staged / "inlined.parquet", path))
    return Plan(version=version, docs=rows.docs, files=files, bounds=_bounds(rows.sample))


def _planned(
    engine: Engine, file: SegmentFile, is_current: "NDArray[np.bool_]", deletes: Path, path: str
) -> PlannedFile:
    docs = int(np.count_nonzero(is_current))
    left_out = None
    if docs < len(is_current):
        write_positions(deletes, file.path, np.flatnonzero(~is_current))
        size = deletes.stat().st_size
        left_out = Deletes(path=f"{path}/{deletes.name}", size=size, rows=len(is_current) - docs)
    return PlannedFile(
        path=file.path,
        size=engine.store.status(file.path)[2],
        rows=len(is_current),
        docs=docs,
        task=file.task,
        low=file.min_id,
        high=file.max_id,
        deletes=left_out,
    )


def _inlined(shown: Any, staged: Path, path: str) -> PlannedFile:
    """Write inlined rows that show, in the order of their ids, to a file."""
    table = shown.sort_by(shown.column_names[0])
    with parquet_writer(staged, _INLINED) as writer:
        writer.write_table(cast("Any", pa).table(table.columns, schema=_INLINED))
    sync(staged)
    ids = table.column(0)
    return PlannedFile(
        path=f"{path}/{staged.name}",
        size=staged.stat().st_size,
        rows=table.num_rows,
        docs=table.num_rows,
        task=None,
        low=ids[0].as_py().encode(),
        high=ids[-1].as_py().encode(),
        deletes=None,
    )


def _bounds(ids: Sequence[str]) -> list[str]:
    """Return ids that divide ids in order into as many ranges as can be asked for, none of them empty."""
    count = min(MOST_RANGES, len(ids))
    return [ids[nth * len(ids) // count - 1] for nth in range(1, count)]


def _holds(file: PlannedFile, after: str | None, upto: str | None) -> bool:
    return (after is None or file.high > after.encode()) and (upto is None or file.low <= upto.encode())
