"""Reads the ranges of a plan as Arrow record batches, on any machine: the basis of readers for Spark, Ray and Dask.

::

    plan = headwater.streams.plan(stream, ranges=8)
    for part in parts_of(plan):  # to be sent to other machines
        for batch in part.batches():
            ...

A part holds credentials for the files of one stream, valid for an hour, and no API key.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote, urlsplit

if find_spec("pyarrow") is None or find_spec("numpy") is None:
    raise ImportError("headwater_client.plan_reader needs pyarrow and numpy: install headwater-client[arrow]")

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from headwater_client.errors import PlanUnreadable

if TYPE_CHECKING:
    from headwater_client.models.results import Plan

#: The columns of batches.
SCHEMA: Any = cast("Any", pa).schema([(name, pa.string()) for name in ("id", "task", "document")])
COLUMNS: tuple[str, ...] = tuple(SCHEMA.names)
#: Names of the columns in files.
_STORED = {"id": "doc_id", "task": "task", "document": "doc"}
#: Rows of a batch at most, and about how many bytes of them.
_ROWS = 16_384
_BYTES = 8 << 20
#: Bytes of a file that are requested at once, and held in memory.
_REQUESTED = 32 << 20
#: Times that a request for a part of a file is tried.
_TRIES = 6


@dataclass(frozen=True)
class Part:
    """One range of a plan; it can be pickled."""

    #: The stream version.
    version: int
    #: Ids after this one, up to the other, inclusive; None is unbounded.
    after: str | None
    upto: str | None
    segments: Sequence[Mapping[str, Any]]
    #: How files are reached, with credentials.
    config: Mapping[str, str] = field(repr=False)
    expires_at: datetime

    def batches(self, columns: Sequence[str] = COLUMNS) -> Iterator[pa.RecordBatch]:
        """Yield the documents of the range, each once, in no particular order.

        Args:
            columns: those of ``id``, ``task`` and ``document`` (the JSON text) that batches have.

        Raises:
            PlanUnreadable: the files cannot be read, or not any more.
        """
        strangers = [name for name in columns if name not in _STORED]
        if strangers:
            raise ValueError(f"there is no column {strangers[0]!r}; there are {', '.join(COLUMNS)}")
        if datetime.now(UTC) >= self.expires_at:
            raise PlanUnreadable(f"the plan has expired at {self.expires_at:%Y-%m-%dT%H:%M:%SZ}; {self._again}")
        with self._errors():
            files = _Files(self.config)
            for segment in self.segments:
                yield from _Segment(self, files, segment).batches(columns)

    def table(self, columns: Sequence[str] = COLUMNS) -> pa.Table:
        """Return the documents of the range.

        Raises:
            PlanUnreadable: the files cannot be read, or not any more.
        """
        schema = cast("Any", pa).schema([(name, pa.string()) for name in columns])
        return cast("Any", pa).Table.from_batches(list(self.batches(columns)), schema)

    @property
    def _again(self) -> str:
        return f"ask for it again, with as_of={self.version}"

    @contextmanager
    def _errors(self) -> Generator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise PlanUnreadable(f"a file of the plan is not there any more; {self._again} ({error})") from error
        except (OSError, pa.ArrowException) as error:
            raise PlanUnreadable(f"a file of the plan cannot be read: {error}") from error


def parts_of(plan: Plan) -> list[Part]:
    """Return the ranges of a plan, to be read anywhere."""
    return [
        Part(
            version=plan.version,
            after=one.after,
            upto=one.upto,
            segments=[segment.raw for segment in one.segments],
            config=dict(plan.config),
            expires_at=plan.expires_at,
        )
        for one in plan.ranges
    ]


class _Files:
    """Opens the files of a plan."""

    def __init__(self, config: Mapping[str, str]) -> None:
        self._config = config

    def open(self, location: str) -> Any:
        where = urlsplit(location)
        if where.scheme == "file":
            return cast("Any", fs).LocalFileSystem().open_input_file(unquote(where.path))
        return self._store.open_input_file(location.removeprefix("s3://"))

    @cached_property
    def _store(self) -> Any:
        endpoint = urlsplit(self._config.get("s3.endpoint", ""))
        return cast("Any", fs).S3FileSystem(
            access_key=self._config["s3.access-key-id"],
            secret_key=self._config["s3.secret-access-key"],
            session_token=self._config["s3.session-token"],
            region=self._config["s3.region"],
            endpoint_override=endpoint.netloc or None,
            scheme=endpoint.scheme or "https",
            retry_strategy=cast("Any", fs).AwsStandardS3RetryStrategy(max_attempts=_TRIES),
        )


@dataclass(frozen=True)
class _Group:
    """A row group of a file: its first row, and the row after its last."""

    number: int
    first: int
    end: int
    #: Whether all its ids are of the range.
    is_within: bool
    #: Its bytes in the file, and in memory.
    size: int
    bytes: int

    @property
    def rows(self) -> int:
        return self.end - self.first


def _in_turns(groups: Sequence[_Group]) -> Iterator[list[_Group]]:
    """Yield row groups in lists, each of which is requested at once."""
    some: list[_Group] = []
    for group in groups:
        if some and sum(one.size for one in some) + group.size > _REQUESTED:
            yield some
            some = []
        some.append(group)
    yield some


class _Segment:
    """A file, of which the rows of a range are read."""

    def __init__(self, part: Part, files: _Files, segment: Mapping[str, Any]) -> None:
        self._part = part
        self._files = files
        self._about = segment

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        with self._files.open(self._about["location"]) as file:
            parquet: Any = cast("Any", pq).ParquetFile(file, pre_buffer=True, page_checksum_verification=True)
            groups = self._groups(parquet.metadata)
            if not groups:
                return
            deleted = self._deleted(groups[0].first, groups[-1].end)
            for some in _in_turns(groups):
                shown = self._shown(parquet, some, deleted)
                if shown:
                    yield from self._read(parquet, shown, columns)

    def _groups(self, metadata: Any) -> list[_Group]:
        """Return the row groups that may have ids of the range."""
        found: list[_Group] = []
        first = 0
        column = metadata.schema.names.index("doc_id")
        after, upto = self._part.after, self._part.upto
        for group in range(metadata.num_row_groups):
            about = metadata.row_group(group)
            end = first + about.num_rows
            known = about.column(column).statistics
            may_hold, is_within = True, after is None and upto is None
            if not is_within and known is not None and known.has_min_max:
                lowest, highest = known.min, known.max
                may_hold = (after is None or highest > after) and (upto is None or lowest <= upto)
                is_within = (after is None or lowest > after) and (upto is None or highest <= upto)
            if may_hold:
                size = sum(about.column(place).total_compressed_size for place in range(about.num_columns))
                found.append(_Group(group, first, end, is_within, size, about.total_byte_size))
            first = end
        return found

    def _deleted(self, first: int, end: int) -> Any:
        """Return the positions of rows to leave out, from ``first`` on, before ``end``."""
        deletes = self._about["deletes"]
        if deletes is None:
            return np.empty(0, np.int64)
        with self._files.open(deletes["location"]) as file:
            parquet: Any = cast("Any", pq).ParquetFile(file, pre_buffer=True)
            column = parquet.metadata.schema.names.index("pos")
            known = [
                parquet.metadata.row_group(group).column(column).statistics
                for group in range(parquet.metadata.num_row_groups)
            ]
            wanted = [
                group
                for group, one in enumerate(known)
                if one is None or not one.has_min_max or (one.max >= first and one.min < end)
            ]
            return parquet.read_row_groups(wanted, columns=["pos"]).column("pos").to_numpy()

    def _shown(self, parquet: Any, groups: Sequence[_Group], deleted: Any) -> list[tuple[_Group, Any]]:
        """Return the row groups of which rows are of the view and the range, with a flag for each row."""
        flags: list[tuple[_Group, Any]] = []
        for group in groups:
            gone = deleted[np.searchsorted(deleted, group.first) : np.searchsorted(deleted, group.end)]
            if len(gone) < group.rows:
                shown = np.ones(group.rows, bool)
                shown[gone - group.first] = False
                flags.append((group, shown))
        # Ids are small: texts are read only where some row is of the range.
        partial = [(group, shown) for group, shown in flags if not group.is_within]
        if partial:
            ids = parquet.read_row_groups([group.number for group, _ in partial], columns=["doc_id"]).column("doc_id")
            within, at = self._is_within(ids), 0
            for group, shown in partial:
                np.logical_and(shown, within[at : at + group.rows], out=shown)
                at += group.rows
        return [(group, shown) for group, shown in flags if shown.any()]

    def _read(self, parquet: Any, groups: Sequence[tuple[_Group, Any]], columns: Sequence[str]) -> Iterator[Any]:
        shown = np.concatenate([flags for _, flags in groups])
        constant = self._about["task"]
        stored = [_STORED[name] for name in columns if name != "task" or constant is None]
        size = max(1, min(_ROWS, _BYTES * len(shown) // max(1, sum(group.bytes for group, _ in groups))))
        numbers = [group.number for group, _ in groups]
        at = 0
        # A column at least, which tells the number of rows.
        for batch in parquet.iter_batches(batch_size=size, row_groups=numbers, columns=stored or ["doc_id"]):
            mask = shown[at : at + batch.num_rows]
            at += batch.num_rows
            if mask.any():
                yield self._selected(batch, mask, columns, constant)

    def _is_within(self, ids: Any) -> Any:
        compute = cast("Any", pc)
        within = np.ones(len(ids), bool)
        if self._part.after is not None:
            within &= compute.greater(ids, self._part.after).to_numpy()
        if self._part.upto is not None:
            within &= compute.less_equal(ids, self._part.upto).to_numpy()
        return within

    def _selected(self, batch: Any, mask: Any, columns: Sequence[str], constant: str | None) -> pa.RecordBatch:
        chosen = batch if mask.all() else batch.filter(pa.array(mask))
        arrays = [
            cast("Any", pa).repeat(pa.scalar(constant, pa.string()), chosen.num_rows)
            if name == "task" and constant is not None
            else chosen.column(_STORED[name])
            for name in columns
        ]
        return cast("Any", pa).RecordBatch.from_arrays(arrays, names=list(columns))
