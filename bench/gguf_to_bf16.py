"""Writes the weights of a GGUF file as a folder of bf16 safetensors, which vLLM reads.

usage: gguf_to_bf16.py MODEL.gguf FOLDER [TEMPLATE]

The template replaces the one of the file, for a model that has none.
"""

import pathlib
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig


def main(source, folder, template=None):
    source = pathlib.Path(source)
    where = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
    tokenizer = AutoTokenizer.from_pretrained(**where)
    if template:
        tokenizer.chat_template = pathlib.Path(template).read_text()
    plain = GgufConfig(gguf_file=source.name, dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(
        **where, dtype=torch.bfloat16, quantization_config=plain
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
