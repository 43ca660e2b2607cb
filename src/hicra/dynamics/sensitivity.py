"""How much a curve owes to single grams: the same curve with a random 30 % of the grams dropped, many times.

    band_s  = 2.5 % and 97.5 % quantiles over draws d of f_s(grams kept in d)
    shape_d = Spearman's rank correlation over steps of the curve of draw d with the one of all grams

Source: the robustness check of arXiv 2509.03646 (its semantic-entropy curve keeps its shape). A draw drops the same
grams at every step. What a dropped gram had marked becomes execution; the counts of the grams that stay are taken as
they are: labelling anew could bring out a gram that a dropped one had covered, which changes little where few overlap.
Rarefied curves draw the same number of occurrences at every step of every draw and of the full curve.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hicra.dynamics.compass import ranks, spearman
from hicra.dynamics.semantic import entropy_bits, rarefied_entropy_bits
from hicra.dynamics.series import Bools, Floats, Ints, Series
from hicra.dynamics.spread import MIN_OCCURRENCES, common_number
from hicra.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True, eq=False)
class Sensitivity:
    """A curve and its band over draws of dropped grams.

    Attributes:
        series: the curve of all grams; its band is that of the draws, not of sampling noise.
        shape: (D,) rank correlation of each draw's curve with the full one; NaN where one of them is constant.
        fraction: share of the grams dropped.
        occurrences: m that curves were rarefied to; None: not rarefied.
    """

    series: Series
    shape: Floats
    fraction: float
    occurrences: int | None = None


def draw_grams(n_grams: int, *, fraction: float = 0.3, draws: int = 20, seed: int = 0) -> Bools:
    """(D, K) which grams each draw keeps: all but the nearest whole number of the fraction.

    Raises:
        ConfigError: a fraction outside [0, 1), or no draws.
    """
    if not (0 <= fraction < 1 and draws >= 1):
        raise ConfigError("dropping grams: out of range", expected="0 <= fraction < 1, draws >= 1", got=f"{fraction}")
    rng, dropped = np.random.default_rng(seed), round(fraction * n_grams)
    kept = np.ones((draws, n_grams), bool)
    for row in kept:
        row[rng.permutation(n_grams)[:dropped]] = False
    return kept


def over_draws(
    steps: npt.ArrayLike, curve: Callable[[Bools], Floats], kept: Bools, unit: str = "", occurrences: int | None = None
) -> Sensitivity:
    """Any curve with grams dropped.

    Args:
        steps: (S,) training steps.
        curve: (K,) grams kept -> (S,) the curve.
        kept: (D, K) what `draw_grams` gave.
        unit: of the curve.
        occurrences: what it is rarefied to, to be noted in the result.
    """
    full = curve(np.ones(kept.shape[1], bool))
    curves = np.array([curve(grams) for grams in kept])
    low, high = np.full((2, len(full)), np.nan)
    known = np.isfinite(curves).any(axis=0)
    if known.any():
        low[known], high[known] = np.nanquantile(curves[:, known], (0.025, 0.975), axis=0)
    series = Series(np.asarray(steps, np.int64), full, low, high, unit)
    return Sensitivity(series, _shapes(full, curves), float(1 - kept.mean()), occurrences)


def semantic_sensitivity(
    steps: npt.ArrayLike, counts: npt.ArrayLike, kept: Bools, class_of: npt.ArrayLike | None = None
) -> Sensitivity:
    """Rarefied semantic entropy with grams dropped.

    Args:
        steps: (S,) training steps.
        counts: (S, K) occurrences of each gram at each step.
        kept: (D, K) what `draw_grams` gave.
        class_of: (K,) cluster of each gram, -1 for none; None: entropy over the grams themselves.

    Raises:
        DataError: counts of another shape.
    """
    x, table = np.asarray(steps, np.int64), np.asarray(counts, np.int64)
    if table.ndim != 2 or table.shape != (len(x), kept.shape[1]):
        raise DataError(
            "counts, steps and draws do not go together", expected=f"({len(x)}, {kept.shape[1]})", got=str(table.shape)
        )
    classes = None
    if class_of is not None:
        of = np.asarray(class_of, np.int64)
        classes = np.zeros((len(of), int(of.max(initial=-1)) + 1), np.int64)
        classes[np.flatnonzero(of >= 0), of[of >= 0]] = 1
        table = table * (of >= 0)
    m = common_number(np.concatenate([table.sum(axis=1), *(table[:, grams].sum(axis=1) for grams in kept)]))

    def curve(grams: Bools) -> Floats:
        left: Ints = table * grams
        return np.array([_bits(row, m) for row in (left if classes is None else left @ classes)])

    return over_draws(x, curve, kept, "bits", m)


def kind_sensitivity(
    steps: npt.ArrayLike,
    top: npt.ArrayLike,
    bottom: npt.ArrayLike,
    kept: Bools,
    *,
    kind: str = "planning",
    unit: str = "",
    change: Callable[[Floats], Floats] = lambda curve: curve,
) -> Sensitivity:
    """A mean over tokens of a kind with grams dropped, whose tokens become execution.

    Args:
        steps: (S,) training steps.
        top, bottom: (S, K+1) sums over the tokens of each gram, and in the last column over those of none.
        kept: (D, K) what `draw_grams` gave.
        kind: ``"planning"``, ``"execution"`` (sum of top / sum of bottom over its tokens), or ``"share"``: top over
            planning tokens / bottom over all.
        unit: of the curve.
        change: what is made of the (S,) means, e.g. a relative perplexity.

    Raises:
        DataError: an unknown kind.
    """
    if kind not in ("planning", "execution", "share"):
        raise DataError("no such kind of tokens", expected="planning, execution or share", got=repr(kind))
    a, b = np.asarray(top, np.float64), np.asarray(bottom, np.float64)

    def curve(grams: Bools) -> Floats:
        planning = np.append(grams, False)
        above = ~planning if kind == "execution" else planning
        below = np.ones_like(planning) if kind == "share" else above
        with np.errstate(invalid="ignore", divide="ignore"):
            return change(a @ above / (b @ below))

    return over_draws(steps, curve, kept, unit)


def _bits(counts: Ints, m: int) -> float:
    if counts.sum() < max(MIN_OCCURRENCES // 2, m):
        return np.nan
    return rarefied_entropy_bits(counts, m) if m else entropy_bits(counts)


def _shapes(full: Floats, curves: Floats) -> Floats:
    out = np.full(len(curves), np.nan)
    for d, curve in enumerate(curves):
        both = np.isfinite(full) & np.isfinite(curve)
        out[d] = spearman(ranks(full[both]), ranks(curve[both]))
    return out


def sensitivities(
    steps: Sequence[int],
    sums: dict[str, Floats],
    kept: Bools,
) -> dict[str, Sensitivity]:
    """The curves by token kind of `hicra.dynamics.tokens` with grams dropped.

    Args:
        steps: (S,) training steps.
        sums: (S, K+1) each, by gram, the last column for none: ``n``; and, where there are any, ``entropy`` and
            ``n_entropy``, ``logprob`` and ``n_logprob``.
        kept: (D, K) what `draw_grams` gave.
    """
    out = {"planning_share": kind_sensitivity(steps, sums["n"], sums["n"], kept, kind="share", unit="share")}
    for kind in ("planning", "execution"):
        if "entropy" in sums:
            out[f"entropy_{kind}"] = kind_sensitivity(
                steps, sums["entropy"], sums["n_entropy"], kept, kind=kind, unit="nats"
            )
        if "logprob" in sums:
            out[f"relative_perplexity_{kind}"] = kind_sensitivity(
                steps, sums["logprob"], sums["n_logprob"], kept, kind=kind, change=_relative
            )
    return out


def _relative(logprob: Floats) -> Floats:
    known = np.flatnonzero(np.isfinite(logprob))
    return np.exp(logprob[known[0]] - logprob) if len(known) else logprob
