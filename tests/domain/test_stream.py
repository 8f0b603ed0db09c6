import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budget import examples
from builders import AT, a_stream
from headwater.domain.stream import LONGEST_BOUND, Change, Erasure, LogEntry, arrival_of, id_bounds, segment_path

#: Ids that are short, about as long as a bound, or longer and alike up to there; of one to four bytes a character.
PREFIXES = [
    "",
    "p" * (LONGEST_BOUND - 1),
    "p" * LONGEST_BOUND,
    "p" * 300,
    "é" * 64,
    "x" + "é" * 64,
    "😀" * 40,
    "�" * 60,
]
IDS = st.builds(str.__add__, st.sampled_from(PREFIXES), st.text(max_size=5) | st.sampled_from(["\U0010ffff" * 40]))


@pytest.mark.parametrize(("purged", "kept"), [(0, [0, 1, 2, 3, 4]), (1, [0, 1, 2, 3, 4]), (3, [0, 3, 4]), (4, [0, 4])])
def test_a_stream_remembers_its_beginning_and_what_is_not_purged(purged, kept):
    stream = a_stream(stream_version=4, purged_version=purged)
    assert [version for version in range(7) if stream.remembers(version)] == kept


def test_a_document_came_with_the_upload_that_reaches_its_place():
    uploads = [_upload(version, docs=docs) for version, docs in ((3, 2), (5, 1), (6, 4))]
    assert [arrival_of(uploads, place).version for place in range(7)] == [3, 3, 5, 6, 6, 6, 6]
    assert arrival_of(uploads, 7) is None
    assert arrival_of([], 0) is None


def _upload(version: int, *, docs: int) -> LogEntry:
    return LogEntry(stream="s", version=version, at=AT, change=Change.UPLOAD, task="t", attempt=1, docs=docs)


def test_an_erased_document_showed_from_each_version_that_added_it_until_the_one_that_took_it_out():
    erasure = Erasure(stream="s", version=9, doc_id=b"a", shown=[(2, 4), (6, None)])
    assert [version for version in range(9) if erasure.showed_at(version)] == [2, 3, 6, 7, 8]


@settings(deadline=None, max_examples=examples(500))
@given(st.tuples(IDS, IDS, IDS).map(sorted))
def test_no_id_between_two_is_outside_their_bounds(ids):
    lowest, between, highest = ids
    low, high = id_bounds(lowest, highest)
    assert low <= lowest.encode() <= between.encode() <= highest.encode() <= high


@given(IDS)
def test_bounds_are_short_however_long_the_ids_are(doc_id):
    assert max(map(len, id_bounds(doc_id, doc_id))) <= LONGEST_BOUND + 1


def test_ids_up_to_the_longest_bound_are_their_own_bounds():
    low, high = "a" * LONGEST_BOUND, "b" * LONGEST_BOUND
    assert id_bounds(low, high) == (low.encode(), high.encode())


def test_an_id_that_is_above_all_with_the_same_beginning_is_still_within():
    highest = "p" * LONGEST_BOUND + "\U0010ffff" * 3
    assert id_bounds("a", highest)[1] >= highest.encode()


def test_a_segment_lies_in_the_folder_of_its_task_in_hive_style():
    assert segment_path(stream="s1", task="t1", segment="x1") == "streams/s1/task=t1/x1.parquet"
