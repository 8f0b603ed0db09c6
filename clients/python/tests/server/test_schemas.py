"""The JSON Schema of a class is that of what is written of it."""

from __future__ import annotations

import decimal
import enum
import json
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pydantic
import pytest
from jsonschema_rs import validator_for
from typing_extensions import TypedDict

from headwater_client.encoding import line_of
from headwater_client.server.schemas import schema_of


class Cover(enum.Enum):
    HARD = "hard"


class Model(pydantic.BaseModel):
    isbn: str = pydantic.Field(serialization_alias="isbn13")
    price: decimal.Decimal
    cover: Cover = Cover.HARD
    seen: datetime

    @pydantic.computed_field
    def title(self) -> str:
        return self.isbn


@dataclass
class Record:
    isbn: str
    price: decimal.Decimal
    seen: datetime
    cover: Cover = Cover.HARD
    fid: uuid.UUID | None = None
    tags: set[str] = field(default_factory=set)


SEEN = datetime(2026, 1, 1, tzinfo=UTC)
PRICE = decimal.Decimal("12.5")


@pytest.mark.parametrize(
    "document",
    [
        Model(isbn="1", price=PRICE, seen=SEEN),
        Record("1", PRICE, SEEN),
        Record("1", PRICE, SEEN, fid=uuid.uuid4(), tags={"a"}),
    ],
)
def test_a_document_as_it_is_written_matches_the_schema_of_its_class(document):
    schema = schema_of(type(document))

    validator_for(schema).validate(json.loads(line_of(document)))
    assert set(schema["properties"]) == set(json.loads(line_of(document)))


def test_whatever_pydantic_describes_will_do():
    class Row(TypedDict):
        isbn: str

    assert schema_of(Row)["properties"] == {"isbn": {"title": "Isbn", "type": "string"}}


@pytest.mark.parametrize("schema", [None, True, False, {"type": "object"}])
def test_a_schema_is_taken_as_it_is(schema):
    assert schema_of(schema) == schema


def test_the_server_does_without_pydantic_until_it_is_asked_for_a_schema():
    program = """
import sys
sys.modules["pydantic"] = None
from dataclasses import dataclass
from headwater_client.server import ExternalCrawler

@dataclass
class Shop:
    name: str

crawler = ExternalCrawler("Shop", params=Shop, schema=Shop)
try:
    crawler.definition("http://127.0.0.1:9000")
except TypeError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "pydantic, which is not installed; install it, or give the schema as a dict" in ran.stdout
