import json
import tempfile
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings

from budget import examples
from headwater.lake.shapes import DEEPEST, MOST_FIELDS, Kind
from headwater.lake.tables import chosen, named_apart, type_of
from headwater.lake.tabular import MOST_COLUMNS
from table_builders import DEEP, DOCUMENTS, Lake


@pytest.fixture(scope="module")
def lake():
    with tempfile.TemporaryDirectory() as folder:
        made = Lake(Path(folder))
        yield made
        made.engine.close()


def _double(number):
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


@settings(max_examples=examples(60), deadline=None)
@given(documents=DOCUMENTS)
def test_a_typed_field_holds_what_the_document_holds(lake, documents):
    rows = lake.only(*map(json.dumps, documents)).table()
    shapes = lake.fields().shapes
    assert list(shapes) == list(dict.fromkeys(name for document in documents for name in document))
    assert len(rows) == len(documents)
    for row, document in zip(rows, documents, strict=True):
        assert all(_is_held(shape, document.get(name), row[name]) for name, shape in shapes.items())


def _is_held(shape, value, found):
    """Whether a column of that shape holds a value as it should."""
    match shape.kind:
        case _ if value is None:
            is_held = found is None
        case Kind.JSON:
            is_held = json.loads(found) == value
        case Kind.NUMBER:
            is_held = found == _double(value)
        case Kind.LIST:
            is_held = len(found) == len(value) and all(map(_is_held, [shape.item] * len(value), value, found))
        case Kind.OBJECT if shape.fields:
            names = named_apart(shape.fields)
            is_held = list(found) == names and all(
                _is_held(field, value.get(name), found[column])
                for column, (name, field) in zip(names, shape.fields.items(), strict=True)
            )
        case Kind.OBJECT:
            is_held = found == "{}"
        case _:
            is_held = (found, type(found)) == (value, type(value))
    return is_held


@pytest.mark.parametrize(
    ("values", "kind", "held"),
    [
        (["1", "-2", "null"], Kind.INTEGER, [1, -2, None]),
        (["9223372036854775807", "-9223372036854775808"], Kind.INTEGER, [2**63 - 1, -(2**63)]),
        (["1", "9223372036854775808"], Kind.NUMBER, [1.0, 2.0**63]),
        (["1", "2.5", "1e2"], Kind.NUMBER, [1.0, 2.5, 100.0]),
        (["1" + "0" * 400, "-1" + "0" * 400], Kind.NUMBER, [float("inf"), float("-inf")]),
        (["true", "null", "false"], Kind.BOOLEAN, [True, None, False]),
        (['"1"', '"null"', '""', "null"], Kind.TEXT, ["1", "null", "", None]),
        (["null", "null"], Kind.NOTHING, [None, None]),
        (["[1, 2.50]", '{"b" : null}'], Kind.JSON, ["[1,2.5]", '{"b":null}']),
        (["1", '"1"', '"null"', "null", "true"], Kind.JSON, ["1", '"1"', '"null"', None, "true"]),
        (["12345678901234567890123", '""'], Kind.JSON, ["12345678901234567890123", '""']),
        (["[1, 2]", "[]", "[null, 2.5]", "null"], Kind.LIST, [[1.0, 2.0], [], [None, 2.5], None]),
        (["[]", "[null]"], Kind.LIST, [[], [None]]),
        (['[1, "a"]'], Kind.LIST, [["1", '"a"']]),
        (['{"b": 1}', '{"c": [{"d": true}]}'], Kind.OBJECT, [{"b": 1, "c": None}, {"b": None, "c": [{"d": True}]}]),
        (["{}", "{}"], Kind.OBJECT, ["{}", "{}"]),
        (["{}", '{"b": 1}'], Kind.OBJECT, [{"b": None}, {"b": 1}]),
        (['{"b": 1, "B": 2, "": 3, "b": 4}'], Kind.OBJECT, [{"b": 4, "B_": 2, "_": 3}]),
        (['{"b": 1.5}', '{"b": "x"}'], Kind.OBJECT, [{"b": "1.5"}, {"b": '"x"'}]),
        (['"2026-02-28"', '"1999-12-31"'], Kind.DATE, [date(2026, 2, 28), date(1999, 12, 31)]),
        (['"2026-02-30"', '"2026-02-28"'], Kind.TEXT, ["2026-02-30", "2026-02-28"]),
        (['"2026-02-28"', '"x"'], Kind.TEXT, ["2026-02-28", "x"]),
        (['"2026-02-28"', "1"], Kind.JSON, ['"2026-02-28"', "1"]),
        (['"2026-02-28"', '"2026-02-28T10:00:00Z"'], Kind.TEXT, ["2026-02-28", "2026-02-28T10:00:00Z"]),
        (
            ['"2026-02-28T10:00:00.5+02:00"', '"2026-02-28 10:00:00z"'],
            Kind.MOMENT,
            [datetime(2026, 2, 28, 8, 0, 0, 500_000, UTC), datetime(2026, 2, 28, 10, tzinfo=UTC)],
        ),
        (['"2026-02-28T10:00"'], Kind.LOCAL, [datetime(2026, 2, 28, 10)]),  # noqa: DTZ001 - it has none
        (
            ['"2026-02-28T10:00:00"', '"2026-02-28T10:00:00Z"'],
            Kind.TEXT,
            ["2026-02-28T10:00:00", "2026-02-28T10:00:00Z"],
        ),
        (['"2026-02-28T10:00:00.1234567Z"'], Kind.TEXT, ["2026-02-28T10:00:00.1234567Z"]),
        (['"0001-01-01T00:00:00+02:00"'], Kind.TEXT, ["0001-01-01T00:00:00+02:00"]),
        (['"20260228"', '"2026-W09-6"', '"2026-02"'], Kind.TEXT, ["20260228", "2026-W09-6", "2026-02"]),
        (['["2026-02-28"]', '["x"]'], Kind.LIST, [["2026-02-28"], ["x"]]),
        (["1e400"], Kind.NUMBER, [float("inf")]),
    ],
)
def test_a_field_has_the_narrowest_kind_that_holds_all_of_its_values(lake, values, kind, held):
    lake.only(*(f'{{"a": {value}}}' for value in values))
    assert lake.kinds() == {"a": kind}
    assert [row["a"] for row in lake.table()] == held


def test_values_that_lie_deeper_than_tables_go_are_json(lake):
    lake.only(f'{{"a": {DEEP}}}')
    (row,) = lake.table()
    found = row["a"]
    for _ in range(DEEPEST):
        (found,) = found
    assert found == DEEP[DEEPEST : len(DEEP) - DEEPEST]


def test_an_object_with_many_names_is_json(lake):
    record = {f"f{n}": n for n in range(MOST_FIELDS)}
    assert lake.only(json.dumps({"a": record})).kinds() == {"a": Kind.OBJECT}
    assert lake.only(json.dumps({"a": record | {"more": 1}})).kinds() == {"a": Kind.JSON}
    lake.only(*(json.dumps({"a": {f"f{n}": n}}) for n in range(MOST_FIELDS + 1)))
    assert lake.kinds() == {"a": Kind.JSON}
    assert lake.table()[3] == {"a": '{"f3":3}'}


def test_nested_values_are_json_where_they_would_be_too_many_columns(lake):
    nested = {f"f{n}": n for n in range(MOST_FIELDS)}
    lake.only(json.dumps({f"a{n}": nested for n in range(MOST_COLUMNS // MOST_FIELDS)}))
    assert set(lake.kinds().values()) == {Kind.OBJECT}
    lake.only(json.dumps({f"a{n}": nested for n in range(MOST_COLUMNS // MOST_FIELDS)} | {"n": 1}))
    assert set(lake.kinds().values()) == {Kind.JSON, Kind.INTEGER}


def test_fields_that_are_chosen_are_looked_at_alone(lake):
    lake.only('{"a": 1, "b": "x"}', '{"a": 2.5, "c": 1}')
    assert {name: shape.kind for name, shape in lake.fields("missing", "a").shapes.items()} == {
        "missing": Kind.NOTHING,
        "a": Kind.NUMBER,
    }


def test_types_are_those_of_arrow(lake):
    lake.only('{"a": [{"b": "2026-02-28", "c": 1}], "d": "2026-02-28T10:00:00Z", "e": {"f": [true]}}')
    assert [type_of(shape) for shape in lake.fields().shapes.values()] == [
        pa.list_(pa.struct([("b", pa.date32()), ("c", pa.int64())])),
        pa.timestamp("us", tz="UTC"),
        pa.struct([("f", pa.list_(pa.bool_()))]),
    ]


def test_a_document_of_chosen_fields_keeps_their_values_as_they_are():
    texts = ['{"a" : 1.50, "b": [1,  2], "c": "\\u00e4"}', '{"c": 1e400, "a": null, "a": 7}', "nonsense", "{}"]
    batch = pa.RecordBatch.from_pydict({"doc_id": ["1"] * 4, "task": ["t"] * 4, "doc": texts})
    assert chosen(batch, ["c", "a", "missing"]).to_pydict() == {
        "doc_id": ["1"] * 4,
        "task": ["t"] * 4,
        "doc": ['{"c":"\\u00e4","a":1.50}', '{"c":1e400,"a":7}', "{}", "{}"],
    }
