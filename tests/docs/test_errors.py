"""docs/reference/errors.md against the errors."""

import json
import re
from pathlib import Path

import pytest

from headwater.api.errors import STATUS, Problem, slug
from headwater.domain import errors
from headwater.domain.errors import HeadwaterError

PAGE = (Path(__file__).parents[2] / "docs/reference/errors.md").read_text()
SECTIONS = {part.partition("\n")[0]: part for part in PAGE.split("\n## ")[1:]}


def _status_of(kind: type[HeadwaterError]) -> int:
    return next(STATUS[ancestor] for ancestor in kind.__mro__ if ancestor in STATUS)


def _raised(kind: type[HeadwaterError]) -> list[type[HeadwaterError]]:
    """The errors of a family that are raised: those of which there are no more special ones."""
    special = [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
    return [raised for child in special for raised in _raised(child)] if special else [kind]


#: Each error's name, with its status and title. What nobody foresaw has no class.
PUBLIC = {slug(kind): (int(_status_of(kind)), kind.title()) for kind in _raised(HeadwaterError)} | {
    "internal": (500, "Headwater failed")
}


def test_every_error_has_a_section_and_every_section_an_error():
    assert sorted(SECTIONS) == sorted(PUBLIC)


def test_sections_stand_in_the_order_of_their_status():
    statuses = [PUBLIC[name][0] for name in SECTIONS]
    assert statuses == sorted(statuses)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_section_says_status_and_title(name):
    status, title = PUBLIC[name]
    assert SECTIONS[name].startswith(f"{name}\n\n**{status}** {title}\n")
    assert "\n**Fix:** " in SECTIONS[name]


@pytest.mark.parametrize("name", PUBLIC)
def test_a_section_shows_an_example_of_the_one_shape(name):
    status, title = PUBLIC[name]
    (example,) = re.findall(r"^```json\n(.*?)^```$", SECTIONS[name], re.DOTALL | re.MULTILINE)
    body = json.loads(example)
    assert (body["type"].rpartition("/")[2], body["title"], body["status"]) == (name, title, status)
    own = {"segment", "task"} if name == "segment-damaged" else set()
    assert set(body) == {member for member, field in Problem.model_fields.items() if field.is_required()} | own | {
        "success"
    }
    Problem.model_validate(body, extra="forbid")


def test_the_table_names_every_member():
    table = PAGE.partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(Problem.model_fields)
