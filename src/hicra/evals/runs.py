"""Training runs as a level of their own: the same I items, answered by the models of S runs of each method.

A method is what a reader asks about; a run is one draw of it. For the share y[s, i] of run s on item i,

    y[s, i] = mean + item_i + run_s + (run x item and sampling noise)_{s, i}

both runs and items are drawn, crossed. With d_i the difference of the two methods' means over runs on item i, and
pooled over the methods ("pooled": weighted by degrees of freedom),

    V_items = se^2 of the mean of d_i over items                          (intervals.py; the runs held fixed)
    V_runs  = pooled variance of a run's mean * (1/S_a + 1/S_b)           (the items held fixed)
    V_rest  = pooled mean square of the run x item residuals * (1/S_a + 1/S_b) / I     (it is in both of the above)
    se^2    = max(V_items + V_runs - V_rest, V_items)

with Satterthwaite's (1946) degrees of freedom: those of a sum of independent variances, each with its own. A single
method has 1/S in place of 1/S_a + 1/S_b, and its own means over runs in place of d_i.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hicra.errors import DataError
from hicra.evals.estimators import Floats, Ints
from hicra.evals.intervals import cluster_sums, mean_error


def crossed_error(
    after: Floats, before: Floats | None = None, clusters: Ints | None = None
) -> tuple[Floats, Floats, Floats]:
    """Mean over runs and items (or the difference of two), its standard error and the degrees of freedom.

    Args:
        after: (..., S_a, I) share of right answers of each run on each item.
        before: (..., S_b, I) the same of the method to compare with; None: `after` alone.
        clusters: (I,) as in `mean_error`.

    Returns:
        (...) means, standard errors, degrees of freedom. With one run of each method they are those of `mean_error`:
        nothing is known of other runs then.

    Raises:
        DataError: the methods do not share their items.
    """
    arms = [after] if before is None else [after, before]
    if len({arm.shape[-1] for arm in arms}) > 1:
        raise DataError(
            "two methods on different items", expected="(S, I) each", got=" and ".join(str(a.shape) for a in arms)
        )
    d = after.mean(axis=-2) - (0.0 if before is None else before.mean(axis=-2))
    mean, over_items, freedom = mean_error(d, clusters)
    spare = [arm.shape[-2] - 1 for arm in arms]
    if sum(spare) == 0 or freedom == 0:
        return mean, over_items, np.full(mean.shape, float(freedom))
    scale = sum(1 / arm.shape[-2] for arm in arms)
    items = np.square(over_items)
    runs = (
        _pooled(
            [arm.mean(axis=-1).var(axis=-1, ddof=1) if s else None for arm, s in zip(arms, spare, strict=True)], spare
        )
        * scale
    )
    rest = _pooled([_residual(arm, clusters) if s else None for arm, s in zip(arms, spare, strict=True)], spare) * scale
    total = np.maximum(items + runs - rest, items)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = items**2 / freedom + runs**2 / sum(spare) + rest**2 / (sum(spare) * freedom)
        satterthwaite = np.where(spread > 0, total**2 / spread, freedom)
    return mean, np.sqrt(total), np.clip(satterthwaite, 1.0, freedom + sum(spare))


def _residual(arm: Floats, clusters: Ints | None) -> Floats:
    """(...) variance of a run's mean over items that run x item effects and sampling explain."""
    n_runs, n_items = arm.shape[-2:]
    means = arm.mean(axis=-1, keepdims=True) + arm.mean(axis=-2, keepdims=True)
    sums = cluster_sums(arm - means + arm.mean(axis=(-2, -1), keepdims=True), clusters)
    size = sums.shape[-1]
    out: Floats = size / (size - 1) * np.square(sums).sum(axis=(-2, -1)) / ((n_runs - 1) * n_items**2)
    return out


def _pooled(parts: Sequence[Floats | None], weights: Sequence[int]) -> Floats:
    out: Floats = sum(
        (part * w for part, w in zip(parts, weights, strict=True) if part is not None), np.zeros(())
    ) / sum(weights)
    return out
