"""Two hundred requests at once, on a partition whose cache holds twenty of them."""

import asyncio
import hashlib
import json
import subprocess

import httpx
import pytest

from gateway import Gateway, built

COUNT = 200
TOKENS = 48
#: A sample of the answers is asked for again, each alone.
ALONE = range(0, COUNT, 8)

MODELS = """
[[zone]]
id = "eu-de-1"
jurisdiction = "DE"

[[model]]
id = "tiny"
source = {{ path = "{path}" }}
sha256 = "{sha256}"

[[partition]]
id = "small"
model = "tiny"
zone = "eu-de-1"
threads = 1
# 4,096 positions: twenty sequences of about 200
kv_memory = "1MiB"
"""


class Crowded(Gateway):
    """A random model in real programs: what is tested is who waits, and for what."""

    def _configure(self):
        super()._configure()
        weights = self.folder / "tiny.gguf"
        subprocess.run([built("examples/write_tiny"), weights, "1024"], check=True)
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        models = MODELS.format(path=weights, sha256=digest)
        (self.folder / "models.toml").write_text(models)
        tenant = self.folder / "policies/tenants/werk.toml"
        text = tenant.read_text()
        assert "concurrent_requests_max = 64" in text
        room = text.replace("concurrent_requests_max = 64", f"concurrent_requests_max = {COUNT}")
        tenant.write_text(room)
        # the kernel's backlog is no part of this
        (self.folder / "limits.toml").write_text(
            f"queue_max = {COUNT}\nrequests_per_worker_max = {2 * COUNT}\n"
        )


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    running = Crowded(tmp_path_factory.mktemp("crowded")).start()
    yield running
    assert running.stop() == 0, running.log_text()
    assert "panicked" not in running.log_text(), running.log_text()


def body(number):
    """Prompts of 120 to 160 tokens: this tokenizer has about one for each letter."""
    text = f"number {number} of {COUNT}: " + "abcdefghij klmnop " * 6 + "x" * (number % 20)
    return {
        "model": "tiny",
        "messages": [{"role": "user", "content": text}],
        "max_tokens": TOKENS,
        "temperature": 0,
        "seed": number,
        "ignore_eos": True,
        # random weights speak no language: ids are what is compared
        "logprobs": True,
    }


async def ask(client, number):
    response = await client.post("/v1/chat/completions", json=body(number))
    assert response.status_code == 200, response.text
    answer = response.json()
    [choice] = answer["choices"]
    drawn = [(one["token"], one["bytes"], one["logprob"]) for one in choice["logprobs"]["content"]]
    assert len(drawn) == TOKENS == answer["usage"]["completion_tokens"]
    return choice["message"]["content"], drawn, choice["finish_reason"]


async def test_all_of_them_are_answered_as_if_each_were_alone(crowded):
    client = httpx.AsyncClient(
        base_url=crowded.url, verify=crowded.context(), headers=crowded.headers("werk"),
        http2=True, timeout=150, trust_env=False,
    )
    async with client:
        together = await asyncio.gather(*[ask(client, number) for number in range(COUNT)])
        preempted = crowded.metric("vllm:num_preemptions_total", model_name="tiny")
        assert preempted > 0, "the cache was large enough for all of them"
        for number in ALONE:
            alone = await ask(client, number)
            assert json.dumps(alone) == json.dumps(together[number]), f"request {number}"
    assert len({json.dumps(one) for one in together}) > COUNT // 2, "prompts make a difference"
    ended = crowded.metric("vllm:request_success_total", finished_reason="length")
    assert ended == COUNT + len(ALONE)
    assert crowded.metric("hanse_requests_refused_total") == 0
    assert '"message":"sequence preempted"' in crowded.log_text()
