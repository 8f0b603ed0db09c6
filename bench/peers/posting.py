"""The client of Headwater and of every peer that speaks HTTP: prepared bodies, a few of them on their way at once."""

import contextlib
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import httpx

from bench.served import PATIENCE
from examples.packages_crawler.processes import Child, Failed


@dataclass(frozen=True, kw_only=True)
class Posting:
    """How documents are posted."""

    path: str
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    #: Requests at once: what suits the peer best.
    connections: int
    #: Looks into a good answer, and raises if something was refused all the same.
    look: Callable[[httpx.Response], None] = lambda _answer: None


def posted(client: httpx.Client, posting: Posting, bodies: Sequence[bytes]) -> float:
    """Post everything; return the seconds until the last answer.

    Raises:
        Failed: a request was refused.
    """
    local = threading.local()
    headers = {**client.headers, **posting.headers}
    host, port = client.base_url.host, client.base_url.port

    def post(body: bytes) -> None:
        # httpx copies what is left of a body each time that a part of it is sent: it would be measured with the peers.
        if not hasattr(local, "connection"):
            local.connection = HTTPConnection(host, port, timeout=PATIENCE)
        local.connection.request("POST", posting.path, body, headers)
        answer: HTTPResponse = local.connection.getresponse()
        request = httpx.Request("POST", client.base_url.join(posting.path))
        posting.look(accepted(httpx.Response(answer.status, content=answer.read(), request=request)))

    with ThreadPoolExecutor(posting.connections, thread_name_prefix="post") as threads:
        began = time.perf_counter()
        # The list has the results drawn, and with them what went wrong.
        list(threads.map(post, bodies))
        return time.perf_counter() - began


def accepted(answer: httpx.Response) -> httpx.Response:
    """Return an answer if it is a good one.

    Raises:
        Failed: it is not.
    """
    if not answer.is_success:
        request = answer.request
        raise Failed(f"{request.method} {request.url.path} was answered with {answer.status_code}: {answer.text[:300]}")
    return answer


@contextlib.contextmanager
def talking(port: int, child: Child, **settings: Any) -> Generator[httpx.Client]:
    """Yield a client of a server, once that listens."""
    child.wait_for(port)
    # Proxies are for the world outside.
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, trust_env=False, **settings) as client:
        yield client
