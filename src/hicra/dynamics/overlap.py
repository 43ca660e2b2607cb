"""Planning tokens against high-entropy tokens: how far "forks by meaning" and "forks by entropy" are the same tokens.

The top share q of N tokens is the q N tokens of highest entropy. Where tokens tie with the threshold, each of them
counts with the fraction that fills the top up to exactly q N. With P the planning tokens and T the top,

    planning in top    |P and T| / |P|        near q if entropy knows nothing of planning
    top that plans     |P and T| / |T|        near |P| / N likewise
    lift               both over their chance values: |P and T| N / (|P| |T|)

Source: arXiv 2509.03646 (top 30 %: most planning tokens are in the top, few of the top are planning tokens). The band
is a bootstrap over prompts that finds the threshold again in each draw, on entropies binned finely by rank.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hicra.dynamics.resample import REPLICATES, band
from hicra.dynamics.series import Bools, Floats, Ints
from hicra.errors import DataError

BINS = 512
MAX_BLOCKS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Overlap:
    """Both shares at Q values of the top share, with bands.

    Attributes:
        share: (Q,) q.
        planning_in_top, planning_in_top_low, planning_in_top_high: (Q,) |P and T| / |P|; NaN without planning tokens.
        top_that_plans, top_that_plans_low, top_that_plans_high: (Q,) |P and T| / |T|.
        tokens: N.
        planning: |P|.
    """

    share: Floats
    planning_in_top: Floats
    planning_in_top_low: Floats
    planning_in_top_high: Floats
    top_that_plans: Floats
    top_that_plans_low: Floats
    top_that_plans_high: Floats
    tokens: int
    planning: int

    @property
    def lift(self) -> Floats:
        """(Q,) how many times more planning tokens are in the top than entropies drawn blindly would put there."""
        return self.planning_in_top / self.share


def overlap(
    entropy: npt.ArrayLike,
    planning: npt.ArrayLike,
    share: npt.ArrayLike = 0.3,
    *,
    prompt: npt.ArrayLike | None = None,
    seed: int = 0,
) -> Overlap:
    """Both shares at one or more values of q.

    Args:
        entropy: (N,) token entropies; NaN leaves a token out.
        planning: (N,) bool.
        share: q, or (Q,) several, each in (0, 1].
        prompt: (N,) number of the token's prompt, for the bands; None: no bands.
        seed: of the bootstrap.

    Raises:
        DataError: shapes that differ, a share out of range, or no token with an entropy.
    """
    q = np.atleast_1d(np.asarray(share, np.float64))
    if not ((q > 0) & (q <= 1)).all():
        raise DataError("the top share is out of range", expected="0 < share <= 1", got=str(q.tolist()))
    h, p = np.asarray(entropy), np.asarray(planning, bool)
    g = None if prompt is None else np.asarray(prompt)
    if h.ndim != 1 or h.shape != p.shape or (g is not None and g.shape != h.shape):
        raise DataError("entropies, planning flags and prompts differ in shape", expected="(N,) each", got=str(h.shape))
    used = np.isfinite(h)
    if not used.all():
        h, p, g = h[used], p[used], None if g is None else g[used]
    if len(h) == 0:
        raise DataError("no token has an entropy", expected="one finite entropy or more", got="none")
    edges = _edges(h)
    binned = np.searchsorted(edges, h, side="left")  # 0: below or at the first edge
    exact = np.array([_planning_in_top(h, p, float(s)) for s in q])
    n, n_planning = len(h), int(p.sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        in_top = exact / n_planning if n_planning else np.full(len(q), np.nan)
    low, high = np.full((2, 2, len(q)), np.nan)
    if g is not None and (drawn := _replicates(binned, p, g, len(edges) + 1, q, seed)) is not None:
        # a draw without any planning token takes the value itself
        kinds = [np.where(np.isfinite(d), d, v[:, None]) for d, v in zip(drawn, (in_top, exact / (q * n)), strict=True)]
        low, high = np.array([[band(kind)[i] for kind in kinds] for i in (0, 1)])
    return Overlap(q, in_top, low[0], high[0], exact / (q * n), low[1], high[1], n, n_planning)


def _planning_in_top(h: npt.NDArray[np.floating], p: Bools, q: float) -> float:
    """|P and T|, ties at the threshold counted in part."""
    wanted = q * len(h)
    k = min(len(h) - 1, max(0, int(np.ceil(wanted)) - 1))
    threshold = np.partition(h, len(h) - 1 - k)[len(h) - 1 - k]
    above, tied = h > threshold, h == threshold
    part = (wanted - above.sum()) / tied.sum()
    return float((above & p).sum() + part * (tied & p).sum())


def _edges(h: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Edges that part the entropies into bins of about equal numbers."""
    sample = h if len(h) <= 65_536 else h[:: len(h) // 65_536]
    bins = max(8, min(BINS, len(h) // 16))
    return np.unique(np.quantile(sample, np.linspace(0, 1, bins + 1)[1:-1]).astype(h.dtype))


def _replicates(
    binned: Ints, p: Bools, prompt: npt.NDArray[np.integer], n_bins: int, q: Floats, seed: int
) -> tuple[Floats, Floats] | None:
    """(Q, R) replicates of both shares; tokens spread evenly within the bin that holds the threshold."""
    names, g = np.unique(prompt, return_inverse=True)
    if len(names) < 2:
        return None
    if len(names) > MAX_BLOCKS:  # as good for a band, and no more memory for a longer run
        names, g = names[:MAX_BLOCKS], g % MAX_BLOCKS
    key = (g * n_bins + binned) * 2 + p
    table = np.bincount(key, minlength=len(names) * n_bins * 2).reshape(len(names), -1).astype(np.float64)
    weights = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), REPLICATES)
    drawn = (weights.astype(np.float64) @ table).reshape(REPLICATES, n_bins, 2)[:, ::-1]  # highest entropy first
    tokens, planning = drawn.sum(axis=2), drawn[:, :, 1]
    upto, planning_upto = np.cumsum(tokens, axis=1), np.cumsum(planning, axis=1)
    in_top, plans = np.full((2, len(q), REPLICATES), np.nan)
    rows = np.arange(REPLICATES)
    for i, s in enumerate(q):
        wanted = s * upto[:, -1]
        at = np.minimum((upto < wanted[:, None] - 1e-9).sum(axis=1), n_bins - 1)
        inside = planning_upto[rows, at] - planning[rows, at]
        part = (wanted - upto[rows, at] + tokens[rows, at]) / tokens[rows, at]
        both = inside + part * planning[rows, at]
        with np.errstate(invalid="ignore", divide="ignore"):
            in_top[i], plans[i] = both / planning_upto[:, -1], both / wanted
    return in_top, plans
