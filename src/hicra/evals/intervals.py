"""Intervals of means over items, of shares and of paired shares.

    mean over items    m = mean x_i;  se^2 = sum (x_i - m)^2 / (I (I-1));  m +- t(I-1) se
    with clusters      se^2 = C/(C-1) sum_c (sum_{i in c} (x_i - m))^2 / I^2;  t(C-1)
                       items of a cluster (versions of one problem) are not independent (Miller 2024, arXiv 2411.00640)
    Wilson (1927)      (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)           a share of n trials
    Bonett and Price   p_b = (b+1)/(n+2), p_c = (c+1)/(n+2);  p_b - p_c +- z sqrt((p_b + p_c - (p_b - p_c)^2) / (n+2))
    (2012)             difference of two paired shares: b items went from wrong to right, c from right to wrong

A t interval is the one that keeps its word on 30 items (docs/evaluation.md has the simulation). Leading axes `...` of
an array are studied side by side: that is how the simulation runs the very code that a comparison runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hicra.errors import DataError, require

if TYPE_CHECKING:
    from hicra.evals.estimators import Floats, Ints

LEVEL = 0.95
"""Of every interval where no other is asked for."""


def mean_error(x: npt.ArrayLike, clusters: Ints | None = None) -> tuple[Floats, Floats, int]:
    """Mean over items, its standard error, and the degrees of freedom of that.

    Args:
        x: (..., I) a number for each item.
        clusters: (I,) which cluster an item belongs to, 0..C-1, each at least once; None: every item is its own.

    Returns:
        (...) means, (...) standard errors (NaN for a single cluster), C - 1.

    Raises:
        DataError: no items, or clusters that do not fit them.
    """
    values = np.asarray(x, np.float64)
    n = values.shape[-1] if values.ndim else 0
    if n == 0:
        raise DataError("a mean over no items", expected="at least one item", got="none")
    mean: Floats = values.mean(axis=-1)
    sums = cluster_sums(values - mean[..., None], clusters)
    size = sums.shape[-1]
    if size < 2:
        return mean, np.full(mean.shape, np.nan), 0
    error: Floats = np.sqrt(size / (size - 1) * np.square(sums).sum(axis=-1)) / n
    return mean, error, size - 1


def cluster_sums(x: Floats, clusters: Ints | None) -> Floats:
    """(..., C) sums over the items of each cluster; `x` itself where every item is its own cluster.

    Raises:
        DataError: clusters that do not fit the items.
    """
    if clusters is None:
        return x
    if clusters.shape != x.shape[-1:] or len(np.unique(clusters)) != clusters.max() + 1 or clusters.min() != 0:
        raise DataError(
            "clusters do not fit the items",
            expected=f"({x.shape[-1]},) numbers 0..C-1, each at least once",
            got=f"{clusters.shape} between {clusters.min()} and {clusters.max()}",
        )
    order = np.argsort(clusters, kind="stable")
    starts = np.searchsorted(clusters[order], np.arange(clusters.max() + 1))
    out: Floats = np.add.reduceat(x[..., order], starts, axis=-1)
    return out


def t_interval(
    mean: npt.ArrayLike, error: npt.ArrayLike, freedom: npt.ArrayLike, level: float = LEVEL
) -> tuple[Floats, Floats]:
    """Ends of mean +- t(freedom) error; infinite where there are no degrees of freedom.

    Raises:
        MissingExtraError: scipy is not installed.
    """
    m, e, f = (np.asarray(x, np.float64) for x in (mean, error, freedom))
    t = require("scipy.special", "eval").stdtrit(np.where(f > 0, f, 1.0), (1 + level) / 2)
    half = np.where(f > 0, t * np.where(f > 0, e, 1.0), np.inf)
    return m - half, m + half


def t_test(mean: float, error: float, freedom: float) -> float:
    """Two-sided p-value of a mean of 0; 1 where nothing can be said.

    Raises:
        MissingExtraError: scipy is not installed.
    """
    if freedom <= 0 or not error > 0:
        return 1.0
    return float(2 * require("scipy.special", "eval").stdtr(freedom, -abs(mean) / error))


def wilson(successes: npt.ArrayLike, n: npt.ArrayLike, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Ends of Wilson's interval of a share.

    >>> [round(float(end), 3) for end in wilson(50, 100)]
    [0.404, 0.596]
    """
    trials, z = np.asarray(n, np.float64), _z(level)
    p = np.asarray(successes, np.float64) / trials
    centre = (p + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * np.sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials)) / (1 + z * z / trials)
    return np.maximum(0.0, centre - half), np.minimum(1.0, centre + half)


def bonett_price(
    gained: npt.ArrayLike, lost: npt.ArrayLike, n: npt.ArrayLike, level: float = LEVEL
) -> tuple[Floats, Floats]:
    """Ends of the interval of (gained - lost) / n, a difference of two shares on the same n items.

    It is never of width 0: that no item changed does not prove that none ever would.

    >>> [round(float(end), 4) for end in bonett_price(20, 10, 100)]
    [-0.009, 0.2051]
    """
    items = np.asarray(n, np.float64) + 2
    b, c = (np.asarray(gained, np.float64) + 1) / items, (np.asarray(lost, np.float64) + 1) / items
    half = _z(level) * np.sqrt((b + c - np.square(b - c)) / items)
    return np.maximum(-1.0, b - c - half), np.minimum(1.0, b - c + half)


def _z(level: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf((1 + level) / 2)
