import asyncio

import pytest

from headwater.catalog import keys
from headwater.catalog.keys import Scope


@pytest.fixture
def audited(api):
    """Ask for entries, newest first: ``(action, type, fid, detail)``."""

    async def ask(**wanted) -> list[tuple]:
        answer = await api.get("/audit", params=wanted)
        assert answer.status_code == 200, answer.text
        return [
            (each["action"], each["object"]["type"], each["object"]["fid"], each["detail"])
            for each in answer.json()["payload"]
        ]

    return ask


@pytest.fixture
async def another_key(api):
    """Make a key with a scope: ``(its fid, headers that show it)``."""

    async def make(scope: Scope) -> tuple[str, dict[str, str]]:
        parts = api.app.state.services
        key, secret = await parts.db.write(keys.add, name="other", scopes=(scope,), at=parts.clock())
        return key.fid, {"Authorization": f"Bearer {secret}"}

    return make


async def test_who_did_what_to_which_object_when_is_told(api, another_key, assert_problem):
    fid, key = await another_key(Scope.WRITE)
    made = await api.post("/streams", json={"meta": {"name": "Books"}}, headers=key | {"X-Request-ID": "mine"})
    (entry,) = (await api.get("/audit", params={"key": fid})).json()["payload"]
    assert {name: entry[name] for name in ("key", "name", "origin", "action", "request_id")} == {
        "key": fid,
        "name": "other",
        "origin": "api",
        "action": "create_stream",
        "request_id": "mine",
    }
    assert entry["object"] == {"type": "streams", "fid": made.json()["payload"]["fid"]}
    assert entry["at"] >= made.json()["payload"]["created_at"]
    assert_problem(await api.get("/audit", headers=key), 403, "not-allowed")


async def test_objects_are_audited_from_their_making_to_their_end(api, made, audited):
    external, stream = await made.external(meta={"name": "Books"}), await made.stream()
    crawler = await made.crawler(external, stream)
    path = f"/crawlers/{crawler['fid']}"
    await api.patch(path, json={"timeout": 90, "meta": {"name": "Nightly"}})
    await api.put(f"/externals/{external['fid']}", json={"docIdField": "sku", "headers": {"X-Shop": "1"}})
    await api.post(f"/actions/externals/{external['fid']}/publish", json={"version": 1})
    await made.task(crawler)
    await api.delete(f"/externals/{external['fid']}", params={"cascade": "true"})
    found = await audited()
    task = found[1][2]
    assert found == [
        ("delete_external", "externals", external["fid"], {"crawlers": [crawler["fid"]], "tasks": 1}),
        ("create_task", "tasks", task, {"crawler": crawler["fid"], "params": [], "external_version": 1}),
        ("publish_external", "externals", external["fid"], {"version": 1}),
        ("put_external", "externals", external["fid"], {"fields": ["/docIdField", "/headers/X-Shop", "/meta/name"]}),
        ("patch_crawler", "crawlers", crawler["fid"], {"fields": ["/meta/name", "/timeout"]}),
        ("create_crawler", "crawlers", crawler["fid"], {}),
        ("create_stream", "streams", stream["fid"], {}),
        ("create_external", "externals", external["fid"], {"name": "Books"}),
    ]


async def test_what_is_done_with_tasks_is_audited_and_what_changes_nothing_is_not(api, made, audited):
    crawler = await made.crawler()
    task = await made.task(crawler)
    fid = task["fid"]
    again = await api.post(f"/actions/crawlers/{crawler['fid']}/task", json={})
    assert again.status_code == 208
    for _ in range(2):
        await api.post(f"/actions/tasks/{fid}/stop")
    await api.delete(f"/actions/tasks/{fid}", params={"dry_run": "true"})
    for _ in range(2):
        await api.delete(f"/tasks/{fid}")
    await api.post(f"/actions/tasks/{fid}/restore")
    await api.post(f"/actions/tasks/{fid}/restore")
    await api.post(f"/actions/crawlers/{crawler['fid']}/task/{fid}", json={})
    await api.post(f"/actions/tasks/{fid}/publish")  # 409
    assert [(action, detail) for action, _, _, detail in await audited(type="tasks", object=fid)] == [
        ("retry_task", {"attempt": 2, "params": [], "external_version": 1}),
        ("restore_task", {}),
        ("delete_task", {"stream": task["stream"]}),
        ("stop_task", {}),
        ("create_task", {"crawler": crawler["fid"], "params": [], "external_version": 1}),
    ]


async def test_publishing_again_what_is_published_is_not_audited(api, made, audited):
    external = await made.external()
    for _ in range(2):
        await api.post(f"/actions/externals/{external['fid']}/publish", json={"version": 1})
    assert len(await audited(action="publish_external")) == 1


async def test_uploads_and_signs_of_life_are_not_audited_and_closing_by_a_key_is(api, made, audited):
    task = await made.task()
    path = f"/actions/tasks/{task['fid']}"
    await made.upload(task)
    await api.post(f"{path}/upload?", content=b'{"id": "b"}\n')
    await api.post(f"{path}/status", json={"code": 102})
    assert {action for action, *_ in await audited(object=task["fid"])} == {"create_task"}
    await api.post(f"{path}/status", json={"code": 200})
    assert (await audited())[0][:3] == ("report_status", "tasks", task["fid"])


async def test_the_reports_of_a_crawler_are_not_audited(api, made, audited):
    task = await made.task()
    headers = {"Authorization": f"Bearer {task['upload']['token']}"}
    await api.post(f"/actions/tasks/{task['fid']}/status", json={"code": 200}, headers=headers)
    assert [action for action, *_ in await audited(object=task["fid"])] == ["create_task"]


async def test_bulk_actions_are_audited_with_their_filter(api, made, audited):
    crawler = await made.crawler()
    await made.done(crawler, b'{"id": "a"}\n')
    stream = crawler["stream"]
    wanted = {"since": "2020-01-01T00:00:00Z", "origin": "api"}
    await api.post(f"/actions/streams/{stream}/revert", json=wanted | {"dry_run": True})
    for _ in range(2):
        reverted = await api.post(f"/actions/streams/{stream}/revert", json=wanted)
    await api.post(f"/actions/streams/{stream}/restore", json={"stream_version": 2})
    assert reverted.json()["payload"]["tasks"] == []
    assert (await audited())[:2] == [
        ("restore_stream", "streams", stream, {"filter": {"stream_version": 2}, "tasks": 1, "stream_version": 3}),
        ("revert_stream", "streams", stream, {"filter": wanted, "tasks": 1, "stream_version": 2}),
    ]


async def test_an_erasure_is_audited_without_what_was_erased(api, made, audited):
    crawler = await made.crawler()
    await made.done(crawler, b'{"id": "anna@example.org"}\n')
    answer = await api.delete(f"/streams/{crawler['stream']}/docs/anna@example.org")
    assert answer.status_code == 200
    (entry,) = await audited(action="erase_doc")
    assert entry == ("erase_doc", "streams", crawler["stream"], {"stream_version": 2, "docs": 1})
    assert "anna" not in (await api.get("/audit")).text


async def test_no_secret_is_in_the_audit(api, made):
    parameters = [{"name": "pin", "type": "password"}, {"name": "shop", "type": "string"}]
    external = await made.external(parameters=parameters, credential="basic", headers={"X-Key": "header-secret"})
    secrets = {"pin": "pin-secret", "shop": "a"}
    credential = {"user": "anna", "password": "password-secret"}
    crawler = await made.crawler(external, params=secrets, credential=credential)
    path = f"/crawlers/{crawler['fid']}"
    await api.patch(path, json={"params": {"shop": "b"}})
    await api.patch(path, json={"params": {"pin": "other-secret"}, "credential": {**credential, "user": "bob"}})
    await made.task(crawler, params={"pin": "third-secret"})
    told = (await api.get("/audit")).text
    assert "secret" not in told
    found = [each["detail"] for each in (await api.get("/audit")).json()["payload"]]
    assert found[:3] == [
        {"crawler": crawler["fid"], "params": ["pin"], "external_version": 1},
        {"fields": ["/credential", "/params/pin"]},
        {"fields": ["/params/shop"]},
    ]


async def test_many_at_once_are_each_their_own_doers(api, another_key):
    fid, key = await another_key(Scope.WRITE)

    async def make(number: int) -> tuple[str, str]:
        headers = key if number % 2 else {}
        answer = await api.post("/streams", json={"meta": {"name": str(number)}}, headers=headers)
        return answer.json()["payload"]["fid"]

    made = await asyncio.gather(*(make(number) for number in range(30)))
    entries = (await api.get("/audit", params={"key": fid, "limit": 100})).json()["payload"]
    assert {entry["object"]["fid"] for entry in entries} == set(made[1::2])
    assert len((await api.get("/audit", params={"action": "create_stream", "limit": 100})).json()["payload"]) == 30


async def test_the_audit_is_read_page_by_page(api, made):
    fids = [(await made.stream())["fid"] for _ in range(3)]
    first = (await api.get("/audit", params={"limit": 2})).json()
    second = await api.get("/audit", params={"limit": 2, "cursor": first["next_cursor"]})
    read = [each["object"]["fid"] for each in first["payload"] + second.json()["payload"]]
    assert read == fids[::-1]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_there_is_no_call_that_changes_the_audit(api, method, assert_problem):
    assert_problem(await api.request(method, "/audit"), 405, "method-not-allowed")


async def test_a_moment_needs_its_zone(api, assert_problem):
    assert_problem(await api.get("/audit", params={"since": "2026-03-01T00:00:00"}), 400, "request-invalid")
