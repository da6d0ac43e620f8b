"""llama.cpp's own server, out of the wheel `xllamacpp`, as a peer to compare with.

usage: llama_cpp_server.py MODEL.gguf PORT [--name NAME] [--threads N] [--template FILE]

What the work asks for is set, and everything else is llama.cpp's default (continuous batching, the
prompt cache, f16 keys and values, no grammar):
  n_parallel 16   sixteen requests come at once
  n_ctx           16 slots of 2,560 tokens: the longest prompt has about 2,200
  n_threads       all cores, for prompts and for decoding
"""

import argparse
import signal
import threading

import xllamacpp

SLOTS = 16
SLOT_TOKENS = 2560


def parameters(arguments):
    chosen = xllamacpp.CommonParams()
    chosen.model.path = arguments.model
    chosen.model_alias = {arguments.name}
    chosen.hostnames = ["127.0.0.1"]
    chosen.port = arguments.port
    chosen.n_parallel = SLOTS
    chosen.n_ctx = SLOTS * SLOT_TOKENS
    chosen.cpuparams.n_threads = arguments.threads
    chosen.cpuparams_batch.n_threads = arguments.threads
    if arguments.template:
        with open(arguments.template) as file:
            chosen.chat_template = file.read()
    return chosen


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("port", type=int)
    parser.add_argument("--name", default="model", help="what clients call the model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--template", help="a Jinja file, for a model that has none")
    server = xllamacpp.Server(parameters(parser.parse_args()))
    print(f"ready on {server.listening_address}/v1", flush=True)
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    stop.wait()


if __name__ == "__main__":
    main()
