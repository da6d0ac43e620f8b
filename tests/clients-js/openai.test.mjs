// OpenAI's SDK for JavaScript. tests/clients/test_openai_js.py starts the gateway and this, with
// OPENAI_BASE_URL, OPENAI_API_KEY, NODE_EXTRA_CA_CERTS, HANSE_TEST_MODEL and
// HANSE_TEST_FRENCH_MODEL.

import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";

const client = new OpenAI({ maxRetries: 0, timeout: 60_000 });
const model = process.env.HANSE_TEST_MODEL;
const messages = [{ role: "user", content: "Name the three primary colours." }];
const ask = (fields = {}, options = {}) =>
  client.chat.completions.create({ model, messages, max_tokens: 16, temperature: 0, ...fields }, options);

async function streamed(fields) {
  const chunks = [];
  for await (const chunk of await ask({ ...fields, stream: true })) chunks.push(chunk);
  return chunks;
}

const textOf = (chunks) => chunks.map((chunk) => chunk.choices[0]?.delta?.content ?? "").join("");

test("an answer is whole", async () => {
  const answer = await ask();
  assert.equal(answer.object, "chat.completion");
  assert.equal(answer.choices[0].message.role, "assistant");
  assert.ok(answer.choices[0].message.content.length > 0);
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
});

test("a stream says the same as the answer", async () => {
  const [answer, chunks] = [await ask(), await streamed({ stream_options: { include_usage: true } })];
  assert.equal(textOf(chunks), answer.choices[0].message.content);
  assert.deepEqual(chunks.at(-1).usage, answer.usage);
});

test("the stream helper ends with a whole completion", async () => {
  const runner = client.chat.completions.stream({ model, messages, max_tokens: 16, temperature: 0 });
  let text = "";
  runner.on("content", (delta) => (text += delta));
  const final = await runner.finalChatCompletion();
  assert.equal(final.choices[0].message.content, text);
  assert.ok(["stop", "length"].includes(final.choices[0].finish_reason));
});

test("choices, stop, logprobs and seed", async () => {
  const drawn = { temperature: 1, seed: 5, n: 2 };
  const [one, two] = [await ask(drawn), await ask(drawn)];
  assert.deepEqual(one.choices, two.choices);
  assert.equal(one.choices.length, 2);

  const whole = (await ask({ max_tokens: 32 })).choices[0].message.content;
  const stop = whole.slice(8, 12);
  const stopped = await ask({ max_tokens: 32, stop });
  assert.equal(stopped.choices[0].message.content, whole.slice(0, whole.indexOf(stop)));
  assert.equal(stopped.choices[0].finish_reason, "stop");

  const { logprobs } = (await ask({ logprobs: true, top_logprobs: 2, max_tokens: 4 })).choices[0];
  assert.equal(logprobs.content.length, 4);
  assert.ok(logprobs.content.every((token) => token.top_logprobs.length === 2 && token.logprob <= 0));
});

test("a stream that is left can be followed by another request", async () => {
  const stream = await ask({ max_tokens: 1000, stream: true });
  for await (const _ of stream) break;
  assert.ok((await ask({ max_tokens: 1 })).choices.length === 1);
});

test("sixteen streams at once say what they say alone", async () => {
  const subjects = [..."abcdefghijklmnop"];
  const about = (subject) =>
    streamed({ messages: [{ role: "user", content: `Words that begin with ${subject}` }], temperature: 0.7, seed: 1 });
  const together = (await Promise.all(subjects.map(about))).map(textOf);
  const alone = [];
  for (const subject of subjects) alone.push(textOf(await about(subject)));
  assert.deepEqual(together, alone);
});

test("models are listed", async () => {
  const ids = (await client.models.list()).data.map((one) => one.id);
  assert.ok(ids.includes(model));
});

test("raw headers name request and evidence", async () => {
  const { response } = await ask({ max_tokens: 1 }).withResponse();
  assert.ok(response.headers.get("x-request-id"));
  assert.ok(response.headers.get("x-hanse-receipt"));
});

test("each failure is the SDK's own error", async () => {
  const fails = (promise, kind, code) =>
    assert.rejects(promise, (error) => error instanceof kind && (!code || error.code === code));
  await fails(ask({ temperature: 9 }), OpenAI.BadRequestError);
  await fails(ask({}, { headers: { authorization: "Bearer wrong" } }), OpenAI.AuthenticationError, "invalid_api_key");
  const french = { model: process.env.HANSE_TEST_FRENCH_MODEL };
  await fails(ask(french), OpenAI.PermissionDeniedError, "residency_violation");
  await fails(ask({ model: "gpt-17" }), OpenAI.NotFoundError, "model_not_found");
});
