"""OpenAI's older endpoint and vLLM's tokenizer endpoints, with the real model."""

import openai
import pytest

from gateway import FRENCH_MODEL, MODEL, entry_of

PROMPT = "The three primary colours are"


def complete(client, **fields):
    fields = {"model": MODEL, "prompt": PROMPT, "max_tokens": 12, "temperature": 0} | fields
    return client.completions.create(**fields)


def streamed_texts(stream):
    texts = {}
    for chunk in stream:
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + choice.text
    return texts


def test_a_text_goes_on(client):
    answer = complete(client)
    assert answer.object == "text_completion" and answer.model == MODEL
    [choice] = answer.choices
    assert choice.index == 0 and choice.text and choice.finish_reason in ("stop", "length")
    assert answer.usage.completion_tokens <= 12
    assert complete(client, max_tokens=openai.omit).usage.completion_tokens <= 16


def test_a_stream_says_the_same(client):
    answer = complete(client)
    chunks = list(complete(client, stream=True, stream_options={"include_usage": True}))
    assert streamed_texts(chunks) == {0: answer.choices[0].text}
    assert chunks[-1].choices == [] and chunks[-1].usage.total_tokens == answer.usage.total_tokens
    reasons = [c.choices[0].finish_reason for c in chunks if c.choices]
    assert reasons[-1] == answer.choices[0].finish_reason and set(reasons[:-1]) == {None}


def test_a_text_and_its_tokens_go_on_alike(client, gateway):
    with gateway.http("werk") as http:
        tokenized = http.post("/tokenize", json={"model": MODEL, "prompt": PROMPT}).json()
        tokens = tokenized["tokens"]
        assert tokenized["count"] == len(tokens) > 3 and tokenized["max_model_len"] > 100
        back = http.post("/detokenize", json={"model": MODEL, "tokens": tokens}).json()
    assert back == {"prompt": PROMPT}
    as_text = complete(client)
    as_tokens = complete(client, prompt=tokens)
    assert as_tokens.choices[0].text == as_text.choices[0].text
    assert as_text.usage.prompt_tokens == len(tokens) == as_tokens.usage.prompt_tokens
    assert complete(client, prompt=tokens, echo=True).choices[0].text.startswith(PROMPT)


def test_many_prompts_and_choices_have_one_row_of_indices(client, gateway):
    prompts = [PROMPT, "Once upon a time", "2 + 2 ="]
    alone = [complete(client, prompt=prompt).choices[0].text for prompt in prompts]
    raw = client.completions.with_raw_response.create(
        model=MODEL, prompt=prompts, max_tokens=12, temperature=0, n=2
    )
    together = raw.parse()
    assert [choice.index for choice in together.choices] == list(range(6))
    assert [choice.text for choice in together.choices] == [t for t in alone for _ in range(2)]
    streamed = streamed_texts(complete(client, prompt=prompts, n=2, stream=True))
    assert streamed == {choice.index: choice.text for choice in together.choices}
    assert len(raw.headers.get_list("x-hanse-receipt")) == 3
    request = raw.headers["x-request-id"]
    for name in (request, f"{request}-1", f"{request}-2"):
        [decision] = entry_of(gateway.entries(), "decision", name)
        assert decision["endpoint"] == "/v1/completions"


def test_echo_and_stop(client):
    plain = complete(client).choices[0].text
    assert complete(client, echo=True).choices[0].text == PROMPT + plain
    assert streamed_texts(complete(client, echo=True, stream=True)) == {0: PROMPT + plain}
    stop = plain[4:7]
    stopped = complete(client, stop=stop).choices[0]
    assert stopped.text == plain[: plain.index(stop)] and stopped.finish_reason == "stop"


def test_logprobs_are_columns_of_the_text(client):
    answer = complete(client, logprobs=3, max_tokens=6)
    [choice] = answer.choices
    columns = choice.logprobs
    assert "".join(columns.tokens) == choice.text
    assert len(columns.tokens) == len(columns.token_logprobs) == len(columns.top_logprobs) == 6
    for token, logprob, top, at in zip(
        columns.tokens, columns.token_logprobs, columns.top_logprobs, columns.text_offset
    ):
        assert len(top) == 3 and max(top.values()) == top[token] == logprob <= 0
        assert choice.text[at:].startswith(token)
    streamed = [
        logprob
        for chunk in complete(client, logprobs=3, max_tokens=6, stream=True)
        for choice in chunk.choices if choice.logprobs
        for logprob in choice.logprobs.token_logprobs
    ]
    assert streamed == columns.token_logprobs


@pytest.mark.parametrize(("fields", "param"), [
    ({"suffix": "end"}, "suffix"),
    ({"echo": True, "logprobs": 1}, "logprobs"),
    ({"best_of": 3}, "best_of"),
    ({"prompt": []}, "prompt"),
    ({"prompt": ["a"] * 300}, "prompt"),
    ({"prompt": [4, 999_999_999]}, "prompt"),
])
def test_what_cannot_be_done_is_a_400_that_names_it(client, fields, param):
    with pytest.raises(openai.BadRequestError) as caught:
        complete(client, **fields)
    assert caught.value.param.startswith(param) and caught.value.code


def test_a_model_of_elsewhere_is_refused(client, gateway):
    with pytest.raises(openai.PermissionDeniedError):
        complete(client, model=FRENCH_MODEL)
    with gateway.http("werk") as http:
        for path, fields in (("/tokenize", {"prompt": "a"}), ("/detokenize", {"tokens": [1]})):
            answer = http.post(path, json={"model": FRENCH_MODEL} | fields)
            assert answer.status_code == 403
            assert answer.json()["error"]["code"] == "residency_violation"


def test_a_chat_is_tokenized_as_it_is_answered(client, gateway):
    messages = [{"role": "user", "content": "hello"}]
    with gateway.http("werk") as http:
        body = {"model": MODEL, "messages": messages, "return_token_strs": True}
        tokenized = http.post("/tokenize", json=body).json()
    answer = client.chat.completions.create(model=MODEL, messages=messages, max_tokens=1)
    assert tokenized["count"] == answer.usage.prompt_tokens
    assert "hello" in "".join(tokenized["token_strs"])
