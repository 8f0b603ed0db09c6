"""A server that uploads are sent to, in place of the network."""

from __future__ import annotations

import gzip
import json
import threading

import httpx

ENDPOINT = "https://headwater.example.org/base/actions/tasks/0197.secret"
TASK = {"fid": "0197", "type": "tasks", "meta": {}, "state": "done", "code": 200}
RECEIPT = {"success": True, "payload": {"count": 1, "total": 1, "bytes": 1}}


class Server(httpx.BaseTransport):
    """Keeps what it is sent, and answers as it is told to."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        #: Given a request, an answer in place of the usual one.
        self.answer = lambda _request: None
        self.open = threading.Event()
        self.open.set()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        assert self.open.wait(10)
        self.requests.append(request)
        answer = self.answer(request)
        if answer is not None:
            return answer
        return httpx.Response(200, json=RECEIPT if request.url.path.endswith("upload") else {"payload": TASK})

    @property
    def lines(self) -> list[bytes]:
        """Of all uploads."""
        uploads = [request for request in self.requests if request.url.path.endswith("upload")]
        return [line for upload in uploads for line in body_of(upload).splitlines()]

    @property
    def statuses(self) -> list[dict]:
        reports = [request for request in self.requests if request.url.path.endswith("status")]
        return [json.loads(report.content) for report in reports]


def body_of(upload: httpx.Request) -> bytes:
    """Return the lines of an upload, as they were before they were packed."""
    return gzip.decompress(upload.content) if "content-encoding" in upload.headers else upload.content
