"""Estimates with their noise: bootstrap over prompts, Wilson and Newcombe intervals, Welch's over seeds.

    bootstrap       a step's prompts are drawn again with replacement, whole groups at a time (completions of one
                    prompt are not independent); a statistic is a ratio of sums over the drawn prompts
    Newcombe (1998) difference of two shares from their Wilson intervals (hybrid score, method 10)

The jackknife for entropies, Wilson's formula and Student's t are in `hicra.dynamics.intervals`. All intervals are 95 %.
They are for a mean over a window of steps, since the noise of single steps hides every trend.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hicra.dynamics import intervals

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

REPLICATES = 300


@dataclass(frozen=True, slots=True)
class Estimate:
    """One number for each of S steps, and what it might have been.

    Attributes:
        value: (S,) the estimate.
        replicates: (R, S) the estimate on resampled prompts, or None where noise is unknown.
    """

    value: Floats
    replicates: Floats | None = None


@dataclass(frozen=True, slots=True)
class Interval:
    """A number and its 95 % interval; `low` and `high` are None where noise is unknown."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def clear(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def draw_prompts(counts: Ints, rng: np.random.Generator) -> list[Floats | None]:
    """For each step, (REPLICATES, n) how often each of its n prompts is drawn; None for a step of one prompt."""
    out: list[Floats | None] = []
    for n in counts.tolist():
        out.append(rng.multinomial(n, np.full(n, 1 / n), REPLICATES).astype(np.float64) if n > 1 else None)
    return out


def ratio(top: Floats, bottom: Floats, step_of: Ints, draws: list[Floats | None]) -> Estimate:
    """sum(top) / sum(bottom) of each step, with bootstrap replicates.

    Args:
        top, bottom: (M,) sums of each prompt; NaN where a prompt has none (it is left out).
        step_of: (M,) which step each prompt belongs to, ascending 0..S-1.
        draws: what `draw_prompts` gave.
    """
    bounds = np.searchsorted(step_of, np.arange(len(draws) + 1))
    value = np.full(len(draws), np.nan)
    replicates = np.full((REPLICATES, len(draws)), np.nan)
    for s, weights in enumerate(draws):
        a, b = top[bounds[s] : bounds[s + 1]], bottom[bounds[s] : bounds[s + 1]]
        known = np.isfinite(a) & np.isfinite(b)
        a, b = np.where(known, a, 0.0), np.where(known, b, 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            value[s] = np.nan if b.sum() == 0 else a.sum() / b.sum()
            if weights is not None:
                drawn = (weights @ a) / (weights @ b)
                replicates[:, s] = np.where(np.isfinite(drawn), drawn, value[s])
    return Estimate(value, replicates)


def with_standard_error(value: Floats, error: Floats, rng: np.random.Generator) -> Estimate:
    """Normal replicates around `value`: how a jackknife's standard error joins the common machinery."""
    return Estimate(value, value + error * rng.standard_normal((REPLICATES, len(value))))


def smooth(values: Floats, width: int) -> Floats:
    """Centred mean over `width` steps (odd; shorter at the ends) along the last axis; NaNs are left out."""
    if width <= 1:
        return values
    known = np.isfinite(values)
    pad = [(0, 0)] * (values.ndim - 1) + [(width // 2 + 1, width // 2)]
    total = np.cumsum(np.pad(np.where(known, values, 0.0), pad), axis=-1)
    number = np.cumsum(np.pad(known.astype(np.float64), pad), axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        out: Floats = (total[..., width:] - total[..., :-width]) / (number[..., width:] - number[..., :-width])
    return out


def band(replicates: Floats) -> tuple[Floats, Floats]:
    """(S,) 2.5 % and 97.5 % quantiles; NaN where a step has no replicates."""
    low, high = np.full((2, replicates.shape[1]), np.nan)
    known = np.isfinite(replicates).all(axis=0)
    if known.any():
        low[known], high[known] = np.quantile(replicates[:, known], (0.025, 0.975), axis=0)
    return low, high


def window_mean(estimate: Estimate, steps: slice | Ints) -> tuple[float, Floats | None]:
    """Mean over a window of steps, and its replicates (None where any step in it has none)."""
    value = estimate.value[steps]
    known = np.isfinite(value)
    if not known.any():
        return float("nan"), None
    if estimate.replicates is None:
        return float(value[known].mean()), None
    replicates = estimate.replicates[:, steps][:, known].mean(axis=1)
    return float(value[known].mean()), replicates if np.isfinite(replicates).all() else None


def interval(value: float, replicates: Floats | None) -> Interval:
    """The value with the 2.5 % and 97.5 % quantiles of its replicates."""
    if replicates is None:
        return Interval(value)
    low, high = np.quantile(replicates, (0.025, 0.975))
    return Interval(value, float(low), float(high))


def wilson(share: float, n: float) -> Interval:
    """Wilson's score interval of `share` of `n` independent trials.

    >>> i = wilson(0.5, 100); round(i.low, 3), round(i.high, 3)
    (0.404, 0.596)
    """
    return Interval(share, *intervals.wilson(share * n, n))


def difference(after: Interval, before: Interval) -> Interval:
    """after - before of two independent estimates, from their intervals (Newcombe's where these are Wilson's)."""
    value = after.value - before.value
    if after.low is None or after.high is None or before.low is None or before.high is None:
        return Interval(value)
    low = value - float(np.hypot(after.value - after.low, before.high - before.value))
    high = value + float(np.hypot(after.high - after.value, before.value - before.low))
    return Interval(value, low, high)


def welch(after: Floats, before: Floats) -> Interval:
    """Difference of the means of two samples of runs (two or more each) with Welch's t interval over seeds."""
    value = float(after.mean() - before.mean())
    a, b = float(after.var(ddof=1)) / len(after), float(before.var(ddof=1)) / len(before)
    if a + b == 0:
        return Interval(value, value, value)
    freedom = (a + b) ** 2 / (a * a / (len(after) - 1) + b * b / (len(before) - 1))
    half = intervals.student_t975(freedom) * float(np.sqrt(a + b))
    return Interval(value, value - half, value + half)
