"""``tap-headwater`` and ``target-headwater``, as programs, against a served Headwater."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import httpx
import pytest

import budget
from end_to_end.command_line import CommandLine, empty, set_up
from end_to_end.conftest import Served
from headwater_client import Headwater

SCHEMA = {
    "$defs": {"Maker": {"type": "object", "properties": {"name": {"type": "string"}}}},
    "properties": {
        "id": {"type": "string"},
        "price": {"type": ["number", "null"]},
        "count": {"type": "integer"},
        "maker": {"$ref": "#/$defs/Maker"},
        "_task": {"type": "string"},
    },
    "required": ["id"],
}
USERS = {"type": "object", "properties": {"id": {"type": "integer"}, "name": {"type": ["string", "null"]}}}


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("served") / "data")
    served.start()
    yield served
    served.stop()


@pytest.fixture(autouse=True)
def _empty(served) -> None:
    empty(served)


@pytest.fixture
def headwater(served) -> Iterator[Headwater]:
    with Headwater(served.url, served.key()) as headwater:
        yield headwater


class Program:
    """A tap or a target, in a folder with its settings."""

    def __init__(self, name: str, served: Served, folder: Path, **config) -> None:
        self.command = [str(Path(sys.executable).with_name(name)), "--config", str(folder / f"{name}.json")]
        self.folder = folder
        (folder / f"{name}.json").write_text(json.dumps({"url": served.url, "api_key": served.key()} | config))
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}

    def __call__(self, *words: str, stdin: str = "", code: int = 0) -> list[dict]:
        ran = subprocess.run(
            [*self.command, *words],
            input=stdin,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert ran.returncode == code, ran.stderr
        self.errors = ran.stderr
        return [json.loads(line) for line in ran.stdout.splitlines()]

    def begin(self) -> subprocess.Popen:
        return subprocess.Popen(
            self.command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def tap(served, tmp_path) -> Program:
    return Program("tap-headwater", served, tmp_path)


@pytest.fixture
def target(served, tmp_path) -> Program:
    return Program("target-headwater", served, tmp_path)


def told(tap: Program, state: dict | None = None) -> tuple[list[dict], dict]:
    """The messages of a run of the tap, and the state that it ends with."""
    if state is not None:
        (tap.folder / "state.json").write_text(json.dumps(state))
    messages = tap(*([] if state is None else ["--state", "state.json"]))
    return messages, [message["value"] for message in messages if message["type"] == "STATE"][-1]


def apply(messages: Iterable[dict], table: dict[str, dict]) -> None:
    """Keep a table as a target does."""
    for message in messages:
        if message["type"] == "RECORD":
            record = message["record"]
            if record["_sdc_deleted_at"] is None:
                table[record["_id"]] = {"version": message["version"], "document": record["_document"]}
            else:
                table.pop(record["_id"], None)
        elif message["type"] == "ACTIVATE_VERSION":
            for doc_id in [doc_id for doc_id, row in table.items() if row["version"] != message["version"]]:
                del table[doc_id]


def shown(headwater: Headwater, stream: str) -> dict[str, dict]:
    return {document.id: document.doc for document in headwater.streams.docs(stream)}


def ran(headwater: Headwater, crawler: str, documents: list[dict]) -> str:
    task = headwater.tasks.create(crawler)
    body = "".join(json.dumps(document) + "\n" for document in documents)
    httpx.post(f"{task.upload.endpoint}/upload", content=body).raise_for_status()
    httpx.post(f"{task.upload.endpoint}/status", json={"code": 200}).raise_for_status()
    return task.fid


def singer(schema: dict, keys: list[str], *records: dict, stream: str = "users", **message) -> str:
    """A SCHEMA message, and those of records."""
    messages = [{"type": "SCHEMA", "stream": stream, "schema": schema, "key_properties": keys}]
    messages += [{"type": "RECORD", "stream": stream, "record": record, **message} for record in records]
    return lines(*messages)


def lines(*messages: dict) -> str:
    return "".join(json.dumps(message) + "\n" for message in messages)


def state(value: int) -> str:
    return lines({"type": "STATE", "value": {"at": value}})


def users(headwater: Headwater, name: str = "users") -> dict[str, dict]:
    return shown(headwater, next(headwater.streams.list(name=name)).fid)


def test_a_table_kept_by_the_tap_equals_the_stream_after_runs_deletes_and_restores(served, headwater, tmp_path):
    tap = Program("tap-headwater", served, tmp_path, whole_documents=True)
    crawler = set_up(CommandLine(served, tmp_path), schema=SCHEMA)
    dice, table, reached = random.Random(5), {}, None
    live, gone = [], []
    for step in range(budget.examples(15)):
        for _ in range(dice.randint(1, 3)):
            what = dice.random()
            if what < 0.3 and live:
                gone.append(live.pop(dice.randrange(len(live))))
                headwater.tasks.delete(gone[-1])
            elif what < 0.45 and gone:
                live.append(gone.pop(dice.randrange(len(gone))))
                headwater.tasks.restore(live[-1])
            else:
                ids = {f"b{dice.randrange(40)}" for _ in range(20)}
                live.append(ran(headwater, crawler["fid"], [{"id": one, "price": dice.random()} for one in ids]))
        messages, reached = told(tap, reached)
        apply(messages, table)
        assert {doc_id: row["document"] for doc_id, row in table.items()} == shown(headwater, crawler["stream"]), step


def test_records_have_the_fields_of_the_schema_and_deletions_when_they_were(served, headwater, tap, tmp_path):
    crawler = set_up(CommandLine(served, tmp_path), schema=SCHEMA)
    documents = [{"id": "a", "price": 1.10, "maker": {"name": "Ada"}, "_task": "mine", "other": 1}, {"id": "b"}]
    task = ran(headwater, crawler["fid"], documents)
    messages, reached = told(tap)
    schema, *records = [message for message in messages if message["type"] in {"SCHEMA", "RECORD"}]
    assert schema["key_properties"] == ["_id"]
    assert schema["schema"]["properties"]["maker"]["properties"] == {"name": {"type": "string"}}
    assert schema["schema"]["properties"]["count"]["type"] == ["integer", "null"]
    first = {"_id": "a", "_task": task, "_sdc_deleted_at": None, "id": "a", "price": 1.1, "count": None}
    assert records[0]["record"] == first | {"maker": {"name": "Ada"}, "_task_2": "mine"}
    headwater.tasks.delete(task)
    messages, reached = told(tap, reached)
    gone = [message["record"] for message in messages if message["type"] == "RECORD"]
    assert [(record["_id"], record["id"], record["_sdc_deleted_at"] is not None) for record in gone] == [
        ("a", None, True),
        ("b", None, True),
    ]
    assert not [message for message in told(tap, reached)[0] if message["type"] == "RECORD"]


def test_the_tap_tells_the_streams_that_are_named_and_refuses_others(served, headwater, tmp_path):
    headwater.streams.create("one")
    two = [headwater.streams.create("two").fid for _ in range(2)]
    tap = Program("tap-headwater", served, tmp_path, streams=["one", two[0]])
    messages = tap()
    assert {message["stream"] for message in messages if message["type"] == "SCHEMA"} == {"one", f"stream_{two[0]}"}
    refused = Program("tap-headwater", served, tmp_path, streams=["three"])
    refused(code=1)
    assert "no stream with the name or fid three" in refused.errors


def test_a_load_is_a_run_of_a_crawler_of_that_name(headwater, target):
    given = singer(USERS, ["id"], {"id": 1, "name": "Ada"}, {"id": 2, "name": "1815-12-10T00:00:00Z"})
    assert target(stdin=given + state(7)) == [{"at": 7}]
    assert users(headwater) == {"1": {"id": 1, "name": "Ada"}, "2": {"id": 2, "name": "1815-12-10T00:00:00Z"}}
    target(stdin=singer(USERS, ["id"], {"id": 2, "name": "B"}, {"id": 1, "_sdc_deleted_at": "2026-01-01T00:00:00Z"}))
    assert users(headwater) == {"2": {"id": 2, "name": "B"}}
    (crawler,) = headwater.crawlers.list(name="users")
    tasks = list(headwater.tasks.list(crawler=crawler))
    assert [task.state for task in tasks] == ["done", "done"]
    headwater.tasks.delete(tasks[0])
    assert set(users(headwater)) == {"1", "2"}


def test_records_with_several_keys_or_none_have_ids(headwater, target):
    two = {"type": "object", "properties": {"shop": {"type": "string"}, "no": {"type": "integer"}}}
    given = singer(two, ["shop", "no"], {"shop": "n", "no": 1}, {"shop": "n", "no": 1}, {"shop": "s", "no": 1})
    target(stdin=given + singer(two, [], {"shop": "n"}, {"shop": "n"}, stream="log"))
    assert set(users(headwater)) == {'["n", 1]', '["s", 1]'}
    assert list(users(headwater, "log").values()) == [{"shop": "n"}]


def test_another_schema_is_another_version_of_the_external(headwater, target):
    more = {"type": "object", "properties": {**USERS["properties"], "age": {"type": "integer"}}}
    target(stdin=singer(USERS, ["id"], {"id": 1}) + singer(more, ["id"], {"id": 2, "age": 3}))
    assert set(users(headwater)) == {"1", "2"}
    (external,) = headwater.externals.list(name="users")
    assert (external.version, external.schema["properties"]) == (2, more["properties"])
    target(stdin=singer(more, ["id"], {"id": 3, "age": 4}))
    assert next(headwater.externals.list(name="users")).version == 2


def test_a_record_that_does_not_match_fails_the_load_and_no_state_is_told(headwater, target):
    given = singer(USERS, ["id"], {"id": 1}, {"id": 2, "name": 3}) + state(1)
    assert target(stdin=given, code=1) == []
    assert "name" in target.errors
    (task,) = headwater.tasks.list()
    assert task.code == 500


def test_a_new_version_of_a_table_replaces_what_was_there(headwater, target):
    activate = lines({"type": "ACTIVATE_VERSION", "stream": "users", "version": 10})
    target(stdin=singer(USERS, ["id"], {"id": 1}, {"id": 2}, version=10) + activate + state(1))
    # The same version: what is not told stays.
    target(stdin=singer(USERS, ["id"], {"id": 3}, version=10) + activate + state(2))
    assert set(users(headwater)) == {"1", "2", "3"}
    activate = activate.replace("10", "20")
    target(stdin=singer(USERS, ["id"], {"id": 2}, version=20) + state(3) + activate)
    assert set(users(headwater)) == {"2"}
    # A tap that dies within a table hides nothing.
    early = singer(USERS, ["id"]) + activate.replace("20", "30")
    target(stdin=early + state(4) + singer(USERS, ["id"], {"id": 5}, version=30))
    assert set(users(headwater)) == {"2", "5"}
    assert [task.mode for task in headwater.tasks.list()] == ["snapshot", "snapshot", "merge", "snapshot"]
    # A table without rows has none.
    target(stdin=singer(USERS, ["id"]) + activate.replace("20", "40") + state(5))
    assert users(headwater) == {}


def test_state_is_told_only_once_its_records_are_stored_and_a_killed_load_is_gone_on(served, headwater, tmp_path):
    target = Program("target-headwater", served, tmp_path, state_every=0)
    process = target.begin()
    process.stdin.write(singer(USERS, ["id"], {"id": 1}, {"id": 2}) + state(2))
    process.stdin.flush()
    assert json.loads(process.stdout.readline()) == {"at": 2}
    assert set(users(headwater)) == {"1", "2"}
    process.stdin.write(singer(USERS, ["id"], {"id": 3}))
    process.stdin.flush()
    process.kill()
    assert process.communicate()[0] == ""
    (left,) = headwater.tasks.list()
    assert left.is_open
    assert target(stdin=singer(USERS, ["id"], {"id": 3}, {"id": 4}) + state(4))[-1] == {"at": 4}
    assert set(users(headwater)) == {"1", "2", "3", "4"}
    assert [task.state for task in headwater.tasks.list()] == ["done", "stopped"]


def test_what_is_of_others_is_left_alone(served, headwater, target, tmp_path):
    crawler = set_up(CommandLine(served, tmp_path))
    target(stdin=singer(USERS, ["id"], {"id": 1}, stream="Books"), code=1)
    assert "the stream Books is fed by another crawler; give the setting prefix" in target.errors
    target(stdin=singer(USERS, ["id"], {"id": 1}, stream="Pages"), code=1)
    assert "the External Pages was not created by this target" in target.errors
    assert shown(headwater, crawler["stream"]) == {}
    prefixed = Program("target-headwater", served, tmp_path, prefix="crm-")
    prefixed(stdin=singer(USERS, ["id"], {"id": 1}, stream="Books"))
    assert set(users(headwater, "crm-Books")) == {"1"}


def test_the_tap_and_the_target_copy_a_stream(served, headwater, tap, tmp_path):
    crawler = set_up(CommandLine(served, tmp_path), schema=SCHEMA)
    first = ran(headwater, crawler["fid"], [{"id": f"{n}", "price": n / 7} for n in range(1000)])
    ran(headwater, crawler["fid"], [{"id": "x", "count": 2**60}])
    target = Program("target-headwater", served, tmp_path, prefix="copy-")
    messages, reached = told(tap)
    target(stdin=lines(*messages))
    copied = users(headwater, "copy-Books")
    assert {doc_id: copied[doc_id]["price"] for doc_id in map(str, range(1000))} == {str(n): n / 7 for n in range(1000)}
    assert copied["x"]["count"] == 2**60
    headwater.tasks.delete(first)
    messages, _ = told(Program("tap-headwater", served, tmp_path, streams=["Books"]), reached)
    target(stdin=lines(*messages))
    assert set(users(headwater, "copy-Books")) == {"x"}
