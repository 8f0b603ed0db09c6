"""A crawler for Headwater: an HTTP server that runs each task in a thread of its own.

It answers two calls, which Headwater makes:

    POST  /task?version=N                a task begins; the answer comes at once, the crawling goes on behind it
    PATCH /task/{fid}/status?version=N   a task was ended, by a person or because it was silent for too long

and makes two, at the ``endpoint`` that the first one brought along:

    POST {endpoint}/upload               a batch of documents
    POST {endpoint}/status               how far it is; that it is done; that it failed

What it crawls is in ``packages.py``. For another source, write another such module and keep this one.
"""

import argparse
import contextlib
import gzip
import http.client
import json
import logging
import signal
import sys
import threading
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from examples.packages_crawler import packages

log = logging.getLogger("packages_crawler")

#: Seconds between the tries of a call; a restart of Headwater is shorter than their sum.
PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
#: Seconds that one try may take.
PATIENCE = 60.0
#: Answers that say: this task wants nothing more. It was retried, deleted, or has ended.
OVER = {HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}


class TaskOver(Exception):
    """Headwater wants nothing more for this task."""


class CallFailed(Exception):
    """Headwater did not take what it was sent."""


class TryAgain(CallFailed):
    """Headwater could not be reached, or asks for patience."""

    def __init__(self, why: str, *, after: float = 0.0) -> None:
        super().__init__(why)
        #: Seconds for which it asked.
        self.after = after


class Backend:
    """Headwater, as one task sees it."""

    def __init__(self, endpoint: str, *, over: threading.Event, pauses: Sequence[float]) -> None:
        """Call ``endpoint`` until ``over`` is set; try again after each of ``pauses``, in seconds."""
        self._endpoint = endpoint
        self._over = over
        self._pauses = pauses

    def upload(self, documents: Sequence[Mapping[str, Any]]) -> None:
        """Upload a batch; when this returns, it is on Headwater's disk.

        Raises:
            TaskOver, CallFailed: it is not.
        """
        lines = b"".join(json.dumps(document).encode() + b"\n" for document in documents)
        headers = {
            "Content-Type": "application/x-ndjson",
            "Content-Encoding": "gzip",
            # The same in each try: one that arrived but whose answer was lost is not stored again.
            "Idempotency-Key": uuid.uuid4().hex,
        }
        self._post("/upload", gzip.compress(lines), headers)

    def report(self, code: int, message: str, detail: Any = None) -> None:
        """Say how the task goes: 102 while it runs, 200 when it is done, 500 when it failed.

        Raises:
            TaskOver, CallFailed: nobody heard it.
        """
        body = json.dumps({"code": code, "message": message, "detail": detail}).encode()
        self._post("/status", body, {"Content-Type": "application/json"})

    def _post(self, path: str, body: bytes, headers: dict[str, str]) -> None:
        # The endpoint comes from whoever may call us, which is why we listen where only Headwater is.
        request = urllib.request.Request(self._endpoint + path, body, headers, method="POST")  # noqa: S310 - see above
        for pause in self._pauses:
            try:
                _send(request)
            except TryAgain as reason:
                log.info("again in a moment: %s", reason)
                if self._over.wait(max(pause, reason.after)):
                    raise TaskOver("Headwater has ended it") from reason
            else:
                return
        _send(request)


def _send(request: urllib.request.Request) -> None:
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310 - see Backend._post
            answer.read()
    except urllib.error.HTTPError as answer:
        with answer:
            problem = _problem(answer)
        raise _meaning(answer, problem) from answer
    except (OSError, http.client.HTTPException) as error:
        raise TryAgain(f"Headwater cannot be reached: {error}") from error


def _meaning(answer: urllib.error.HTTPError, problem: Mapping[str, Any]) -> TaskOver | CallFailed:
    """Return what an answer that is not 2xx means for us."""
    why = f"Headwater answered {answer.code}: {problem.get('detail', answer.reason)}"
    # The one conflict that passes: a try whose connection broke is still under way there, and has our key.
    in_flight = str(problem.get("type")).endswith("/upload-in-flight")
    if in_flight or answer.code == HTTPStatus.TOO_MANY_REQUESTS or answer.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        asked = answer.headers.get("Retry-After", "")
        return TryAgain(why, after=float(asked) if asked.isdecimal() else 0.0)
    if answer.code in OVER:
        return TaskOver(why)
    return CallFailed("; ".join([why, *problem.get("messages", ())]))


def _problem(answer: urllib.error.HTTPError) -> Mapping[str, Any]:
    """Return the problem details of an answer; none if it is not Headwater's, but that of a proxy before it."""
    try:
        problem = json.loads(answer.read())
    except (OSError, http.client.HTTPException, ValueError):
        return {}
    return problem if isinstance(problem, dict) else {}


class Run(threading.Thread):
    """A task at work: it crawls and uploads until it is through, or over, or fails."""

    def __init__(self, order: Mapping[str, Any], *, pauses: Sequence[float]) -> None:
        """Take what ``POST /task`` brought; the parameters are checked, and defaults filled in, by Headwater."""
        super().__init__(name=f"task-{order['fid']}", daemon=True)
        self.fid: str = order["fid"]
        #: Where this attempt uploads; a retry of the task has another one.
        self.endpoint: str = order["endpoint"]
        #: Set when there is nothing more to do.
        self.over = threading.Event()
        self._params: dict[str, Any] = order["params"]
        self._backend = Backend(self.endpoint, over=self.over, pauses=pauses)

    def run(self) -> None:
        """Crawl, and tell Headwater how it ended."""
        try:
            count = self._crawl()
            self._backend.report(200, f"{count} packages", {"done": count, "of": count})
            log.info("task %s: %d packages", self.fid, count)
        except TaskOver as reason:
            log.info("task %s is over: %s", self.fid, reason)
        except Exception as error:
            # Whatever it is: Headwater shall hear of it, and not wait until the task times out.
            log.exception("task %s failed", self.fid)
            with contextlib.suppress(TaskOver, CallFailed):
                self._backend.report(500, f"{type(error).__name__}: {error}")

    def _crawl(self) -> int:
        """Upload every package that is asked for, in batches; return how many they are."""
        found = packages.chosen(self._params)
        batch: list[dict[str, Any]] = []
        for done, package in enumerate(found, start=1):
            if self.over.wait(self._params["pause"] / 1000):
                raise TaskOver("Headwater has ended it")
            batch.append(packages.document(package, self._params))
            if len(batch) == self._params["batch"] or done == len(found):
                self._backend.upload(batch)
                self._backend.report(102, f"{done} of {len(found)}", {"done": done, "of": len(found)})
                batch = []
        return len(found)


class Crawler(ThreadingHTTPServer):
    """The server, and the tasks that it runs."""

    def __init__(self, address: tuple[str, int], *, pauses: Sequence[float] = PAUSES) -> None:
        """Listen at ``address``; try calls to Headwater again after each of ``pauses``, in seconds."""
        super().__init__(address, Handler)
        self._pauses = pauses
        self._runs: dict[str, Run] = {}
        self._lock = threading.Lock()

    def begin(self, order: Mapping[str, Any]) -> None:
        """Run a task; the same order again changes nothing, a new attempt takes the place of the former."""
        run = Run(order, pauses=self._pauses)
        with self._lock:
            self._runs = {fid: former for fid, former in self._runs.items() if former.is_alive()}
            former = self._runs.get(run.fid)
            if former is not None and former.endpoint == run.endpoint:
                return  # our answer to the first was lost, so Headwater asks again
            if former is not None:
                former.over.set()
            self._runs[run.fid] = run
            run.start()

    def end(self, fid: str) -> bool:
        """Stop a task; tell whether it was running."""
        with self._lock:
            run = self._runs.get(fid)
        if run is None or not run.is_alive():
            return False
        run.over.set()
        return True


class Handler(BaseHTTPRequestHandler):
    """The two calls that Headwater makes."""

    server: Crawler  # pyright: ignore[reportIncompatibleVariableOverride] - which is how http.server hands it over

    def do_POST(self) -> None:
        """``POST /task?version=N``: begin a task."""
        if urlsplit(self.path).path != "/task":
            self._refuse(HTTPStatus.NOT_FOUND, f"there is nothing at {self.path}")
            return
        try:
            order = json.loads(self._body())
            self.server.begin(order)
        except (ValueError, TypeError, KeyError) as error:
            self._refuse(HTTPStatus.BAD_REQUEST, f"expected fid, params and endpoint: {error!r}")
            return
        status = {"code": HTTPStatus.PROCESSING, "message": "begun"}
        self._answer(HTTPStatus.OK, {"callback": f"/task/{order['fid']}", "status": status})

    def do_PATCH(self) -> None:
        """``PATCH /task/{fid}/status?version=N``: a task was ended."""
        self._body()
        match urlsplit(self.path).path.split("/"):
            case ["", "task", fid, "status"] if self.server.end(fid):
                self._answer(HTTPStatus.OK, {})
            case _:
                self._refuse(HTTPStatus.NOT_FOUND, "no such task runs here")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - named so by http.server
        """Log a request with everything else."""
        log.info(format, *args)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, status: HTTPStatus, payload: Mapping[str, Any]) -> None:
        self._send(status, {"success": True, "payload": payload})

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self._send(status, {"success": False, "messages": [why]})

    def _send(self, status: HTTPStatus, answer: Mapping[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="packages_crawler", description="A crawler of the installed Python packages.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=9000, help="port to listen on (9000)")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Crawler((asked.host, asked.port)) as server, contextlib.suppress(KeyboardInterrupt):
        log.info("listening on http://%s:%d", *server.server_address[:2])
        server.serve_forever()


if __name__ == "__main__":
    main()
