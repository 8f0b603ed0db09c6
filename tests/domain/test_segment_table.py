from dataclasses import asdict
from datetime import UTC, datetime

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headwater.domain.segment_table import COLUMNS, SegmentTable

AT = datetime(2026, 3, 1, tzinfo=UTC)
ARRAYS = ("attempt", "layer", "docs", "bytes", "base", "added_version", "whole_version", "removed_version")
ARRAYS += ("task", "file", "part", "is_compact", "deletions", "is_floor", "is_scoped")

rows = st.builds(
    lambda fid, task, file, part, added, removed, scope: (
        f"segment {fid}", f"task {task}", 1, fid, f"file {file}", part and fid + 1, 10, 100, b"a", b"z", 0,
        added, None, removed, AT, None, None, None, True, fid % 3, scope,
    ),
    fid=st.integers(0, 30),
    task=st.integers(0, 3),
    file=st.integers(0, 5),
    part=st.booleans(),
    added=st.none() | st.integers(1, 9),
    removed=st.none() | st.integers(1, 9),
    scope=st.none() | st.just(["shop=north"]),
)  # fmt: skip
lists = st.lists(rows, max_size=8, unique_by=lambda row: row[0])


def _same(table: SegmentTable, other: SegmentTable) -> None:
    assert len(table) == len(other)
    assert (table.version, table.layout, table.tasks) == (other.version, other.layout, other.tasks)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(table, name), getattr(other, name), err_msg=name)
    assert [asdict(file) for file in table.files] == [asdict(file) for file in other.files]
    assert table.segments() == other.segments()


@given(lists, st.lists(st.tuples(lists, st.booleans()), max_size=3), st.sets(st.integers(0, 3), max_size=1))
def test_an_extended_table_is_one_made_of_all_its_rows(first, more, gone):
    table = SegmentTable("s", first)
    known = list(first)
    for version, (new, are_files_known) in enumerate(more):
        if are_files_known:
            assert table.files is not None
        tasks = {f"task {number}" for number in gone}
        table = table.extended(new, but=tasks, version=version, layout=version)
        fids = {row[0] for row in new}
        known = [row for row in known if row[0] not in fids and row[COLUMNS.index("task")] not in tasks] + new
        _same(table, SegmentTable("s", known, version=version, layout=version))


def test_the_files_of_a_table_are_not_made_again_for_one_more_row():
    def row(number: int) -> tuple:
        names = (f"segment {number}", "task", 1, number, f"file {number}")
        return (*names, 0, 10, 100, b"a", b"z", 0, number, None, None, AT, None, None, None, True, 0, None)

    table = SegmentTable("s", [row(0), row(1)])
    extended = table.extended([row(0)], but=(), version=1, layout=0)
    assert extended.files[0] is not table.files[0]
    extended = table.extended([row(2)], but=(), version=1, layout=0)
    assert [one is other for one, other in zip(extended.files, table.files, strict=False)] == [True, True]
    assert [file.path for file in extended.files] == ["file 0", "file 1", "file 2"]
