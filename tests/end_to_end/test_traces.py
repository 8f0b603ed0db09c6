"""A served Headwater that sends its traces to a collector, and what a crawler is sent without one."""

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from end_to_end.conftest import a_crawler, made, wait_for
from end_to_end.crawler_server import CrawlerServer

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


class Collector:
    """Takes traces by OTLP over HTTP."""

    def __init__(self) -> None:
        self.spans = spans = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                if self.path == "/v1/traces":
                    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                        service = {each.key: each.value.string_value for each in resource.resource.attributes}
                        for scope in resource.scope_spans:
                            spans.extend((service["service.name"], span) for span in scope.spans)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def collector():
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture
def ec():
    server = CrawlerServer()
    yield server
    server.close()


def _start(served, ec) -> None:
    with served.client() as client:
        crawler = a_crawler(client, external={"endpoint": ec.url})
        client.headers["traceparent"] = PARENT
        made(client, f"/actions/crawlers/{crawler['fid']}/task")


def test_traces_are_sent_to_a_collector(serve, collector, ec):
    served = serve(HEADWATER_OTLP_ENDPOINT=collector.url)
    _start(served, ec)
    wait_for(lambda: ec.starts)
    served.stop()  # what is not yet sent is sent
    assert {service for service, _ in collector.spans} == {"headwater"}
    named = {span.name: span for _, span in collector.spans if span.trace_id.hex() == TRACE}
    request, call = named["POST /actions/crawlers/{fid}/task"], named["ec POST"]
    assert request.parent_span_id.hex() == "b7ad6b7169203331"
    assert call.parent_span_id == request.span_id


def test_a_callers_traceparent_comes_to_the_crawler_without_a_collector_too(serve, ec):
    served = serve()
    _start(served, ec)
    wait_for(lambda: ec.starts)
    assert ec.headers[0]["traceparent"] == PARENT
