"""Which runs brought documents that match a condition to a stream, and which removed them.

The versions of the matching documents are read once, and the stream versions at which they come and go follow from the
rows of their segments: no version of the stream is read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import cast

import numpy as np
from numpy.typing import NDArray

from headwater.catalog import objects, segment_tables, streams
from headwater.catalog.core.database import Database
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import STREAMS
from headwater.domain.filter import Comparison, Condition, scope_of
from headwater.domain.segment_table import NEVER, Integers, SegmentTable, VisibleSegments
from headwater.domain.stream import ARRIVALS, LETTING_IN, Change, LogEntry, Stream
from headwater.domain.timeline import Periods, Present, Timeline, runs_to_undo, timeline
from headwater.lake.engine import Engine
from headwater.lake.integrity import Skipped
from headwater.lake.versions import StoredVersions, versions_of_matching
from headwater.streams.documents import intact
from headwater.streams.views import require_kept

#: Changes that an attempt makes by what it brought.
_BY_ATTEMPT = ARRIVALS | LETTING_IN


@dataclass(frozen=True, kw_only=True)
class Step:
    """A change of the matching documents: what one attempt brought, or another change of the stream."""

    #: The first and the last of its stream versions that changed which documents match.
    version: int
    until: int
    at: datetime
    change: Change
    #: The task that caused it; None if none or several.
    task: str | None
    attempt: int | None
    #: The tasks that were deleted or restored together.
    tasks: list[str] | None
    #: How many documents match since one of the versions, and how many no longer do.
    brought: int
    removed: int


@dataclass(frozen=True, kw_only=True)
class Bisected:
    """When documents of a stream matched, after one of its versions."""

    since: int
    #: The stream version up to which it was looked at.
    version: int
    #: How many documents matched at ``since``, and how many match now.
    before: int
    docs: int
    #: Oldest first.
    steps: list[Step]
    #: The tasks that would have to be undone, so that no document matches which does now; oldest first.
    to_undo: list[str]

    @property
    def first(self) -> Step | None:
        """The first change by which a document came to match."""
        return next((step for step in self.steps if step.brought), None)


@dataclass(frozen=True, kw_only=True)
class _Floor:
    """Something that hid lower layers for a while."""

    layer: int
    begin: int
    end: int
    #: The comparisons that documents it hides match; none if it hides all.
    scope: tuple[Comparison, ...]


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What the catalog tells of the segments that showed after a version."""

    since: int
    version: int
    segments: VisibleSegments
    floors: Sequence[_Floor]
    #: Of segments merged from several uploads: how many documents of the attempt had arrived by each version.
    arrivals: Mapping[int, Sequence[tuple[int, int]]]

    @property
    def scopes(self) -> list[tuple[Comparison, ...]]:
        """The scopes of floors that hide only some documents."""
        return list(dict.fromkeys(floor.scope for floor in self.floors if floor.scope))


class Bisection:
    """Finds the runs that brought documents."""

    def __init__(self, db: Database, engine: Engine) -> None:
        """Query the catalog for the segments, and the engine for their documents."""
        self._db = db
        self._engine = engine

    async def runs(
        self,
        stream: str,
        condition: Condition | None,
        *,
        doc_id: str | None = None,
        since: int | None = None,
        skipped: Skipped | None = None,
    ) -> Bisected:
        """Return which runs brought or removed documents that match, after a version: by default, the oldest one kept.

        Raises:
            NotFound, RequestInvalid, VersionForgotten: the stream or version does not exist.
            SegmentDamaged: a segment is damaged, and ``skipped`` is None.
        """
        known = await self._db.read(_known, stream, since)
        segments = await intact(self._engine, known.segments, skipped)
        found, to_undo = await self._engine.ask(_timelines, self._engine, known, segments, condition, doc_id)
        changed: list[int] = sorted({int(version) for one in found for version in one.versions})
        entries = await self._db.read(streams.entries_at, stream, changed)
        return Bisected(
            since=known.since,
            version=known.version,
            before=sum(one.before for one in found),
            docs=sum(one.now for one in found),
            steps=_steps(found, changed, entries),
            to_undo=to_undo,
        )


def _known(tx: Transaction, fid: str, since: int | None) -> _Known:
    stream: Stream = objects.get(tx, STREAMS, fid)
    since = stream.purged_version if since is None else since
    require_kept(tx, stream, since, name="since")
    table = segment_tables.table_of(tx, fid)
    shown = (table.removed_version > since) & (table.added_version < table.removed_version)
    floors = [
        _Floor(
            layer=int(table.layer[row]),
            begin=int(table.added_version[row]),
            end=int(table.removed_version[row]),
            scope=scope_of(table.segment(row).scope),
        )
        for row in np.flatnonzero(shown & table.is_floor).tolist()
    ]
    shown &= ~table.is_floor
    partial = np.flatnonzero(shown & (table.whole_version > np.maximum(table.added_version, since)))
    arrivals = {
        int(row): streams.arrival_steps(
            tx,
            table.tasks[int(table.task[row])],
            int(table.attempt[row]),
            since=max(since, int(table.added_version[row])),
            until=int(table.whole_version[row]),
        )
        for row in partial
    }
    return _Known(
        since=since, version=stream.stream_version, segments=table.visible(shown), floors=floors, arrivals=arrivals
    )


def _timelines(
    engine: Engine, known: _Known, segments: VisibleSegments, condition: Condition | None, doc_id: str | None
) -> tuple[list[Timeline], list[str]]:
    """Return the timelines of ranges of documents, and the tasks to undo, oldest first."""
    found: list[Timeline] = []
    present: list[Present] = []
    table = known.segments.table
    for versions in versions_of_matching(engine, segments, condition, doc_id=doc_id, scopes=known.scopes):
        periods = _periods(known, versions)
        one = timeline(_without_hidden(known, versions, periods), since=known.since)
        found.append(one)
        is_present = (periods.end == NEVER) & (periods.begin < NEVER) & one.matching[periods.document]
        kept = np.flatnonzero(is_present)
        present.append(
            Present(
                document=periods.document[kept],
                rank=periods.rank[kept],
                matches=periods.matches[kept],
                run=table.task[versions.row[kept]].astype(np.int64),
            )
        )
    runs = runs_to_undo(present)
    return found, [table.tasks[run] for run in sorted(runs, key=lambda run: int(table.layer[table.task == run].min()))]


def _periods(known: _Known, versions: StoredVersions) -> Periods:
    """Return the period in which each version is in the stream."""
    table = known.segments.table
    begin = table.added_version[versions.row]
    for row, arrivals in known.arrivals.items():
        some = np.flatnonzero(versions.row == row)
        if len(some):
            begin[some] = _arrived_at(arrivals, int(table.base[row]) + versions.pos[some], table, row)
    # Layers by their number among the stream's: small ranks are sorted faster.
    _, layers = np.unique(table.layer, return_inverse=True)
    return Periods(
        document=versions.document,
        begin=begin,
        end=table.removed_version[versions.row],
        # Between two of them is room for what hides the lower one.
        rank=(layers[versions.row] * (int(versions.pos.max(initial=0)) + 1) + versions.pos) * 2,
        matches=versions.matches,
    )


def _without_hidden(known: _Known, versions: StoredVersions, periods: Periods) -> Periods:
    """Return the periods in which versions can show, and those in which a floor with a scope shows nothing instead."""
    if not known.floors:
        return periods
    layers = known.segments.table.layer[versions.row]
    distinct, place = np.unique(layers, return_inverse=True)
    visible = [_gaps(hidden) for hidden in _hidden(known, distinct, ())]
    parts = [_cut(periods, place, visible)]
    for scope, is_inside in zip(known.scopes, versions.in_scope, strict=True):
        hidden = _cut(_some(periods, is_inside), place[is_inside], _hidden(known, distinct, scope))
        parts.append(replace(hidden, rank=hidden.rank + 1, matches=np.zeros(len(hidden.rank), bool)))
    return Periods(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(periods)})


def _hidden(known: _Known, layers: Integers, scope: tuple[Comparison, ...]) -> list[list[tuple[int, int]]]:
    """Return when floors of a scope hide each of some ascending layers: periods in order that do not touch."""
    floors = sorted((floor for floor in known.floors if floor.scope == scope), key=lambda floor: floor.layer)
    hidden: list[list[tuple[int, int]]] = []
    merged: list[tuple[int, int]] = []
    for layer in cast("list[int]", layers[::-1].tolist()):
        while floors and floors[-1].layer > layer:
            merged = _with(merged, floors.pop())
        hidden.append(merged)
    return hidden[::-1]


def _with(periods: Sequence[tuple[int, int]], floor: _Floor) -> list[tuple[int, int]]:
    """Return periods and that of a floor, merged."""
    before = [period for period in periods if period[1] < floor.begin]
    behind = [period for period in periods if period[0] > floor.end]
    touching = [*periods[len(before) : len(periods) - len(behind)], (floor.begin, floor.end)]
    return [*before, (min(begin for begin, _ in touching), max(end for _, end in touching)), *behind]


def _gaps(periods: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the periods between periods."""
    ends = [0, *(end for _, end in periods)]
    return [(end, begin) for end, begin in zip(ends, [*(begin for begin, _ in periods), NEVER], strict=True)]


def _cut(periods: Periods, place: Integers, of_layer: Sequence[Sequence[tuple[int, int]]]) -> Periods:
    """Return the parts of periods within the windows of their layers, whose places are given."""
    counts = np.array([len(some) for some in of_layer], np.int64)
    starts = np.cumsum(counts) - counts
    every = np.repeat(np.arange(len(place)), counts[place])
    nth = np.arange(len(every)) - np.repeat(np.cumsum(counts[place]) - counts[place], counts[place])
    flat = np.array([window for some in of_layer for window in some], np.int64).reshape(-1, 2)
    window = flat[starts[place[every]] + nth]
    begin, end = np.maximum(periods.begin[every], window[:, 0]), np.minimum(periods.end[every], window[:, 1])
    return _some(replace(_some(periods, every), begin=begin, end=end), begin < end)


def _some(periods: Periods, rows: "Integers | NDArray[np.bool_]") -> Periods:
    return Periods(**{name: column[rows] for name, column in vars(periods).items()})


def _arrived_at(
    arrivals: Sequence[tuple[int, int]], place: "NDArray[np.int64]", table: SegmentTable, row: int
) -> "NDArray[np.int64]":
    """Return the version by which each of an attempt's documents, at their positions in it, had arrived."""
    at = np.array([*(version for version, _ in arrivals), table.whole_version[row]], np.int64)
    arrived = np.array([docs for _, docs in arrivals], np.int64)
    return at[np.searchsorted(arrived, place, "right")]


def _steps(found: Sequence[Timeline], changed: Sequence[int], entries: Mapping[int, LogEntry]) -> list[Step]:
    brought, removed = dict.fromkeys(changed, 0), dict.fromkeys(changed, 0)
    for one in found:
        for counts, more in ((brought, one.brought), (removed, one.removed)):
            for version, count in zip(one.versions.tolist(), more.tolist(), strict=True):
                counts[version] += count
    steps: list[Step] = []
    for version in changed:
        entry = entries[version]
        step = Step(
            version=version,
            until=version,
            at=entry.at,
            change=entry.change,
            task=entry.task,
            attempt=entry.attempt,
            tasks=entry.tasks,
            brought=brought[version],
            removed=removed[version],
        )
        if steps and _are_one(steps[-1], step):
            before = steps.pop()
            both = {"brought": before.brought + step.brought, "removed": before.removed + step.removed}
            step = replace(before, until=version, **both)
        steps.append(step)
    return steps


def _are_one(one: Step, other: Step) -> bool:
    by_attempts = one.change in _BY_ATTEMPT and other.change in _BY_ATTEMPT
    return by_attempts and (one.task, one.attempt) == (other.task, other.attempt)
