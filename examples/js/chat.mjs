// A streamed chat with OpenAI's SDK. First: eval "$(gateway env)"

import OpenAI from "openai";

const client = new OpenAI(); // OPENAI_BASE_URL, OPENAI_API_KEY and NODE_EXTRA_CA_CERTS say where and how
const model = process.env.MODEL ?? (await client.models.list()).data[0].id;

const stream = await client.chat.completions.create({
  model,
  messages: [{ role: "user", content: "What does a pump do? Answer in one sentence." }],
  max_tokens: 40,
  stream: true,
});
for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
process.stdout.write("\n");
