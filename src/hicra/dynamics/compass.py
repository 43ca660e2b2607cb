"""Exploration compasses: which quantity of training points to held-out accuracy.

Pass@k, unbiased (arXiv 2107.03374), from n samples of a prompt of which c are right:

    pass@k = 1 - C(n-c, k) / C(n, k)

Rank correlation of a compass x with accuracy y over the evaluations of a run: Spearman's rho, averages for ties. Both
series drift, so neighbouring points say much the same and the usual interval is far too narrow. It is taken with an
effective number of points (Pyper and Peterman 1998),

    1/n* = 1/n + (2/n) sum_{j=1}^{n/5} (n-j)/n r_xx(j) r_yy(j)          r(j): autocorrelation of the ranks at lag j

on Fisher's scale, z = atanh(rho) +- t / sqrt((n* - 3) / 1.06)  (Fieller, Hartley and Pearson 1957), |rho| no larger
than half a step below 1, a step being 12 / (n (n^2 - 1)), what the swap of two neighbours does to it. Several runs: rho
and z are averaged with weights n* - 3; the standard error is the larger of the one within runs and the one between
them. Two series that both rise correlate whatever they measure, so the correlation of their *changes* from one
evaluation to the next stands beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hicra.dynamics.intervals import Z, student_t975
from hicra.dynamics.series import Floats, Series
from hicra.errors import DataError


def pass_at_k(n: npt.ArrayLike, c: npt.ArrayLike, k: int) -> Floats:
    """Unbiased estimate of the chance that one of k samples is right, for each prompt.

    Args:
        n: (M,) samples of each prompt.
        c: (M,) how many of them are right.
        k: samples drawn.

    Returns:
        (M,); NaN where n < k.

    Raises:
        DataError: k below 1, or counts that are not 0 <= c <= n.
    """
    total, right = np.asarray(n, np.int64), np.asarray(c, np.int64)
    if k < 1 or total.shape != right.shape or (right < 0).any() or (right > total).any():
        raise DataError("pass@k: out of range", expected="k >= 1, 0 <= c <= n of one shape", got=f"k = {k}")
    i = np.arange(k)
    with np.errstate(invalid="ignore", divide="ignore"):
        # C(n-c, k) / C(n, k) = prod_i (n - c - i) / (n - i)
        factors = np.maximum(0, (total - right)[:, None] - i) / (total[:, None] - i)
    return np.where(total >= k, 1 - factors.prod(axis=1), np.nan)


@dataclass(frozen=True, slots=True)
class Correlation:
    """A rank correlation and its 95 % interval.

    Attributes:
        rho: Spearman's; NaN where a series is constant or there are fewer than 3 points.
        low, high: NaN where there are too few effective points to say.
        n: points, over all runs.
        effective: effective points, over all runs.
        runs: runs that count.
    """

    rho: float
    low: float
    high: float
    n: int
    effective: float
    runs: int


def rank_correlation(pairs: Sequence[tuple[npt.ArrayLike, npt.ArrayLike]]) -> Correlation:
    """Spearman's rho within runs, pooled over runs.

    Args:
        pairs: for each run (x, y), both (n,), in the order of steps; points with a NaN are left out.

    Raises:
        DataError: x and y of different lengths.
    """
    z, weight, rhos, n_all, n_effective, only = [], [], [], 0, 0.0, []
    for x, y in pairs:
        a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
        if a.shape != b.shape or a.ndim != 1:
            raise DataError(
                "a compass and accuracies differ in length", expected="(n,) each", got=f"{a.shape} {b.shape}"
            )
        known = np.isfinite(a) & np.isfinite(b)
        a, b = ranks(a[known]), ranks(b[known])
        rho = spearman(a, b)
        if not math.isfinite(rho):
            continue
        effective = effective_points(a, b)
        n_all, n_effective = n_all + len(a), n_effective + effective
        only.append((rho, len(a)))
        if effective > 3:
            largest = 1 - 6 / (len(a) * (len(a) ** 2 - 1))
            z.append(math.atanh(max(-largest, min(largest, rho))))
            weight.append(effective - 3)
            rhos.append(rho)
    if not only:
        return Correlation(math.nan, math.nan, math.nan, 0, 0.0, 0)
    if not z:
        mean = sum(rho * n for rho, n in only) / n_all
        return Correlation(mean, math.nan, math.nan, n_all, n_effective, len(only))
    w, values = np.array(weight), np.array(z)
    centre = float((w * values).sum() / w.sum())
    error, t = math.sqrt(1.06 / w.sum()), Z
    if len(z) == 1:
        t = student_t975(max(1.0, weight[0] + 1))
    else:
        between = math.sqrt(float((w * np.square(values - centre)).sum() / w.sum()) / (len(z) - 1))
        if between > error:
            error, t = between, student_t975(len(z) - 1)
    return Correlation(
        float((w * np.array(rhos)).sum() / w.sum()),
        math.tanh(centre - t * error),
        math.tanh(centre + t * error),
        n_all,
        n_effective,
        len(only),
    )


def ranks(values: Floats) -> Floats:
    """(n,) ranks from 1, ties share their mean."""
    names, inverse, times = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(times)
    mean: Floats = (last - (times - 1) / 2)[inverse] if len(names) else np.zeros(0)
    return mean


def spearman(a: Floats, b: Floats) -> float:
    """Correlation of two rankings; NaN for fewer than 3 points or a constant one."""
    if len(a) < 3 or (a == a[0]).all() or (b == b[0]).all():
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])


def effective_points(a: Floats, b: Floats) -> float:
    """n*, between 1 and n (see the module's text)."""
    n = len(a)
    total = 1 / n
    for lag in range(1, n // 5 + 1):
        total += 2 / n * (n - lag) / n * _autocorrelation(a, lag) * _autocorrelation(b, lag)
    return n if total <= 1 / n else max(1.0, 1 / total)


def _autocorrelation(a: Floats, lag: int) -> float:
    centred = a - a.mean()
    return float(centred[:-lag] @ centred[lag:] / (centred @ centred))


def near_evaluations(series: Series, eval_steps: npt.ArrayLike) -> Floats:
    """(E,) mean of a training series around each evaluation: the steps nearer to it than to any other one.

    Step s samples from the model as it was after step s - 1; an evaluation at step e is of the model after step e.
    """
    at = np.asarray(eval_steps, np.float64)
    out = np.full(len(at), np.nan)
    if len(at) == 0 or not series.known.any():
        return out
    middles = (at[1:] + at[:-1]) / 2
    steps = series.steps[series.known] - 1.0
    owner = np.searchsorted(middles, steps, side="left")
    # two evaluations far apart: what lies far from both describes neither
    reach = np.diff(at).min(initial=np.inf) / 2 if len(at) > 1 else np.inf
    for e in range(len(at)):
        near = (owner == e) & (np.abs(steps - at[e]) <= max(reach, 0.5))
        if near.any():
            out[e] = series.value[series.known][near].mean()
    return out
