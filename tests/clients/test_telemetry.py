"""Traces, from a client's traceparent to the steps of a worker."""

import pytest

from gateway import MODEL, Gateway
from otlp import Collector

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
SECRET = "a-prompt-that-no-trace-may-hold"


@pytest.fixture
def collector(tmp_path):
    running = Collector(tmp_path)
    yield running
    running.stop()


@pytest.fixture
def traced(tmp_path, collector):
    folder = tmp_path / "gateway"
    folder.mkdir()
    running = Gateway(folder, {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}).start()
    yield running
    running.stop()


def test_one_trace_spans_client_gateway_and_worker(traced, collector):
    with traced.http("werk") as http:
        answer = http.post(
            "/v1/chat/completions",
            json={"model": MODEL, "messages": [{"role": "user", "content": SECRET}], "max_tokens": 4},
            headers={"traceparent": f"00-{TRACE}-{PARENT}-01"},
        )
    assert answer.status_code == 200

    def of_trace(name):
        return lambda span: span["trace"] == TRACE and name in (span["service"] or "")

    [server] = [s for s in collector.wait_for(of_trace("gateway")) if s["parent"] == PARENT]
    of_worker = collector.wait_for(of_trace("worker"))
    ids = {span["id"] for span in collector.spans if span["trace"] == TRACE}
    assert all(span["parent"] in ids for span in of_worker), "the worker's spans hang in the trace"
    assert server["id"] in ids

    everything = repr(collector.spans)
    assert SECRET not in everything
    assert traced.keys["werk"] not in everything


def test_without_an_endpoint_nothing_is_sent(gateway, collector):
    with gateway.http("werk") as http:
        http.get("/v1/models", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    assert collector.spans == []
