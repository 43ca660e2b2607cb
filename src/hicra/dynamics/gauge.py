"""Competence gauge in [0, 1]: how far the consolidation of procedures has gone, step by step, from the past alone.

With L_s the mean NLL of execution tokens at step s = 0, 1, ... and slope_s the least-squares slope of the last w steps,

    fall_s  = max(0, -slope_s - se_s)
    gauge_s = min(1, s / w) (1 - fall_s / max(fastest_s, c se_s))
    fastest_s = max of fall up to s,   se_s = sigma_s sqrt(12 / (w (w^2 - 1)))

and sigma_s the noise of L, from differences of successive steps up to s. Why: where L approaches a plateau
exponentially, its rate of fall is proportional to what is left of the fall, so the rate over the fastest one is the
share that is still to come. One standard error is not counted as a fall, and the floor c se keeps noise from being
the fastest fall: a run that starts out competent is at 1 soon after w steps. The value at step s does not change when
later steps arrive, so a schedule of alpha may follow it (`hicra.credit.schedule`). The gauge says that falling has
ended, not that what was reached is good. Ours; arXiv 2509.03646 describes consolidation and gives no number for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from hicra.dynamics.series import Floats
from hicra.errors import ConfigError

WINDOW = 12
NOISE = 3.0


class Gauge:
    """The gauge step by step, for an engine: constant memory, and a state that a checkpoint can keep.

    Args:
        window: w, steps that a slope is taken over; at least 3.
        noise: c; a slope of fewer standard errors is no fast fall.

    Attributes:
        value: the gauge now, in [0, 1]; 0 before the first step.

    Raises:
        ConfigError: a window below 3, or a negative noise.
    """

    def __init__(self, *, window: int = WINDOW, noise: float = NOISE) -> None:
        if not (window >= 3 and noise >= 0):
            raise ConfigError(
                "competence: out of range", expected="window >= 3, noise >= 0", got=f"window {window}, noise {noise}"
            )
        self._window, self._noise = window, noise
        self.value = 0.0
        self._last: list[float] = []  # of the window
        self._seen = 0
        self._squares = self._fastest = 0.0

    def update(self, nll: float) -> float:
        """Take in the mean NLL of a step's execution tokens, nats; the gauge after it. A NaN changes nothing."""
        if not math.isfinite(nll):
            return self.value
        self._squares += (nll - self._last[-1]) ** 2 if self._last else 0.0
        self._last = [*self._last, nll][-self._window :]
        self._seen += 1
        n = len(self._last)
        if n < 3:
            return self.value
        x = np.arange(n) - (n - 1) / 2
        error = math.sqrt(self._squares / (2 * (self._seen - 1)) * 12 / (n * (n * n - 1)))
        fall = max(0.0, -float(x @ np.array(self._last)) / float(x @ x) - error)
        if n == self._window:  # slopes of fewer steps are too rough to be a record
            self._fastest = max(self._fastest, fall)
        floor = max(self._fastest, self._noise * error)
        left = min(1.0, fall / floor) if floor > 0 else 0.0
        self.value = min(1.0, (self._seen - 1) / self._window) * (1 - left)
        return self.value

    def state(self) -> dict[str, Any]:
        """Everything that the next steps depend on, as JSON values."""
        return {
            "window": self._window,
            "noise": self._noise,
            "value": self.value,
            "last": list(self._last),
            "seen": self._seen,
            "squares": self._squares,
            "fastest": self._fastest,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Gauge:
        """The gauge that `state` was taken of."""
        made = cls(window=int(state["window"]), noise=float(state["noise"]))
        made.value, made._last, made._seen = (
            float(state["value"]),
            [float(v) for v in state["last"]],
            int(state["seen"]),
        )
        made._squares, made._fastest = float(state["squares"]), float(state["fastest"])
        return made


def competence(nll: npt.ArrayLike, *, window: int = WINDOW, noise: float = NOISE) -> Floats:
    """The gauge at every step of a series.

    Args:
        nll: (S,) mean NLL of execution tokens, nats, of successive steps; a NaN repeats the last gauge.
        window, noise: as for `Gauge`.

    Returns:
        (S,) in [0, 1]; 0 at the first value.

    Raises:
        ConfigError: a window below 3, or a negative noise.
    """
    gauge = Gauge(window=window, noise=noise)
    return np.array([gauge.update(value) for value in np.asarray(nll, np.float64).tolist()], np.float64)
