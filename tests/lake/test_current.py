import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budget import examples
from headwater.domain.errors import Unavailable
from headwater.domain.filter import condition_of
from headwater.lake import current
from headwater.lake.current import LOOK_AHEAD
from headwater.lake.engine import BATCH, Found, lines
from lake_builders import Lake, task_of, text_of, write

#: Ids that meet often, and ids that are hard on text: empty, alike for long, with NUL, quotes, and of all planes.
IDS = st.sampled_from(
    [
        "",
        "a",
        "b",
        "c",
        "a\0",
        "a\0b",
        "\0",
        "'",
        '"',
        "\\",
        "%",
        "ü",
        "\uffff",
        "😀",
        "\n",
        "a" * 20,
        "a" * 300,
        "a" * 301,
    ]
) | st.text(max_size=3)


@st.composite
def histories(draw):
    """What a stream was given: in order of the layers, the rows of each segment; ids come again in and between them."""
    segments = draw(st.lists(st.lists(IDS, min_size=1, max_size=12), min_size=1, max_size=4))
    return [
        [(doc_id, text_of(f"[{layer}, {pos}]")) for pos, doc_id in enumerate(ids)] for layer, ids in enumerate(segments)
    ]


class Model:
    """What a stream shows, by a plain dictionary."""

    def __init__(self, history):
        self.docs = {
            doc_id: Found(id=doc_id, task=task_of(layer), text=text)
            for layer, rows in enumerate(history)
            for doc_id, text in rows
        }
        self.found = [self.docs[doc_id] for doc_id in sorted(self.docs, key=str.encode)]

    def page(self, after, limit):
        return [found for found in self.found if after is None or found.id.encode() > after.encode()][:limit]


@pytest.fixture(scope="module")
def lake():
    with tempfile.TemporaryDirectory() as folder:
        made = Lake(Path(folder))
        yield made
        made.engine.close()


@settings(deadline=None, max_examples=examples(40))
@given(history=histories())
def test_an_export_is_the_newest_version_of_each_document_in_order_of_ids(lake, history):
    assert lake.exported(lake.keep(history)) == Model(history).found


@settings(deadline=None, max_examples=examples(40))
@given(history=histories(), limit=st.integers(1, 6))
def test_paging_through_everything_is_the_export(lake, history, limit):
    assert lake.pages(lake.keep(history), limit=limit) == Model(history).found


@settings(deadline=None, max_examples=examples(40))
@given(history=histories(), after=st.none() | IDS, limit=st.integers(1, 40))
def test_a_page_is_what_comes_behind_an_id(lake, history, after, limit):
    assert lake.page(lake.keep(history), after=after, limit=limit) == Model(history).page(after, limit)


@settings(deadline=None, max_examples=examples(20))
@given(history=histories(), strangers=st.lists(IDS, max_size=5))
def test_one_document_is_its_newest_version_or_none(lake, history, strangers):
    segments, docs = lake.keep(history), Model(history).docs
    for doc_id in {*docs, *strangers}:
        assert lake.one(segments, doc_id) == docs.get(doc_id)


@settings(deadline=None, max_examples=examples(25))
@given(history=histories())
def test_the_count_is_that_of_the_documents_that_show(lake, history):
    assert lake.count(lake.keep(history)) == len(Model(history).found)


@settings(deadline=None, max_examples=examples(25))
@given(history=histories(), limit=st.integers(1, 5))
def test_arrivals_are_all_documents_of_a_segment_in_order(lake, history, limit):
    for segment, (layer, rows) in zip(sorted(lake.keep(history), key=_layer), enumerate(history), strict=True):
        arrived = [(pos, Found(id=row[0], task=task_of(layer), text=row[1])) for pos, row in enumerate(rows)]
        assert lake.arrivals(segment, limit=limit) == arrived


def _layer(segment):
    return segment.layer


@settings(deadline=None, max_examples=examples(20))
@given(history=histories())
def test_the_batches_of_an_export_are_its_documents_end_to_end(lake, history):
    exported = b"".join(lines(batch) for batch in lake.export(lake.keep(history)))
    assert exported == "".join(found.text for found in Model(history).found).encode()


def test_of_two_layers_the_higher_shows_whichever_was_written_first(lake):
    high = write(lake.store, [("a", text_of("high"))], layer=7)
    low = write(lake.store, [("a", text_of("low"))], layer=3)
    assert lake.one([low, high], "a").text == text_of("high")


def test_a_segment_that_is_not_named_does_not_matter(lake):
    low, high = sorted(lake.keep([[("a", text_of(1))], [("a", text_of(2)), ("b", text_of(2))]]), key=_layer)
    assert [found.text for found in lake.exported([low])] == [text_of(1)]
    assert [found.id for found in lake.exported([high])] == ["a", "b"]


def test_a_page_is_full_though_each_document_has_many_versions(lake):
    ids = [f"{number:02}" for number in range(30)]
    segments = lake.keep([[(doc_id, text_of(layer)) for doc_id in ids] for layer in range(4 * LOOK_AHEAD)])
    assert [found.id for found in lake.page(segments, after="04", limit=20)] == ids[5:25]


def test_a_page_is_full_though_one_document_has_very_many_versions(lake):
    segments = lake.keep([[("a", text_of(number)) for number in range(1000)] + [("b", text_of(0)), ("c", text_of(0))]])
    page = lake.page(segments, after=None, limit=2)
    assert [(found.id, found.text) for found in page] == [("a", text_of(999)), ("b", text_of(0))]


@pytest.mark.parametrize(("searched", "named"), [(current.SEARCHED, current.MOST_NAMED), (1, 1000), (1, 2)])
def test_documents_that_match_are_the_same_whether_ranges_are_read_or_all_are_searched(
    lake, monkeypatch, searched, named
):
    monkeypatch.setattr(current, "SEARCHED", searched)
    monkeypatch.setattr(current, "MOST_NAMED", named)
    # In each layer others match: of many, a version that is covered.
    history = [
        [(f"{number:03}", text_of((number * 7 + layer) % 9)) for number in range(60) if (number + layer) % 4]
        for layer in range(3)
    ]
    segments, condition = lake.keep(history), condition_of(None, ["v=3"])
    matching = [found for found in Model(history).found if json.loads(found.text)["v"] == 3]
    assert 1 < len(matching) < 20
    for after in (None, "010", matching[0].id, "060"):
        left = [found for found in matching if after is None or found.id > after]
        for limit in (1, 3, 100):
            assert lake.page(segments, after=after, limit=limit, condition=condition) == left[:limit]
    assert lake.page(segments, after=None, limit=5, condition=condition_of(None, ["v=100"])) == []


def test_a_long_export_comes_in_batches_in_order(lake):
    ids = [f"{number:06}" for number in range(2 * BATCH + 10)]
    segments = lake.keep([[(doc_id, text_of(1)) for doc_id in reversed(ids)], [(ids[-1], text_of(2))]])
    batches = list(lake.export(segments))
    assert max(len(batch) for batch in batches) <= BATCH
    assert [doc_id for batch in batches for doc_id in batch.column("doc_id").to_pylist()] == ids


def test_two_exports_can_be_read_at_once(lake):
    first, second = ([[(f"{number:06}", text_of(task)) for number in range(3 * BATCH)]] for task in (1, 2))
    exports = [lake.export(lake.keep(history)) for history in (first, second)]
    read = [
        b"".join(parts) for parts in zip(*(map(lines, batches) for batches in zip(*exports, strict=True)), strict=True)
    ]
    assert read == ["".join(text for _, text in history[0]).encode() for history in (first, second)]


def test_an_export_that_is_not_read_to_its_end_hinders_nobody(lake):
    segments = lake.keep([[(f"{number:06}", text_of(number)) for number in range(3 * BATCH)]])
    export = lake.export(segments)
    next(export)
    export.close()
    assert lake.count(segments) == 3 * BATCH


def test_many_threads_can_ask_at_once(lake):
    segments = lake.keep([[(f"{number:03}", text_of(number)) for number in range(200)]])
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda number: lake.one(segments, f"{number:03}"), range(200)))
    assert [one.text for one in found] == [text_of(number) for number in range(200)]


def test_a_stream_without_segments_shows_nothing(lake):
    assert lake.page([], after=None, limit=10) == []
    assert lake.one([], "a") is None
    assert list(lake.export([])) == []
    assert lake.count([]) == 0


def test_an_export_larger_than_the_memory_comes_in_order(tmp_path):
    lake = Lake(tmp_path, memory=128 << 20)
    pad = "x" * 10_000
    names = [f"{number * 7919 % 20_000:06}" for number in range(20_000)]
    history = [[(name, text_of(f"{layer}{pad}")) for name in names[::step]] for layer, step in ((1, 1), (2, 2))]
    segments = lake.keep(history)
    newest = dict.fromkeys(names, 1) | dict.fromkeys(names[::2], 2)
    found = [
        (name, int(text[text.index(pad) - 1]))
        for batch in lake.export(segments)
        for name, text in zip(batch.column("doc_id").to_pylist(), batch.column("doc").to_pylist(), strict=True)
    ]
    assert sum(segment.bytes for segment in segments) > 2 * (128 << 20)
    assert found == sorted(newest.items())


def test_what_needs_more_memory_than_there_is_is_unavailable(tmp_path):
    lake = Lake(tmp_path, memory=48 << 20)
    segments = lake.keep([[("a", text_of("x" * (80 << 20)))]])
    with pytest.raises(Unavailable, match="query_memory"):
        list(lake.export(segments))
