"""Reads the files of a plan as its documentation says, as plainly as can be."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import pyarrow.parquet as pq

Row = tuple[str, str, str]


def rows_of_range(one: dict[str, Any], content: Callable[[str], bytes]) -> list[Row]:
    """The rows of a range of a plan, given what is at a location, in the order of ids."""
    found: list[Row] = []
    for segment in one["segments"]:
        table = _table(segment, content)
        gone: set[int] = set()
        if segment["deletes"] is not None:
            positions = _table(segment["deletes"], content).column("pos").to_pylist()
            assert positions == sorted(set(positions)), "positions are ascending"
            assert positions[-1] < table.num_rows
            gone = set(positions)
        assert len(gone) < table.num_rows, "a file of which no row shows is none of a plan"
        tasks = [segment["task"]] * table.num_rows
        if segment["task"] is None:
            tasks = table.column("task").to_pylist()
        columns = (table.column("doc_id").to_pylist(), tasks, table.column("doc").to_pylist())
        found += [
            row
            for place, row in enumerate(zip(*columns, strict=True))
            if place not in gone
            and (one["after"] is None or row[0].encode() > one["after"].encode())
            and (one["upto"] is None or row[0].encode() <= one["upto"].encode())
        ]
    return sorted(found, key=lambda row: row[0].encode())


def rows_of_plan(plan: dict[str, Any], content: Callable[[str], bytes]) -> list[Row]:
    """The rows of all ranges of a plan, one range after another."""
    ranges = plan["ranges"]
    assert ranges[0]["after"] is None
    assert ranges[-1]["upto"] is None
    assert [one["upto"] for one in ranges[:-1]] == [one["after"] for one in ranges[1:]]
    return [row for one in ranges for row in rows_of_range(one, content)]


def _table(file: dict[str, Any], content: Callable[[str], bytes]) -> Any:
    data = content(file["location"])
    assert len(data) == file["size"]
    table = pq.ParquetFile(BytesIO(data)).read()
    assert table.num_rows == file["rows"]
    return table
