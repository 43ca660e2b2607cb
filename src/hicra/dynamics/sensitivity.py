"""How much a curve owes to single grams: the same curve with a random 30 % of the grams dropped, many times.

    band_s = 2.5 % and 97.5 % quantiles over draws d of f(counts_s without the grams dropped in d)
    shape_d = Spearman's rank correlation over steps of the dropped curve with the full one

Source: the robustness check of arXiv 2509.03646 (its semantic-entropy curve keeps its shape). A draw drops the same
grams at every step. The counts of the grams that stay are taken as they are: labelling anew could bring out a gram that
one of the dropped ones had covered, which changes little where matches are leftmost-longest and few overlap. Rarefied
curves draw the same number of occurrences at every step of every draw and of the full curve.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hicra.dynamics.compass import ranks, spearman
from hicra.dynamics.semantic import entropy_bits, rarefied_entropy_bits
from hicra.dynamics.series import Floats, Ints, Series
from hicra.dynamics.spread import MAX_RAREFIED, MIN_OCCURRENCES
from hicra.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True, eq=False)
class Sensitivity:
    """A curve and its band over draws of dropped grams.

    Attributes:
        series: the curve of all grams; its band is that of the draws, not of sampling noise.
        shape: (D,) rank correlation of each draw's curve with the full one; NaN where one of them is constant.
        fraction: share of the grams dropped.
        occurrences: m that curves were rarefied to; None: plug-in.
    """

    series: Series
    shape: Floats
    fraction: float
    occurrences: int | None


def drop_grams(
    steps: npt.ArrayLike,
    counts: npt.ArrayLike,
    *,
    fraction: float = 0.3,
    draws: int = 20,
    rarefy: bool = True,
    seed: int = 0,
) -> Sensitivity:
    """Semantic entropy with grams dropped at random.

    Args:
        steps: (S,) training steps.
        counts: (S, K) occurrences of each gram at each step.
        fraction: share of the K grams to drop, the nearest whole number of them.
        draws: D.
        rarefy: compare at equal numbers of occurrences (False: plug-in).
        seed: of the draws.

    Raises:
        ConfigError: a fraction outside [0, 1), or no draws.
        DataError: counts of another shape.
    """
    x, table = np.asarray(steps, np.int64), np.asarray(counts, np.int64)
    if not (0 <= fraction < 1 and draws >= 1):
        raise ConfigError("dropping grams: out of range", expected="0 <= fraction < 1, draws >= 1", got=f"{fraction}")
    if table.ndim != 2 or len(table) != len(x):
        raise DataError("counts and steps do not go together", expected=f"({len(x)}, K)", got=str(table.shape))
    rng, n_grams = np.random.default_rng(seed), table.shape[1]
    dropped = round(fraction * n_grams)
    kept = [np.sort(rng.permutation(n_grams)[dropped:]) for _ in range(draws)]
    m = _occurrences(table, kept) if rarefy else None
    full = _curve(table, m)
    curves = np.array([_curve(table[:, grams], m) for grams in kept])
    low, high = np.full((2, len(x)), np.nan)
    known = np.isfinite(curves).any(axis=0)
    if known.any():
        low[known], high[known] = np.nanquantile(curves[:, known], (0.025, 0.975), axis=0)
    return Sensitivity(Series(x, full, low, high, "bits"), _shapes(full, curves), fraction, m)


def _occurrences(table: Ints, kept: list[Ints]) -> int:
    """The smallest total of any step that counts, in any draw."""
    totals = np.array([table.sum(axis=1), *(table[:, grams].sum(axis=1) for grams in kept)])
    used = totals[:, totals[0] >= MIN_OCCURRENCES]
    return int(min(MAX_RAREFIED, used.min())) if used.size else 0


def _curve(table: Ints, m: int | None) -> Floats:
    measured = [entropy_bits(c) if m is None else rarefied_entropy_bits(c, m) if m else np.nan for c in table]
    enough = table.sum(axis=1) >= (MIN_OCCURRENCES if m is None else max(1, m))
    return np.where(enough, np.array(measured, np.float64), np.nan)


def _shapes(full: Floats, curves: Floats) -> Floats:
    out = np.full(len(curves), np.nan)
    for d, curve in enumerate(curves):
        both = np.isfinite(full) & np.isfinite(curve)
        out[d] = spearman(ranks(full[both]), ranks(curve[both]))
    return out
