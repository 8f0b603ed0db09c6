import asyncio

import httpx
import pytest

from headwater.settings import Settings


@pytest.fixture
def settings(settings) -> Settings:
    return settings.model_copy(update={"requests_per_minute": 5, "uploads_per_task": 2})


async def test_a_key_that_asks_too_often_is_asked_to_wait(api, assert_problem):
    for _ in range(5):
        assert (await api.get("/streams")).status_code == 200
    refused = await api.get("/streams")
    assert_problem(refused, 429, "too-many-requests")
    assert refused.headers["retry-after"] == "12"
    assert (await api.get("/healthz")).status_code == 200


async def test_what_a_tasks_token_does_is_not_counted(api, made):
    task = await made.task()
    path = httpx.URL(task["upload"]["endpoint"]).path
    for number in range(10):
        assert (await api.post(f"{path}/upload", content=b'{"id": "%d"}' % number)).status_code == 200


async def test_a_task_that_uploads_too_much_at_once_is_asked_to_wait(api, made, assert_problem):
    task = await made.task()
    path = httpx.URL(task["upload"]["endpoint"]).path
    go_on = asyncio.Event()
    begun = 0

    async def slow():
        nonlocal begun
        yield b'{"id": "a"}\n'
        begun += 1
        await go_on.wait()

    async def untouched():
        raise AssertionError("the body was read before the answer")
        yield b""

    pending = [asyncio.create_task(api.post(f"{path}/upload", content=slow())) for _ in range(2)]
    while begun < 2:  # noqa: ASYNC110 - until both are under way
        await asyncio.sleep(0.01)
    headers = {"Expect": "100-continue"}  # asks before it sends
    refused = await api.post(f"{path}/upload", content=untouched(), headers=headers)
    assert_problem(refused, 429, "too-many-uploads")
    assert refused.headers["retry-after"] == "1"
    go_on.set()
    assert [answer.status_code for answer in await asyncio.gather(*pending)] == [200, 200]
    assert (await api.post(f"{path}/upload", content=b'{"id": "b"}')).status_code == 200
