"""Every formula of the dynamics against a value worked out by hand."""

from __future__ import annotations

import doctest
import importlib
import math

import numpy as np
import pytest

from hicra.dynamics.compass import near_evaluations, pass_at_k, rank_correlation, ranks, spearman
from hicra.dynamics.corrected import chao_shen_bits, miller_madow_bits, normalised
from hicra.dynamics.intervals import clustered_share, holm, jackknife_error, wilson
from hicra.dynamics.overlap import overlap
from hicra.dynamics.reading import Completions
from hicra.dynamics.resample import band, ratio, step_sums
from hicra.dynamics.series import Series
from hicra.dynamics.tokens import relative_perplexity, token_series
from hicra.errors import DataError

MODULES = ("series", "intervals", "conditional")


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str) -> None:
    found = doctest.testmod(importlib.import_module(f"hicra.dynamics.{name}"))
    assert found.attempted
    assert not found.failed


# --- entropy -----------------------------------------------------------------------------------------------------


def test_miller_madow() -> None:
    # H(3/4, 1/4) = 0.811278; one class more than one, over 2 * 4 ln 2
    assert miller_madow_bits([3, 0, 1]) == pytest.approx(0.8112781 + 1 / (8 * math.log(2)))
    assert miller_madow_bits([7]) == 0.0
    assert math.isnan(miller_madow_bits([0, 0]))


def test_chao_shen() -> None:
    # n = 4, two singletons: coverage 1/2; shares 1/4, 1/8, 1/8, seen with chances 1 - (3/4)^4 and 1 - (7/8)^4
    expected = 0.25 * 2 / (1 - 0.75**4) + 2 * 0.125 * 3 / (1 - 0.875**4)
    assert chao_shen_bits([2, 1, 1]) == pytest.approx(expected)
    # only singletons: one of them is taken for seen twice
    assert chao_shen_bits([1, 1]) == pytest.approx(2 * 0.25 * 2 / (1 - 0.75**2))
    assert chao_shen_bits([5, 0]) == 0.0
    assert chao_shen_bits([1]) == 0.0
    assert math.isnan(chao_shen_bits([]))


def test_normalised() -> None:
    assert normalised(2.0, 16) == 0.5
    assert normalised(0.0, 1) == 0.0
    with pytest.raises(DataError, match="size >= 1"):
        normalised(1.0, 0)


# --- intervals ---------------------------------------------------------------------------------------------------


def test_clustered_share() -> None:
    # 3 of 4 and 1 of 4: r = 1/2, residuals +1 and -1, var = 2/1 * 2 / 64, t(1) = 12.706
    share, low, high = clustered_share(np.array([3.0, 1.0]), np.array([4.0, 4.0]))
    assert (share, low, high) == (0.5, 0.0, 1.0)
    top, bottom = np.array([3.0, 1, 2, 2, 3, 1]), np.full(6, 4.0)
    share, low, high = clustered_share(top, bottom)
    half = 2.5706 * math.sqrt(6 / 5 * 4 / 24**2)
    assert (low, high) == (pytest.approx(0.5 - half, abs=2e-3), pytest.approx(0.5 + half, abs=2e-3))
    # all prompts alike: their variance says nothing, so Wilson's with prompts as trials
    assert clustered_share(np.array([4.0, 4.0]), np.array([4.0, 4.0])) == (1.0, *wilson(2, 2))
    assert np.isnan(clustered_share(np.zeros(0), np.zeros(0))).all()
    assert clustered_share(np.array([1.0]), np.array([2.0]))[0] == 0.5


def test_jackknife() -> None:
    # of a mean it is the usual standard error: s / sqrt n
    values = np.array([1.0, 2.0, 6.0])
    left_out = [(values.sum() - v) / 2 for v in values]
    assert jackknife_error(left_out) == pytest.approx(values.std(ddof=1) / math.sqrt(3))
    assert math.isnan(jackknife_error([1.0]))


def test_holm_keeps_unknown_tests_out() -> None:
    out = holm([0.02, math.nan, 0.01])
    assert out[[0, 2]].tolist() == pytest.approx([0.02, 0.02])
    assert math.isnan(out[1])


# --- bootstrap ---------------------------------------------------------------------------------------------------


def test_ratio_is_of_sums_and_its_band_is_that_of_prompts() -> None:
    columns = np.array([[1.0, 1.0], [3.0, 1.0], [5.0, 2.0]])
    sums = step_sums(columns, np.array([0, 0, 1]), 3, replicates=2000)
    value, drawn = ratio(sums, 0, 1)
    assert value[:2].tolist() == [2.0, 2.5]
    assert math.isnan(value[2])
    # two prompts drawn with replacement: 1, 2 or 3 with chances 1/4, 1/2, 1/4
    seen, times = np.unique(drawn[0], return_counts=True)
    assert seen.tolist() == [1.0, 2.0, 3.0]
    assert times / 2000 == pytest.approx([0.25, 0.5, 0.25], abs=0.04)
    low, high = band(drawn)
    assert (low[0], high[0]) == (1.0, 3.0)
    assert np.isnan([low[1], high[1]]).all()  # a single prompt says nothing of its noise
    with pytest.raises(DataError, match="order"):
        step_sums(columns, np.array([1, 0, 0]), 2)
    with pytest.raises(DataError, match="not finite"):
        step_sums(columns * np.nan, np.array([0, 0, 1]), 2)


def test_band_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(1.0, 1.0, (300, 30))
    columns = np.stack([x.reshape(-1), np.ones(x.size)], axis=1)
    low, high = band(ratio(step_sums(columns, np.repeat(np.arange(300), 30), 300), 0, 1)[1])
    assert 0.90 <= ((low <= 1.0) & (high >= 1.0)).mean() <= 0.97


# --- token series ------------------------------------------------------------------------------------------------


def two_steps(**changes: list[float]) -> Completions:
    """Step 4: a prompt with two completions and one with one; step 9: one prompt with two."""
    columns = {
        "reward": [1.0, 0, 1, 1, 1],
        "length": [10.0, 20, 30, 40, 50],
        "truncated": [0.0, 0, 1, 0, 0],
        "n_planning": [2.0, 0, 2, 5, 5],
        "n_execution": [8.0, 20, 28, 35, 45],
        "sum_logprob_planning": [-2.0, 0, -4, -5, -10],
        "sum_logprob_execution": [-4.0, -2, -22, -8, -8],
        "sum_entropy_planning": [1.0, np.nan, 3, 5, 5],
        "sum_entropy_execution": [4.0, 4, 6, 10, 10],
        **changes,
    }
    empty = np.zeros(0, np.int64)
    return Completions(
        np.array([4, 9]),
        np.array([0, 0, 0, 1, 1]),
        np.array([0, 0, 1, 0, 0]),
        np.array([0, 0, 1, 2, 2]),
        {name: np.array(values) for name, values in columns.items()},
        empty,
        empty,
        empty,
    )


def test_token_series_by_hand() -> None:
    series, missing = token_series(two_steps())
    assert missing == {}
    values = {name: s.value.tolist() for name, s in series.items()}
    assert values["logprob_planning"] == pytest.approx([-6 / 4, -15 / 10])
    assert values["logprob_execution"] == pytest.approx([-28 / 56, -16 / 80])
    assert values["relative_perplexity_execution"] == pytest.approx([1.0, math.exp(0.2) / math.exp(0.5)])
    assert values["entropy_planning"] == pytest.approx([4 / 4, 10 / 10])  # a completion without any adds nothing
    assert values["entropy"] == pytest.approx([18 / 60, 30 / 90])
    assert values["planning_share"] == pytest.approx([4 / 60, 10 / 90])
    assert values["length"] == pytest.approx([20.0, 45.0])
    assert values["truncated"] == pytest.approx([1 / 3, 0.0])
    assert values["reward"] == pytest.approx([2 / 3, 1.0])
    assert values["no_signal"] == [0.0, 1.0]  # of groups of two or more: one with signal, then one without
    assert series["length"].unit == "tokens"
    assert np.isfinite(series["length"].low[0])
    assert np.isnan(series["length"].low[1])


def test_what_a_run_lacks_is_said() -> None:
    nothing = [math.nan] * 5
    series, missing = token_series(two_steps(sum_logprob_planning=nothing, sum_logprob_execution=nothing))
    assert "logprob_planning" not in series
    assert missing["logprob_planning"] == "the run has no log-probs"
    assert "relative_perplexity_planning" in missing
    assert "entropy" in series
    series, missing = token_series(two_steps(n_planning=[0.0] * 5))
    assert missing["entropy_planning"] == "the run has no planning tokens"


def test_groups_without_rewards_say_nothing_of_signal() -> None:
    series, missing = token_series(two_steps(reward=[1.0, math.nan, 1, 1, 1]))
    assert math.isnan(series["no_signal"].value[0])
    assert series["no_signal"].value[1] == 1.0
    series, missing = token_series(two_steps(reward=[math.nan] * 5))
    assert missing["reward"] == "the run has no rewards"
    assert "no_signal" in missing


def test_relative_perplexity_starts_at_the_first_known_step() -> None:
    value, drawn = relative_perplexity(np.array([np.nan, -1.0, -0.5]), np.array([[np.nan], [-1.1], [-0.5]]))
    assert value[1:].tolist() == pytest.approx([1.0, math.exp(-0.5)])
    assert drawn[1:, 0].tolist() == pytest.approx([1.0, math.exp(-0.6)])


# --- overlap with high-entropy tokens ----------------------------------------------------------------------------


def test_overlap_by_hand() -> None:
    found = overlap([4.0, 3.0, 2.0, 1.0], [True, False, True, False], [0.5, 0.3, 1.0])
    # top half: one planning token of two; 1.2 tokens: all of the first and a fifth of the second
    assert found.planning_in_top.tolist() == pytest.approx([1 / 2, 1 / 2, 1.0])
    assert found.top_that_plans.tolist() == pytest.approx([1 / 2, 1 / 1.2, 1 / 2])
    assert found.lift.tolist() == pytest.approx([1.0, 0.5 / 0.3, 1.0])
    assert (found.tokens, found.planning) == (4, 2)
    assert np.isnan(found.planning_in_top_low).all()


def test_overlap_counts_ties_in_part() -> None:
    found = overlap([0.0] * 8, [True] * 2 + [False] * 6, 0.25)
    assert found.planning_in_top[0] == pytest.approx(0.25)
    assert found.top_that_plans[0] == pytest.approx(0.25)


def test_overlap_leaves_unknown_entropies_out_and_wants_some() -> None:
    found = overlap([math.nan, 2.0, 1.0], [True, True, False], 0.5)
    assert found.planning_in_top[0] == 1.0
    assert math.isnan(overlap([1.0, 2.0], [False, False], 0.5).planning_in_top[0])
    with pytest.raises(DataError, match="no token has an entropy"):
        overlap([math.nan], [True])
    with pytest.raises(DataError, match="0 < share <= 1"):
        overlap([1.0], [True], 0.0)
    with pytest.raises(DataError, match="differ in shape"):
        overlap([1.0], [True, False])


def test_overlap_band_holds_the_value_and_narrows_with_prompts() -> None:
    rng = np.random.default_rng(1)
    widths = []
    for prompts in (8, 128):
        n = prompts * 100
        planning = rng.random(n) < 0.1
        entropy = rng.gamma(1.0, np.where(planning, 1.0, 0.4))
        found = overlap(entropy, planning, 0.3, prompt=np.arange(n) // 100)
        assert found.planning_in_top_low[0] < found.planning_in_top[0] < found.planning_in_top_high[0]
        widths.append(float(found.planning_in_top_high[0] - found.planning_in_top_low[0]))
    assert widths[1] < widths[0] / 2


# --- compasses ---------------------------------------------------------------------------------------------------


def test_pass_at_k() -> None:
    # C(3,2)/C(4,2) = 1/2, C(2,2)/C(4,2) = 1/6; nothing fails with 3 right; too few samples
    assert pass_at_k([4, 4, 4, 1], [1, 2, 3, 1], 2)[:3].tolist() == pytest.approx([1 / 2, 5 / 6, 1.0])
    assert math.isnan(pass_at_k([1], [1], 2)[0])
    assert pass_at_k([5, 5], [0, 5], 5).tolist() == [0.0, 1.0]
    for n, c, k in (([1], [2], 1), ([1], [-1], 1), ([1], [1], 0)):
        with pytest.raises(DataError, match=r"pass@k"):
            pass_at_k(n, c, k)


def test_pass_at_k_is_unbiased() -> None:
    rng = np.random.default_rng(0)
    found = pass_at_k(np.full(40_000, 8), rng.binomial(8, 0.2, 40_000), 4)
    assert found.mean() == pytest.approx(1 - 0.8**4, abs=0.005)


def test_spearman() -> None:
    assert ranks(np.array([5.0, 1.0, 5.0])).tolist() == [2.5, 1.0, 2.5]
    assert spearman(ranks(np.array([1.0, 2, 3, 4])), ranks(np.array([1.0, 3, 2, 4]))) == pytest.approx(0.8)
    assert math.isnan(spearman(np.ones(4), np.arange(4.0)))


def test_rank_correlation_of_drifting_series_claims_less() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((2, 40))
    white = rank_correlation([(x, y)])
    assert white.low < white.rho < white.high
    walk = rank_correlation([(np.cumsum(x), np.cumsum(y))])
    assert walk.effective < white.effective / 3
    assert walk.high - walk.low > white.high - white.low


def test_rank_correlation_intervals_of_independent_drifts_hold_zero() -> None:
    rng = np.random.default_rng(4)
    holds = usual = 0
    for _ in range(200):
        x, y = np.cumsum(rng.standard_normal((2, 30)), axis=1)
        found = rank_correlation([(x, y)])
        holds += not (found.low > 0 or found.high < 0)
        usual += abs(math.atanh(min(0.999, abs(found.rho)))) < 1.96 * math.sqrt(1.06 / 27)
    assert holds >= 180
    assert usual < 130  # what the usual interval would have said


def test_rank_correlation_over_runs() -> None:
    x = np.arange(12.0)
    alike = rank_correlation([(x, x + np.sin(3 * x))] * 3)
    assert alike.runs == 3
    assert alike.low > 0.5
    torn = rank_correlation([(x, x), (x, -x)])
    assert torn.low < 0 < torn.high
    assert math.isnan(rank_correlation([(x, np.ones(12))]).rho)
    few = rank_correlation([(x[:3], x[:3])])
    assert few.rho == pytest.approx(1.0)
    assert math.isnan(few.low)
    with pytest.raises(DataError, match="differ in length"):
        rank_correlation([(x, x[1:])])


def test_series_around_evaluations() -> None:
    series = Series.bare(np.arange(1, 13), np.arange(1.0, 13.0))
    # evaluations of the model after 0, 4 and 8 steps; step 1 samples from the model after step 0
    found = near_evaluations(series, [0, 4, 8])
    assert found.tolist() == [2.0, 5.5, 9.5]
    assert np.isnan(near_evaluations(Series.bare(np.array([1]), np.array([np.nan])), [0, 4])).all()
