"""Texts that tokenizers get wrong, the same on every run. Prints JSON: [[name, text], ...]."""

import json
import random
import sys

DIGITS = (
    "0 1 12 123 1234567890 3.14159 1,000,000 0x1F 1e-9 v2.0.1 007 "
    "\u0661\u0662\u0663 \u096a\u096b \uff11\uff12\uff13 \u2167 \u00b2\u00b3 \u00bd \u2460\u2461 \u3007\u4e00\u4e8c \U0001d7d9\U0001d7da a1b2c3 1st 2nd  42  "
)
EMOJI = (
    "\U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f3f3\ufe0f\u200d\U0001f308 "
    "\U0001f44d\U0001f3fd\U0001f44d\U0001f3ff \U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7 1\ufe0f\u20e3 \u2764\ufe0f\u200d\U0001f525 "
    "\U0001f9d1\U0001f3fb\u200d\U0001f4bb"
)
SCRIPTS = (
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8\u3068\u30ab\u30bf\u30ab\u30ca "
    "\ud55c\uad6d\uc5b4 \u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22 \u0627\u0644\u0644\u063a\u0629 \u0627\u0644\u0639\u0631\u0628\u064a\u0629\u060c \u0645\u064e\u0631\u0652\u062d\u064e\u0628\u064b\u0627 "
    "\u05e2\u05d1\u05e8\u05d9\u05ea \u0939\u093f\u0928\u094d\u0926\u0940 \u0395\u03bb\u03bb\u03b7\u03bd\u03b9\u03ba\u03ac "
    "\u0420\u0443\u0441\u0441\u043a\u0438\u0439 \u10e5\u10d0\u10e0\u10d7\u10e3\u10da\u10d8 \u12a0\u121b\u122d\u129b \u1ea4n \u0130stanbul \u01c5 \u00df\u1e9e"
)
MARKS = (
    "e\u0301 a\u0308o\u0308u\u0308 n\u0303 Z\u0351\u036b\u0343\u036a\u0302a\u0334\u0321l\u0321\u0358g\u0335o\u0322 "
    "\u0301alone \u0301\u0301 \u00c5 \u212b A\u030a \ufb01 \u1100\u1161\u11a8"
)
CODE = (
    "fn main() {\n    let x: Vec<u8> = vec![1, 2, 3];\n\tprintln!(\"{:?}\", x);\n}\n\n"
    "def f(a, *, b=None):\n    return {'a': a, \"b\": b}  # it's fine\n\r\n"
    "SELECT * FROM t WHERE a<>'x' AND b>=10;\n<div class=\"a-b_c\">&nbsp;</div>\n"
    "for(i=0;i<n;++i){a[i]^=~b[i]<<2;}\n$PATH=/usr/bin:~/x\\y\n"
)
SPACES = (
    "a b  c   d    e     f\tg\t\th \t i\n\nj\n\n\nk \n l\n \nm\r\nn\r\n\r\no\rp\u00a0q\u00a0\u00a0r\u2003s\u2003 t"
    "\u3000u\u2028v\u2029w\u0085x\u000by\u000cz \u200b \u180e \ufeff end   "
)
CONTROLS = "".join(map(chr, range(32))) + "(\x04)(\x06\x13)\x7f" + "".join(map(chr, range(0x80, 0xA0)))
CONTRACTIONS = (
    "I'm you're he's we'll they'd I've don't 'tis 'T'S 'S 'RE can''t ''s 's's '\u017f rock'n'roll o'clock 'sup "
    " 's 'll \u2019s it\u2019s 'm1 a'1"
)
MARKUP = "<|im_start|>user\n<|im_end|> <|im_end <|endoftext|><|endoftext|> <|im_start|><|im_sta rt|> <repo_name>x<file_sep>"
UNCOMMON = "\ue000\uf8ff \ufdd0\ufffe \U000f0000\U0010fffd \U00040000 \ud7ff\uffff \U000c1234 \U000f1f2f"
ENGLISH = (
    "The quick brown fox jumps over the lazy dog; \u201cquoted\u201d text\u2014with dashes\u2026 and (parentheses) [brackets]. "
    "Antidisestablishmentarianism's pneumonoultramicroscopicsilicovolcanoconiosis, na\u00efve caf\u00e9s!? "
)


def mixed(length: int, seed: int) -> str:
    """Pieces of everything, and letters from all over Unicode."""
    rng = random.Random(seed)
    parts = [DIGITS, EMOJI, SCRIPTS, MARKS, CODE, SPACES, CONTRACTIONS, ENGLISH, ENGLISH, ENGLISH]
    planes = [(0x20, 0x7F), (0xA0, 0x250), (0x370, 0x530), (0x590, 0x700), (0x900, 0xE00), (0x3040, 0x3100),
              (0x4E00, 0x9FA0), (0xAC00, 0xD7A0), (0x1F300, 0x1F650), (0x2000, 0x2070)]
    out = []
    size = 0
    while size < length:
        roll = rng.random()
        if roll < 0.6:
            part = rng.choice(parts)
            start = rng.randrange(len(part))
            piece = part[start : start + rng.randrange(1, 60)]
        elif roll < 0.8:
            low, high = rng.choice(planes)
            piece = "".join(chr(rng.randrange(low, high)) for _ in range(rng.randrange(1, 12)))
        elif roll < 0.9:
            piece = rng.choice(" \n\t\r") * rng.randrange(1, 20)
        else:
            piece = str(rng.randrange(10 ** rng.randrange(1, 15)))
        out.append(piece)
        size += len(piece.encode())
    return "".join(out)


def texts(mixed_bytes: int) -> list:
    named = {
        "digits": DIGITS, "emoji": EMOJI, "scripts": SCRIPTS, "marks": MARKS, "code": CODE, "spaces": SPACES,
        "controls": CONTROLS, "contractions": CONTRACTIONS, "markup": MARKUP, "uncommon": UNCOMMON, "english": ENGLISH,
        "empty": "", "space": " ", "newline": "\n", "crlf": "\r\n" * 3, "spaces at the end": "a   ",
        "spaces before digits": "a  1   2\n\n3", "one letter": "a" * 3000, "spaces only": " " * 3000,
        "dots": "." * 3000, "newlines": "\n" * 3000, "digits only": "7" * 3000, "spaces then letter": " " * 3000 + "x",
    }
    named["mixed"] = mixed(mixed_bytes, 1)
    return [[name, text] for name, text in named.items()]


if __name__ == "__main__":
    json.dump(texts(int(sys.argv[1])), sys.stdout)
