import httpx

from headwater_client import Headwater, TaskWriter
from headwater_client.cli.push.display import Figures
from headwater_client.cli.push.files import File
from headwater_client.cli.push.progress import Progress

FID = "a" * 32


class Server:
    """Takes uploads, and tells under which keys they came."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.keys.append(request.headers["idempotency-key"])
        return httpx.Response(200, json={"payload": {"count": 1, "total": 1, "bytes": 1}})


def _keys(lines: list[bytes], **options) -> list[str]:
    server = Server()
    transport = httpx.MockTransport(server)
    writer = TaskWriter(f"http://x/actions/tasks/{FID}", "token", max_bytes=30, transport=transport, **options)
    for line in lines:
        writer.write_line(line)
    writer.flush()
    writer.abandon()
    return server.keys


def test_uploads_are_called_by_the_document_that_they_begin_with():
    lines = [b'{"id":%d}\n' % number for number in range(7)]
    assert _keys(lines, upload_key=lambda first: f"from {first}") == ["from 0", "from 3", "from 6"]


def test_otherwise_each_upload_has_a_key_of_its_own():
    lines = [b'{"id":%d}\n' % number for number in range(7)]
    assert len({*_keys(lines), *_keys(lines)}) == 6


def test_an_export_of_an_empty_stream_ends():
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200, content=b"", headers={"content-type": "application/x-ndjson"})

    with Headwater("http://x", "key", transport=httpx.MockTransport(answer)) as headwater:
        assert b"".join(headwater.streams.export("s")) == b""
    assert len(asked) == 1


def test_the_agent_is_what_the_program_calls_itself():
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"agent": request.headers["user-agent"]})

    for options, agent in (({"user_agent": "mine/1"}, "mine/1"), ({}, "headwater-client/")):
        with Headwater("http://x", "key", transport=httpx.MockTransport(answer), **options) as headwater:
            assert headwater.openapi()["agent"].startswith(agent)


class Moving:
    """A writer whose documents arrive when a test says so."""

    taken = rejected = 0


def test_beside_the_bar_stands_how_it_goes(tmp_path):
    path = tmp_path / "a.ndjson"
    path.write_bytes(b'{"id":1}\n' * 1000)
    file, writer = File.named(str(path), None, None), Moving()
    course = Progress(file, writer, before=100)
    figures = Figures(course)
    course.documents = 50
    assert figures.text(0.0) == "100 docs  0 B  passing over 50 that are there"
    next(iter(file.documents()))
    course.documents, course.bytes, writer.taken = 400, 2700, 200
    course.began -= 4
    assert figures.text(1.0) == "300 docs  2.7 kB  50/s  0:00"
    assert figures.text(7.0) == "300 docs  2.7 kB  no answer for 6 s, trying on"
