"""Log-probabilities that llama.cpp gives to each next token of some texts.

Reads from standard input: {"model": path, "windows": [[token id, ...], ...]}.
Prints as its last line {"logprobs": [[natural logarithm for each token but the first], ...]}.
It is null where a token ends inside a character: the server says nothing of those.

The server reports the log-probability of the token that it drew, from its raw logits. The bias
makes it draw the token that really follows, and a prompt that is one token longer than the last
is read from the cache up to there. Each window has a slot of its own; slots run together.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import xllamacpp as xlc

# beyond the bias of any real token
FORCED = 1000.0


def parameters(task):
    params = xlc.CommonParams()
    params.model.path = task["model"]
    params.n_parallel = len(task["windows"])
    params.n_ctx = params.n_parallel * (max(map(len, task["windows"])) + 32)
    # more threads would spin for each other where other tests run beside
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.n_gpu_layers = 0
    params.warmup = False
    params.verbosity = -1
    return params


def logprob(server, slot, prompt, following):
    answer = server.handle_completions(
        {
            "prompt": prompt,
            "id_slot": slot,
            "max_tokens": 1,
            "temperature": 0.0,
            "logit_bias": [[following, FORCED]],
            "logprobs": 1,
            "cache_prompt": True,
            "stream": False,
        }
    )
    logprobs = answer["choices"][0]["logprobs"]
    if logprobs is None:
        return None
    drawn = logprobs["content"][0]
    if drawn["id"] != following:
        raise RuntimeError(f"drew token {drawn['id']} instead of {following}")
    return drawn["logprob"]


def main():
    task = json.load(sys.stdin)
    windows = task["windows"]
    server = xlc.Server(parameters(task))

    def walk(slot):
        window = windows[slot]
        return [logprob(server, slot, window[:end], window[end]) for end in range(1, len(window))]

    with ThreadPoolExecutor(len(windows)) as threads:
        logprobs = list(threads.map(walk, range(len(windows))))
    # llama.cpp writes to standard output as well
    print()
    print(json.dumps({"logprobs": logprobs}))


if __name__ == "__main__":
    main()
