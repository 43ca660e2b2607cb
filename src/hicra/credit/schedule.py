"""alpha over training.

    constant     alpha(s) = alpha
    warmup       alpha(s) = alpha * min(1, s / warmup_steps)                 s = optimizer step, from 0
    competence   alpha(s) = alpha * max(0, (gauge(s) - gate) / (1 - gate))   gauge in [0, 1], 0 <= gate < 1

The paper keeps alpha constant (arXiv 2509.03646), reports that HICRA does not help a procedurally weak model, and
asks for a schedule that waits until procedures are sound. The competence schedule is ours: up to the gate training is
GRPO, above it alpha grows with the gauge and is whole where execution has settled. The gauge comes from outside
(`hicra.dynamics.gauge`, kept by the engine): a schedule is handed the number and computes none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Moment:
    """What a schedule may depend on.

    Attributes:
        step: optimizer step, from 0.
        warmup_steps: of the warm-up.
        gauge: competence in [0, 1], as it was after the step before.
        gate: where competence begins to count, in [0, 1).
    """

    step: int
    warmup_steps: int = 0
    gauge: float = 0.0
    gate: float = 0.0


def constant(alpha: float, at: Moment) -> float:
    """alpha at every step."""
    return alpha


def warmup(alpha: float, at: Moment) -> float:
    """0 at step 0, alpha from step `warmup_steps` on, a straight line between them."""
    return alpha if at.step >= at.warmup_steps else alpha * at.step / at.warmup_steps


def competence(alpha: float, at: Moment) -> float:
    """0 while the gauge is at or below the gate, alpha where it is 1, a straight line between them."""
    return alpha * max(0.0, (at.gauge - at.gate) / (1 - at.gate))


SCHEDULES: dict[str, Callable[[float, Moment], float]] = {
    "constant": constant,
    "warmup": warmup,
    "competence": competence,
}
"""Every schedule by its name; each never exceeds the alpha that it is given."""
