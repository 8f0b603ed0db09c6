"""When documents matched a condition: from the periods in which versions of them could show, by array operations.

A version of a document shows from the stream version that added it until the one that removed it, unless a version with
a higher rank does. So nothing is computed for stream versions at which nothing of a document came or went.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from headwater.domain.segment_table import NEVER

Integers: TypeAlias = "NDArray[np.int64]"
Booleans: TypeAlias = "NDArray[np.bool_]"


@dataclass(frozen=True, kw_only=True)
class Periods:
    """Versions of documents, each with a period in which it could show; the columns are of the same length.

    Something that hides documents, such as a deletion, is a version that does not match.
    """

    #: A number for the document's id.
    document: Integers
    #: The stream versions that added it and removed it; ``NEVER`` if it is not removed.
    begin: Integers
    end: Integers
    #: Of two versions of a document that could show, the one with the higher rank does.
    rank: Integers
    matches: Booleans


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """How the matching documents of a stream changed after a stream version."""

    #: The stream versions that changed which documents match, ascending.
    versions: Integers
    #: By how many documents each of them changed it: those that match since, and those that did until then.
    brought: Integers
    removed: Integers
    #: How many documents matched at the first version.
    before: int
    #: Which documents match now, by their numbers.
    matching: Booleans

    @property
    def now(self) -> int:
        """How many documents match now."""
        return int(np.count_nonzero(self.matching))


@dataclass(frozen=True, kw_only=True)
class Present:
    """Versions that are in a stream now, whether they show or not; the columns are of the same length."""

    document: Integers
    rank: Integers
    matches: Booleans
    #: A number for the run that brought it.
    run: Integers


def timeline(periods: Periods, *, since: int) -> Timeline:
    """Return when the documents matched, after the stream version ``since``."""
    kept = np.flatnonzero((periods.end > since) & (periods.begin < periods.end))
    document, rank, matches = periods.document[kept], periods.rank[kept], periods.matches[kept]
    begin, end = np.maximum(periods.begin[kept], since), periods.end[kept]
    at, of, shown = _shown(document, begin, end, rank)
    match = np.zeros(len(at), bool)
    match[shown >= 0] = matches[shown[shown >= 0]]
    is_last = np.append(of[1:] != of[:-1], np.ones(min(1, len(of)), bool))
    # Whether the document matched before.
    matched = np.zeros(len(at), bool)
    matched[1:] = match[:-1] & ~is_last[:-1]
    counts = at > since
    came, went = at[counts & match & ~matched], at[counts & matched & ~match]
    versions = _unique(np.concatenate([came, went]))
    present = np.zeros(int(periods.document.max(initial=0)) + 1, bool)
    present[of[match & is_last]] = True
    return Timeline(
        versions=versions,
        brought=_counted(came, versions),
        removed=_counted(went, versions),
        before=int(np.count_nonzero(match & ~counts)),
        matching=present,
    )


def runs_to_undo(parts: Sequence[Present]) -> set[int]:
    """Return runs without which none of some documents matches.

    Of each document, the version that shows goes, and those beneath it that match, down to the first one that does not;
    and again, where that one goes because of another document.
    """
    gone: set[int] = set()
    while True:
        more: set[int] = set()
        for part in parts:
            left = np.flatnonzero(~np.isin(part.run, sorted(gone)))
            blamed = _matching_above(part.document[left], part.rank[left], part.matches[left])
            more |= set(np.unique(part.run[left[blamed]]).tolist())
        if not more:
            return gone
        gone |= more


def _unique(values: Integers) -> Integers:
    # numpy's own function takes ten times as long for many values, since it hashes them.
    values = np.sort(values)
    return values[np.append(np.ones(min(1, len(values)), bool), values[1:] != values[:-1])]


def _counted(found: Integers, versions: Integers) -> Integers:
    return np.bincount(np.searchsorted(versions, found), minlength=len(versions)).astype(np.int64)


def _shown(document: Integers, begin: Integers, end: Integers, rank: Integers) -> tuple[Integers, Integers, Integers]:
    """Return the moments at which the current version of a document may change, in order of document and version.

    Each as its stream version, its document, and the place of what shows from then on, -1 for nothing.
    """
    ends = np.flatnonzero(end < NEVER)
    low = int(begin.min(initial=NEVER))
    width = max(int(begin.max(initial=0)), int(end[ends].max(initial=0))) - low + 1
    moments, place = _placed(np.concatenate([document * width + begin - low, document[ends] * width + end[ends] - low]))
    of = moments // width
    # What is not removed lasts to the end of its document's moments.
    first = place[: len(begin)]
    is_new = np.append(np.ones(min(1, len(of)), bool), of[1:] != of[:-1])
    after = np.append(np.flatnonzero(is_new)[1:], len(of))
    last = after[(np.cumsum(is_new) - 1)[first]]
    last[ends] = place[len(begin) :]
    order = np.argsort(rank, kind="stable")
    value = np.empty(len(order), np.int64)
    value[order] = np.arange(len(order))
    best = _highest(first, last, value, length=len(moments))
    shown = np.where(best >= 0, order[best], -1) if len(order) else best
    return moments % width + low, of, shown


def _placed(keys: Integers) -> tuple[Integers, Integers]:
    """Return the different keys in order, and the place among them of each key."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    is_new = np.append(np.ones(min(1, len(keys)), bool), ordered[1:] != ordered[:-1])
    place = np.empty(len(keys), np.int64)
    place[order] = np.cumsum(is_new) - 1
    return ordered[is_new], place


def _highest(first: Integers, last: Integers, value: Integers, *, length: int) -> Integers:
    """Return the highest value of the ranges ``[first, last)`` that cover each place; -1 where none does.

    As in a sparse table, a range is two overlapping ones whose length is a power of two. From the longest on, each
    passes its value to its halves.
    """
    best = np.full(length, -1, np.int64)
    level = np.frexp((last - first).astype(np.float64))[1].astype(np.int64) - 1
    for power in range(int(level.max(initial=-1)), -1, -1):
        some = np.flatnonzero(level == power)
        np.maximum.at(best, first[some], value[some])
        np.maximum.at(best, last[some] - (1 << power), value[some])
        if power:
            half = 1 << (power - 1)
            halves = best.copy()
            np.maximum(halves[half:], best[:-half], out=halves[half:])
            best = halves
    return best


def _matching_above(document: Integers, rank: Integers, matches: Booleans) -> Integers:
    """Return the places of those versions that match, of each document from the highest to one that does not."""
    if not len(document):
        return np.array([], np.int64)
    # Of each document the highest first.
    order = np.lexsort((-rank, document))
    of, misses = document[order], np.cumsum(~matches[order])
    starts = np.flatnonzero(np.append(np.ones(min(1, len(of)), bool), of[1:] != of[:-1]))
    ahead: Integers = np.repeat(misses[starts] - ~matches[order[starts]], np.diff(np.append(starts, len(of))))
    return order[misses == ahead]
