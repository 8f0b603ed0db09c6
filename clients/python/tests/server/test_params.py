"""What a params class says of an External's parameters, and what it makes of a task's params."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Annotated, ClassVar, Literal, Optional

import pydantic
import pytest
from annotated_types import Ge, Interval, Len

from headwater_client.server import Location, NoParameter, Parameter, Password
from headwater_client.server.params import Params, ParamsUnfit
from server.countries import COUNTRIES, RULE, Country


@dataclass
class Shop:
    shop: str
    max_pages: int = 3
    is_new: bool = False
    since: date | None = None
    until: datetime | None = None
    language: Literal["de", "en"] = "de"
    country: Country = Country.GERMANY
    kinds: list[Literal["book", "map"]] = field(default_factory=lambda: ["book"])
    countries: frozenset[Country] = frozenset({Country.GERMANY, Country.AUSTRIA})
    tags: Sequence[str] = ()
    key: Password = ""
    town: Location | None = None
    #: No fields of the class's own.
    made: int = field(default=0, init=False)
    known: ClassVar[int] = 1


def test_type_hints_become_types_defaults_and_options():
    assert Params(Shop).parameters == [
        {"name": "shop", "display_name": "Shop", "req": True, "type": "string"},
        {"name": "max_pages", "display_name": "Max pages", "type": "integer", "default": 3},
        {"name": "is_new", "display_name": "Is new", "type": "bool", "default": False},
        {"name": "since", "display_name": "Since", "type": "date"},
        {"name": "until", "display_name": "Until", "type": "date"},
        {"name": "language", "display_name": "Language", "type": "list", "options": ["de", "en"], "default": "de"},
        {"name": "country", "display_name": "Country", "type": "list", "options": COUNTRIES, "default": "de"},
        {
            "name": "kinds",
            "display_name": "Kinds",
            "type": "multi_search",
            "options": ["book", "map"],
            "default": ["book"],
        },
        {
            "name": "countries",
            "display_name": "Countries",
            "type": "multi_search",
            "options": COUNTRIES,
            "default": ["at", "de"],
        },
        {"name": "tags", "display_name": "Tags", "type": "multi_bool"},
        {"name": "key", "display_name": "Key", "type": "password"},
        {"name": "town", "display_name": "Town", "type": "location"},
    ]


def test_values_become_what_the_hints_say():
    values = {
        "shop": "x",
        "max_pages": 5,
        "is_new": True,
        "since": "2026-01-31",
        "until": "2026-01-31T12:00:00.5+01:00",
        "language": "en",
        "country": "at",
        "kinds": ["map", "book"],
        "countries": ["fr"],
        "tags": ["a", "b"],
        "key": "s3cret",
        "town": "Ulm",
    }

    assert Params(Shop).read(values) == Shop(
        shop="x",
        max_pages=5,
        is_new=True,
        since=date(2026, 1, 31),
        until=datetime(2026, 1, 31, 12, 0, 0, 500_000, timezone(timedelta(hours=1))),
        language="en",
        country=Country.AUSTRIA,
        kinds=["map", "book"],
        countries=frozenset({Country.fr}),
        tags=["a", "b"],
        key="s3cret",
        town="Ulm",
    )


def test_what_is_not_given_or_null_has_its_default():
    assert Params(Shop).read({"shop": "x", "max_pages": None}) == Shop("x")


def test_an_optional_field_needs_no_default():
    @dataclass
    class Given:
        since: date | None

    assert Params(Given).parameters == [{"name": "since", "display_name": "Since", "type": "date"}]
    assert Params(Given).read({}) == Given(since=None)


Given = None  # the class above is looked up by name when its hints are read


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31t12:00:00.123456789z", datetime(2026, 1, 31, 12, 0, 0, 123456, UTC)),
    ],
)
def test_a_date_is_its_first_moment_where_a_moment_is_asked_for(text, moment):
    assert Params(Shop).read({"shop": "x", "until": text}).until == moment


def test_midnight_is_a_date():
    assert Params(Shop).read({"shop": "x", "since": "2026-01-31T00:00:00+02:00"}).since == date(2026, 1, 31)


def test_what_does_not_fit_is_told_all_at_once():
    values = {
        "max_pages": True,
        "is_new": 1,
        "since": "2026-01-31T12:00:00Z",
        "until": "2026-02-30",
        "language": "fr",
        "country": ["de"],
        "kinds": "book",
        "countries": ["es"],
        "tags": [1],
        "key": 5,
        "page": 1,
    }

    with pytest.raises(ParamsUnfit) as unfit:
        Params(Shop).read(values)

    assert unfit.value.messages == [
        "params/page: is not known here",
        "params/shop: is missing",
        "params/max_pages: is not an integer",
        "params/is_new: is not a boolean",
        "params/since: is not a date, but has a time",
        "params/until: is not a moment: day is out of range for month",
        "params/language: is not one of de, en",
        "params/country: is not one of de, at, fr",
        "params/kinds: is not an array",
        "params/countries: is not one of de, at, fr",
        "params/tags: is not a string",
        "params/key: is not a string",
    ]


def test_what_the_class_itself_refuses_is_told():
    @dataclass
    class Pages:
        first: int = 1
        last: int = 9

        def __post_init__(self):
            if self.last < self.first:
                raise ValueError("the last page is before the first")

    with pytest.raises(ParamsUnfit) as unfit:
        Params(Pages).read({"first": 5, "last": 1})
    assert unfit.value.messages == ["params: the last page is before the first"]


def test_without_a_class_params_are_a_dict_and_nothing_is_said_of_parameters():
    assert Params(None).read({"a": [1]}) == {"a": [1]}
    assert Params(None).parameters is None


@dataclass
class Detailed:
    least: Annotated[int, Parameter(display_name="Least", min=0, max=9)] = 0
    most: int = field(default=9, metadata={"description": "Of pages.", "restrictions": [RULE], "other": "tool"})
    name: Annotated[str, Parameter(regex="^[a-z]+$", min=1), Len(2, 5)] = "ab"
    detail: Annotated[Literal["brief", "full"], Parameter(labels={"full": "All of it"})] = "brief"
    kinds: Annotated[list[Literal["a", "b"]], Len(1, 2)] = field(default_factory=lambda: ["a"])
    some: Annotated[int, Interval(gt=0, lt=10)] = 1
    other: Annotated[int | None, Ge(5)] = None


def test_bounds_patterns_labels_and_words_are_told():
    assert Params(Detailed).parameters == [
        {"name": "least", "display_name": "Least", "type": "integer", "min": 0, "max": 9, "default": 0},
        {
            "name": "most",
            "display_name": "Most",
            "description": "Of pages.",
            "type": "integer",
            "default": 9,
            "restrictions": [RULE],
        },
        {
            "name": "name",
            "display_name": "Name",
            "type": "string",
            "min": 1,
            "max": 5,
            "regex": "^[a-z]+$",
            "default": "ab",
        },
        {
            "name": "detail",
            "display_name": "Detail",
            "type": "list",
            "options": ["brief", {"value": "full", "label": "All of it"}],
            "default": "brief",
        },
        {
            "name": "kinds",
            "display_name": "Kinds",
            "type": "multi_search",
            "min": 1,
            "max": 2,
            "options": ["a", "b"],
            "default": ["a"],
        },
        {"name": "some", "display_name": "Some", "type": "integer", "min": 1, "max": 9, "default": 1},
        {"name": "other", "display_name": "Other", "type": "integer", "min": 5},
    ]


class Number(enum.IntEnum):
    ONE = 1


@pytest.mark.parametrize(
    ("hint", "said"),
    [
        (float, "Odd.price: no parameter of Headwater is float; take an int of a smaller unit, or a str"),
        (dict, "Odd.price: no parameter of Headwater is dict; there are str, int"),
        (Shop, "Odd.price: no parameter of Headwater is Shop; there are str, int"),
        (list, "Odd.price: no parameter of Headwater is list; say of what"),
        (list[int], r"Odd.price: no parameter of Headwater is list\[int\]; several values are texts"),
        (list[str | None], "several values are texts"),
        (tuple[str, str], "is of any length"),
        (Number, "the values of Number are not all texts"),
        (Literal[1, 2], "are not all texts"),
        (Optional[float], "no parameter of Headwater is float"),  # noqa: UP045 - as users of typing write it
        (object, "no parameter of Headwater is object"),
    ],
)
@pytest.mark.parametrize("kind", ["dataclass", "model"])
def test_a_type_that_no_parameter_has_is_refused_with_what_there_is(hint, said, kind):
    members = {"__annotations__": {"price": hint}, "__module__": __name__}
    odd = dataclass(type("Odd", (), members)) if kind == "dataclass" else type("Odd", (pydantic.BaseModel,), members)

    with pytest.raises(NoParameter, match=said):
        Params(odd)


def test_hints_that_cannot_be_read_are_refused_with_a_reason():
    @dataclass
    class Odd:
        price: Unheard  # noqa: F821 - that is the point

    with pytest.raises(NoParameter, match="the type hints of Odd cannot be read: name 'Unheard' is not defined"):
        Params(Odd)


def test_a_password_is_a_str():
    @dataclass
    class Odd:
        key: Annotated[int, Parameter(type="password")]

    with pytest.raises(NoParameter, match="a str can be of type password, and integer cannot"):
        Params(Odd)


def test_the_default_of_a_password_is_told_to_nobody():
    @dataclass
    class Login:
        key: Password = "swordfish"

    assert "swordfish" not in str(Params(Login).parameters)
    assert Params(Login).read({}).key == "swordfish"
