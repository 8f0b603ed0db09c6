import pytest
from hypothesis import given, settings

from budget import examples
from documents import VALUES
from headwater.domain.json_limits import DEEPEST, clean_text, cleaned, unstorable


def nested(levels, value=1):
    for level in range(levels):
        value = {"a": value} if level % 2 else [value]
    return value


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -1.5, 10**40, "", "ü 😀\n\x01", [], {}, {"": ["a", {"b": None}]}, "\ud7ff\ue000", nested(DEEPEST)],
)
def test_ordinary_json_can_be_kept(value):
    assert unstorable(value) is None


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("a\0b", "U+0000"),
        ("\ud800", "surrogate"),
        ("a\udfffb", "surrogate"),
        (float("inf"), "out of range"),
        (float("-inf"), "out of range"),
        (float("nan"), "out of range"),
        (nested(DEEPEST + 1), "nested deeper than 100 levels"),
        (nested(5000), "nested deeper than 100 levels"),
    ],
)
@pytest.mark.parametrize(
    "around",
    [lambda value: value, lambda value: [1, value], lambda value: {"a": {"b": value}}],
    ids=["bare", "array", "object"],
)
def test_what_some_database_refuses_is_told_wherever_it_is(around, value, fault):
    assert fault in unstorable(around(value))


@pytest.mark.parametrize(("key", "fault"), [("a\0", "U+0000"), ("\udc00", "surrogate")])
def test_keys_are_texts_too(key, fault):
    assert fault in unstorable([{"a": 1, key: 1}])


@settings(deadline=None, max_examples=examples(100))
@given(VALUES)
def test_what_can_be_kept_is_utf_8_without_nul(value):
    assert (unstorable(value) is None) is ("\0" not in texts_of(value))


def texts_of(value):
    """All texts of a value, end to end."""
    match value:
        case dict():
            return "".join(key + texts_of(inner) for key, inner in value.items())
        case list():
            return "".join(map(texts_of, value))
        case str():
            return value
        case _:
            return ""


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("", ""),
        ("ü 😀\n\x01\x7f", "ü 😀\n\x01\x7f"),
        ("a\0b", "a\ufffdb"),
        ("\ud83d", "\ufffd"),
        ("\udc00\ud800x", "\ufffd\ufffdx"),
        ("\ud83d\ude00", "😀"),
        ("\ud83d\ud83d\ude00", "\ufffd😀"),
    ],
)
def test_a_text_is_cleaned_of_what_cannot_be_stored(text, clean):
    assert clean_text(text) == clean


@pytest.mark.parametrize(
    "value", [nested(DEEPEST + 1), nested(900), float("nan"), {"a\0": 1, "a\ufffd": 2}, [{"\ud800": {"\0": "\0"}}]]
)
def test_what_is_cleaned_can_be_stored(value):
    assert unstorable(cleaned(value)) is None


def test_no_member_is_lost_when_two_names_become_the_same():
    names = ("a\0", "a\ufffd", "a\0\0")
    expected = {"a\ufffd\ufffd": 0, "a\ufffd": 1, "a\ufffd\ufffd\ufffd": 2}
    assert cleaned({name: number for number, name in enumerate(names)}) == expected


@given(VALUES)
@settings(max_examples=examples(50))
def test_only_what_cannot_be_stored_is_changed(value):
    assert unstorable(cleaned(value)) is None
    assert (cleaned(value) == value) == (unstorable(value) is None)
