import os
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from headwater_client.cli import output
from headwater_client.cli.output import Column, Some

FID = "0123456789abcdef" * 2


@dataclass
class Row:
    raw: dict[str, Any]


@pytest.fixture
def at_width(monkeypatch):
    def width(columns: int) -> None:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setitem(os.environ, "NO_COLOR", "1")

    return width


COLUMNS: list[Column[Row]] = [
    Column("task", lambda row: row.raw["fid"], is_whole=True),
    Column("documents", lambda row: f"{row.raw['docs']:,}", is_number=True),
    Column("crawler", lambda row: row.raw["crawler"]),
    Column("message", lambda row: row.raw.get("message"), may_be_empty=True),
]


def _table(capsys, *rows: Row) -> list[str]:
    output.answer_list(Some(rows, has_more=False), COLUMNS, "tasks", as_json=False)
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("columns", [66, 80, 140])
def test_fids_and_numbers_are_never_cut_and_nothing_goes_beyond_the_line(columns, at_width, capsys):
    at_width(columns)
    rows = [Row({"fid": FID, "docs": 1234567, "crawler": "Northern shop " * 9, "message": "it failed " * 9})] * 2
    lines = _table(capsys, *rows)
    assert all(FID in line and "1,234,567" in line for line in lines[1:])
    assert all(len(line.replace("\x1b[1m", "").replace("\x1b[0m", "")) <= columns for line in lines)
    assert all(line.count("…") == 2 for line in lines[1:])


def test_a_column_without_anything_in_it_is_left_away(at_width, capsys):
    at_width(80)
    header, _ = _table(capsys, Row({"fid": FID, "docs": 1, "crawler": "x"}))
    assert "message" not in header


WITH_STATES: list[Column[Row]] = [
    Column("task", lambda row: row.raw["fid"], is_whole=True),
    Column("state", lambda row: row.raw["state"], is_whole=True, is_state=True),
    Column("took", lambda row: row.raw["took"], is_number=True, is_minor=True),
    Column("crawler", lambda row: row.raw["crawler"]),
]


@pytest.mark.parametrize(("state", "code"), [("done", 32), ("running", 36), ("timed_out", 31), ("deleted", 33)])
def test_a_state_is_in_colour_and_takes_the_room_of_its_letters(state, code, at_width, monkeypatch, capsys):
    at_width(80)
    rows = [Row({"fid": FID, "state": each, "took": "5m", "crawler": "x"}) for each in (state, "new")]

    def lines() -> list[str]:
        output.answer_list(Some(rows, has_more=False), WITH_STATES, "tasks", as_json=False)
        return capsys.readouterr().out.splitlines()[1:]

    plain = lines()
    assert not any("\x1b" in line for line in plain)
    monkeypatch.delenv("NO_COLOR")
    colored, new = lines()
    width = max(len("state"), len(state))
    assert colored == plain[0].replace(f"{state:<{width}}", f"\x1b[{code}m{state:<{width}}\x1b[0m")
    assert new == plain[1]


def test_a_state_of_an_object_is_in_colour(at_width, monkeypatch, capsys):
    at_width(80)
    monkeypatch.delenv("NO_COLOR")
    output.answer_object({"state": "failed", "reason": "failed"}, as_json=False)
    assert capsys.readouterr().out.splitlines() == ["state   \x1b[31mfailed\x1b[0m", "reason  failed"]


def test_elsewhere_than_on_a_terminal_nothing_is_in_colour(monkeypatch, capsys):
    monkeypatch.delenv("NO_COLOR", raising=False)
    row = Row({"fid": FID, "state": "done", "took": "5m", "crawler": "x"})
    output.answer_list(Some([row], has_more=False), WITH_STATES, "tasks", as_json=False)
    output.answer_object(row.raw, as_json=False)
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(("columns", "has_minor"), [(59, True), (58, False)])
def test_a_minor_column_is_left_away_where_there_is_no_room_for_it(columns, has_minor, at_width, capsys):
    at_width(columns)
    row = Row({"fid": FID, "state": "timed_out", "took": "5m", "crawler": "Northern shop"})
    output.answer_list(Some([row], has_more=False), WITH_STATES, "tasks", as_json=False)
    line = capsys.readouterr().out.splitlines()[1]
    assert ("5m" in line) == has_minor
    assert "Northe" in line
    assert len(line) <= columns


def test_wide_letters_take_the_room_that_they_take(at_width, capsys):
    at_width(80)
    rows = [Row({"fid": FID, "docs": 1, "crawler": name, "message": "m"}) for name in ("日本語の店", "shop")]
    _, wide, narrow = _table(capsys, *rows)
    assert wide.index("m") == narrow.index("m") - 5


def test_what_would_command_a_terminal_does_not(at_width, capsys):
    at_width(80)
    _, line = _table(capsys, Row({"fid": FID, "docs": 1, "crawler": "a\x1b[2Jb\nc"}))
    assert line.endswith("a\ufffd[2Jb c")


def test_elsewhere_than_on_a_terminal_there_is_an_array(capsys):
    row = Row({"fid": FID, "docs": 1, "crawler": "ä"})
    output.answer_list(Some([row], has_more=True), COLUMNS, "tasks", as_json=False)
    assert capsys.readouterr() == (
        f'[\n  {{\n    "fid": "{FID}",\n    "docs": 1,\n    "crawler": "ä"\n  }}\n]\n',
        "",
    )


def test_an_object_is_shown_field_by_field_with_names_and_without_gaps(at_width, capsys):
    at_width(80)
    raw = {
        "fid": FID,
        "stream": FID[::-1],
        "message": None,
        "docs": 0,
        "meta": {"name": "x", "push": {"size": 3}},
        "params": {},
        "parameters": [{"name": "shop", "req": False, "options": ["a"]}, {"name": "b", "min": None}],
    }
    output.answer_object(raw, as_json=False, names={FID[::-1]: "Books"})
    assert capsys.readouterr().out.splitlines() == [
        f"fid             {FID}",
        f"stream          {FID[::-1]} (Books)",
        "docs            0",
        "meta.name       x",
        "meta.push.size  3",
        'parameters      {"name": "shop", "options": ["a"]}',
        '                {"name": "b"}',
    ]


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_345_678, "12.3 MB"), (5e15, "5000.0 TB")]
)
def test_sizes_are_written_for_people(number, text):
    assert output.size(number) == text


@pytest.mark.parametrize(("seconds", "text"), [(-3, "0s"), (59, "59s"), (60, "1m"), (7200, "2h"), (1e6, "11d")])
def test_spans_are_written_shortly(seconds, text):
    assert output.span(seconds) == text


@pytest.mark.parametrize(
    ("items", "limit", "some"),
    [
        ("abc", 0, Some(["a", "b", "c"], False)),
        ("abc", 3, Some(["a", "b", "c"], False)),
        ("abc", 2, Some(["a", "b"], True)),
    ],
)
def test_of_a_list_only_so_many_are_taken(items, limit, some):
    assert output.first(items, limit) == some
