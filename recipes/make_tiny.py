"""Make everything that recipes/tiny.toml needs, offline, in a second: a tiny model, its tokenizer and 64 problems.

    python recipes/make_tiny.py            # into runs/tiny
    hicra train recipes/tiny.toml

The model is random and far too small to learn arithmetic: this shows that a machine can train, nothing else.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

DIGITS = [str(i) for i in range(10)]
WORDS = [
    "+",
    "=",
    "\\boxed{",
    "}",
    "wait",
    "so",
    "now",
    "we",
    "have",
    "the",
    "sum",
    "is",
    "check",
    "it",
    "add",
    "carry",
]


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word; three of the words are Strategic Grams of the set `paper`."""
    vocabulary = {word: i for i, word in enumerate(["<pad>", "<eos>", "<unk>", *DIGITS, *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", padding_side="left"
    )


def make_model(vocabulary: int, seed: int = 0) -> LlamaForCausalLM:
    """Some 20,000 parameters."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=128,
            tie_word_embeddings=True,
            pad_token_id=0,
            eos_token_id=1,
            bos_token_id=None,
        )
    )


def digits(completions: list[str], **_: Any) -> list[float]:
    """A reward that even this model can raise: the share of digits among a completion's words."""
    words = [completion.split() for completion in completions]
    return [sum(word.isdigit() for word in row) / max(1, len(row)) for row in words]


def make(folder: Path) -> Path:
    """Write ``model/`` (weights and tokenizer) and ``problems.jsonl`` into the folder."""
    tokenizer = make_tokenizer()
    make_model(len(tokenizer)).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    rows = [{"prompt": f"{a} + {b} =", "answer": str(a + b)} for a in range(8) for b in range(8)]
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return folder


if __name__ == "__main__":
    print(make(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/tiny")))
