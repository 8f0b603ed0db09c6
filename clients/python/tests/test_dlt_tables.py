"""Arrow tables of documents: no text of a document is lost or changed, and a value that does not fit is null."""

import json

import pyarrow as pa
import pytest

from headwater_client.dlt import tables
from headwater_client.dlt.columns import columns_of

COLUMNS = columns_of(
    {
        "properties": {
            "price": {"type": "number"},
            "count": {"type": "integer"},
            "title": {"type": "string"},
            "new": {"type": "boolean"},
        }
    },
    str,
)
DOCUMENTS = [
    '{"price": 1.5, "count": 3, "title": "a", "new": true}',
    '{"price":7,"more":[1,{"a":null}],"title":"ü𝄞 \\\\ \\" quote"}',
    "{}",
]


def exported(documents, columns=COLUMNS):
    batch = pa.RecordBatch.from_pydict(
        {"_id": [f"d{n}" for n in range(len(documents))], "_task": ["t"] * len(documents), "document": documents}
    )
    return list(tables.tables_of_export(batch, columns))


def rows(made):
    return [row for table in made for row in table.to_pylist()]


def line(doc_id, document):
    op = "delete" if document is None else "upsert"
    return f'{{"op":"{op}","id":{json.dumps(doc_id)},"doc":{document or "null"},"task":"t"}}'.encode()


def test_a_document_is_kept_as_it_was_written_and_its_fields_are_columns():
    assert rows(exported(DOCUMENTS)) == [
        {"_id": "d0", "_task": "t", "price": 1.5, "count": 3, "title": "a", "new": True}
        | {"_document": DOCUMENTS[0], "_deleted": False},
        {"_id": "d1", "_task": "t", "price": 7.0, "count": None, "title": 'ü𝄞 \\ " quote', "new": None}
        | {"_document": DOCUMENTS[1], "_deleted": False},
        {"_id": "d2", "_task": "t", "price": None, "count": None, "title": None, "new": None}
        | {"_document": "{}", "_deleted": False},
    ]


def test_without_columns_there_is_the_document_alone():
    assert [row["_document"] for row in rows(exported(DOCUMENTS, columns=[]))] == DOCUMENTS


def test_changes_are_as_the_documents_of_an_export_and_deletions_are_marked():
    changed = list(tables.tables_of_changes([line(f"d{n}", text) for n, text in enumerate(DOCUMENTS)], COLUMNS))
    assert changed[0].schema == exported(DOCUMENTS)[0].schema
    assert rows(changed) == rows(exported(DOCUMENTS))
    changed = rows(tables.tables_of_changes([line("a", None), line("b", "{}")], COLUMNS))
    assert [(row["_id"], row["_document"]) for row in changed] == [("a", None), ("b", "{}")]
    assert [row["_deleted"] for row in changed] == [True, False]
    assert rows(tables.tables_of_changes([], COLUMNS)) == []


def test_one_value_of_another_type_leaves_its_column_null_there_and_nowhere_else():
    found = rows(exported([*DOCUMENTS, '{"price": "free", "count": 1e30, "title": "z"}']))
    assert found[:3] == rows(exported(DOCUMENTS))
    assert (found[3]["price"], found[3]["count"], found[3]["title"]) == (None, None, "z")


def test_the_character_nul_is_replaced_in_ids_names_and_values_and_an_escaped_backslash_is_not():
    texts = ['{"title":"a\\u0000b","o\\u0000":[{"x":"\\u0000"}]}', '{"title":"a\\\\u0000b"}', '{"title": "c"}']
    found = rows(tables.tables_of_changes([line(f"d\0{n}", text) for n, text in enumerate(texts)], COLUMNS))
    assert [row["_id"] for row in found] == ["d\ufffd0", "d\ufffd1", "d\ufffd2"]
    assert [row["title"] for row in found] == ["a\ufffdb", "a\\u0000b", "c"]
    assert json.loads(found[0]["_document"]) == {"title": "a\ufffdb", "o\ufffd": [{"x": "\ufffd"}]}
    assert found[2]["_document"] == texts[2]


@pytest.mark.parametrize("most", [1, 100, 1000])
def test_large_documents_are_divided_into_tables_and_none_is_lost(monkeypatch, most):
    monkeypatch.setattr(tables, "MOST_BYTES", most)
    documents = [json.dumps({"title": f"{n}" * 20}) for n in range(50)]
    made = exported(documents)
    assert [row["_document"] for row in rows(made)] == documents
    assert len(made) > 2
    changed = list(tables.tables_of_changes([line(f"d{n}", text) for n, text in enumerate(documents)], COLUMNS))
    assert rows(changed) == rows(made)


def test_a_batch_without_rows_makes_no_table():
    assert rows(exported([])) == []
