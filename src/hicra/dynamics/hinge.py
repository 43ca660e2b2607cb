"""Change points of a noisy, autocorrelated series: continuous piecewise-linear regression, knots by exhaustive search.

    y_s = a + b s + sum_j c_j max(0, s - tau_j) + e_s          e_s = rho e_{s-1} + innovation,  0, 1 or 2 knots tau_j

Curves of training bend; they do not jump, and neighbouring steps err together. A segmentation into constant pieces with
independent noise (PELT with a BIC penalty, the usual tool) sees a change point in every slow drift. So the number of
knots is decided by tests: going from k knots to k + 1 is accepted where

    F = (RSS_k - RSS_{k+1}) / RSS_{k+1},    each minimised over all places of the knots,

is larger than in 95 % of series simulated from the fit with k knots and AR(1) noise (Andrews 1993 and Bai and Perron
1998 for the statistic; the bootstrap gives its distribution, which has no usual table under autocorrelation). rho is
estimated on the residuals of the larger model and freed of its downward bias, (q + (q + 2) rho) / S for q parameters
(Kendall 1954, Marriott and Pope 1954), plus a standard error, since too small a rho makes phases out of noise.
Intervals of knots, slopes and changes are percentiles over series simulated from the accepted fit. Series of more than
`MAX_POINTS` steps are averaged into as many bins first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from hicra.dynamics.series import Floats, Ints
from hicra.errors import DataError

MAX_POINTS = 80
MIN_POINTS = 12
MAX_KNOTS = 2
SIMULATIONS = 399
LEVEL = 0.05
MAX_RHO = 0.97


@dataclass(frozen=True, slots=True, eq=False)
class Bent:
    """A fitted broken line; k knots part it into k + 1 segments.

    Attributes:
        steps: (P,) where the points lie (means of the steps of a bin).
        fitted: (P,) the line.
        knots, knots_low, knots_high: (k,) training steps, and their 95 % intervals.
        ends: (k+2,) the first step, the knots and the last step.
        changes, changes_low, changes_high: (k+2, k+2) change of the line from one of these to another, and intervals.
        slopes, slopes_low, slopes_high: (k+1,) change a step in each segment, and intervals.
        p_values: of the tests for one more knot, in order; the last may be the one that was refused.
        rho: autocorrelation of the noise, a bin to the next.
        sigma: standard deviation of the noise of a bin.
    """

    steps: Floats
    fitted: Floats
    knots: Floats
    knots_low: Floats
    knots_high: Floats
    ends: Floats
    changes: Floats
    changes_low: Floats
    changes_high: Floats
    slopes: Floats
    slopes_low: Floats
    slopes_high: Floats
    p_values: Floats
    rho: float
    sigma: float


def bend(
    steps: npt.ArrayLike, values: npt.ArrayLike, *, max_knots: int = MAX_KNOTS, level: float = LEVEL, seed: int = 0
) -> Bent | None:
    """Fit a broken line with as many knots as the noise allows to see.

    Args:
        steps: (S,) ascending.
        values: (S,) NaN where a step has none (left out).
        max_knots: 0, 1 or 2.
        level: of each test for one more knot.
        seed: of the simulations.

    Returns:
        The fit; None where fewer than `MIN_POINTS` steps have a value.

    Raises:
        DataError: arrays of different lengths, or steps that do not ascend.
    """
    found = _choose(steps, values, max_knots, level, seed)
    if found is None:
        return None
    x, k = found.x, found.k
    ends = np.concatenate([[0], found.places, [len(x) - 1]])
    # changes between the same points in every simulated series: knots wander, and segments with them
    changes, low, high = found.changes(ends)
    knots_low, knots_high = np.quantile(x[found.drawn_places], (0.025, 0.975), axis=0)
    segment, width = np.arange(k + 1), np.diff(x[ends])
    slopes, slopes_low, slopes_high = (c[segment, segment + 1] / width for c in (changes, low, high))
    return Bent(
        steps=x,
        fitted=found.fit.fitted,
        knots=x[found.places],
        knots_low=knots_low,
        knots_high=knots_high,
        ends=x[ends],
        changes=changes,
        changes_low=low,
        changes_high=high,
        slopes=slopes,
        slopes_low=slopes_low,
        slopes_high=slopes_high,
        p_values=np.array(found.p_values),
        rho=found.fit.rho,
        sigma=found.fit.sigma,
    )


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a fitted line and its 95 % interval."""

    value: float
    low: float
    high: float


def change_since(steps: npt.ArrayLike, values: npt.ArrayLike, since: float, *, seed: int = 0) -> Change | None:
    """How far the fitted line of a series has come from a step to the last one; None for too few steps.

    Args:
        steps, values: as for `bend`.
        since: training step; the nearest point of the line counts.
        seed: of the simulations.
    """
    found = _choose(steps, values, MAX_KNOTS, LEVEL, seed)
    if found is None:
        return None
    start = int(np.abs(found.x - since).argmin())
    value, low, high = (float(c[0, 1]) for c in found.changes(np.array([start, len(found.x) - 1])))
    return Change(value, low, high)


@dataclass(frozen=True, slots=True, eq=False)
class _Chosen:
    """A fit with as many knots as can be seen, and what it looks like on simulated series."""

    x: Floats
    k: int
    fit: _Fit
    places: Ints
    drawn_places: Ints
    drawn_lines: Floats
    p_values: list[float]

    def changes(self, points: Ints) -> tuple[Floats, Floats, Floats]:
        """(J, J) change of the line from one point to another, and the ends of its interval."""
        heights, drawn = self.fit.fitted[points], self.drawn_lines[:, points]
        low, high = np.quantile(drawn[:, None, :] - drawn[:, :, None], (0.025, 0.975), axis=0)
        return heights[None, :] - heights[:, None], low, high


def _choose(steps: npt.ArrayLike, values: npt.ArrayLike, max_knots: int, level: float, seed: int) -> _Chosen | None:
    x, y = np.asarray(steps, np.float64), np.asarray(values, np.float64)
    if x.shape != y.shape or x.ndim != 1 or (np.diff(x) <= 0).any():
        raise DataError("steps and values do not go together", expected="(S,) each, steps ascending", got=str(x.shape))
    x, y = _binned(x[np.isfinite(y)], y[np.isfinite(y)])
    if len(x) < MIN_POINTS:
        return None
    grid = tuple(((x - x[0]) / (x[-1] - x[0])).tolist())
    rng = np.random.default_rng([seed, 57])
    p_values: list[float] = []
    k = 0
    while k < max_knots and len(_candidates(grid, k + 1)):
        smaller, larger = _Fit.of(grid, y, k), _Fit.of(grid, y, k + 1)
        if larger.rss <= 1e-20 * max(1e-300, float(np.square(y - y.mean()).sum())):
            simulated = np.zeros(SIMULATIONS)  # an exact fit: nothing is left to chance
        else:
            drawn = smaller.fitted[:, None] + larger.noise(SIMULATIONS, rng)
            simulated = _gain(_best(grid, k, drawn)[1], _best(grid, k + 1, drawn)[1])
        seen = float(_gain(np.array([smaller.rss]), np.array([larger.rss]))[0])
        p_values.append((1 + float((simulated >= seen).sum())) / (1 + SIMULATIONS))
        if p_values[-1] > level:
            break
        k += 1
    fit = _Fit.of(grid, y, k)
    places, _ = _knots(grid, k, y[:, None])
    drawn_places, drawn_lines = _knots(grid, k, fit.fitted[:, None] + fit.noise(SIMULATIONS, rng))
    return _Chosen(x, k, fit, places[0], drawn_places, drawn_lines, p_values)


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    fitted: Floats
    rss: float
    rho: float
    innovation: float
    sigma: float

    @classmethod
    def of(cls, grid: tuple[float, ...], y: Floats, k: int) -> _Fit:
        at, rss = _best(grid, k, y[:, None])
        q = _bases(grid, k)[int(at[0])]
        fitted = q @ (q.T @ y)
        e = y - fitted
        n, parameters = len(y), 2 + 2 * k  # a knot costs its place and its slope
        scale = float(e[:-1] @ e[:-1])
        raw = float(e[1:] @ e[:-1]) / scale if scale > 0 else 0.0
        freed = max(0.0, raw + (parameters + (parameters + 2) * max(0.0, raw)) / n)
        rho = min(MAX_RHO, freed + float(np.sqrt(max(0.0, 1 - freed * freed) / n)))
        innovations = e[1:] - rho * e[:-1]
        innovation = float(np.sqrt(innovations @ innovations / max(1, n - 1 - parameters)))
        return cls(fitted, float(rss[0]), rho, innovation, innovation / float(np.sqrt(1 - rho * rho)))

    def noise(self, number: int, rng: np.random.Generator) -> Floats:
        """(P, number) stationary AR(1) series."""
        out = rng.standard_normal((len(self.fitted), number)) * self.innovation
        out[0] /= np.sqrt(1 - self.rho * self.rho)
        for i in range(1, len(out)):
            out[i] += self.rho * out[i - 1]
        return out


def _gain(smaller: Floats, larger: Floats) -> Floats:
    return (smaller - larger) / np.maximum(larger, 1e-300)


def _binned(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    if len(x) <= MAX_POINTS:
        return x, y
    at = np.arange(len(x)) * MAX_POINTS // len(x)
    number = np.bincount(at)
    return np.bincount(at, x) / number, np.bincount(at, y) / number


@lru_cache(maxsize=64)
def _candidates(grid: tuple[float, ...], k: int) -> Ints:
    """(J, k) places of the knots: a twelfth of the points, and at least three, on each side of each."""
    n = len(grid)
    edge = max(3, n // 12)
    inner = np.arange(edge, n - edge)
    if k == 0:
        return np.zeros((1, 0), np.int64)
    if k == 1:
        return inner[:, None].astype(np.int64)
    i, j = np.triu_indices(len(inner), k=edge)
    return np.stack([inner[i], inner[j]], axis=1).astype(np.int64)


@lru_cache(maxsize=8)
def _bases(grid: tuple[float, ...], k: int) -> Floats:
    """(J, P, 2 + k) orthonormal bases of the broken lines with knots at each of the candidates."""
    x = np.array(grid)
    knots = x[_candidates(grid, k)]
    design = np.empty((len(knots), len(x), 2 + k))
    design[:, :, 0], design[:, :, 1] = 1.0, x
    for j in range(k):
        design[:, :, 2 + j] = np.maximum(0.0, x[None, :] - knots[:, j, None])
    q: Floats = np.linalg.qr(design)[0]
    return q


def _best(grid: tuple[float, ...], k: int, y: Floats) -> tuple[Ints, Floats]:
    """For each column of y (P, R): the best candidate and its residual sum of squares."""
    q = _bases(grid, k)
    centred = y - y.mean(axis=0)
    projected = np.square(q.transpose(0, 2, 1).reshape(-1, len(grid)) @ centred)
    explained = projected.reshape(len(q), q.shape[2], -1).sum(axis=1)
    at = explained.argmax(axis=0)
    rss = np.square(centred).sum(axis=0) - explained[at, np.arange(y.shape[1])]
    return at, np.maximum(rss, 0.0)


def _knots(grid: tuple[float, ...], k: int, y: Floats) -> tuple[Ints, Floats]:
    """Places of the knots (R, k) and the lines (R, P) of the best fit to each column."""
    at, _ = _best(grid, k, y)
    q = _bases(grid, k)[at]
    return _candidates(grid, k)[at], np.einsum("rpc,rc->rp", q, np.einsum("rpc,pr->rc", q, y))
