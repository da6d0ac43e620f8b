"""Embeddings by OpenAI's SDK: a real sentence-embedding model through the whole path."""

import asyncio
import base64
import os
import signal
import struct
import time

import httpx
import numpy as np
import openai
import pytest

from conftest import sdk
from gateway import MODEL as CHAT, Gateway, entry_of
from minilm import MODEL, MiniLM, digest, folder
from test_metrics import becomes

#: The same weights, in France only.
FRENCH = "minilm-paris"

#: Labels of its metrics.
HERE = {"model_name": MODEL, "partition": "vectors-de"}

MODELS = """
[[model]]
id = "{id}"
source = {{ path = "{path}" }}
sha256 = "{sha256}"

[[partition]]
id = "{partition}"
model = "{id}"
zone = "{zone}"
kind = "embed"
threads = 1
"""

TEXTS = [
    "A cat sits on the mat.",
    "A kitten is resting on the rug.",
    "The stock market fell sharply on Monday.",
    "Shares lost a great deal of value at the start of the week.",
    "How do I replace the spindle bearing of a milling machine?",
    "x",
    "\u00dcber den W\u00f6lfen, caf\u00e9 na\u00efve \u4f60\u597d\uff0c\u4e16\u754c [CLS] \U0001f600 ##ing",
    "The quick brown fox jumps over the lazy dog. " * 24,
]


class Embedding(Gateway):
    def _configure(self):
        super()._configure()
        models = self.folder / "models.toml"
        text = models.read_text()
        for name, partition, zone in [(MODEL, "vectors-de", "eu-de-1"), (FRENCH, "vectors-fr", "eu-fr-1")]:
            text += MODELS.format(
                id=name, partition=partition, zone=zone, path=folder(), sha256=digest()
            )
        models.write_text(text)


@pytest.fixture(scope="module")
def embedding(tmp_path_factory):
    running = Embedding(tmp_path_factory.mktemp("embedding")).start()
    yield running
    assert running.stop() == 0, running.log_text()
    assert "panicked" not in running.log_text(), running.log_text()


@pytest.fixture(scope="module")
def reference():
    return MiniLM()


@pytest.fixture
def client(embedding):
    with sdk(embedding, "werk") as client:
        yield client


def vectors(client, texts, **more):
    """32-bit floats, as they came."""
    answer = client.embeddings.create(model=MODEL, input=texts, **more)
    assert [one.index for one in answer.data] == list(range(len(answer.data)))
    return np.array([one.embedding for one in answer.data], dtype=np.float32)


def same(left, right):
    return left.shape == right.shape and left.tobytes() == right.tobytes()


def test_vectors_are_those_of_an_independent_forward(client, reference):
    got = vectors(client, TEXTS)
    expected = np.array([reference.embed(text) for text in TEXTS])
    assert got.shape == (len(TEXTS), 384)
    cosines = (got * expected).sum(axis=1) / np.linalg.norm(got, axis=1)
    difference = np.abs(got - expected).max()
    print(f"cosine {cosines.min():.9f}, largest difference {difference:.2e}")
    # the sum of rounding errors of six layers in 32 bits
    assert cosines.min() > 0.999999 and difference < 2e-6, (cosines, difference)
    assert np.abs(np.linalg.norm(got, axis=1) - 1).max() < 1e-6


def test_what_is_related_is_near(client):
    cat, kitten, market, shares, *_ = vectors(client, TEXTS)
    assert cat @ kitten > 0.5 and market @ shares > 0.5
    assert max(cat @ market, cat @ shares, kitten @ market, kitten @ shares) < 0.2


def test_a_vector_has_the_same_bits_in_any_company(client, embedding):
    together = vectors(client, TEXTS)
    assert same(vectors(client, TEXTS[::-1])[::-1].copy(), together)
    for text, expected in zip(TEXTS, together):
        assert same(vectors(client, text)[0], expected), text[:20]
        assert same(vectors(client, [text, text])[1], expected)

    async def crowd():
        async with sdk(embedding, "werk", openai.AsyncOpenAI) as many:
            asks = [many.embeddings.create(model=MODEL, input=TEXTS[n % 7 : 7]) for n in range(21)]
            return await asyncio.gather(*asks)

    for number, answer in enumerate(asyncio.run(crowd())):
        got = np.array([one.embedding for one in answer.data], dtype=np.float32)
        assert same(got, together[number % 7 : 7])


def test_both_encodings_hold_the_same_bits(client, embedding):
    # the SDK asks for base64 where nothing is said, and reads it by itself
    by_default = vectors(client, TEXTS)
    assert same(vectors(client, TEXTS, encoding_format="float"), by_default)
    answer = client.embeddings.create(model=MODEL, input=TEXTS[0], encoding_format="base64")
    raw = base64.b64decode(answer.data[0].embedding)
    assert struct.unpack("<384f", raw) == tuple(by_default[0].tolist())
    with embedding.http("werk") as http:
        plain = http.post("/v1/embeddings", json={"model": MODEL, "input": TEXTS[0]})
    body = plain.json()
    assert body["object"] == "list" and body["model"] == MODEL
    assert same(np.array(body["data"][0]["embedding"], dtype=np.float32), by_default[0])
    assert plain.headers["x-hanse-receipt"] and plain.headers["x-ratelimit-limit-requests"]


def test_tokens_are_the_same_as_their_text(client, reference):
    texts = TEXTS[:5]
    expected = vectors(client, texts)
    answer = client.embeddings.create(model=MODEL, input=texts)
    count = sum(len(reference.ids(text)) for text in texts)
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (count, count)
    framed = [reference.ids(text) for text in texts]
    bare = [reference.ids(text, special=False) for text in texts]
    assert same(vectors(client, framed), expected) and same(vectors(client, bare), expected)
    assert same(vectors(client, bare[0]), expected[:1])


def test_fewer_dimensions_are_a_direction_again(client):
    whole = vectors(client, TEXTS).astype(np.float64)
    for dimensions in (1, 64, 383, 384):
        cut = whole[:, :dimensions] / np.linalg.norm(whole[:, :dimensions], axis=1)[:, None]
        got = vectors(client, TEXTS, dimensions=dimensions)
        assert got.shape == cut.shape and np.abs(got - cut).max() < 1e-6, dimensions


@pytest.mark.parametrize(
    ("ask", "status", "code", "param", "says"),
    [
        ({"input": ""}, 400, "invalid_value", "input", "must not be empty"),
        ({"input": []}, 400, "invalid_value", "input", "must not be empty"),
        ({"input": ["a", ""]}, 400, "invalid_value", "input[1]", "must not be empty"),
        ({"input": ["a", " \n"]}, 400, "invalid_value", "input", "no tokens in text 1"),
        ({"input": ["a"] * 2049}, 400, "invalid_value", "input", "at most 2048"),
        ({"input": "word " * 255}, 400, "invalid_value", "input", "257 tokens"),
        ({"input": [1, 99999]}, 400, "invalid_value", "input", "0 to 30521"),
        ({"input": [1, "a"]}, 400, "invalid_type", "input[1]", "a token id"),
        ({"input": "a", "dimensions": 385}, 400, "invalid_value", "dimensions", "have 384"),
        ({"input": "a", "dimensions": 0}, 400, "invalid_value", "dimensions", "at least 1"),
        ({"input": "a", "encoding_format": "int8"}, 400, "invalid_value", "encoding_format", "base64"),
        ({"input": "a", "model": CHAT}, 400, "model_not_supported", "model", f"`{MODEL}`"),
        ({"input": "a", "model": "none"}, 404, "model_not_found", "model", "does not exist"),
        (
            {"input": "a", "truncate_prompt_tokens": 5},
            400, "unsupported_parameter", "truncate_prompt_tokens", "not supported",
        ),
    ],
)
def test_what_cannot_be_done_is_said(embedding, ask, status, code, param, says):
    with embedding.http("werk") as http:
        answer = http.post("/v1/embeddings", json={"model": MODEL, **ask})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (status, code, param), error
    assert error["type"] == "invalid_request_error" and says in error["message"], error


def test_the_longest_text_that_there_may_be_is_read_whole(client, reference):
    text = "word " * 254
    assert len(reference.ids(text)) == 256
    got = vectors(client, text)[0]
    assert got @ reference.embed(text) > 0.999999
    other = "word " * 253 + "cat"
    assert not same(vectors(client, other)[0], got), "the last word counts"


def test_each_kind_of_model_is_for_its_endpoints(client):
    assert {CHAT, MODEL} <= {model.id for model in client.models.list()}
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "a"}])
    assert caught.value.code == "model_not_supported" and CHAT in caught.value.message


def test_where_it_may_run_and_what_the_log_says(embedding):
    def post(tenant, model, **headers):
        with embedding.http(tenant) as http:
            body = {"model": model, "input": ["secret-word-of-the-test", "a"], "dimensions": 32}
            return http.post("/v1/embeddings", json=body, headers=headers)

    refused, allowed = post("werk", FRENCH), post("werk", MODEL)
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "residency_violation"
    assert allowed.status_code == 200 and post("eu", FRENCH).status_code == 200
    assert post("eu", FRENCH, **{"x-hanse-residency": "DE"}).status_code == 403

    entries = embedding.entries()
    [denied] = entry_of(entries, "decision", refused.headers["x-request-id"])
    assert denied["outcome"]["deny"]["reason"] == "residency_violation"
    assert denied["permitted"] == [] and denied["endpoint"] == "/v1/embeddings"
    assert entry_of(entries, "terminal", refused.headers["x-request-id"]) == [], "nothing ran"
    [decision] = entry_of(entries, "decision", allowed.headers["x-request-id"])
    assert decision["outcome"] == "permit" and decision["permitted"] == ["eu-de-1"]
    assert decision["embedding"] == {"texts": 2, "dimensions": 32}
    assert decision["model_digest"] == digest()
    [end] = entry_of(entries, "terminal", allowed.headers["x-request-id"])
    assert end["outcome"] == "completed"
    assert [one["zone"] for one in end["attempts"]] == ["eu-de-1"]
    assert end["attempts"][0]["numerics"] == "cpu-v2-encoder-f32"
    used = allowed.json()["usage"]["prompt_tokens"]
    assert end["usage"]["prompt_tokens"] == decision["prompt_tokens"] == used
    log = b"".join(path.read_bytes() for path in (embedding.data / "audit").glob("*.jsonl"))
    assert b"secret-word-of-the-test" not in log
    verified = embedding.command("audit", "verify")
    assert verified.returncode == 0, verified.stderr


def test_a_limit_of_a_tenant_holds(embedding):
    with embedding.http("klein") as http:
        body = {"model": MODEL, "input": "a"}
        answers = [http.post("/v1/embeddings", json=body) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert int(answers[2].headers["retry-after"]) > 0


def test_it_is_counted(embedding, client):
    names = {
        "vllm:prompt_tokens_total": {},
        "vllm:request_success_total": {"finished_reason": "stop"},
        "vllm:e2e_request_latency_seconds_count": {},
    }
    becomes(0, lambda: embedding.metric("vllm:num_requests_running", **HERE))
    before = {name: embedding.metric(name, **HERE, **more) for name, more in names.items()}
    used = client.embeddings.create(model=MODEL, input=TEXTS).usage.prompt_tokens
    for (name, more), added in zip(names.items(), (used, 1, 1)):
        # what was computed before may be told only now
        becomes(True, lambda: embedding.metric(name, **HERE, **more) >= before[name] + added)


def worker(embedding):
    [pid] = [pid for pid, line in embedding.workers().items() if "vectors-de" in line]
    return pid


def test_no_vector_is_lost_when_the_worker_is_killed(embedding):
    texts = [[f"{number} {place} " + TEXTS[-1][:200] for place in range(12)] for number in range(4)]
    resumed = embedding.metric("hanse_requests_resumed_total")

    async def all_of_them(kill):
        async with sdk(embedding, "werk", openai.AsyncOpenAI) as many:
            asks = [
                asyncio.create_task(
                    many.embeddings.with_raw_response.create(model=MODEL, input=part, timeout=150)
                )
                for part in texts
            ]
            if kill:
                # until the worker has begun, and long before it is done
                while embedding.metric("vllm:num_requests_running", **HERE) < 1:
                    await asyncio.sleep(0.02)
                assert not all(ask.done() for ask in asks), "it was killed too late"
                os.kill(worker(embedding), signal.SIGKILL)
            return await asyncio.gather(*asks)

    def read(answers):
        parsed = [answer.parse() for answer in answers]
        return [np.array([one.embedding for one in answer.data], np.float32) for answer in parsed]

    expected = read(asyncio.run(all_of_them(kill=False)))
    # what is told of a worker is a moment old
    becomes(0, lambda: embedding.metric("vllm:num_requests_running", **HERE))
    answers = asyncio.run(all_of_them(kill=True))
    for got, undisturbed in zip(read(answers), expected):
        assert same(got, undisturbed)
    entries = embedding.entries()
    ends = [entry_of(entries, "terminal", one.headers["x-request-id"])[0] for one in answers]
    assert all(end["outcome"] == "completed" for end in ends)
    # the worker's second start; an attempt that had said nothing is in no entry
    moved = [end for end in ends if end["attempts"][-1]["epoch"] > 1]
    assert moved, [end["attempts"] for end in ends]
    assert embedding.metric("hanse_requests_resumed_total") > resumed


def test_a_client_that_leaves_stops_the_work(embedding):
    becomes(0, lambda: embedding.metric("vllm:num_requests_running", **HERE))
    before = embedding.metric("vllm:prompt_tokens_total", **HERE)
    texts = [f"{place} {TEXTS[-1]}" for place in range(200)]
    impatient = httpx.Timeout(20, read=1)
    with embedding.http("werk") as http, pytest.raises(httpx.ReadTimeout):
        http.post("/v1/embeddings", json={"model": MODEL, "input": texts}, timeout=impatient)

    def computed():
        return embedding.metric("vllm:prompt_tokens_total", **HERE) - before

    # a worker says what it does between its steps
    becomes(True, lambda: computed() > 0, seconds=60)
    becomes(0, lambda: embedding.metric("vllm:num_requests_running", **HERE), seconds=60)
    at_the_end = computed()
    assert at_the_end < 100 * 240, f"{at_the_end} tokens were read for nobody"
    time.sleep(2)
    assert computed() == at_the_end
