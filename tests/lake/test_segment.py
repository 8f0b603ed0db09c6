from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from budget import examples
from headwater.lake.segment import ROW_GROUP_BYTES, SegmentWriter, WrittenSegment
from headwater.lake.segment_format import FIELD_IDS, SCHEMA, Origin, format_of
from headwater.lake.store import LocalStore
from lake_builders import FULL, a_batch, files_in, needs_a_full_disk, size_of, text_of, write

PATH = "streams/s/task=t/x.parquet"
ROWS = [("b", text_of(1)), ("a", text_of(2)), ("c", text_of('"ü\\u0000"'))]
#: Documents of half a megabyte that do not compress to nothing.
BIG = [(f"id-{number:03}", f'{{"n": "{number:03}{"x" * (1 << 19)}"}}\n') for number in range(80)]


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "lake")


def a_writer(store):
    return SegmentWriter(store, PATH, staged_as="x")


def filled(store, *batches):
    """A writer with batches of rows."""
    writer, first = a_writer(store), 0
    for rows in batches:
        writer.add(a_batch(rows, first=first), size=size_of(rows))
        first += len(rows)
    return writer


def read(store, path=PATH):
    return pq.ParquetFile(store.locate(path))


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """A segment of 40 MB, and what was written of it."""
    store = LocalStore(tmp_path_factory.mktemp("big"))
    written = filled(store, BIG[:1], BIG[1:50], BIG[50:]).finish()
    return read(store), written


def test_what_is_written_reads_back_equal(store):
    filled(store, ROWS[:1], ROWS[1:]).finish()
    assert read(store).read().equals(pa.Table.from_batches([a_batch(ROWS)]))


def test_a_segment_has_the_columns_that_other_readers_rely_on(store):
    filled(store, ROWS).finish()
    schema = read(store).schema_arrow
    assert [(field.name, str(field.type)) for field in schema] == [
        ("doc_id", "string"),
        ("pos", "int64"),
        ("doc", "string"),
    ]
    assert schema.equals(SCHEMA)


def test_a_finished_segment_says_what_it_holds(store):
    written = filled(store, ROWS[:2], ROWS[2:]).finish()
    data = Path(store.locate(PATH)).read_bytes()
    assert written == WrittenSegment(
        path=PATH,
        docs=3,
        bytes=size_of(ROWS),
        min_id=b"a",
        max_id=b"c",
        digest="xxh3-128:" + xxhash.xxh3_128_hexdigest(data),
        size=len(data),
    )


def test_the_footer_states_format_and_origin(store):
    origin = Origin(stream="5" * 32, task="7" * 32, attempt=2, external_version=3)
    writer = SegmentWriter(store, PATH, staged_as="x", origin=origin)
    writer.add(a_batch(ROWS), size=size_of(ROWS))
    writer.finish()
    metadata = pq.ParquetFile(store.locate(PATH)).metadata.metadata
    assert metadata == {
        b"headwater.format": b"2",
        b"headwater.stream": b"5" * 32,
        b"headwater.task": b"7" * 32,
        b"headwater.attempt": b"2",
        b"headwater.external_version": b"3",
    }
    assert format_of(metadata) == 2
    assert format_of(None) == 1


def test_every_column_has_a_field_id_that_no_other_has(store):
    filled(store, ROWS).finish()
    schema = pq.ParquetFile(store.locate(PATH)).schema_arrow
    ids = {field.name: int(field.metadata[b"PARQUET:field_id"]) for field in schema}
    assert ids == {"doc_id": 1, "pos": 2, "doc": 3}
    assert ids.items() <= FIELD_IDS.items()
    assert len(set(FIELD_IDS.values())) == len(FIELD_IDS)


def test_arrow_finds_a_flipped_bit_in_a_page_by_its_checksum(store):
    filled(store, ROWS).finish()
    file = Path(store.locate(PATH))
    column = pq.ParquetFile(file).metadata.row_group(0).column(2)
    data = bytearray(file.read_bytes())
    data[column.data_page_offset + column.total_compressed_size - 1] ^= 1
    file.write_bytes(data)
    with pytest.raises(OSError, match="CRC"):
        pq.read_table(file, page_checksum_verification=True)


def test_a_finished_segment_is_the_only_file(store):
    filled(store, ROWS).finish()
    assert files_in(store) == [PATH]


def test_nothing_is_at_the_place_of_a_segment_before_it_is_finished(store):
    filled(store, BIG)
    assert files_in(store) == ["staging/x"]


def test_a_writer_counts_what_it_takes(store):
    writer = filled(store, ROWS[:2], ROWS[2:])
    assert (writer.docs, writer.bytes) == (3, size_of(ROWS))


def test_without_documents_there_is_no_segment(store):
    assert a_writer(store).finish() is None
    assert files_in(store) == []


@pytest.mark.parametrize("batches", [[], [ROWS], [BIG], [BIG, ROWS]], ids=["empty", "held", "written", "both"])
def test_a_discarded_segment_leaves_nothing(store, batches):
    filled(store, *batches).discard()
    assert files_in(store) == []


@needs_a_full_disk
def test_a_segment_that_finds_no_room_on_disk_leaves_nothing(store):
    store.stage("x").symlink_to(FULL)
    writer = filled(store)
    with pytest.raises(OSError, match="No space left"):
        writer.add(a_batch(BIG), size=size_of(BIG))
    writer.discard()
    assert files_in(store) == []


def test_a_large_segment_reads_back_equal(big):
    table = big[0].read()
    assert list(zip(table["doc_id"].to_pylist(), table["doc"].to_pylist(), strict=True)) == BIG
    assert table["pos"].to_pylist() == list(range(len(BIG)))


def test_a_large_segment_has_row_groups_of_a_bounded_size(big):
    groups = [big[0].metadata.row_group(number) for number in range(big[0].num_row_groups)]
    assert len(groups) >= 2
    assert max(group.total_byte_size for group in groups) < 3 * ROW_GROUP_BYTES


def test_the_bounds_of_a_large_segment_span_its_row_groups(big):
    assert (big[1].min_id, big[1].max_id) == (b"id-000", b"id-079")


def test_the_footer_has_the_lowest_and_highest_id_of_each_row_group(big):
    file = big[0]
    for number in range(file.num_row_groups):
        ids = file.read_row_group(number)["doc_id"].to_pylist()
        statistics = file.metadata.row_group(number).column(0).statistics
        assert (statistics.min, statistics.max) == (min(ids), max(ids))


def test_the_footer_has_a_bloom_filter_on_the_id_of_each_row_group(big):
    columns = [big[0].metadata.row_group(number).column(0) for number in range(big[0].num_row_groups)]
    assert all(column.path_in_schema == "doc_id" and column.bloom_filter_length > 0 for column in columns)


def test_documents_are_compressed(big):
    column = big[0].metadata.row_group(0).column(2)
    assert column.compression == "ZSTD"
    assert column.total_compressed_size < column.total_uncompressed_size


def test_a_dictionary_is_not_tried(big):
    assert not any(big[0].metadata.row_group(0).column(number).has_dictionary_page for number in range(3))


@settings(deadline=None, max_examples=examples(25))
@given(
    ids=st.lists(st.builds(str.__add__, st.sampled_from(["", "p" * 128, "é" * 70]), st.text(max_size=4)), min_size=1)
)
def test_every_id_is_within_the_bounds(tmp_path_factory, ids):
    segment = write(LocalStore(tmp_path_factory.getbasetemp() / "bounds"), [(doc_id, "{}\n") for doc_id in ids])
    assert all(segment.min_id <= doc_id.encode() <= segment.max_id for doc_id in ids)
