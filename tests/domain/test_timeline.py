import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headwater.domain.segment_table import NEVER
from headwater.domain.timeline import Periods, Present, runs_to_undo, timeline

LAST = 6

periods = st.lists(
    st.tuples(
        st.integers(1, 3),
        st.integers(0, LAST),
        st.one_of(st.just(NEVER), st.integers(1, LAST)),
        st.booleans(),
    ),
    max_size=12,
)


#: Versions and ranks are apart by that much: with the large number, a document and one of them take more than 62 bits.
apart = st.sampled_from([1, 1 << 55])


def _periods(rows, *, apart=1) -> Periods:
    document, begin, end, matches = (np.array(column) for column in zip(*rows, strict=True)) if rows else [[]] * 4
    end = np.array(end, np.int64)
    return Periods(
        document=np.array(document, np.int64),
        begin=np.array(begin, np.int64) * apart,
        end=np.where(end == NEVER, NEVER, end * apart),
        rank=np.arange(len(rows), dtype=np.int64) * 8 * apart,
        matches=np.array(matches, bool),
    )


def _shown(rows, version: int, *, without=frozenset()) -> dict[int, int]:
    """The place of the version that shows of each document."""
    return {
        document: place
        for place, (document, begin, end, _) in enumerate(rows)
        if begin <= version < end and place not in without
    }


def _matching(rows, version: int, **options) -> set[int]:
    return {document for document, place in _shown(rows, version, **options).items() if rows[place][3]}


@given(rows=periods, since=st.integers(0, LAST), apart=apart)
def test_a_timeline_is_what_each_version_shows(rows, since, apart):
    found = timeline(_periods(rows, apart=apart), since=since * apart)
    matching = {version: _matching(rows, version) for version in range(since, LAST + 1)}
    expected = {
        version: (len(now - before), len(before - now))
        for version, now in matching.items()
        if version > since and now != (before := matching[version - 1])
    }
    counts = zip((found.versions // apart).tolist(), found.brought.tolist(), found.removed.tolist(), strict=True)
    assert {version: both for version, *both in counts} == {version: [*both] for version, both in expected.items()}
    assert (found.before, found.now) == (len(matching[since]), len(matching[LAST]))


def _present(rows, runs=None, *, apart=1) -> Present:
    """The versions of the last stream version of the documents that match then."""
    now = _matching(rows, LAST)
    kept = [place for place, (document, begin, end, _) in enumerate(rows) if begin < end == NEVER and document in now]
    return Present(
        document=np.array([rows[place][0] for place in kept], np.int64),
        rank=np.array(kept, np.int64) * 8 * apart,
        matches=np.array([rows[place][3] for place in kept], bool),
        run=np.array(kept if runs is None else [runs[place] for place in kept], np.int64),
    )


@given(rows=periods, apart=apart)
def test_without_the_versions_that_are_to_blame_no_document_matches_that_did(rows, apart):
    now = _matching(rows, LAST)
    blamed = runs_to_undo([_present(rows, apart=apart)])
    assert not now & _matching(rows, LAST, without=blamed)
    # None of them could stay.
    assert all(now & _matching(rows, LAST, without=blamed - {one}) for one in blamed)


@given(rows=periods, data=st.data())
def test_nor_does_one_without_the_whole_runs_that_brought_them(rows, data):
    runs = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    blamed = runs_to_undo([_present(rows, runs)])
    without = {place for place, run in enumerate(runs) if run in blamed}
    assert not _matching(rows, LAST) & _matching(rows, LAST, without=without)
