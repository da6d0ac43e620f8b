"""all-MiniLM-L6-v2 by numpy, from its published files: a reference that shares no line with ours.

BERT (arXiv 1810.04805) with the mean of its rows (arXiv 1908.10084), in double precision.
"""

import json
import math
import os
import pathlib
import struct

import numpy as np
import tokenizers

from gateway import ROOT

MODEL = "all-minilm-l6-v2"


def folder() -> pathlib.Path:
    path = pathlib.Path(os.environ.get("HANSE_MINILM", ROOT / f"data/models/{MODEL}/model"))
    assert path.is_dir(), f"{path} is not there; `tests/run` fetches it"
    return path


def digest() -> str:
    """As models.toml pins it."""
    lines = (ROOT / "tests/models.toml").read_text().split(f'id = "{MODEL}"')[1]
    return lines.split('sha256 = "')[1].split('"')[0]


class MiniLM:
    def __init__(self):
        self.config = json.loads((folder() / "config.json").read_text())
        self.tokenizer = tokenizers.Tokenizer.from_file(str(folder() / "tokenizer.json"))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        # special tokens in a text are text
        self.tokenizer.encode_special_tokens = True
        content = (folder() / "model.safetensors").read_bytes()
        [length] = struct.unpack("<Q", content[:8])
        head = json.loads(content[8 : 8 + length])
        self.tensors = {
            name: np.frombuffer(
                content[8 + length + tensor["data_offsets"][0] : 8 + length + tensor["data_offsets"][1]],
                dtype="<f4",
            ).reshape(tensor["shape"]).astype(np.float64)
            for name, tensor in head.items()
            if tensor.get("dtype") == "F32"
        }

    def ids(self, text: str, special: bool = True) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=special).ids

    def embed(self, text: str) -> np.ndarray:
        """The normalized vector of a text."""
        mean = self.rows(self.ids(text)).mean(axis=0)
        return mean / np.linalg.norm(mean)

    def rows(self, ids: list[int]) -> np.ndarray:
        table = lambda name: self.tensors[f"embeddings.{name}_embeddings.weight"]
        x = table("word")[ids] + table("position")[: len(ids)] + table("token_type")[0]
        x = self.norm(x, "embeddings")
        for index in range(self.config["num_hidden_layers"]):
            layer = f"encoder.layer.{index}"
            x = self.norm(x + self.attend(x, layer), f"{layer}.attention.output")
            inner = self.linear(x, f"{layer}.intermediate.dense")
            inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
            x = self.norm(x + self.linear(inner, f"{layer}.output.dense"), f"{layer}.output")
        return x

    def attend(self, x: np.ndarray, layer: str) -> np.ndarray:
        heads = self.config["num_attention_heads"]
        q, k, v = (
            self.linear(x, f"{layer}.attention.self.{part}").reshape(len(x), heads, -1).swapaxes(0, 1)
            for part in ("query", "key", "value")
        )
        scores = q @ k.swapaxes(1, 2) / math.sqrt(q.shape[-1])
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        mixed = (weights @ v).swapaxes(0, 1).reshape(len(x), -1)
        return self.linear(mixed, f"{layer}.attention.output.dense")

    def linear(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self.tensors[f"{name}.weight"].T + self.tensors[f"{name}.bias"]

    def norm(self, x: np.ndarray, name: str) -> np.ndarray:
        x = x - x.mean(axis=-1, keepdims=True)
        x /= np.sqrt((x**2).mean(axis=-1, keepdims=True) + self.config["layer_norm_eps"])
        return x * self.tensors[f"{name}.LayerNorm.weight"] + self.tensors[f"{name}.LayerNorm.bias"]
