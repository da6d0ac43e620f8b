"""Gemma 3 270M through the whole path: layers with a window beside layers without."""

import asyncio
import os
import pathlib

import httpx
import pytest

from gateway import ROOT, Gateway

MODEL = "gemma3-270m"
#: A base model knows no turns: what was said is what it goes on with.
TEMPLATE = "{{ bos_token }}{% for message in messages %}{{ message.content }}{% endfor %}"

MODELS = """
[[zone]]
id = "eu-de-1"
jurisdiction = "DE"

[[model]]
id = "gemma3-270m"
source = {{ path = "{path}" }}
sha256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
template = "plain.jinja"

[[partition]]
id = "gemma"
model = "gemma3-270m"
zone = "eu-de-1"
threads = "all"
kv_memory = "512MiB"
"""


def weights() -> pathlib.Path:
    default = ROOT / f"data/models/{MODEL}/gemma-3-270m-q4_k_m.gguf"
    path = pathlib.Path(os.environ.get("HANSE_GEMMA", default))
    assert path.is_file(), f"{path} is not there; `tests/run` fetches it"
    return path


class Gemma(Gateway):
    def _configure(self):
        super()._configure()
        (self.folder / "models.toml").write_text(MODELS.format(path=weights()))
        (self.folder / "plain.jinja").write_text(TEMPLATE)


@pytest.fixture(scope="module")
def gemma(tmp_path_factory):
    running = Gemma(tmp_path_factory.mktemp("gemma")).start()
    yield running
    assert running.stop() == 0, running.log_text()
    assert "panicked" not in running.log_text(), running.log_text()


def body(text, **more):
    messages = [{"role": "user", "content": text}]
    return {"model": MODEL, "messages": messages, "max_tokens": 12, "temperature": 0, **more}


def ask(gateway, text, **more):
    with gateway.http("werk") as client:
        answer = client.post("/v1/chat/completions", json=body(text, **more))
    assert answer.status_code == 200, answer.text
    answer = answer.json()
    cached = answer["usage"]["prompt_tokens_details"]["cached_tokens"]
    return answer["choices"][0]["message"]["content"], answer["usage"]["prompt_tokens"], cached


def test_it_knows_what_everybody_knows(gemma):
    text, _, _ = ask(gemma, "Capitals. Italy: Rome. Spain: Madrid. Poland: Warsaw. France:")
    assert "Paris" in text


def test_a_prefix_beyond_the_window_is_found_again(gemma):
    fault = "The spindle of cell 7 stopped at 14:02 with fault 31, overload. "
    report = fault * 60 + "The spindle of cell"
    first, prompt, cold = ask(gemma, report)
    assert prompt > 2 * 512 and cold == 0
    again, _, warm = ask(gemma, report)
    assert (again, prompt - warm) == (first, prompt - (prompt - 1) // 32 * 32)
    # another tenant has nothing of it
    with gemma.http("eu") as client:
        other = client.post("/v1/chat/completions", json=body(report)).json()
    assert other["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    assert other["choices"][0]["message"]["content"] == first


def test_together_they_say_what_each_says_alone(gemma):
    texts = [f"Robot {number} reports: the gripper of arm {number * 3} is" for number in range(8)]

    async def together():
        connection = {"verify": gemma.context(), "trust_env": False, "timeout": 120}
        async with httpx.AsyncClient(headers=gemma.headers("eu"), **connection) as client:
            url = f"{gemma.url}/v1/chat/completions"
            return await asyncio.gather(*[client.post(url, json=body(text)) for text in texts])

    answers = [answer.json()["choices"][0]["message"]["content"] for answer in asyncio.run(together())]
    assert answers == [ask(gemma, text)[0] for text in texts]
