"""OpenAI's responses with OpenAI's SDK."""

import json
from typing import Annotated, Literal

import openai
import pytest
from pydantic import BaseModel, Field

from gateway import FRENCH_MODEL, MODEL, entry_of

ASK = "Name the three primary colours."
WEATHER = {
    "type": "function", "name": "get_weather", "description": "The weather of a city.",
    "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


def respond(client, **fields):
    fields = {"model": MODEL, "input": ASK, "max_output_tokens": 24, "temperature": 0} | fields
    return client.responses.create(**fields)


def chat_text(client, messages):
    answer = client.chat.completions.create(
        model=MODEL, messages=messages, max_tokens=24, temperature=0
    )
    return answer.choices[0].message.content


def test_a_response_is_whole(client):
    response = respond(client, metadata={"a": "b"}, instructions="Be brief.")
    assert response.object == "response" and response.model == MODEL
    assert response.status in ("completed", "incomplete") and response.error is None
    [item] = response.output
    assert item.type == "message" and item.role == "assistant" and item.id
    assert response.output_text == item.content[0].text != ""
    assert response.metadata == {"a": "b"} and response.instructions == "Be brief."
    assert response.store is False and response.previous_response_id is None
    usage = response.usage
    assert usage.input_tokens > 5 and 0 < usage.output_tokens <= 24
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    # strictly, as a typed client would read it
    openai.types.responses.Response.model_validate(response.model_dump(), strict=False)


def test_it_says_what_chat_says(client):
    system = {"role": "system", "content": "Be brief."}
    user = {"role": "user", "content": ASK}
    assert respond(client).output_text == chat_text(client, [user])
    assert respond(client, instructions="Be brief.").output_text == chat_text(client, [system, user])
    turns = [user, {"role": "assistant", "content": "Red."}, {"role": "user", "content": "More?"}]
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": ASK}]},
        {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
         "content": [{"type": "output_text", "text": "Red.", "annotations": []}]},
        {"role": "user", "content": "More?"},
    ]
    assert respond(client, input=items).output_text == chat_text(client, turns)


def test_an_answer_goes_back_as_it_came(client):
    first = respond(client)
    again = respond(client, input=[
        {"role": "user", "content": ASK}, *first.output, {"role": "user", "content": "Go on."}
    ])
    assert again.output_text


def test_a_stream_has_every_event_in_order(client):
    response = respond(client)
    events = list(respond(client, stream=True))
    kinds = [event.type for event in events]
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert kinds[:4] == ["response.created", "response.in_progress",
                         "response.output_item.added", "response.content_part.added"]
    assert kinds[-4:] == ["response.output_text.done", "response.content_part.done",
                          "response.output_item.done", f"response.{response.status}"]
    assert "".join(deltas) == response.output_text
    assert [event.sequence_number for event in events] == list(range(len(events)))
    last = events[-1].response
    assert last.output_text == response.output_text
    assert last.usage.output_tokens == response.usage.output_tokens
    assert {event.item_id for event in events if hasattr(event, "item_id")} == {last.output[0].id}


def test_the_stream_helper(client):
    fields = {"model": MODEL, "input": ASK, "temperature": 0, "max_output_tokens": 60}
    with client.responses.stream(**fields, extra_body={"stop": "."}) as stream:
        text = "".join(e.delta for e in stream if e.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert text and final.output_text == text and final.status == "completed"


async def test_the_asynchronous_client(async_client, client):
    response = await respond(async_client)
    assert response.output_text == respond(client).output_text


def test_length_makes_it_incomplete(client):
    response = respond(client, max_output_tokens=3)
    assert response.status == "incomplete"
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.output[0].status == "incomplete" and response.usage.output_tokens == 3


def test_logprobs(client):
    include = ["message.output_text.logprobs"]
    response = respond(client, include=include, top_logprobs=2, max_output_tokens=6)
    [part] = response.output[0].content
    assert len(part.logprobs) == response.usage.output_tokens
    assert all(len(token.top_logprobs) == 2 for token in part.logprobs)
    streamed = [
        token.logprob
        for event in respond(client, include=include, top_logprobs=2, max_output_tokens=6,
                             stream=True)
        if event.type == "response.output_text.delta" for token in event.logprobs
    ]
    assert streamed == [token.logprob for token in part.logprobs]


@pytest.mark.parametrize(("fields", "param"), [
    ({"previous_response_id": "resp_1"}, "previous_response_id"),
    ({"conversation": "conv_1"}, "conversation"),
    ({"background": True}, "background"),
    ({"prompt": {"id": "p"}}, "prompt"),
    ({"truncation": "auto"}, "truncation"),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
    ({"include": ["file_search_call.results"]}, "include[0]"),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
     "input[0].content[0].type"),
    ({"temperature": 9}, "temperature"),
])
def test_what_cannot_be_done_is_a_400_that_names_it(client, fields, param):
    with pytest.raises(openai.BadRequestError) as caught:
        respond(client, **fields)
    assert caught.value.param == param and caught.value.code


def test_a_denial_and_an_answer_are_in_the_log(client, gateway):
    with pytest.raises(openai.PermissionDeniedError):
        respond(client, model=FRENCH_MODEL)
    raw = client.responses.with_raw_response.create(model=MODEL, input=ASK, max_output_tokens=1)
    [decision] = entry_of(gateway.entries(), "decision", raw.headers["x-request-id"])
    assert decision["endpoint"] == "/v1/responses" and raw.headers["x-hanse-receipt"]


class TestTools:
    """With calls that the engine reads out of the text."""

    def test_a_forced_call_comes_and_its_result_goes_back(self, client):
        tools = {"tools": [WEATHER], "tool_choice": "required", "max_output_tokens": 60,
                 "parallel_tool_calls": False}
        response = respond(client, input="What is the weather in Berlin?", **tools)
        [call] = [item for item in response.output if item.type == "function_call"]
        assert call.name == "get_weather" and call.call_id and call.status == "completed"
        assert isinstance(json.loads(call.arguments)["city"], str)
        again = respond(client, tools=[WEATHER], tool_choice="none", input=[
            {"role": "user", "content": "What is the weather in Berlin?"},
            *response.output,
            {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"},
        ])
        assert again.output_text and again.status in ("completed", "incomplete")

    def test_a_streamed_call_has_every_event(self, client):
        events = list(respond(client, tools=[WEATHER], max_output_tokens=60, stream=True,
                              tool_choice={"type": "function", "name": "get_weather"}))
        kinds = [event.type for event in events]
        for kind in ("response.output_item.added", "response.function_call_arguments.delta",
                     "response.function_call_arguments.done", "response.output_item.done"):
            assert kind in kinds
        deltas = "".join(
            e.delta for e in events if e.type == "response.function_call_arguments.delta"
        )
        [done] = [e for e in events if e.type == "response.function_call_arguments.done"]
        assert deltas == done.arguments and json.loads(deltas)

    def test_a_schema_is_followed(self, client):
        class Colours(BaseModel):
            colours: Annotated[list[Literal["red", "green"]], Field(max_length=3)]

        response = client.responses.parse(
            model=MODEL, input=ASK, text_format=Colours, temperature=0, max_output_tokens=200
        )
        assert response.status == "completed" and isinstance(response.output_parsed, Colours)
