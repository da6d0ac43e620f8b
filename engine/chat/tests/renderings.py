"""Writes renderings.json: what Python's Jinja makes of every template and conversation.

usage: renderings.py [FOLDER]   (needs jinja2; run it again after a change here or in templates/)

The environment is the one of transformers/utils/chat_template_utils.py.
"""

import json
import sys
from datetime import datetime, timezone
from pathlib import Path

import jinja2
import jinja2.ext
import jinja2.sandbox

FOLDER = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
NOW = 1_790_000_000
BOS = "<|begin_of_text|>"
EOS = "<|eos|>"

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Says what the weather is like in \"some\" <place> & when.",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "enum": ["K\u00f6ln", "\u6771\u4eac"]},
                "days": {"type": "integer", "minimum": 0, "default": 1, "examples": []},
                "threshold": {"type": "number", "multipleOf": 1e-07, "maximum": 1e16, "minimum": -0.25, "x": {}},
            },
            "required": ["place"],
            "additionalProperties": False,
        },
    },
}


def turns(*pairs) -> list:
    return [{"role": role, "content": content} for role, content in pairs]


def call(arguments: str, content=None, id="call_1") -> dict:
    function = {"name": "get_weather", "arguments": arguments}
    return {"role": "assistant", "content": content,
            "tool_calls": [{"id": id, "type": "function", "function": function}]}


CONVERSATIONS = {
    "one question": {"messages": turns(("user", "What is the capital of France?"))},
    "with a system turn": {"messages": turns(("system", "Answer in German."), ("user", "Hi"))},
    "developer": {"messages": turns(("developer", "  Be brief.\n"), ("user", "Hi"))},
    "several turns": {
        "messages": turns(("user", "Hi"), ("assistant", "<think>hm</think>\nHello!"), ("user", "How are you?\n"))
    },
    "late system turn": {"messages": turns(("user", "Hi"), ("system", "Be kind."), ("user", "Hello?"))},
    "empty texts": {"messages": turns(("system", ""), ("user", ""))},
    "hard text": {
        "messages": turns(
            ("user", "  \u00e9\u0301 \U0001f468\u200d\U0001f469\u200d\U0001f467 {{ 7*7 }} {% raw %} {# c #} \"q\" 'q' \\n <b>&amp;</b>\r\n\t\u2028\x00 \x1b[1m  ")
        )
    },
    "names": {
        "messages": [
            {"role": "user", "content": "Hi", "name": "anna"},
            {"role": "assistant", "content": "Hello", "name": "bot's"},
            {"role": "user", "content": "Bye", "name": "anna"},
        ]
    },
    "tools": {"messages": turns(("system", "Use tools."), ("user", "Weather?")), "tools": [WEATHER]},
    "tool calls": {
        "messages": [
            *turns(("user", "Weather in K\u00f6ln?")),
            call('{"place": "K\\u00f6ln", "days": 2, "f": 1.0, "deep": {"b": [1, 2.5e-9, null, true]}}'),
            {"role": "tool", "tool_call_id": "call_1", "content": '{"sky": "<grey>"}'},
            {"role": "tool", "tool_call_id": "call_2", "content": "wet"},
            *turns(("assistant", " It rains. "), ("user", "Thanks")),
        ],
        "tools": [WEATHER, {"type": "function", "function": {"name": "f", "parameters": {}}}],
    },
    "arguments that are no JSON": {"messages": [*turns(("user", "Go")), call("not json", "Calling.")]},
    "call with a long id": {
        "messages": [
            *turns(("system", "Use tools."), ("user", "Weather?")),
            call('{"place": "Bonn"}', id="9Ae3bDc2F"),
            {"role": "tool", "tool_call_id": "9Ae3bDc2F", "content": '{"sky": "<grey>", "n": [1, null]}'},
            *turns(("assistant", "Grey.")),
        ],
        "tools": [WEATHER],
    },
    "call at the end": {
        "messages": [
            *turns(("user", "Weather?"), ("assistant", "<think>\nold\n</think>\n\nWhere?"), ("user", "Bonn")),
            call('{"place": "Bonn", "days": 1.50, "exact": true}', content="I look."),
            {"role": "tool", "tool_call_id": "call_1", "content": "wet"},
        ],
        "tools": [WEATHER],
    },
    "a tool with a name only": {
        "messages": turns(("user", "What time is it?")),
        "tools": [{"type": "function", "function": {"name": "now"}}],
    },
    "thinking": {"messages": turns(("user", "Hi")), "arguments": {"thinking": True, "reasoning_effort": "high"}},
    "no thinking": {"messages": turns(("user", "Hi")), "arguments": {"thinking": False, "reasoning_effort": "low"}},
    "documents": {
        "messages": turns(("user", "Hi")),
        "arguments": {"documents": [{"title": "A", "text": "one\ntwo"}, {"title": "B", "n": 1}]},
    },
    "many turns": {"messages": turns(*[("user" if i % 2 == 0 else "assistant", f"turn {i}") for i in range(31)])},
}


class Raised(Exception):
    """What a template called `raise_exception` with."""


class Generation(jinja2.ext.Extension):
    """The `generation` block, which renders as what is in it."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def environment() -> jinja2.Environment:
    def raise_exception(message):
        raise Raised(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    env.filters["tojson"] = tojson
    env.filters["fromjson"] = json.loads
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda format: datetime.fromtimestamp(NOW, timezone.utc).strftime(format)
    return env


def as_rendered(message: dict) -> dict:
    """Servers call the developer `system`, and give arguments as an object where they are one."""
    message = json.loads(json.dumps(message))
    message["role"] = {"developer": "system"}.get(message["role"], message["role"])
    for call in message.get("tool_calls", []):
        try:
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
        except json.JSONDecodeError:
            pass
    return message


def completed(messages: list, tools, original: list, which: int) -> tuple:
    """What may be left out, or be a text, for templates that were never tried otherwise."""
    messages, tools = json.loads(json.dumps([messages, tools]))
    for message, before in zip(messages, original):
        for call, call_before in zip(message.get("tool_calls", []), before.get("tool_calls", [])):
            if which & 1:
                call["function"]["arguments"] = call_before["function"]["arguments"]
        if message["content"] is None and which & 2:
            message["content"] = ""
    for tool in (tools or []) if which & 4 else []:
        function = tool["function"]
        function.setdefault("description", "")
        function.setdefault("parameters", {"type": "object", "properties": {}})
    return messages, tools


def attempt(template: jinja2.Template, messages: list, tools, arguments: dict) -> dict:
    try:
        text = template.render(messages=messages, tools=tools, add_generation_prompt=True,
                               bos_token=BOS, eos_token=EOS, **arguments)
        return {"text": text}
    except Raised as error:
        return {"raised": str(error)}
    except (TypeError, AttributeError, ValueError, jinja2.exceptions.TemplateError):
        return {"failed": True}


def render(template: jinja2.Template, conversation: dict) -> dict:
    messages = [as_rendered(message) for message in conversation["messages"]]
    tools = conversation.get("tools")
    arguments = {"documents": None, **conversation.get("arguments", {})}
    if "thinking" in arguments:
        arguments["enable_thinking"] = arguments["thinking"]
    first = attempt(template, messages, tools, arguments)
    for which in range(1, 8):
        second = attempt(template, *completed(messages, tools, conversation["messages"], which), arguments)
        if "text" not in first and "text" in second:
            return second
    return first


def main() -> None:
    env = environment()
    renderings = []
    for path in sorted((FOLDER / "templates").glob("*.jinja")):
        template = env.from_string(path.read_text())
        for name, conversation in CONVERSATIONS.items():
            renderings.append({"template": path.stem, "conversation": name, **render(template, conversation)})
    out = {"now": NOW, "bos": BOS, "eos": EOS, "conversations": CONVERSATIONS, "renderings": renderings}
    (FOLDER / "renderings.json").write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
