"""alpha over training.

    constant    alpha(s) = alpha
    warmup      alpha(s) = alpha * min(1, s / warmup_steps)         s = optimizer step, from 0

The paper keeps alpha constant (arXiv 2509.03646) and asks for a schedule that waits until procedures are sound; a
linear warm-up is the simplest one.
"""

from __future__ import annotations

from collections.abc import Callable


def constant(alpha: float, step: int, warmup_steps: int) -> float:
    """alpha at every step."""
    return alpha


def warmup(alpha: float, step: int, warmup_steps: int) -> float:
    """0 at step 0, alpha from step `warmup_steps` on, a straight line between them."""
    return alpha if step >= warmup_steps else alpha * step / warmup_steps


SCHEDULES: dict[str, Callable[[float, int, int], float]] = {"constant": constant, "warmup": warmup}
"""Every schedule by its name; each never exceeds the alpha that it is given."""
