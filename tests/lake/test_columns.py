import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.domain.errors import RequestInvalid
from headwater.domain.stream import Seen
from headwater.lake import winners
from headwater.lake.columns import MOST_COLUMNS, NAMES, TEXTS, TYPES, Columns, Kind, csv_lines, typed
from headwater.lake.engine import Engine
from headwater.lake.store import LocalStore
from lake_builders import write

#: Names that are hard on paths, in JSON pointers and in DuckDB's, and on lists of columns.
HARD_NAMES = ["a", "A", "", "0", "-", "#", "$", "$.a", "$.*", "*", "a.b", "a/b", "/", "~", "~1", 'q"', "'", "\\", "[0]"]
HARD_NAMES += ["\0", "a\0", "a\0b", ",", "\n", "\r", " ", "ü", "😀", "NULL", "doc_id", "$pointers"]
FIELDS = st.sampled_from(HARD_NAMES) | st.text(max_size=3)
BIG = st.sampled_from([2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64 - 1, 2**64, 10**400, -(10**400)])
VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | BIG
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.lists(st.integers(), max_size=2)
    | st.dictionaries(FIELDS, st.integers(), max_size=2)
)
DOCUMENTS = st.lists(st.dictionaries(FIELDS, VALUES, max_size=4), min_size=1, max_size=6)
DEEP = "[" * 900 + "]" * 900


class Lake:
    """Documents on disk, in the order of their ids, and what DuckDB says of them."""

    def __init__(self, folder):
        self.store = LocalStore(folder / "lake")
        self.engine = Engine(self.store, memory=500 << 20, spill=folder / "spill", threads=2)
        self.seen = []

    def hold(self, *texts, layer=1):
        """Hold these documents, in another layer than those before."""
        rows = [(f"{place:05}", text + "\n") for place, text in enumerate(texts)]
        self.seen.append(Seen(segment=write(self.store, rows, layer=layer)))
        return self

    def only(self, *texts):
        """Hold nothing but these documents."""
        self.seen = []
        return self.hold(*texts)

    def batches(self, question, *, after=None, bound=None):
        """Return the answer to a question about the documents."""
        return winners.between(self.engine, self.seen, after=after, bound=bound, question=question)

    def columns(self, question=TYPES, *, bounds=()):
        """Return the fields of all documents, asked for in ranges."""
        found = Columns()
        for after, bound in zip([None, *bounds], [*bounds, None], strict=True):
            for batch in self.batches(question, after=after, bound=bound):
                found.add(batch)
        return found

    def kinds(self):
        """Return the kind of each field."""
        found = self.columns()
        return dict(zip(found.names, found.kinds, strict=True))

    def csv(self):
        """Return the lines of CSV, without a header."""
        found = self.columns(NAMES)
        return b"".join(csv_lines(self.engine, found, batch) for batch in self.batches(TEXTS))

    def table(self):
        """Return the typed fields of each document by name."""
        found = self.columns()
        parts = [part for batch in self.batches(TEXTS) for part in typed(self.engine, found, batch)]
        rows = [row for part in parts for row in part.to_pylist()]
        return [{name: row[f"c{place}"] for place, name in enumerate(found.names)} for row in rows]


@pytest.fixture(scope="module")
def lake():
    with tempfile.TemporaryDirectory() as folder:
        made = Lake(Path(folder))
        yield made
        made.engine.close()


def _kind(values):
    kinds = {_kind_of(value) for value in values if value is not None}
    match sorted(kinds):
        case []:
            return Kind.NOTHING
        case [kind]:
            return kind
        case [Kind.INTEGER, Kind.NUMBER]:
            return Kind.NUMBER
        case _:
            return Kind.JSON


def _kind_of(value):
    match value:
        case bool():
            return Kind.BOOLEAN
        case int():
            return Kind.INTEGER if -(2**63) <= value < 2**63 else Kind.NUMBER
        case float():
            return Kind.NUMBER
        case str():
            return Kind.TEXT
        case _:
            return Kind.JSON


def _double(number):
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


@settings(max_examples=60, deadline=None)
@given(documents=DOCUMENTS)
def test_fields_come_in_the_order_in_which_they_first_occur_each_with_its_kind(lake, documents):
    kinds = lake.only(*map(json.dumps, documents)).kinds()
    names = list(dict.fromkeys(name for document in documents for name in document))
    assert list(kinds) == names
    assert kinds == {name: _kind([document.get(name) for document in documents]) for name in names}
    assert lake.columns(NAMES).names == names


@settings(max_examples=60, deadline=None)
@given(documents=DOCUMENTS)
def test_a_typed_field_holds_what_the_document_holds(lake, documents):
    rows = lake.only(*map(json.dumps, documents)).table()
    kinds = lake.kinds()
    assert len(rows) == len(documents)
    for row, document in zip(rows, documents, strict=True):
        for name, kind in kinds.items():
            value = document.get(name)
            match kind:
                case Kind.JSON if value is not None:
                    assert json.loads(row[name]) == value
                case Kind.NUMBER if value is not None:
                    assert row[name] == _double(value)
                case _:
                    assert (row[name], type(row[name])) == (value, type(value))


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
        ([DEEP], Kind.JSON, [DEEP]),
    ],
)
def test_a_field_has_the_narrowest_kind_that_holds_all_of_its_values(lake, values, kind, held):
    lake.only(*(f'{{"a": {value}}}' for value in values))
    assert lake.kinds() == {"a": kind}
    assert [row["a"] for row in lake.table()] == held


def test_only_documents_that_show_have_fields(lake):
    lake.only('{"old": 1}', '{"b": 1}').hold('{"a": 1}', layer=2)
    assert lake.columns().names == ["a", "b"]


@settings(max_examples=60, deadline=None)
@given(documents=DOCUMENTS, bounds=st.sets(st.integers(0, 6)))
def test_range_by_range_the_fields_are_the_same(lake, documents, bounds):
    lake.only(*map(json.dumps, documents))
    whole, parts = lake.columns(), lake.columns(bounds=[f"{place:05}" for place in sorted(bounds)])
    assert (whole.names, whole.kinds) == (parts.names, parts.kinds)


def test_the_last_value_of_a_name_that_stands_twice_counts(lake):
    lake.only('{"a": 1, "b": {"c": 1, "c": 2}, "a": "x", "": 0, "": null}', '{"b": 3, "a": 2}')
    assert lake.columns().names == ["a", "b", ""]
    assert lake.csv() == b'x,"{""c"":1,""c"":2}",\r\n2,3,\r\n'
    assert lake.table() == [{"a": '"x"', "b": '{"c":1,"c":2}', "": None}, {"a": "2", "b": "3", "": None}]


def test_names_that_stand_twice_and_a_text_that_is_no_json_go_together(lake):
    lake.only('{"a": 1, "a": 2, "b": [null]}', "nonsense")
    assert lake.csv() == b"2,[null]\r\n,\r\n"
    assert lake.table() == [{"a": 2, "b": "[null]"}, {"a": None, "b": None}]


def test_a_document_with_many_names_twice_is_read_all_the_same(lake):
    lake.only("{" + ",".join(f'"{n % 1000}": {n}' for n in range(50_000)) + "}")
    assert lake.csv().decode() == ",".join(str(n) for n in range(49_000, 50_000)) + "\r\n"


def test_a_text_that_is_no_json_to_duckdb_has_no_fields_and_makes_no_question_fail(lake):
    lake.only('{"a": 1, "b": 2}', '{"c": nonsense}', '{"a": 3}')
    assert lake.columns().names == ["a", "b"]
    assert lake.csv() == b"1,2\r\n,\r\n3,\r\n"
    assert lake.table() == [{"a": 1, "b": 2}, {"a": None, "b": None}, {"a": 3, "b": None}]


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("null", b""),
        ('""', b'""'),
        ('"a b"', b"a b"),
        ('"a,b"', b'"a,b"'),
        ('"say \\"a\\""', b'"say ""a"""'),
        ('"a\\nb"', b'"a\nb"'),
        ('"a\\rb"', b'"a\rb"'),
        ('"\\u00fc\\ud83d\\ude00\\u0000"', "ü😀\0".encode()),
        ("true", b"true"),
        ("-0.5", b"-0.5"),
        ("1e3", b"1000.0"),
        ("123456789012345678901234567890", b"123456789012345678901234567890"),
        ('"null"', b"null"),
        ("{}", b"{}"),
        ('[1, "a"]', b'"[1,""a""]"'),
        (DEEP, DEEP.encode()),
    ],
)
def test_a_cell_has_quotes_only_where_it_needs_them(lake, value, cell):
    lake.only(f'{{"a": {value}, "b": 1}}', '{"b": 2}')
    assert lake.csv() == cell + b",1\r\n,2\r\n"


def test_of_a_single_column_no_line_is_empty(lake):
    assert lake.only('{"a": 1}', "{}", '{"a": null}').csv() == b'1\r\n""\r\n""\r\n'


@pytest.mark.parametrize("question", [NAMES, TYPES])
def test_as_many_fields_as_a_table_can_have_are_taken_and_no_more(lake, question):
    fields = [json.dumps({f"f{n}": n}) for n in range(MOST_COLUMNS)]
    assert len(lake.only(*fields).columns(question).names) == MOST_COLUMNS
    with pytest.raises(RequestInvalid, match="format=ndjson") as caught:
        lake.only(*fields, '{"one more": 1}').columns(question)
    assert [flaw.pointer for flaw in caught.value.flaws] == ["?format"]


def test_names_that_are_too_long_together_are_refused(lake):
    with pytest.raises(RequestInvalid, match="format=ndjson"):
        lake.only(*(json.dumps({str(n) * 600_000: 1}) for n in range(2))).columns()


def test_two_thousand_columns_can_be_read(lake):
    lake.only(*(json.dumps({f"f{n}": n, f"g{n}": [n]}) for n in range(MOST_COLUMNS // 2)))
    assert lake.table()[500] == {f"{letter}{n}": None for n in range(1000) for letter in "fg"} | {
        "f500": 500,
        "g500": "[500]",
    }
    assert lake.csv().count(b",") == (MOST_COLUMNS - 1) * MOST_COLUMNS // 2
