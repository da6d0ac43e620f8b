"""HTTP itself: versions, and everything that a client can get wrong."""

import json
import socket
import ssl

import httpx
import pytest

from gateway import MODEL

GOOD = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
PATH = "/v1/chat/completions"


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
def test_both_versions_answer_and_stream(gateway, version):
    with gateway.http("werk", http2=version == "HTTP/2") as http:
        answer = http.post(PATH, json=GOOD)
        assert (answer.status_code, answer.http_version) == (200, version)
        with http.stream("POST", PATH, json={**GOOD, "stream": True}) as stream:
            assert stream.http_version == version
            assert list(stream.iter_lines())[-2:] == ["data: [DONE]", ""]


def test_tls_is_1_3_and_older_is_refused(gateway):
    with socket.create_connection(("127.0.0.1", gateway.port)) as plain:
        with gateway.context().wrap_socket(plain, server_hostname="127.0.0.1") as secured:
            assert secured.version() == "TLSv1.3"
    old = gateway.context()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("127.0.0.1", gateway.port)) as plain, pytest.raises(ssl.SSLError):
        old.wrap_socket(plain, server_hostname="127.0.0.1")


def test_an_unknown_authority_is_not_trusted(gateway):
    with pytest.raises(httpx.ConnectError), httpx.Client(trust_env=False) as http:
        http.get(f"{gateway.url}/healthz")


def test_health_needs_no_key(gateway):
    with gateway.http() as http:
        assert http.get("/healthz").status_code == 200
        assert http.get("/readyz").status_code == 200
        assert http.get("/v1/models").status_code == 401


def with_fields(**fields):
    return json.dumps({**GOOD, **fields}).encode()


BAD_BODIES = {
    "empty": b"",
    "not JSON": b"{",
    "two values": b"{} {}",
    "an array": b"[]",
    "a string": b'"hello"',
    "invalid UTF-8": b'{"model": "\xff\xfe"}',
    "lone surrogate": with_fields(messages=[]).replace(b'"messages": []', b'"messages": [{"role": "user", "content": "\\ud800"}]'),
    "NaN": b'{"model": "%s", "messages": [{"role":"user","content":"a"}], "temperature": NaN}' % MODEL.encode(),
    "1e999": b'{"model": "%s", "messages": [{"role":"user","content":"a"}], "temperature": 1e999}' % MODEL.encode(),
    "deep nesting": b'{"model":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep nesting in a message": b'{"messages":[{"role":"user","content":' + b"[" * 100_000,
    "no model": json.dumps({"messages": GOOD["messages"]}).encode(),
    "model is a number": with_fields(model=7),
    "no messages": json.dumps({"model": MODEL}).encode(),
    "empty messages": with_fields(messages=[]),
    "messages is text": with_fields(messages="hi"),
    "message is null": with_fields(messages=[None]),
    "unknown role": with_fields(messages=[{"role": "king", "content": "a"}]),
    "content is a number": with_fields(messages=[{"role": "user", "content": 5}]),
    "image part": with_fields(messages=[{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "http://127.0.0.1/a.png"}}]}]),
    "max_tokens 0": with_fields(max_tokens=0),
    "max_tokens negative": with_fields(max_tokens=-1),
    "max_tokens text": with_fields(max_tokens="10"),
    "max_tokens fraction": with_fields(max_tokens=1.5),
    "max_tokens huge": with_fields(max_tokens=10**30),
    "temperature high": with_fields(temperature=2.01),
    "temperature text": with_fields(temperature="hot"),
    "top_p over 1": with_fields(top_p=1.01),
    "top_p negative": with_fields(top_p=-0.1),
    "n 0": with_fields(n=0),
    "n huge": with_fields(n=1_000_000),
    "penalty": with_fields(frequency_penalty=3),
    "stop empty": with_fields(stop=""),
    "stop too many": with_fields(stop=["a"] * 100),
    "stop long": with_fields(stop="a" * 100_000),
    "stop number": with_fields(stop=5),
    "logit_bias out of range": with_fields(logit_bias={"1": 101}),
    "logit_bias key": with_fields(logit_bias={"one": 1}),
    "logit_bias negative id": with_fields(logit_bias={"-1": 1}),
    "top_logprobs": with_fields(logprobs=True, top_logprobs=21),
    "top_logprobs alone": with_fields(top_logprobs=2),
    "stream text": with_fields(stream="yes"),
    "seed text": with_fields(seed="one"),
    "doubled key": b'{"model": "a", "model": "%s", "messages": [{"role":"user","content":"a"}]}' % MODEL.encode(),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_bad_body_is_a_clear_400(gateway, name):
    with gateway.http("werk") as http:
        answer = http.post(PATH, content=BAD_BODIES[name], headers={"content-type": "application/json"})
    assert answer.status_code == 400, (name, answer.text)
    error = answer.json()["error"]
    assert set(error) >= {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error" and error["message"] and error["code"]
    assert answer.headers["x-request-id"]


def test_a_huge_body_is_refused_without_being_read(gateway):
    def endless():
        yield b'{"model": "'
        for _ in range(64):
            yield b"x" * (1 << 20)

    with gateway.http("werk") as http:
        try:
            answer = http.post(PATH, content=endless())
            assert answer.status_code == 413, answer.text
            assert answer.json()["error"]["code"]
        except (httpx.WriteError, httpx.ReadError):
            pass  # closed while we still sent: as good a refusal
    with gateway.http("werk") as http:
        assert http.post(PATH, json=GOOD).status_code == 200, "and it still serves"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", PATH, 405),
        ("POST", "/v1/models", 405),
        ("GET", "/v1/nothing", 404),
        ("POST", "/v1/chat/completions/", 404),
        ("GET", "/", 404),
        ("GET", "/v1/models/no-such-model", 404),
        ("GET", "/v1/models/../../etc/passwd", 404),
    ],
)
def test_a_wrong_path_or_method_has_the_same_shape(gateway, method, path, status):
    with gateway.http("werk") as http:
        answer = http.request(method, path)
    assert answer.status_code == status, answer.text
    assert set(answer.json()["error"]) >= {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Basic d2VyazpwYXNz", "Bearer a b", "Bearer " + "x" * 5000]
)
def test_a_bad_key_is_401(gateway, authorization):
    with gateway.http() as http:
        headers = {"authorization": authorization} if authorization else {}
        answer = http.post(PATH, json=GOOD, headers=headers)
    assert answer.status_code in (401, 431), answer.text
    if answer.status_code == 401:
        assert answer.json()["error"]["code"] == "invalid_api_key"


def test_a_half_sent_request_does_not_hold_others_up(gateway):
    with socket.create_connection(("127.0.0.1", gateway.port)) as plain:
        with gateway.context().wrap_socket(plain, server_hostname="127.0.0.1") as secured:
            secured.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-le")
            with gateway.http("werk") as http:
                assert http.post(PATH, json=GOOD).status_code == 200


def test_unknown_fields_and_those_of_load_tools_are_accepted(gateway):
    """aiperf and guidellm send these; a field that changes nothing must not stop anyone."""
    extra = {
        "ignore_eos": True, "min_tokens": 2, "user": "u", "metadata": {"a": "b"}, "store": False,
        "service_tier": "auto", "stream": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
    }
    with gateway.http("werk") as http:
        with http.stream("POST", PATH, json={**GOOD, **extra}) as stream:
            assert stream.status_code == 200
            lines = [line for line in stream.iter_lines() if line.startswith("data: {")]
    assert json.loads(lines[-1][6:])["usage"]["completion_tokens"] == 2
