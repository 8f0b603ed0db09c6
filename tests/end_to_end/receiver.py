"""A real receiver of webhooks that behaves as badly as a test wants."""

import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
from standardwebhooks.webhooks import Webhook as Verifier

from end_to_end.conftest import made


class Receiver(ThreadingHTTPServer):
    """Answers each path by a function of the delivery; keeps what it was sent, and what it answered with 2xx."""

    daemon_threads = True

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}
        self.answers = {}
        #: By path, in order of arrival: ``(webhook-id, what was sent, the status that was answered)``.
        self.received: dict[str, list[tuple[str, dict, int]]] = defaultdict(list)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                sent = Verifier(outer.secrets[self.path]).verify(body, dict(self.headers))
                status = outer.answers.get(self.path, lambda _sent: 200)(sent)
                outer.received[self.path].append((self.headers["webhook-id"], sent, status))
                try:
                    self.send_response(status)
                    if status in range(300, 400):
                        self.send_header("Location", "/elsewhere")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                except OSError:
                    pass  # who asked is gone

            def log_message(self, *_args: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def webhook(self, client: httpx.Client, path: str, **fields) -> dict:
        webhook = made(client, "/webhooks", {"url": f"http://127.0.0.1:{self.server_port}{path}", **fields})
        self.secrets[path] = webhook["secret"]
        return webhook
