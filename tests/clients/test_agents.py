"""Agent frameworks, unchanged: they are given the gateway's address and a key. The model is a
small one that chooses tools badly, so the first call is forced; what matters is that the protocol
carries calls, results and structured answers there and back."""

from typing import Annotated

import agents
import langchain.agents
import langchain_openai
import langgraph.graph
import openai
import pydantic
import pydantic_ai
import pytest
from langchain_core.tools import tool
from langgraph.errors import GraphRecursionError
from langgraph.prebuilt import ToolNode
from pydantic_ai.exceptions import UsageLimitExceeded
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.usage import UsageLimits

from conftest import sdk
from gateway import MODEL

QUESTION = "What is the weather in Berlin?"


class City(pydantic.BaseModel):
    """A city."""

    name: Annotated[str, pydantic.Field(max_length=16)]
    people: Annotated[int, pydantic.Field(ge=0, le=99_000_000)]


@pytest.fixture
async def agent_client(gateway):
    async with sdk(gateway, "werk", openai.AsyncOpenAI) as client:
        yield client


class TestOpenAIAgents:
    """openai-agents, which by default stops at nothing but its own count of turns."""

    @pytest.fixture(autouse=True)
    def without_tracing(self):
        agents.set_tracing_disabled(True)

    def agent(self, client, tools, **fields):
        model = agents.OpenAIChatCompletionsModel(MODEL, client)
        settings = agents.ModelSettings(
            temperature=0, max_tokens=80, tool_choice=fields.pop("tool_choice", None),
            parallel_tool_calls=False if tools else None)
        return agents.Agent(name="weather", instructions="Use the tools.", model=model,
                            tools=tools, model_settings=settings, **fields)

    @pytest.mark.parametrize("streams", [False, True])
    async def test_a_tool_is_run_and_its_result_comes_back(self, agent_client, streams):
        asked = []

        @agents.function_tool
        def get_weather(city: Annotated[str, pydantic.Field(max_length=16)]) -> str:
            """The weather of a city."""
            asked.append(city)
            return f"It is sunny, call {len(asked)}."

        once = self.agent(agent_client, [get_weather], tool_choice="required",
                          tool_use_behavior="stop_on_first_tool")
        result = await self.run(once, QUESTION, streams)
        assert len(asked) == 1 and isinstance(asked[0], str)
        assert result.final_output == "It is sunny, call 1."
        # the conversation so far, with the call and its result, is what the next agent reads
        talker = self.agent(agent_client, [])
        said = await self.run(talker, [*result.to_input_list(), {
            "role": "user", "content": "Say that again."}], streams)
        assert said.final_output

    async def test_a_handoff(self, agent_client):
        other = self.agent(agent_client, [])
        first = self.agent(agent_client, [], tool_choice="required", handoffs=[other])
        result = await agents.Runner.run(first, QUESTION, max_turns=4)
        assert result.last_agent is other and result.final_output

    async def test_an_answer_of_a_type(self, agent_client):
        agent = self.agent(agent_client, [], output_type=City)
        result = await agents.Runner.run(agent, "Name a city.")
        assert isinstance(result.final_output, City)

    @staticmethod
    async def run(agent, question, streams):
        if not streams:
            return await agents.Runner.run(agent, question, max_turns=4)
        result = agents.Runner.run_streamed(agent, question, max_turns=4)
        async for _ in result.stream_events():
            pass
        return result


class TestLangChain:
    """langchain-openai alone, and a graph of langgraph."""

    @pytest.fixture
    def chat(self, gateway):
        http = openai.DefaultHttpxClient(verify=gateway.context(), trust_env=False)
        with http:
            yield langchain_openai.ChatOpenAI(
                model=MODEL, base_url=f"{gateway.url}/v1", api_key=gateway.keys["werk"],
                http_client=http, temperature=0, max_tokens=80, max_retries=0)

    @staticmethod
    def weather():
        @tool
        def get_weather(city: Annotated[str, pydantic.Field(max_length=16)]) -> str:
            """The weather of a city."""
            return f"It is sunny in {city}."

        return get_weather

    def test_a_stream_of_calls_is_put_together(self, chat):
        bound = chat.bind_tools([self.weather()], tool_choice="any", parallel_tool_calls=False)
        whole = bound.invoke(QUESTION)
        [call] = whole.tool_calls
        assert call["name"] == "get_weather" and isinstance(call["args"]["city"], str)
        assert not whole.invalid_tool_calls and whole.usage_metadata["output_tokens"] > 0
        together = None
        for chunk in bound.stream(QUESTION):
            together = chunk if together is None else together + chunk
        [streamed] = together.tool_calls
        assert (streamed["name"], streamed["args"]) == (call["name"], call["args"])

    @pytest.mark.parametrize("method", ["json_schema", "function_calling"])
    def test_structured_output(self, chat, method):
        city = chat.with_structured_output(City, method=method).invoke("Name a city.")
        assert isinstance(city, City)

    def test_a_graph_with_tools(self, chat):
        graphs = langgraph.graph
        weather = self.weather()
        forced = chat.bind_tools([weather], tool_choice="get_weather")
        free = chat.bind_tools([weather], tool_choice="none")

        def step(model):
            return lambda state: {"messages": [model.invoke(state["messages"])]}

        graph = graphs.StateGraph(graphs.MessagesState)
        graph.add_node("call", step(forced))
        graph.add_node("tools", ToolNode([weather]))
        graph.add_node("answer", step(free))
        for path in ((graphs.START, "call"), ("call", "tools"), ("tools", "answer"),
                     ("answer", graphs.END)):
            graph.add_edge(*path)
        state = graph.compile().invoke({"messages": [("user", QUESTION)]})
        kinds = [message.type for message in state["messages"]]
        assert kinds == ["human", "ai", "tool", "ai"]
        assert state["messages"][2].content.startswith("It is sunny in ")
        assert state["messages"][3].content

    def test_an_agent(self, chat):
        agent = langchain.agents.create_agent(chat, [self.weather()], response_format=City)
        try:
            state = agent.invoke({"messages": [("user", QUESTION)]}, {"recursion_limit": 8})
        except GraphRecursionError:
            pass  # the model calls for ever: a valid flow, cut here
        else:
            assert isinstance(state["structured_response"], City)


class TestPydanticAI:
    """pydantic-ai, which validates answers strictly."""

    @pytest.fixture
    def model(self, agent_client):
        return OpenAIChatModel(MODEL, provider=OpenAIProvider(openai_client=agent_client))

    async def test_an_output_tool(self, model):
        agent = pydantic_ai.Agent(model, output_type=City, model_settings={"temperature": 0, "max_tokens": 80})
        result = await agent.run("Name a city.")
        assert isinstance(result.output, City)
        # the turns so far, with the call, go on
        again = await agent.run("Another one.", message_history=result.new_messages())
        assert isinstance(again.output, City)

    async def test_native_output_streamed(self, model):
        agent = pydantic_ai.Agent(model, output_type=pydantic_ai.NativeOutput(City),
                      model_settings={"temperature": 0.5, "seed": 1, "max_tokens": 80})
        async with agent.run_stream("Name a city.") as stream:
            assert isinstance(await stream.get_output(), City)

    async def test_a_tool_that_is_called(self, model):
        agent = pydantic_ai.Agent(model, output_type=pydantic_ai.ToolOutput(City, name="answer"),
                      model_settings={"temperature": 1.0, "seed": 1, "max_tokens": 80})
        asked = []

        @agent.tool_plain
        def get_weather(city: Annotated[str, pydantic.Field(max_length=16)]) -> str:
            """The weather of a city."""
            asked.append(city)
            return "It is sunny."

        try:
            result = await agent.run(QUESTION, usage_limits=UsageLimits(request_limit=6))
        except UsageLimitExceeded:  # it called for ever: a valid flow
            assert asked
        else:
            assert isinstance(result.output, City)
