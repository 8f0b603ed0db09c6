import math
import re

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budget import examples
from headwater.domain.regex_cost import regex_cost
from headwater.domain.schema import PATTERNS

#: They take more than linear time, or it cannot be told.
COSTLY = [
    r"(a*)*\1b",
    r"(?<=a)b",
    r"(?<!a)b",
    r"(?>a+)b",
    r"a++b",
    r"a(?=b)",
    r"^a(?=b)",
    r"^(?=a)b|c",
    r"(?=a|.*b).*",
    r"(?!.*a).*",
    r"(?=.*a)b",
    r"(?=(?=.*a).*b).*",
    r"^(?=(?!a)b).*",
]
#: Those for which another expression is used, ...
REWRITTEN = [r"(?=.*\d)(?=.*[a-z])(?=.*[A-Z]).{8,}", r"(?=.*\d).*", r"(?=.+b)", r"(?=.*a)(?=.*b).{2,}$"]
#: ... and those that are linear as they are.
LINEAR = [
    r"^(?=.*\d)(?=.*[a-z])(?=.*[A-Z]).{8,}$",
    r"^(?!.*\.\.)[a-z.]+$",
    r"^[a-z0-9]+(?:-[a-z0-9]+)*$",
    r"(x+x+)+y",
    r"\p{L}+",
    r"[^[]+\]",
    r"\(\?=",
    r"[(?=]a",
    r"^(?P<year>\d{4})-(\d\d)$",
]


@pytest.mark.parametrize("pattern", [*COSTLY, "(", "[", "a)", "\\", "(?="])
def test_what_may_take_more_than_linear_time_or_is_not_understood_has_no_bound(pattern):
    assert math.isinf(regex_cost(pattern).per_byte)


@pytest.mark.parametrize("pattern", LINEAR)
def test_what_is_linear_stays_as_it_is(pattern):
    cost = regex_cost(pattern)
    assert (math.isfinite(cost.per_byte), cost.linear) == (True, pattern)


@pytest.mark.parametrize("pattern", REWRITTEN)
def test_look_aheads_over_a_line_are_only_tried_at_the_starts_of_lines(pattern):
    cost = regex_cost(pattern)
    assert math.isfinite(cost.per_byte)
    assert cost.linear != pattern


@pytest.mark.parametrize("pattern", [*REWRITTEN, *LINEAR])
@settings(max_examples=examples(300))
@given(text=st.text(st.sampled_from("aAbxyz019.- \n\r\u2028é("), max_size=24))
def test_the_linear_form_matches_the_same_texts(pattern, text):
    was, now = ({"pattern": each} for each in (pattern, regex_cost(pattern).linear))
    found = [jsonschema_rs.is_valid(schema, text, pattern_options=PATTERNS) for schema in (was, now)]
    assert found[0] == found[1]


@pytest.mark.parametrize(("pattern", "least"), [("a{500}", 500), ("(?:(?:x{50}){50}){3}", 7500), ("(ab|cd){10,}", 40)])
def test_a_repetition_costs_what_it_repeats(pattern, least):
    assert regex_cost(pattern).size >= least


@given(st.text(st.sampled_from("ab()[]{}?*+|\\^$.=!<>:123,-pPdw"), max_size=30))
def test_any_text_has_a_cost(text):
    cost = regex_cost(text)
    assert cost.size > 0
    # Nothing that a backtracking engine would be needed for is ever taken for a plain expression.
    if math.isfinite(cost.per_byte) and "(?=" not in text and "(?!" not in text:
        try:
            jsonschema_rs.validator_for({"pattern": text}, pattern_options=PATTERNS)
        except jsonschema_rs.ValidationError:
            return
        assert not re.search(r"(?<!\\)\((?=\?<[=!]|\?>)", re.sub(r"\\.|\[[^]]*\]", "", text))
