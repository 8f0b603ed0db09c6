import sys

import pytest

from headwater_client.cli import editor
from headwater_client.cli.errors import CliError


@pytest.mark.parametrize(
    ("before", "after", "patch"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, {"b": 3}),
        ({"a": 1}, {}, {"a": None}),
        ({}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "d": 3}}, {"a": {"c": None, "d": 3}}),
        ({"a": [1, 2]}, {"a": [1]}, {"a": [1]}),
        ({"a": {"b": 1}}, {"a": None}, {"a": None}),
        ({"a": 1}, {"a": 1}, {}),
    ],
)
def test_the_difference_of_two_objects_is_a_merge_patch(before, after, patch):
    assert editor.difference(before, after) == patch


def test_what_was_saved_is_returned(monkeypatch):
    monkeypatch.setattr(editor, "can_ask", lambda: True)
    code = "import sys, pathlib; file = pathlib.Path(sys.argv[1]); file.write_text(file.read_text().replace('1', '2'))"
    monkeypatch.setenv("EDITOR", f'{sys.executable} -c "{code}"')
    assert editor.edited({"a": 1, "ä": "ö"}) == {"a": 2, "ä": "ö"}


@pytest.mark.parametrize(("command", "why"), [("false", "ended with 1"), ("no-such-editor", "cannot be run")])
def test_an_editor_that_fails_changes_nothing(monkeypatch, command, why):
    monkeypatch.setattr(editor, "can_ask", lambda: True)
    monkeypatch.setenv("EDITOR", command)
    with pytest.raises(CliError, match=why):
        editor.edited({"a": 1})


def test_without_a_terminal_there_is_no_editor():
    with pytest.raises(CliError, match="there is no terminal"):
        editor.edited({"a": 1})
