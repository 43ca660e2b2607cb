"""Rows of the run directory: names of prompts, groups that are kept, text of tokens."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

pytest.importorskip("torch")

from hicra.engines.record import TokenText, groups_to_keep, prompt_name
from hicra.labels.vocab import Vocab, byte_vocab


def test_prompts_have_stable_names() -> None:
    assert prompt_name("1 + 1", {"id": 7}) == "7"
    assert prompt_name("1 + 1", {"id": 7, "prompt_id": "p"}) == "p"
    talk = [{"role": "user", "content": "1 + 1"}]
    assert prompt_name(talk, {}) == prompt_name([dict(reversed(talk[0].items()))], {"id": None})
    assert prompt_name("1 + 1", {}) == "edebf083b382e52c"
    assert prompt_name("1 + 1", {}) != prompt_name("1 + 2", {})
    picture = [{"role": "user", "content": [{"type": "image", "image": object()}]}]
    another = [{"role": "user", "content": [{"image": object(), "type": "image"}]}]
    assert prompt_name(picture, {}) == prompt_name(another, {})  # names of objects would hold their addresses


@pytest.mark.parametrize(
    ("limit", "kept"),
    [(0, set()), (3, {20}), (8, {20}), (9, {20}), (16, {20, 21}), (24, {20, 21, 30}), (99, {20, 21, 30, 31})],
)
def test_whole_groups_of_eight_are_kept_in_order(limit: int, kept: set[int]) -> None:
    generations = cast(Any, [SimpleNamespace(number=10), SimpleNamespace(number=15)])
    assert groups_to_keep(generations, 8, 2, limit) == kept


def named(token_id: int) -> str:
    return f"<{token_id}>"


def test_pieces_join_to_the_text_and_split_characters_stand_where_they_end() -> None:
    text = TokenText(SimpleNamespace(convert_ids_to_tokens=named), byte_vocab())
    ids = list("aé→😀b".encode())
    pieces = text.pieces(ids)
    assert "".join(pieces) == "aé→😀b"
    assert pieces == ["a", "", "é", "", "", "→", "", "", "", "😀", "b"]
    assert text.pieces([0xC3, 300, 0x61, 0xE2]) == ["", "\ufffd<300>", "a", "\ufffd"]
    assert text.pieces([]) == []


def test_pieces_of_a_word_tokenizer() -> None:
    vocab = Vocab.from_tokens([b"", b" so", b" wait"], lossy=True)
    text = TokenText(SimpleNamespace(convert_ids_to_tokens=named), vocab)
    assert text.pieces([1, 2, 0]) == ["so", " wait", " <0>"]
