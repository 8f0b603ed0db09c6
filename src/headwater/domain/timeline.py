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

#: Bits that a number is given at most: one is left for its sign, and one for what is appended.
_BITS = 62


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
    at, of, match = _states(
        document=periods.document[kept],
        begin=np.maximum(periods.begin[kept], since),
        end=periods.end[kept],
        rank=periods.rank[kept],
        matches=periods.matches[kept],
    )
    is_last = _is_last(of)
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
    left = [_highest_first(part) for part in parts]
    gone: set[int] = set()
    while True:
        more = {run for part in left for run in _unique(part.run[_is_matching_above(part)]).tolist()}
        if not more:
            return gone
        gone |= more
        undone = np.array(sorted(more), np.int64)
        left = [_without(part, undone) for part in left]


def _unique(values: Integers) -> Integers:
    # numpy's own function takes ten times as long for many values, since it hashes them.
    values = np.sort(values)
    return values[_is_first(values)]


def _is_first(values: Integers) -> Booleans:
    """Return of ordered values which ones differ from the one before."""
    return np.append(np.ones(min(1, len(values)), bool), values[1:] != values[:-1])


def _is_last(values: Integers) -> Booleans:
    """Return of ordered values which ones differ from the next one."""
    return np.append(values[1:] != values[:-1], np.ones(min(1, len(values)), bool))


def _counted(found: Integers, versions: Integers) -> Integers:
    return np.bincount(np.searchsorted(versions, found), minlength=len(versions)).astype(np.int64)


def _ordered(keys: Integers) -> tuple[Integers, Integers]:
    """Return keys, none of which is negative, in order, and where each was."""
    bits = len(keys).bit_length()
    if int(keys.max(initial=0)) >> (_BITS - bits):
        order = np.argsort(keys)
        return keys[order], order
    # Three times as fast: numpy sorts numbers with SIMD, and their places go along in the lowest bits.
    packed = np.sort(keys << bits | np.arange(len(keys)))
    return packed >> bits, packed & ((1 << bits) - 1)


def _ranked(document: Integers, rank: Integers) -> tuple[Integers, int]:
    """Return numbers in the order of document and rank, and by how much those of two documents differ."""
    width = int(rank.max(initial=0)) + 1
    if (int(document.max(initial=0)) + 1) * width >> _BITS:
        order = np.argsort(rank)
        rank, width = np.empty(len(order), np.int64), len(order)
        rank[order] = np.arange(width)
    return document * width + rank, width


def _states(
    *, document: Integers, begin: Integers, end: Integers, rank: Integers, matches: Booleans
) -> tuple[Integers, Integers, Booleans]:
    """Return the moments at which the current version of a document may change, in order of document and version.

    Each as its stream version, its document, and whether what shows from then on matches.
    """
    ends = np.flatnonzero(end < NEVER)
    low = int(begin.min(initial=NEVER))
    width = max(int(begin.max(initial=0)), int(end[ends].max(initial=0))) - low + 1
    keys, order = _ordered(np.concatenate([document * width + begin - low, document[ends] * width + end[ends] - low]))
    is_first = _is_first(keys)
    starts = np.flatnonzero(is_first)
    moments = keys[starts]
    of = moments // width
    # What shows is the highest; whether it matches is told by its lowest bit.
    ranked, apart = _ranked(document, rank)
    value = ranked << 1 | matches
    lasting = np.concatenate([value, np.full(len(ends), -1)])
    lasting[ends] = -1
    best = lasting
    if len(starts):
        # What is not removed lasts to the end of its document, whose values are above those of all documents before.
        best = np.maximum.accumulate(np.maximum.reduceat(lasting[order], starts))
    if len(ends):
        place = np.empty(len(keys), np.int64)
        place[order] = np.cumsum(is_first) - 1
        first, last = place[ends], place[len(begin) :]
        best = np.maximum(best, _highest(first, last, value[ends], length=len(moments)))
    return moments % width + low, of, (best >= of * apart << 1) & (best & 1).astype(bool)


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


def _highest_first(part: Present) -> Present:
    """Return the same versions in order of the documents, of each document the highest first."""
    ranked, _ = _ranked(part.document, part.rank)
    _, order = _ordered(ranked)
    return _at(part, order[::-1])


def _without(part: Present, runs: Integers) -> Present:
    return _at(part, np.flatnonzero(~np.isin(part.run, runs)))


def _at(part: Present, places: Integers) -> Present:
    return Present(**{name: column[places] for name, column in vars(part).items()})


def _is_matching_above(part: Present) -> Booleans:
    """Return which versions match, of each document from the highest, which comes first, to one that does not."""
    misses = np.cumsum(~part.matches)
    starts = np.flatnonzero(_is_first(part.document))
    ahead: Integers = np.repeat(misses[starts] - ~part.matches[starts], np.diff(np.append(starts, len(part.document))))
    return misses == ahead
