import httpx
import pytest
import structlog

from headwater.catalog import keys
from headwater.catalog.keys import Scope


async def _with(api, scope):
    parts = api.app.state.services
    key, secret = await parts.db.write(keys.add, name="k", scopes=(scope,), at=parts.clock())
    return key, {"Authorization": f"Bearer {secret}"}


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer hw_wrong"}, {"Authorization": "Basic eDp5"}])
async def test_without_a_valid_key_nothing_is_told(api, headers, assert_problem):
    api.headers.pop("authorization")
    for method, path in (
        ("GET", "/streams"),
        ("POST", "/streams"),
        ("GET", "/tasks/x"),
        ("DELETE", "/actions/tasks/x"),
    ):
        answer = await api.request(method, path, headers=headers)
        assert_problem(answer, 401, "not-authenticated")
        assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_key_that_only_reads_writes_nothing(api, made, assert_problem):
    task = await made.task()
    _, reader = await _with(api, Scope.READ)
    assert (await api.get("/streams", headers=reader)).status_code == 200
    for method, path in (
        ("POST", "/streams"),
        ("DELETE", f"/actions/tasks/{task['fid']}"),
        ("POST", f"/actions/tasks/{task['fid']}/upload"),
        ("POST", f"/actions/tasks/{task['fid']}/status"),
    ):
        assert_problem(await api.request(method, path, json={"code": 200}, headers=reader), 403, "not-allowed")


async def test_a_key_that_writes_may_upload_and_report(api, made):
    task = await made.task()
    _, writer = await _with(api, Scope.WRITE)
    path = f"/actions/tasks/{task['fid']}"
    assert (await api.post(f"{path}/upload", content=b'{"id": "a"}', headers=writer)).status_code == 200
    assert (await api.post(f"{path}/status", json={"code": 200}, headers=writer)).status_code == 200


async def test_a_revoked_key_is_out_at_once(api, assert_problem):
    key, headers = await _with(api, Scope.READ)
    assert (await api.get("/streams", headers=headers)).status_code == 200
    parts = api.app.state.services
    await parts.db.write(keys.revoke, key.fid, at=parts.clock())
    assert_problem(await api.get("/streams", headers=headers), 401, "not-authenticated")


async def test_a_task_token_opens_its_task_and_nothing_else(api, made, assert_problem):
    task, other = await made.task(), await made.task()
    token = task["upload"]["token"]
    bearer = {"Authorization": f"Bearer {token}"}
    api.headers.pop("authorization")
    assert (await api.post(f"/actions/tasks/{task['fid']}/upload", content=b"{}", headers=bearer)).status_code == 200
    assert (await api.post(f"/actions/tasks/{task['fid']}.{token}/upload", content=b"{}")).status_code == 200
    for path in (f"/actions/tasks/{other['fid']}/upload", f"/actions/tasks/{other['fid']}.{token}/upload"):
        assert_problem(await api.post(path, content=b"{}", headers=bearer), 401, "not-authenticated")
    assert_problem(await api.get(f"/tasks/{task['fid']}", headers=bearer), 401, "not-authenticated")
    assert_problem(await api.delete(f"/actions/tasks/{task['fid']}", headers=bearer), 401, "not-authenticated")


async def test_a_token_in_the_path_is_in_no_answer_and_no_log(api, made, caplog):
    task = await made.task()
    path = httpx.URL(task["upload"]["endpoint"]).path
    with structlog.testing.capture_logs() as lines:
        broken = await api.post(f"{path}/upload", content=b"nonsense")
        await api.post(f"{path}/upload", content=b"{}")
        await api.post(f"{path}/status", json={"code": 200})
    told = broken.text + str(lines) + caplog.text
    assert broken.status_code == 400
    assert "http.answered" in told
    assert task["upload"]["token"] not in told
    assert task["fid"] in told


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/tasks/{}"), ("DELETE", "/actions/tasks/{}"), ("GET", "/x/{}/y")]
)
async def test_a_token_in_the_wrong_place_is_not_repeated_either(api, made, method, path):
    task = await made.task()
    reference = f"{task['fid']}.{task['upload']['token']}"
    with structlog.testing.capture_logs() as lines:
        answer = await api.request(method, path.format(reference))
    assert answer.status_code == 404
    assert task["upload"]["token"] not in answer.text + str(lines)
