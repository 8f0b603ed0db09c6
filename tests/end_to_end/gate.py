"""A gate before a server: it lets some uploads through, and holds those behind until it is opened."""

import contextlib
import socket
import socketserver
import threading
from urllib.parse import urlsplit

_UPLOAD = b"/upload HTTP/1.1"
_PATIENCE = 60.0


class Gate(socketserver.ThreadingTCPServer):
    """Forwards connections to a server, but for uploads that are not let through yet."""

    daemon_threads = True

    def __init__(self, url: str, *, uploads: int) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.behind = (urlsplit(url).hostname, urlsplit(url).port)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self._uploads = threading.Semaphore(uploads)
        self._open = threading.Event()
        self._is_closing = False
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def open(self) -> None:
        self._open.set()

    def server_close(self) -> None:
        # What is held now never comes to the server.
        self._is_closing = True
        self.open()
        self.shutdown()
        super().server_close()

    def let_through(self, data: bytes) -> None:
        """Return when a piece of a request may go on: a head comes in one piece, as httpx sends it."""
        if _UPLOAD in data and not self._uploads.acquire(blocking=False):
            self._open.wait(_PATIENCE)
            if self._is_closing:
                raise ConnectionAbortedError


class _Connection(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(OSError), socket.create_connection(self.server.behind) as behind:
            threading.Thread(target=_forward, args=(behind, self.request), daemon=True).start()
            while data := self.request.recv(65536):
                self.server.let_through(data)
                behind.sendall(data)


def _forward(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
