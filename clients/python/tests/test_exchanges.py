"""The table of exchanges, played to this client: it sends what the table says, and makes of answers what it must."""

import gzip
import json
from urllib.parse import parse_qs

import httpx
import pytest

from exchange_table import cases, filled, take_steps
from headwater_client import Headwater, TaskWriter

URL = "http://headwater.example.org"


class Played(httpx.BaseTransport):
    """Answers requests in the order of the table, after it has compared them with it."""

    def __init__(self, exchanges: list[dict]) -> None:
        self.left = list(exchanges)
        self._keys: dict[str, str] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        assert self.left, f"the table has no {request.method} {request.url.path}"
        exchange = self.left.pop(0)
        self._compare(request, exchange["request"])
        answer = exchange["answer"]
        if answer == "dropped":
            raise httpx.ReadError("dropped")
        body = answer["text"].encode() if "text" in answer else json.dumps(answer.get("json")).encode()
        return httpx.Response(answer["status"], headers=answer["headers"], content=body)

    def _compare(self, request: httpx.Request, expected: dict) -> None:
        assert (request.method, request.url.raw_path.partition(b"?")[0].decode()) == (
            expected["method"],
            expected["path"],
        )
        assert {name: request.headers.get(name) for name in expected["headers"]} == expected["headers"]
        if "query" in expected:
            assert parse_qs(request.url.query.decode(), keep_blank_values=True) == expected["query"]
        if "key" in expected:
            key = request.headers["idempotency-key"]
            assert self._keys.setdefault(expected["key"], key) == key
            assert len(set(self._keys.values())) == len(self._keys)
        if "lines" in expected:
            assert [json.loads(line) for line in gzip.decompress(request.content).splitlines()] == expected["lines"]
        if "json" in expected:
            assert json.loads(request.content) == expected["json"]


@pytest.mark.parametrize("case", cases(), ids=lambda case: case["name"])
def test_the_client_keeps_to_the_table(case):
    case = filled(case, {})
    transport = Played(case["exchanges"])
    writer = TaskWriter(f"{URL}/actions/tasks/task.token", transport=transport, max_seconds=60)
    take_steps(case["steps"], Headwater(URL, "key", transport=transport), writer)
    writer.abandon()
    assert transport.left == []


@pytest.mark.parametrize("case", cases(), ids=lambda case: case["name"])
def test_no_token_is_sent_in_a_path(case):
    assert [exchange for exchange in case["exchanges"] if "{token}" in exchange["request"]["path"]] == []
