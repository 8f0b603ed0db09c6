import tempfile
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budget import examples
from headwater.domain.errors import SegmentDamaged, Unavailable
from headwater.domain.stream import id_bounds
from headwater.lake.merge import concatenate, merge
from lake_builders import Lake, files_in, text_of, write

IDS = st.sampled_from(
    ["", "a", "b", "c", "a\0", "\0", "'", '"', "\\", "ü", "\uffff", "😀", "\n", "a" * 300, "a" * 301]
) | st.text(max_size=2)


@st.composite
def attempts(draw):
    """An attempt's uploads, ids each: which shows from which version on, and which were merged before."""
    uploads = draw(st.lists(st.lists(IDS, min_size=1, max_size=8), min_size=1, max_size=5))
    together = draw(st.sampled_from(["live", "waiting", "put back"]))
    versions = {"live": list(range(1, 6)), "waiting": [None] * 5, "put back": [7] * 5}[together]
    partly = [together == "live" and draw(st.booleans()) for _ in uploads]
    return list(zip(uploads, versions, partly, strict=False))


@pytest.fixture(scope="module")
def lake():
    with tempfile.TemporaryDirectory() as folder:
        made = Lake(Path(folder))
        yield made
        made.engine.close()


def _keep(lake, attempt, *, before=0):
    """The segments of an attempt; so many documents came before the first of them."""
    segments, base = [], before
    for layer, (ids, version, partly) in enumerate(attempt):
        rows = [(doc_id, text_of(base + place)) for place, doc_id in enumerate(ids)]
        written = write(lake.store, rows, layer=layer + 1)
        whole = version + 1 if partly else None
        segments.append(replace(written, base=base, added_version=version, whole_version=whole))
        base += len(rows)
    return segments


def _merge(lake, segments):
    fid = uuid4().hex
    return merge(lake.engine, lake.store, segments, f"streams/merged/{fid}.parquet", staged_as=fid)


def _rows(lake, path):
    return [
        (row["doc_id"], row["pos"], row["doc"]) for row in pq.ParquetFile(lake.store.locate(path)).read().to_pylist()
    ]


def _expected(attempt):
    """Of each id the last of those that came at one version, and all that came at versions of their own."""
    best, place = {}, 0
    for ids, version, partly in attempt:
        for doc_id in ids:
            best[doc_id, ("own", place) if partly else ("at", version)] = place
            place += 1
    rows = [(doc_id, pos, text_of(pos)) for (doc_id, _), pos in best.items()]
    return sorted(rows, key=lambda row: (row[0].encode(), row[1]))


@settings(deadline=None, max_examples=examples(40))
@given(attempt=attempts())
def test_a_merged_file_holds_what_any_version_can_show_sorted_by_id(lake, attempt):
    written = _merge(lake, _keep(lake, attempt))
    rows = _rows(lake, written.path)
    assert rows == _expected(attempt)
    ids = sorted((doc_id for doc_id, _, _ in rows), key=str.encode)
    assert written.docs == len(rows)
    assert written.bytes == sum(len(text.encode()) for _, _, text in rows)
    assert (written.min_id, written.max_id) == id_bounds(ids[0], ids[-1])


@settings(deadline=None, max_examples=examples(20))
@given(attempt=attempts(), before=st.integers(1, 1_000))
def test_places_count_from_the_first_of_the_segments(lake, attempt, before):
    segments = _keep(lake, attempt, before=before)
    places = [(doc_id, pos) for doc_id, pos, _ in _expected(attempt)]
    assert [(doc_id, pos) for doc_id, pos, _ in _rows(lake, _merge(lake, segments).path)] == places


@settings(deadline=None, max_examples=examples(20))
@given(attempt=attempts(), cut=st.integers(1, 4))
def test_what_was_merged_in_parts_is_as_if_it_had_been_merged_at_once(lake, attempt, cut):
    attempt = [(ids, version, False) for ids, version, _ in attempt]
    segments = _keep(lake, attempt)
    newest = segments[cut:] or segments[-1:]
    written = _merge(lake, newest)
    live = attempt[0][1] == 1
    part = replace(
        newest[-1],
        path=written.path,
        docs=written.docs,
        bytes=written.bytes,
        digest=written.digest,
        size=written.size,
        base=newest[0].base,
        added_version=newest[0].added_version,
        whole_version=newest[-1].added_version if live and len(newest) > 1 else None,
    )
    again = _merge(lake, [*segments[: len(segments) - len(newest)], part])
    assert _rows(lake, again.path) == _expected(attempt)


def test_one_file_alone_is_put_in_order_and_keeps_the_last_of_each_id(lake):
    [segment] = _keep(lake, [(["b", "a", "b", "c", "a"], 1, False)])
    assert [(doc_id, pos) for doc_id, pos, _ in _rows(lake, _merge(lake, [segment]).path)] == [
        ("a", 4),
        ("b", 2),
        ("c", 3),
    ]


def test_a_partly_merged_file_alone_keeps_every_version(lake):
    [segment] = _keep(lake, [(["b", "a", "b"], 1, True)])
    assert [(doc_id, pos) for doc_id, pos, _ in _rows(lake, _merge(lake, [segment]).path)] == [
        ("a", 1),
        ("b", 0),
        ("b", 2),
    ]


def test_the_texts_are_the_uploaded_bytes(lake):
    texts = ['{ "id" : "a", "x": 1.50, "\\u00fc": "ü😀" }\n', '{"id":"b"}\n']
    segments = [write(lake.store, [("a", texts[0])], layer=1), write(lake.store, [("b", texts[1])], layer=2)]
    merged = _merge(lake, [segments[0], replace(segments[1], base=1)])
    assert [text for _, _, text in _rows(lake, merged.path)] == texts


def test_gaps_between_the_segments_leave_the_places_as_they_are(lake):
    """An upload of which everything was erased leaves one."""
    first, _, last = _keep(lake, [(["a"], 1, False), (["x", "y"], 2, False), (["a", "b"], 3, False)])
    assert [(doc_id, pos) for doc_id, pos, _ in _rows(lake, _merge(lake, [first, last]).path)] == [
        ("a", 0),
        ("a", 3),
        ("b", 4),
    ]


def test_a_merge_larger_than_the_memory_is_in_order(tmp_path):
    lake = Lake(tmp_path, memory=128 << 20)
    pad = "x" * 10_000
    names = [f"{number * 7919 % 10_000:06}" for number in range(10_000)]
    segments, base = [], 0
    for layer in (1, 2, 3):
        rows = [(name, text_of(f"{layer}{pad}")) for name in names[::layer]]
        segments.append(replace(write(lake.store, rows, layer=layer), base=base, added_version=None))
        base += len(rows)
    assert sum(segment.bytes for segment in segments) > 128 << 20
    written = _merge(lake, segments)
    newest = dict.fromkeys(names, 1) | dict.fromkeys(names[::2], 2) | dict.fromkeys(names[::3], 3)
    rows = [(doc_id, int(text[text.index(pad) - 1])) for doc_id, _, text in _rows(lake, written.path)]
    assert rows == sorted(newest.items())
    assert pq.ParquetFile(lake.store.locate(written.path)).num_row_groups > 3
    assert list(lake.spill.rglob("*.tmp")) == []


def test_a_failure_leaves_nothing_behind(lake):
    there, gone = _keep(lake, [(["a"], 1, False), (["b"], 2, False)])
    lake.store.delete(gone.path)
    before = files_in(lake.store)
    with pytest.raises(SegmentDamaged, match="missing"):
        _merge(lake, [there, gone])
    assert files_in(lake.store) == before


def test_a_failure_in_the_middle_leaves_nothing_behind(tmp_path):
    lake = Lake(tmp_path, memory=48 << 20)
    pad = "x" * (1 << 20)
    small = write(lake.store, [(f"a{number:03}", text_of(f"{number}{pad}")) for number in range(20)], layer=1)
    large = write(lake.store, [("z", text_of("x" * (80 << 20)))], layer=2)
    before = files_in(lake.store)
    with pytest.raises(Unavailable, match="query_memory"):
        _merge(lake, [small, replace(large, base=20)])
    assert files_in(lake.store) == before


def test_the_merged_segments_themselves_stay(lake):
    segments = _keep(lake, [(["a"], 1, False), (["a"], 2, False)])
    rows = [_rows(lake, segment.path) for segment in segments]
    _merge(lake, segments)
    assert [_rows(lake, segment.path) for segment in segments] == rows


@settings(deadline=None, max_examples=examples(30))
@given(attempts(), st.integers(0, 3))
def test_one_behind_the_other_every_document_keeps_its_place_in_the_attempt(lake, attempt, before):
    segments = _keep(lake, attempt, before=before)
    fid = uuid4().hex
    written = concatenate(lake.engine, lake.store, segments, f"streams/merged/{fid}.parquet", staged_as=fid)
    ids = [doc_id for uploads, _, _ in attempt for doc_id in uploads]
    assert _rows(lake, written.path) == [(doc_id, place, text_of(before + place)) for place, doc_id in enumerate(ids)]
    assert written.docs == len(ids)
    assert written.bytes == sum(segment.bytes for segment in segments)


def test_what_was_merged_in_order_of_ids_is_put_behind_another_as_it_is(lake):
    segments = _keep(lake, [(["c", "a"], 1, False), (["b"], 2, False), (["a"], 3, False)])
    merged = _merge(lake, segments[:2])
    first = replace(segments[1], path=merged.path, docs=3, base=0, added_version=1, whole_version=2)
    first = replace(first, digest=merged.digest, size=merged.size)
    fid = uuid4().hex
    written = concatenate(lake.engine, lake.store, [first, segments[2]], f"streams/m/{fid}.parquet", staged_as=fid)
    assert [(doc_id, pos) for doc_id, pos, _ in _rows(lake, written.path)] == [("a", 1), ("b", 2), ("c", 0), ("a", 3)]
