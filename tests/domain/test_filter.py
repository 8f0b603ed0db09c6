import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.domain.errors import Flaw, RequestInvalid
from headwater.domain.filter import Comparison, Condition, Operator, ValueType, condition_of, parse_where
from headwater.domain.schema import json_pointer

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def parts(text):
    """A comparison as (pointer, operator, value, kind)."""
    comparison = parse_where(text)
    return comparison.pointer, comparison.operator, comparison.value, comparison.kind


def flaws_of(q=None, where=()):
    with pytest.raises(RequestInvalid) as caught:
        condition_of(q, where)
    assert caught.value.detail == caught.value.flaws[0].message
    return caught.value.flaws


def fault(text):
    """What is wrong with a comparison."""
    with pytest.raises(RequestInvalid) as caught:
        parse_where(text)
    [flaw] = caught.value.flaws
    assert flaw == Flaw(pointer="?where", detail=flaw.detail)
    return flaw.detail


@pytest.mark.parametrize("operator", Operator)
def test_each_operator_is_read(operator):
    assert parts(f"rating{operator}4") == ("/rating", operator, "4", ValueType.INTEGER)


@pytest.mark.parametrize("text", ["rating>=4", " rating >= 4 ", "rating\t>=\n4", '"rating" >= 4'])
def test_spaces_around_the_parts_do_not_count(text):
    assert parts(text) == ("/rating", Operator.GE, "4", ValueType.INTEGER)


@pytest.mark.parametrize(
    ("field", "pointer"),
    [
        ("author", "/author"),
        ("author.country", "/author/country"),
        ("tags.0", "/tags/0"),
        ("first name", "/first name"),
        ("a/b", "/a~1b"),
        ("m~n", "/m~0n"),
        ("$.x", "/$/x"),
        ("a!b", "/a!b"),
        ("/author/country", "/author/country"),
        ("/a.b", "/a.b"),
        ("/a~1b/m~0n", "/a~1b/m~0n"),
        ("/", "/"),
        ("//", "//"),
        ('"a.b"', "/a/b"),
        ('"a=b"', "/a=b"),
        ('"/a>=b/c"', "/a>=b/c"),
        (r'"/q\"q"', '/q"q'),
        (r'"/ü\u00fc"', "/üü"),
        ('" a "', "/ a "),
    ],
)
def test_a_field_is_names_with_dots_or_a_pointer_quoted_or_not(field, pointer):
    assert parts(f"{field}=1")[0] == pointer


@pytest.mark.parametrize(
    ("text", "value", "kind"),
    [
        ("null", "null", ValueType.NULL),
        ("true", "true", ValueType.BOOLEAN),
        ("false", "false", ValueType.BOOLEAN),
        ("0", "0", ValueType.INTEGER),
        ("-17", "-17", ValueType.INTEGER),
        ("9" * 400, "9" * 400, ValueType.INTEGER),
        ("1.50", "1.50", ValueType.FRACTION),
        ("1e3", "1e3", ValueType.FRACTION),
        ("-0.5E-7", "-0.5E-7", ValueType.FRACTION),
        ("01234", "01234", ValueType.TEXT),
        ("+1", "+1", ValueType.TEXT),
        (".5", ".5", ValueType.TEXT),
        ("1.", "1.", ValueType.TEXT),
        ("\u0661", "\u0661", ValueType.TEXT),
        ("True", "True", ValueType.TEXT),
        ("NaN", "NaN", ValueType.TEXT),
        ("Infinity", "Infinity", ValueType.TEXT),
        ("de", "de", ValueType.TEXT),
        ("a = b", "a = b", ValueType.TEXT),
        ("a<b", "a<b", ValueType.TEXT),
        ("2024-01-31", "2024-01-31", ValueType.TEXT),
        ('say "hi"', 'say "hi"', ValueType.TEXT),
        ("'x'", "'x'", ValueType.TEXT),
        ("[1]", "[1]", ValueType.TEXT),
        ('""', "", ValueType.TEXT),
        ('"12345"', "12345", ValueType.TEXT),
        ('"null"', "null", ValueType.TEXT),
        ('" =4 "', " =4 ", ValueType.TEXT),
        (r'"a\"b\u00fc\ud83d\ude00"', 'a"bü😀', ValueType.TEXT),
    ],
)
def test_a_value_is_of_the_kind_that_it_is_written_as(text, value, kind):
    assert parts(f"a={text}")[2:] == (value, kind)


@given(st.lists(TEXTS, min_size=1), st.sampled_from(Operator), TEXTS)
def test_any_field_and_any_text_can_be_written_in_quotes(path, operator, value):
    pointer = json_pointer(path)
    text = f"{json.dumps(pointer)}{operator}{json.dumps(value)}"
    if len(text) <= 1000:
        assert parse_where(text) == Comparison(pointer=pointer, operator=operator, value=value, kind=ValueType.TEXT)


@given(st.text() | st.text('=<>!"/~.\\ a1'))
def test_any_text_is_a_comparison_or_refused(text):
    with suppress(RequestInvalid):
        comparison = parse_where(text)
        assert comparison.pointer.startswith("/")
        assert (comparison.pointer + comparison.value).encode()


@pytest.mark.parametrize(
    ("text", "told", "example"),
    [
        ("", '"" has no operator', "rating>=4"),
        ("rating", '"rating" has no operator', "rating>=4"),
        ("rating!4", '"rating!4" has no operator', "rating>=4"),
        ('"a=b"', "has no operator", "rating>=4"),
        ("=4", "names no field", "author.country=de"),
        ('""=4', "names no field", "author.country=de"),
        (".=4", "beside a dot is empty", "author.country=de"),
        ("a..b=4", "beside a dot is empty", "author.country=de"),
        ("a.=4", "beside a dot is empty", "author.country=de"),
        ("/a~b=4", "~ is written ~0", "/a~1b=4"),
        ("/a~=4", "~ is written ~0", "/a~1b=4"),
        ('"a=4', "quoted field is not a JSON string", '"a=b"=4'),
        ('"a"b=4', "quoted field is not a JSON string", '"a=b"=4'),
        (r'"\x"=4', "quoted field is not a JSON string", '"a=b"=4'),
        (r'"\ud800"=4', "quoted field is not a JSON string", '"a=b"=4'),
        ('a="b', "quoted value is not a JSON string", r'name="a \"b\""'),
        ('a="b"c', "quoted value is not a JSON string", r'name="a \"b\""'),
        (r'a="\ud800"', "quoted value is not a JSON string", r'name="a \"b\""'),
        ("a=\ud800", "half of a surrogate pair", "name=Zoë"),
        ("a=", "has no value", 'name=""'),
        ("a>= ", "has no value", 'name=""'),
        ("a==4", "begins with an operator sign", "rating>=4"),
        ("a<>4", "begins with an operator sign", "rating>=4"),
        ("a=>4", "begins with an operator sign", "rating>=4"),
        ("a=1e400", "out of range", "rating>=4"),
        ("a<true", "true has no order", "active=true"),
        ("a>=false", "false has no order", 'name>="false"'),
        ("a>null", "null has no order", "active=null"),
        ("a=" + "x" * 999, "1001 characters is too long: at most 1000", "rating>=4"),
    ],
)
def test_what_is_no_comparison_is_refused_with_a_right_one(text, told, example):
    assert told in fault(text)
    assert example in fault(text)


def test_a_comparison_of_the_greatest_length_is_taken():
    assert parse_where("a=" + "x" * 998).value == "x" * 998


def test_a_long_comparison_is_quoted_in_part():
    assert len(fault("x" * 1000)) < 700


def test_words_are_what_white_space_parts():
    assert condition_of(" munich  weather\tü\n", []) == Condition(words=("munich", "weather", "ü"))


def test_words_and_comparisons_make_one_condition():
    where = ["rating>=4", "author.country=de"]
    assert condition_of("munich", where) == Condition(words=("munich",), comparisons=tuple(map(parse_where, where)))


@pytest.mark.parametrize("q", [None, "", " \t"])
def test_where_nothing_is_asked_there_is_no_condition(q):
    assert condition_of(q, []) is None


def test_as_many_and_as_long_parts_as_there_may_be_are_taken():
    condition = condition_of(" ".join(["x" * 1000] * 16), ["a=1"] * 16)
    assert (len(condition.words), len(condition.comparisons)) == (16, 16)


def test_too_many_words_are_refused():
    [flaw] = flaws_of(q="w " * 17)
    assert (flaw.pointer, "17 words" in flaw.detail, "at most 16" in flaw.detail) == ("?q", True, True)


def test_too_long_a_word_is_refused():
    [flaw] = flaws_of(q="short " + "w" * 1001)
    assert (flaw.pointer, "1001 characters" in flaw.detail, "at most 1000" in flaw.detail) == ("?q", True, True)


def test_a_word_that_is_no_text_is_refused():
    [flaw] = flaws_of(q="a\udc00")
    assert (flaw.pointer, "surrogate" in flaw.detail) == ("?q", True)


def test_too_many_comparisons_are_refused():
    [flaw] = flaws_of(where=["a=1"] * 17)
    assert (flaw.pointer, "17 comparisons" in flaw.detail, "at most 16" in flaw.detail) == ("?where", True, True)


def test_all_that_is_wrong_is_told_at_once():
    flaws = flaws_of(q="w" * 1001, where=["a", "b=1", "c>null"])
    assert [flaw.pointer for flaw in flaws] == ["?q", "?where", "?where"]
