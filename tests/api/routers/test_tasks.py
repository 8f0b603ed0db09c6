from urllib.parse import urljoin

import pytest


async def _fids(api, query: str) -> list[str]:
    return [task["fid"] for task in (await api.get(f"/tasks?{query}")).json()["payload"]]


async def _pages(api, query: str) -> list[str]:
    url, found = f"/tasks?limit=1&{query}", []
    while True:
        answer = await api.get(url)
        found += [task["fid"] for task in answer.json()["payload"]]
        if "link" not in answer.headers:
            return found
        url = urljoin(url, answer.headers["link"].partition(">")[0][1:])


async def test_tasks_are_listed_by_states_times_and_size(api, made):
    big = await made.done(await made.crawler(), b'{"id": "a"}\n{"id": "b"}\n')
    failed = await made.task()
    await api.post(f"/actions/tasks/{failed['fid']}/status", json={"code": 500})
    running = await made.task()
    await made.upload(running)
    assert await _fids(api, "state=failed,running&sort=created_at") == [failed["fid"], running["fid"]]
    assert await _pages(api, "sort=-docs") == [big["fid"], running["fid"], failed["fid"]]
    assert sorted(await _pages(api, "sort=duration")) == sorted([big["fid"], failed["fid"]])
    assert await _fids(api, f"since={big['started_at']}&until={failed['started_at']}") == [big["fid"]]
    assert await _fids(api, f"ended_since={big['ended_at']}&state=done") == [big["fid"]]


async def test_a_task_says_how_long_it_took_once_it_has_ended(api, made):
    task = await made.task()
    assert task["duration"] is None
    ended = await api.post(f"/actions/tasks/{task['fid']}/status", json={"code": 200})
    assert 0 <= ended.json()["payload"]["duration"] < 600


@pytest.mark.parametrize(
    "query", ["state=done,", "state=lost", "sort=price", "sort=--docs", "since=yesterday", "until=12", "state=done|new"]
)
async def test_a_list_of_tasks_by_what_there_is_not_is_refused(api, query, assert_problem):
    problem = assert_problem(await api.get(f"/tasks?{query}"), 400, "request-invalid")
    assert problem["errors"][0]["pointer"] == "?" + query.partition("=")[0]
