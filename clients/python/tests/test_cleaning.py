"""Texts for people are repaired, whatever is given as one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from headwater_client.cleaning import DEEPEST, clean_text, cleaned


class Broken:
    """An object that cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


class BrokenMapping(dict):
    """A mapping that cannot be walked through."""

    def items(self):
        raise RuntimeError("no")


@dataclass
class Page:
    """A page."""

    url: str


def _endless() -> list:
    endless: list = []
    endless.append(endless)
    return endless


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("ü 😀", "ü 😀"),
        ("a\0b\ud83d", "a\ufffdb\ufffd"),
        ("\ud83d\ude00", "😀"),
        (ValueError("x\0"), "x\ufffd"),
        (404, "404"),
        (None, "None"),
        (Broken(), "<Broken>"),
    ],
)
def test_a_text_is_made_of_anything(value, text):
    assert clean_text(value) == text


@pytest.mark.parametrize(
    ("value", "clean"),
    [
        ({"a": [1, 2.5, True, None, "x"]}, {"a": [1, 2.5, True, None, "x"]}),
        ({404: "\0", "\ud800": 1, "\0": 2, None: 3}, {"404": "\ufffd", "\ufffd": 1, "\ufffd\ufffd": 2, "None": 3}),
        ([float("nan"), float("inf")], ["nan", "inf"]),
        ((1, {3, 2}), [1, [2, 3]]),
        (Page("\0"), {"url": "\ufffd"}),
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00+00:00"),
        (Decimal("NaN"), "NaN"),
        (b"\xff", "b'\\xff'"),
        (Path("/x"), "/x"),
        ([Broken()], ["<Broken>"]),
        (BrokenMapping(a=1), "{'a': 1}"),
    ],
)
def test_json_is_made_of_anything(value, clean):
    assert cleaned(value) == clean


def test_an_integer_that_python_refuses_to_write_is_described():
    assert cleaned([10**5000]) == ["an integer of 16610 bits"]


def test_what_holds_itself_is_cut():
    text = json.dumps(cleaned(_endless()))
    assert text == "[" * DEEPEST + '"\\u2026"' + "]" * DEEPEST
