"""Anthropic's SDK for Python."""

import anthropic
import pytest

from gateway import FRENCH_MODEL, MODEL, entry_of

ASK = [{"role": "user", "content": "Name the three primary colours."}]
WEATHER = {
    "name": "get_weather", "description": "The weather of a city.",
    "input_schema": {
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
    },
}


def sdk(gateway, tenant, kind=anthropic.Anthropic, **fields):
    http = anthropic.DefaultHttpxClient
    if kind is anthropic.AsyncAnthropic:
        http = anthropic.DefaultAsyncHttpxClient
    return kind(
        base_url=gateway.url,
        http_client=http(verify=gateway.context(), trust_env=False),
        max_retries=0,
        timeout=60,
        **({"api_key": gateway.keys[tenant]} | fields),
    )


@pytest.fixture
def claude(gateway):
    with sdk(gateway, "werk") as client:
        yield client


#: This version of the SDK has no argument for it.
GREEDY = {"temperature": 0}


def ask(client, **fields):
    fields = {"model": MODEL, "messages": ASK, "max_tokens": 24} | fields
    body = GREEDY | fields.pop("extra_body", {})
    return client.messages.create(**fields, extra_body=body)


def text_of(message):
    return "".join(block.text for block in message.content if block.type == "text")


def test_a_message_is_whole_and_says_what_chat_says(claude, client):
    message = ask(claude, system="Be brief.")
    assert message.type == "message" and message.role == "assistant" and message.model == MODEL
    assert message.stop_reason in ("end_turn", "max_tokens") and message.stop_sequence is None
    usage = message.usage
    assert 0 < usage.output_tokens <= 24
    chat = client.chat.completions.create(
        model=MODEL, messages=[{"role": "system", "content": "Be brief."}, *ASK],
        max_tokens=24, temperature=0,
    )
    assert text_of(message) == chat.choices[0].message.content != ""
    read = usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens
    assert read == chat.usage.prompt_tokens


def test_both_headers_carry_a_key(gateway):
    for fields in ({"auth_token": gateway.keys["werk"], "api_key": None}, {}):
        with sdk(gateway, "werk", **fields) as client:
            assert ask(client, max_tokens=1).usage.output_tokens == 1
    with gateway.http() as http:
        body = {"model": MODEL, "messages": ASK, "max_tokens": 1}
        answer = http.post("/v1/messages", json=body, headers={"x-api-key": gateway.keys["werk"]})
        assert answer.status_code == 200


def test_a_stream_says_the_same(claude):
    message = ask(claude)
    events = list(ask(claude, stream=True))
    kinds = [event.type for event in events]
    assert kinds[:3] == ["message_start", "content_block_start", "content_block_delta"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    deltas = [event.delta.text for event in events if event.type == "content_block_delta"]
    assert "".join(deltas) == text_of(message)
    assert events[-2].delta.stop_reason == message.stop_reason
    assert events[-2].usage.output_tokens == message.usage.output_tokens


def test_the_stream_helper(claude):
    fields = {"model": MODEL, "messages": ASK, "max_tokens": 24}
    with claude.messages.stream(**fields, extra_body=GREEDY) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == text_of(final) == text_of(ask(claude))
    assert final.usage.output_tokens > 0 and final.stop_reason


async def test_the_asynchronous_client(gateway, claude):
    async with sdk(gateway, "werk", anthropic.AsyncAnthropic) as client:
        message = await ask(client)
    assert text_of(message) == text_of(ask(claude))


def test_a_stop_sequence_is_named(claude):
    whole = text_of(ask(claude, max_tokens=40))
    stop = whole[10:16]
    message = ask(claude, max_tokens=40, stop_sequences=["never in it", stop])
    assert text_of(message) == whole[: whole.index(stop)]
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", stop)
    assert ask(claude, max_tokens=2).stop_reason == "max_tokens"


def test_tokens_are_counted_as_they_are_read(claude):
    counted = claude.messages.count_tokens(model=MODEL, messages=ASK, system="Be brief.")
    usage = ask(claude, system="Be brief.", max_tokens=1).usage
    assert counted.input_tokens == usage.input_tokens + usage.cache_read_input_tokens


def test_the_cache_is_counted(claude):
    long = [{"role": "user", "content": "word " * 200}]
    ask(claude, messages=long, max_tokens=1)
    usage = ask(claude, messages=long, max_tokens=1).usage
    assert usage.cache_read_input_tokens >= 64 and usage.input_tokens > 0


def test_blocks_go_back_as_they_came(claude):
    first = ask(claude)
    again = ask(claude, messages=[
        *ASK, {"role": "assistant", "content": first.content}, {"role": "user", "content": "More."}
    ])
    assert text_of(again)


def test_models_are_listed(claude):
    models = {model.id: model for model in claude.models.list()}
    assert {MODEL, FRENCH_MODEL} <= set(models)
    assert models[MODEL].type == "model" and models[MODEL].created_at.year >= 2020
    assert claude.models.retrieve(MODEL).display_name == MODEL
    with pytest.raises(anthropic.NotFoundError):
        claude.models.retrieve("no-such-model")


def test_a_thread_is_refused_so_that_the_sdk_sends_everything(claude):
    with pytest.raises(anthropic.BadRequestError) as caught:
        ask(claude, extra_body={"thread": {"type": "create"}})
    error = caught.value.body["error"]
    assert error["details"]["error_code"] == "thread_unsupported_request"
    assert error["details"]["unsupported"] == ["thread"]


class TestErrors:
    """Each status is the SDK's own exception, with Anthropic's fields."""

    def test_400(self, claude):
        image = {"type": "image", "source": {"type": "url", "url": "https://x.eu/a.png"}}
        for fields in ({"extra_body": {"temperature": 9}}, {"messages": [{"role": "user", "content": [image]}]},
                       {"stop_sequences": [""]}):
            with pytest.raises(anthropic.BadRequestError) as caught:
                ask(claude, **fields)
            body = caught.value.body
            assert body["type"] == "error" and body["error"]["type"] == "invalid_request_error"
            assert body["request_id"] == caught.value.request_id or body["request_id"]

    def test_401(self, gateway):
        with sdk(gateway, "werk", api_key="wrong") as client:
            with pytest.raises(anthropic.AuthenticationError) as caught:
                ask(client)
        assert caught.value.body["error"]["type"] == "authentication_error"

    def test_403_and_404(self, claude):
        with pytest.raises(anthropic.PermissionDeniedError) as caught:
            ask(claude, model=FRENCH_MODEL)
        assert caught.value.response.headers["x-hanse-receipt"]
        with pytest.raises(anthropic.NotFoundError):
            ask(claude, model="gpt-17")

    def test_the_log_names_the_endpoint(self, claude, gateway):
        raw = claude.messages.with_raw_response.create(model=MODEL, messages=ASK, max_tokens=1)
        [decision] = entry_of(gateway.entries(), "decision", raw.headers["x-request-id"])
        assert decision["endpoint"] == "/v1/messages"


class TestTools:
    """With calls that the engine reads out of the text."""

    def test_a_forced_call_comes_and_its_result_goes_back(self, claude):
        question = {"role": "user", "content": "What is the weather in Berlin?"}
        choice = {"type": "any", "disable_parallel_tool_use": True}
        message = ask(claude, messages=[question], tools=[WEATHER], tool_choice=choice,
                      max_tokens=60)
        [call] = [block for block in message.content if block.type == "tool_use"]
        assert message.stop_reason == "tool_use" and call.name == "get_weather"
        assert isinstance(call.input["city"], str)
        result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
        again = ask(claude, tools=[WEATHER], tool_choice={"type": "none"}, messages=[
            question, {"role": "assistant", "content": message.content},
            {"role": "user", "content": [result]},
        ])
        assert text_of(again)

    def test_a_streamed_call_is_accumulated(self, claude):
        choice = {"type": "tool", "name": "get_weather"}
        fields = {"model": MODEL, "messages": ASK, "max_tokens": 60, "extra_body": GREEDY}
        with claude.messages.stream(**fields, tools=[WEATHER], tool_choice=choice) as stream:
            message = stream.get_final_message()
        [call] = [block for block in message.content if block.type == "tool_use"]
        assert isinstance(call.input["city"], str) and message.stop_reason == "tool_use"
