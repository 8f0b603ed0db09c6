"""A crawler's server asked in this process, and a Headwater that hears what its writers send."""

import asyncio
import gzip
import json
import threading
from dataclasses import dataclass, field

import httpx

#: Seconds after which a test that waits has failed.
PATIENCE = 10

TASK = {
    "fid": "f1",
    "type": "tasks",
    "version": 1,
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:00:00Z",
    "meta": {},
    "heard_at": "2026-01-01T00:00:00Z",
    "deadline": "2026-01-01T01:00:00Z",
}


@dataclass
class Heard:
    """A call that the crawler made."""

    what: str
    fid: str
    token: str
    body: bytes

    @property
    def documents(self):
        return [json.loads(line) for line in self.body.splitlines()]

    @property
    def status(self):
        return json.loads(self.body)


@dataclass
class FakeHeadwater:
    """Takes uploads and statuses, and answers as it is told."""

    heard: list[Heard] = field(default_factory=list)
    #: What is answered to a call: a status and a body, or None for what Headwater answers when all is well.
    answer: object = lambda _call: None
    #: Of the crawlers, in seconds.
    timeout: float = 3600

    def transport(self):
        return httpx.MockTransport(self._take)

    def _take(self, request):
        *_, fid, what = request.url.path.split("/")
        body = request.read()
        if request.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        call = Heard(what, fid, request.headers.get("authorization", "").removeprefix("Bearer "), body)
        self.heard.append(call)
        answer = self.answer(call)
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            status, problem = answer
            return httpx.Response(status, json=problem)
        if what in {"upload", "log"}:
            payload = {"count": len(call.documents), "total": len(call.documents), "bytes": len(body)}
        else:
            deadline = f"2026-01-01T00:00:{self.timeout:06.3f}Z" if self.timeout < 60 else TASK["deadline"]
            payload = {**TASK, "fid": fid, "deadline": deadline, "code": call.status["code"]}
        return httpx.Response(200, json={"success": True, "payload": payload, "version": 1})

    def documents(self, fid="f1"):
        return [each for call in self.heard if (call.what, call.fid) == ("upload", fid) for each in call.documents]

    def statuses(self, fid="f1"):
        return [call.status for call in self.heard if (call.what, call.fid) == ("status", fid)]

    def codes(self, fid="f1"):
        return [status["code"] for status in self.statuses(fid)]

    async def closed(self, fid="f1"):
        """Wait until a crawler has closed a task, and return how."""
        await until(lambda: any(code != 102 for code in self.codes(fid)))
        return self.statuses(fid)[-1]


async def until(holds):
    """Wait until something is so."""
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - what is waited for happens in threads
            await asyncio.sleep(0.005)


class Caller:
    """Headwater's dispatcher: asks a crawler's server."""

    def __init__(self, crawler, **headers):
        self.crawler = crawler
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=crawler, raise_app_exceptions=False),
            base_url="http://ec",
            headers=headers,
        )

    async def start(self, fid="f1", token="t1", version=3, **fields):  # noqa: S107 - a made-up secret
        order = {
            "fid": fid,
            "params": {},
            "credential": None,
            "endpoint": f"https://hw/actions/tasks/{fid}.{token}",
            "token": token,
            **fields,
        }
        return await self.client.post("/task", params={"version": version}, json=order)

    async def end(self, fid="f1", code=410):
        body = {"code": code, "message": "stopped", "detail": None}
        return await self.client.patch(f"/task/{fid}/status", params={"version": 3}, json=body)

    async def health(self):
        return (await self.client.get("/healthz")).json()["payload"]

    async def idle(self):
        """Wait until nothing runs and nothing waits."""
        async with asyncio.timeout(PATIENCE):
            while any((await self.health()).values()):  # noqa: ASYNC110 - nothing else is told to who calls
                await asyncio.sleep(0.005)


class Gate:
    """What a crawling function waits at, be it a coroutine function or not."""

    def __init__(self):
        self.reached = threading.Event()
        self._open = threading.Event()

    def open(self):
        self._open.set()

    def pass_through(self):
        self.reached.set()
        assert self._open.wait(PATIENCE)

    async def wait(self):
        self.reached.set()
        await until(self._open.is_set)
