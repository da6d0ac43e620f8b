"""Clients that leave in the middle of a long prompt: their work ends with the step it is in."""

import os
import time

import httpx
import pytest

from gateway import MODEL
from test_metrics import becomes

#: About 2,000 tokens, more than ten steps.
PROMPT = "The quick brown fox jumps over the lazy dog, and the dog sleeps on. " * 125
HERE = {"model_name": MODEL, "partition": "cpu-de"}


def cpu_seconds(pid):
    """What a process has computed so far (proc(5): utime and stime)."""
    with open(f"/proc/{pid}/stat") as stat:
        words = stat.read().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def is_quiet(pid, seconds=0.25):
    before = cpu_seconds(pid)
    time.sleep(seconds)
    return cpu_seconds(pid) - before < 0.03


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_in_its_prefill_stops_the_work(gateway, stream):
    [worker] = [pid for pid, line in gateway.workers().items() if "cpu-de" in line]
    becomes(0, lambda: gateway.metric("vllm:num_requests_running", **HERE))
    names = ("vllm:prompt_tokens_total", "vllm:generation_tokens_total")
    before = {name: gateway.metric(name, **HERE) for name in names}
    aborted = gateway.metric("vllm:request_success_total", finished_reason="abort")
    # nonces, so that no cache has the prompt
    ask = [{"role": "user", "content": f"{stream} {time.monotonic_ns()} {PROMPT}"}]
    body = {"model": MODEL, "messages": ask, "max_tokens": 400, "stream": stream}
    impatient = httpx.Timeout(20, read=0.3)
    with gateway.http("werk") as http, pytest.raises(httpx.ReadTimeout):
        http.post("/v1/chat/completions", json=body, timeout=impatient)
    left, computed = time.monotonic(), cpu_seconds(worker)
    # a worker says how busy it is between its steps, so it is its own time that is looked at
    while not is_quiet(worker):
        busy = time.monotonic() - left
        assert busy < 3, f"the worker computes for nobody, {busy} s after the client left"
    step = cpu_seconds(worker) - computed
    time.sleep(1.5)
    idle = cpu_seconds(worker) - computed - step
    assert idle < 0.15, f"the worker computed {step} s and then {idle} s for nobody"
    becomes(0, lambda: gateway.metric("vllm:num_requests_running", **HERE))
    after = {name: gateway.metric(name, **HERE) for name in names}
    assert after == before, "the prompt was never read to its end"
    becomes(
        aborted + 1, lambda: gateway.metric("vllm:request_success_total", finished_reason="abort")
    )
    assert gateway.metric("vllm:num_requests_waiting", **HERE) == 0
    assert gateway.metric("hanse_kv_blocks", state="used", **HERE) == 0
