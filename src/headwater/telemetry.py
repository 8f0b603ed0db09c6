"""OpenTelemetry traces: an extra, ``headwater[otel]``, off unless an endpoint is set."""

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from headwater.domain.software_version import software_version
from headwater.domain.tracing import Span, SpanKind

if TYPE_CHECKING:  # an optional dependency
    from opentelemetry import trace
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

#: The variables that OpenTelemetry itself reads.
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
#: The path for traces at a collector.
_TRACES = "/v1/traces"


class TelemetryMissing(Exception):
    """Traces are enabled, but the OpenTelemetry packages are not installed."""


class OtelTracer:
    """Records spans with OpenTelemetry."""

    def __init__(self, provider: "TracerProvider") -> None:
        """Record with ``provider``."""
        from opentelemetry import trace  # noqa: PLC0415 - an extra
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        self._provider = provider
        self._tracer = provider.get_tracer("headwater", software_version())
        self._format = TraceContextTextMapPropagator()
        self._kinds: dict[SpanKind, trace.SpanKind] = {
            "server": trace.SpanKind.SERVER,
            "client": trace.SpanKind.CLIENT,
            "internal": trace.SpanKind.INTERNAL,
        }

    @contextmanager
    def span(self, name: str, *, kind: SpanKind, parent: str | None, facts: Mapping[str, Any]) -> Generator[Span]:
        """Record a block as a child span of ``parent``."""
        from opentelemetry.context import Context  # noqa: PLC0415 - an extra

        # Only ``parent`` determines the parent span: work done later belongs to it as well.
        around = Context() if parent is None else self._format.extract({"traceparent": parent}, context=Context())
        begun = self._tracer.start_span(name, context=around, kind=self._kinds[kind], attributes=dict(facts))
        recorded = _Recorded(begun)
        try:
            yield recorded
        except BaseException as error:
            recorded.failed(type(error).__name__)  # not its text, which may quote request data
            raise
        finally:
            begun.end()

    def close(self) -> None:
        """Send all pending spans."""
        self._provider.shutdown()


class _Recorded:
    """A recorded OpenTelemetry span."""

    def __init__(self, begun: "trace.Span") -> None:
        self._span = begun

    @property
    def traceparent(self) -> str:
        """The span's id in W3C Trace Context format."""
        context = self._span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def tell(self, facts: Mapping[str, Any], *, name: str | None = None) -> None:
        """Add attributes, and optionally rename the span."""
        if name is not None:
            self._span.update_name(name)
        self._span.set_attributes(dict(facts))

    def failed(self, why: str) -> None:
        """Mark the span as failed."""
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415 - an extra

        self._span.set_status(Status(StatusCode.ERROR))
        self._span.set_attribute("error.type", why)


def is_wanted(endpoint: str | None) -> bool:
    """Return whether an endpoint is set, by the setting or by OpenTelemetry's variables.

    Raises:
        TelemetryMissing: one is set, but the extra is not installed.
    """
    if endpoint is None and not any(os.environ.get(name) for name in ENDPOINTS):
        return False
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.exporter.otlp.proto.http") is None:
        raise TelemetryMissing(
            "traces are an extra: install Headwater with its extra 'otel', or do not set an OTLP endpoint"
        )
    return True


def tracer_for(endpoint: str | None) -> OtelTracer | None:
    """Return a tracer that exports spans; None if traces are off.

    Raises:
        TelemetryMissing: the extra is not installed.
    """
    if not is_wanted(endpoint):
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - an extra

    where = None if endpoint is None else endpoint.rstrip("/").removesuffix(_TRACES) + _TRACES
    return tracer_with(BatchSpanProcessor(OTLPSpanExporter(endpoint=where)))


def tracer_with(processor: "SpanProcessor") -> OtelTracer:
    """Return a tracer for a span processor; sampling is configured by OpenTelemetry's variables."""
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - an extra
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - an extra

    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "headwater"}
    provider = TracerProvider(resource=Resource.create({**named, "service.version": software_version()}))
    provider.add_span_processor(processor)
    return OtelTracer(provider)
