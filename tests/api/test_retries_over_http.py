import asyncio

import httpx
import pytest

from headwater.settings import Settings, SettingsWrong


@pytest.fixture
def settings(settings) -> Settings:
    return settings.model_copy(update={"retry_backoff": (0.01,)})


async def test_a_failed_task_is_retried_by_itself_and_its_attempts_are_listed(api, made, ecs):
    ecs.answer(httpx.Response(200, json={"payload": {"status": {"code": 503, "message": "down"}}}))
    external = await made.external(endpoint="http://ec.test")
    crawler = await made.crawler(external, retries=1)
    assert crawler["retries"] == 1
    task = await made.task(crawler)
    assert task["retry_at"] is None
    for _ in range(800):
        now = (await api.get(f"/tasks/{task['fid']}")).json()["payload"]
        if (now["attempt"], now["state"]) == (2, "failed"):
            break
        await asyncio.sleep(0.02)
    assert (now["attempt"], now["code"], now["origin"], now["retry_at"]) == (2, 503, "api", None)
    path = f"/tasks/{task['fid']}/attempts"
    first = await api.get(f"{path}?limit=1")
    (second_attempt,) = first.json()["payload"]
    rest = (await api.get(f"{path}?limit=1&cursor={first.json()['next_cursor']}")).json()
    (first_attempt,) = rest["payload"]
    assert (second_attempt["attempt"], first_attempt["attempt"]) == (2, 1)
    assert first_attempt["started_at"] == task["started_at"]
    assert first_attempt["ended_at"] < second_attempt["started_at"]
    for one in (first_attempt, second_attempt):
        assert (one["code"], one["reason"], one["message"], one["docs"]) == (503, "reported", "down", 0)


async def test_passwords_in_attempts_are_not_told(api, made):
    external = await made.external(parameters=[{"name": "pin", "type": "password"}])
    task = await made.task(await made.crawler(external), params={"pin": "4711"})
    answer = await api.get(f"/tasks/{task['fid']}/attempts")
    assert answer.json()["payload"][0]["params"] == {"pin": "********"}


async def test_a_script_cannot_be_retried_by_itself(api, made, assert_problem):
    crawler = await made.crawler()
    for body in ({"retries": 1}, {"retries": -1}, {"retries": 101}):
        problem = assert_problem(await api.patch(f"/crawlers/{crawler['fid']}", json=body), 400, "request-invalid")
        assert problem["errors"][0]["pointer"] == "/retries"


async def test_attempts_of_no_task_are_not_found(api, assert_problem):
    assert_problem(await api.get(f"/tasks/{'0' * 32}/attempts"), 404, "not-found")


@pytest.mark.parametrize("wrong", ["", "0", "5,-1", "soon"])
def test_a_pause_is_some_time(wrong, monkeypatch):
    monkeypatch.setenv("HEADWATER_RETRY_BACKOFF", wrong)
    with pytest.raises(SettingsWrong, match="retry_backoff"):
        Settings.read()
