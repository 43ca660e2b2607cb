"""Competence gauge in [0, 1]: how far the consolidation of procedures has gone, step by step, from the past alone.

With L_s the mean NLL of execution tokens at step s and two exponential moving averages of it, a fast and a slow one,

    fall_s  = slow_s - fast_s                        > 0 while L falls; proportional to the rate of its fall
    gauge_s = (1 - max(0, fall_s) / max(peak_s, c sigma_s)) * (1 - 2^(-s / h))          peak_s = max of fall up to s

Why: where L approaches a plateau exponentially, its rate of fall is proportional to what is left of the fall, so rate /
fastest rate is the share that is still to come. c sigma_s, c times the noise of `fall` estimated from differences of
successive steps, keeps noise from being taken for a fall: a run that starts out competent climbs to 1 at the pace of
the last factor (h steps for each half). The value at step s does not change when later steps arrive, so a schedule of
alpha may follow it. Ours; arXiv 2509.03646 describes consolidation and gives no number for it.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from hicra.dynamics.series import Floats
from hicra.errors import ConfigError

FAST, SLOW = 4.0, 12.0
NOISE = 3.0


def competence(nll: npt.ArrayLike, *, fast: float = FAST, slow: float = SLOW, noise: float = NOISE) -> Floats:
    """The gauge at every step.

    Args:
        nll: (S,) mean NLL of execution tokens, nats, of successive steps; NaN repeats the last gauge.
        fast, slow: half-lives of the two averages, in steps.
        noise: c, how many standard deviations of noise are no fall.

    Returns:
        (S,) in [0, 1]; 0 before the first value.

    Raises:
        ConfigError: half-lives that are not 0 < fast < slow, or a negative noise.
    """
    if not (0 < fast < slow and noise >= 0):
        raise ConfigError(
            "competence: out of range", expected="0 < fast < slow, noise >= 0", got=f"{fast}, {slow}, {noise}"
        )
    values = np.asarray(nll, np.float64)
    a, b = 1 - 2 ** (-1 / fast), 1 - 2 ** (-1 / slow)
    # variance of (slow - fast) of independent noise of variance 1, in the long run
    spread = math.sqrt(a / (2 - a) + b / (2 - b) - 2 * a * b / (a + b - a * b))
    out = np.zeros(len(values))
    quick = lagging = last = math.nan
    peak = squares = 0.0
    seen = 0
    for s, value in enumerate(values.tolist()):
        if not math.isfinite(value):
            out[s] = out[s - 1] if s else 0.0
            continue
        if seen == 0:
            quick = lagging = last = value
        quick += a * (value - quick)
        lagging += b * (value - lagging)
        squares += (value - last) ** 2
        last = value
        fall = lagging - quick
        peak = max(peak, fall)
        sigma = spread * math.sqrt(squares / (2 * max(1, seen)))
        floor = max(peak, noise * sigma)
        left = max(0.0, fall) / floor if floor > 0 else 0.0
        out[s] = (1 - left) * (1 - 2 ** (-seen / slow))
        seen += 1
    return out
