"""Formulas of the evaluation statistics against numbers worked by hand, brute force, and each other."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra.dynamics import compass
from hicra.errors import ConfigError, DataError
from hicra.evals.estimators import avg_at_k, pass_at_k, sampling_variance
from hicra.evals.exact import holm, mcnemar, sign_flips
from hicra.evals.intervals import bonett_price, mean_error, t_interval, t_test, wilson
from hicra.evals.power import Noise, gain_shown, items_needed, plan, power, samples_needed
from hicra.evals.runs import crossed_error


def test_avg_and_sampling_variance_by_hand() -> None:
    assert avg_at_k([4, 4], [1, 3]).tolist() == [0.25, 0.75]
    # 1 right of 4: p (1 - p) k / (k - 1) = 3/16 * 4/3
    assert sampling_variance([4, 1], [1, 1])[0] == pytest.approx(0.25)
    assert np.isnan(sampling_variance([4, 1], [1, 1])[1])


def test_pass_at_k_by_hand() -> None:
    """5 answers, 2 right: of the 10 pairs C(3,2) = 3 hold none; of the 10 triples one."""
    assert pass_at_k([5], [2], 1)[0] == pytest.approx(0.4)
    assert pass_at_k([5], [2], 2)[0] == pytest.approx(0.7)
    assert pass_at_k([5], [2], 3)[0] == pytest.approx(0.9)
    assert pass_at_k([5], [2], 4)[0] == 1


@given(st.integers(1, 40), st.data())
def test_pass_at_k_is_the_one_of_the_dynamics(n: int, data: st.DataObject) -> None:
    """dynamics may not import evals, so the formula is there twice."""
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    assert pass_at_k([n], [c], k)[0] == pytest.approx(compass.pass_at_k([n], [c], k)[0], abs=1e-12)
    assert pass_at_k([n], [c], k)[0] == pytest.approx(1 - math.comb(n - c, k) / math.comb(n, k), abs=1e-12)


@pytest.mark.parametrize(("samples", "correct"), [([2], [3]), ([0], [0]), ([2], [-1]), ([2, 2], [1]), ([2.0], [1.0])])
def test_counts_out_of_range_are_refused(samples: list[float], correct: list[float]) -> None:
    with pytest.raises(DataError, match="counts of right answers"):
        avg_at_k(samples, correct)


def test_pass_at_k_needs_k_answers_of_every_item() -> None:
    with pytest.raises(DataError, match="pass@3"):
        pass_at_k([4, 2], [1, 1], 3)


def test_mean_error_by_hand() -> None:
    """0, 0, 1, 1: variance 1/3, so se = sqrt(1/12); in two clusters {0, 0}, {1, 1}: sums -1 and 1, sqrt(2 * 2) / 4."""
    x = np.array([0.0, 0, 1, 1])
    mean, error, freedom = mean_error(x)
    assert (float(mean), float(error), freedom) == (0.5, pytest.approx(math.sqrt(1 / 12)), 3)
    mean, error, freedom = mean_error(x, np.array([0, 0, 1, 1]))
    assert (float(mean), float(error), freedom) == (0.5, pytest.approx(0.5), 1)
    mean, error, freedom = mean_error(x, np.array([0, 1, 0, 1]))
    assert float(error) == 0  # the clusters are alike


def test_clusters_of_one_are_no_clusters() -> None:
    x = np.random.default_rng(0).random((5, 9))
    alone = np.random.default_rng(1).permutation(9)
    np.testing.assert_allclose(mean_error(x)[1], mean_error(x, alone)[1])


@pytest.mark.parametrize("clusters", [[0, 2, 2], [1, 1, 2], [0, 1]])
def test_clusters_that_do_not_fit_are_refused(clusters: list[int]) -> None:
    with pytest.raises(DataError, match="clusters do not fit"):
        mean_error(np.ones(3), np.array(clusters))


def test_t_interval_and_test_by_table() -> None:
    """t(.975, 3) = 3.1824; and P(|T_3| > 3.1824) = .05."""
    low, high = t_interval(0.5, 0.1, 3)
    assert (float(low), float(high)) == (pytest.approx(0.18176, abs=1e-5), pytest.approx(0.81824, abs=1e-5))
    assert t_test(0.31824, 0.1, 3) == pytest.approx(0.05, abs=1e-5)
    assert t_test(0.3, 0.0, 3) == t_test(0.3, 0.1, 0) == t_test(0.3, math.nan, 3) == 1
    assert float(t_interval(0.5, math.nan, 0)[1]) == math.inf


def test_wilson_by_newcombes_table() -> None:
    """81 of 263 (Newcombe 1998, table I, method 3): .2553 to .3662."""
    low, high = wilson(81, 263)
    assert (float(low), float(high)) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))


def test_bonett_price_by_hand() -> None:
    """b = 20, c = 10, n = 100: 21/102 - 11/102 = .09804, se = sqrt((32/102 - .09804^2) / 102) = .05460."""
    low, high = bonett_price(20, 10, 100)
    assert (float(low), float(high)) == (pytest.approx(-0.00898, abs=1e-4), pytest.approx(0.20506, abs=1e-4))
    low, high = bonett_price(0, 0, 30)
    assert float(high) == -float(low) == pytest.approx(1.96 * math.sqrt(2) / 32, abs=1e-4)


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [
        (9, 2, 2 * (1 + 11 + 55) / 2**11),
        (2, 9, 2 * (1 + 11 + 55) / 2**11),
        (5, 0, 2 / 2**5),
        (3, 3, 1.0),
        (0, 0, 1.0),
        (4, 3, 1.0),
    ],
)
def test_mcnemar_by_hand(gained: int, lost: int, p: float) -> None:
    assert mcnemar(gained, lost) == pytest.approx(p)


def test_mcnemar_refuses_negative_counts() -> None:
    with pytest.raises(DataError, match="negative"):
        mcnemar(-1, 2)


@given(st.lists(st.integers(-6, 6), min_size=1, max_size=9))
@settings(max_examples=60)
def test_sign_flips_equal_all_flips_one_by_one(d: list[int]) -> None:
    sums = [
        abs(sum(s * x for s, x in zip(signs, d, strict=True))) for signs in itertools.product((-1, 1), repeat=len(d))
    ]
    assert sign_flips(d) == pytest.approx(np.mean([s >= abs(sum(d)) for s in sums]), abs=1e-12)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 5))
def test_sign_flips_of_single_answers_are_mcnemar(gained: int, lost: int, same: int) -> None:
    assert sign_flips([1] * gained + [-1] * lost + [0] * same + [0]) == pytest.approx(mcnemar(gained, lost), rel=1e-9)


def test_sign_flips_do_not_mind_the_unit_and_refuse_what_is_not_whole() -> None:
    assert sign_flips([10, 20, -5]) == sign_flips([2, 4, -1])
    with pytest.raises(DataError, match="whole numbers"):
        sign_flips([0.5, 1.0])
    with pytest.raises(DataError, match="too fine"):
        sign_flips([3_000_001, 2_000_000])


def test_sign_flips_agree_with_scipys_permutation_test() -> None:
    from scipy.stats import permutation_test

    d = np.random.default_rng(3).integers(-8, 12, 12)
    found = permutation_test(
        (d, np.zeros_like(d)),
        lambda x, y, axis: (x - y).sum(axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
    )
    # scipy doubles the smaller tail; the distribution is symmetric
    assert sign_flips(d) == pytest.approx(found.pvalue, abs=1e-12)


def test_holm_by_hand() -> None:
    """.005 * 4, .01 * 3, then .03 * 2 = .06 and .04 * 1, which may not be smaller."""
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.01, math.nan, 0.6]), [0.02, math.nan, 0.6])
    assert holm([0.9, 0.8]).tolist() == [1, 1]
    assert holm([]).tolist() == []
    with pytest.raises(DataError, match="p-values"):
        holm([1.2])


def test_runs_by_hand() -> None:
    """Two runs on two items: shares [[0, 1], [1, 1]].

    Means of items 1/2 and 1, so V_items = (1/4)^2; means of runs 1/2 and 1, their variance 1/8, over 2 runs 1/16;
    residuals -+1/4: mean square 1/4, over 2 runs and 2 items 1/16. se^2 = 1/16; each part has one degree of freedom:
    (1/16)^2 / (3 (1/16)^2) = 1/3, raised to 1.
    """
    mean, error, freedom = crossed_error(np.array([[0.0, 1], [1, 1]]))
    assert (float(mean), float(error), float(freedom)) == (0.75, pytest.approx(0.25), 1)


def test_one_run_of_each_is_the_paired_t() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((1, 20)), rng.random((1, 20))
    mean, error, freedom = crossed_error(a, b)
    expected = mean_error((a - b)[0])
    assert (float(mean), float(error), float(freedom)) == tuple(map(float, expected))


def test_runs_that_differ_widen_the_interval_and_a_lone_run_borrows_from_the_others() -> None:
    item = np.linspace(0, 0.5, 40)
    apart, alike = item + np.array([[0.0], [0.2], [0.4]]), item + np.array([[0.2], [0.2], [0.2]])
    assert crossed_error(apart, alike)[1] > 10 * crossed_error(alike, alike)[1]
    # runs: variance .04, of which the lone run has its share 1 and the three theirs 1/3
    _, error, freedom = crossed_error(apart, item[None])
    assert float(error) == pytest.approx(math.sqrt(0.04 * (1 + 1 / 3)))
    assert float(freedom) == pytest.approx(2)


def test_runs_on_other_items_are_refused() -> None:
    with pytest.raises(DataError, match="different items"):
        crossed_error(np.ones((1, 3)), np.ones((1, 4)))


def test_power_of_the_paired_t_as_published() -> None:
    """Effect .5, two-sided .05: 34 pairs give .8078 (Faul et al. 2007; G*Power's manual), 33 are not enough."""
    noise = Noise(1.0, 0.0)
    assert power(noise, 0.5, 34) == pytest.approx(0.8078, abs=5e-4)
    assert items_needed(noise, 0.5) == 34


@pytest.mark.parametrize("items", [2, 5, 30, 500])
@pytest.mark.parametrize("shift", [0.0, 0.7, 2.0, 4.0])
def test_power_is_the_noncentral_ts(items: int, shift: float) -> None:
    from scipy.stats import nct, t

    limit = t.ppf(0.975, items - 1)
    expected = nct.sf(limit, items - 1, shift) + nct.cdf(-limit, items - 1, shift) if shift else 0.05
    assert power(Noise(1.0, 0.0), shift / math.sqrt(items), items) == pytest.approx(expected, abs=2e-6)


def test_noise_by_hand() -> None:
    """Two items, 2 answers each: shares 1 and 1/2 against 0 and 1/2, so d = 1, 0 with variance 1/2.

    One answer varies by 0 and 1/2 on the items of the one, 0 and 1/2 of the other: within = 1/2, between = 1/2 - 1/4.
    """
    noise = Noise.measured([2, 2], [2, 1], [0, 1])
    assert (noise.between, noise.within, noise.split) == (pytest.approx(0.25), pytest.approx(0.5), True)
    assert noise.error(10, 5) == pytest.approx(math.sqrt((0.25 + 0.5 / 5) / 10))


def test_noise_of_single_answers_does_not_claim_to_know_what_more_would_do() -> None:
    noise = Noise.measured([1, 1, 1], [1, 0, 1], [0, 0, 1])
    assert not noise.split
    assert noise.between == pytest.approx(1 / 3)
    with pytest.raises(ConfigError, match="more samples"):
        samples_needed(noise, 30)
    assert plan(noise, 30, 1).samples is None


def test_assumed_noise_by_hand() -> None:
    """p = .5 twice: v = 1/4 each; icc .6, r .8: between = .6 * (.5 - 2 * .8 * .25), within = .4 * .5."""
    noise = Noise.assumed(0.5, 0.5, icc=0.6, correlation=0.8)
    assert (noise.between, noise.within) == (pytest.approx(0.06), pytest.approx(0.2))
    with pytest.raises(ConfigError, match="icc"):
        Noise.assumed(0.5, 0.5, icc=2)


def test_planning_is_consistent() -> None:
    noise = Noise(0.02, 0.3)
    n = items_needed(noise, 0.02, 4)
    assert n is not None
    assert power(noise, 0.02, n, 4) >= 0.8 > power(noise, 0.02, n - 1, 4)
    k = samples_needed(noise, 1000, 0.02)
    assert k is not None
    assert power(noise, 0.02, 1000, k) >= 0.8 > power(noise, 0.02, 1000, k - 1)
    assert samples_needed(noise, 30, 0.02) is None  # sqrt(.02 / 30) alone is 2.6 points
    shown = gain_shown(noise, 30, 32)
    assert power(noise, shown, 30, 32) == pytest.approx(0.8, abs=1e-3)
    assert gain_shown(Noise(50.0, 0.0), 3) == 1
    assert math.isnan(gain_shown(noise, 1))


def test_a_plan_without_a_gain_is_refused() -> None:
    with pytest.raises(ConfigError, match="a gain and a power"):
        plan(Noise(0.1, 0.1), 30, 4, gain=0.0)
