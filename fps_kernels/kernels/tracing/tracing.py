"""Where the spans go: to the host's own tracer provider, or to one that OpenTelemetry's variables describe."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from ... import __version__
from ...errors import BadOption
from ...serving.log_context import current
from ...threads import DaemonThreads

try:
    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SimpleSpanProcessor
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ModuleNotFoundError as exc:
    raise BadOption(f"traces: OpenTelemetry is missing (no {exc.name}): install fps_kernels[traces]") from exc

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, Tracer

logger = logging.getLogger(__name__)

NAME = "fps_kernels"
CLOSE_S = 3.0
"""Seconds for the last spans to be exported. Without its collector a server must still end."""
PROTOCOLS = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
"""The packages of OTLP exporters, by OTEL_EXPORTER_OTLP_PROTOCOL."""

_w3c = TraceContextTextMapPropagator()


class Tracing:
    """Makes the spans of all kernels of a process. Raises BadOption if no exporter can be made.

    environ: with OpenTelemetry's variables. They count unless the program has a tracer provider already, as under
      `opentelemetry-instrument`; then all spans go there.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._own: TracerProvider | None = None
        provider = trace.get_tracer_provider()
        if isinstance(provider, trace.ProxyTracerProvider):  # nobody has set one
            # It is not made the program's: another part of the program may want to set one.
            provider = self._own = _provider(environ)
        self._tracer: Tracer = provider.get_tracer(NAME, __version__)

    def span(self, name: str, attributes: Mapping[str, Any], *, of_request: bool) -> Span:
        """Start a span, which is ended by its `end()`.

        of_request: whether it is part of the trace of the HTTP request that is being dealt with, if that has one;
          otherwise it is the first of its trace.
        """
        return self._tracer.start_span(
            name, context=_context_of_request() if of_request else Context(), attributes=attributes
        )

    async def close(self) -> None:
        """Export what is left, within `CLOSE_S`. May be called twice."""
        provider, self._own = self._own, None
        if provider is None:
            return
        try:
            await DaemonThreads("traces").run(provider.shutdown, timeout_s=CLOSE_S)
        except TimeoutError:
            logger.warning("traces: the last spans could not be exported within %g s", CLOSE_S)


def fail(span: Span, error_type: str, description: str = "") -> None:
    """Have a span say that what it measures has failed.

    error_type: a class of errors, for filters. description: nothing that users wrote, for people.
    """
    span.set_attribute("error.type", error_type)
    span.set_status(trace.StatusCode.ERROR, description or None)


def _context_of_request() -> Context | None:
    """The trace of the current request: as a proxy or client names it, or as the host has set it (None)."""
    request = current()
    if request is None or not request.trace_parent:
        return None
    return _w3c.extract({"traceparent": request.trace_parent})


def _provider(environ: Mapping[str, str]) -> TracerProvider:
    """A tracer provider as OpenTelemetry's variables describe it. Raises BadOption."""
    resource = Resource.create({"service.name": "fps-kernels", "service.version": __version__})
    resource = resource.merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)  # `close` does that
    for name in environ.get("OTEL_TRACES_EXPORTER", "otlp").split(","):
        if (exporter := _exporter(name.strip(), environ)) is not None:
            at_once = isinstance(exporter, ConsoleSpanExporter)
            provider.add_span_processor(SimpleSpanProcessor(exporter) if at_once else BatchSpanProcessor(exporter))
    return provider


def _exporter(name: str, environ: Mapping[str, str]) -> SpanExporter | None:
    """The exporter with a name of OTEL_TRACES_EXPORTER; None for `none`. Raises BadOption."""
    if name == "none":
        return None
    if name == "otlp":
        protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
        protocol = protocol or "http/protobuf"
        if protocol not in PROTOCOLS:
            raise BadOption(f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol}: not one of {', '.join(PROTOCOLS)}")
        name = PROTOCOLS[protocol]
    found = list(entry_points(group="opentelemetry_traces_exporter", name=name))
    if not found:
        package = f"opentelemetry-exporter-{name.replace('_', '-')}"
        raise BadOption(f"OTEL_TRACES_EXPORTER: there is no exporter {name}; perhaps {package} must be installed")
    try:
        exporter: SpanExporter = found[0].load()()
    except Exception as exc:  # an exporter is somebody else's, and reads variables
        raise BadOption(f"traces: the exporter {name} cannot be made: {exc}") from exc
    return exporter
