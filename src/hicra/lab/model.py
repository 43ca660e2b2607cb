"""A tiny Llama, made from scratch: some 290 thousand parameters at the default size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast


@dataclass(frozen=True, slots=True)
class ModelSize:
    """The tiny Llama's size. `positions` bounds prompt and completion together, in tokens."""

    width: int = 96
    layers: int = 3
    heads: int = 4
    feed_forward: int = 192
    positions: int = 320


def build_model(
    tokenizer: PreTrainedTokenizerFast, size: ModelSize | None = None, *, seed: int = 0
) -> LlamaForCausalLM:
    """A Llama with random weights drawn from `seed` (the global random state of torch is left alone), tied
    embeddings, float32.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    size = size or ModelSize()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.width,
        intermediate_size=size.feed_forward,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        max_position_embeddings=size.positions,
        rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
        initializer_range=0.05,
        tie_word_embeddings=True,
        attention_dropout=0.0,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)
