"""A pydantic model as the params class."""

from __future__ import annotations

from datetime import date

import pydantic
import pytest

from headwater_client.server.params import Params, ParamsUnfit
from server.countries import COUNTRIES, RULE, Country


class Model(pydantic.BaseModel):
    shop: str = pydantic.Field(description="Its name.", min_length=2, max_length=9, pattern="^[a-z]+$")
    pages: int = pydantic.Field(3, title="Pages to read", ge=1, lt=51, alias="maxPages")
    since: date | None
    key: pydantic.SecretStr = pydantic.SecretStr("none")
    kinds: set[Country] = {Country.GERMANY}
    url: pydantic.HttpUrl | None = None
    count: pydantic.PositiveInt = pydantic.Field(1, json_schema_extra={"restrictions": [RULE]})
    today: date = pydantic.Field(default_factory=date.today)


def test_a_pydantic_model_says_the_same_in_its_own_words():
    assert Params(Model).parameters == [
        {
            "name": "shop",
            "display_name": "Shop",
            "description": "Its name.",
            "req": True,
            "type": "string",
            "min": 2,
            "max": 9,
            "regex": "^[a-z]+$",
        },
        {
            "name": "maxPages",
            "display_name": "Pages to read",
            "type": "integer",
            "min": 1,
            "max": 50,
            "default": 3,
        },
        {"name": "since", "display_name": "Since", "type": "date"},
        {"name": "key", "display_name": "Key", "type": "password"},
        {"name": "kinds", "display_name": "Kinds", "type": "multi_search", "options": COUNTRIES, "default": ["de"]},
        {"name": "url", "display_name": "Url", "type": "string"},
        {"name": "count", "display_name": "Count", "type": "integer", "min": 1, "default": 1, "restrictions": [RULE]},
        {"name": "today", "display_name": "Today", "type": "date"},
    ]


def test_a_pydantic_model_reads_values_in_its_own_way():
    read = Params(Model).read({"shop": "ab", "maxPages": 5, "since": None, "key": "s", "kinds": ["at"]})

    assert (read.pages, read.since, read.kinds) == (5, None, {Country.AUSTRIA})
    assert read.key.get_secret_value() == "s"


def test_a_strict_model_takes_dates_as_json_has_them():
    class Strict(pydantic.BaseModel, strict=True):
        since: date

    assert Params(Strict).read({"since": "2026-01-31"}).since == date(2026, 1, 31)


def test_what_a_pydantic_model_refuses_is_told_without_the_values():
    with pytest.raises(ParamsUnfit) as unfit:
        Params(Model).read({"shop": "a", "maxPages": 51})

    assert unfit.value.messages == [
        "params/shop: String should have at least 2 characters",
        "params/maxPages: Input should be less than 51",
    ]
