"""Which moves tell right from wrong solutions: odds ratios with intervals.

    crude            ln OR = ln((a+.5)(d+.5) / ((b+.5)(c+.5))),  se^2 = sum of 1 / (each + .5)       Woolf 1955, Haldane
    within prompts   OR_MH = sum_g a_g d_g / n_g  /  sum_g b_g c_g / n_g                 Mantel and Haenszel 1959
                     with the variance of its logarithm by Robins, Breslow and Greenland 1986

a: right solutions with the move, b: wrong ones with it, c: right ones without, d: wrong ones without; g: a group, the
completions sampled for one prompt at one step. Hard prompts call for other moves than easy ones, and late steps for
others than early ones, so the crude ratio says as much of the prompts as of the move: the one within groups compares
completions of the same prompt and the same policy only. Neither is an effect: longer solutions hold more of every move.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hicra.dynamics.intervals import Z, holm, two_sided_p
from hicra.dynamics.series import Bools, Ints
from hicra.errors import DataError


@dataclass(frozen=True, slots=True)
class OddsRatio:
    """Odds of a right solution with a move, over the odds without it.

    Attributes:
        ratio: NaN where no table says anything, 0 or infinite where a sum is empty.
        low, high: 95 % interval; NaN where it has none.
        p: two-sided, of no association; NaN where it has none.
    """

    ratio: float
    low: float
    high: float
    p: float


@dataclass(frozen=True, slots=True)
class MoveOdds:
    """One move.

    Attributes:
        move: number of the gram or cluster.
        with_move, right_with, without, right_without: completions.
        crude, within: the two odds ratios.
        adjusted_p: that of `within`, by Holm's method over all moves.
    """

    move: int
    with_move: int
    right_with: int
    without: int
    right_without: int
    crude: OddsRatio
    within: OddsRatio
    adjusted_p: float


def odds_ratio(a: float, b: float, c: float, d: float) -> OddsRatio:
    """Odds ratio of one 2 x 2 table, half a case added to each cell."""
    cells = np.array([a, b, c, d], np.float64) + 0.5
    log_ratio = math.log(cells[0] * cells[3] / (cells[1] * cells[2]))
    return _from_log(log_ratio, math.sqrt(float((1 / cells).sum())))


def mantel_haenszel(a: npt.ArrayLike, b: npt.ArrayLike, c: npt.ArrayLike, d: npt.ArrayLike) -> OddsRatio:
    """Odds ratio common to G tables, (G,) each of a, b, c, d; tables without both outcomes say nothing."""
    cells = [np.asarray(cell, np.float64) for cell in (a, b, c, d)]
    n = cells[0] + cells[1] + cells[2] + cells[3]
    a_, b_, c_, d_ = (cell[n > 0] for cell in cells)
    n = n[n > 0]
    r, s = a_ * d_ / n, b_ * c_ / n
    p, q = (a_ + d_) / n, (b_ + c_) / n
    top, bottom = float(r.sum()), float(s.sum())
    if top == 0 or bottom == 0:
        return OddsRatio(math.nan if top == bottom else math.inf if top else 0.0, math.nan, math.nan, math.nan)
    variance = (
        (p * r).sum() / (2 * top**2) + (p * s + q * r).sum() / (2 * top * bottom) + (q * s).sum() / (2 * bottom**2)
    )
    return _from_log(math.log(top / bottom), math.sqrt(float(variance)))


def move_odds(
    row: npt.ArrayLike, move: npt.ArrayLike, right: npt.ArrayLike, group: npt.ArrayLike, *, min_with: int = 10
) -> list[MoveOdds]:
    """Odds ratios of every move that enough completions hold and enough lack.

    Args:
        row: (J,) completion of each occurrence.
        move: (J,) its gram or cluster, >= 0.
        right: (N,) whether the completion is right.
        group: (N,) number of the group, >= 0.
        min_with: completions with the move, and without it, that are needed.

    Returns:
        By the distance of `within` from 1, in standard errors, farthest first.

    Raises:
        DataError: arrays that do not go together.
    """
    rows, moves = np.asarray(row, np.int64), np.asarray(move, np.int64)
    success, groups = np.asarray(right, bool), np.asarray(group, np.int64)
    if rows.shape != moves.shape or success.shape != groups.shape or rows.max(initial=-1) >= len(success):
        raise DataError("occurrences and completions do not go together", expected="(J,) rows and moves, (N,) outcomes")
    if len(rows) == 0:
        return []
    pairs = np.unique(np.stack([moves, rows]), axis=1)
    n_groups = int(groups.max(initial=-1)) + 1
    size, wins = np.bincount(groups, minlength=n_groups), np.bincount(groups, success, n_groups)
    found = []
    names, first = np.unique(pairs[0], return_index=True)
    for name, holders in zip(names.tolist(), np.split(pairs[1], first[1:]), strict=True):
        if min(len(holders), len(success) - len(holders)) < min_with:
            continue
        found.append(_one(name, holders, success, groups, size, wins.astype(np.int64)))
    adjusted = holm([m.within.p for m in found]) if found else np.zeros(0)
    out = [
        MoveOdds(
            m.move,
            m.with_move,
            m.right_with,
            m.without,
            m.right_without,
            m.crude,
            m.within,
            float(p),
        )
        for m, p in zip(found, adjusted, strict=True)
    ]
    return sorted(out, key=lambda m: (math.inf if math.isnan(m.within.p) else m.within.p, m.move))


def _one(move: int, holders: Ints, success: Bools, groups: Ints, size: Ints, wins: Ints) -> MoveOdds:
    with_g = np.bincount(groups[holders], minlength=len(size))
    a = np.bincount(groups[holders], success[holders], len(size))
    b, c = with_g - a, wins - a
    d = size - with_g - c
    total = [float(cell.sum()) for cell in (a, b, c, d)]
    return MoveOdds(
        move,
        len(holders),
        int(total[0]),
        len(success) - len(holders),
        int(total[2]),
        odds_ratio(*total),
        mantel_haenszel(a, b, c, d),
        math.nan,
    )


def _from_log(log_ratio: float, error: float) -> OddsRatio:
    return OddsRatio(
        math.exp(log_ratio),
        math.exp(log_ratio - Z * error),
        math.exp(log_ratio + Z * error),
        two_sided_p(log_ratio / error),
    )
