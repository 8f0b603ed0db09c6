"""Uploads that stall, and more of them than memory has room for."""

import contextlib
import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor
from urllib.parse import urlsplit

from end_to_end.conftest import a_crawler, made

MiB = 1 << 20
UPLOADS = 30
SIZE = 16 * MiB


class Upload:
    """An upload, part by part."""

    def __init__(self, headwater, task, *, size):
        path = urlsplit(task["upload"]["endpoint"]).path + "/upload"
        self.connection = socket.create_connection(("127.0.0.1", headwater.port), timeout=60)
        self.connection.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())

    def __enter__(self):
        return self

    def __exit__(self, *_failure) -> None:
        self.connection.close()

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
    headwater = serve(HEADWATER_UPLOAD_IDLE_TIMEOUT="1")
    with headwater.client() as client:
        task = made(client, f"/actions/crawlers/{a_crawler(client)['fid']}/task")
        path = f"/actions/tasks/{task['fid']}/upload"
        with Upload(headwater, task, size=1000) as stalling:
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
    headwater = serve(HEADWATER_UPLOAD_MEMORY="64MiB")
    with headwater.client() as client:
        crawler = a_crawler(client)
        task = made(client, f"/actions/crawlers/{crawler['fid']}/task")
        path = f"/actions/tasks/{task['fid']}/upload"
        assert client.post(path, content=_documents("first", 32 * MiB)).status_code == 200  # what one needs is there
        bodies = [_documents(f"{n:02}", SIZE) for n in range(UPLOADS)]
        with contextlib.ExitStack() as stack, ThreadPoolExecutor(2 * UPLOADS) as threads:
            uploads = [stack.enter_context(Upload(headwater, task, size=len(body))) for body in bodies]
            before, most = headwater.memory(), 0
            # All but the last bytes, so that each holds what it can.
            sending = [threads.submit(upload.send, body[:-10]) for upload, body in zip(uploads, bodies, strict=True)]
            for _ in range(60):
                time.sleep(0.05)
                most = max(most, headwater.memory())
            # Without a budget it is 560. Beside the 64 MiB, each holds an open file, and what it has just received.
            assert most - before < 320 * MiB
            ending = [
                threads.submit(_end, upload, sent, body)
                for upload, sent, body in zip(uploads, sending, bodies, strict=True)
            ]
            assert {each.result()[:12] for each in ending} == {b"HTTP/1.1 200"}
        total = client.get(f"/tasks/{task['fid']}").json()["payload"]["docs"]
        assert total == 32 * 1024 + UPLOADS * (SIZE // 1024)


def _end(upload: Upload, sent: Future, body: bytes) -> bytes:
    sent.result()
    upload.send(body[-10:])
    return upload.answer()
