import inspect

import pytest

from headwater.domain import errors
from headwater.domain.errors import MOST_FLAWS, DocumentInvalid, Flaw, HeadwaterError, Unavailable

CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, HeadwaterError)]


def flaws(count):
    return [Flaw(detail=f"fault {number}") for number in range(count)]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({}, "it is odd"),
        ({"line": 17}, "line 17: it is odd"),
        ({"pointer": "/price"}, "/price: it is odd"),
        ({"line": 17, "pointer": "/price"}, "line 17: /price: it is odd"),
        ({"line": 1, "pointer": ""}, "line 1: it is odd"),
        ({"line": 1, "offset": 40, "doc_id": "a", "keyword": "type", "schema_pointer": "/type"}, "line 1: it is odd"),
    ],
)
def test_a_flaw_reads_as_where_and_what(where, message):
    assert Flaw(detail="it is odd", **where).message == message


def test_an_error_reads_as_its_detail():
    assert str(HeadwaterError("the stream is gone")) == "the stream is gone"


def test_an_error_keeps_its_flaws_in_order():
    assert DocumentInvalid("no", flaws=flaws(3)).flaws == tuple(flaws(3))


@pytest.mark.parametrize(("count", "truncated"), [(0, False), (MOST_FLAWS, False), (MOST_FLAWS + 1, True)])
def test_an_error_lists_at_most_so_many_flaws_and_tells_when_it_leaves_some_out(count, truncated):
    error = DocumentInvalid("no", flaws=flaws(count))
    assert (len(error.flaws), error.truncated) == (min(count, MOST_FLAWS), truncated)


def test_an_error_can_be_told_that_flaws_were_left_out_before():
    assert DocumentInvalid("no", flaws=flaws(1), truncated=True).truncated


@pytest.mark.parametrize("kind", CLASSES)
def test_the_title_of_an_error_is_one_short_sentence(kind):
    title = kind.title()
    assert title
    assert "\n" not in title
    assert kind.__doc__ == f"{title}."


def test_no_two_errors_have_the_same_title():
    assert len({kind.title() for kind in CLASSES}) == len(CLASSES)


def test_the_drawn_tree_shows_each_error_below_its_parent():
    parents = {}
    above = []
    for row in errors.__doc__.splitlines():
        name = row.lstrip(" │├└─")
        depth = (len(row) - len(name)) // 4
        if name.isidentifier() and row.startswith("    "):
            above[depth - 1 :] = [name]
            parents[name] = above[depth - 2] if depth > 1 else "Exception"
    assert parents == {kind.__name__: kind.__base__.__name__ for kind in CLASSES}


def test_who_is_turned_away_for_now_is_told_when_to_come_again():
    assert Unavailable("busy", retry_after=9).retry_after == 9
