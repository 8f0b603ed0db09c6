import httpx
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from builders import eventually
from headwater import telemetry
from headwater.app import create_app
from headwater.catalog import keys
from headwater.catalog.keys import Scope
from headwater.lifecycle.ec.client import EcClient

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
async def api(settings, ecs, exporter):
    """A client of an application that records spans."""
    tracer = telemetry.tracer_with(SimpleSpanProcessor(exporter))
    app = create_app(settings, ec_client=EcClient(ecs.transport()), tracer=tracer)
    async with app.router.lifespan_context(app):
        parts = app.state.services
        _, secret = await parts.db.write(keys.add, name="test", scopes=(Scope.ADMIN,), at=parts.clock())
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        headers = {"Authorization": f"Bearer {secret}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://headwater.test", headers=headers) as client:
            yield client


async def _crawler(api, **external) -> dict:
    made = (await api.post("/externals", json={"docIdField": "id"} | external)).json()["payload"]
    stream = (await api.post("/streams", json={})).json()["payload"]
    links = [{"from": {"type": "streams", "fid": stream["fid"]}}]
    answer = await api.post(f"/actions/externals/{made['fid']}/crawler", json={"meta": {"links": links}})
    return answer.json()["payload"]


async def test_an_upload_is_a_span_in_its_request_and_the_write_is_one_in_it(api, exporter):
    crawler = await _crawler(api)
    task = (await api.post(f"/actions/crawlers/{crawler['fid']}/task", json={})).json()["payload"]
    exporter.clear()
    path = httpx.URL(task["upload"]["endpoint"]).path
    await api.post(f"{path}/upload", content=b'{"id": "a"}\n', headers={"traceparent": PARENT})
    spans = {span.name: span for span in exporter.get_finished_spans()}
    request = spans["POST /actions/tasks/{task_id}/upload"]
    upload, write = spans["upload"], spans["catalog.write"]
    assert (request.kind, request.parent.span_id) == (SpanKind.SERVER, int("b7ad6b7169203331", 16))
    assert upload.parent.span_id == request.context.span_id
    assert write.parent.span_id == upload.context.span_id
    assert {f"{span.context.trace_id:032x}" for span in spans.values()} == {TRACE}
    assert upload.attributes == {"headwater.task": task["fid"], "headwater.documents": 1, "headwater.bytes": 12}
    assert request.attributes["http.response.status_code"] == 200
    assert write.attributes == {"headwater.action": "record"}


async def test_no_token_and_nothing_that_was_sent_is_in_a_span(api, exporter):
    crawler = await _crawler(api)
    task = (await api.post(f"/actions/crawlers/{crawler['fid']}/task", json={})).json()["payload"]
    path = httpx.URL(task["upload"]["endpoint"]).path
    await api.post(f"{path}/upload", content=b"a secret document")
    await api.get(f"/nowhere{path}")
    told = "".join(span.to_json() for span in exporter.get_finished_spans())
    assert task["upload"]["token"] not in told
    assert "a secret document" not in told
    assert '"UploadBroken"' in told


async def test_the_call_to_an_ec_belongs_to_the_request_that_asked_for_it(api, ecs, exporter):
    crawler = await _crawler(api, endpoint="http://ec.test")
    await api.post(f"/actions/crawlers/{crawler['fid']}/task", json={}, headers={"traceparent": PARENT})

    async def told() -> bool:
        return any(span.name == "ec POST" for span in exporter.get_finished_spans())

    await eventually(told)
    (call,) = [span for span in exporter.get_finished_spans() if span.name == "ec POST"]
    assert (call.kind, call.attributes["server.address"]) == (SpanKind.CLIENT, "ec.test")
    assert ecs.asked[0].headers["traceparent"] == f"00-{TRACE}-{call.context.span_id:016x}-01"
    (request,) = [span for span in exporter.get_finished_spans() if span.name == "POST /actions/crawlers/{fid}/task"]
    assert call.parent.span_id == request.context.span_id


async def test_an_ec_that_cannot_be_reached_is_a_span_that_failed(api, ecs, exporter):
    ecs.answer(httpx.ConnectError("the password is secret"))
    crawler = await _crawler(api, endpoint="http://ec.test")
    await api.post(f"/actions/crawlers/{crawler['fid']}/task", json={})

    async def tried() -> bool:
        return sum(span.name == "ec POST" for span in exporter.get_finished_spans()) == 3

    await eventually(tried)
    calls = [span for span in exporter.get_finished_spans() if span.name == "ec POST"]
    assert {(span.status.status_code, span.attributes["error.type"]) for span in calls} == {(StatusCode.ERROR, "Again")}


async def test_what_is_not_sampled_is_passed_on_as_such(api, ecs, exporter):
    crawler = await _crawler(api, endpoint="http://ec.test")
    exporter.clear()
    unsampled = f"{PARENT[:-2]}00"
    await api.post(f"/actions/crawlers/{crawler['fid']}/task", json={}, headers={"traceparent": unsampled})

    async def asked() -> bool:
        return bool(ecs.asked)

    await eventually(asked)
    assert ecs.asked[0].headers["traceparent"].startswith(f"00-{TRACE}-")
    assert ecs.asked[0].headers["traceparent"].endswith("-00")
    assert exporter.get_finished_spans() == ()


def test_traces_are_off_unless_an_endpoint_is_set(monkeypatch):
    for name in telemetry.ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    assert telemetry.tracer_for(None) is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    assert telemetry.is_wanted(None)
