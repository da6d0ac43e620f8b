"""Many streams at once, streams that are left, and streams whose worker dies."""

import asyncio
import json
import os
import signal
import time

import openai

from conftest import sdk
from gateway import MODEL, entry_of

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


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def terminal_of(gateway, request):
    """The terminal entry of a request, once it is there."""
    wait_until(lambda: entry_of(gateway.entries(), "terminal", request))
    [entry] = entry_of(gateway.entries(), "terminal", request)
    return entry


async def test_clients_that_go_away_free_their_blocks(gateway, async_client):
    """Each of these answers would take most of the partition's blocks; all of them together
    many times over. The last one fits only if the others gave theirs back."""
    for _ in range(6):
        stream = await async_client.chat.completions.create(
            **fields("everything", tokens=7000), stream=True
        )
        request = stream.response.headers["x-request-id"]
        async for _chunk in stream:
            break
        await stream.close()
        terminal = terminal_of(gateway, request)
        assert terminal["outcome"] == "cancelled"
        assert terminal["usage"] is None or terminal["usage"]["completion_tokens"] < 7000
    assert await stream_text(async_client, "everything", tokens=8)


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

    entry = terminal_of(gateway, request)
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
