"""Intervals and words of the report, against worked numbers and simulated truth."""

from __future__ import annotations

import numpy as np
import pytest

from hicra.dynamics.intervals import jackknife_error, student_t975
from hicra.report.draw import spread
from hicra.report.stats import (
    Estimate,
    Interval,
    band,
    difference,
    draw_prompts,
    ratio,
    smooth,
    welch,
    wilson,
    window_mean,
)
from hicra.report.style import DARK, LIGHT, visible
from hicra.report.words import change_text, interval_text, value_text


def test_wilson_against_worked_numbers() -> None:
    """81 of 263 (Newcombe 1998, table I, method 3): .2553 to .3662."""
    found = wilson(81 / 263, 263)
    assert found.low == pytest.approx(0.2553, abs=5e-5)
    assert found.high == pytest.approx(0.3662, abs=5e-5)


def test_wilson_stays_within_zero_and_one() -> None:
    assert wilson(0.0, 20).low == 0
    assert wilson(0.0, 20).high == pytest.approx(0.1611, abs=5e-4)
    assert wilson(1.0, 20).high == 1


def test_difference_of_shares_is_newcombes() -> None:
    """56/70 against 48/80 (Newcombe 1998, table II, method 10): .0524 to .3339."""
    found = difference(wilson(56 / 70, 70), wilson(48 / 80, 80))
    assert found.value == pytest.approx(0.2)
    assert found.low == pytest.approx(0.0524, abs=5e-5)
    assert found.high == pytest.approx(0.3339, abs=5e-5)
    assert found.clear


def test_difference_without_noise_is_never_clear() -> None:
    assert not difference(Interval(0.9), wilson(0.1, 100)).clear


@pytest.mark.parametrize(("freedom", "quantile"), [(1, 12.706), (2, 4.303), (5, 2.571), (9, 2.262), (30, 2.042)])
def test_students_t(freedom: int, quantile: float) -> None:
    assert student_t975(freedom) == pytest.approx(quantile, rel=0.003)


def test_welch_worked_by_hand() -> None:
    """Means 2 and 5, variances 1 and 4 of three each: se = sqrt(5/3), 2.94 degrees of freedom, so t of 2."""
    found = welch(np.array([1.0, 2.0, 3.0]), np.array([3.0, 5.0, 7.0]))
    assert found.value == -3
    assert found.low == pytest.approx(-3 - 4.303 * np.sqrt(5 / 3))


def test_ratio_is_of_sums_and_its_bootstrap_covers_whole_prompts() -> None:
    """Prompts in which all completions agree: the noise is that of prompts, not that of completions."""
    rng = np.random.default_rng(0)
    n, group = 400, 8
    rewards = group * rng.integers(0, 2, n).astype(float)
    step_of = np.zeros(n, np.int64)
    found = ratio(rewards, np.full(n, float(group)), step_of, draw_prompts(np.array([n]), rng))
    assert found.value[0] == rewards.sum() / (n * group)
    assert found.replicates is not None
    assert found.replicates[:, 0].std() == pytest.approx(0.5 / np.sqrt(n), rel=0.15)


def test_ratio_leaves_out_what_is_missing() -> None:
    top, bottom = np.array([1.0, np.nan, 5.0, np.nan]), np.array([2.0, 9.0, 5.0, 1.0])
    found = ratio(top, bottom, np.array([0, 0, 0, 1]), draw_prompts(np.array([3, 1]), np.random.default_rng(0)))
    assert found.value[0] == pytest.approx(6 / 7)
    assert np.isnan(found.value[1])


def test_one_prompt_has_no_band() -> None:
    draws = draw_prompts(np.array([1]), np.random.default_rng(0))
    found = ratio(np.array([1.0]), np.array([2.0]), np.zeros(1, np.int64), draws)
    assert found.value.tolist() == [0.5]
    low, high = band(found.replicates)  # type: ignore[arg-type]
    assert np.isnan(low).all()
    assert np.isnan(high).all()
    assert window_mean(found, slice(None)) == (0.5, None)


def test_jackknife_of_a_mean_is_its_standard_error() -> None:
    x = np.random.default_rng(1).normal(size=30)
    left_out = np.array([np.delete(x, i).mean() for i in range(30)])
    assert jackknife_error(left_out) == pytest.approx(x.std(ddof=1) / np.sqrt(30))


def test_smooth_is_a_centred_mean_without_the_missing() -> None:
    assert smooth(np.array([1.0, 2.0, np.nan, 4.0, 9.0]), 3).tolist() == [1.5, 1.5, 3.0, 6.5, 6.5]
    assert smooth(np.array([1.0, 5.0]), 1).tolist() == [1.0, 5.0]


def test_window_mean_without_replicates() -> None:
    assert window_mean(Estimate(np.array([1.0, np.nan, 3.0])), slice(None)) == (2.0, None)


def test_words_for_numbers() -> None:
    assert value_text(0.5, "share").replace("\xa0", " ") == "50.0 %"
    assert value_text(float("nan"), "bits") == "–"
    assert change_text(-0.021, "share").replace("\xa0", " ") == "−2.1 points"
    assert interval_text(Interval(0.1), "bits").replace("\xa0", " ") == "+0.10 bits"
    text = interval_text(Interval(0.1, -0.05, 0.25), "bits").replace("\xa0", " ")
    assert text == "+0.10 bits, 95 % interval −0.050 to +0.25"


def test_labels_are_spread_and_stay_inside() -> None:
    wanted = [100, 101, 102, 3, 0, 205]
    found = spread(wanted, 14, 0, 206)
    assert np.diff(np.sort(found)).min() >= 14 - 1e-6
    assert min(found) >= 0
    assert max(found) <= 206
    assert np.argsort(found, kind="stable").tolist() == np.argsort(wanted, kind="stable").tolist()
    assert spread([5.0], 14, 0, 10) == [5.0]


def test_more_labels_than_fit_are_squeezed() -> None:
    found = spread([50.0] * 30, 14, 0, 206)
    assert min(found) >= -1e-6
    assert max(found) <= 206 + 1e-6


def test_control_characters_are_shown_by_number() -> None:
    assert visible("a\u202eb\x00c\ud800") == "a‹U+202E›b‹U+0000›c‹U+D800›"
    assert visible("a\nb", keep="\n") == "a\nb"
    assert visible("abcdef", 4) == "abc…"


def test_every_colour_of_the_light_theme_is_unique_and_both_themes_know_the_same_roles() -> None:
    assert len(set(LIGHT.values())) == len(LIGHT)
    assert list(LIGHT) == list(DARK)


def _contrast(a: str, b: str) -> float:
    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_text_colours_are_legible(palette: dict[str, str]) -> None:
    """WCAG AA: 4.5 for text, 3 for lines and bold labels."""
    for role in ("ink", "soft"):
        assert _contrast(palette[role], palette["paper"]) >= 4.5
        assert _contrast(palette[role], palette["card"]) >= 4.5
    for role in palette:
        if role.startswith("run") or role == "baseline":
            assert _contrast(palette[role], palette["paper"]) >= 3, role
