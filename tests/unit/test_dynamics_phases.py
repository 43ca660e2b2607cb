"""Phases: planted knots are found within their intervals, and flat or straight series have none, at a measured rate."""

from __future__ import annotations

import numpy as np
import pytest

from hicra.dynamics.alarms import find_alarms
from hicra.dynamics.gauge import competence
from hicra.dynamics.hinge import bend
from hicra.dynamics.phases import phases
from hicra.dynamics.series import Series
from hicra.dynamics.spread import entropy_series, step_counts
from hicra.dynamics.tokens import token_series
from hicra.errors import ConfigError, DataError
from tests.planted import GRAMS, World, bent, completions

X = np.arange(1, 61)


def correlated(n: int, rho: float, seed: int) -> np.ndarray:
    """Stationary AR(1) noise of variance 1."""
    rng = np.random.default_rng([seed, n])
    e = rng.standard_normal(n) * np.sqrt(1 - rho**2)
    e[0] = rng.standard_normal()
    for i in range(1, n):
        e[i] += rho * e[i - 1]
    return e


def series(y: np.ndarray) -> Series:
    return Series.bare(np.arange(1, len(y) + 1), y)


# --- broken lines ------------------------------------------------------------------------------------------------


def test_a_broken_line_without_noise_is_found_exactly() -> None:
    y = 5 - 0.1 * np.minimum(X, 21)
    found = bend(X, y)
    assert found is not None
    assert found.knots.tolist() == pytest.approx([21.0])
    assert found.slopes.tolist() == pytest.approx([-0.1, 0.0], abs=1e-6)
    assert found.ends.tolist() == [1.0, 21.0, 60.0]
    assert found.changes[0].tolist() == pytest.approx([0.0, -2.0, -2.0], abs=1e-6)
    assert found.fitted == pytest.approx(y)


def test_two_knots() -> None:
    y = np.interp(X, [1, 20, 40, 60], [0.0, -2.0, -2.0, 1.0]) + 0.1 * correlated(60, 0.3, 1)
    found = bend(X, y)
    assert found is not None
    assert len(found.knots) == 2
    assert found.knots == pytest.approx([20, 40], abs=4)
    assert (found.knots_low <= found.knots).all()
    assert (found.knots <= found.knots_high).all()
    assert found.slopes_high[0] < 0 < found.slopes_low[2]


@pytest.mark.parametrize("rho", [0.0, 0.5])
@pytest.mark.parametrize("slope", [0.0, 0.05])
def test_straight_series_have_a_knot_as_rarely_as_the_level_says(rho: float, slope: float) -> None:
    knots = [len(bend(X, slope * X + correlated(60, rho, seed), seed=seed).knots) for seed in range(80)]
    assert 0 <= sum(k > 0 for k in knots) <= 9  # 5 % of 80 are 4; above 9 with a chance of 1 %


def test_a_planted_knot_is_found_and_its_interval_covers_it() -> None:
    found = [
        bend(X, np.interp(X, [1, 25, 60], [3.0, 0.0, 0.0]) + 0.3 * correlated(60, 0.4, seed), seed=seed)
        for seed in range(40)
    ]
    seen = [f for f in found if len(f.knots) == 1]
    assert len(seen) >= 35
    assert sum(f.knots_low[0] <= 25 <= f.knots_high[0] for f in seen) >= 0.85 * len(seen)


def test_slopes_of_a_straight_line_are_covered() -> None:
    found = [bend(X, 0.02 * X + correlated(60, 0.3, seed), max_knots=0, seed=seed) for seed in range(60)]
    assert 50 <= sum(f.slopes_low[0] <= 0.02 <= f.slopes_high[0] for f in found) <= 60


def test_long_series_are_binned_and_short_ones_refused() -> None:
    x = np.arange(2000)
    found = bend(x, np.minimum(x, 700) * 0.01 + correlated(2000, 0.5, 0))
    assert found is not None
    assert len(found.steps) <= 80
    assert found.knots_low[0] <= 700 <= found.knots_high[0]
    assert bend(x[:11], x[:11]) is None
    assert bend(x[:40], np.full(40, np.nan)) is None
    with pytest.raises(DataError, match="go together"):
        bend([1, 1], [0.0, 0.0])


def test_constant_series_bend_nowhere() -> None:
    found = bend(X, np.ones(60))
    assert found is not None
    assert len(found.knots) == 0
    assert found.slopes[0] == pytest.approx(0.0)


# --- phases ------------------------------------------------------------------------------------------------------


def of_world(world: World, seed: int, steps: int = 60):
    found = completions(world, seed, steps)
    tokens, _ = token_series(found, seed=seed)
    nll = Series.bare(tokens["logprob_execution"].steps, -tokens["logprob_execution"].value)
    return phases(nll, entropy_series(step_counts(found, GRAMS))["rarefied"], seed=seed)


PHASES = World(nll=bent(0.8, 0.4, 0.0, 0.3), skew=bent(2.0, 0.6, 0.4, 1.0))


def test_planted_phases_are_found() -> None:
    seen = [of_world(PHASES, seed) for seed in range(12)]
    assert sum(p.first.seen and p.second.seen for p in seen) == 12
    ends = [p.first.end for p in seen if p.first.end is not None]
    assert len(ends) >= 11
    assert np.median(ends) == pytest.approx(1 + 0.3 * 59, abs=3)
    assert np.median([p.second.begin for p in seen]) == pytest.approx(1 + 0.4 * 59, abs=6)
    assert all(p.first.change_high < 0 < p.second.change_low for p in seen)
    assert "first phase from step 1 until step" in seen[0].first.says
    assert "second phase from step" in seen[0].second.says


def test_a_flat_run_has_no_phases() -> None:
    """The rate of false alarms, whatever kind: phases at 5 % or so each, alarms none."""
    first = second = alarms = 0
    for seed in range(30):
        found = completions(World(), 1000 + seed)
        tokens, _ = token_series(found, seed=seed)
        nll = Series.bare(tokens["logprob_execution"].steps, -tokens["logprob_execution"].value)
        p = phases(nll, entropy_series(step_counts(found, GRAMS))["rarefied"], seed=seed)
        first, second = first + p.first.seen, second + p.second.seen
        names = ("entropy", "length", "truncated", "no_signal", "planning_share", "reward")
        rows = [
            {"step": int(s), **{name: float(tokens[name].value[i]) for name in names}}
            for i, s in enumerate(found.steps)
        ]
        alarms += bool(find_alarms(rows))
    assert first <= 4
    assert second <= 4
    assert alarms == 0


def test_a_first_phase_that_never_ends_and_one_that_never_was() -> None:
    falling = phases(series(3 - 0.02 * X + 0.05 * correlated(60, 0.3, 0)), None).first
    assert falling.seen
    assert falling.end is None
    assert "it has not ended" in falling.says
    rising = phases(series(0.02 * X + 0.05 * correlated(60, 0.3, 0)), None).first
    assert not rising.seen
    assert "does not fall" in rising.says


def test_no_second_phase_seen_is_said_with_the_reason() -> None:
    falling = series(3 - 0.02 * X + 0.05 * correlated(60, 0.3, 0))
    assert phases(None, falling).second.says == (
        "no second phase seen: semantic entropy does not rise beyond its noise"
    )
    assert "the run has no semantic entropy" in phases(None, None).second.says
    assert "5 steps have semantic entropy" in phases(None, series(np.ones(5))).second.says


def test_a_rise_after_a_fall_says_where_it_stands() -> None:
    y = np.interp(X, [1, 30, 60], [3.0, 1.0, 2.0]) + 0.05 * correlated(60, 0.2, 0)
    found = phases(None, series(y)).second
    assert found.seen
    assert found.begin == pytest.approx(30, abs=3)
    assert found.change == pytest.approx(1.0, abs=0.15)
    assert "from where it began" in found.says


def test_what_else_happened_since_the_second_phase_began() -> None:
    rises = np.interp(X, [1, 30, 60], [2.0, 2.0, 3.0]) + 0.05 * correlated(60, 0.2, 0)
    others = {
        "length": series(np.interp(X, [1, 30, 60], [100.0, 100.0, 160.0]) + correlated(60, 0.2, 1)),
        "flat": series(0.5 + 0.05 * correlated(60, 0.2, 2)),
        "short": series(np.ones(4)),
    }
    found = phases(None, series(rises), others).alongside
    assert set(found) == {"length", "flat"}
    assert found["length"].low < 60 < found["length"].high
    assert found["length"].low > 50
    assert found["flat"].low < 0 < found["flat"].high
    assert phases(None, series(np.ones(60)), others).alongside == {}


# --- gauge -------------------------------------------------------------------------------------------------------


def test_gauge_follows_consolidation() -> None:
    s = np.arange(300)
    rng = np.random.default_rng(0)
    found = competence(0.2 + 0.6 * np.exp(-s / 40) + 0.005 * rng.standard_normal(300))
    assert (found[:15] < 0.3).all()
    # the share of the fall that is done, as it was some steps ago (half a window)
    done = 1 - np.exp(-(s - 6) / 40)
    assert found[25:120] == pytest.approx(done[25:120], abs=0.2)
    assert found[-40:].mean() > 0.95
    assert (found >= 0).all()
    assert (found <= 1).all()


def test_gauge_of_a_run_that_starts_competent_and_of_one_that_never_is() -> None:
    rng = np.random.default_rng(1)
    assert competence(0.3 + 0.02 * rng.standard_normal(200))[20:].mean() > 0.9
    still_falling = competence(3.0 - 0.02 * np.arange(120) + 0.01 * rng.standard_normal(120))
    assert still_falling[-40:].max() < 0.25


def test_gauge_does_not_look_ahead() -> None:
    rng = np.random.default_rng(2)
    nll = 0.2 + np.exp(-np.arange(80) / 20) + 0.02 * rng.standard_normal(80)
    nll[10] = np.nan
    whole = competence(nll)
    assert [competence(nll[: i + 1])[-1] for i in range(80)] == pytest.approx(whole.tolist())
    assert whole[10] == whole[9]
    assert competence([np.nan, 1.0]).tolist() == [0.0, 0.0]
    assert competence([]).tolist() == []
    with pytest.raises(ConfigError, match="window >= 3"):
        competence([1.0], window=2)


def test_gauge_by_hand() -> None:
    # slopes over three steps are half of the last value less the one before the last: -2, -1.5, -0.5, 0
    nll = [8.0, 6.0, 4.0, 3.0, 3.0, 3.0]
    squares = np.cumsum([0, 4, 4, 1, 0, 0])
    error = [0.0, 0.0] + [np.sqrt(squares[s] / (2 * s) * 12 / 24) for s in range(2, 6)]
    falls = [max(0.0, f - e) for f, e in zip([0, 0, 2, 1.5, 0.5, 0], error, strict=True)]
    expected = [0.0, 0.0, 0.0] + [1 - falls[s] / max(falls) for s in range(3, 6)]
    assert competence(nll, window=3, noise=0).tolist() == pytest.approx(expected)
