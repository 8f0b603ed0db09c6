"""The versions of an External: read, listed, published, tried."""

import pytest


@pytest.fixture
async def external(api, made):
    """An External of three versions."""
    external = await made.external(parameters=[{"name": "depth", "type": "integer"}], headers={"X-Version": "1"})
    for version in ("2", "3"):
        answer = await api.patch(f"/externals/{external['fid']}", json={"headers": {"X-Version": version}})
        assert answer.status_code == 200
    return answer.json()["payload"]


async def _publish(api, external, version, **headers):
    path = f"/actions/externals/{external['fid']}/publish"
    return await api.post(path, json={"version": version}, headers=headers)


async def test_an_old_version_stays_readable(api, external):
    path = f"/externals/{external['fid']}"
    first = await api.get(path, params={"version": 1})
    assert (first.json()["version"], first.headers["etag"]) == (1, '"1"')
    assert first.json()["payload"]["headers"] == {"X-Version": "1"}
    assert (await api.get(path, params={"version": 3})).json() == (await api.get(path)).json()


async def test_a_version_that_does_not_exist_is_404_and_what_is_no_version_400(api, external, assert_problem):
    path = f"/externals/{external['fid']}"
    assert "the newest is 3" in assert_problem(await api.get(path, params={"version": 4}), 404, "not-found")["detail"]
    assert_problem(await api.get(path, params={"version": 0}), 400, "request-invalid")
    assert_problem(await api.get(path, params={"version": 1 << 31}), 400, "request-invalid")
    assert_problem(await _publish(api, external, 4), 404, "not-found")
    assert_problem(await _publish(api, external, "2"), 400, "request-invalid")
    assert_problem(await _publish(api, {"fid": "0" * 32}, 1), 404, "not-found")
    publish = f"/actions/externals/{external['fid']}/publish"
    assert (
        assert_problem(await api.post(publish, json={}), 400, "request-invalid")["errors"][0]["pointer"] == "/version"
    )


async def test_versions_are_listed_with_the_published_one_marked(api, external):
    await _publish(api, external, 2)
    path = f"/externals/{external['fid']}/versions"
    first = (await api.get(path, params={"limit": 2})).json()
    second = (await api.get(path, params={"limit": 2, "cursor": first["next_cursor"]})).json()
    listed = first["payload"] + second["payload"]
    assert [(each["version"], each["published"]) for each in listed] == [(3, False), (2, True), (1, False)]
    assert listed[0]["created_at"] == external["updated_at"]
    assert listed[2]["created_at"] == external["created_at"]
    assert second["next_cursor"] is None


async def test_the_versions_of_nothing_are_404(api, assert_problem):
    assert_problem(await api.get(f"/externals/{'0' * 32}/versions"), 404, "not-found")


async def test_publishing_shows_on_the_external_and_moves_neither_version_nor_etag(api, external):
    answer = await _publish(api, external, 2)
    assert (answer.status_code, answer.headers["etag"]) == (200, '"3"')
    assert answer.json()["payload"] == external | {"published": 2}
    assert (await api.get(f"/externals/{external['fid']}")).json()["payload"] == external | {"published": 2}
    again = await _publish(api, external, 2)
    assert again.json() == answer.json()
    assert (await _publish(api, external, None)).json()["payload"] == external


async def test_publishing_can_demand_that_nobody_has_edited_meanwhile(api, external, assert_problem):
    assert_problem(await _publish(api, external, 2, **{"If-Match": '"2"'}), 412, "version-mismatch")
    assert (await _publish(api, external, 2, **{"If-Match": '"3"'})).status_code == 200
    # Who read it before it was published has read all that an edit is about.
    edit = {"json": {"analysis": {}}, "headers": {"If-Match": '"3"'}}
    edited = (await api.patch(f"/externals/{external['fid']}", **edit)).json()["payload"]
    assert (edited["version"], edited["published"]) == (4, 2)


async def test_what_is_published_is_not_written_as_a_field(api, external, assert_problem):
    path = f"/externals/{external['fid']}"
    assert_problem(await api.patch(path, json={"published": 1}), 400, "request-invalid")
    assert_problem(await api.put(path, json={"published": 1}), 400, "request-invalid")
    await _publish(api, external, 1)
    assert (await api.put(path, json={})).json()["payload"]["published"] == 1


async def test_tasks_run_with_the_published_version_and_say_so(api, made, external):
    await _publish(api, external, 1)
    crawler = await made.crawler(external)
    start = f"/actions/crawlers/{crawler['fid']}/task"
    task = (await api.post(start)).json()["payload"]
    assert task["external_version"] == 1
    # The open one is in the way, whatever version is asked for.
    other = await api.post(start, params={"version": 3})
    assert (other.status_code, other.json()["payload"]["external_version"]) == (208, 1)
    await api.post(f"/actions/tasks/{task['fid']}/stop")
    tried = await api.post(start, params={"version": 3})
    assert (tried.status_code, tried.json()["payload"]["external_version"]) == (201, 3)
    await api.post(f"/actions/tasks/{tried.json()['payload']['fid']}/stop")
    retried = await api.post(f"{start}/{task['fid']}", params={"version": 2})
    assert (retried.status_code, retried.json()["payload"]["external_version"]) == (200, 2)


async def test_a_task_of_a_version_that_does_not_exist_is_404(api, made, external, assert_problem):
    crawler = await made.crawler(external)
    start = f"/actions/crawlers/{crawler['fid']}/task"
    assert_problem(await api.post(start, params={"version": 9}), 404, "not-found")
    assert (await api.get("/tasks")).json()["payload"] == []
    assert_problem(await api.post(start, params={"version": "new"}), 400, "request-invalid")


async def test_a_crawler_can_be_set_up_and_changed_for_a_version_that_is_not_published(
    api, made, external, assert_problem
):
    await _publish(api, external, 3)
    parameters = [{"name": "language", "type": "string", "req": True}]
    assert (await api.patch(f"/externals/{external['fid']}", json={"parameters": parameters})).status_code == 200
    stream = await made.stream()
    body = {"meta": {"links": [{"from": {"type": "streams", "fid": stream["fid"]}}]}, "params": {"language": "de"}}
    create = f"/actions/externals/{external['fid']}/crawler"
    assert_problem(await api.post(create, json=body), 400, "parameters-invalid")
    assert_problem(await api.post(create, json=body, params={"version": 5}), 404, "not-found")
    crawler = (await api.post(create, json=body, params={"version": 4})).json()["payload"]
    path = f"/crawlers/{crawler['fid']}"
    patch = {"params": {"language": "en"}}
    assert_problem(await api.patch(path, json=patch), 400, "parameters-invalid")
    assert (await api.patch(path, json=patch, params={"version": 4})).json()["payload"]["params"] == patch["params"]
    assert (await api.put(path, json=patch, params={"version": 4})).status_code == 200
    start = f"/actions/crawlers/{crawler['fid']}/task"
    assert_problem(await api.post(start), 400, "parameters-invalid")
    assert (await api.post(start, params={"version": 4})).status_code == 201


async def test_an_external_with_a_published_version_can_be_deleted(api, external):
    await _publish(api, external, 2)
    assert (await api.delete(f"/externals/{external['fid']}")).status_code == 200
