"""A proxy that serves a Headwater below a path, and removes the path, as nginx and Caddy are told to."""

import threading
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

#: What a proxy does not pass on: it has connections of its own.
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding"}


class PathProxy:
    """Listens on a port of its own; ``server`` is the port that it passes on to, once it is known."""

    def __init__(self, path: str) -> None:
        self.server = 0
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if not self.path.startswith(f"{path}/"):
                    self.send_error(404)
                    return
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                there = HTTPConnection("127.0.0.1", proxy.server, timeout=60)
                headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
                there.request(self.command, self.path.removeprefix(path), body or None, headers)
                answer = there.getresponse()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in HOP_BY_HOP:
                        self.send_header(name, value)
                self.end_headers()
                try:
                    # As it comes: streams of events do not end.
                    while piece := answer.read1(65536):
                        self.wfile.write(piece)
                        self.wfile.flush()
                except OSError:
                    pass  # one of both has gone
                finally:
                    there.close()

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None:
                pass

        self._listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._listener.server_port}{path}"
        threading.Thread(target=self._listener.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown()
        self._listener.server_close()
