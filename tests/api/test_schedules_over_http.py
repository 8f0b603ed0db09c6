import asyncio
from datetime import UTC, datetime, timedelta

import pytest


@pytest.fixture
async def external(made) -> dict:
    return await made.external(endpoint="http://ec.test")


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def test_a_crawler_shows_its_schedule_and_its_next_run(api, made, external):
    crawler = await made.crawler(external, schedule={"cron": "30 2 * * *"})
    shown = {"cron": "30 2 * * *", "timezone": "UTC", "every": None, "jitter": 0, "paused": False}
    assert crawler["schedule"] == shown
    next_run = _moment(crawler["next_run_at"])
    assert (next_run.hour, next_run.minute) == (2, 30)
    assert timedelta(0) < next_run - datetime.now(UTC) <= timedelta(days=1)
    assert crawler["last_skip"] is None
    path = f"/crawlers/{crawler['fid']}"
    put = await api.put(path, json={"schedule": shown})
    assert put.json()["payload"]["next_run_at"] == crawler["next_run_at"]


async def test_a_schedule_is_paused_resumed_and_changed_by_patches(api, made, external):
    crawler = await made.crawler(external, schedule={"cron": "0 4 * * 1", "timezone": "Europe/Berlin", "jitter": 60})

    async def patched(schedule) -> dict:
        return (await api.patch(f"/crawlers/{crawler['fid']}", json={"schedule": schedule})).json()["payload"]

    paused = await patched({"paused": True})
    assert (paused["next_run_at"], paused["schedule"]["jitter"]) == (None, 60)
    assert (await patched({"paused": False}))["next_run_at"] is not None
    hourly = await patched({"cron": None, "every": 3600})
    assert hourly["schedule"] == {"cron": None, "timezone": None, "every": 3600, "jitter": 60, "paused": False}
    none = await patched(None)
    assert (none["schedule"], none["next_run_at"]) == (None, None)


@pytest.mark.parametrize(
    ("schedule", "pointer"),
    [
        ({"cron": "61 * * * *"}, "/schedule/cron"),
        ({"cron": "* * *"}, "/schedule/cron"),
        ({"cron": "* * * * *", "timezone": "Berlin"}, "/schedule/timezone"),
        ({"every": 0}, "/schedule/every"),
        ({"every": "60"}, "/schedule/every"),
        ({"every": 60, "jitter": -1}, "/schedule/jitter"),
        ({"every": 60, "jitter": 60}, "/schedule"),
        ({"every": 60, "cron": "* * * * *"}, "/schedule"),
        ({}, "/schedule"),
        ({"every": 60, "pause": True}, "/schedule/pause"),
        ("30 2 * * *", "/schedule"),
    ],
)
async def test_a_schedule_that_means_nothing_is_refused_with_its_place(
    api, made, external, assert_problem, schedule, pointer
):
    crawler = await made.crawler(external)
    for method in (api.put, api.patch):
        answer = await method(f"/crawlers/{crawler['fid']}", json={"schedule": schedule})
        assert assert_problem(answer, 400, "request-invalid")["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize("field", ["next_run_at", "last_skip"])
async def test_what_a_schedule_comes_to_is_not_for_callers_to_write(api, made, external, assert_problem, field):
    crawler = await made.crawler(external)
    assert_problem(await api.patch(f"/crawlers/{crawler['fid']}", json={field: None}), 400, "request-invalid")


async def test_a_script_has_no_schedule(api, made, assert_problem):
    crawler = await made.crawler()
    answer = await api.patch(f"/crawlers/{crawler['fid']}", json={"schedule": {"every": 60}})
    problem = assert_problem(answer, 400, "request-invalid")
    assert problem["errors"][0]["pointer"] == "/schedule"
    assert "push" in problem["detail"]


async def test_a_crawler_runs_by_itself_and_what_it_skips_is_told(api, made, external):
    crawler = await made.crawler(external, schedule={"every": 1})
    for _ in range(600):
        seen = (await api.get(f"/crawlers/{crawler['fid']}")).json()["payload"]
        if seen["last_skip"] is not None:
            break
        await asyncio.sleep(0.05)
    (task,) = (await api.get(f"/tasks?crawler={crawler['fid']}")).json()["payload"]
    assert (task["origin"], task["attempt"]) == ("schedule", 1)
    assert task["fid"] in seen["last_skip"]["why"]
    assert _moment(seen["last_skip"]["at"]) > _moment(task["started_at"])
