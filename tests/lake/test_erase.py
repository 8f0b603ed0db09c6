import tempfile
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budget import examples
from builders import a_segment, a_task
from headwater.domain.errors import SegmentDamaged
from headwater.domain.stream import id_bounds
from headwater.lake.erase import write_without
from headwater.lake.segment import SegmentWriter
from lake_builders import Lake, a_batch, files_in, needs_a_full_disk, size_of, stored, text_of, write

IDS = st.sampled_from(["", "a", "a\0", "aa", "A", "á", "\0", "'", "ü", "\uffff", "😀", "\n", "a" * 300, "a" * 301])


@pytest.fixture(scope="module")
def lake():
    with tempfile.TemporaryDirectory() as folder:
        made = Lake(Path(folder))
        yield made
        made.engine.close()


@pytest.fixture(scope="module")
def store(lake):
    return lake.store


def _without(lake, segment, doc_id):
    fid = uuid4().hex
    return write_without(lake.engine, lake.store, stored(segment), doc_id, f"streams/anew/{fid}.parquet", staged_as=fid)


def _rows(store, path):
    return [(row["doc_id"], row["pos"], row["doc"]) for row in pq.ParquetFile(store.locate(path)).read().to_pylist()]


@settings(deadline=None, max_examples=examples(40))
@given(ids=st.lists(IDS, min_size=1, max_size=12), gone=IDS)
def test_all_rows_but_those_of_the_document_stay_in_order_and_in_place(lake, store, ids, gone):
    rows = [(doc_id, text_of(place)) for place, doc_id in enumerate(ids)]
    kept = [(doc_id, place, text) for place, (doc_id, text) in enumerate(rows) if doc_id != gone]
    before = files_in(store)
    written = _without(lake, write(store, rows), gone)
    if not kept:
        assert written is None
        assert len(files_in(store)) == len(before) + 1
        return
    others = sorted((doc_id for doc_id, _, _ in kept), key=str.encode)
    assert _rows(store, written.path) == kept
    assert (written.docs, written.bytes) == (len(kept), size_of([(one, text) for one, _, text in kept]))
    assert (written.min_id, written.max_id) == id_bounds(others[0], others[-1])


def test_the_new_file_tells_nothing_of_the_document_not_even_in_its_statistics(lake, store):
    secret = "ääsecret"
    rows = [("a", text_of(1)), (secret, text_of(f'"{secret}"')), ("zz", text_of(2))]
    for ids in (rows, rows[:2], rows[1:]):
        written = _without(lake, write(store, ids), secret)
        file = Path(store.locate(written.path))
        assert secret.encode() not in file.read_bytes()
        footer = pq.ParquetFile(file).metadata
        bounds = [footer.row_group(group).column(0).statistics for group in range(footer.num_row_groups)]
        assert all(secret not in {bound.min, bound.max} for bound in bounds)
        assert secret.encode() not in {written.min_id, written.max_id}


def test_a_file_of_many_row_groups_loses_the_document_from_each(lake, store):
    pad = "x" * 2_000
    rows = [(f"{number % 5_000:05}", text_of(f'"{number}{pad}"')) for number in range(15_000)]
    segment = write(store, rows)
    written = _without(lake, segment, "04999")
    assert pq.ParquetFile(store.locate(written.path)).num_row_groups > 1
    assert [pos for _, pos, _ in _rows(store, written.path)] == [n for n in range(15_000) if n % 5_000 != 4_999]


def test_large_documents_are_rewritten_a_few_at_a_time(lake, store):
    fid = uuid4().hex
    writer = SegmentWriter(store, f"streams/large/{fid}.parquet", staged_as=fid)
    for number in range(150):
        rows = [(f"{number:03}", text_of(f'"{number}{"x" * (1 << 20)}"'))]
        writer.add(a_batch(rows, first=number), size=size_of(rows))
    written = writer.finish()
    segment = a_segment(a_task(), path=written.path, docs=written.docs, bytes=written.bytes)
    default = pa.default_memory_pool()
    counted = pa.proxy_memory_pool(default)
    pa.set_memory_pool(counted)
    try:
        assert _without(lake, segment, "077").docs == 149
    finally:
        pa.set_memory_pool(default)
    assert counted.max_memory() < 100 << 20


def test_what_is_not_there_takes_nothing_away(lake, store):
    segment = write(store, [("a", text_of(1)), ("b", text_of(2))])
    assert _rows(store, _without(lake, segment, "c").path) == _rows(store, segment.path)


def test_the_former_file_stays_as_it_is(lake, store):
    segment = write(store, [("a", text_of(1)), ("b", text_of(2))])
    rows = _rows(store, segment.path)
    _without(lake, segment, "a")
    assert _rows(store, segment.path) == rows


def test_a_file_that_is_not_there_leaves_nothing_behind(lake, store):
    segment = write(store, [("a", text_of(1))])
    store.delete(segment.path)
    before = files_in(store)
    with pytest.raises(SegmentDamaged, match="missing"):
        _without(lake, segment, "a")
    assert files_in(store) == before


@needs_a_full_disk
def test_a_full_disk_leaves_nothing_behind(lake, store):
    segment = write(store, [("a", text_of(1)), ("b", text_of(2))])
    before = files_in(store)
    store.stage("full").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space"):
        write_without(lake.engine, lake.store, stored(segment), "a", "streams/anew/full.parquet", staged_as="full")
    assert files_in(store) == before
