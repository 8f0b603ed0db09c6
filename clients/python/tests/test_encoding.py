"""Documents as lines of JSON."""

from __future__ import annotations

import enum
import json
import math
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import attrs
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_client import encoding
from headwater_client.encoding import line_of
from headwater_client.errors import NotJson

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(_TEXTS, inner),
    max_leaves=20,
)


@dataclass
class Price:
    amount: Decimal
    currency: str = "EUR"


@dataclass
class Book:
    isbn: str
    price: Price
    tags: set[str] = field(default_factory=set)


@attrs.define
class Author:
    name: str
    born: date


class Review(pydantic.BaseModel):
    id: str
    written_at: datetime = pydantic.Field(alias="writtenAt")
    price: Decimal


class Colour(enum.Enum):
    RED = "red"


@pytest.fixture(autouse=True, scope="module", params=["by orjson", "by json alone"])
def how(request):
    """Encode in each of the two ways, which differ in nothing but speed."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "by json alone":
            patch.setattr(encoding, "orjson", None)
        yield


def _read(document: object) -> Any:
    return json.loads(line_of(document))


@given(st.dictionaries(_TEXTS, _VALUES))
def test_what_is_json_comes_back_as_it_was(document):
    line = line_of(document)
    assert line.count(b"\n") == 1
    assert json.loads(line) == document


def test_letters_that_are_not_ascii_stay_readable():
    assert line_of({"title": "Straße"}) == '{"title":"Straße"}\n'.encode()


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (datetime(2026, 3, 1, 12, 30, tzinfo=UTC), "2026-03-01T12:30:00+00:00"),
        (datetime(2026, 3, 1, 12, 30), "2026-03-01T12:30:00"),  # noqa: DTZ001 - whoever has such ones keeps them
        (date(2026, 3, 1), "2026-03-01"),
        (time(12, 30), "12:30:00"),
        (Decimal("12.50"), 12.5),
        (Decimal("1E+2"), 100),
        (Decimal("0.1"), 0.1),
        (Decimal(10**30), 10**30),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Colour.RED, "red"),
        ((1, 2), [1, 2]),
        ({"x"}, ["x"]),
        (OrderedDict(a=1), {"a": 1}),
    ],
)
def test_values_that_crawlers_have_become_json(value, written):
    assert _read({"value": value}) == {"value": written}


def test_dataclasses_are_objects_with_what_is_in_them():
    assert _read(Book("9780", Price(Decimal("8.5")), {"x"})) == {
        "isbn": "9780",
        "price": {"amount": 8.5, "currency": "EUR"},
        "tags": ["x"],
    }


def test_attrs_classes_are_objects():
    assert _read(Author("Homer", date(1, 1, 1))) == {"name": "Homer", "born": "0001-01-01"}


def test_a_pydantic_model_is_written_as_its_schema_says():
    review = Review(id="a", writtenAt=datetime(2026, 3, 1, tzinfo=UTC), price=Decimal("1.50"))
    assert _read(review) == {"id": "a", "writtenAt": "2026-03-01T00:00:00Z", "price": "1.50"}
    schema = Review.model_json_schema(mode="serialization")
    assert sorted(_read(review)) == sorted(schema["properties"])


@pytest.mark.parametrize(
    ("document", "pointer", "said"),
    [
        ({"price": math.nan}, "/price", "nan is no number in JSON"),
        ({"a": [1, {"b/c": math.inf}]}, "/a/1/b~1c", "inf is no number"),
        ({"a": {2: {"x": object}}}, "/a/2/x", "cannot be JSON"),
        ({"a": b"x"}, "/a", "b'x' (bytes) cannot be JSON"),
        ({"a": timedelta(1)}, "/a", "cannot be JSON"),
        ({"a": Decimal("NaN")}, "/a", "no number that survives JSON"),
        ({"a": Decimal("0.1234567890123456789")}, "/a", "make it a text, or round it"),
        ({"a": ["\ud800"]}, "/a/0", "half of a surrogate pair"),
        ({"\ud800": 1}, "/\ud800", "half of a surrogate pair"),
        ({"a": {(1, 2): 3}}, "/a/(1, 2)", "a name is a text"),
        (Book("9780", Price(Decimal("NaN"))), "/price/amount", "no number"),
        (["a"], "", "a document is an object"),
        ("a", "", "a document is an object"),
        (None, "", "a document is an object"),
        (Book, "", "cannot be JSON"),
    ],
)
def test_what_cannot_be_json_is_told_with_its_place(document, pointer, said):
    with pytest.raises(NotJson) as raised:
        line_of(document)
    assert raised.value.pointer == pointer
    assert said in raised.value.detail


def test_a_document_that_holds_itself_is_refused():
    document: dict[str, Any] = {"a": []}
    document["a"].append(document)
    with pytest.raises(NotJson) as raised:
        line_of(document)
    assert (raised.value.pointer, raised.value.detail) == ("/a/0", "it holds itself")


def test_what_holds_the_same_thing_twice_is_no_circle():
    shared = {"x": 1}
    assert _read({"a": shared, "b": [shared, shared]}) == {"a": shared, "b": [shared, shared]}


class Tagged(pydantic.BaseModel):
    tags: set[str]
    deep: dict[str, list[frozenset[int]]] = {}
    anything: Any = None


LETTERS = [f"tag {number:02}" for number in range(40)]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (set(LETTERS), LETTERS),
        (frozenset({10, 9, 1.5, Decimal(2)}), [1.5, 2, 9, 10]),
        ({date(2026, 2, 1), date(2026, 1, 1)}, ["2026-01-01", "2026-02-01"]),
        ({True, False}, [False, True]),
        ({1, "a", None, (2, "b")}, ["a", 1, [2, "b"], None]),
        ({frozenset({3}), frozenset({1, 2}), frozenset({2})}, [[1, 2], [2], [3]]),
        ({datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC)}, None),  # noqa: DTZ001
        (dict.fromkeys(["b", "a"]).keys(), ["b", "a"]),
    ],
)
def test_sets_are_sorted_where_they_can_be(value, written):
    found = _read({"set": value})["set"]
    assert found == (sorted(found) if written is None else written)


def test_sets_within_models_are_sorted_too():
    model = Tagged(tags=set(LETTERS), deep={"a": [frozenset({100, 20, 3})]}, anything={"x": {"b", "a", "c"}})
    assert _read(model) == {"tags": LETTERS, "deep": {"a": [[3, 20, 100]]}, "anything": {"x": ["a", "b", "c"]}}
    assert _read({"in": [model]})["in"][0]["tags"] == LETTERS
    assert _read(Book("1", Price(Decimal(1)), set(LETTERS)))["tags"] == LETTERS
