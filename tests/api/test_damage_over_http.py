import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sqlalchemy import select, update

from builders import eventually
from headwater.api.responses import MOST_NAMED, headers_of
from headwater.catalog import tables
from headwater.lake.integrity import Skipped
from lake_builders import flip
from lakes import needs_directory

pytestmark = needs_directory

#: More than what the catalog keeps itself.
PAD = "x" * 700
#: The bit of the file that is flipped.
BIT = 8 * 500
SKIPPED = "Headwater-Skipped-Segments"


def body(run, count):
    return b"".join(json.dumps({"id": f"{n:03}", "run": run, "pad": PAD}).encode() + b"\n" for n in range(count))


@pytest.fixture
async def damaged(api, made):
    """Two runs of a crawler, of which the second brought more documents and lies in a damaged file."""
    crawler = await made.crawler()
    runs = [await made.done(crawler, body(number, 100 + 20 * number)) for number in range(2)]
    parts = api.app.state.services

    async def paths():
        where = tables.segments.c.task == runs[1]["fid"]
        query = select(tables.segments.c.fid, tables.segments.c.path).where(where, tables.segments.c.is_compact)
        return [tuple(row) for row in await parts.db.read(lambda tx: tx.execute(query).all())]

    await eventually(lambda: _is_one(paths))
    [(fid, path)] = await paths()
    file = Path(parts.store.locate(path))
    flip(file, BIT)
    return {"crawler": crawler, "runs": runs, "segment": fid, "file": file, "stream": runs[0]["stream"]}


async def _is_one(paths):
    return len(await paths()) == 1


def calls(damaged):
    stream, task = damaged["stream"], damaged["runs"][1]["fid"]
    return {
        f"/streams/{stream}/docs": {},
        f"/streams/{stream}/docs/005": {},
        f"/streams/{stream}/docs/005/history": {},
        f"/streams/{stream}/changes": {},
        f"/streams/{stream}/export": {},
        f"/tasks/{task}/docs": {},
        f"/tasks/{task}/diff": {"op": "changed"},
    }


async def test_every_read_is_503_that_names_segment_and_task_or_answers_the_rest(api, damaged, assert_problem):
    task = damaged["runs"][1]["fid"]
    for path, params in calls(damaged).items():
        refused = await api.get(path, params=params)
        problem = assert_problem(refused, 503, "segment-damaged")
        assert (problem["segment"], problem["task"]) == (damaged["segment"], task), path
        assert damaged["file"].name in problem["detail"]
        assert refused.headers["Retry-After"] == "60"
        answer = await api.get(path, params=params | {"skip_damaged": "true"})
        assert answer.status_code == 200, (path, answer.text)
        assert answer.headers[SKIPPED] == damaged["segment"], path
        last = json.loads(answer.text.splitlines()[-1])
        named = last.get("skipped_segments") or last.get("$skipped_segments")
        assert named == [{"segment": damaged["segment"], "task": task}], path


async def test_what_is_answered_is_what_the_intact_segments_hold(api, damaged):
    page = await api.get(f"/streams/{damaged['stream']}/docs", params={"skip_damaged": "true", "limit": "1000"})
    assert [(doc["id"], doc["doc"]["run"]) for doc in page.json()["payload"]] == [(f"{n:03}", 0) for n in range(100)]
    gone = await api.get(f"/streams/{damaged['stream']}/docs/110", params={"skip_damaged": "true"})
    assert gone.status_code == 404
    assert damaged["segment"] in gone.json()["detail"]


async def test_an_export_as_parquet_names_them_in_its_footer_and_csv_in_the_header(api, damaged, tmp_path):
    path = f"/streams/{damaged['stream']}/export"
    answer = await api.get(path, params={"skip_damaged": "true", "format": "parquet"})
    file = tmp_path / "export.parquet"
    file.write_bytes(answer.content)
    named = json.loads(pq.ParquetFile(file).metadata.metadata[b"headwater.skipped_segments"])
    assert named == [{"segment": damaged["segment"], "task": damaged["runs"][1]["fid"]}]
    assert pq.read_table(file).num_rows == 100
    answer = await api.get(path, params={"skip_damaged": "true", "format": "csv"})
    assert answer.headers[SKIPPED] == damaged["segment"]
    assert len(answer.text.splitlines()) == 101


async def test_a_dry_run_leaves_it_out_too(api, damaged):
    path = f"/actions/tasks/{damaged['runs'][0]['fid']}"
    refused = await api.delete(path, params={"dry_run": "true"})
    assert refused.status_code == 503
    answer = await api.delete(path, params={"dry_run": "true", "skip_damaged": "true"})
    assert answer.json()["payload"] == {"removed": 100, "restored": 0, "unaffected": 0}
    assert answer.headers[SKIPPED] == damaged["segment"]


async def test_where_nothing_is_damaged_no_header_says_so_and_the_list_is_empty(api, made):
    task = await made.done(await made.crawler(), body(0, 2))
    answer = await api.get(f"/streams/{task['stream']}/docs", params={"skip_damaged": "true"})
    assert SKIPPED not in answer.headers
    assert answer.json()["skipped_segments"] == []
    plain = await api.get(f"/streams/{task['stream']}/docs")
    assert "skipped_segments" not in plain.json()
    export = await api.get(f"/streams/{task['stream']}/export", params={"skip_damaged": "true"})
    assert len(export.text.splitlines()) == 2


async def test_metrics_and_readiness_tell_until_the_file_is_restored(api, damaged):
    async def told(count):
        metrics = (await api.get("/metrics")).text
        ready = await api.get("/readyz")
        return (
            f"headwater_damaged_segments {count}.0" in metrics
            and ready.status_code == 200
            and ready.json()["payload"]["damaged_segments"] == count
        )

    path = f"/streams/{damaged['stream']}/docs"
    assert (await api.get(path)).status_code == 503
    await eventually(lambda: told(1))
    flip(damaged["file"], BIT)
    answer = await api.get(path)
    assert answer.status_code == 200
    assert {doc["doc"]["run"] for doc in answer.json()["payload"]} == {1}
    await eventually(lambda: told(0))


async def test_a_damaged_rejected_line_is_marked_and_neither_shown_nor_replayed(api, made):
    external = await made.external(schema={"required": ["x"]})
    task = await made.task(await made.crawler(external))
    lines = b'{"id": "good", "n": 1}\n{"id": "bad", "n": 2}\n'
    assert (await made.upload(task, lines, Prefer="handling=lenient")).json()["payload"]["rejected"] == 2
    rejects = tables.rejects
    flipped = update(rejects).where(rejects.c.seq == 2).values(raw=b'{"id": "bad", "n": 3}')
    await api.app.state.services.db.write(lambda tx: tx.execute(flipped))
    good, bad = (await api.get(f"/tasks/{task['fid']}/rejects")).json()["payload"]
    assert (good["text"], good["damaged"]) == ('{"id": "good", "n": 1}', False)
    assert (bad["id"], bad["text"], bad["base64"], bad["damaged"]) == (None, None, None, True)
    await api.patch(f"/externals/{external['fid']}", json={"schema": None})
    replayed = (await api.post(f"/actions/tasks/{task['fid']}/replay")).json()["payload"]
    assert (replayed["replayed"], replayed["rejected"]) == (1, 1)
    docs = (await api.get(f"/tasks/{task['fid']}/docs")).json()["payload"]
    assert [doc["id"] for doc in docs] == ["good"]


def test_the_header_stays_short_however_many_are_skipped():
    skipped = Skipped()
    for number in range(1000):
        skipped.add(_Segment(f"{number:032x}"))
    assert len(headers_of(skipped)[SKIPPED].split(", ")) == MOST_NAMED


class _Segment:
    def __init__(self, fid):
        self.fid = self.path = fid
        self.task = "7" * 32
