"""A mean over problems with its 95 % interval.

    mean(x) +- 1.96 sd(x) / sqrt(n)          x_i = one number a problem, n problems (sd with divisor n - 1)

Several completions of one problem are not independent, so they are averaged first and the problems are what counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean, low and high end; infinitely uncertain with fewer than two values, NaN with none."""
    n = len(values)
    if n < 2:
        return (values[0] if n else math.nan), -math.inf, math.inf
    mean = sum(values) / n
    half = 1.96 * math.sqrt(sum((x - mean) ** 2 for x in values) / (n - 1) / n)
    return mean, mean - half, mean + half
