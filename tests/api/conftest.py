"""A client that makes what a test needs over HTTP."""

import pytest


class Made:
    """Objects made over HTTP."""

    def __init__(self, api) -> None:
        self.api = api

    async def stream(self, **body) -> dict:
        return await self._made("/streams", body)

    async def external(self, **body) -> dict:
        return await self._made("/externals", {"docIdField": "id"} | body)

    async def crawler(self, external: dict | None = None, stream: dict | None = None, **body) -> dict:
        external = external or await self.external()
        stream = stream or await self.stream()
        links = [{"from": {"type": "streams", "fid": stream["fid"]}}]
        return await self._made(f"/actions/externals/{external['fid']}/crawler", {"meta": {"links": links}} | body)

    async def task(self, crawler: dict | None = None, **body) -> dict:
        crawler = crawler or await self.crawler()
        return await self._made(f"/actions/crawlers/{crawler['fid']}/task", body)

    async def upload(self, task: dict, body: bytes = b'{"id": "a"}\n', **headers):
        return await self.api.post(f"/actions/tasks/{task['fid']}/upload", content=body, headers=headers)

    async def done(self, crawler: dict, body: bytes) -> dict:
        task = await self.task(crawler)
        assert (await self.upload(task, body)).status_code == 200
        closed = await self.api.post(f"/actions/tasks/{task['fid']}/status", json={"code": 200})
        return closed.json()["payload"]

    async def _made(self, path: str, body: dict) -> dict:
        answer = await self.api.post(path, json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()["payload"]


@pytest.fixture
def made(api) -> Made:
    return Made(api)


@pytest.fixture
def assert_problem():
    """Check the one shape that every error has."""

    def check(answer, status: int, kind: str) -> dict:
        problem = answer.json()
        assert (answer.status_code, problem["type"].rpartition("/")[2]) == (status, kind), answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert problem["status"] == status
        assert problem["success"] is False
        assert problem["title"]
        assert problem["detail"]
        assert problem["messages"]
        assert isinstance(problem["errors"], list)
        assert problem["truncated"] in {True, False}
        assert problem["request_id"] == answer.headers["x-request-id"]
        return problem

    return check
