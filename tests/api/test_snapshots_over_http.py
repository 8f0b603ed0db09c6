"""Snapshot runs, their scope, and deletions over HTTP."""

import json

import pytest


async def _done(api, made, crawler, docs, **run):
    task = (await api.post(f"/actions/crawlers/{crawler['fid']}/task", json=run)).json()["payload"]
    receipt = await made.upload(task, b"".join(json.dumps(doc).encode() + b"\n" for doc in docs)) if docs else None
    ended = await api.post(f"/actions/tasks/{task['fid']}/status", json={"code": 200})
    return ended.json()["payload"], None if receipt is None else receipt.json()["payload"]


async def _ids(api, crawler) -> list[str]:
    return [doc["id"] for doc in (await api.get(f"/streams/{crawler['stream']}/docs")).json()["payload"]]


async def test_a_crawler_has_a_mode_and_a_scope_and_a_run_may_have_others(api, made):
    plain = await made.crawler()
    assert (plain["mode"], plain["scope"]) == ("merge", None)
    crawler = await made.crawler(mode="snapshot", scope=["shop=north"])
    assert (crawler["mode"], crawler["scope"]) == ("snapshot", ["shop=north"])
    path = f"/crawlers/{crawler['fid']}"
    patched = (await api.patch(path, json={"timeout": 60})).json()["payload"]
    assert (patched["mode"], patched["scope"]) == ("snapshot", ["shop=north"])
    assert (await api.patch(path, json={"scope": []})).json()["payload"]["scope"] is None
    await api.patch(path, json={"scope": ["shop=north"]})
    start = f"/actions/crawlers/{crawler['fid']}/task"
    for run, query, expected in (
        ({}, "", ("snapshot", ["shop=north"])),
        ({"scope": []}, "", ("snapshot", None)),
        ({"mode": "merge"}, "", ("merge", None)),
        ({}, "?mode=merge", ("merge", None)),
        ({"scope": ["price<5"]}, "?mode=snapshot", ("snapshot", ["price<5"])),
    ):
        task = (await api.post(start + query, json=run)).json()["payload"]
        assert (task["mode"], task["scope"]) == expected
        await api.post(f"/actions/tasks/{task['fid']}/status", json={"code": 500})


@pytest.mark.parametrize(
    ("run", "pointer"),
    [
        ({"mode": "full"}, "/mode"),
        ({"mode": "snapshot", "scope": ["price"]}, "?where"),
        ({"mode": "snapshot", "scope": [1]}, "/scope/0"),
        ({"scope": ["shop=north"]}, "/scope"),
    ],
)
async def test_a_run_that_means_nothing_is_refused(api, made, assert_problem, run, pointer):
    crawler = await made.crawler()
    answer = await api.post(f"/actions/crawlers/{crawler['fid']}/task", json=run)
    assert assert_problem(answer, 400, "request-invalid")["errors"][0]["pointer"] == pointer


async def test_a_snapshot_of_a_shop_and_a_deletion(api, made):
    crawler = await made.crawler(mode="snapshot", scope=["shop=north"])
    await _done(api, made, crawler, [{"id": doc_id, "shop": "north"} for doc_id in "ab"])
    await _done(api, made, crawler, [{"id": doc_id, "shop": "south"} for doc_id in "xy"], mode="merge")
    snapshot, _ = await _done(api, made, crawler, [{"id": "b", "shop": "north"}])
    assert await _ids(api, crawler) == ["b", "x", "y"]
    ended, receipt = await _done(api, made, crawler, [{"$delete": "x"}, {"id": "z"}], mode="merge")
    assert (receipt["count"], receipt["deleted"], ended["docs"], ended["deleted"]) == (1, 1, 1, 1)
    assert await _ids(api, crawler) == ["b", "y", "z"]
    history = (await api.get(f"/streams/{crawler['stream']}/docs/x/history")).json()["payload"]
    assert [(one["op"], one["standing"], one["shows"]) for one in history] == [
        ("delete", "deleted", False),
        ("upsert", "covered", False),
    ]
    assert history[0]["doc"] is None
    for fid in (ended["fid"], snapshot["fid"]):
        await api.delete(f"/actions/tasks/{fid}")
    assert await _ids(api, crawler) == ["a", "b", "x", "y"]


async def test_an_external_names_the_marker_of_deletions(api, assert_problem):
    external = (await api.post("/externals", json={"meta": {"name": "Marked"}, "docIdField": "id"})).json()["payload"]
    assert external["deleteMarker"] is None
    path = f"/externals/{external['fid']}"
    for value in (True, "d", 1):
        marker = {"field": "op", "value": value}
        changed = (await api.patch(path, json={"deleteMarker": marker})).json()["payload"]
        assert changed["deleteMarker"] == marker
        assert (await api.get(path)).json()["payload"]["deleteMarker"] == marker
    for wrong in (
        {"field": "op"},
        {"field": "op", "value": 1.5},
        {"field": "", "value": True},
        {"field": 1, "value": 1},
    ):
        assert_problem(await api.put(path, json={"deleteMarker": wrong}), 400, "request-invalid")
    assert (await api.patch(path, json={"deleteMarker": None})).json()["payload"]["deleteMarker"] is None
