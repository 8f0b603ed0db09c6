"""docs/reference/crawler.md against what the server does."""

import json
import re
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headwater.api.routers.uploads import CONTENT_TYPES
from headwater.domain.document import document_id
from headwater.domain.parameter import Parameter, ParameterType, Restriction
from headwater.ingest.decompression import ENCODINGS
from headwater.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs/reference/crawler.md").read_text()

#: Numbers at which the way to write them changes.
TURNS = [0.0, -0.0, 1.0, 1e15, 1e16, 1e21, 0.1, 1e-4, 1e-5, -1.5e-5, 9.999e-6, 1e-6, 5e-324, sys.float_info.max]

_NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
_VALUES = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(_TEXTS, inner),
    max_leaves=20,
)


def _published() -> dict:
    (snippet,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    names: dict = {}
    exec(compile(snippet, "crawler.md", "exec"), names)  # noqa: S102 - the page's own words
    return names


content_id = _published()["content_id"]


def _server_id(line: str) -> str:
    return document_id(msgspec.json.decode(line), None)


@settings(deadline=None)
@given(st.dictionaries(_TEXTS, _VALUES), st.booleans())
@example({"\U0001f600": 1, "\uffff": 2, "z": {"b": [], "a": None}}, True)
@example({"controls": "".join(map(chr, range(0x80))), "separators": "\u2028\u2029\u00e9"}, False)
@example({"doubles": TURNS, "integers": [0, -1, 2**53 + 1, 2**64, -(2**64), 10**30]}, True)
def test_the_published_content_id_is_the_servers(document, ascii_only):
    line = json.dumps(document, ensure_ascii=ascii_only)
    assert content_id(line) == _server_id(line)


@pytest.mark.parametrize("line", ['{"a": 1, "a": 2}', '{"b": 1E2, "a": -0, "c": "\\u00e9\\/"}', ' { "a" : 1e5 } '])
def test_the_way_a_document_is_written_does_not_matter(line):
    tidy = json.dumps(json.loads(line), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    assert content_id(line) == content_id(tidy) == _server_id(line)


def test_every_type_of_parameter_is_in_the_table():
    table = PAGE.partition("| type | value |")[2]
    assert sorted(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == sorted(map(str, ParameterType))


@pytest.mark.parametrize("kind", [Parameter, Restriction])
def test_every_field_of_a_parameter_is_told_of(kind):
    section = PAGE.partition("## Parameters")[2]
    assert [name for name in kind.__annotations__ if not name.startswith("_") and name not in section] == []


def test_every_content_type_and_encoding_that_is_understood_is_named():
    section = PAGE.partition("## Uploading")[2].partition("\n## ")[0]
    assert [name for name in (*CONTENT_TYPES, *ENCODINGS) if f"`{name}`" not in section] == []


def test_the_pauses_between_tries_are_those_of_the_settings():
    *first, last = (f"{pause:g}" for pause in Settings().notice_backoff)
    assert f"after {', '.join(first)} and {last} seconds" in PAGE
