"""Lenient uploads by the command line, against a served Headwater."""

import json
import os
import subprocess
import sys

import pytest

from headwater_client import Headwater, TaskWriter
from headwater_client.cli.push.files import File
from headwater_client.cli.push.start import begun

SCHEMA = {"required": ["id"], "properties": {"id": {"type": "string"}, "n": {"type": "integer"}}}


@pytest.fixture
def served(serve):
    return serve()


@pytest.fixture
def headwater(served):
    with Headwater(served.url, served.key()) as headwater:
        yield headwater


@pytest.fixture
def run(served, tmp_path):
    """The command line, as a program calls it: what it puts out, and its exit code."""
    environment = os.environ | {"HEADWATER_URL": served.url, "HEADWATER_KEY": served.key(), "HOME": str(tmp_path)}

    def run(*words: str) -> tuple[str, int]:
        command = [sys.executable, "-m", "headwater_client", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        return done.stdout or done.stderr, done.returncode

    return run


def test_a_file_with_bad_lines_is_pushed_looked_at_mended_and_replayed(headwater, run, tmp_path):
    external = headwater.externals.create("Shop", doc_id_field="id", schema=SCHEMA)
    stream = headwater.streams.create("Books")
    headwater.crawlers.create(external, stream, "North")
    file = tmp_path / "books.ndjson"
    file.write_text("".join(json.dumps({"id": f"{n}", "n": n if n % 4 else "x"}) + "\n" for n in range(20)))

    told, code = run("push", "North", str(file))
    assert (code != 0, "line 1" in told) == (True, True), told
    told, code = run("push", "North", str(file), "--lenient")
    assert code == 0, told
    task = next(iter(headwater.tasks.list()))
    assert f"5 documents were rejected: 'headwater tasks rejects {task.fid}' shows them" in told
    assert (task.state, task.docs, task.rejected) == ("done", 15, 5)

    told, code = run("tasks", "rejects", task.fid)
    assert [reject["id"] for reject in json.loads(told)] == ["0", "4", "8", "12", "16"]
    headwater.externals.update(external, {"schema": {"properties": {"n": {"type": ["integer", "string"]}}}})
    told, code = run("tasks", "replay", task.fid)
    assert json.loads(told) == {"replayed": 5, "covered": 0, "rejected": 0, "stream_version": 2}
    assert len(list(headwater.streams.docs(stream))) == 20
    assert list(headwater.tasks.rejects(task)) == []


def test_an_interrupted_lenient_push_goes_on_behind_what_was_rejected(served, headwater, run, tmp_path):
    external = headwater.externals.create("Shop", doc_id_field="id", schema=SCHEMA)
    crawler = headwater.crawlers.create(external, headwater.streams.create("Books"), "North")
    file = tmp_path / "books.ndjson"
    lines = [json.dumps({"id": f"{n}", "n": n if n % 2 else "x"}) for n in range(10)]
    file.write_text("\n".join(lines))
    told, code = run("push", "North", str(file), "--dry-run")
    assert code == 0, told
    source = File.named(str(file), None, None)
    beginning = begun(headwater, crawler, source, {}, anew=False)
    writer = TaskWriter(f"{served.url}/actions/tasks/{beginning.task.fid}", beginning.token, lenient=True)
    writer.write_all(map(json.loads, lines[:6]))
    writer.flush()
    writer.abandon()
    told, code = run("push", "North", str(file), "--lenient")
    assert code == 0, told
    task = headwater.tasks.get(beginning.task)
    assert (task.docs, task.rejected, task.state) == (5, 5, "done")


def test_bad_rows_of_csv_are_kept_aside_and_replayed_when_the_schema_takes_them(headwater, run, tmp_path):
    external = headwater.externals.create("Shop", doc_id_field="id", schema=SCHEMA)
    stream = headwater.streams.create("Books")
    headwater.crawlers.create(external, stream, "North")
    file = tmp_path / "books.csv"
    file.write_bytes(b'id;n\n1;1\n2;many\n3;3;3\n4;"x"y\n5;\xe4\n6;6\n')
    told, code = run("push", "North", str(file), "--lenient")
    assert code == 0, told
    task = next(iter(headwater.tasks.list()))
    assert (task.state, task.docs, task.rejected) == ("done", 2, 4)
    kept = {reject.line: reject for reject in headwater.tasks.rejects(task)}
    assert [kept[line].text for line in (2, 3, 4)] == ['{"id":"2","n":"many"}', '["3","3","3"]', '"4;\\"x\\"y"']
    assert (kept[2].kind, kept[5].text) == ("invalid", None)
    headwater.externals.update(external, {"schema": {"properties": {"n": {"type": ["integer", "string"]}}}})
    told, code = run("tasks", "replay", task.fid)
    assert (json.loads(told)["replayed"], json.loads(told)["rejected"]) == (1, 3)
    assert {doc.id: doc.doc["n"] for doc in headwater.streams.docs(stream)} == {"1": 1, "2": "many", "6": 6}
