"""Word pieces of hard texts by Hugging Face's library, as JSON on standard output.

usage: word_pieces.py MODEL_FOLDER

Special tokens in a text are text, as everywhere here; nothing is cut off and nothing filled up.
"""

import json
import sys
from pathlib import Path

import hard_text
import tokenizers

#: Characters of a text that has every one of Unicode, apart and in words.
PART = 1000


def everything() -> list[tuple[str, str]]:
    letters = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    parts = [letters[start : start + PART] for start in range(0, len(letters), PART)]
    return [
        (f"from {ord(part[0]):#x}", " ".join(f"{letter} a{letter}b" for letter in part))
        for part in parts
    ]


def main() -> None:
    tokenizer = tokenizers.Tokenizer.from_file(str(Path(sys.argv[1]) / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    texts = [*hard_text.texts(200_000), *everything(), ("specials", "[CLS] a[SEP]b [PAD] [UNK] ##ing [MASK]")]
    encodings = tokenizer.encode_batch([text for _, text in texts])
    ids = [encoding.ids for encoding in encodings]
    json.dump({"texts": texts, "ids": ids}, sys.stdout)


if __name__ == "__main__":
    main()
