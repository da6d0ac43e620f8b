"""A streamed chat with OpenAI's SDK. First: eval "$(gateway env)" """

import os

from openai import OpenAI

client = OpenAI()  # OPENAI_BASE_URL, OPENAI_API_KEY and SSL_CERT_FILE say where and how
model = os.environ.get("MODEL") or client.models.list().data[0].id
messages = [{"role": "system", "content": "You answer in one short sentence."}]

for question in ("What does a pump do?", "And a valve?"):
    messages.append({"role": "user", "content": question})
    print(f"> {question}")
    answer = ""
    for chunk in client.chat.completions.create(
        model=model, messages=messages, max_tokens=40, stream=True
    ):
        text = chunk.choices[0].delta.content or ""
        print(text, end="", flush=True)
        answer += text
    print()
    messages.append({"role": "assistant", "content": answer})
