"""Semantic and conditional entropy on streams whose entropy is known: what grows with length, and what does not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hicra.dynamics.conditional import conditional_entropy, fold_token, following
from hicra.dynamics.corrected import chao_shen_bits, miller_madow_bits
from hicra.dynamics.semantic import entropy_bits, rarefied_entropy_bits
from hicra.dynamics.sensitivity import draw_grams, kind_sensitivity, semantic_sensitivity, sensitivities
from hicra.dynamics.spread import common_number, entropy_series, step_counts
from hicra.errors import ConfigError, DataError
from tests.planted import CLUSTERS, GRAMS, World, bent, completions

ZIPF = np.arange(1, 251) ** -1.0
ZIPF /= ZIPF.sum()
TRUE_BITS = float(-(ZIPF * np.log2(ZIPF)).sum())


def mean_over_streams(estimate, n: int, streams: int = 60) -> float:
    rng = np.random.default_rng(n)
    return float(np.mean([estimate(rng.multinomial(n, ZIPF)) for _ in range(streams)]))


def test_plain_entropy_grows_with_length_and_the_corrected_ones_do_not() -> None:
    lengths = (300, 1_000, 10_000)
    plain = [mean_over_streams(entropy_bits, n) for n in lengths]
    assert plain[0] < TRUE_BITS - 0.3  # K = 250: about 149 / (2 * 300 ln 2)
    assert plain[0] + 0.2 < plain[1] < plain[2] - 0.05
    chao_shen = [mean_over_streams(chao_shen_bits, n) for n in lengths]
    assert np.ptp(chao_shen) < 0.15
    assert chao_shen == pytest.approx([TRUE_BITS] * 3, abs=0.1)
    rarefied = [mean_over_streams(lambda c: rarefied_entropy_bits(c, 300), n) for n in lengths]
    assert np.ptp(rarefied) < 0.03
    assert rarefied[0] == pytest.approx(plain[0], abs=0.03)  # what 300 occurrences show, at every length


def test_miller_madow_takes_the_first_term_of_the_bias_away() -> None:
    for n in (1_000, 10_000):
        left = TRUE_BITS - mean_over_streams(miller_madow_bits, n)
        assert abs(left) < 0.4 * (TRUE_BITS - mean_over_streams(entropy_bits, n))


def test_series_of_growing_completions() -> None:
    """The same policy, completions four times as long at the end."""
    world = World(length=bent(60.0, 240.0, 0.0, 1.0))
    change = {"plug_in": 0.0, "miller_madow": 0.0, "chao_shen": 0.0, "rarefied": 0.0}
    for seed in range(8):
        found = entropy_series(step_counts(completions(world, seed), GRAMS))
        for name in change:
            value = found[name].value
            change[name] += (np.nanmean(value[-15:]) - np.nanmean(value[:15])) / 8
    assert change["plug_in"] > 0.15
    for name in ("chao_shen", "rarefied"):
        assert abs(change[name]) < 0.06, name
    assert abs(change["miller_madow"]) < 0.75 * change["plug_in"]


def test_series_by_hand() -> None:
    found = step_counts(completions(World(), seed=0, steps=15), CLUSTERS, np.arange(GRAMS) % CLUSTERS)
    series = entropy_series(found, m=30)
    counts = found.counts[3]
    assert counts.sum() == found.blocks[3].sum()
    assert series["plug_in"].value[3] == pytest.approx(entropy_bits(counts))
    assert series["rarefied"].value[3] == pytest.approx(rarefied_entropy_bits(counts, 30))
    assert series["normalised"].value[3] == pytest.approx(entropy_bits(counts) / math.log2(CLUSTERS))
    assert (series["plug_in"].low < series["plug_in"].value).all()
    assert 1 <= found.spare <= found.counts.sum(axis=1).min()


def test_bands_of_entropy_cover_the_truth() -> None:
    p = World().frequencies(0.0)
    truth = float(-(p * np.log2(p)).sum())
    series = entropy_series(step_counts(completions(World(), seed=5, steps=80, prompts=12), GRAMS), m=0)
    s = series["chao_shen"]
    assert 0.85 <= ((s.low <= truth) & (truth <= s.high)).mean() <= 1.0


def test_the_number_to_rarefy_to() -> None:
    assert common_number([100] * 40 + [25, 7]) == 100  # one poor step in forty does not decide
    assert common_number([100] * 10 + [25] * 3) == 25
    assert common_number([3000]) == 1000
    assert common_number([19, 5]) == 0


def test_steps_with_few_occurrences_have_no_entropy() -> None:
    world = World(share=bent(0.08, 0.0, 0.3, 0.6))
    series = entropy_series(step_counts(completions(world, seed=2), GRAMS))
    assert np.isfinite(series["plug_in"].value[:18]).all()
    assert np.isnan(series["plug_in"].value[-15:]).all()


# --- conditional entropy -----------------------------------------------------------------------------------------


def test_conditional_entropy_by_hand() -> None:
    # gram 0 is followed by A A B B (1 bit), gram 3 by C four times (0 bits)
    gram, after = [0, 3, 0, 0, 0, 3, 3, 3], [7, 9, 7, 8, 8, 9, 9, 9]
    found = conditional_entropy(gram, after, m=2)
    assert found.plug_in == pytest.approx(0.5)
    # of the six pairs of A A B B four differ, which is one bit
    assert found.rarefied == pytest.approx(0.5 * 4 / 6)
    assert found.miller_madow == pytest.approx(0.5 * (1 + 1 / (8 * math.log(2))))
    assert found.chao_shen == pytest.approx(0.5 * chao_shen_bits([2, 2]))
    assert (found.coverage, found.occurrences) == (1.0, 8)
    weighted = conditional_entropy(gram, after, m=2, weights=[3.0, 0, 0, 1.0])
    assert weighted.rarefied == pytest.approx(0.75 * 4 / 6)
    assert conditional_entropy([0, 0, 3], [1, 2, 1], m=2).coverage == pytest.approx(2 / 3)


def test_conditional_estimators_are_those_of_each_gram() -> None:
    rng = np.random.default_rng(0)
    gram, after = rng.integers(0, 5, 400), rng.zipf(1.7, 400) % 50
    found = conditional_entropy(gram, after, m=10)
    by_gram = [np.bincount(after[gram == g]) for g in range(5)]
    n = [c.sum() for c in by_gram]
    for name, estimate in (
        ("plug_in", entropy_bits),
        ("miller_madow", miller_madow_bits),
        ("chao_shen", chao_shen_bits),
        ("rarefied", lambda c: rarefied_entropy_bits(c, 10)),
    ):
        assert getattr(found, name) == pytest.approx(np.average([estimate(c) for c in by_gram], weights=n)), name


def test_conditional_entropy_does_not_grow_with_occurrences() -> None:
    rng = np.random.default_rng(1)

    def stream(n: int):
        gram = rng.integers(0, 20, n)
        return conditional_entropy(gram, rng.choice(250, n, p=ZIPF), m=10)

    short, long = stream(600), stream(60_000)
    assert long.plug_in > short.plug_in + 1.0
    assert long.rarefied == pytest.approx(short.rarefied, abs=0.1)
    assert long.chao_shen == pytest.approx(TRUE_BITS, abs=0.1)


def test_conditional_entropy_of_nothing_and_of_nonsense() -> None:
    assert math.isnan(conditional_entropy([], []).plug_in)
    assert math.isnan(conditional_entropy([0], [1], m=2).rarefied)
    with pytest.raises(DataError, match="m >= 1"):
        conditional_entropy([0], [1], m=0)
    with pytest.raises(DataError, match="differ in length"):
        conditional_entropy([0], [1, 2])


def test_what_follows_a_gram() -> None:
    #          [ gram 4 ]  execution  [5]  exec | [gram 4 twice]  exec, then too short
    gram_id = [-1, 4, 4, -1, -1, -1, 5, -1, -1, 4, 4, -1, -1, -1, 6]
    begin = [0, 1, 0, 0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1]
    symbol = [9, 1, 1, 7, 8, 7, 2, 7, 8, 1, 1, 7, 8, 9, 3]
    planning = [g >= 0 for g in gram_id]
    found = following(symbol, gram_id, begin, planning, [0, 9, 15], n=2)
    # 4 -> 7 8 in the first completion; 5 -> 7 8; the first of two adjacent 4s is followed by planning; 4 -> 7 8; 6 ends
    assert found.gram.tolist() == [4, 5, 4]
    assert found.row.tolist() == [0, 0, 1]
    assert len(set(found.ngram.tolist())) == 1
    three = following(symbol, gram_id, begin, planning, [0, 9, 15], n=3)
    assert three.gram.tolist() == [4, 4]  # after 5 only two tokens are left in its completion
    assert three.ngram[0] != three.ngram[1]
    blank = [s if s != 8 else -1 for s in symbol]  # white space is passed over
    assert following(blank, gram_id, begin, planning, [0, 9, 15], n=2).gram.tolist() == [4, 4]
    assert len(following([], [], [], [], [0]).gram) == 0
    with pytest.raises(DataError, match="do not go together"):
        following(symbol, gram_id, begin, planning, [0, 9])
    with pytest.raises(DataError, match="n >= 1"):
        following(symbol, gram_id, begin, planning, [0, 15], n=0)


@pytest.mark.parametrize(
    ("token", "folded"), [(" The", "the"), ("\n\n", ""), (" 12", "0"), ("x2", "0"), (" += ", "+="), ("don’t", "don't")]
)
def test_folded_tokens(token: str, folded: str) -> None:
    assert fold_token(token) == folded


# --- sensitivity -------------------------------------------------------------------------------------------------


def test_dropping_grams_keeps_the_shape_of_a_real_rise() -> None:
    found = step_counts(completions(World(skew=bent(2.0, 0.2, 0.3, 0.9)), seed=3, prompts=24), GRAMS)
    kept = draw_grams(GRAMS, draws=12, seed=1)
    assert kept.sum(axis=1).tolist() == [GRAMS - round(0.3 * GRAMS)] * 12
    for class_of in (None, np.arange(GRAMS) % CLUSTERS):
        dropped = semantic_sensitivity(found.steps, found.counts, kept, class_of)
        assert np.median(dropped.shape) > 0.8
        known = np.isfinite(dropped.series.value)
        assert known.mean() > 0.9
        assert (dropped.series.low <= dropped.series.high)[known].all()
        assert dropped.fraction == pytest.approx(7 / 24)


def test_dropping_a_curve_that_hangs_on_one_gram_loses_its_shape() -> None:
    """Nine grams stay as they are, one takes over."""
    counts = np.full((30, 10), 20)
    counts[:, 0] = np.linspace(20, 2000, 30)
    kept = draw_grams(10, fraction=0.5, draws=40)
    shape = semantic_sensitivity(np.arange(30), counts, kept).shape
    assert (np.isnan(shape) == ~kept[:, 0]).all()  # without gram 0 the curve is constant


def test_dropping_nothing_is_the_curve_itself() -> None:
    counts = np.random.default_rng(0).poisson(20, (8, 12))
    found = semantic_sensitivity(np.arange(8), counts, draw_grams(12, fraction=0.0, draws=2))
    assert found.occurrences == np.sort(counts.sum(axis=1))[0]
    assert found.series.value.tolist() == pytest.approx([rarefied_entropy_bits(c, found.occurrences) for c in counts])
    assert found.series.low.tolist() == pytest.approx(found.series.value.tolist())
    with pytest.raises(ConfigError, match="fraction"):
        draw_grams(8, fraction=1.0)
    with pytest.raises(DataError, match="go together"):
        semantic_sensitivity(np.arange(7), counts, draw_grams(12))


def test_tokens_of_dropped_grams_become_execution() -> None:
    # two grams, then no gram: tokens and summed entropies of two steps
    n, entropy = np.array([[2.0, 4, 10], [1, 3, 10]]), np.array([[2.0, 8, 5], [3, 3, 5]])
    kept = np.array([[True, False]])
    share = kind_sensitivity([1, 2], n, n, kept, kind="share").series
    assert share.value.tolist() == pytest.approx([6 / 16, 4 / 14])
    assert share.low.tolist() == pytest.approx([2 / 16, 1 / 14])
    planning = kind_sensitivity([1, 2], entropy, n, kept).series
    assert planning.value.tolist() == pytest.approx([10 / 6, 6 / 4])
    assert planning.high.tolist() == pytest.approx([1.0, 3.0])
    execution = kind_sensitivity([1, 2], entropy, n, kept, kind="execution").series
    assert execution.value.tolist() == pytest.approx([0.5, 0.5])
    assert execution.high.tolist() == pytest.approx([13 / 14, 8 / 13])
    relative = sensitivities([1, 2], {"n": n, "logprob": -entropy, "n_logprob": n}, kept)
    assert set(relative) == {"planning_share", "relative_perplexity_planning", "relative_perplexity_execution"}
    expected = [1.0, math.exp(6 / 4 - 10 / 6)]
    assert relative["relative_perplexity_planning"].series.value.tolist() == pytest.approx(expected)
    with pytest.raises(DataError, match="no such kind"):
        kind_sensitivity([1, 2], n, n, kept, kind="both")
