"""The tokenizers of the families that people train: their bytes, and labels against the oracle."""

from __future__ import annotations

from typing import Any

import pytest

from hicra import GramSet, Labeller
from hicra.labels.vocab import vocab_of
from tests.families import FAMILIES, TEXTS, oracle_labels, unigram

GRAMS = GramSet.load("paper")
PAIRS = [(gram.text, gram.at) for gram in GRAMS]
TOKENIZERS = [*FAMILIES, "unigram"]


def made(name: str) -> tuple[Any, str]:
    return (unigram(), "") if name == "unigram" else (FAMILIES[name].tokenizer, FAMILIES[name].prefix)


def labels_of(tokenizer: Any, ids: list[int]) -> tuple[list[bool], list[int], list[bool]]:
    found = Labeller(GRAMS, tokenizer).label(ids)
    return found.mask.tolist(), found.gram_id.tolist(), found.begin.tolist()


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("text", TEXTS)
def test_tokens_spell_the_text_and_are_labelled_as_the_oracle_says(name: str, text: str) -> None:
    tokenizer, prefix = made(name)
    vocab = vocab_of(tokenizer)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert not vocab.lossy
    assert b"".join(vocab[i] for i in ids) == (prefix + text).encode()
    assert len(ids) > len(text.split())  # words do fall into pieces
    found = labels_of(tokenizer, ids)
    assert found == oracle_labels(vocab, ids, PAIRS)
    assert sum(found[0]) >= 3


@pytest.mark.parametrize("name", TOKENIZERS)
def test_special_tokens_have_no_bytes_and_break(name: str) -> None:
    tokenizer, _ = made(name)
    vocab = vocab_of(tokenizer)
    specials = sorted(set(tokenizer.all_special_ids) - {tokenizer.unk_token_id})
    assert [vocab[i] for i in specials] == [b""] * len(specials)
    first, second = (tokenizer(word, add_special_tokens=False)["input_ids"] for word in ("wait", " no"))
    together = labels_of(tokenizer, [*first, *second])
    assert {GRAMS[g].text for g in together[1]} >= {"wait no"}
    for special in specials:
        ids = [*first, special, *second]
        found = labels_of(tokenizer, ids)
        assert found == oracle_labels(vocab, ids, PAIRS)
        assert "wait no" not in {GRAMS[g].text for g in found[1] if g >= 0}


def test_thinking_tokens_are_ordinary_text_that_plans_nothing() -> None:
    tokenizer = FAMILIES["qwen3"].tokenizer
    ids = tokenizer("<think>\nWait, let me double-check.\n</think>\n\nSo we can see it")["input_ids"]
    think = tokenizer.convert_tokens_to_ids(["<think>", "</think>"])
    assert set(think) <= set(ids)
    found = labels_of(tokenizer, ids)
    assert found == oracle_labels(vocab_of(tokenizer), ids, PAIRS)
    assert not any(flag for flag, token in zip(found[0], ids, strict=True) if token in think)
    assert {GRAMS[g].text for g in found[1] if g >= 0} >= {"wait", "let me", "we can see"}


def test_a_beginning_of_text_is_put_in_front_and_plans_nothing() -> None:
    for name in ("llama-3.1", "gemma-3", "mistral"):
        tokenizer = FAMILIES[name].tokenizer
        ids = tokenizer("Wait, no")["input_ids"]
        assert ids[0] == tokenizer.bos_token_id
        assert labels_of(tokenizer, ids)[0][0] is False
        assert any(labels_of(tokenizer, ids)[0])
