"""A model that calls a Python function, with OpenAI's SDK. First: eval "$(gateway env)" """

import json
import os

from openai import OpenAI

client = OpenAI()  # OPENAI_BASE_URL, OPENAI_API_KEY and SSL_CERT_FILE say where and how
model = os.environ.get("MODEL") or client.models.list().data[0].id


def pressure(valve: str) -> str:
    return f"{valve} is at {3 + len(valve) % 4} bar"


tool = {
    "type": "function",
    "function": {
        "name": "pressure",
        "description": "The pressure at a valve.",
        "parameters": {
            "type": "object",
            "properties": {"valve": {"type": "string", "enum": ["inlet", "outlet", "bypass"]}},
            "required": ["valve"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}
messages = [{"role": "user", "content": "What is the pressure at the inlet?"}]

# "required" makes the call certain; its arguments fit the schema whatever the model is like
asked = client.chat.completions.create(
    model=model, messages=messages, tools=[tool], tool_choice="required",
    parallel_tool_calls=False, max_tokens=60,
).choices[0].message
messages.append(asked.model_dump(exclude_none=True))
for call in asked.tool_calls:
    arguments = json.loads(call.function.arguments)
    result = pressure(**arguments)
    print(f"{call.function.name}({arguments}) = {result}")
    messages.append({"role": "tool", "tool_call_id": call.id, "content": result})

answer = client.chat.completions.create(
    model=model, messages=messages, tools=[tool], tool_choice="none", max_tokens=60
)
print(answer.choices[0].message.content)
