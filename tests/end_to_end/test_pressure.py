"""Uploads that stall, and more of them than memory has room for."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from end_to_end.conftest import a_crawler, made

MiB = 1 << 20
UPLOADS = 30
#: What each of the uploads holds when it stalls.
HELD = 8 * MiB


class Upload:
    """An upload, part by part."""

    def __init__(self, headwater, task, *, size):
        path = urlsplit(task["upload"]["endpoint"]).path + "/upload"
        self.connection = socket.create_connection(("127.0.0.1", headwater.port), timeout=60)
        self.connection.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())

    def send(self, part: bytes) -> None:
        self.connection.sendall(part)

    def answer(self) -> bytes:
        """All that comes until the server closes or has answered."""
        answer = b""
        while part := self.connection.recv(1 << 16):
            answer += part
            if answer.endswith(b"}"):
                break
        return answer

    def is_closed(self) -> bool:
        return self.connection.recv(1) == b""


def _documents(name: str, size: int) -> bytes:
    count = size // 1024
    return "".join(f'{{"id": "{name}-{n:06}", "pad": "{"x" * 990}"}}\n' for n in range(count)).encode()


def test_an_upload_that_stalls_is_told_so_and_holds_nothing_back(serve):
    headwater = serve(HEADWATER_UPLOAD_STALL="1")
    with headwater.client() as client:
        task = made(client, f"/actions/crawlers/{a_crawler(client)['fid']}/task")
        path = f"/actions/tasks/{task['fid']}/upload"
        stalling = Upload(headwater, task, size=1000)
        stalling.send(b'{"id": "a"}\n{"id": ')
        # The others are taken meanwhile.
        assert client.post(path, content=b'{"id": "b"}\n').json()["payload"]["total"] == 1
        answer = stalling.answer()
        assert answer.startswith(b"HTTP/1.1 400"), answer
        assert b"nothing came for 1 seconds" in answer
        assert b"connection: close" in answer.lower()
        assert stalling.is_closed()
        assert client.post(path, content=b'{"id": "c"}\n').json()["payload"]["total"] == 2


def test_all_uploads_together_hold_a_bounded_amount_of_memory_and_all_end_well(serve):
    headwater = serve(HEADWATER_UPLOAD_MEMORY="64MiB", HEADWATER_UPLOAD_STALL="60")
    with headwater.client() as client:
        crawler = a_crawler(client)
        task = made(client, f"/actions/crawlers/{crawler['fid']}/task")
        path = f"/actions/tasks/{task['fid']}/upload"
        assert client.post(path, content=_documents("first", 32 * MiB)).status_code == 200  # what one needs is there
        bodies = [_documents(f"{n:02}", 2 * HELD) for n in range(UPLOADS)]
        uploads = [Upload(headwater, task, size=len(body)) for body in bodies]
        before, most = headwater.memory(), 0
        for upload, body in zip(uploads, bodies, strict=True):
            upload.send(body[:HELD])
            most = max(most, headwater.memory())
        for _ in range(20):
            time.sleep(0.05)
            most = max(most, headwater.memory())
        # All that they have sent is nearly four times as much.
        assert most - before < 160 * MiB
        with ThreadPoolExecutor(UPLOADS) as threads:
            threads.map(lambda pair: pair[0].send(pair[1][HELD:]), zip(uploads, bodies, strict=True))
            answers = list(threads.map(Upload.answer, uploads))
        assert {answer[:12] for answer in answers} == {b"HTTP/1.1 200"}
        total = client.get(f"/tasks/{task['fid']}").json()["payload"]["docs"]
        assert total == 32 * 1024 + UPLOADS * (2 * HELD // 1024)
