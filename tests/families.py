"""Tiny models and tokenizers of the families that people train: the kinds of Qwen, Llama, Gemma and Mistral, made here.

A tokenizer is of its family's kind (pre-tokenizer, normalizer, decoder, special tokens) but has a few hundred tokens,
so that words fall into pieces and rare characters into bytes.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

TEXTS = [
    "Wait, that's not right. Let me double-check the sum: 12 + 30 = 42.\n\nSo we can see that it’s fine.",
    "First, let’s consider the case where $x = 3$. However, we need\nto verify\r\n(step by step) naïve 中文 😀.",
    "Hmm, but wait: recons\u2026 LET'S RECONSIDER!  I   need to\tre-evaluate, now what? so_what so2",
]

_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Qwen (one digit a token) and Llama 3 (up to three) cut text before merging."""

CHAT = (
    "{%- for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{%- endif %}"
    "{%- endif %}"
)
"""Qwen's chat template, as far as it matters here."""


def _fast(made: Tokenizer, **special: Any) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=made, padding_side="left", **special)


def byte_level(special: list[str], digits: str, *, plain: tuple[str, ...] = (), bos: str | None = None) -> Tokenizer:
    """Byte-level BPE: every byte has a character, nothing is unknown."""
    made = Tokenizer(models.BPE(ignore_merges=bos is not None))
    if bos is None:
        made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS % digits), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=360, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(TEXTS * 5, trainer)
    made.add_tokens([AddedToken(token, special=False, normalized=False) for token in plain])
    if bos is not None:
        made.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, made.token_to_id(bos))]
        )
    return made


def sentencepiece(special: list[str], *, prefix: bool) -> Tokenizer:
    """SentencePiece's BPE: U+2581 for a space, ``<0xE4>`` for a byte of what the vocabulary lacks.

    Args:
        special: pad, end, begin, unknown, and others.
        prefix: whether a text is given a space in front (Llama 2, Mistral) or not (Gemma).
    """
    draft = Tokenizer(models.BPE())
    draft.normalizer = normalizers.Replace(" ", "▁")
    draft.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    few = [text.encode("ascii", "ignore").decode() for text in TEXTS]  # the others have to go into bytes
    draft.train_from_iterator(few * 5, trainers.BpeTrainer(vocab_size=160, show_progress=False))
    learnt = json.loads(draft.to_str())["model"]
    vocab = {token: i for i, token in enumerate(special)}
    for token in [f"<0x{byte:02X}>" for byte in range(256)] + list(learnt["vocab"]):
        vocab.setdefault(token, len(vocab))
    merges = [tuple(pair) for pair in learnt["merges"]]
    made = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    replace = normalizers.Replace(" ", "▁")
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), replace]) if prefix else replace
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    made.decoder = decoders.Sequence([*steps, *([decoders.Strip(" ", 1, 0)] if prefix else [])])
    made.add_special_tokens(special)
    made.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", vocab["<bos>"])])
    return made


def unigram() -> Any:
    """SentencePiece's other model, with byte fallback."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    words = sorted({piece for text in TEXTS for piece in text.encode("ascii", "ignore").decode().split()})
    letters = sorted({c for word in words for c in word} | {"▁", "\n", "\t", "\r"})
    vocab = [(token, 0.0) for token in special] + [(f"<0x{byte:02X}>", 0.0) for byte in range(256)]
    vocab += [(f"▁{word}", -4.0) for word in words[::2]] + [(letter, -6.0) for letter in letters]
    made = Tokenizer(models.Unigram(vocab, unk_id=3, byte_fallback=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    made.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="never")])
    made.add_special_tokens(special)
    return _fast(made, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", unk_token="<unk>")


def _qwen(plain: tuple[str, ...] = ()) -> Any:
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    made = _fast(byte_level(special, "", plain=plain), pad_token="<|endoftext|>", eos_token="<|im_end|>")
    made.chat_template = CHAT
    return made


def _llama() -> Any:
    special = ["<|finetune_right_pad_id|>", "<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>"]
    made = byte_level(special, "{1,3}", bos="<|begin_of_text|>")
    return _fast(made, pad_token=special[0], bos_token=special[1], eos_token=special[2])


def _sentencepiece(prefix: bool, *others: str) -> Any:
    special = ["<pad>", "<eos>", "<bos>", "<unk>", *others]
    names = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>"}
    return _fast(sentencepiece(special, prefix=prefix), **names)


@dataclass(frozen=True)
class Family:
    """One family.

    Attributes:
        make_tokenizer: makes its kind of tokenizer.
        model: names of its config and its model class in transformers.
        prefix: what its tokenizer puts in front of a text.
        extra: settings of its config.
    """

    make_tokenizer: Callable[[], Any]
    model: tuple[str, str]
    prefix: str = ""
    extra: tuple[tuple[str, Any], ...] = ()

    @functools.cached_property
    def tokenizer(self) -> Any:
        """Made once."""
        return self.make_tokenizer()

    def make_model(self) -> Any:
        """Some 30,000 random parameters."""
        import transformers

        torch.manual_seed(0)
        torch.set_num_threads(1)
        tokenizer = self.tokenizer
        settings = {
            "vocab_size": len(tokenizer) + 5,  # models have more rows than their tokenizers have tokens
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "max_position_embeddings": 256,
            "tie_word_embeddings": True,
            "pad_token_id": tokenizer.pad_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "bos_token_id": tokenizer.bos_token_id,
        }
        config, model = (getattr(transformers, name) for name in self.model)
        return model(config(**{**settings, **dict(self.extra)}))


_LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}

FAMILIES = {
    "qwen2.5": Family(_qwen, ("Qwen2Config", "Qwen2ForCausalLM")),
    "qwen3": Family(lambda: _qwen(("<think>", "</think>")), ("Qwen3Config", "Qwen3ForCausalLM")),
    "llama-3.1": Family(_llama, ("LlamaConfig", "LlamaForCausalLM"), extra=(("rope_parameters", _LLAMA3_ROPE),)),
    "gemma-3": Family(
        lambda: _sentencepiece(False, "<start_of_turn>", "<end_of_turn>"), ("Gemma3TextConfig", "Gemma3ForCausalLM")
    ),
    "mistral": Family(lambda: _sentencepiece(True), ("MistralConfig", "MistralForCausalLM"), prefix=" "),
}
"""The families by name."""


def oracle_labels(vocab: Any, ids: list[int], grams: list[tuple[str, str]]) -> tuple[list[bool], list[int], list[bool]]:
    """Labels of tokens by the slow oracle, on the text that their bytes spell; one without bytes breaks it."""
    from tests import oracle

    out: tuple[list[bool], list[int], list[bool]] = ([], [], [])
    run: list[int] = []
    for token in [*ids, None]:
        if token is not None and vocab[token]:
            run.append(token)
            continue
        text = b"".join(vocab[t] for t in run).decode("utf-8")
        starts = [0]
        for character in text:
            starts.append(starts[-1] + len(character.encode()))
        at, ranges = 0, []
        for t in run:
            end = at + len(vocab[t])
            touched = [i for i in range(len(text)) if starts[i] < end and starts[i + 1] > at]
            ranges.append((touched[0], touched[-1] + 1))
            at = end
        for part, found in zip(out, oracle.label_ranges(text, ranges, grams), strict=True):
            part.extend(found)  # type: ignore[arg-type]
        if token is not None:
            for part, nothing in zip(out, (False, -1, False), strict=True):
                part.append(nothing)  # type: ignore[arg-type]
        run = []
    return out
