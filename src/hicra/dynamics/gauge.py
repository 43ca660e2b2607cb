"""Competence gauge in [0, 1]: how far the consolidation of procedures has gone, step by step, from the past alone.

With L_s the mean NLL of execution tokens at step s = 0, 1, ... and slope_s the least-squares slope of the last w steps,

    fall_s  = max(0, -slope_s - se_s)
    gauge_s = min(1, s / w) (1 - fall_s / max(fastest_s, c se_s))
    fastest_s = max of fall up to s,   se_s = sigma_s sqrt(12 / (w (w^2 - 1)))

and sigma_s the noise of L, from differences of successive steps up to s. Why: where L approaches a plateau
exponentially, its rate of fall is proportional to what is left of the fall, so the rate over the fastest one is the
share that is still to come. One standard error is not counted as a fall, and the floor c se keeps noise from being
the fastest fall: a run that starts out competent is
at 1 soon after w steps. The value at step s does not change when later steps arrive, so a schedule of alpha may follow
it. Ours; arXiv 2509.03646 describes consolidation and gives no number for it.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from hicra.dynamics.series import Floats
from hicra.errors import ConfigError

WINDOW = 12
NOISE = 3.0


def competence(nll: npt.ArrayLike, *, window: int = WINDOW, noise: float = NOISE) -> Floats:
    """The gauge at every step.

    Args:
        nll: (S,) mean NLL of execution tokens, nats, of successive steps; a NaN repeats the last gauge.
        window: w, steps that a slope is taken over; at least 3.
        noise: c; a slope of fewer standard errors is no fast fall.

    Returns:
        (S,) in [0, 1]; 0 at the first value.

    Raises:
        ConfigError: a window below 3, or a negative noise.
    """
    if not (window >= 3 and noise >= 0):
        raise ConfigError(
            "competence: out of range", expected="window >= 3, noise >= 0", got=f"window {window}, noise {noise}"
        )
    values = np.asarray(nll, np.float64)
    out = np.zeros(len(values))
    seen: list[float] = []
    fastest = squares = 0.0
    for s, value in enumerate(values.tolist()):
        if not math.isfinite(value):
            out[s] = out[s - 1] if s else 0.0
            continue
        squares += (value - seen[-1]) ** 2 if seen else 0.0
        seen.append(value)
        n = min(len(seen), window)
        if n < 3:
            continue
        x = np.arange(n) - (n - 1) / 2
        error = math.sqrt(squares / (2 * (len(seen) - 1)) * 12 / (n * (n * n - 1)))
        fall = max(0.0, -float(x @ np.array(seen[-n:])) / float(x @ x) - error)
        if n == window:  # slopes of fewer steps are too rough to be a record
            fastest = max(fastest, fall)
        floor = max(fastest, noise * error)
        left = min(1.0, fall / floor) if floor > 0 else 0.0
        out[s] = min(1.0, (len(seen) - 1) / window) * (1 - left)
    return out
