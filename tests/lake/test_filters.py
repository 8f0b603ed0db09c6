import json
import operator
from itertools import count

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budget import examples
from headwater.domain.filter import Comparison, Condition, Operator, ValueType, condition_of, parse_where
from headwater.domain.schema import json_pointer
from headwater.lake.filters import clause

ABSENT = object()
COMPARE = {
    Operator.EQ: operator.eq,
    Operator.GE: operator.ge,
    Operator.LE: operator.le,
    Operator.GT: operator.gt,
    Operator.LT: operator.lt,
}

#: Names that are hard on paths, in JSON pointers and in DuckDB's.
NAMES = st.sampled_from(["a", "b", "", "0", "$", "$.a", "*", "a.b", "a/b", "~", "~1", 'q"', "\\", "[0]", "#", "-", "ü"])
NUMBERS = (
    st.integers(-3, 3)
    | st.sampled_from([2**53, 2**53 + 1, 2**63, 2**64 - 1, 2**64, 2**127, 2**127 + 1, -(2**63) - 1, 10**38, 10**400])
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0.0, -0.0, 1.0, 0.5, 5e-324, 1e22, 2.0**53, 2.0**64])
)
TEXTS = st.sampled_from(["", "a", "b", "1", "-1", "01", "1.0", "true", "false", "null", "ü", "😀", "\uffff", "\0", "'"])
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS | st.text(max_size=4)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)
DOCUMENTS = st.dictionaries(NAMES, VALUES, max_size=4)
#: What a search could stumble over: case, planes, what JSON escapes, and the letters of its escapes.
SIGNS = st.text('aAüÜß日😀"\\/nu0\b\x01\x1b\x7f', max_size=6)


class Database:
    """A DuckDB set up as the engine's is."""

    def __init__(self, folder):
        self.db = duckdb.connect(
            config={"autoinstall_known_extensions": False, "autoload_known_extensions": False, "threads": 2}
        )
        self.db.execute(f"SET allowed_directories = ['{folder}']")
        self.db.execute("SET enable_external_access = false")
        self.db.execute("SET lock_configuration = true")
        self._names = count()

    def found(self, condition, texts):
        """Tell of each text whether it fulfils the condition."""
        told, values = clause(condition)
        documents = pa.table({"place": range(len(texts)), "doc": pa.array(texts, pa.string())})
        name = f"documents{next(self._names)}"
        self.db.register(name, documents)
        try:
            self.db.execute(f"CREATE TEMP TABLE held AS FROM {name}")
            marked = self.db.execute(f"SELECT place, {told} FROM held ORDER BY place", values).fetchall()
            chosen = self.db.execute(f"SELECT place FROM held WHERE {told} ORDER BY place", values).fetchall()
        finally:
            self.db.execute("DROP TABLE IF EXISTS held")
            self.db.unregister(name)
        assert [(place,) for place, holds in marked if holds] == chosen
        return [holds for _, holds in marked]


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    made = Database(tmp_path_factory.mktemp("lake"))
    yield made
    made.db.close()


@pytest.fixture(scope="module")
def holds(database):
    """Tell whether a comparison holds of a document: ``holds(where, value or JSON text)``."""
    return lambda where, document: database.found(condition_of(None, [where]), [text_of(document)])[0]


@pytest.fixture(scope="module")
def finds(database):
    """Tell whether words find a document: ``finds(q, value or JSON text)``."""
    return lambda q, document: database.found(condition_of(q, []), [text_of(document)])[0]


def text_of(document, **options):
    """A document as it was uploaded."""
    return (document if isinstance(document, str) else json.dumps(document, **options)) + "\n"


def resolved(document, pointer):
    """What a JSON pointer names, by RFC 6901."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict):
            document = document.get(name, ABSENT)
        elif isinstance(document, list) and name in map(str, range(len(document))):
            document = document[int(name)]
        else:
            return ABSENT
    return document


def as_double(number):
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def one_holds(one, compare, comparison):
    value, kind = comparison.value, comparison.kind
    if isinstance(one, str):
        has_order = kind in {ValueType.TEXT, ValueType.BOOLEAN} or comparison.operator is Operator.EQ
        return has_order and compare(one, value)
    if isinstance(one, bool):
        return kind is ValueType.BOOLEAN and compare(json.dumps(one), value)
    if isinstance(one, int | float) and kind in {ValueType.INTEGER, ValueType.FRACTION}:
        number = json.loads(value)
        exact = isinstance(one, int) and isinstance(number, int)
        return compare(one, number) if exact else compare(as_double(one), as_double(number))
    return False


def model(document, comparison):
    """Tell whether a comparison holds, in plain Python."""
    if comparison.operator is Operator.NE:
        return not model(document, Comparison(**vars(comparison) | {"operator": Operator.EQ}))
    field = resolved(document, comparison.pointer)
    if comparison.kind is ValueType.NULL:
        return field is None or field is ABSENT
    compare = COMPARE[comparison.operator]
    return any(one_holds(one, compare, comparison) for one in (field if isinstance(field, list) else [field]))


def inside(value, path=()):
    """All that a JSON value holds, with the path to each."""
    yield path, value
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        yield from inside(part, (*path, name))


@st.composite
def comparisons(draw, documents):
    """A comparison that has to do with some of the documents, more likely than not."""
    held = [(path, value) for document in documents for path, value in inside(document) if path]
    paths = [path for path, _ in held]
    scalars = [value for _, value in held if not isinstance(value, dict | list)]
    path = draw((st.sampled_from(paths) if paths else st.nothing()) | st.lists(NAMES, min_size=1, max_size=2))
    value = draw((st.sampled_from(scalars) if scalars else st.nothing()) | SCALARS)
    signs = [Operator.EQ, Operator.NE] if value is None or isinstance(value, bool) else list(Operator)
    return parse_where(f"{json.dumps(json_pointer(path))}{draw(st.sampled_from(signs))}{json.dumps(value)}")


@settings(deadline=None, max_examples=examples(300))
@given(documents=st.lists(DOCUMENTS, min_size=1, max_size=5), data=st.data())
def test_comparisons_hold_as_in_plain_python(database, documents, data):
    asked = data.draw(st.lists(comparisons(documents), min_size=1, max_size=2))
    texts = [text_of(document, ensure_ascii=data.draw(st.booleans())) for document in documents]
    expected = [all(model(document, comparison) for comparison in asked) for document in documents]
    assert database.found(Condition(comparisons=tuple(asked)), texts) == expected


@settings(deadline=None, max_examples=examples(100))
@given(left=NUMBERS, right=NUMBERS)
def test_numbers_compare_as_in_plain_python(holds, left, right):
    for sign, compare in COMPARE.items():
        exact = isinstance(left, int) and isinstance(right, int)
        expected = compare(left, right) if exact else compare(as_double(left), as_double(right))
        assert holds(f"a{sign}{json.dumps(right)}", {"a": left}) == expected


@settings(deadline=None, max_examples=examples(300))
@given(
    documents=st.lists(st.dictionaries(SIGNS, SIGNS, max_size=2), min_size=1, max_size=5),
    words=st.lists(SIGNS.filter(str.split), min_size=1, max_size=2),
    data=st.data(),
)
def test_words_are_found_as_in_plain_python(database, documents, words, data):
    asked = condition_of(" ".join(words), [])
    texts = [text_of(document, ensure_ascii=data.draw(st.booleans())) for document in documents]
    plain = [json.dumps(document, ensure_ascii=False, separators=(",", ":")).lower() for document in documents]
    written = [json.dumps(word, ensure_ascii=False)[1:-1].lower() for word in asked.words]
    assert database.found(asked, texts) == [all(word in text for word in written) for text in plain]


@settings(deadline=None, max_examples=examples(100))
@given(text=SIGNS, ascii_only=st.booleans(), data=st.data())
def test_every_part_of_a_text_is_found(database, text, ascii_only, data):
    start, end = sorted(data.draw(st.integers(0, len(text))) for _ in range(2))
    texts = [text_of(document, ensure_ascii=ascii_only) for document in ({"t": text}, {"t": [{text: 1}]})]
    assert database.found(Condition(words=tuple(text[start:end].split())), texts) == [True, True]


@pytest.mark.parametrize("word", ["weather", "WEATHER", "eathe", "MÜNCHEN", "münchen", "title"])
def test_a_word_is_found_whatever_its_case(finds, word):
    assert finds(word, '{"Title": "Weather in MünChen"}')


def test_all_words_must_occur_in_any_order(finds):
    assert [finds(q, {"a": "red green", "b": "blue"}) for q in ("blue red", "red white")] == [True, False]


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("münchen", r'{"t": "M\u00fcnchen"}'),
        ("münchen", r'{"t": "M\u00DCNCHEN"}'),
        ("😀", r'{"t": "\ud83d\ude00"}'),
        ("weather", r'{"t": "\u0077\u0065ather"}'),
        ("a/b", r'{"t": "a\/b"}'),
        ('"hi"', r'{"t": "say \"hi\""}'),
        ('"hi"', r'{"t": "say \u0022hi\u0022"}'),
        ("c:\\temp", r'{"t": "C:\\Temp"}'),
        ("\\", r'{"t": "\u005c"}'),
        ("\x1b", r'{"t": "\u001B"}'),
        ("\b", r'{"t": "\u0008"}'),
        ("\x7f", '{"t": "\x7f"}'),
        ("ü", r'{"\u00fc": 1}'),
    ],
)
def test_escapes_hide_no_text(finds, word, text):
    assert finds(word, text)


@pytest.mark.parametrize("word", ["u00fc", "00fc", '"t"', "{\\"])
def test_how_a_text_is_written_is_not_found(finds, word):
    assert not finds(word, r'{"t": "M\u00fcnchen"}')


@pytest.mark.parametrize("word", ["%", "_", "w%r", "w_ather", "*", "?", ".*", "[a-z]", "'", "' OR true --", "$w0"])
def test_no_sign_in_a_word_means_anything_but_itself(finds, word):
    assert not finds(word, {"t": "weather"})
    assert finds(word, {"t": f"we{word}ther"})


@pytest.mark.parametrize(
    ("where", "document", "expected"),
    [
        # numbers
        ("rating>=4", {"rating": 4}, True),
        ("rating>=4", {"rating": 3.9}, False),
        ("rating>=4", {"rating": 10}, True),
        ("rating=4", {"rating": 4.0}, True),
        ("rating=4.0", {"rating": 4}, True),
        ("rating=4e0", {"rating": 4}, True),
        ("id=9007199254740993", {"id": 9007199254740992}, False),
        ("id=9007199254740993", {"id": 9007199254740993}, True),
        (f"id>{10**60}", {"id": 10**60 + 1}, True),
        ("a=-0", {"a": 0}, True),
        # texts
        ("zip=12345", {"zip": "12345"}, True),
        ("zip=12345", {"zip": 12345}, True),
        ('zip="12345"', {"zip": "12345"}, True),
        ('zip="12345"', {"zip": 12345}, False),
        ("zip=01234", {"zip": "01234"}, True),
        ("zip=1234", {"zip": "01234"}, False),
        ("price=1.50", {"price": "1.50"}, True),
        ("price=1.5", {"price": "1.50"}, False),
        ("day>=2024-05-01", {"day": "2024-05-01T10:00:00Z"}, True),
        ("day<2024-05-01", {"day": "2024-04-30"}, True),
        ("name=Zoë", r'{"name": "Zo\u00eb"}', True),
        ("name=zoë", {"name": "Zoë"}, False),
        ("name>z", {"name": "ü"}, True),
        ("name>\uffff", {"name": "😀"}, True),
        ('name=""', {"name": ""}, True),
        ('name="a\\u0000b"', {"name": "a\0b"}, True),
        # booleans
        ("active=true", {"active": True}, True),
        ("active=true", {"active": "true"}, True),
        ("active=true", {"active": False}, False),
        ("active=true", {"active": 1}, False),
        ("active!=true", {"active": False}, True),
        ('active="true"', {"active": True}, False),
        ("active=1", {"active": True}, False),
        # null and absence
        ("a=null", {"a": None}, True),
        ("a=null", {}, True),
        ("a=null", {"a": "null"}, False),
        ("a=null", {"a": [None]}, False),
        ("a!=null", {"a": []}, True),
        ("a!=null", {"a": None}, False),
        ("a.b=null", {"a": 1}, True),
        ("a!=4", {}, True),
        ("a!=4", {"a": None}, True),
        ("a<4", {}, False),
        ("a<4", {"a": None}, False),
        ('a="null"', {"a": None}, False),
        # arrays and objects
        ("tags=red", {"tags": ["blue", "red"]}, True),
        ("tags!=red", {"tags": ["blue", "red"]}, False),
        ("tags=red", {"tags": []}, False),
        ("tags!=red", {"tags": []}, True),
        ("prices<5", {"prices": [9, 4]}, True),
        ("flags=true", {"flags": [False, True]}, True),
        ("tags=red", {"tags": [["red"]]}, False),
        ("tags.0=red", {"tags": ["red", "blue"]}, True),
        ("/tags/1=red", {"tags": ["red", "blue"]}, False),
        ("authors.0.name=Zoë", {"authors": [{"name": "Zoë"}]}, True),
        ("a={}", {"a": {}}, False),
        ("a!={}", {"a": {}}, True),
        ("a>0", {"a": {"b": 1}}, False),
        ("a=[1]", {"a": [1]}, False),
    ],
)
def test_a_comparison_holds_or_does_not(holds, where, document, expected):
    assert holds(where, document) is expected


@pytest.mark.parametrize(
    ("field", "path"),
    [
        ("author.country", ["author", "country"]),
        ("/author.country", ["author.country"]),
        ("/a~1b", ["a/b"]),
        ("/a~0b", ["a~b"]),
        ("/~01", ["~1"]),
        ("/", [""]),
        ("//", ["", ""]),
        ("$", ["$"]),
        ("$.x", ["$", "x"]),
        ("/$.x", ["$.x"]),
        ("*", ["*"]),
        ("/a.*", ["a.*"]),
        ("[0]", ["[0]"]),
        ("#-1", ["#-1"]),
        ("0", ["0"]),
        ("01", ["01"]),
        ("-", ["-"]),
        ("a b", ["a b"]),
        ("it's", ["it's"]),
        ('q"q', ['q"q']),
        ("b\\s", ["b\\s"]),
        ('"a=b"', ["a=b"]),
        (r'"a\u0000"', ["a\0"]),
        ("ü", ["ü"]),
        ("'; DROP TABLE held; --", ["'; DROP TABLE held; --"]),
        ("$p0", ["$p0"]),
    ],
)
def test_a_field_of_any_name_is_found(database, field, path):
    document = "here"
    for name in reversed(path):
        document = {name: document}
    texts = [text_of(document), text_of({"x": document}), text_of({})]
    assert database.found(condition_of(None, [f"{field}=here"]), texts) == [True, False, False]


def test_nothing_but_a_place_names_an_element(holds):
    places = ["0", "00", "-", "-1", "*", "#-1", "[0]", "$", "", "99999999999999999999"]
    assert [holds(f'"/a/{place}"=x', {"a": ["x"]}) for place in places] == [True] + [False] * 9


def test_several_comparisons_and_words_all_hold(database):
    asked = condition_of("munich", ["rating>=4", "author.country=de"])
    fitting = {"rating": 5, "author": {"country": "de"}, "t": "Munich"}
    others = [fitting | {"rating": 3}, fitting | {"author": {"country": "fr"}}, fitting | {"t": "Berlin"}]
    assert database.found(asked, list(map(text_of, [fitting, *others]))) == [True, False, False, False]


def test_as_many_parts_as_there_may_be_are_asked_at_once(database):
    names = [f"name{number}" for number in range(16)]
    asked = condition_of(" ".join(names), [f"{name}>=1" for name in names])
    assert database.found(asked, [text_of(dict.fromkeys(names, 1)), text_of(dict.fromkeys(names[1:], 1))]) == [
        True,
        False,
    ]


def test_parts_as_long_as_they_may_be_are_asked(database):
    long = "x" * 998
    asked = condition_of(long, [f"a={long}", "/" * 997 + "!=1"])
    assert database.found(asked, [text_of({"a": long}), text_of({"a": long[1:]})]) == [True, False]


def test_a_condition_without_parts_is_true_of_all(database):
    assert database.found(Condition(), [text_of({}), text_of({"a": 1})]) == [True, True]


@pytest.mark.parametrize(
    "value",
    ["';DROP--", "'OR'1'='1", "$v0", "$w0", "$.x", "%", "_", "\\", '"', "{doc}", "{}", "{0}", "[*]", "?", ")--"],
)
def test_no_value_becomes_part_of_the_query(database, value):
    field = json.dumps(json_pointer([value]))
    asked = condition_of(value, [f"{field}={json.dumps(value)}"])
    assert clause(asked) == (
        clause(condition_of("harmless", ["harmless=harmless"]))[0],
        {
            "w0": json.dumps(value)[1:-1],
            "p0": f"/{value}",
            "v0": value,
            "n0": [value],
            "t0": json.dumps(value),
            "q0_0": json.dumps(value),
        },
    )
    assert database.found(asked, [text_of({value: value}), text_of({"x": "y"})]) == [True, False]


#: Documents that some reader of JSON does not take.
HARD = {
    "half a surrogate pair": r'{"t": "\ud800", "a": "x weather"}',
    "the other half": r'{"t": "\udc00\ud800", "a": "x weather"}',
    "a number out of range": '{"n": 1e400, "a": "x weather \\n"}',
    "a huge integer": '{"a": "x weather \\n", "n": ' + "9" * 4000 + "}",
    "deep arrays": '{"a": "x weather \\n", "n": ' + "[" * 20_000 + "1" + "]" * 20_000 + "}",
    "deep objects": '{"a": "x weather \\n", "n": ' + '{"n": ' * 20_000 + "1" + "}" * 20_000 + "}",
    "NUL": r'{"n\u0000": "\u0000", "a": "x weather"}',
    "a name twice": r'{"a": "x weather", "a": "y \n"}',
    "what is not JSON": "weather \\",
    "nothing": "",
}


@pytest.mark.parametrize("hard", HARD)
def test_no_document_makes_a_query_fail(database, hard):
    texts = [text_of({"a": "x"}), text_of(HARD[hard]), text_of({"n": 4})]
    for where in ("n>=4", "n=4.5", "n=x", "n!=true", "n=null", "a.b.c<=1", "n.n.n=1"):
        assert len(database.found(condition_of("x", [where]), texts)) == 3


@pytest.mark.parametrize("hard", sorted(set(HARD) - {"nothing"}))
def test_words_are_found_in_every_document(database, hard):
    assert database.found(condition_of("WEATHER", []), [text_of({}), text_of(HARD[hard])]) == [False, True]


def test_a_document_that_cannot_be_read_has_no_fields(holds):
    document = HARD["half a surrogate pair"]
    assert [holds(where, document) for where in ("a=null", "a!=1", "a>a")] == [True, True, False]


@pytest.mark.parametrize(
    ("where", "expected"), [("n>=4", True), ("n>1e300", True), ("n<0", False), (f"n={'9' * 400}", False)]
)
def test_a_huge_integer_has_its_place_among_numbers(holds, where, expected):
    assert holds(where, HARD["a huge integer"]) is expected


def test_documents_of_a_parquet_file_are_found(tmp_path):
    texts = [text_of({"rating": n % 6, "t": f"München {n}"}, ensure_ascii=n % 2 > 0) for n in range(5000)]
    texts.append(text_of(HARD["half a surrogate pair"]))
    file = tmp_path / "segment.parquet"
    pq.write_table(pa.table({"pos": range(len(texts)), "doc": texts}), file, row_group_size=1000)
    told, values = clause(condition_of("münchen", ["rating>=4"]), column="v.doc")
    query = f"SELECT pos FROM read_parquet($files) v WHERE {told} AND pos > $after ORDER BY pos"
    found = Database(tmp_path).db.execute(query, values | {"files": [str(file)], "after": 4}).fetchall()
    assert [pos for (pos,) in found] == [n for n in range(5, 5000) if n % 6 >= 4]


@pytest.mark.parametrize(
    ("document", "where", "expected"),
    [
        ('{"a": 1, "a": 2}', "a=2", True),
        ('{"a": 1, "a": 2}', "a=1", False),
        ('{"a": 1, "a": 2}', "a!=1", True),
        ('{"a": 1, "b": 0, "a": null}', "a=null", True),
        ('{"a": null, "a": "x"}', "a=null", False),
        ('{"a": {"b": 1}, "a": {"c": 2}}', "a.b=null", True),
        ('{"a": {"b": 1, "b": [2, 3]}}', "a.b=3", True),
        ('{"a": [0, {"b": 1, "b": 2}]}', "a.1.b=2", True),
        ('{"a": [0, {"b": 1, "b": 2}]}', "a.1.b=1", False),
        (r'{"a": 1, "\u0061": 2}', "a=2", True),
        (r'{"\u0061" : 1, "a": 2}', "a=2", True),
        (r'{"a/b": 1, "a\/b": 2}', "/a~1b=2", True),
        (r'{"q\"": 1, "q\u0022": 2}', r'"q\""=2', True),
        ('{"a": 1, "A": 2, "b": "\\"a\\": 3"}', "a=1", True),
        ('{"b": {"a": 5}, "a": 1, "c": {"a": 6}}', "a=1", True),
    ],
)
def test_of_a_name_that_stands_twice_the_last_counts(holds, document, where, expected):
    assert holds(where, document) is expected


@settings(deadline=None, max_examples=60)
@given(
    members=st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 2) | st.none() | st.just({"a": 1})), max_size=6),
    inner=st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 2)), max_size=4),
    where=st.sampled_from(["a=1", "a!=1", "a=null", "a>0", "b.a=1", "b.0.a=1", "b.0.a!=1", "b.0.b=null"]),
)
def test_what_is_found_is_what_python_reads(holds, members, inner, where):
    def spelled(pairs):
        return "{" + ", ".join(f'"{name}": {json.dumps(value)}' for name, value in pairs) + "}"

    nested = f'"b": [{spelled(inner)}]'
    document = spelled(members)
    document = "{" + nested + (", " + document[1:] if members else "}")
    assert holds(where, document) is model(json.loads(document), parse_where(where))
