"""A real EC over HTTP that behaves as badly as a test wants."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen


class CrawlerServer:
    """Serves tasks, ``PATCH /task/{fid}/status`` and the tokens of logins by the functions that a test sets."""

    def __init__(self, port: int = 0) -> None:
        self.starts: list[dict] = []
        #: Those of each start.
        self.headers: list[dict[str, str]] = []
        self.ends: list[tuple[str, dict]] = []
        self.on_start = lambda _task: (200, {"success": True, "payload": {"status": {"code": 102}}})
        #: What was asked of tokens: the method, and the query.
        self.logins: list[tuple[str, dict[str, list[str]]]] = []
        self.on_token = lambda _uuid: (404, {"message": "nobody has logged in"})
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.headers.append({name.lower(): value for name, value in self.headers.items()})
                outer.starts.append(body)
                self._answer(*outer.on_start(body))

            def do_PATCH(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.ends.append((self.path, body))
                self._answer(200, {"success": True})

            def do_GET(self) -> None:
                self._answer(*outer.on_token(self._login()))

            def do_DELETE(self) -> None:
                self._login()
                self._answer(200, {"success": True})

            def _login(self) -> str:
                query = parse_qs(urlsplit(self.path).query)
                outer.logins.append((self.command, query))
                return query["uuid"][0]

            def _answer(self, status: int, body: object) -> None:
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Go down."""
        self._server.shutdown()
        self._server.server_close()


def call(url: str, body: bytes) -> int:
    """Post like a plain script does; return the status code."""
    try:
        with urlopen(Request(url, data=body, headers={"Content-Type": "application/json"})) as answer:
            return answer.status
    except HTTPError as error:
        return error.code


def upload(task: dict, *docs: dict) -> int:
    """Upload to the endpoint that the start named, which holds the token."""
    return call(f"{task['endpoint']}/upload", b"".join(json.dumps(doc).encode() + b"\n" for doc in docs))


def report(task: dict, code: int) -> int:
    """Report a status there."""
    return call(f"{task['endpoint']}/status", json.dumps({"code": code}).encode())


def in_background(work) -> None:
    """Work beside the answer, as a crawler does."""
    threading.Thread(target=work, daemon=True).start()


def slowly(seconds: float, answer: tuple[int, object]) -> tuple[int, object]:
    """Answer late."""
    time.sleep(seconds)
    return answer
