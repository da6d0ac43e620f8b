"""Tools and structured output with OpenAI's SDK for Python: whatever a model would like to say,
what it answers fits what was demanded. The model here is a small one that chooses tools badly, so
what is called is forced, or left open."""

import json
import re
import typing

import openai
import pydantic
import pytest

from gateway import MODEL, entry_of

ASK = [{"role": "user", "content": "What is the weather in Berlin and in Rome?"}]


class Weather(pydantic.BaseModel):
    """What the tool takes."""

    model_config = pydantic.ConfigDict(extra="forbid")
    city: typing.Annotated[str, pydantic.Field(max_length=24)]
    unit: typing.Literal["celsius", "fahrenheit"]
    days: typing.Annotated[int, pydantic.Field(ge=1, le=7)]


class Clock(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")


KINDS = {"get_weather": Weather, "now": Clock}
TOOLS = [
    {"type": "function", "function": {"name": name, "description": f"Calls {name}.",
                                      "parameters": kind.model_json_schema()}}
    for name, kind in KINDS.items()
]
NAMED = {"type": "function", "function": {"name": "get_weather"}}


def ask(client, **fields):
    fields = {"model": MODEL, "messages": ASK, "max_tokens": 120, "temperature": 0} | fields
    return client.chat.completions.create(**fields)


def put_together(chunks):
    """The message of a streamed answer, as clients put it together."""
    content, calls, reason = "", [], None
    for chunk in chunks:
        for choice in chunk.choices:
            content += choice.delta.content or ""
            assert reason is None, "nothing comes after the end"
            reason = choice.finish_reason
            for delta in choice.delta.tool_calls or []:
                if delta.index == len(calls):
                    assert delta.id and delta.type == "function" and delta.function.name
                    calls.append([delta.id, delta.function.name, ""])
                else:
                    assert delta.id is None and delta.function.name is None
                calls[delta.index][2] += delta.function.arguments or ""
    return content, calls, reason


def plain(choice):
    calls = choice.message.tool_calls or []
    return (
        choice.message.content or "",
        [[call.id, call.function.name, call.function.arguments] for call in calls],
        choice.finish_reason,
    )


def check_calls(choice, at_least=1):
    """Every call is of a tool that was offered, with arguments that fit. One that was cut off at
    the length is the last, and is not read."""
    calls = choice.message.tool_calls or []
    assert len(calls) >= at_least, choice
    # what was cut off before it had a name is no call yet
    assert choice.message.content is None or not calls or choice.finish_reason == "length"
    assert len({call.id for call in calls}) == len(calls)
    whole = calls[:-1] if choice.finish_reason == "length" else calls
    for call in whole:
        assert call.type == "function" and call.id.startswith("call_")
        KINDS[call.function.name].model_validate_json(call.function.arguments)
    return whole


def test_a_required_call_is_made(client):
    [choice] = ask(client, tools=TOOLS, tool_choice="required", parallel_tool_calls=False).choices
    [call] = check_calls(choice)
    assert choice.finish_reason == "tool_calls" and call.function.name in KINDS


def test_a_named_tool_is_called(client):
    for name in KINDS:
        chosen = {"type": "function", "function": {"name": name}}
        [choice] = ask(client, tools=TOOLS, tool_choice=chosen).choices
        [call] = check_calls(choice)
        # as OpenAI's API does
        assert (call.function.name, choice.finish_reason) == (name, "stop")


def test_allowed_tools_are_called_alone(client):
    tools = [{"type": "function", "function": {"name": "now"}}]
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": tools}}
    answer = ask(client, tools=TOOLS, tool_choice=allowed, n=2, temperature=1.5, seed=3)
    for choice in answer.choices:
        assert {call.function.name for call in check_calls(choice)} == {"now"}


def test_no_tool_is_called_where_none_may_be(client):
    [choice] = ask(client, tools=TOOLS, tool_choice="none", max_tokens=16).choices
    assert choice.message.tool_calls is None and choice.message.content
    [without] = ask(client, max_tokens=16).choices
    assert without.message.content == choice.message.content, "nothing was said of tools"


@pytest.mark.parametrize("temperature", [0, 1.5])
def test_arguments_fit_whatever_is_drawn(client, temperature):
    draws = 1 if temperature == 0 else 3
    for seed in range(draws):
        answer = ask(client, tools=TOOLS, tool_choice="required", temperature=temperature,
                     seed=seed, n=8, max_tokens=90)
        for choice in answer.choices:
            check_calls(choice)


def test_left_to_itself_the_model_may_call_or_answer(client):
    answer = ask(client, tools=TOOLS, temperature=1.2, seed=1, n=8, max_tokens=60)
    for choice in answer.choices:
        check_calls(choice, at_least=0)
        assert choice.message.tool_calls or choice.message.content


def test_a_stream_says_the_same_as_the_answer(client):
    for fields in (
        {"tool_choice": "required", "parallel_tool_calls": False},
        {"tool_choice": "required", "temperature": 1.5, "seed": 7},
        {"tool_choice": NAMED, "temperature": 1.5, "seed": 8},
        {"tool_choice": NAMED, "max_tokens": 12},
        {"temperature": 0.7, "seed": 9},
    ):
        fields = {"tools": TOOLS, "max_tokens": 90} | fields
        [choice] = ask(client, **fields).choices
        streamed = put_together(ask(client, stream=True, **fields))
        content, calls, reason = plain(choice)
        # another request's calls have other ids
        assert (content, [call[1:] for call in calls], reason) == (
            streamed[0], [call[1:] for call in streamed[1]], streamed[2]), fields


def test_several_calls_in_one_answer(client):
    parameters = {"type": "object", "properties": {}, "additionalProperties": False}
    function = {"name": "ping", "parameters": parameters}
    answer = ask(client, tools=[{"type": "function", "function": function}], n=8, temperature=1.5,
                 seed=4, tool_choice="required", max_tokens=200)
    counts = {len(choice.message.tool_calls) for choice in answer.choices}
    assert max(counts) > 1, "one of eight draws calls twice"
    for choice in answer.choices:
        calls = choice.message.tool_calls
        assert len({call.id for call in calls}) == len(calls)
        whole = calls[:-1] if choice.finish_reason == "length" else calls
        assert all(call.function.arguments == "{}" for call in whole)
    single = ask(client, tools=[{"type": "function", "function": function}], n=8, temperature=1.5,
                 seed=4, tool_choice="required", parallel_tool_calls=False)
    assert all(len(choice.message.tool_calls) == 1 for choice in single.choices)


def test_a_call_that_is_cut_off_says_so(client):
    [choice] = ask(client, tools=TOOLS, tool_choice=NAMED, max_tokens=12).choices
    assert choice.finish_reason == "length"
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(
            model=MODEL, messages=ASK, max_tokens=3, temperature=0, response_format=Weather)


def test_the_stream_helper_reads_calls(client):
    tools = [openai.pydantic_function_tool(Weather, name="get_weather")]
    fields = {"model": MODEL, "messages": ASK, "max_tokens": 120, "temperature": 0}
    with client.chat.completions.stream(**fields, tools=tools, tool_choice=NAMED) as stream:
        done = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
        final = stream.get_final_completion()
    [event] = done
    [call] = final.choices[0].message.tool_calls
    assert isinstance(call.function.parsed_arguments, Weather)
    assert event.arguments == call.function.arguments


def test_a_conversation_goes_on_with_results(client):
    [choice] = ask(client, tools=TOOLS, tool_choice="required", parallel_tool_calls=False).choices
    [call] = check_calls(choice)
    results = [{"role": "tool", "tool_call_id": call.id, "content": "It is 21 degrees and sunny."}]
    # as SDKs send an answer back: without content
    messages = [*ASK, choice.message.model_dump(exclude_none=True), *results]
    first = ask(client, messages=messages, tools=TOOLS, tool_choice="none", max_tokens=24)
    assert first.choices[0].message.content
    again = [*messages, first.choices[0].message.model_dump(exclude_none=True),
             {"role": "user", "content": "And tomorrow?"}]
    [second] = ask(client, messages=again, tools=TOOLS, tool_choice=NAMED).choices
    check_calls(second)
    assert ask(client, messages=[*ASK, *results], max_tokens=4).choices, "a result of no call"


def test_the_older_functions(client):
    functions = [tool["function"] for tool in TOOLS]
    chosen = {"name": "get_weather"}
    [choice] = ask(client, functions=functions, function_call=chosen).choices
    call = choice.message.function_call
    assert call.name == "get_weather" and choice.message.tool_calls is None
    Weather.model_validate_json(call.arguments)
    name = arguments = ""
    for chunk in ask(client, functions=functions, function_call=chosen, stream=True):
        delta = chunk.choices[0].delta.function_call
        name += (delta and delta.name) or ""
        arguments += (delta and delta.arguments) or ""
    assert (name, arguments) == (call.name, call.arguments)


class Person(pydantic.BaseModel):
    name: typing.Annotated[str, pydantic.Field(max_length=20)]
    age: typing.Annotated[int, pydantic.Field(ge=0, le=150)]
    colours: typing.Annotated[list[typing.Literal["red", "green"]], pydantic.Field(max_length=3)]
    friend: typing.Annotated[str, pydantic.Field(max_length=10)] | None


@pytest.mark.parametrize("temperature", [0, 1.5])
def test_answers_are_of_their_schema(client, temperature):
    answer = client.chat.completions.parse(
        model=MODEL, messages=ASK, temperature=temperature, max_tokens=120, n=8, seed=2,
        response_format=Person)
    for choice in answer.choices:
        assert isinstance(choice.message.parsed, Person) and choice.finish_reason == "stop"


def test_any_json_object(client):
    answer = ask(client, response_format={"type": "json_object"}, n=8, temperature=1.0, seed=1,
                 max_tokens=60)
    for choice in answer.choices:
        assert choice.message.content.startswith("{")
        if choice.finish_reason == "stop":
            assert isinstance(json.loads(choice.message.content), dict)


def test_other_forms(client):
    def texts(**body):
        answer = ask(client, extra_body=body, temperature=1.5, seed=6, n=8, max_tokens=40)
        assert all(choice.finish_reason == "stop" for choice in answer.choices), answer
        return {choice.message.content for choice in answer.choices}

    assert texts(guided_choice=["sun", "rain"]) <= {"sun", "rain"}
    assert texts(structured_outputs={"choice": ["sun"]}) == {"sun"}
    assert all(re.fullmatch(r"\d{4}-\d\d", text) for text in texts(guided_regex=r"^\d{4}-\d\d$"))
    assert all(re.fullmatch(r"[ab]/c", text)
               for text in texts(structured_outputs={"regex": "[ab]/c"}))
    grammar = 'start: "<" word ("," word){0,2} ">"\nword: /[a-z]{1,5}/'
    assert all(re.fullmatch(r"<[a-z]{1,5}(,[a-z]{1,5}){0,2}>", text)
               for text in texts(guided_grammar=grammar))
    for text in texts(guided_json=Clock.model_json_schema()):
        assert json.loads(text) == {}


def test_a_schema_and_tools_together(client):
    schema = {"name": "clock", "schema": Clock.model_json_schema(), "strict": True}
    answer = ask(client, tools=TOOLS, n=8, temperature=1.5, seed=5, max_tokens=90,
                 response_format={"type": "json_schema", "json_schema": schema})
    for choice in answer.choices:
        check_calls(choice, at_least=0)
        assert choice.message.tool_calls or json.loads(choice.message.content) == {}


def test_probabilities_of_a_call(client):
    fields = {"tools": TOOLS, "tool_choice": NAMED, "logprobs": True, "top_logprobs": 1}
    answer = ask(client, **fields)
    positions = answer.choices[0].logprobs.content
    assert len(positions) == answer.usage.completion_tokens
    chunks = list(ask(client, stream=True, **fields))
    streamed = [position for chunk in chunks for choice in chunk.choices if choice.logprobs
                for position in choice.logprobs.content]
    assert streamed == positions


class TestRefusals:
    """Each says which field is wrong."""

    def refused(self, client, **fields):
        with pytest.raises(openai.BadRequestError) as caught:
            ask(client, **fields)
        return caught.value

    def test_schemas(self, client):
        bad = {"type": "object", "properties": {"x": {"not": {}}}}
        function = {"name": "f", "parameters": bad, "strict": True}
        error = self.refused(client, tools=[{"type": "function", "function": function}])
        assert error.param == "tools" and "`not`" in error.message
        schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": bad}}
        error = self.refused(client, response_format=schema)
        assert error.param == "response_format" and "`not`" in error.message
        lenient = {"name": "f", "parameters": bad, "strict": False}
        assert ask(client, tools=[{"type": "function", "function": lenient}], max_tokens=1)

    def test_names(self, client):
        for function in ({"name": "has space"}, {"name": ""}, {"name": "x" * 65}):
            error = self.refused(client, tools=[{"type": "function", "function": function}])
            assert error.param.startswith("tools"), error
        assert self.refused(client, tools=[TOOLS[0], TOOLS[0]]).param == "tools"

    def test_choices(self, client):
        assert self.refused(client, tool_choice="required").param == "tool_choice"
        other = {"type": "function", "function": {"name": "other"}}
        error = self.refused(client, tools=TOOLS, tool_choice=other)
        assert error.param == "tool_choice.function.name"

    def test_grammars(self, client):
        for body in ({"guided_regex": "("}, {"guided_grammar": "start: missing"},
                     {"guided_choice": []}):
            error = self.refused(client, extra_body=body)
            assert error.param == "response_format", (body, error)


def test_the_audit_log_names_tools_and_calls(client, gateway):
    raw = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=ASK, tools=TOOLS, tool_choice="required", max_tokens=120,
        parallel_tool_calls=False, temperature=0)
    called = raw.parse().choices[0].message.tool_calls[0].function
    request = raw.headers["x-request-id"]
    [decision] = entry_of(gateway.entries(), "decision", request)
    demanded = decision["parameters"]["demanded"]
    assert demanded["tools"] == list(KINDS) and demanded["tool_choice"] == "required"
    assert len(demanded["grammar"]) == 64
    [terminal] = entry_of(gateway.entries(), "terminal", request)
    assert terminal["tool_calls"] == [called.name]
    assert terminal["finish_reasons"] == ["tool_calls"]
