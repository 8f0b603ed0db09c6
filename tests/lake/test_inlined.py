import pytest

from headwater.domain.errors import Unavailable
from headwater.domain.stream import inlined_path, segment_path
from headwater.lake import current
from headwater.lake.inlined import Inlined
from headwater.lake.segment import SegmentWriter, unpack
from headwater.lake.store import LocalStore
from lake_builders import STREAM, Lake, a_batch, files_in, pack, seen, size_of, stored, text_of


class Kept:
    """What the catalog would keep."""

    def __init__(self):
        self.packed, self.fetched = {}, []

    def fetch(self, paths):
        self.fetched += paths
        return {path: self.packed[path] for path in paths if path in self.packed}


@pytest.fixture
def kept():
    return Kept()


@pytest.fixture
def lake(tmp_path, kept):
    made = Lake(tmp_path, inlined=Inlined(kept.fetch))
    yield made
    made.engine.close()


def rows(*ids, version=1):
    return [(doc_id, text_of(f'"{doc_id} {version}"')) for doc_id in ids]


def inline(kept, lake, content, **where):
    """A segment that is no file."""
    segment, packed = pack(lake.store, content, **where)
    assert segment.is_inlined
    kept.packed[segment.path] = packed
    return segment


def a_writer(store, *, most_inlined):
    path = segment_path(stream=STREAM, task="7" * 32, segment="a")
    return SegmentWriter(store, path, staged_as="a", most_inlined=most_inlined)


def test_a_segment_of_up_to_so_many_bytes_is_packed_and_no_file(tmp_path):
    store, content = LocalStore(tmp_path), rows("b", "a")
    writer = a_writer(store, most_inlined=size_of(content))
    writer.add(a_batch(content[:1]), size=size_of(content[:1]))
    writer.add(a_batch(content[1:], first=1), size=size_of(content[1:]))
    written = writer.finish()
    assert (written.path, written.docs, written.bytes) == (inlined_path("a"), 2, size_of(content))
    assert (written.min_id, written.max_id) == (b"a", b"b")
    assert unpack(written.packed, written.path).to_pylist() == a_batch(content).to_pylist()
    assert files_in(store) == []


def test_a_larger_one_is_a_file(tmp_path):
    store, content = LocalStore(tmp_path), rows("b", "a")
    writer = a_writer(store, most_inlined=size_of(content) - 1)
    writer.add(a_batch(content), size=size_of(content))
    written = writer.finish()
    assert written.packed is None
    assert files_in(store) == [written.path]


def test_files_and_inlined_segments_are_read_alike(lake, kept):
    segments = [
        lake.keep([rows("a", "b", "c", version=0)])[0],
        inline(kept, lake, rows("b", "d", version=1), layer=1),
        inline(kept, lake, rows("d", version=2), layer=2),
    ]
    shown = {one.id: one.text for one in lake.pages(segments, limit=2)}
    assert shown == {
        "a": text_of('"a 0"'),
        "b": text_of('"b 1"'),
        "c": text_of('"c 0"'),
        "d": text_of('"d 2"'),
    }
    assert lake.count(segments) == 4
    assert lake.one(segments, "d").text == text_of('"d 2"')
    assert [one.id for one in lake.exported(segments)] == ["a", "b", "c", "d"]


def test_a_stream_without_any_file_is_read_too(lake, kept):
    segments = [inline(kept, lake, rows("a"), layer=1), inline(kept, lake, rows("b"), layer=2)]
    assert [one.id for one in lake.pages(segments, limit=1)] == ["a", "b"]
    assert [pos for pos, _ in lake.arrivals(segments[0], limit=5)] == [0]
    [found] = current.versions_of(lake.engine, seen(segments), "b")
    assert (found.path, found.pos) == (segments[1].path, 0)
    assert current.texts_of(lake.engine, seen(segments), "b", [found]) == [text_of('"b 1"')]


def test_what_was_fetched_is_at_hand_until_there_is_too_much_of_it(lake, kept):
    first, other = inline(kept, lake, rows("a")), inline(kept, lake, rows("b"))
    inlined = Inlined(kept.fetch, most_held=len(kept.packed[first.path]))
    for _ in range(2):
        inlined.batches([stored(first)])
    assert kept.fetched == [first.path]
    inlined.batches([stored(other)])
    inlined.batches([stored(other)])
    assert kept.fetched == [first.path, other.path]
    inlined.batches([stored(first), stored(other)])
    assert kept.fetched == [first.path, other.path, first.path]


def test_what_is_not_kept_any_more_is_said(lake, kept):
    segment = inline(kept, lake, rows("a"))
    kept.packed.clear()
    with pytest.raises(Unavailable, match="merged while it was read; ask again"):
        current.page(lake.engine, seen([segment]), after=None, limit=1)
