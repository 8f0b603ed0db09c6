"""Looks documents up by id: which version of each id in a range is current, and its text.

Only the row groups that may hold the ids are read, with Arrow: for a few ids, DuckDB would take longer to look through
the statistics of all row groups than Arrow takes to read the right ones.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from headwater.domain.segment_table import SegmentFile, VisibleSegments
from headwater.lake.engine import Engine, Found
from headwater.lake.footers import Footer
from headwater.lake.page_size import PAGE_TEXT

#: Rows of a file whose row groups overlap, up to which all of its ids are read at once.
MOST_OVERLAPPING = 100_000


@dataclass(frozen=True, kw_only=True)
class _Source:
    """Rows that are read together: a row group, or inlined rows."""

    file: SegmentFile
    #: None for inlined rows.
    group: int | None


@dataclass(frozen=True)
class Stored:
    """Where a version of a document is stored."""

    path: str
    part: int
    pos: int
    #: Whether its part is one of the view.
    is_named: bool


@dataclass(frozen=True, kw_only=True)
class Winners:
    """The current versions of the ids in a range, in id order: ``ids``, and where each of them is."""

    ids: Any
    rank: "NDArray[np.int64]"
    source: "NDArray[np.int64]"
    row: "NDArray[np.int64]"
    task: "NDArray[np.int64]"
    sources: list[_Source]

    def __len__(self) -> int:
        """Return how many ids there are."""
        return len(self.ids)


class Lookup:
    """Looks up the documents of one view; not thread-safe."""

    def __init__(self, engine: Engine, seen: VisibleSegments) -> None:
        """Read with ``engine``; the caller has verified the files of ``seen``."""
        self._engine = engine
        self._seen = seen
        self._footers = {
            file.path: engine.footers.of(file.path, is_folded=file.is_folded)
            for file in seen.files
            if not file.is_inlined
        }
        order = np.argsort(seen.table.part[seen.rows], kind="stable")
        rows = seen.rows[order]
        #: The visible parts in ascending order, and the layer, task and end of each.
        self._parts = seen.table.part[rows]
        self._layers = seen.table.layer[rows]
        self._tasks = seen.table.task[rows].astype(np.int64)
        self._untils = seen.until[rows]

    @property
    def is_small(self) -> bool:
        """Whether every file can be read in parts."""
        return all(
            footer.is_sorted or footer.metadata.num_rows <= MOST_OVERLAPPING for footer in self._footers.values()
        )

    def bound(self, after: str | None, groups: int) -> str | None:
        """Return the id up to which the next ``groups`` row groups of the largest file reach; None for the end."""
        guide: tuple[int, Footer, int] | None = None
        for footer in self._footers.values():
            if footer.is_sorted:
                found = footer.groups(after, None)
                first = found[0] if found else len(footer.lowest)
                left = len(footer.lowest) - first
                if guide is None or left > guide[0]:
                    guide = (left, footer, first)
        if guide is None or guide[0] <= groups:
            return None
        _, footer, first = guide
        return footer.highest[first + groups - 1]

    def current(self, after: str | None, bound: str | None, *, is_inclusive: bool = False) -> Winners:
        """Return the current versions of the ids after ``after`` up to ``bound``; with ``after`` if inclusive."""
        tables: list[pa.Table] = []
        sources: list[_Source] = []
        for source, ids, parts, places in self._keys(after, bound, is_inclusive=is_inclusive):
            mask = _between(ids, after, bound, is_inclusive=is_inclusive)
            rows: NDArray[np.int64] = np.flatnonzero(mask)
            if len(rows):
                tables.append(_table(ids.take(pa.array(rows)), parts[rows], places[rows], rows, len(sources)))
                sources.append(source)
        if not tables:
            nothing = np.array([], np.int64)
            return Winners(
                ids=pa.array([], pa.string()), rank=nothing, source=nothing, row=nothing, task=nothing, sources=sources
            )
        return self._chosen(cast("Any", pa).concat_tables(tables), sources)

    def _chosen(self, keys: Any, sources: list[_Source]) -> Winners:
        part, pos = _array(keys, "part"), _array(keys, "pos")
        at = np.minimum(np.searchsorted(self._parts, part), max(0, len(self._parts) - 1))
        visible = np.flatnonzero((self._parts[at] == part) & (pos < self._untils[at]))
        keys, at = keys.take(pa.array(visible)), at[visible]
        rank = self._layers[at] << 32 | pos[visible]
        encoded = keys["doc_id"].combine_chunks().dictionary_encode()
        code = np.asarray(encoded.indices, np.int64)
        best = np.full(len(encoded.dictionary), -1, np.int64)
        np.maximum.at(best, code, rank)
        winning = np.flatnonzero(rank == best[code])
        ids: Any = encoded.dictionary.take(pa.array(code[winning]))
        order = np.asarray(cast("Any", pc).sort_indices(ids), np.int64)
        winning = winning[order]
        source, row = (keys[name].to_numpy()[winning] for name in ("source", "row"))
        return Winners(
            ids=ids.take(pa.array(order)),
            rank=rank[winning],
            source=source,
            row=row,
            task=self._tasks[at[winning]],
            sources=sources,
        )

    def versions(self, doc_id: str) -> list[Stored]:
        """Return every version of a document in the files, including parts that no segment names any more."""
        return [stored for _, _, stored in self._versions(doc_id)]

    def texts(self, doc_id: str, wanted: Sequence[Stored]) -> Iterator[str]:
        """Yield the texts of versions of a document; large ones are read a few at a time, as they are taken."""
        places = {stored: (source, row) for source, row, stored in self._versions(doc_id)}
        sources = list({source for source, _ in places.values()})
        numbers = {source: number for number, source in enumerate(sources)}
        number = np.array([numbers[places[stored][0]] for stored in wanted], np.int64)
        row = np.array([places[stored][1] for stored in wanted], np.int64)
        for texts in self._in_portions(sources, number, row):
            yield from texts

    def _versions(self, doc_id: str) -> Iterator[tuple[_Source, int, Stored]]:
        for source, ids, parts, places in self._keys(doc_id, doc_id, is_inclusive=True):
            rows = np.flatnonzero(_between(ids, doc_id, doc_id, is_inclusive=True))
            known: list[bool] = np.isin(parts[rows], self._parts).tolist()
            for row, part, pos, is_named in zip(
                rows.tolist(), parts[rows].tolist(), places[rows].tolist(), known, strict=True
            ):
                yield source, row, Stored(source.file.path, part, pos, is_named)

    def documents(self, winners: Winners) -> Iterator[list[Found]]:
        """Yield the documents in portions that fit into memory; each is read when it is taken."""
        tasks = self._seen.table.tasks
        ids, wrote = winners.ids.to_pylist(), cast("list[int]", winners.task.tolist())
        first = 0
        for texts in self._in_portions(winners.sources, winners.source, winners.row):
            end = first + len(texts)
            columns = zip(ids[first:end], wrote[first:end], texts, strict=True)
            yield [Found(id=doc_id, task=tasks[task], text=text) for doc_id, task, text in columns]
            first = end

    def _in_portions(
        self, sources: Sequence[_Source], number: "NDArray[np.int64]", row: "NDArray[np.int64]"
    ) -> Iterator[list[str]]:
        """Yield the texts of rows of sources, each named by its number, in portions that fit into memory."""
        mean = {place: self._mean_text(sources[place]) for place in cast("list[int]", np.unique(number).tolist())}
        ends = np.cumsum([mean[place] for place in cast("list[int]", number.tolist())])
        first = 0
        while first < len(number):
            before = ends[first - 1] if first else 0
            end = max(first + 1, int(np.searchsorted(ends, before + PAGE_TEXT)))
            yield self._texts_of(sources, number[first:end], row[first:end])
            first = end

    def _mean_text(self, source: _Source) -> int:
        """Return the mean number of bytes of the texts of one source."""
        if source.group is None:
            return 0  # In memory already.
        group = cast("Any", self._footers[source.file.path].metadata).row_group(source.group)
        columns = map(group.column, range(group.num_columns))
        text = next(column for column in columns if column.path_in_schema == "doc")
        return text.total_uncompressed_size // max(1, group.num_rows)

    def _texts_of(self, sources: Sequence[_Source], number: "NDArray[np.int64]", row: "NDArray[np.int64]") -> list[str]:
        texts: list[str] = [""] * len(number)
        for place in cast("list[int]", np.unique(number).tolist()):
            wanted = np.flatnonzero(number == place)
            for at, text in zip(wanted, self._texts(sources[place], row[wanted]), strict=True):
                texts[at] = text
        return texts

    def _keys(
        self, after: str | None, bound: str | None, *, is_inclusive: bool
    ) -> Iterator[tuple[_Source, Any, "NDArray[np.int64]", "NDArray[np.int64]"]]:
        """Yield the ids, parts and positions of all rows that may be in a range."""
        for file in self._seen.holding(after, bound).files:
            if file.is_inlined:
                batch = self._inlined[file.path]
                yield _Source(file=file, group=None), batch.column("doc_id"), *_numbers(file, batch)
                continue
            footer = self._footers[file.path]
            groups = footer.groups(after, bound, is_inclusive=is_inclusive)
            if not groups:
                continue
            with pq.ParquetFile(self._engine.location(file), metadata=footer.metadata) as opened:
                names = ["doc_id", "part", "pos"] if file.is_folded else ["doc_id", "pos"]
                for group in groups:
                    rows = cast("Any", opened).read_row_group(group, columns=names, use_threads=False).combine_chunks()
                    yield _Source(file=file, group=group), rows["doc_id"].combine_chunks(), *_numbers(file, rows)

    @cached_property
    def _inlined(self) -> dict[str, Any]:
        inlined = [file for file in self._seen.files if file.is_inlined]
        batches = self._engine.inlined_rows(inlined)
        return {file.path: batch for file, batch in zip(inlined, batches, strict=True)}

    def _texts(self, source: _Source, rows: "NDArray[np.int64]") -> list[str]:
        """Return the texts of rows of one source."""
        if source.group is None:
            return self._inlined[source.file.path].column("doc").take(pa.array(rows)).to_pylist()
        metadata = self._footers[source.file.path].metadata
        location = self._engine.location(source.file)
        # A folded file stores each text of a row group once.
        dictionary = ["doc"] if source.file.is_folded else []
        with pq.ParquetFile(location, metadata=metadata, read_dictionary=dictionary) as opened:
            texts = cast("Any", opened).read_row_group(source.group, columns=["doc"], use_threads=False)["doc"]
        return texts.take(pa.array(rows)).to_pylist()


def _numbers(file: SegmentFile, rows: Any) -> tuple["NDArray[np.int64]", "NDArray[np.int64]"]:
    """Return the parts and positions of rows."""
    places = _array(rows, "pos")
    return (_array(rows, "part") if file.is_folded else np.full(len(places), file.part, np.int64)), places


def _array(rows: Any, name: str) -> "NDArray[np.int64]":
    return np.asarray(rows[name], np.int64)


def _between(ids: Any, after: str | None, bound: str | None, *, is_inclusive: bool) -> "NDArray[np.bool_]":
    mask = np.ones(len(ids), bool)
    functions = cast("Any", pc)
    if after is not None:
        above = functions.greater_equal if is_inclusive else functions.greater
        mask &= np.asarray(above(ids, pa.scalar(after, pa.string())))
    if bound is not None:
        mask &= np.asarray(functions.less_equal(ids, pa.scalar(bound, pa.string())))
    return mask


def _table(ids: Any, parts: Any, places: Any, rows: Any, source: int) -> Any:
    return cast("Any", pa).table(
        {"doc_id": ids, "part": parts, "pos": places, "row": rows, "source": np.full(len(rows), source, np.int64)}
    )


def part_of(winners: Winners, start: int, count: int) -> Winners:
    """Return ``count`` of the current versions from ``start`` on."""
    some = slice(start, start + count)
    return Winners(
        ids=winners.ids[some],
        rank=winners.rank[some],
        source=winners.source[some],
        row=winners.row[some],
        task=winners.task[some],
        sources=winners.sources,
    )
