import json
from datetime import UTC, datetime

import pytest

from headwater.domain.errors import ParametersInvalid
from headwater.domain.parameter import (
    Option,
    Parameter,
    ParameterType,
    Restriction,
    check_parameters,
    definition_flaws,
    moment,
)

COLOURS = ("red", Option(value="green", label="Grass"))
A_HOSTILE_TEXT = "a" * 5000 + "!"


def a_parameter(kind="string", **fields):
    return Parameter(**({"name": "p", "type": ParameterType(kind)} | fields))


def faults(parameter, value):
    return list(parameter.faults(value))


def refused(parameters, values):
    """What is wrong with values, as (pointer, keyword, detail)."""
    with pytest.raises(ParametersInvalid) as caught:
        check_parameters(parameters, values)
    return [(flaw.pointer, flaw.keyword, flaw.detail) for flaw in caught.value.flaws]


def places(parameters):
    """Where a list of parameters does not hold together."""
    return [flaw.pointer for flaw in definition_flaws(parameters)]


def a_pair(kind, rule, **fields):
    """Parameters ``low``, and ``high`` which must stand to it as the rule says."""
    restriction = Restriction(rule=rule, target="low", **fields)
    return [a_parameter(kind, name="low"), a_parameter(kind, name="high", restrictions=(restriction,))]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("string", ""),
        ("string", "text"),
        ("password", "hunter2"),
        ("location", "Vienna"),
        ("bool", True),
        ("bool", False),
        ("integer", 0),
        ("integer", -5),
        ("integer", 10**30),
        ("date", "2026-01-31"),
        ("date", "2026-01-31T10:00:00Z"),
        ("date", "2026-01-31t10:00:00.123456789z"),
        ("date", "2026-01-31 10:00:00-05:30"),
        ("date", "2024-02-29"),
        ("list", "red"),
        ("list", "green"),
        ("multi_search", []),
        ("multi_search", ["green", "red"]),
        ("multi_bool", ["red"]),
    ],
)
def test_a_value_of_its_type_fits(kind, value):
    assert faults(a_parameter(kind, options=COLOURS), value) == []


@pytest.mark.parametrize(
    ("kind", "value", "fault"),
    [
        ("string", 5, "5 is not a string"),
        ("string", ["a"], '["a"] is not a string'),
        ("location", {"lat": 48.2}, '{"lat": 48.2} is not a string'),
        ("bool", 0, "0 is not a boolean"),
        ("bool", 1, "1 is not a boolean"),
        ("bool", "true", '"true" is not a boolean'),
        ("integer", True, "true is not an integer"),
        ("integer", False, "false is not an integer"),
        ("integer", 1.0, "1.0 is not an integer"),
        ("integer", "1", '"1" is not an integer'),
        ("date", 20260131, "20260131 is not an RFC 3339 date or date-time"),
        ("date", "yesterday", '"yesterday" is not an RFC 3339 date or date-time'),
        ("list", "blue", '"blue" is not one of "red", "green"'),
        ("list", "Grass", '"Grass" is not one of "red", "green"'),
        ("list", ["red"], '["red"] is not a string'),
        ("multi_search", "red", '"red" is not an array of option values'),
        ("multi_search", ["red", 1], '["red", 1] is not an array of option values'),
        ("multi_search", ["red", "blue", "pink"], '"blue", "pink" not among "red", "green"'),
        ("multi_bool", {"red": True}, '{"red": true} is not an array of option values'),
        ("multi_bool", ["blue"], '"blue" not among "red", "green"'),
    ],
)
def test_a_value_that_does_not_fit_is_told_why(kind, value, fault):
    assert faults(a_parameter(kind, options=COLOURS), value) == [fault]


@pytest.mark.parametrize(
    "value",
    [
        "2026-01-31T10:00:00",
        "2026-01-31T10:00Z",
        "2026-01-31T10Z",
        "2026-01-31T",
        "2026-01-31T10:00:00+0200",
        "2026-01-31T10:00:00+02",
        "2026-01-31T10:00:00+24:00",
        "2026-01-31T25:00:00Z",
        "2026-02-30",
        "2025-02-29",
        "2026-13-01",
        "0000-01-01",
        "20260131",
        "2026-W05-6",
        "2026-031",
        "26-01-31",
        "2026-1-31",
        " 2026-01-31",
        "2026-01-31\n",
        "٢٠٢٦-01-31",
        "",
    ],
)
def test_a_date_of_another_form_than_rfc_3339_is_none(value):
    assert faults(a_parameter("date"), value) == [
        f"{json.dumps(value, ensure_ascii=False)} is not an RFC 3339 date or date-time"
    ]


def test_multi_bool_without_options_takes_any_texts():
    assert faults(a_parameter("multi_bool"), ["anything"]) == []


def test_the_misspelt_interger_is_an_integer():
    assert ParameterType("interger") is ParameterType.INTEGER


def test_another_misspelling_is_refused():
    with pytest.raises(ValueError, match="strnig"):
        ParameterType("strnig")


@pytest.mark.parametrize(
    ("kind", "value", "fault"),
    [
        ("integer", 1, "1 is less than 2"),
        ("integer", 2, None),
        ("integer", 3, None),
        ("integer", 4, "4 is more than 3"),
        ("string", "a", "its length of 1 is less than 2"),
        ("string", "äß", None),
        ("location", "Rome", "its length of 4 is more than 3"),
        ("password", "abcd", "its length of 4 is more than 3"),
        ("multi_search", ["red"], "its number of choices, 1, is less than 2"),
        ("multi_search", ["red", "green"], None),
        ("multi_bool", ["red", "green", "red", "green"], "its number of choices, 4, is more than 3"),
    ],
)
def test_min_and_max_bound_a_value_a_length_or_a_number_of_choices(kind, value, fault):
    assert faults(a_parameter(kind, min=2, max=3, options=COLOURS), value) == ([fault] if fault else [])


def test_bounds_may_be_broken_numbers():
    assert faults(a_parameter("integer", min=1.5), 1) == ["1 is less than 1.5"]


def test_a_bound_of_zero_is_a_bound():
    assert faults(a_parameter("integer", min=0), -1) == ["-1 is less than 0"]


@pytest.mark.parametrize(
    ("regex", "value", "fits"),
    [
        ("b+", "abbc", True),
        ("^b+$", "abbc", False),
        ("^b+$", "bb", True),
        (r"^\d{4}$", "2026", True),
        ("^(?!x)", "xy", False),
    ],
)
def test_a_regex_must_match_somewhere(regex, value, fits):
    assert (faults(a_parameter(regex=regex), value) == []) is fits


@pytest.mark.parametrize("regex", ["(a+)+$", "(?=a)(a+)+$", r"(a|aa)+\1$", "^(?:(?=a)a+)+$"])
def test_a_hostile_regex_comes_back(regex):
    assert len(faults(a_parameter(regex=regex), A_HOSTILE_TEXT)) == 1


def test_a_long_value_is_not_quoted_at_length():
    [fault] = faults(a_parameter("integer"), "x" * 100_000)
    assert len(fault) < 600


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        ({}, {"password": "hunter2"}),
        ({"min": 10}, "hunter2"),
        ({"max": 1}, "hunter2"),
        ({"regex": "^x"}, "hunter2"),
        ({"regex": "^x", "min": 10}, "hunter2"),
        ({"restrictions": (Restriction(rule="eq", target="again"),)}, "hunter2"),
    ],
)
def test_a_password_is_never_quoted(fields, value):
    parameters = [a_parameter("password", **fields), a_parameter("password", name="again")]
    with pytest.raises(ParametersInvalid) as caught:
        check_parameters(parameters, {"p": value, "again": "correct horse"})
    said = repr([caught.value.detail, caught.value.flaws])
    assert "hunter2" not in said
    assert "correct horse" not in said


def test_a_default_password_is_never_quoted():
    assert "hunter2" not in repr(list(definition_flaws([a_parameter("password", min=10, default="hunter2")])))


def test_a_required_parameter_must_be_given():
    assert refused([a_parameter(req=True)], {}) == [("/params/p", "req", "a value is required")]


def test_null_counts_as_not_given():
    assert refused([a_parameter(req=True)], {"p": None}) == [("/params/p", "req", "a value is required")]


def test_a_parameter_that_is_not_required_may_be_left_out():
    assert check_parameters([a_parameter()], {}) == {}


def test_a_default_is_filled_in():
    assert check_parameters([a_parameter(default="x"), a_parameter(name="q")], {"q": "y"}) == {"p": "x", "q": "y"}


def test_a_default_is_filled_in_for_null_and_satisfies_a_requirement():
    assert check_parameters([a_parameter(default="x", req=True)], {"p": None}) == {"p": "x"}


@pytest.mark.parametrize("value", [False, 0, ""])
def test_a_value_that_is_empty_is_given(value):
    kind = {bool: "bool", int: "integer", str: "string"}[type(value)]
    default = {bool: True, int: 5, str: "x"}[type(value)]
    assert check_parameters([a_parameter(kind, default=default, req=True)], {"p": value}) == {"p": value}


@pytest.mark.parametrize("default", [False, 0, ""])
def test_a_default_that_is_empty_is_filled_in(default):
    kind = {bool: "bool", int: "integer", str: "string"}[type(default)]
    assert check_parameters([a_parameter(kind, default=default)], {}) == {"p": default}


def test_an_unknown_parameter_is_refused():
    [(pointer, keyword, detail)] = refused([a_parameter(), a_parameter(name="q")], {"P": "x"})
    assert (pointer, keyword) == ("/params/P", "unknown")
    assert '"p", "q"' in detail


def test_a_pointer_escapes_the_name():
    assert refused([], {"a/b~c": 1})[0][0] == "/params/a~1b~0c"


def test_every_failing_parameter_is_told_in_a_fixed_order():
    parameters = [a_parameter("integer", name=name) for name in "dcba"] + [a_parameter(name="e", req=True)]
    values = dict.fromkeys(["z", "a", "y", "b", "x", "c", "d"], "text")
    told = [pointer for pointer, _, _ in refused(parameters, values)]
    assert told == [f"/params/{name}" for name in "zyxdcbae"]


def test_the_error_counts_the_flaws():
    with pytest.raises(ParametersInvalid, match=r"^2 parameters do not fit"):
        check_parameters([], {"a": 1, "b": 2})


def test_the_values_that_were_given_are_not_changed():
    values = {"q": None}
    check_parameters([a_parameter(default="x"), a_parameter(name="q")], values)
    assert values == {"q": None}


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ("gt", [False, False, True]),
        ("gte", [False, True, True]),
        ("lt", [True, False, False]),
        ("lte", [True, True, False]),
        ("eq", [False, True, False]),
    ],
)
@pytest.mark.parametrize(
    ("kind", "low", "highs"),
    [
        ("integer", 10, [9, 10, 11]),
        ("string", "b", ["a", "b", "c"]),
        ("date", "2026-01-02", ["2026-01-01", "2026-01-02", "2026-01-03"]),
        ("date", "2026-01-02", ["2026-01-01T23:59:59Z", "2026-01-02T00:00:00Z", "2026-01-02T00:00:00.000001Z"]),
        ("date", "2026-01-02T00:00:00Z", ["2026-01-02T00:59:59+01:00", "2026-01-02", "2026-01-01T23:00:01-01:00"]),
    ],
)
def test_a_restriction_compares_a_value_below_equal_to_and_above_its_target(rule, holds, kind, low, highs):
    parameters = a_pair(kind, rule)
    assert [_fits(parameters, {"low": low, "high": high}) for high in highs] == holds


def _fits(parameters, values):
    try:
        return check_parameters(parameters, values) == values
    except ParametersInvalid:
        return False


def test_integers_are_compared_as_numbers():
    assert _fits(a_pair("integer", "gt"), {"low": 9, "high": 10})


def test_a_restriction_that_does_not_hold_is_told_in_its_words():
    parameters = a_pair("integer", "gt", message="the end must lie behind the beginning")
    assert refused(parameters, {"low": 2, "high": 1}) == [
        ("/params/high", "gt", "the end must lie behind the beginning")
    ]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("gt", "must be more than low"),
        ("gte", "must be at least low"),
        ("lt", "must be less than low"),
        ("lte", "must be at most low"),
        ("eq", "must be equal to low"),
    ],
)
def test_a_restriction_without_words_is_told_in_ours(rule, words):
    values = {"low": 5, "high": 6 if rule.startswith(("l", "e")) else 4}
    assert refused(a_pair("integer", rule), values) == [("/params/high", rule, words)]


@pytest.mark.parametrize("values", [{}, {"low": 1}, {"high": 1}, {"low": 5, "high": None}])
def test_a_restriction_is_checked_only_when_both_are_given(values):
    given = {name: value for name, value in values.items() if value is not None}
    assert check_parameters(a_pair("integer", "gt"), values) == given


def test_a_restriction_holds_for_defaults_too():
    low, high = a_pair("integer", "gt")
    parameters = [a_parameter("integer", name=low.name, default=10), high]
    assert refused(parameters, {"high": 5}) == [("/params/high", "gt", "must be more than low")]


def test_a_restriction_is_not_checked_against_a_value_that_is_wrong_itself():
    told = refused(a_pair("integer", "gt"), {"low": "10", "high": 1})
    assert [pointer for pointer, _, _ in told] == ["/params/low"]


def test_each_restriction_is_checked():
    restrictions = tuple(Restriction(rule=rule, target="low") for rule in ("gt", "eq", "gte"))
    parameters = [a_parameter("integer", name="low"), a_parameter("integer", name="high", restrictions=restrictions)]
    assert [keyword for _, keyword, _ in refused(parameters, {"low": 2, "high": 1})] == ["gt", "eq", "gte"]


def test_choices_are_the_values_of_the_options():
    assert a_parameter("list", options=COLOURS).choices == ["red", "green"]


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T10:00:00Z", datetime(2026, 1, 31, 10, tzinfo=UTC)),
        ("2026-01-31T10:00:00+02:00", datetime(2026, 1, 31, 8, tzinfo=UTC)),
        ("0001-01-01", datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_date_is_its_first_moment_in_utc_and_a_date_time_its_moment(text, at):
    assert moment(text) == at


def test_moments_at_the_ends_of_time_can_be_compared():
    assert moment("0001-01-01T00:00:00+23:59") < moment("9999-12-31T23:59:59-23:59")


def test_a_sound_definition_has_no_flaws():
    parameters = [
        *a_pair("date", "gte"),
        a_parameter("list", options=COLOURS, default="green"),
        a_parameter("integer", name="n", min=1, max=1, default=1),
        a_parameter(name="s", regex="^(?!x)", default="abc"),
    ]
    assert places(parameters) == []


def test_two_parameters_of_one_name_are_a_flaw_of_the_second():
    assert places([a_parameter(), a_parameter(name="q"), a_parameter()]) == ["/2/name"]


@pytest.mark.parametrize("kind", ["list", "multi_search"])
@pytest.mark.parametrize("options", [None, ()])
def test_a_choice_needs_options(kind, options):
    assert places([a_parameter(kind, options=options)]) == ["/0/options"]


@pytest.mark.parametrize("regex", ["(", "[z-a]", "a{2,1}", "(?P<", "a{1,1000000}"])
def test_a_regex_that_does_not_compile_is_a_flaw(regex):
    assert places([a_parameter(), a_parameter(name="q", regex=regex)]) == ["/1/regex"]


@pytest.mark.parametrize(
    ("kind", "default"), [("integer", "1"), ("string", 1), ("list", "blue"), ("multi_search", ["blue"]), ("date", "x")]
)
def test_a_default_that_does_not_fit_is_a_flaw(kind, default):
    assert places([a_parameter(kind, options=COLOURS, default=default)]) == ["/0/default"]


def test_a_default_must_keep_the_bounds_and_the_regex():
    assert places([a_parameter(min=5, regex="^x", default="abc")]) == ["/0/default", "/0/default"]


def test_a_least_value_above_the_greatest_is_a_flaw():
    assert places([a_parameter("integer", min=2, max=1)]) == ["/0/min"]


def test_a_restriction_needs_a_target_that_is_there():
    restrictions = (Restriction(rule="gt", target="p"), Restriction(rule="gt", target="q"))
    assert places([a_parameter(restrictions=restrictions)]) == ["/0/restrictions/1/target"]


def test_a_restriction_needs_a_target_of_the_same_type():
    restricted = a_parameter("integer", restrictions=(Restriction(rule="gt", target="q"),))
    [flaw] = definition_flaws([restricted, a_parameter("string", name="q")])
    assert (flaw.pointer, flaw.detail) == ("/0/restrictions/0/target", "integer cannot be compared with 'q', a string")


def test_a_target_may_come_later_in_the_list():
    assert places(list(reversed(a_pair("integer", "gt")))) == []
