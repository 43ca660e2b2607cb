"""Placebo grams and the rate-matched random mask."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
import torch

from hicra.credit.controls import placebo_grams, random_mask
from hicra.errors import DataError
from hicra.grams.gramset import Gram, GramSet
from hicra.labels.labeller import Labeller
from hicra.traces.read import sample_traces

TEXTS = [
    "Let me verify the sum. The total is wrong, so we check the total again and again.",
    "We add the first number to the second number. Let me verify the result. It is right.",
    "The total is right. But we check the second number again. So we add the first number to it.",
]


def parts(gram: str) -> set[str]:
    w = gram.split()
    return {" ".join(w[i:j]) for i in range(len(w)) for j in range(i + 1, len(w) + 1)}


@pytest.mark.parametrize("seed", range(5))
def test_placebo_is_matched_and_overlaps_nothing(seed: int) -> None:
    grams = GramSet.from_grams(
        [Gram("let me verify", cluster="check"), "so we", "but", Gram("the total", at="sentence")]
    )
    placebo = placebo_grams(grams, TEXTS, seed=seed)
    assert sorted((len(g.text.split()), g.at) for g in placebo) == sorted((len(g.text.split()), g.at) for g in grams)
    assert all(g.cluster is None and g.function is None for g in placebo)
    for p, g in itertools.product(placebo, grams):
        assert p.text not in parts(g.text)
        assert g.text not in parts(p.text)
    for p, q in itertools.permutations(placebo, 2):
        assert p.text not in parts(q.text)
    assert {span.gram for text in TEXTS for span in Labeller(placebo).spans(text)} == {g.text for g in placebo}
    assert placebo.provenance["parent_hash"] == grams.hash
    assert placebo.name == f"{grams.name}-placebo-seed{seed}"


def test_placebo_frequency_is_matched() -> None:
    # thirty words that occur 1, 2, ... 30 times each, twenty that occur 200 times; "often" 200 times, "seldom" once
    letters = [a + b for a in "bcdfg" for b in "aeiouy"]
    words_of = [w for i, w in enumerate(letters) for _ in range(i + 1)] + ["often"] * 200 + ["seldom"]
    words_of += [f"z{a}{b}" for a in "bcdfg" for b in "aeio" for _ in range(200)]
    grams = GramSet.from_grams(["often", "seldom"])
    for seed in range(20):
        placebo = placebo_grams(grams, [" ".join(words_of)], seed=seed)
        counts = sorted(words_of.count(g.text) for g in placebo)
        assert counts[1] == 200
        assert counts[0] <= 16  # among the sixteen nearest to 1


def test_placebo_draws() -> None:
    grams = GramSet.from_grams(["let me verify", "so we"])
    assert placebo_grams(grams, TEXTS, seed=3) == placebo_grams(grams, TEXTS, seed=3)
    assert placebo_grams(grams, TEXTS, seed=3) == placebo_grams(grams, reversed(TEXTS), seed=3)
    assert len({placebo_grams(grams, TEXTS, seed=s).hash for s in range(8)}) > 1


def test_placebo_of_the_paper_set_on_the_bundled_traces() -> None:
    grams = GramSet.load("paper")
    placebo = placebo_grams(grams, (t.solution for t in sample_traces()))
    assert len(placebo) == len(grams)
    share = placebo.provenance["share_of_words"]
    assert share["parent"] > 0.02
    assert share["placebo"] == pytest.approx(share["parent"], rel=0.15)
    lengths = [Counter(len(g.text.split()) for g in s) for s in (grams, placebo)]
    assert lengths[0] == lengths[1]


def test_placebo_needs_text() -> None:
    grams = GramSet.from_grams(["let me verify", "so we"])
    with pytest.raises(DataError, match="one string"):
        placebo_grams(grams, "let me")
    with pytest.raises(DataError, match="corpus for the placebo grams is empty"):
        placebo_grams(grams, ["12 + 3", ""])
    with pytest.raises(DataError, match=r"no placebo of . words"):
        placebo_grams(grams, ["let me verify so we"])


def flags(rows: list[str]) -> torch.Tensor:
    return torch.tensor([[c == "1" for c in row] for row in rows])


def test_random_mask_keeps_number_and_lengths() -> None:
    # row 0: occurrences of three and of one, then padding; row 1: two adjacent ones of two; row 2: none
    planning = flags(["0111000100", "0111100000", "0000000000"])
    begin = flags(["0100000100", "0101000000", "0000000000"])
    mask = flags(["1111111100", "1111111111", "1111100000"])
    ids = torch.arange(30).view(3, 10)
    masks = [random_mask(planning, begin, mask, ids, step=s) for s in range(200)]
    for got in masks:
        assert torch.equal(got.sum(1), planning.sum(1))
        assert not (got & ~mask).any()
        runs = sorted(len(run) for run in "".join("01"[int(x)] for x in got[0]).split("0") if run)
        assert runs in ([1, 3], [4])  # the two may land side by side
        runs = sorted(len(run) for run in "".join("01"[int(x)] for x in got[1]).split("0") if run)
        assert runs in ([2, 2], [4])
    apart = [got for got in masks if "1111" not in "".join("01"[int(x)] for x in got[1])]
    assert len(apart) > 100  # the two are neighbours in a quarter of the orders of eight items
    assert torch.equal(masks[7], random_mask(planning, begin, mask, ids, step=7))
    assert not torch.equal(masks[7], random_mask(planning, begin, mask, ids, seed=1, step=7))


def test_random_mask_is_uniform() -> None:
    # one occurrence of two among five tokens: four places, each with probability 1/4
    row = flags(["11000"])
    begin = flags(["10000"])
    draws = 4000
    ids = torch.zeros(draws, 5, dtype=torch.long)
    ids[:, 0] = torch.arange(draws)  # as many different completions
    got = random_mask(row.expand(draws, 5), begin.expand(draws, 5), torch.ones(draws, 5).bool(), ids)
    places = torch.bincount(got.int().argmax(1), minlength=5)
    assert places[4] == 0
    # binomial standard deviation: sqrt(4000 * 3/16) = 27; five of them
    assert (places[:4] - draws / 4).abs().max() < 140


def test_random_mask_moves_around_tool_output() -> None:
    planning, begin = flags(["1100000"]), flags(["1000000"])
    mask = flags(["1110011"])
    seen = {
        tuple(random_mask(planning, begin, mask, torch.arange(7)[None], step=s)[0].nonzero().flatten().tolist())
        for s in range(100)
    }
    # positions among the five own tokens: 0 1, 1 2, 2 5 (side by side for the policy), 5 6
    assert seen == {(0, 1), (1, 2), (2, 5), (5, 6)}


def test_placebo_counts_as_the_labeller_does() -> None:
    grams = GramSet.load("paper")
    texts = [trace.solution for trace in sample_traces()]
    placebo = placebo_grams(grams, texts, seed=2)
    for labelled, name in ((grams, "parent"), (placebo, "placebo")):
        labeller = Labeller(labelled)
        assert sum(len(labeller.spans(text)) for text in texts) == placebo.provenance["occurrences"][name]
