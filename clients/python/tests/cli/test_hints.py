import json

import pytest

from headwater_client.cli.push.files import File


def _hint(tmp_path, text: str, name: str = "books.json") -> str:
    path = tmp_path / name
    path.write_text(text)
    file = File.named(str(path), None, None)
    list(file.documents())
    return file.hint


@pytest.mark.parametrize("name", ["books.json", "books.ndjson"])
def test_a_wrapper_of_documents_is_told(tmp_path, name):
    hint = _hint(tmp_path, json.dumps({"data": [{"id": 1}, {"id": 2}], "next": None}), name)
    assert hint == (
        f"{name} is one document, whose 'data' holds 2 objects; if those are the documents: "
        f"jq -c '.data[]' {name} | headwater push CRAWLER -"
    )


def test_a_name_is_written_as_jq_has_it(tmp_path):
    assert """jq -c '.["a b"][]'""" in _hint(tmp_path, json.dumps({"a b": [{}]}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"data": []}',
        '{"data": [1]}',
        '{"data": [{}]}\n{"data": [{}]}',
        '{"a": [{}], "b": [{}]}',
        '[{"a": 1}]',
        '{"a": 1' + "0" * 5000 + ', "data": [{}]}',
    ],
)
def test_nothing_is_told_of_other_files(tmp_path, text):
    assert _hint(tmp_path, text) == ""
