"""Clients that say nothing, say too much, or take all connections; none of them has a key."""

import contextlib
import json
import os
import signal
import socket
import time

import psutil
import pytest

from end_to_end.conftest import Served, wait_for

MiB = 1 << 20
#: Of each process of the server.
DESCRIPTORS = 128
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module", params=["1", "2"], ids=["one process", "two workers"])
def server(request, tmp_path_factory):
    served = Served(
        tmp_path_factory.mktemp("hostile") / "data",
        arguments=("--workers", request.param),
        descriptors=DESCRIPTORS,
        HEADWATER_HEADER_TIMEOUT="4",
        HEADWATER_REQUEST_TIMEOUT="4",
        HEADWATER_KEEP_ALIVE_TIMEOUT="10",
    )
    served.start()
    yield served
    served.stop()


def _connect(server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def _answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """All that comes until the server closes."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(1 << 16):
            received += part
    head, _, body = received.partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
    return int(status.split()[1]), headers, body


def _is_answered(connection: socket.socket) -> bool:
    """Ask whether the server is alive; return whether it said so."""
    connection.sendall(GET)
    received = b""
    while not received.endswith(b"}") and (part := connection.recv(1 << 16)):
        received += part
    return received.startswith(b"HTTP/1.1 200") and received.endswith(b"}")


def _is_healthy(server) -> bool:
    with contextlib.suppress(OSError), _connect(server) as connection:
        return _is_answered(connection)
    return False


def _memory(server) -> int:
    process = psutil.Process(server.process.pid)
    return sum(each.memory_info().rss for each in (process, *process.children(recursive=True)))


def _assert_refused(answered, status: int, kind: str) -> None:
    code, headers, body = answered
    assert (code, headers["content-type"], headers["connection"]) == (status, "application/problem+json", "close")
    assert headers["x-content-type-options"] == "nosniff"
    problem = json.loads(body)
    assert problem["type"].endswith(f"/{kind}")
    assert problem["status"] == status
    assert problem["request_id"] == headers["x-request-id"]


@pytest.mark.parametrize("beginning", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-Half: "], ids=["idle", "half a header"])
def test_more_connections_than_descriptors_neither_hold_up_nor_end_the_server(server, beginning):
    with contextlib.ExitStack() as stack:
        for _ in range(5 * DESCRIPTORS):
            connection = stack.enter_context(_connect(server))
            with contextlib.suppress(ConnectionError):
                connection.sendall(beginning)
        assert all(_is_healthy(server) for _ in range(10))
    assert all(_is_healthy(server) for _ in range(10))
    assert server.process.poll() is None
    assert "worker.ended" not in server.log.read_text()


def test_connections_that_are_busy_are_not_closed_for_others_who_hear_that_there_are_too_many(server):
    key = server.key()
    request = f"GET /events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        busy, refusals = [], 0
        while refusals < 5:  # in a row, so that each process is full
            connection = stack.enter_context(_connect(server))
            connection_is_let_in = False
            with contextlib.suppress(ConnectionError):
                connection.sendall(request)
                connection_is_let_in = connection.recv(12).endswith(b"200")
            if connection_is_let_in:
                busy.append(connection)
            refusals = 0 if connection_is_let_in else refusals + 1
            assert len(busy) < 5 * DESCRIPTORS
        refused = stack.enter_context(_connect(server))
        _, headers, _ = answered = _answer(refused)
        _assert_refused(answered, 503, "unavailable")
        assert headers["retry-after"] == "5"
        for connection in busy:
            connection.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while part := connection.recv(1 << 16):
                    assert part
                raise AssertionError("a busy connection was closed")
    wait_for(lambda: _is_healthy(server))


def test_a_connection_that_never_sends_a_request_is_closed(server):
    with _connect(server) as connection:
        assert connection.recv(1) == b""


def test_a_connection_that_is_idle_between_requests_is_kept_for_longer_and_then_closed(server):
    with _connect(server) as connection:
        for pause in (0, 6):  # longer than a header may take
            time.sleep(pause)
            assert _is_answered(connection)
        assert connection.recv(1) == b""


def test_bytes_that_begin_no_request_do_not_keep_an_idle_connection(server):
    with _connect(server) as connection:
        assert _is_answered(connection)
        connection.sendall(b"G")
        _assert_refused(_answer(connection), 408, "request-timed-out")


@pytest.mark.parametrize("piece", [b"X-A: b\r\n", b"x", b"\r\n"], ids=["fields", "one field", "blank lines"])
def test_a_header_that_comes_in_drops_is_refused(server, piece):
    with _connect(server) as connection:
        connection.sendall(b"" if piece == b"\r\n" else b"GET / HTTP/1.1\r\nX-B: ")
        connection.settimeout(0.2)
        first = b""
        for _ in range(300):
            with contextlib.suppress(TimeoutError, ConnectionError):
                connection.sendall(piece)
                first = connection.recv(1)
                break
        assert first == b"H"
        connection.settimeout(30)
        _assert_refused(_answer_after(first, connection), 408, "request-timed-out")


def _answer_after(first: bytes, connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    class Rest:
        def __init__(self) -> None:
            self.first = first

        def recv(self, size: int) -> bytes:
            if self.first:
                part, self.first = self.first, b""
                return part
            return connection.recv(size)

    return _answer(Rest())


@pytest.mark.parametrize("path", ["/streams", "/events", "/nowhere", "/actions/tasks/x/upload"])
def test_a_body_that_comes_in_drops_without_a_key_is_answered_and_its_connection_closed(server, path):
    with _connect(server) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n".encode())
        connection.settimeout(0.2)
        first = b""
        for _ in range(300):
            with contextlib.suppress(TimeoutError):
                try:
                    connection.sendall(b" ")
                    first = connection.recv(1)
                except ConnectionError:
                    break
                break
        connection.settimeout(30)
        status, headers, _ = _answer_after(first, connection)
        assert status in {401, 404, 405, 408}
        assert headers["connection"] == "close"


def _sent_in_full(connection: socket.socket, beginning: bytes, size: int) -> bool:
    """Send so many bytes, and return whether all of them were taken."""
    piece = b"a" * MiB
    try:
        connection.sendall(beginning)
        for _ in range(size // MiB):
            connection.sendall(piece)
    except ConnectionError:
        return False
    return True


@pytest.mark.parametrize(
    "beginning",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Large: ",
        b"GET /",
        b"POST /streams HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Trailer: ",
        b"POST /streams HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;extension=",
    ],
    ids=["field", "URL", "trailer", "chunk extension"],
)
def test_a_header_of_100_mib_is_refused_early_and_held_by_nobody(server, beginning):
    assert _is_healthy(server)
    before = _memory(server)
    with _connect(server) as connection:
        _sent_in_full(connection, beginning, 100 * MiB)
        assert _is_healthy(server)
        assert _memory(server) - before < 30 * MiB
        status, headers, _ = _answer(connection)
        assert status in {400, 401, 431}  # a chunked body may be refused for the missing key first
        assert headers["connection"] == "close"


def test_a_header_of_many_fields_is_refused_when_it_is_over_the_limit_and_only_then(server):
    for size, status in ((60, 200), (70, 431)):
        with _connect(server) as connection:
            fields = b"".join(b"X-%06d: %b\r\n" % (number, b"x" * 1000) for number in range(size * 1024 // 1010))
            connection.sendall(GET[:-2] + fields + b"Connection: close\r\n\r\n")
            answered = _answer(connection)
            assert answered[0] == status
            if status != 200:
                _assert_refused(answered, 431, "header-too-large")


@pytest.mark.parametrize("request_", [b"\x16\x03\x01\x02\x00\x01\x00\x01", b"HELLO\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"])
def test_what_is_no_request_is_told_so(server, request_):
    with _connect(server) as connection:
        connection.sendall(request_)
        _assert_refused(_answer(connection), 400, "request-invalid")


def test_a_worker_that_is_stuck_holds_up_no_connection_of_the_other(server):
    workers = [json.loads(line) for line in server.log.read_text().splitlines() if '"worker.started"' in line]
    if not workers:
        pytest.skip("there is no other worker")
    with contextlib.ExitStack() as stack:
        os.kill(workers[0]["pid"], signal.SIGSTOP)
        stack.callback(os.kill, workers[0]["pid"], signal.SIGCONT)
        for _ in range(2):  # one for each, so that the supervisor finds out
            stack.enter_context(_connect(server))
        time.sleep(2)
        assert all(_is_healthy(server) for _ in range(200))
    assert all(_is_healthy(server) for _ in range(10))
