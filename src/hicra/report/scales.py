"""Axis limits from the curves of a panel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hicra.report.quantities import Curve


def x_limits(curves: Sequence[Curve]) -> tuple[float, float]:
    """First and last step of any curve; a little room where there is one step only."""
    steps = np.concatenate([c.x for c in curves])
    low, high = float(steps.min()), float(steps.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def y_limits(curves: Sequence[Curve], unit: str) -> tuple[float, float]:
    """All that is drawn; from zero where the values reach far down anyway; shares within 0 and 1."""
    parts = [a[np.isfinite(a)] for c in curves for a in (c.line, c.low, c.high) if a is not None]
    raw = [c.raw[np.isfinite(c.raw)] for c in curves]
    parts += [np.quantile(r, (0.02, 0.98)) for r in raw if len(r)]
    values = np.concatenate(parts)
    low, high = float(values.min()), float(values.max())
    if low >= 0 and low < 0.5 * high:
        low = 0.0
    room = (high - low) * 0.06 or abs(high) * 0.1 or 0.5
    bottom = low if low == 0 else low - room
    top = high + room
    if unit == "share" and low >= 0 and high <= 1:
        bottom, top = max(0.0, bottom), min(1.0, max(top, 0.02))
    return bottom, top
