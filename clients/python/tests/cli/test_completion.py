import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from headwater_client.cli import completion

FID = "a" * 32


@pytest.fixture
def served(monkeypatch):
    """A server that lists two crawlers, and what it was asked with."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Authorization"]))
            payload = [{"fid": FID, "meta": {"name": "Northern shop"}}, {"fid": "b" * 32, "meta": {}, "state": "done"}]
            body = json.dumps({"payload": payload}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("HEADWATER_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("HEADWATER_KEY", "hw_key")
        yield asked
        server.shutdown()
        thread.join()


def test_names_and_fids_that_begin_so_are_offered(served):
    assert completion.crawlers("") == [
        ("Northern shop", FID),
        (FID, "Northern shop"),
        ("b" * 32, "done"),
    ]
    assert completion.tasks("bb") == [("b" * 32, "done")]
    assert completion.streams("North") == [("Northern shop", FID)]
    assert completion.externals("x") == []
    assert served[0] == ("/crawlers?limit=1000", "Bearer hw_key")


@pytest.mark.usefixtures("served")
def test_bash_is_given_names_as_they_are_typed(monkeypatch):
    monkeypatch.setenv("_HEADWATER_COMPLETE", "complete_bash")
    assert completion.crawlers("N") == [("Northern\\ shop", FID)]


def test_a_server_that_does_not_answer_is_no_matter(monkeypatch, capsys):
    assert completion.crawlers("") == []
    monkeypatch.setenv("HEADWATER_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("HEADWATER_KEY", "hw_key")
    assert completion.crawlers("") == []
    assert capsys.readouterr() == ("", "")
