"""Many streams at once, streams that are left, and streams whose worker dies."""

import asyncio
import json
import os
import signal
import time

import openai

from conftest import sdk
from gateway import MODEL

SUBJECTS = [
    "pumps", "valves", "robots", "welding", "gears", "steel", "paint", "glass",
    "motors", "belts", "sensors", "bearings", "casting", "lathes", "drills", "cranes",
]


def fields(subject, tokens=24, **more):
    ask = [{"role": "user", "content": f"Write two sentences about {subject}."}]
    return {"model": MODEL, "messages": ask, "max_tokens": tokens, "temperature": 0.8,
            "seed": len(subject), "extra_body": {"ignore_eos": True}, **more}


async def stream_text(client, subject, tokens=24):
    stream = await client.chat.completions.create(**fields(subject, tokens), stream=True)
    parts = []
    async for chunk in stream:
        parts += [choice.delta.content or "" for choice in chunk.choices]
    return "".join(parts)


async def test_sixteen_streams_say_what_they_say_alone(async_client):
    together = await asyncio.gather(*[stream_text(async_client, one) for one in SUBJECTS])
    alone = [await stream_text(async_client, one) for one in SUBJECTS]
    assert together == alone
    assert len(set(together)) == len(SUBJECTS)


def partition(gateway, zone):
    """What /readyz says of the partition of a zone."""
    with gateway.http("werk") as http:
        body = http.get("/readyz").json()
    [found] = [one for one in body["partitions"] if one["zone"] == zone]
    return found


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_a_client_that_goes_away_frees_its_blocks(gateway, client):
    ask = fields("everything", tokens=1500)
    stream = client.chat.completions.create(**ask, stream=True)
    request = stream.response.headers["x-request-id"]
    for _, _chunk in zip(range(4), stream):
        pass
    stream.close()

    def ended():
        return [e["terminal"] for e in map(unwrap, gateway.entries())
                if e.get("terminal", {}).get("request") == request]

    wait_until(ended)
    [terminal] = ended()
    assert terminal["outcome"] == "cancelled"
    assert terminal["usage"] is None or terminal["usage"]["completion_tokens"] < 1500
    # an idle worker runs nothing
    wait_until(lambda: idle(partition(gateway, "eu-de-1")))


def unwrap(line):
    return line.get("entry", line)


def idle(status):
    load = status.get("load", status)
    return load["running"] == 0 and load["waiting"] == 0


def test_a_stream_survives_the_death_of_its_worker(gateway, client):
    ask = fields("the history of the railway", tokens=160)
    expected = client.chat.completions.create(**ask).choices[0].message.content
    before = {pid for pid, line in gateway.workers().items() if "cpu-de" in line}
    assert len(before) == 1, gateway.workers()
    text = ""
    with client.chat.completions.create(**ask, stream=True) as stream:
        request = stream.response.headers["x-request-id"]
        for number, chunk in enumerate(stream):
            if number == 8:
                os.kill(before.copy().pop(), signal.SIGKILL)
            text += "".join(choice.delta.content or "" for choice in chunk.choices)
    assert text == expected
    after = {pid for pid, line in gateway.workers().items() if "cpu-de" in line}
    assert after and not after & before, "another process took over"

    def terminal():
        return [e["terminal"] for e in map(unwrap, gateway.entries())
                if e.get("terminal", {}).get("request") == request]

    wait_until(terminal)
    [entry] = terminal()
    assert entry["outcome"] == "completed"
    assert [one["zone"] for one in entry["attempts"]] == ["eu-de-1", "eu-de-1"]
    assert entry["attempts"][0]["epoch"] < entry["attempts"][1]["epoch"]


def test_a_stream_never_ends_silently(gateway):
    """The bytes of a stream, as any other client sees them."""
    body = {**fields("order", tokens=6), "stream": True}
    body.update(body.pop("extra_body"))
    with gateway.http("werk") as http:
        with http.stream("POST", "/v1/chat/completions", json=body) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            events = [line for line in response.iter_lines() if line.startswith("data:")]
    assert events[-1] == "data: [DONE]"
    first = json.loads(events[0][5:])
    assert first["choices"][0]["delta"]["role"] == "assistant"
    last = json.loads(events[-2][5:])
    assert last["choices"][0] == {**last["choices"][0], "delta": {}, "finish_reason": "length"}


def test_the_rate_of_a_tenant_is_its_own(gateway):
    """One tenant at its limit leaves the others alone."""
    with sdk(gateway, "klein") as small, sdk(gateway, "werk") as other:
        for _ in range(4):
            try:
                small.chat.completions.create(**fields("limits", tokens=1))
            except openai.RateLimitError:
                break
        else:
            raise AssertionError("the tenant has no limit")
        assert other.chat.completions.create(**fields("limits", tokens=1)).choices
