import pytest


async def _ended(api, made, crawler, body: bytes = b"", code: int = 200) -> dict:
    task = await made.task(crawler)
    if body:
        await made.upload(task, body)
    said = {"code": code, "message": "over"}
    return (await api.post(f"/actions/tasks/{task['fid']}/status", json=said)).json()["payload"]


async def test_a_crawler_shows_its_gates_and_a_patch_changes_one_of_them(api, made):
    assert (await made.crawler())["gates"] is None
    crawler = await made.crawler(gates={"min_docs": 5, "max_shrink": 0.4})
    path = f"/crawlers/{crawler['fid']}"
    assert crawler["gates"] == {"min_docs": 5, "max_shrink": 0.4, "max_rejected": None}
    patched = await api.patch(path, json={"gates": {"max_shrink": None, "max_rejected": 3}})
    assert patched.json()["payload"]["gates"] == {"min_docs": 5, "max_shrink": None, "max_rejected": 3}
    seen = (await api.get(path)).json()["payload"]
    writable = {name: seen[name] for name in ("meta", "params", "timeout", "publish", "gates")}
    assert (await api.put(path, json=writable)).json()["payload"]["gates"] == seen["gates"]
    assert (await api.patch(path, json={"gates": None})).json()["payload"]["gates"] is None
    assert (await api.put(path, json={"gates": {}})).json()["payload"]["gates"]["min_docs"] is None


@pytest.mark.parametrize(
    ("gates", "pointer"),
    [
        ({"min_docs": -1}, "/gates/min_docs"),
        ({"min_docs": "1"}, "/gates/min_docs"),
        ({"min_docs": 1 << 40}, "/gates/min_docs"),
        ({"max_shrink": 1.1}, "/gates/max_shrink"),
        ({"max_shrink": True}, "/gates/max_shrink"),
        ({"max_rejected": -0.1}, "/gates/max_rejected"),
        ({"max_rejected": 1.5}, "/gates/max_rejected"),
        ({"min_doc": 1}, "/gates/min_doc"),
    ],
)
async def test_a_gate_that_means_nothing_is_refused_with_its_place(api, made, assert_problem, gates, pointer):
    crawler = await made.crawler()
    problem = assert_problem(
        await api.put(f"/crawlers/{crawler['fid']}", json={"gates": gates}), 400, "request-invalid"
    )
    assert problem["errors"][0]["pointer"] == pointer


async def test_a_run_that_fails_a_gate_answers_so_and_shows_in_the_streams_status(api, made, assert_problem):
    crawler = await made.crawler(gates={"min_docs": 2})
    ended = await _ended(api, made, crawler, b'{"id": "a"}\n')
    assert (ended["code"], ended["state"], ended["reason"]) == (200, "done", "gate_failed")
    assert ended["detail"]["gates"] == [{"gate": "min_docs", "limit": 2, "value": 1}]
    stream = (await api.get(f"/streams/{crawler['stream']}")).json()["payload"]
    assert stream["status"]["message"] == "not published, min_docs: 1 document, and at least 2 are wanted"
    docs = f"/streams/{crawler['stream']}/docs"
    assert (await api.get(docs)).json()["payload"] == []
    publish = f"/actions/tasks/{ended['fid']}/publish"
    for _ in range(2):
        answer = await api.post(publish)
        assert answer.status_code == 200
        assert answer.json()["payload"]["reason"] == "published_by_user"
        assert answer.headers["etag"] == f'"{answer.json()["version"]}"'
    assert [doc["id"] for doc in (await api.get(docs)).json()["payload"]] == ["a"]
    log = (await api.get(f"/streams/{crawler['stream']}/log")).json()["payload"]
    assert [entry["change"] for entry in log] == ["publish", "withhold", "upload"]
    await api.delete(f"/actions/tasks/{ended['fid']}")
    assert_problem(await api.post(publish), 409, "task-removed")


async def test_what_no_gate_kept_out_is_not_published_by_hand(api, made, assert_problem):
    crawler = await made.crawler(gates={"min_docs": 1})
    passed = await _ended(api, made, crawler, b'{"id": "a"}\n')
    problem = assert_problem(await api.post(f"/actions/tasks/{passed['fid']}/publish"), 409, "nothing-to-publish")
    assert "passed its gates" in problem["detail"]
    failed = await _ended(api, made, crawler, code=500)
    assert_problem(await api.post(f"/actions/tasks/{failed['fid']}/publish"), 409, "nothing-to-publish")
    assert_problem(await api.post(f"/actions/tasks/{'0' * 32}/publish"), 404, "not-found")
