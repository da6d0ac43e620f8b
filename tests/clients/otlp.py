"""A real OpenTelemetry collector, and the end of its pipeline."""

import contextlib
import gzip
import http.server
import pathlib
import subprocess
import threading
import time

import rotel
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from gateway import free_port


class Collector:
    """Takes spans as any collector in production does, and keeps what it exports.

    The collector is rotel; it decodes what the gateway sends, batches it, and encodes it again
    for the receiver here, which reads it with the generated classes of opentelemetry-proto.
    """

    def __init__(self, folder: pathlib.Path):
        self.spans: list[dict] = []
        self.receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self.receiver.serve_forever, daemon=True).start()
        self.port = free_port()
        self.log = folder / "collector.log"
        agent = pathlib.Path(rotel.__file__).parent / "rotel-agent"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [agent, "start", "--exporter", "otlp",
                 "--otlp-http-endpoint", f"127.0.0.1:{self.port}",
                 "--otlp-grpc-endpoint", f"127.0.0.1:{free_port()}",
                 "--otlp-exporter-protocol", "http",
                 "--otlp-exporter-endpoint", f"http://127.0.0.1:{self.receiver.server_port}",
                 "--batch-timeout", "100ms"],
                stdout=log, stderr=log,
            )

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _handler(collector):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                collector._keep(ExportTraceServiceRequest.FromString(body))
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *arguments):
                pass

        return Handler

    def _keep(self, request: ExportTraceServiceRequest) -> None:
        for resource in request.resource_spans:
            attributes = {a.key: a.value.string_value for a in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.append({
                        "service": attributes.get("service.name"),
                        "name": span.name,
                        "trace": span.trace_id.hex(),
                        "id": span.span_id.hex(),
                        "parent": span.parent_span_id.hex(),
                        "attributes": {a.key: value_of(a.value) for a in span.attributes},
                    })

    def wait_for(self, condition, seconds=30) -> list[dict]:
        """The spans that fulfil a condition, once there is at least one."""
        deadline = time.monotonic() + seconds
        while not (found := [span for span in self.spans if condition(span)]):
            assert time.monotonic() < deadline, f"only {self.spans}\n{self.log.read_text()}"
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)
        return found

    def stop(self) -> None:
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        if self.process.poll() is None:
            self.process.kill()
        self.receiver.shutdown()


def value_of(value):
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind else None
