import pytest

from headwater_client.cli.errors import CliError, ExitCode
from headwater_client.cli.parameters import completed, value_of, values


def _parameter(kind: str, **more) -> dict:
    return {"name": "it", "type": kind, **more}


@pytest.mark.parametrize(
    ("parameter", "text", "value"),
    [
        (_parameter("string"), "7", "7"),
        (_parameter("string"), "", ""),
        (_parameter("integer"), "-7", -7),
        (_parameter("bool"), "yes", True),
        (_parameter("bool"), "FALSE", False),
        (_parameter("list", options=["de", {"value": "en", "label": "English"}]), "en", "en"),
        (_parameter("multi_search", options=["a", "b"]), "a, b", ["a", "b"]),
        (_parameter("multi_bool"), '["x, y"]', ["x, y"]),
        (_parameter("multi_bool"), "", []),
        (_parameter("date"), "2026-01-31", "2026-01-31"),
        (_parameter("date"), "2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
        (_parameter("location", min=2, max=5), "Rome", "Rome"),
        (_parameter("string", regex="^a(?<x>b)"), "abc", "abc"),  # of another dialect: the server's matter
    ],
)
def test_a_text_becomes_a_value_of_the_parameters_type(parameter, text, value):
    assert value_of(parameter, text) == value


@pytest.mark.parametrize(
    ("parameter", "text", "says"),
    [
        (_parameter("integer"), "1.5", "'1.5' is no integer"),
        (_parameter("integer", min=3), "2", "2 is less than 3"),
        (_parameter("integer", max=3), "4", "4 is more than 3"),
        (_parameter("bool"), "maybe", "neither true nor false"),
        (_parameter("list", options=["de", "en"]), "fr", "fr: not one of de, en"),
        (_parameter("multi_search", options=["a", "b"]), "a,c,d", "c, d: not one of a, b"),
        (_parameter("multi_search", options=["a", "b"], max=1), "a,b", "length of 2 is more than 1"),
        (_parameter("multi_bool"), "[1", "is no array"),
        (_parameter("date"), "31.1.2026", "is no date"),
        (_parameter("password", min=8), "short", "its length of 5 is less than 8"),
        (_parameter("string", regex="^a"), "b", r"it does not match \^a"),
    ],
)
def test_a_text_that_is_no_value_is_refused(parameter, text, says):
    with pytest.raises(ValueError, match=says):
        value_of(parameter, text)


PARAMETERS = [
    {"name": "shop", "type": "list", "options": ["north", "south"], "req": True},
    {"name": "pages", "type": "integer", "min": 1, "max": 9, "req": True},
    {"name": "depth", "type": "integer", "req": True, "default": 3},
    {"name": "secret", "type": "password"},
]


def test_all_wrong_words_are_told_together():
    with pytest.raises(CliError) as caught:
        values(PARAMETERS, ["shop=west", "pages", "color=red", "pages=0", "secret=a=b"])
    assert caught.value.lines == (
        "--param shop: west: not one of north, south",
        "--param pages: expected NAME=VALUE",
        "--param color=red: there is no parameter 'color'; there is shop, pages, depth, secret",
        "--param pages: 0 is less than 1",
    )


def test_a_value_may_hold_equal_signs():
    assert values(PARAMETERS, ["secret=a=b"]) == {"secret": "a=b"}


def test_where_nobody_can_be_asked_what_is_missing_is_told():
    with pytest.raises(CliError) as caught:
        completed(PARAMETERS, {})
    assert caught.value.lines == (
        "parameter 'shop' is missing: --param shop=north|south",
        "parameter 'pages' is missing: --param pages=integer from 1 to 9",
    )
    assert caught.value.code == ExitCode.USAGE
    assert completed(PARAMETERS, {"shop": "north", "pages": 2}) == {"shop": "north", "pages": 2}
