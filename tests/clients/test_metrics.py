"""What an operator's Prometheus reads, of a gateway that has served a few requests."""

import re
import time

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from conftest import sdk
from gateway import FRENCH_MODEL, MODEL, ROOT, TENANTS

SECRET = "periwinkle"


@pytest.fixture
def counted(gateway):
    """What has risen since the test began."""
    before = settled(gateway)

    def since(name, **labels):
        now = samples(gateway.metrics_text())
        rise = 0
        for (sample, of), value in now.items():
            if sample == name and labels.items() <= set(of):
                rise += value - before.get((sample, of), 0)
        return rise

    return since


def samples(text):
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def settled(gateway):
    """Samples, once workers have told all that they did for the tests before."""
    def done():
        now = samples(gateway.metrics_text())
        return now, {key: value for key, value in now.items() if key[0].endswith("_tokens_total")}

    deadline = time.monotonic() + 10
    now, tokens = done()
    while True:
        # longer than workers wait between two reports
        time.sleep(0.3)
        (now, later), before = done(), tokens
        if later == before:
            return now
        assert time.monotonic() < deadline, "nobody asks, and tokens go on being counted"
        tokens = later


def becomes(expected, read, seconds=10):
    """Workers tell their load a moment after the answer."""
    deadline = time.monotonic() + seconds
    while (found := read()) != expected:
        assert time.monotonic() < deadline, f"{found} does not become {expected}"
        time.sleep(0.05)


def test_what_was_served_adds_up(gateway, client, counted):
    ask = [{"role": "user", "content": f"Say something about {SECRET}."}]
    fields = {"model": MODEL, "messages": ask, "max_tokens": 6, "extra_body": {"ignore_eos": True}}
    prompt = drawn = 0
    for choices in (1, 2):
        usage = client.chat.completions.create(**fields, n=choices).usage
        prompt, drawn = prompt + usage.prompt_tokens, drawn + usage.completion_tokens
    options = {"include_usage": True}
    for chunk in client.chat.completions.create(**fields, stream=True, stream_options=options):
        if chunk.usage:
            prompt, drawn = prompt + chunk.usage.prompt_tokens, drawn + chunk.usage.completion_tokens
    assert drawn == 4 * 6
    here = {"model_name": MODEL, "zone": "eu-de-1", "partition": "cpu-de"}
    becomes(prompt, lambda: counted("vllm:prompt_tokens_total", **here))
    becomes(drawn, lambda: counted("vllm:generation_tokens_total", **here))
    length = {"finished_reason": "length"}
    assert counted("vllm:request_success_total", **here, **length) == 4, "one for each choice"
    for name, count in {
        "vllm:time_to_first_token_seconds": 3,
        "vllm:e2e_request_latency_seconds": 3,
        "vllm:request_queue_time_seconds": 3,
        "vllm:request_prefill_time_seconds": 3,
        "vllm:request_decode_time_seconds": 3,
        "vllm:request_prompt_tokens": 3,
        "vllm:inter_token_latency_seconds": 4 * 5,
    }.items():
        assert counted(f"{name}_count", **here) == count, name
    assert counted("vllm:request_prompt_tokens_sum", **here) == prompt
    parts = ("queue", "prefill", "decode")
    within = sum(counted(f"vllm:request_{part}_time_seconds_sum", **here) for part in parts)
    assert 0 < within <= counted("vllm:e2e_request_latency_seconds_sum", **here)
    assert counted("hanse_decisions_total", outcome="allowed") == 3
    assert counted("hanse_audit_append_seconds_count") >= 6, "two entries each"
    assert counted("vllm:generation_tokens_total", model_name=FRENCH_MODEL) == 0
    becomes(0, lambda: gateway.metric("vllm:num_requests_running", **here))
    becomes(0, lambda: gateway.metric("hanse_requests_in_flight"))


def test_refusals_are_counted_and_logged_without_their_text(gateway, counted):
    with gateway.http("werk") as http:
        unknown = {"model": "no-such-model", "messages": [{"role": "user", "content": SECRET}]}
        assert http.post("/v1/chat/completions", json=unknown).status_code == 404
        ask = [{"role": "user", "content": SECRET}]
        denied = {"model": FRENCH_MODEL, "messages": ask}
        response = http.post("/v1/chat/completions", json=denied)
        assert response.status_code == 403
        long = {"model": MODEL, "messages": [{"role": "user", "content": f"{SECRET} " * 5000}]}
        response_long = http.post("/v1/chat/completions", json=long)
        assert response_long.status_code == 400
    for reason in ("model_not_found", "residency_violation", "context_length_exceeded"):
        assert counted("hanse_requests_refused_total", reason=reason) == 1, reason
    assert counted("hanse_decisions_total", outcome="denied") == 1
    log = gateway.log_text()
    [line] = [
        line for line in log.splitlines()
        if response.headers["x-request-id"] in line and '"message":"request refused"' in line
    ]
    assert '"reason":"residency_violation"' in line and '"status":403' in line
    assert SECRET not in log


def test_every_name_that_dashboards_know_is_there(gateway, client):
    ask = [{"role": "user", "content": f"One word about {SECRET}."}]
    client.chat.completions.create(model=MODEL, messages=ask, max_tokens=2)
    text = gateway.metrics_text()
    listed = re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE)
    typed = set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))
    # nothing was refused so far if this test runs alone
    assert set(listed) - {"hanse_requests_refused_total"} <= typed, set(listed) - typed
    assert len([name for name in listed if name.startswith("vllm:")]) == 19
    places = {("cpu-de", MODEL, "eu-de-1"), ("cpu-fr", FRENCH_MODEL, "eu-fr-1")}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "hanse_worker_up":
                place = [sample.labels[name] for name in ("partition", "model_name", "zone")]
                assert tuple(place) in places and sample.value == 1
    assert gateway.metric("hanse_workers", state="ready") == 2
    assert gateway.metric("vllm:cache_config_info", block_size="32", partition="cpu-de") == 1


def test_nothing_in_it_tells_who_asked_or_what(gateway):
    for tenant in ("werk", "eu"):
        with sdk(gateway, tenant) as client:
            ask = [{"role": "user", "content": SECRET}]
            client.chat.completions.create(model=MODEL, messages=ask, max_tokens=1)
    text = gateway.metrics_text()
    for secret in (SECRET, *gateway.keys.values()):
        assert secret not in text
    for line in text.splitlines():
        for tenant in TENANTS:
            assert f'"{tenant}"' not in line, line


def test_tenants_cannot_read_it_and_operators_can_read_nothing_else(gateway):
    for tenant in ("werk", None):
        with gateway.http(tenant) as http:
            assert http.get("/metrics").status_code == (404 if tenant else 401)
    with httpx.Client(
        base_url=f"http://127.0.0.1:{gateway.metrics_port}", trust_env=False
    ) as operator:
        answer = operator.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert operator.head("/metrics").text == ""
        assert operator.post("/metrics").status_code == 405
        for path in ("/", "/v1/models", "/readyz"):
            assert operator.get(path).status_code == 404, path
