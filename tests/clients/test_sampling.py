"""Sampling and stopping beyond OpenAI's fields: vLLM's names, through OpenAI's SDK for Python."""

import openai
import pytest

from gateway import MODEL

ASK = [{"role": "user", "content": "Name the three primary colours."}]


def ask(client, extra=None, **fields):
    fields = {"model": MODEL, "messages": ASK, "max_tokens": 24, "temperature": 0} | fields
    return client.chat.completions.create(**fields, extra_body=extra or {})


def text(answer):
    return answer.choices[0].message.content


def tokens(answer):
    """The texts of the tokens that were drawn."""
    return [token.token for token in answer.choices[0].logprobs.content]


def a_token_of_the_answer(client):
    """An id, and where its token comes first in the greedy answer. The API shows no ids, so each
    is asked for what it stands for."""
    whole = tokens(ask(client, logprobs=True))
    for number in range(20, 80):
        [shown] = tokens(ask(client, logit_bias={number: 100}, max_tokens=1, logprobs=True))
        if shown in whole[1:] and whole[0] != shown:
            return number, whole.index(shown), whole
    pytest.fail(f"no id of these stands for a token of {whole}")


@pytest.mark.parametrize("one", [{"top_k": 1}, {"min_p": 1.0}])
def test_one_token_kept_is_greedy(client, one):
    assert text(ask(client, one, temperature=1.5, seed=3)) == text(ask(client))


def test_what_is_kept_changes_the_draw_and_all_changes_nothing(client):
    def hot(**extra):
        return text(ask(client, extra, temperature=2.0, seed=5, max_tokens=32))

    free = hot()
    assert hot(top_k=-1) == hot(top_k=0) == hot(min_p=0.0) == hot(repetition_penalty=1.0) == free
    assert hot(top_k=4) != free
    assert hot(min_p=0.3) != free
    assert hot(top_k=4) == hot(top_k=4), "a seed repeats"


def test_a_repetition_penalty_ends_a_repetition(client):
    again = {"messages": [{"role": "user", "content": "Say la la la la la la la la."}],
             "max_tokens": 40}
    assert text(ask(client, {"repetition_penalty": 2.0}, **again)) != text(ask(client, **again))


def test_a_stop_token_ends_an_answer_and_is_not_in_it(client):
    number, place, whole = a_token_of_the_answer(client)
    answer = ask(client, {"stop_token_ids": [number], "ignore_eos": True})
    assert text(answer) == "".join(whole[:place])
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens == place + 1, "the stop token was drawn"
    later = ask(client, {"stop_token_ids": [number], "min_tokens": place + 4})
    assert later.usage.completion_tokens >= place + 4
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, {"stop_token_ids": [999_999_999]})
    assert caught.value.param == "stop_token_ids"


def test_min_tokens_puts_the_end_off_and_ignore_eos_does_away_with_it(client):
    short = [{"role": "user", "content": "Answer with the one word: yes"}]
    plain = ask(client, messages=short, max_tokens=100).usage.completion_tokens
    assert plain < 100, "the model ends this answer itself"
    longer = ask(client, {"min_tokens": plain + 5}, messages=short, max_tokens=100)
    assert longer.usage.completion_tokens >= plain + 5
    endless = ask(client, {"ignore_eos": True}, messages=short, max_tokens=100)
    assert endless.usage.completion_tokens == 100
    assert endless.choices[0].finish_reason == "length"


def test_sixteen_choices(client):
    answer = ask(client, n=16, temperature=1.0, seed=1, max_tokens=8)
    assert [choice.index for choice in answer.choices] == list(range(16))
    assert len({choice.message.content for choice in answer.choices}) > 8
    assert answer.usage.completion_tokens <= 16 * 8
    first = ask(client, temperature=1.0, seed=1, max_tokens=8)
    assert text(first) == text(answer), "a choice does not depend on those beside it"
    assert answer.usage.prompt_tokens == first.usage.prompt_tokens, "the prompt counts once"
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, n=17)
    assert caught.value.param == "n" and "between 1 and 16" in caught.value.message


def test_a_priority_changes_no_answer(client):
    assert text(ask(client, {"priority": -10})) == text(ask(client, {"priority": 10}))


@pytest.mark.parametrize("extra", [
    {"include_stop_str_in_output": True}, {"skip_special_tokens": False}, {"best_of": 3},
    {"add_generation_prompt": False},
])
def test_what_is_not_done_is_said(client, extra):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, extra)
    assert caught.value.code == "unsupported_parameter"
    assert caught.value.param == next(iter(extra))


def test_a_negative_length_is_told_the_range(client):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, max_tokens=-1)
    assert "must be at least 1, got -1" in caught.value.message
