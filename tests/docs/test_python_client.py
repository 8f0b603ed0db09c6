"""docs/extensions/python_client.py: the page of the Python client, from its docstrings."""

import inspect

from docs.extensions.python_client import markdown
from headwater_client import AsyncHeadwater, AsyncTaskWriter, Headwater, TaskWriter, errors
from headwater_client.requests import Resource

PAGE = markdown()
HEADINGS = [line.removeprefix("### ") for line in PAGE.splitlines() if line.startswith("### ")]


def _public(kind: object) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_") and callable(getattr(kind, name))}


def test_every_call_has_a_heading_and_a_sentence():
    with Headwater("http://127.0.0.1", "none") as headwater:
        parts = {name: part for name, part in vars(headwater).items() if isinstance(part, Resource)}
        calls = {f"headwater.{name}.{call}" for name, part in parts.items() for call in _public(part)}
        calls |= {f"headwater.{call}" for call in _public(headwater)}
    calls |= {f"writer.{call}" for call in _public(TaskWriter)}
    assert sorted(set(HEADINGS) - {"TaskWriter(…)", "Headwater(…)"}) == sorted(calls)
    assert len(HEADINGS) == len(set(HEADINGS))


def test_a_call_shows_what_it_gives_and_not_how_it_is_asked():
    assert "headwater.streams.get(stream: Ref) -> Stream\n" in PAGE
    assert ") -> Iterator[Document]\n" in PAGE
    assert "Call[" not in PAGE


def test_every_error_is_in_the_tree():
    kinds = [
        kind.__name__ for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__
    ]
    assert [name for name in kinds if name not in PAGE.partition("## Errors")[2]] == []


def test_the_awaited_twins_have_the_same_calls():
    assert _public(AsyncHeadwater) == _public(Headwater)
    # What the awaited writer is made of, and nobody else needs.
    assert _public(TaskWriter) - _public(AsyncTaskWriter) == {"leave", "offer_line", "wait_for_room"}
