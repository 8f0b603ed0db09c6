import json
from typing import Any

import pyarrow as pa
import pytest

from builders import SANDBOX, an_external
from headwater.ingest.lines import BLOCK
from headwater.ingest.schema_check import MOST_EXAMPLES, Recheck
from headwater.ingest.validation import Checker


def _checker(schema: Any, field: str | None = "id") -> Checker:
    external = an_external(schema=schema, doc_id_field=field)
    return Checker(external.definition, external=external.name, sandbox=SANDBOX)


def _batch(docs: list[dict], *, task: str = "t") -> pa.RecordBatch:
    """Documents as a stream shows them."""
    rows = [(str(doc.get("id")), f"{task}{place}", json.dumps(doc) + "\n") for place, doc in enumerate(docs)]
    return pa.RecordBatch.from_arrays(
        [pa.array(column) for column in zip(*rows, strict=True)], ["doc_id", "task", "doc"]
    )


#: Plain, so that a type decodes; and the same in words that no type has.
PLAIN = {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}, "n": {"type": "integer"}}}
GENERAL = PLAIN | {"minProperties": 1}


@pytest.mark.parametrize("schema", [PLAIN, GENERAL])
def test_documents_that_would_be_refused_are_counted_and_told_of(schema):
    recheck = Recheck(_checker(schema))
    recheck.take(_batch([{"id": "a", "n": 1}, {"id": "b", "n": "1"}]))
    recheck.take(_batch([{"id": "c", "n": 1.5}, {"id": "d"}], task="u"))
    assert (recheck.documents, recheck.failing, recheck.renamed) == (4, 2, 0)
    told = [(each.id, each.task, each.flaw.pointer, each.flaw.keyword) for each in recheck.examples]
    assert told == [("b", "t1", "/n", "type"), ("c", "u0", "/n", "type")]
    assert recheck.examples[0].flaw.schema_pointer == "/properties/n/type"
    assert recheck.examples[0].flaw.detail == '"1" is not of type "integer"'


def test_of_each_document_the_first_fault_is_told_and_of_many_the_first_documents():
    recheck = Recheck(_checker({"properties": {"a": {"type": "string"}, "b": {"type": "string"}}}))
    recheck.take(_batch([{"id": f"{n:03}", "a": 1, "b": 2} for n in range(200)]))
    assert recheck.failing == 200
    assert [each.id for each in recheck.examples] == [f"{n:03}" for n in range(MOST_EXAMPLES)]


def test_those_whose_id_would_be_another_are_counted_apart():
    recheck = Recheck(_checker({"required": ["sku"]}, field="sku"))
    recheck.take(_batch([{"id": "a", "sku": "a"}, {"id": "b", "sku": "x"}, {"id": "c"}]))
    assert (recheck.failing, recheck.renamed) == (1, 1)


def test_no_schema_refuses_nothing_and_false_everything():
    docs = [{"id": "a"}, {"id": "b"}]
    for schema, failing in ((None, 0), (True, 0), (False, 2)):
        recheck = Recheck(_checker(schema))
        recheck.take(_batch(docs))
        assert recheck.failing == failing


def test_rows_of_long_documents_are_taken_in_parts_and_none_is_lost_between():
    long = "x" * (BLOCK // 3)
    docs = [{"id": f"{n:02}", "n": n if n % 4 else str(n), "text": long} for n in range(20)]
    docs[7]["text"] = "y" * (3 * BLOCK)
    whole = _batch([{"id": "before"}, *docs, {"id": "behind"}])
    # As a slice, whose texts do not begin at the beginning of their buffer.
    recheck = Recheck(_checker({"properties": {"n": {"type": "integer"}}}))
    recheck.take(whole.slice(1, 20))
    recheck.take(whole.slice(0, 0))
    assert (recheck.documents, recheck.failing, recheck.renamed) == (20, 5, 0)
    assert [(each.id, each.task) for each in recheck.examples] == [(f"{n:02}", f"t{n + 1}") for n in range(0, 20, 4)]
