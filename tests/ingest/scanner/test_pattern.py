import re

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budget import examples
from headwater.ingest.scanner.pattern import runs_of
from lines import scanned

SIMPLE = [
    "^[0-9a-f]{16}$",
    r"^\d{4}-\d{2}-\d{2}$",
    "^https?://",
    "^[A-Z]{2}$",
    r"^\w+@\w+\.com$",
    "^a*b?c{2,}d{1,3}$",
    "^a*b?c",
    "^",
    "^$",
    r"^[\d.]+$",
    r"^[a\]\-]+\$$",
    "^[+-]?[0-9]+$",
    "^[a-]+$",
    r"^\$",
]
NOT_SIMPLE = [
    *("", "a", "a$", "^a|b", "^(a)", "^[^a]", "^.", "^a+?", "^a*a", "^a?b*a$", r"^\s", r"^\b", r"^\p{L}", "^é"),
    *("^[a-z&&b]", "^[[:alpha:]]", "^[a--b]", "^a{", "^a{,2}", "^(?i)a", r"^\1", "^a$$", "^^a", "^[]", "^[Z-", "^a++"),
]


def is_simple(pattern):
    try:
        runs_of(pattern)
    except ValueError:
        return False
    return True


def follows(pattern, text):
    return scanned([b'{"id": "%b"}' % text.encode()], {"properties": {"id": {"pattern": pattern}}}) == [text]


@pytest.mark.parametrize("pattern", SIMPLE)
def test_these_are_simple(pattern):
    assert is_simple(pattern)


@pytest.mark.parametrize("pattern", NOT_SIMPLE)
def test_these_are_not(pattern):
    assert not is_simple(pattern)


@settings(max_examples=examples(1000), deadline=None)
@given(st.data(), st.sampled_from(SIMPLE))
def test_a_string_follows_a_pattern_as_json_schema_has_it(data, pattern):
    # Strings that follow it, or nearly.
    text = data.draw(st.from_regex(re.compile(pattern, re.ASCII)) | st.text("abcd019-.:/@+$]", max_size=8))
    text = re.sub(r'[^ -~]|["\\\\]', "x", text)
    schema = {"type": "string", "pattern": pattern}
    assert follows(pattern, text) == jsonschema_rs.is_valid(schema, text)


@given(st.text(st.sampled_from(r"^$ab01-[]{}()*+?.,\\dw|&:^"), max_size=8), st.text("ab01-.,", max_size=5))
@settings(max_examples=examples(1500), deadline=None)
def test_what_is_taken_for_simple_means_the_same_to_json_schema(rest, text):
    pattern = f"^{rest}"
    if is_simple(pattern):
        assert follows(pattern, text) == jsonschema_rs.is_valid({"pattern": pattern}, text)
