"""Ids of hard texts for a SentencePiece vocabulary by two independent tokenizers, as JSON.

usage: pieces.py MODEL.gguf FOLDER

The same references as in references.py. Hugging Face's library gets what its converter of SentencePiece
models would write: for each piece, best first, all pairs of pieces that make it. That tokenizer is saved
as FOLDER/json/tokenizer.json.
"""

import json
import sys
from pathlib import Path

import hard_text
import tokenizers
from references import Head, LlamaCpp, ids, save

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6


def merges(vocabulary: dict, scores: list) -> list:
    """transformers/convert_slow_tokenizer.py, `generate_merges`."""
    pairs = []
    for piece, index in vocabulary.items():
        cuts = [(piece[:at], piece[at:]) for at in range(1, len(piece))]
        local = [(a, b) for a, b in cuts if a in vocabulary and b in vocabulary]
        local.sort(key=lambda pair: (vocabulary[pair[0]], vocabulary[pair[1]]))
        pairs.extend((-scores[index], index, pair) for pair in local)
    # the order of ids decides between equal scores
    pairs.sort(key=lambda pair: pair[:2])
    return [pair for _, _, pair in pairs]


def hugging_face(head: Head) -> tokenizers.Tokenizer:
    tokens = head.values["tokenizer.ggml.tokens"]
    types = head.values["tokenizer.ggml.token_type"]
    scores = head.floats["tokenizer.ggml.scores"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.BPE(vocabulary, merges(vocabulary, scores), unk_token="<unk>", fuse_unk=True,
                              byte_fallback=True)
    )
    tokenizer.normalizer = tokenizers.normalizers.Replace(" ", "\u2581")
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Split(" ", "merged_with_previous")
    added = [(token, kind) for token, kind in zip(tokens, types) if kind in (CONTROL, USER_DEFINED)]
    tokenizer.add_tokens(
        [tokenizers.AddedToken(token, special=kind == CONTROL, normalized=False) for token, kind in added]
    )
    return tokenizer


def main(model: str, folder: Path) -> None:
    head = Head(model)
    texts = hard_text.texts(50_000)
    tokenizer = hugging_face(head)
    save(tokenizer, folder / "json", "gemma3_text")
    llama_cpp = LlamaCpp(model)
    references = [
        {"by": by, "pre": "json", "is_markup": False, "ids": answer(texts, False)}
        for by, answer in (
            ("hugging_face", lambda texts, markup: ids(tokenizer, texts, markup)),
            ("llama_cpp", llama_cpp.ids),
        )
    ]
    json.dump({"texts": texts, "references": references}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
