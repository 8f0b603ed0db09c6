"""The last day as a timeline: one lane a crawler, its runs as marks; fewer of both where there are many."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from headwater.catalog.runs import RunGroup
from headwater.console.charts import Mark
from headwater.console.formats import many

#: Runs of a kind with less between them are drawn as one: the first of these that leaves few enough marks.
GAPS = tuple(timedelta(minutes=minutes) for minutes in (8, 30, 120, 24 * 60))
#: Marks of a timeline, for the size of the page; with the largest gap, a lane has one of each kind.
MOST_MARKS = 200
#: Lanes of a timeline; the crawlers beyond share one.
MOST_LANES = 30
#: What is drawn over what, and which crawlers have a lane first.
_URGENT = ("failed", "timed_out", "withheld", "running", "new", "stopped", "done", "undone")


@dataclass(frozen=True, kw_only=True)
class Lane:
    """The runs of a crawler, or of several, during the last day."""

    name: str
    href: str
    marks: Sequence[Mark]


@dataclass(frozen=True, kw_only=True)
class _Span:
    """Runs of a kind that are drawn as one."""

    kind: str
    began_at: datetime
    ended_at: datetime
    runs: int
    docs: int
    #: The only one.
    fid: str


def lanes_of(recent: Sequence[RunGroup], names: Mapping[str, str], at: datetime) -> list[Lane]:
    """Return the lanes: first of crawlers with trouble, then of those that run, each in the order of their names."""
    by_crawler: dict[str, list[RunGroup]] = {}
    for group in recent:
        by_crawler.setdefault(group.crawler, []).append(group)

    def rank(crawler: str) -> tuple[int, str]:
        return min(_rank(group.kind) for group in by_crawler[crawler]), names.get(crawler, crawler).casefold()

    first = sorted(by_crawler, key=rank)
    alone = first if len(first) <= MOST_LANES else first[: MOST_LANES - 1]
    # Those that have a lane are found by their name.
    alone = sorted(alone, key=lambda crawler: names.get(crawler, crawler).casefold())
    rest = [group for crawler in first[len(alone) :] for group in by_crawler[crawler]]
    spans = _fitting([*(by_crawler[crawler] for crawler in alone), rest], at)
    lanes = [
        Lane(
            name=names.get(crawler, crawler),
            href=f"/console/crawlers/{crawler}",
            marks=[_mark(span, f"/console/runs?crawler={crawler}") for span in of_one],
        )
        for crawler, of_one in zip(alone, spans, strict=False)
    ]
    if rest:
        name = f"{len(first) - len(alone):,} more crawlers"
        href = "/console/crawlers?sort=latest"
        lanes.append(Lane(name=name, href=href, marks=[_mark(span, "/console/runs") for span in spans[-1]]))
    return lanes


def _rank(kind: str) -> int:
    return _URGENT.index(kind) if kind in _URGENT else len(_URGENT)


def _fitting(groups: Sequence[Sequence[RunGroup]], at: datetime) -> list[list[_Span]]:
    found: list[list[_Span]] = []
    for gap in GAPS:
        found = [_spans(some, gap, at) for some in groups]
        if sum(map(len, found)) <= MOST_MARKS:
            break
    return found


def _spans(groups: Iterable[RunGroup], gap: timedelta, at: datetime) -> list[_Span]:
    """Return the runs as spans, what is urgent last, so that it is drawn over the others."""
    by_kind: dict[str, list[_Span]] = {}
    for group in sorted(groups, key=lambda group: group.began_at):
        spans = by_kind.setdefault(group.kind, [])
        ended_at = group.ended_at or at
        span = _Span(
            kind=group.kind,
            began_at=group.began_at,
            ended_at=ended_at,
            runs=group.runs,
            docs=group.docs,
            fid=group.fid,
        )
        if spans and span.began_at - spans[-1].ended_at < gap:
            spans[-1] = _joined(spans[-1], span)
        else:
            spans.append(span)
    return [span for kind in sorted(by_kind, key=_rank, reverse=True) for span in by_kind[kind]]


def _joined(before: _Span, after: _Span) -> _Span:
    return _Span(
        kind=before.kind,
        began_at=before.began_at,
        ended_at=max(before.ended_at, after.ended_at),
        runs=before.runs + after.runs,
        docs=before.docs + after.docs,
        fid=after.fid,
    )


def _mark(span: _Span, all_runs: str) -> Mark:
    kind, began = span.kind.replace("_", " "), f"{span.began_at:%H:%M} UTC"
    documents = many(span.docs, "document")
    if span.runs == 1:
        title, href = f"{kind}, {began}, {documents}", f"/console/runs/{span.fid}"
    else:
        title = f"{kind}, {span.runs:,} runs from {began} on, {documents}"
        href = f"{all_runs}{'&' if '?' in all_runs else '?'}state={span.kind}"
    return Mark(began_at=span.began_at, ended_at=span.ended_at, state=span.kind, title=title, href=href)
