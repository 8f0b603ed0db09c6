"""No schema and no document makes the process wait or grow; each attack is tried beside a thread that must go on."""

import json
import resource
import threading
import time

import pytest

from headwater.domain.errors import MOST_FLAWS, SchemaInvalid
from headwater.domain.external import Definition
from headwater.ingest.lines import LineCutter
from headwater.ingest.validation import Checker, LineErrors
from headwater.sandbox.pool import Sandbox

DRAFT_7 = "http://json-schema.org/draft-07/schema#"
N = {"properties": {"n": {"$ref": "#"}}}
UNION = {
    "properties": {"n": {"$ref": "#/$defs/n"}},
    "$defs": {
        "n": {
            "anyOf": [
                {"type": "null"},
                {"properties": {"n": {"$ref": "#/$defs/n"}, "v": {"type": "string"}}, "required": ["n"]},
                {
                    "type": "object",
                    "properties": {"v": {"type": "string"}},
                    "additionalProperties": {"$ref": "#/$defs/n"},
                },
            ]
        }
    },
}


def nested(levels, inner):
    for _ in range(levels):
        inner = {"n": inner}
    return inner


def doubling(levels, double):
    shelves = {"a0": {"type": "string"}}
    for level in range(1, levels + 1):
        shelves[f"a{level}"] = double({"$ref": f"#/$defs/a{level - 1}"})
    return {"properties": {"x": {"$ref": f"#/$defs/a{levels}"}}, "$defs": shelves}


def about_x(**said):
    return {"properties": {"x": said}}


def items_of_x(**said):
    return about_x(items=said)


def branches(keyword):
    return {keyword: [{**N, "required": ["a"]}, {**N, "required": ["b"]}]}


#: By name: the schema, and a document that does not match it, or costs too much to tell; made where it is used, since
#: some are large.
ATTACKS = {
    "a union that contains itself, 14 levels": lambda: (UNION, nested(14, {"v": 1})),
    "a union that contains itself, 100 levels": lambda: (UNION, nested(100, {"v": 1})),
    "names": lambda: ({"propertyNames": {"pattern": "^[a-z]{2}$"}}, {f"N{number}": 1 for number in range(4000)}),
    "faults": lambda: (items_of_x(type="string"), {"x": [1] * 23_000}),
    "look-ahead": lambda: (about_x(pattern=r"(?=.*\d)(?=.*[a-z])(?=.*[A-Z]).{8,}"), {"x": "a" * 40_000}),
    "long look-ahead": lambda: (about_x(pattern=r"(?=.*\d)(?=.*[a-z])(?=.*[A-Z]).{8,}"), {"x": "a" * 15_000_000}),
    "look-ahead that is not linear": lambda: (about_x(pattern=r"(?!.*a.*b)x.*\d(?=.*z.*z)"), {"x": "x1" * 200_000}),
    "back reference": lambda: (about_x(pattern=r"(a*)*\1b"), {"x": "a" * 100_000}),
    "patternProperties": lambda: (
        {"patternProperties": {r"(?=.*\d)(?=.*[A-Z])x.*y": True}, "additionalProperties": False},
        {"x" * 40_000: 1},
    ),
    "doubling anyOf": lambda: (doubling(34, lambda part: {"anyOf": [part, part]}), {"x": 1}),
    "doubling oneOf": lambda: (doubling(34, lambda part: {"oneOf": [part, part]}), {"x": 1}),
    "doubling allOf": lambda: (doubling(34, lambda part: {"allOf": [part, part]}), {"x": "a"}),
    "doubling if": lambda: (doubling(34, lambda part: {"if": part, "then": part, "else": part}), {"x": 1}),
    "doubling not": lambda: (doubling(34, lambda part: {"not": {"anyOf": [part, part]}}), {"x": 1}),
    "doubling dependentSchemas": lambda: (
        doubling(34, lambda part: {"dependentSchemas": {"a": part, "b": part}}),
        {"x": {"a": 1, "b": 1}},
    ),
    "$dynamicRef": lambda: (
        {
            "$dynamicAnchor": "n",
            "anyOf": [
                {"properties": {"n": {"$dynamicRef": "#n"}}, "required": ["a"]},
                {"properties": {"n": {"$dynamicRef": "#n"}}, "required": ["b"]},
            ],
        },
        nested(100, {}),
    ),
    "oneOf that contains itself": lambda: (branches("oneOf"), nested(100, {})),
    "unevaluatedProperties": lambda: ({"unevaluatedProperties": False, "allOf": [N, N]}, nested(60, {"v": 1})),
    "enum": lambda: (items_of_x(enum=[{"a": number} for number in range(20_000)]), {"x": [{"a": -1}] * 20_000}),
    "uniqueItems": lambda: (
        about_x(uniqueItems=True),
        {"x": [[number % 7, {"a": number}] for number in range(200_000)] * 2},
    ),
    "email": lambda: ({"$schema": DRAFT_7, **items_of_x(format="email")}, {"x": ["a." * 100 + "@"] * 5000}),
    "regex": lambda: ({"$schema": DRAFT_7, **about_x(format="regex")}, {"x": "(\\w{1000}){1000}" + "(" * 100_000}),
    "many bounds": lambda: (items_of_x(allOf=[{"maximum": most} for most in range(4000)]), {"x": [9999] * 500_000}),
    "multipleOf": lambda: (items_of_x(multipleOf=1e-300), {"x": [1.5e300] * 100_000}),
    "contains": lambda: (about_x(contains={"contains": {"contains": {"const": 1}}}), {"x": [[[0] * 100] * 100] * 100}),
    "many small lists": lambda: (items_of_x(type="string"), {"x": [[]] * 3_000_000}),
    "not": lambda: ({"not": {"properties": {"n": {"not": N}}}}, nested(100, {})),
}


class Heartbeat:
    """A thread that counts how often it came to its turn, beside what is measured."""

    def __enter__(self):
        self._beats, self._is_over = 0, threading.Event()
        self._thread = threading.Thread(target=self._beat)
        self._thread.start()
        self._begun = time.process_time()
        return self

    def _beat(self):
        while not self._is_over.wait(0.01):
            self._beats += 1

    def __exit__(self, *_):
        #: Seconds of processor time of this process, that of the sandbox left out.
        self.seconds = time.process_time() - self._begun
        #: Whether others came to their turn, if there was time for it.
        self.went_on = self._beats > 0 or self.seconds < 0.1
        self._is_over.set()
        self._thread.join()


@pytest.fixture(scope="module")
def sandbox():
    made = Sandbox(seconds=0.4)
    yield made
    made.close()


def a_checker(schema, sandbox):
    definition = Definition(headers={}, parameters=(), schema=schema, doc_id_field="id")
    return Checker(definition, external="Reviews", sandbox=sandbox)


def check(checker, body, faults=None):
    """The ids of a body's documents, and what is wrong with them."""
    faults = LineErrors() if faults is None else faults
    cutter, ids = LineCutter(longest=1 << 30), []
    for block in [*cutter.feed(body), *cutter.finish()]:
        ids += checker.ids(block, faults).to_pylist()
    return ids, faults


def grown(before):
    """Bytes of memory by which this process was ever larger than it was."""
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_costs_this_process_next_to_nothing(name, sandbox):
    schema, document = ATTACKS[name]()
    bad = json.dumps({"id": "bad", **document}).encode() + b"\n"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Heartbeat() as others:
        checker = a_checker(schema, sandbox)
        ids, faults = check(checker, b'{"id":"good","x":null}\n' + bad)
    assert ids[1] is None
    assert len(faults.flaws) >= 1
    assert len(faults.flaws) <= MOST_FLAWS
    assert faults.flaws[-1].doc_id == "bad"
    assert others.seconds < 3
    assert others.went_on
    assert grown(before) < (300 << 20) + 10 * len(bad)


def test_what_cannot_be_explained_in_time_is_still_told_where_it_fails_first(sandbox):
    schema, document = ATTACKS["a union that contains itself, 100 levels"]()
    _, faults = check(a_checker(schema, sandbox), json.dumps({"id": "a", **document}).encode() + b"\n")
    [flaw] = faults.flaws
    assert (flaw.pointer, flaw.keyword, flaw.doc_id) == ("/n", "anyOf", "a")
    assert faults.truncated


def test_documents_before_and_after_one_that_costs_too_much_are_judged_as_ever(sandbox):
    checker = a_checker({**doubling(34, lambda part: {"anyOf": [part, part]}), "required": ["ok"]}, sandbox)
    good, costly, bad = b'{"id":"a","ok":1}\n', b'{"id":"b","ok":1,"x":1}\n', b'{"id":"c"}\n'
    ids, faults = check(checker, good + bad + costly + good + bad)
    assert ids == ["a", None, None, "a", None]
    assert (faults.invalid, faults.costly) == (3, 1)
    assert "costs too much" in next(flaw.detail for flaw in faults.flaws if flaw.doc_id == "b")
    assert "1 of them could not be checked" in faults.error(external="Reviews").detail


def test_an_upload_of_nothing_but_costly_documents_ends_within_its_budget(sandbox):
    checker = a_checker(doubling(34, lambda part: {"anyOf": [part, part]}), sandbox)
    faults = LineErrors()
    faults.budget.spend(checking=faults.budget.checking - 1)
    ids, _ = check(checker, b'{"id":"a","x":1}\n' * 1000, faults)
    assert ids == [None] * 1000
    assert faults.costly == 1000
    assert faults.budget.checking > -1


def test_what_is_valid_is_taken_by_whichever_way_it_is_checked(sandbox):
    schema = {**UNION, "$comment": "by the sandbox"}
    documents = [{"id": str(number), **nested(number % 20, {"v": "x"})} for number in range(2000)]
    body = b"".join(json.dumps(document).encode() + b"\n" for document in documents)
    assert check(a_checker(schema, sandbox), body)[0] == [document["id"] for document in documents]


@pytest.mark.parametrize("line", [b"[1]", b"{", b'{"id":"\xff"}', b"[" * 100_000, b'{"a":1,"a":2}', b'"x"'])
def test_the_sandbox_finds_what_is_found_here(line, sandbox):
    here, there = (a_checker({"required": ["id"], **more}, sandbox) for more in ({}, {"unevaluatedItems": True}))
    found = [check(checker, line + b"\n")[1] for checker in (here, there)]
    assert found[0].flaws == found[1].flaws
    assert [(each.broken, each.invalid) for each in found] == [(found[0].broken, found[0].invalid)] * 2


@pytest.mark.parametrize(
    "schema",
    [
        {"anyOf": [{"pattern": rf"\p{{L}}{{{number}}}x"} for number in range(1, 3000)]},
        {"enum": [list(range(1000))] * 5000},
    ],
)
def test_a_schema_that_takes_too_long_to_compile_is_refused(schema):
    sandbox = Sandbox(seconds=0.05)
    try:
        with Heartbeat() as others, pytest.raises(SchemaInvalid, match="costs too much"):
            a_checker(schema, sandbox)
    finally:
        sandbox.close()
    assert others.went_on


def test_many_at_once_wait_for_each_other_and_nobody_else(sandbox):
    schema, document = ATTACKS["doubling anyOf"]()
    body = json.dumps({"id": "a", **document}).encode() + b"\n"
    checker = a_checker(schema, sandbox)
    threads = [threading.Thread(target=check, args=(checker, body)) for _ in range(6)]
    with Heartbeat() as others:
        for thread in threads:
            thread.start()
        plain = a_checker({"required": ["id"]}, sandbox)
        taken = check(plain, b'{"id":"a"}\n' * 1000)[0]
        are_waiting = any(thread.is_alive() for thread in threads)
        for thread in threads:
            thread.join()
    assert len(taken) == 1000
    assert are_waiting
    assert others.went_on
