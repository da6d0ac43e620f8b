// Tools and structured output with the frameworks that JavaScript has for them. The model is a small
// one that chooses tools badly, so calls are forced; what matters is that they are carried there and
// back. tests/clients/test_openai_js.py starts this with the environment of openai.test.mjs.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { tool as langchainTool } from "@langchain/core/tools";
import { ChatOpenAI } from "@langchain/openai";
import { Agent, OpenAIChatCompletionsModel, run, setTracingDisabled, tool as agentTool } from "@openai/agents";
import { generateText, Output, stepCountIs, streamText, tool as aiTool } from "ai";
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

setTracingDisabled(true);
const client = new OpenAI({ maxRetries: 0, timeout: 60_000 });
const model = process.env.HANSE_TEST_MODEL;
const question = "What is the weather in Berlin?";
const messages = [{ role: "user", content: question }];
const City = z.object({ name: z.string().max(16), people: z.number().int().min(0).max(99_000_000) });
const Place = z.object({ city: z.string().max(16) });
const schema = { type: "object", properties: { city: { type: "string", maxLength: 16 } }, required: ["city"], additionalProperties: false };
const named = { type: "function", function: { name: "get_weather" } };

test("openai: runTools calls a function and sends its result back", async () => {
  for (const stream of [false, true]) {
    const asked = [];
    const weather = ({ city }) => (asked.push(city), "It is sunny.");
    const definition = { name: "get_weather", parameters: schema, function: weather, parse: JSON.parse };
    const runner = client.chat.completions.runTools(
      { model, messages, stream, temperature: 0, max_tokens: 60, tools: [{ type: "function", function: definition }], tool_choice: named },
      { maxChatCompletions: 1 },
    );
    await runner.done();
    assert.equal(asked.length, 1);
    assert.equal(typeof asked[0], "string");
    assert.equal(runner.messages.at(-1).role, "tool");
  }
});

test("openai: an answer is parsed by its schema", async () => {
  const answer = await client.chat.completions.parse({
    model, messages, temperature: 1, seed: 3, max_tokens: 80, response_format: zodResponseFormat(City, "city"),
  });
  assert.ok(City.safeParse(answer.choices[0].message.parsed).success);
});

test("@openai/agents: a tool is run, and its result is the end", async () => {
  for (const stream of [false, true]) {
    const asked = [];
    const weather = agentTool({
      name: "get_weather", description: "The weather of a city.", parameters: Place,
      execute: async ({ city }) => (asked.push(city), "It is sunny."),
    });
    const agent = new Agent({
      name: "weather", instructions: "Use the tools.", model: new OpenAIChatCompletionsModel(client, model), tools: [weather],
      modelSettings: { toolChoice: "required", temperature: 0, maxTokens: 80, parallelToolCalls: false }, toolUseBehavior: "stop_on_first_tool",
    });
    const result = await run(agent, question, { stream, maxTurns: 3 });
    if (stream) await result.completed;
    assert.equal(result.finalOutput, "It is sunny.");
    assert.equal(asked.length, 1, "a name that came twice would be of no tool");
  }
});

test("@openai/agents: an answer of a type", async () => {
  const agent = new Agent({
    name: "city", model: new OpenAIChatCompletionsModel(client, model), outputType: City, modelSettings: { temperature: 0, maxTokens: 80 },
  });
  const result = await run(agent, "Name a city.");
  assert.ok(City.safeParse(result.finalOutput).success);
});

const provider = createOpenAICompatible({
  name: "hanse", baseURL: process.env.OPENAI_BASE_URL, apiKey: process.env.OPENAI_API_KEY, supportsStructuredOutputs: true, includeUsage: true,
});
const aiWeather = (asked) =>
  aiTool({ description: "The weather of a city.", inputSchema: Place, execute: async ({ city }) => (asked.push(city), "It is sunny.") });
const first = { toolChoice: { type: "tool", toolName: "get_weather" } };
const ai = { model: provider(model), prompt: question, temperature: 0, maxOutputTokens: 60, maxRetries: 0, stopWhen: stepCountIs(2) };

test("ai: a step that calls and one that answers", async () => {
  const asked = [];
  const result = await generateText({
    ...ai, tools: { get_weather: aiWeather(asked) }, prepareStep: ({ stepNumber }) => (stepNumber === 0 ? first : { toolChoice: "none" }),
  });
  assert.equal(asked.length, 1);
  assert.equal(result.steps.length, 2);
  assert.ok(result.text.length > 0);
});

test("ai: the same, streamed", async () => {
  const asked = [];
  const result = streamText({
    ...ai, tools: { get_weather: aiWeather(asked) }, prepareStep: ({ stepNumber }) => (stepNumber === 0 ? first : { toolChoice: "none" }),
  });
  let text = "";
  for await (const part of result.textStream) text += part;
  assert.equal(asked.length, 1);
  assert.ok(text.length > 0);
  assert.ok((await result.usage).outputTokens > 0);
});

test("ai: an object of a schema", async () => {
  const result = await generateText({ ...ai, output: Output.object({ schema: City }), maxOutputTokens: 80 });
  assert.ok(City.safeParse(result.output).success);
});

const langchain = () =>
  new ChatOpenAI({ model, temperature: 0, maxTokens: 80, maxRetries: 0, apiKey: process.env.OPENAI_API_KEY, configuration: { baseURL: process.env.OPENAI_BASE_URL } });

test("@langchain/openai: calls, whole and streamed, and their results", async () => {
  const weather = langchainTool(async ({ city }) => `It is sunny in ${city}.`, { name: "get_weather", description: "The weather of a city.", schema: Place });
  const bound = langchain().bindTools([weather], { tool_choice: "get_weather" });
  const whole = await bound.invoke(question);
  assert.equal(whole.tool_calls.length, 1);
  let together;
  for await (const chunk of await bound.stream(question)) together = together ? together.concat(chunk) : chunk;
  assert.equal(together.tool_calls[0].name, "get_weather");
  assert.deepEqual(together.tool_calls[0].args, whole.tool_calls[0].args);
  const result = await weather.invoke(whole.tool_calls[0]);
  const said = await langchain().invoke([["user", question], whole, result, ["user", "Thanks."]].map((turn) => turn));
  assert.ok(said.content.length > 0);
});

test("@langchain/openai: structured output", async () => {
  for (const method of ["jsonSchema", "functionCalling"]) {
    const city = await langchain().withStructuredOutput(City, { name: "city", method }).invoke("Name a city.");
    assert.ok(City.safeParse(city).success, method);
  }
});
