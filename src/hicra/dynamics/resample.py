"""Bootstrap over prompts: how much a step's number owes to which prompts it happened to draw.

Completions of one prompt are not independent, so prompts are drawn again, with replacement and whole (Davison and
Hinkley 1997, section 3.8). Every statistic here is a function of sums over prompts: the sums of all quantities are
resampled with the same draws, so that ratios and differences of them keep their correlation.

    sums*_r = sum_g w_rg x_g          w_r ~ multinomial(G; 1/G, ..., 1/G)          r = 1..R
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hicra.dynamics.series import Floats, Ints, Series
from hicra.errors import DataError

REPLICATES = 300


@dataclass(frozen=True, slots=True, eq=False)
class StepSums:
    """Sums of Q columns for each of S steps.

    Attributes:
        total: (S, Q).
        replicates: (S, R, Q) on resampled prompts; NaN for a step of a single prompt.
    """

    total: Floats
    replicates: Floats


def step_sums(columns: Floats, step_of: Ints, n_steps: int, *, replicates: int = REPLICATES, seed: int = 0) -> StepSums:
    """Sum columns by step and resample the prompts of each.

    Args:
        columns: (M, Q) finite numbers, one row for each prompt of each step.
        step_of: (M,) index of the row's step, ascending, in 0..n_steps-1.
        n_steps: S.
        replicates: R.
        seed: of the draws.

    Raises:
        DataError: rows that are not in the order of their steps, or numbers that are not finite.
    """
    if len(columns) != len(step_of) or (np.diff(step_of) < 0).any():
        raise DataError("rows are not in the order of their steps", expected="(M,) ascending step indices")
    if not np.isfinite(columns).all():
        raise DataError("a sum over prompts is not finite", expected="0 in top and bottom where a prompt has no value")
    bounds = np.searchsorted(step_of, np.arange(n_steps + 1))
    total = np.zeros((n_steps, columns.shape[1]))
    drawn = np.full((n_steps, replicates, columns.shape[1]), np.nan)
    for s in range(n_steps):
        rows = columns[bounds[s] : bounds[s + 1]]
        total[s] = rows.sum(axis=0)
        if (n := len(rows)) > 1:
            rng = np.random.default_rng([seed, s])
            drawn[s] = rng.multinomial(n, np.full(n, 1 / n), replicates).astype(np.float64) @ rows
    return StepSums(total, drawn)


def ratio(sums: StepSums, top: int, bottom: int) -> tuple[Floats, Floats]:
    """sum of column `top` / sum of column `bottom`: (S,) values and (S, R) replicates.

    A draw that leaves nothing below the line takes the step's own value.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where(sums.total[:, bottom] == 0, np.nan, sums.total[:, top] / sums.total[:, bottom])
        drawn = sums.replicates[:, :, top] / sums.replicates[:, :, bottom]
    single = np.isnan(sums.replicates[:, :, bottom])
    return value, np.where(np.isfinite(drawn) | single, drawn, value[:, None])


def band(replicates: Floats) -> tuple[Floats, Floats]:
    """(S,) 2.5 % and 97.5 % quantiles of (S, R) replicates; NaN where a step has none."""
    low, high = np.full((2, len(replicates)), np.nan)
    known = np.isfinite(replicates).all(axis=1)
    if known.any():
        low[known], high[known] = np.quantile(replicates[known], (0.025, 0.975), axis=1)
    return low, high


def banded(steps: Ints, value: Floats, replicates: Floats, unit: str = "") -> Series:
    """A series with the band of its replicates."""
    return Series(steps, value, *band(replicates), unit)
