import asyncio
import gzip
import io
import json

import pyarrow.parquet as pq
import pytest

from headwater.catalog import keys
from headwater.catalog.keys import Scope
from workbooks import sheets_of

FIRST = b'{"id": "a", "v": 1}\n{"id": "b", "v": 1}\n{"id": "c", "v": 1}\n'
SECOND = b'{"id": "b", "v": 2}\n{"id": "c", "v": 1}\n{"id": "d", "v": 2}\n'


@pytest.fixture
async def two(made):
    """A stream with two tasks: the second changes b, brings c again as it was, and adds d."""
    crawler = await made.crawler()
    return crawler, await made.done(crawler, FIRST), await made.done(crawler, SECOND)


def _lines(answer) -> list[dict]:
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.content.splitlines()]


async def _all(api, path: str) -> list[dict]:
    """Every item of a list, by its cursors and by its Link headers."""
    found, cursor = [], ""
    while True:
        answer = await api.get(f"{path}&cursor={cursor}")
        body = answer.json()
        found += body["payload"]
        if body["next_cursor"] is None:
            assert "link" not in answer.headers
            return found
        assert body["next_cursor"] in answer.headers["link"]
        cursor = body["next_cursor"]


async def test_a_diff_counts_what_a_task_did_and_lists_it_with_before_after_and_patch(api, two):
    _, first, second = two
    path = f"/tasks/{second['fid']}/diff"
    counts = {"added": 1, "changed": 1, "unchanged": 1, "removed": 0}
    assert (await api.get(path)).json()["payload"] == counts
    (changed,) = (await api.get(f"{path}?op=changed")).json()["payload"]
    assert changed == {
        "id": "b",
        "before": {"task": first["fid"], "doc": {"id": "b", "v": 1}},
        "after": {"task": second["fid"], "doc": {"id": "b", "v": 2}},
        "patch": [{"op": "replace", "path": "/v", "value": 2}],
    }
    (added,) = (await api.get(f"{path}?op=added")).json()["payload"]
    assert (added["id"], added["before"], "patch" in added) == ("d", None, False)
    assert [one["id"] for one in await _all(api, f"/tasks/{first['fid']}/diff?op=added&limit=1")] == ["a", "b", "c"]


async def test_the_summary_of_a_task_is_there_some_time_after_its_end(api, two):
    _, _, second = two
    for _ in range(400):
        summary = (await api.get(f"/tasks/{second['fid']}")).json()["payload"]["summary"]
        if summary is not None:
            break
        await asyncio.sleep(0.05)
    assert summary == (await api.get(f"/tasks/{second['fid']}/diff")).json()["payload"]


async def test_dry_runs_tell_what_deleting_and_restoring_then_do(api, two):
    crawler, first, second = two
    export = f"/streams/{crawler['stream']}/export"
    before = (await api.get(export)).content
    action = f"/actions/tasks/{second['fid']}"
    foreseen = await api.delete(f"{action}?dry_run=true")
    assert foreseen.json()["payload"] == {"removed": 1, "restored": 2, "unaffected": 0}
    restored = (await api.delete(f"{action}?dry_run=true&op=restored")).json()["payload"]
    assert [(one["id"], one["after"]["task"]) for one in restored] == [("b", first["fid"]), ("c", first["fid"])]
    unaffected = await api.delete(f"/actions/tasks/{first['fid']}?dry_run=true&op=unaffected")
    assert [one["id"] for one in unaffected.json()["payload"]] == ["b", "c"]
    assert (await api.get(export)).content == before
    await api.delete(action)
    assert (await api.get(export)).content == FIRST
    foreseen = await api.post(f"{action}/restore?dry_run=true")
    assert foreseen.json()["payload"] == {"added": 1, "replaced": 2, "unaffected": 0}
    (added,) = (await api.post(f"{action}/restore?dry_run=true&op=added")).json()["payload"]
    assert (added["id"], added["before"]) == ("d", None)
    assert (await api.get(export)).content == FIRST


@pytest.mark.parametrize("path", ["/actions/tasks/{}?op=removed", "/tasks/{}?op=removed"])
async def test_documents_of_a_dry_run_are_not_asked_for_without_one(api, two, assert_problem, path):
    crawler, _, second = two
    problem = assert_problem(await api.delete(path.format(second["fid"])), 400, "request-invalid")
    assert "dry_run=true" in problem["detail"]
    docs = (await api.get(f"/streams/{crawler['stream']}/docs")).json()["payload"]
    assert len(docs) == 4


async def test_many_tasks_go_in_one_version_and_come_back_by_it(api, two):
    crawler, first, second = two
    revert = f"/actions/streams/{crawler['stream']}/revert"
    body = {"since": first["started_at"], "origin": "api"}
    fids = [first["fid"], second["fid"]]
    foreseen = (await api.post(f"{revert}?dry_run=true", json=body)).json()["payload"]
    assert foreseen == {"tasks": fids, "removed": 4, "restored": 0, "unaffected": 0}
    assert (await api.post(revert, json=body | {"dry_run": True})).json()["payload"] == foreseen
    listed = (await api.post(f"{revert}?dry_run=true&op=removed&limit=2", json=body)).json()
    assert [one["id"] for one in listed["payload"]] == ["a", "b"]
    reverted = (await api.post(revert, json=body)).json()["payload"]
    assert reverted == {"tasks": fids, "stream_version": 3}
    (entry,) = (await api.get(f"/streams/{crawler['stream']}/log?limit=1")).json()["payload"]
    assert (entry["version"], entry["change"], entry["task"], entry["tasks"]) == (3, "remove", None, fids)
    restore = f"/actions/streams/{crawler['stream']}/restore"
    foreseen = (await api.post(restore, json={"stream_version": 3, "dry_run": True})).json()["payload"]
    assert foreseen == {"tasks": fids, "purged": [], "added": 4, "replaced": 0, "unaffected": 0}
    restored = (await api.post(restore, json={"stream_version": 3})).json()["payload"]
    assert restored == {"tasks": fids, "stream_version": 4, "purged": []}
    assert len((await api.get(f"/streams/{crawler['stream']}/docs")).json()["payload"]) == 4


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "says nothing"),
        ({"dry_run": True}, "says nothing"),
        ({"params": {}}, "says nothing"),
        ({"since": "yesterday"}, "/since"),
        ({"since": "2026-01-01T00:00:00"}, "time zone"),
        ({"stream_version": 3}, "no such field"),
        ({"tasks": ["f" * 32]}, "no task of stream"),
        ({"origin": "nobody"}, "/origin"),
        ({"external_version": 10**20}, "/external_version"),
        ({"external_version": -(2**40)}, "/external_version"),
        ({"since": "0001-01-01T00:00:00+14:00"}, "out of range"),
        ({"until": "9999-12-31T23:59:59-14:00"}, "out of range"),
        ({"tasks": ["f" * 32] * 1001}, "at most 1000 items"),
    ],
)
async def test_a_filter_that_means_nothing_or_everything_is_refused(api, two, assert_problem, body, says):
    crawler, _, _ = two
    answer = await api.post(f"/actions/streams/{crawler['stream']}/revert", json=body)
    problem = assert_problem(answer, 400, "request-invalid")
    assert says in problem["detail"]


async def test_a_stream_reads_as_it_stood_and_as_if_a_task_had_not_run(api, two):
    crawler, first, second = two
    stream = f"/streams/{crawler['stream']}"
    for asked, expected in (("as_of=1", FIRST), (f"without={second['fid']}", FIRST), ("as_of=0", b"")):
        assert (await api.get(f"{stream}/export?{asked}")).content == expected
        docs = await _all(api, f"{stream}/docs?{asked}&limit=2")
        assert [doc["doc"] for doc in docs] == [json.loads(line) for line in expected.splitlines()]
    assert (await api.get(f"{stream}/docs/b?as_of=1")).json()["payload"]["doc"] == {"id": "b", "v": 1}
    both = f"without={first['fid']},{second['fid']}"
    assert (await api.get(f"{stream}/docs?{both}")).json()["payload"] == []
    assert (await api.get(f"{stream}/docs?limit=1")).json()["stream_version"] == 2


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("as_of=3", "no version 3 yet"),
        ("as_of=-1", "greater than or equal to 0"),
        ("as_of=x", "valid integer"),
        ("without=x", "no fid of a task"),
        (f"without={'f' * 32}", "no task of stream"),
        (f"without={','.join(['f' * 32] * 1001)}", "at most 1000"),
    ],
)
@pytest.mark.parametrize("path", ["docs?", "docs/a?", "export?", "changes?"])
async def test_a_view_that_there_is_not_is_refused(api, two, assert_problem, path, asked, says):
    crawler, _, _ = two
    answer = await api.get(f"/streams/{crawler['stream']}/{path}{asked}")
    assert says in assert_problem(answer, 400, "request-invalid")["detail"]


async def test_words_and_comparisons_find_documents(api, two):
    crawler, _, _ = two
    docs = f"/streams/{crawler['stream']}/docs"
    for asked, ids in (
        ("q=2", "bd"),
        ("q=V 1", "ac"),
        ("where=v>=2", "bd"),
        ("where=v=1&where=id!=a", "c"),
        ("q=nothing", ""),
    ):
        found = (await api.get(f"{docs}?{asked}")).json()["payload"]
        assert "".join(doc["id"] for doc in found) == ids
    assert [doc["id"] for doc in await _all(api, f"{docs}?where=v=1&limit=1")] == ["a", "c"]


async def test_changes_lead_from_a_version_to_the_present(api, two):
    crawler, first, second = two
    changes = f"/streams/{crawler['stream']}/changes"
    answer = await api.get(f"{changes}?since=1")
    assert answer.headers["content-type"] == "application/x-ndjson"
    upserts = [{"id": name, "op": "upsert", "doc": {"id": name, "v": 2}, "task": second["fid"]} for name in "bd"]
    assert _lines(answer) == [*upserts, {"last_version": 2}]
    assert _lines(await api.get(f"{changes}?since=2")) == [{"last_version": 2}]
    assert _lines(await api.get(f"{changes}?limit=1"))[-1] == {"last_version": 1}
    await api.delete(f"/actions/tasks/{second['fid']}")
    back = {"id": "b", "op": "upsert", "doc": {"id": "b", "v": 1}, "task": first["fid"]}
    gone = {"id": "d", "op": "delete", "doc": None, "task": second["fid"]}
    assert _lines(await api.get(f"{changes}?since=2")) == [back, gone, {"last_version": 3}]


async def test_a_long_poll_waits_until_something_changes(api, made, two):
    crawler, _, _ = two
    changes = f"/streams/{crawler['stream']}/changes?feed=longpoll&since=2"
    waiting = asyncio.create_task(api.get(changes, headers={"Prefer": "wait=50"}))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await made.done(crawler, b'{"id": "z"}\n')
    answer = await waiting
    assert [line.get("id") for line in _lines(answer)] == ["z", None]
    assert answer.headers["preference-applied"] == "wait=50"
    answer = await api.get(changes.replace("since=2", "since=3"), headers={"Prefer": "respond-async, wait=0"})
    assert _lines(answer) == [{"last_version": 3}]
    answer = await api.get(changes, headers={"Prefer": "wait=100000"})
    assert answer.headers["preference-applied"] == "wait=60"


@pytest.mark.parametrize(
    "asked",
    [
        "since=3",
        "feed=longpoll&since=3",
        "feed=eventsource&since=3",
        "feed=longpoll&as_of=1",
        "limit=0",
        "since=2&as_of=1",
    ],
)
async def test_changes_that_cannot_be_told_are_refused_at_once(api, two, assert_problem, asked):
    crawler, _, _ = two
    assert_problem(await api.get(f"/streams/{crawler['stream']}/changes?{asked}"), 400, "request-invalid")


@pytest.mark.parametrize("last", ["x", "-1", "9" * 5000, "\u0663", "3"])
async def test_an_event_source_that_was_never_told_its_last_id_is_refused(api, two, assert_problem, last):
    crawler, _, _ = two
    changes = f"/streams/{crawler['stream']}/changes?feed=eventsource"
    answer = await api.get(changes, headers={"Last-Event-ID": last.encode()})
    assert_problem(answer, 400, "request-invalid")


@pytest.mark.parametrize("feed", ["normal", "longpoll", "eventsource"])
async def test_changes_of_no_stream_are_not_found(api, assert_problem, feed):
    assert_problem(await api.get(f"/streams/{'0' * 32}/changes?feed={feed}"), 404, "not-found")


async def test_a_history_tells_of_every_version(api, two):
    crawler, first, second = two
    versions = (await api.get(f"/streams/{crawler['stream']}/docs/b/history")).json()["payload"]
    told = [(one["task"], one["attempt"], one["shows"], one["standing"], one["doc"]["v"]) for one in versions]
    assert told == [(second["fid"], 1, True, "shown", 2), (first["fid"], 1, False, "covered", 1)]


async def test_a_history_is_read_and_nothing_else(api, two, assert_problem):
    crawler = two[0]
    answer = await api.delete(f"/streams/{crawler['stream']}/docs/b/history")
    assert_problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "GET"
    answer = await api.get(f"/streams/{crawler['stream']}/docs/b/history?as_of=1")
    assert assert_problem(answer, 400, "request-invalid")["errors"][0]["pointer"] == "?as_of"


async def test_a_history_redacts_passwords(api, made):
    external = await made.external(parameters=[{"name": "secret", "type": "password"}])
    crawler = await made.crawler(external, params={"secret": "hush"})
    await made.done(crawler, FIRST)
    answer = await api.get(f"/streams/{crawler['stream']}/docs/a/history")
    assert answer.json()["payload"][0]["params"] == {"secret": "********"}


@pytest.mark.parametrize("name", ["a/history", "history", "nl\n", "m\nid", "a/b", "%2F", "x/history\n"])
async def test_any_id_is_read_told_of_and_erased(api, made, name):
    crawler = await made.crawler()
    await made.done(crawler, json.dumps({"id": name, "v": 1}).encode() + b'\n{"id": "nl"}\n{"id": "a"}\n{"id": "x"}\n')
    encoded = "".join(f"%{byte:02X}" for byte in name.encode())
    path = f"/streams/{crawler['stream']}/docs/{encoded}"
    assert (await api.get(path)).json()["payload"]["id"] == name
    (version,) = (await api.get(f"{path}/history")).json()["payload"]
    assert version["doc"]["id"] == name
    assert (await api.delete(path)).json()["payload"] == {"docs": 1, "rejects": 0, "stream_version": 2}
    docs = (await api.get(f"/streams/{crawler['stream']}/docs")).json()["payload"]
    assert sorted(doc["id"] for doc in docs) == ["a", "nl", "x"]


async def test_only_an_admin_erases(api, two, assert_problem):
    crawler, _, _ = two
    path = f"/streams/{crawler['stream']}/docs/a"
    parts = api._transport.app.state.services  # noqa: SLF001 - keys are made at the catalog, not over HTTP
    _, secret = await parts.db.write(keys.add, name="w", scopes=(Scope.WRITE,), at=parts.clock())
    assert_problem(await api.delete(path, headers={"Authorization": f"Bearer {secret}"}), 403, "not-allowed")
    assert (await api.get(path)).status_code == 200
    assert (await api.delete(path)).status_code == 200
    assert_problem(await api.get(path), 404, "not-found")
    assert_problem(await api.delete(path), 404, "not-found")


async def test_an_export_comes_in_every_form_and_encoding(api, two):
    crawler, _, second = two
    export = f"/streams/{crawler['stream']}/export"
    csv = await api.get(f"{export}?format=csv", headers={"Accept-Encoding": "identity"})
    assert csv.text == "id,v\r\na,1\r\nb,2\r\nc,1\r\nd,2\r\n"
    assert csv.headers["content-disposition"].endswith('-v2.csv"')
    parquet = await api.get(f"{export}?format=parquet&columns=infer&without={second['fid']}")
    table = pq.read_table(io.BytesIO(parquet.content)).to_pydict()
    assert (table["_id"], table["id"], table["v"]) == (["a", "b", "c"], ["a", "b", "c"], [1, 1, 1])
    assert "content-encoding" not in parquet.headers
    for accepted in ("gzip", "zstd;q=0.5, gzip;q=0.1", "br"):
        async with api.stream("GET", export, headers={"Accept-Encoding": accepted}) as answer:
            raw = b"".join([piece async for piece in answer.aiter_raw()])
        encoding = answer.headers.get("content-encoding")
        assert encoding == {"g": "gzip", "z": "zstd", "b": None}[accepted[0]]
        assert answer.headers["vary"] == "Accept-Encoding"
        if encoding == "gzip":
            raw = gzip.decompress(raw)
        if encoding != "zstd":
            assert len(raw.splitlines()) == 4


async def test_an_export_holds_what_was_asked_for(api, two):
    crawler, _, _ = two
    export = f"/streams/{crawler['stream']}/export"
    lines = await api.get(f"{export}?where=v>=2&where=id!=d&q=B&fields=v&fields=id,%22a,b%22")
    assert lines.content == b'{"v":2,"id":"b"}\n'
    csv = await api.get(f"{export}?format=csv&bom=true&defuse=true&fields=id")
    assert csv.content == b"\xef\xbb\xbfid\r\na\r\nb\r\nc\r\nd\r\n"
    parquet = await api.get(f"{export}?format=parquet&columns=infer&document=false&where=v=2")
    table = pq.read_table(io.BytesIO(parquet.content)).drop_columns(["_task"]).to_pydict()
    assert table == {"_id": ["b", "d"], "id": ["b", "d"], "v": [2, 2]}
    sheet = await api.get(f"{export}?format=xlsx&as_of=1")
    assert sheet.headers["content-disposition"].endswith('-v1.xlsx"')
    assert "content-encoding" not in sheet.headers
    assert sheets_of(sheet.content) == [[["id", "v"], ["a", 1], ["b", 1], ["c", 1]]]


@pytest.mark.parametrize(
    "query", ["document=false", "defuse=true", "format=parquet&bom=true", "where=v", "fields=%22a", "format=xls"]
)
async def test_an_export_that_cannot_be_is_refused(api, two, assert_problem, query):
    crawler, _, _ = two
    assert_problem(await api.get(f"/streams/{crawler['stream']}/export?{query}"), 400, "request-invalid")


async def test_columns_are_for_parquet(api, two, assert_problem):
    crawler, _, _ = two
    answer = await api.get(f"/streams/{crawler['stream']}/export?columns=infer")
    assert_problem(answer, 400, "request-invalid")
