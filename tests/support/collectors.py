"""A collector of OpenTelemetry for the tests: takes spans over OTLP/HTTP, as the ones that people run."""

from __future__ import annotations

import contextlib
import gzip
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from .waits import until


@dataclass(frozen=True)
class Span:
    """What the tests look at of a span. parent: the id of its parent; "" of the first of a trace."""

    name: str
    trace_id: str
    parent: str
    duration_s: float
    attributes: dict[str, Any]
    failed: bool
    status: str
    service: str


class Collector:
    """Keeps the spans that it gets. url: for OTEL_EXPORTER_OTLP_ENDPOINT."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.received = b""
        self.spans: list[Span] = []

    @property
    def environ(self) -> dict[str, str]:
        """The variables of a server that sends its spans here, as soon as they have ended."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}

    async def wait_for(self, number: int, name: str, **attributes: Any) -> list[Span]:
        """So many spans with a name and attributes, in which "_" stands for "."."""
        wanted = {key.replace("_", "."): value for key, value in attributes.items()}

        def found() -> list[Span] | None:
            those = [one for one in self.spans if one.name == name and wanted.items() <= one.attributes.items()]
            return those if len(those) >= number else None

        spans = await until(found)
        assert len(spans) == number, spans
        return spans

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        self.received += body
        for of_resource in request.resource_spans:
            resource = {one.key: one.value.string_value for one in of_resource.resource.attributes}
            for of_scope in of_resource.scope_spans:
                assert of_scope.scope.name == "fps_kernels"
                for span in of_scope.spans:
                    values = {one.key: (one.value.WhichOneof("value"), one.value) for one in span.attributes}
                    self.spans.append(
                        Span(
                            span.name,
                            span.trace_id.hex(),
                            span.parent_span_id.hex(),
                            (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                            {key: getattr(value, str(kind)) for key, (kind, value) in values.items()},
                            span.status.code == Status.STATUS_CODE_ERROR,
                            span.status.message,
                            resource["service.name"],
                        )
                    )


@contextlib.contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/traces"
            collector.take(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()
