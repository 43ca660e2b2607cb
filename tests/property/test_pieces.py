"""Labels of text in pieces are those of the same pieces as token ids."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra import GramSet, Labeller
from hicra.labels.pieces import PieceLabeller, words_and_signs
from hicra.labels.vocab import Vocab

GRAMS = GramSet.from_grams(["wait", "let me", "me check that", "so we", "at"], name="five")
PIECES = [
    "wait",
    " let",
    " me",
    " check",
    " that",
    "so",
    " we",
    "l",
    "et me ch",
    "eck",
    "\n\n",
    ".",
    " ",
    ", ",
    "é",
    "at so",
    "",
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(st.sampled_from(range(len(PIECES))), max_size=14), min_size=1, max_size=3), st.data())
def test_pieces_are_labelled_as_their_ids(rows: list[list[int]], data: st.DataObject) -> None:
    masks = [np.array(data.draw(st.lists(st.booleans(), min_size=len(r), max_size=len(r))), np.bool_) for r in rows]
    vocab = Vocab.from_tokens([piece.encode() for piece in PIECES])
    filled = [[i for i in row if PIECES[i]] for row in rows]  # an id without bytes is a special token: it breaks
    masks = [
        np.array([m for i, m in zip(r, k, strict=True) if PIECES[i]], np.bool_)
        for r, k in zip(rows, masks, strict=True)
    ]
    by_id = Labeller(GRAMS, vocab)
    labeller = PieceLabeller(GRAMS)
    texts = [[PIECES[i] for i in row] for row in filled]
    found = labeller.label(texts, masks)
    for i, row in enumerate(filled):
        wanted = by_id.label(np.array(row, np.int64), masks[i])
        np.testing.assert_array_equal(found.mask[i], wanted.mask)
        np.testing.assert_array_equal(found.gram_id[i], wanted.gram_id)
        np.testing.assert_array_equal(found.begin[i], wanted.begin)


@given(st.text(max_size=60))
def test_words_and_signs_are_the_text(text: str) -> None:
    assert "".join(words_and_signs(text)) == text
