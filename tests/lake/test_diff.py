import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budget import examples
from headwater.domain.stream import Counts
from headwater.lake.diff import Diff, DiffRow, Moves, Operation, Side
from headwater.lake.engine import BATCH
from headwater.lake.segment import SegmentWriter
from headwater.lake.segment_format import SCHEMA
from lake_builders import Lake, task_of, text_of, write
from lake_builders import sides as sides_of
from lake_builders import views as views_of

IDS = st.sampled_from(
    ["", "a", "b", "c", "d", "a\0", "a\0b", "\0", "'", '"', "\\", "%", "ü", "\uffff", "😀", "\n", "a" * 300, "a" * 301]
) | st.text(max_size=2)
TEXTS = st.sampled_from([text_of(0), text_of(1), text_of("  1")])

#: As an ``until``: the side does not see the segment.
ABSENT = -1


@st.composite
def views(draw):
    """Segments, lowest layer first: their rows, and up to where each of two views sees them."""
    segments = draw(st.lists(st.lists(st.tuples(IDS, TEXTS), min_size=1, max_size=8), min_size=1, max_size=5))
    until = [
        tuple(draw(st.one_of(st.just(ABSENT), st.none(), st.none(), st.integers(0, len(rows)))) for _ in range(2))
        for rows in segments
    ]
    return list(zip(segments, until, strict=True))


class Model:
    """What differs between two views, by plain dictionaries."""

    def __init__(self, views):
        self.sides = [
            {
                doc_id: (layer, pos, Side(task=task_of(layer), text=text))
                for layer, (rows, untils) in enumerate(views)
                for pos, (doc_id, text) in enumerate(rows)
                if untils[side] is None or pos < untils[side]
            }
            for side in (0, 1)
        ]
        self.touched = {
            doc_id
            for rows, untils in views
            for pos, (doc_id, _) in enumerate(rows)
            if len({until is None or pos < until for until in untils}) > 1
        }

    def operations(self, doc_id):
        before, after = (side.get(doc_id) for side in self.sides)
        if before == after:
            return set() if before is None else {Operation.UNAFFECTED}
        if before is None or after is None:
            return {Operation.ADDED if before is None else Operation.REMOVED}
        same = before[2].text == after[2].text
        return {Operation.REPLACED, Operation.UNCHANGED if same else Operation.CHANGED}

    def count(self):
        return Counter(operation for doc_id in self.touched for operation in self.operations(doc_id))

    def differences(self, *operations):
        return [
            DiffRow(id=doc_id, before=self._side(0, doc_id), after=self._side(1, doc_id))
            for doc_id in sorted(self.touched, key=str.encode)
            if self.operations(doc_id) & set(operations)
        ]

    def _side(self, side, doc_id):
        return self.sides[side][doc_id][2] if doc_id in self.sides[side] else None


@pytest.fixture(scope="module")
def lake():
    with tempfile.TemporaryDirectory() as folder:
        made = Lake(Path(folder))
        yield made
        made.engine.close()


def _compare(lake, views):
    written = [write(lake.store, rows, layer=layer, task=task_of(layer)) for layer, (rows, _) in enumerate(views)]
    before, after = views_of(
        written, *([0 if ends[side] == ABSENT else ends[side] for _, ends in views] for side in (0, 1))
    )
    return Diff(lake.engine, before, after)


def _listed(batches):
    return [
        DiffRow(
            id=row["doc_id"],
            before=None if row["before"] is None else Side(task=row["before_task"], text=row["before"]),
            after=None if row["after"] is None else Side(task=row["after_task"], text=row["after"]),
        )
        for batch in batches
        for row in batch.to_pylist()
    ]


def _walk(comparison, operation, *, limit):
    found, after = [], None
    while page := comparison.page(operation, after=after, limit=limit):
        assert len(page) <= limit
        found += page
        after = page[-1].id
    return found


@settings(deadline=None, max_examples=examples(40))
@given(views=views())
def test_moves_are_those_of_the_winners_by_rank_alone(lake, views):
    count = Model(views).count()
    assert _compare(lake, views).moves() == Moves(
        added=count[Operation.ADDED],
        replaced=count[Operation.REPLACED],
        removed=count[Operation.REMOVED],
        unaffected=count[Operation.UNAFFECTED],
    )


@settings(deadline=None, max_examples=examples(40))
@given(views=views())
def test_counts_compare_the_texts_of_the_winners(lake, views):
    count = Model(views).count()
    assert _compare(lake, views).counts() == Counts(
        added=count[Operation.ADDED],
        changed=count[Operation.CHANGED],
        unchanged=count[Operation.UNCHANGED],
        removed=count[Operation.REMOVED],
    )


@settings(deadline=None, max_examples=examples(40))
@given(views=views(), operations=st.lists(st.sampled_from(Operation), min_size=1, max_size=4))
def test_batches_hold_each_document_of_some_operations_once_in_order_of_ids(lake, views, operations):
    assert _listed(_compare(lake, views).batches(operations)) == Model(views).differences(*operations)


@settings(deadline=None, max_examples=examples(25))
@given(views=views(), limit=st.integers(1, 6))
def test_pages_of_any_limit_walk_to_the_same_list(lake, views, limit):
    comparison, model = _compare(lake, views), Model(views)
    for operation in Operation:
        assert _walk(comparison, operation, limit=limit) == model.differences(operation)


@settings(deadline=None, max_examples=examples(25))
@given(views=views(), after=IDS, limit=st.integers(1, 6))
def test_a_page_is_what_comes_behind_an_id(lake, views, after, limit):
    comparison, model = _compare(lake, views), Model(views)
    for operation in Operation:
        behind = [one for one in model.differences(operation) if one.id.encode() > after.encode()]
        assert comparison.page(operation, after=after, limit=limit) == behind[:limit]


@settings(deadline=None, max_examples=examples(20))
@given(views=views())
def test_what_one_way_added_the_other_way_removes(lake, views):
    back = [(rows, (after, before)) for rows, (before, after) in views]
    there, again = _compare(lake, views).counts(), _compare(lake, back).counts()
    assert (there.added, there.removed) == (again.removed, again.added)
    assert (there.changed, there.unchanged) == (again.changed, again.unchanged)


def test_equal_texts_are_unchanged_and_white_space_is_a_change(lake):
    before = [write(lake.store, [("a", '{"v":1}\n'), ("b", '{"v":1}\n')], layer=1, task=task_of(1))]
    after = [*before, write(lake.store, [("a", '{"v":1}\n'), ("b", '{"v": 1}\n')], layer=2, task=task_of(2))]
    assert Diff(lake.engine, *sides_of(before, after)).counts() == Counts(changed=1, unchanged=1)
    assert Diff(lake.engine, *sides_of(before, after)).moves() == Moves(replaced=2)


def test_where_both_sides_see_the_same_nothing_is_read(lake):
    segment = write(lake.store, [("a", text_of(1))])
    lake.store.delete(segment.path)
    for sides in sides_of([], []), sides_of([segment], [segment]), views_of([segment], [0], [0]):
        comparison = Diff(lake.engine, *sides)
        assert comparison.moves() == Moves()
        assert comparison.counts() == Counts()
        assert list(comparison.batches(list(Operation))) == []
        assert [comparison.page(operation, after=None, limit=5) for operation in Operation] == [[]] * len(Operation)


def test_files_of_the_same_side_that_cannot_matter_are_not_opened_for_texts(lake):
    under = write(lake.store, [("a", text_of("under"))], layer=1, task=task_of(1))
    over = write(lake.store, [("a", text_of("over"))], layer=2, task=task_of(2))
    top = write(lake.store, [("a", text_of("top"))], layer=3, task=task_of(3))
    [found] = Diff(lake.engine, *sides_of([under, over], [under, over, top])).page(
        Operation.CHANGED, after=None, limit=5
    )
    assert (found.before.text, found.after.text) == (text_of("over"), text_of("top"))


@pytest.mark.parametrize("side", [0, 1])
def test_a_layer_may_be_an_old_file_on_one_side_and_a_merged_one_on_the_other(lake, side):
    """As after a delete, a restore and a compaction: the merged file takes the place of the last of the old ones."""
    task = task_of(1)
    first = write(lake.store, [("a", text_of(1)), ("b", text_of(1))], layer=1, task=task)
    last = write(lake.store, [("b", text_of(2)), ("c", text_of(2))], layer=2, task=task)
    merged = write(lake.store, [("a", text_of(1)), ("b", text_of(2)), ("c", text_of(2))], layer=2, task=task)
    sides = sides_of([first, last], [merged])
    comparison = Diff(lake.engine, sides[side], sides[1 - side])
    assert comparison.counts() == Counts(unchanged=3)
    assert _listed(comparison.batches([Operation.ADDED, Operation.CHANGED, Operation.REMOVED])) == []
    assert [one.before.text for one in comparison.page(Operation.UNCHANGED, after=None, limit=9)] == [
        text_of(1),
        text_of(2),
        text_of(2),
    ]


def test_texts_of_an_old_and_a_merged_file_of_one_layer_are_not_mixed_up(lake):
    """Both have a document at the same layer and place, and not the same one."""
    old = write(lake.store, [("x", text_of("old x")), ("y", text_of("y"))], layer=2, task=task_of(1))
    merged = write(
        lake.store, [("w", text_of("w")), ("x", text_of("new x")), ("y", text_of("y"))], layer=2, task=task_of(1)
    )
    found = _listed(Diff(lake.engine, *sides_of([old], [merged])).batches([Operation.ADDED, Operation.CHANGED]))
    assert [(one.id, one.before and one.before.text, one.after.text) for one in found] == [
        ("w", None, text_of("w")),
        ("x", text_of("old x"), text_of("new x")),
    ]


def test_two_tasks_with_the_same_text_are_told_apart_by_their_tasks(lake):
    low, high = (write(lake.store, [("a", text_of(1))], layer=layer, task=task_of(layer)) for layer in (1, 2))
    [found] = Diff(lake.engine, *sides_of([low, high], [low])).page(Operation.UNCHANGED, after=None, limit=1)
    assert (found.before.task, found.after.task) == (task_of(2), task_of(1))


def test_a_page_is_full_though_few_of_many_touched_documents_are_meant(lake):
    ids = [f"{number:05}" for number in range(3_000)]
    low = write(lake.store, [(one, text_of(1)) for one in ids], layer=1)
    high = write(lake.store, [(one, text_of(1 if number % 700 else 2)) for number, one in enumerate(ids)], layer=2)
    comparison = Diff(lake.engine, *sides_of([low], [low, high]))
    assert [one.id for one in comparison.page(Operation.CHANGED, after="00000", limit=4)] == ids[700::700]
    assert comparison.counts() == Counts(changed=5, unchanged=2_995)


@pytest.fixture(scope="module")
def ranges():
    """A comparison whose texts are several times as large as what is compared at a time."""
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Path(folder), memory=128 << 20)
        pad = "x" * 1_000
        ids = [f"{number * 7919 % 20_000:06}" for number in range(20_000)]
        low = write(lake.store, [(one, text_of(f"1{pad}")) for one in ids[:15_000]], layer=1)
        texts = {one: text_of(f"{int(one) % 2}{pad}") for one in ids[5_000:]}
        high = write(lake.store, list(texts.items()), layer=2)
        assert lake.engine.ranges_for(2 * (low.bytes + high.bytes)) > 3
        yield (
            Diff(lake.engine, *sides_of([low], [low, high])),
            ids,
            Diff(lake.engine, *sides_of([low], [high])),
        )
        lake.engine.close()


def test_a_comparison_in_several_ranges_counts_each_document_once(ranges):
    comparison, ids, other = ranges
    both = ids[5_000:15_000]
    changed = sum(1 for one in both if int(one) % 2 == 0)
    assert comparison.counts() == Counts(added=5_000, changed=changed, unchanged=10_000 - changed)
    assert comparison.moves() == Moves(added=5_000, replaced=10_000)
    assert other.counts() == Counts(added=5_000, changed=changed, unchanged=10_000 - changed, removed=5_000)


def test_a_comparison_in_several_ranges_lists_each_document_once_in_order(ranges):
    comparison, ids, _ = ranges
    batches = list(comparison.batches([Operation.ADDED]))
    assert max(batch.num_rows for batch in batches) <= BATCH
    assert [one for batch in batches for one in batch.column("doc_id").to_pylist()] == sorted(ids[15_000:])


def test_a_list_that_is_not_read_to_its_end_hinders_nobody(ranges):
    comparison, _, _ = ranges
    batches = comparison.batches([Operation.ADDED])
    next(batches)
    batches.close()
    assert comparison.moves() == Moves(added=5_000, replaced=10_000)


def test_a_segment_that_came_bit_by_bit_is_compared_by_place(lake):
    rows = [(f"{number % 4}", text_of(number)) for number in range(12)]
    segment = write(lake.store, rows)
    for before in range(13):
        for after in range(13):
            sides = views_of([segment], [before], [after])
            expected = Model([(rows, (before, after))]).count()
            assert Diff(lake.engine, *sides).moves() == Moves(
                added=expected[Operation.ADDED],
                replaced=expected[Operation.REPLACED],
                removed=expected[Operation.REMOVED],
                unaffected=expected[Operation.UNAFFECTED],
            )


def test_the_rows_of_one_file_need_not_lie_in_order_of_their_places(lake):
    """A merged file is in order of ids, and its places are those of arrival."""
    kept = write(lake.store, [("a", text_of(1)), ("a", text_of(2)), ("b", text_of(0)), ("c", text_of(3))])
    path = f"streams/{uuid4().hex}.parquet"
    writer = SegmentWriter(lake.store, path, staged_as=uuid4().hex)
    batch = pq.read_table(lake.store.locate(kept.path)).combine_chunks().to_batches()[0]
    places = pa.array([1, 2, 0, 3], pa.int64())
    writer.add(pa.record_batch([batch.column("doc_id"), places, batch.column("doc")], schema=SCHEMA), size=kept.bytes)
    written = writer.finish()
    merged = replace(kept, path=path, digest=written.digest, size=written.size)
    comparison = Diff(lake.engine, *views_of([merged], [2], [None]))
    assert _listed(comparison.batches([Operation.ADDED, Operation.CHANGED])) == [
        DiffRow(id="a", before=Side(task="7" * 32, text=text_of(1)), after=Side(task="7" * 32, text=text_of(2))),
        DiffRow(id="c", before=None, after=Side(task="7" * 32, text=text_of(3))),
    ]
    assert comparison.moves() == Moves(added=1, replaced=1)
