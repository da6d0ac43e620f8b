"""Ids of hard texts by two independent tokenizers, as JSON on standard output.

usage: references.py MODEL.gguf FOLDER

- `tokenizers` (Hugging Face's own library), given the file's vocabulary and merges and the pipeline of the
  models' `tokenizer.json`;
- `xllamacpp` (llama.cpp), given the file.

Writes FOLDER/PRE.gguf for several pre-tokenizers: the model's head without tensors, asking for that one;
and FOLDER/PRE/tokenizer.json, with a config.json beside it: the same as Hugging Face's library saves it.
"""

import json
import struct
import sys
import urllib.request
from pathlib import Path

import hard_text
import tokenizers
from tokenizers import pre_tokenizers as pre

WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
TEXT, ARRAY = 8, 9


class Head:
    """The metadata of a GGUF file, as raw entries and with the arrays of texts and numbers read."""

    def __init__(self, path: str):
        self.file = open(path, "rb")
        assert self.file.read(4) == b"GGUF"
        self.version, _, count = struct.unpack("<IQQ", self.file.read(20))
        self.raw, self.values, self.floats = {}, {}, {}
        for _ in range(count):
            start = self.file.tell()
            key = self.text()
            kind = self.number("I", 4)
            self.values[key] = self.value(kind)
            if kind == ARRAY and key.endswith(".scores"):
                self.file.seek(-4 * len(self.values[key]), 1)
                self.floats[key] = [self.number("f", 4) for _ in self.values[key]]
            end = self.file.tell()
            self.file.seek(start)
            self.raw[key] = self.file.read(end - start)

    def number(self, code: str, width: int):
        return struct.unpack("<" + code, self.file.read(width))[0]

    def text(self) -> str:
        return self.file.read(self.number("Q", 8)).decode()

    def value(self, kind: int):
        if kind == TEXT:
            return self.text()
        if kind == ARRAY:
            item, count = self.number("I", 4), self.number("Q", 8)
            return [self.value(item) for _ in range(count)]
        raw = self.file.read(WIDTHS[kind])
        return struct.unpack("<i", raw)[0] if kind == 5 else raw

    def write(self, path: Path, pre_tokenizer: str) -> None:
        """The same head without tensors, asking for another pre-tokenizer."""
        key = "tokenizer.ggml.pre"
        entry = b"".join(
            [struct.pack("<Q", len(key)), key.encode(), struct.pack("<IQ", TEXT, len(pre_tokenizer)),
             pre_tokenizer.encode()]
        )
        entries = {**self.raw, key: entry}
        path.write_bytes(b"GGUF" + struct.pack("<IQQ", self.version, 0, len(entries)) + b"".join(entries.values()))


def split(pattern: str):
    """As in the `tokenizer.json` of Llama 3, Qwen2 and Mistral Nemo."""
    return pre.Sequence(
        [
            pre.Split(tokenizers.Regex(pattern), behavior="isolated"),
            pre.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
SPACES = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|"
    r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*"
)
# name -> (pipeline, whether a word that is a token stays whole)
PIPELINES = {
    "smollm": (pre.Sequence([pre.Digits(individual_digits=True), pre.ByteLevel(add_prefix_space=False)]), False),
    "gpt-2": (pre.ByteLevel(add_prefix_space=False), False),
    "llama-bpe": (split(WORDS + r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*" + SPACES), True),
    "qwen2": (split(WORDS + r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*" + SPACES), False),
    "tekken": (split(TEKKEN + SPACES), True),
}


def hugging_face(head: Head, name: str) -> tokenizers.Tokenizer:
    tokens = head.values["tokenizer.ggml.tokens"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    merges = [tuple(merge.split(" ")) for merge in head.values["tokenizer.ggml.merges"]]
    pipeline, ignore_merges = PIPELINES[name]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges, ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = pipeline
    types = head.values["tokenizer.ggml.token_type"]
    control = [token for token, kind in zip(tokens, types) if kind == 3]
    tokenizer.add_special_tokens([tokenizers.AddedToken(token, special=True, normalized=False) for token in control])
    return tokenizer


def save(tokenizer: tokenizers.Tokenizer, folder: Path, model_type: str) -> None:
    """As a model's folder has it."""
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"model_type": model_type, "vocab_size": tokenizer.get_vocab_size()}
    (folder / "config.json").write_text(json.dumps(config))


def ids(tokenizer: tokenizers.Tokenizer, texts: list, is_markup: bool) -> list:
    tokenizer.encode_special_tokens = not is_markup
    return [tokenizer.encode(text, add_special_tokens=False).ids for _, text in texts]


class LlamaCpp:
    """llama.cpp's server, in this process."""

    def __init__(self, path: str):
        import xllamacpp

        parameters = xllamacpp.CommonParams()
        parameters.model.path = path
        parameters.n_ctx, parameters.n_batch, parameters.n_ubatch, parameters.n_parallel = 64, 32, 32, 1
        parameters.warmup, parameters.verbosity = False, -1
        self.server = xllamacpp.Server(parameters)

    def ids(self, texts: list, is_markup: bool) -> list:
        return [self.tokenize(text, is_markup) for _, text in texts]

    def tokenize(self, text: str, is_markup: bool) -> list:
        body = json.dumps({"content": text, "add_special": False, "parse_special": is_markup}).encode()
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(self.server.listening_address + "/tokenize", body, headers)
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["tokens"]


def main(model: str, folder: Path) -> None:
    head = Head(model)
    texts = hard_text.texts(50_000)
    mega = [["one megabyte", hard_text.mixed(1_000_000, 2)]]
    references = []
    for name in PIPELINES:
        head.write(folder / f"{name}.gguf", name)
        tokenizer = hugging_face(head, name)
        save(tokenizer, folder / name, "llama")
        own = texts + mega if name == "smollm" else texts
        for is_markup in (False, True):
            references.append({"by": "hugging_face", "pre": name, "is_markup": is_markup,
                               "ids": ids(tokenizer, own, is_markup)})
    # Qwen's own files bring text into the composed form first, which GGUF has no word for
    tokenizer = hugging_face(head, "qwen2")
    tokenizer.normalizer = tokenizers.normalizers.NFC()
    save(tokenizer, folder / "composed", "qwen2")
    for is_markup in (False, True):
        references.append({"by": "hugging_face", "pre": "composed", "is_markup": is_markup,
                           "ids": ids(tokenizer, texts, is_markup)})
    llama_cpp = LlamaCpp(model)
    for is_markup in (False, True):
        references.append({"by": "llama_cpp", "pre": "smollm", "is_markup": is_markup,
                           "ids": llama_cpp.ids(texts + mega, is_markup)})
    json.dump({"texts": texts + mega, "references": references}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
