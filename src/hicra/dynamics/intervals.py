"""Intervals in closed form. All are 95 %.

Wilson (1927)        (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)         a share of n trials
clustered ratio      r = sum a / sum b;  var r = G/(G-1) sum_g (a_g - r b_g)^2 / (sum b)^2   G prompts (Cochran 1977)
jackknife            se^2 = (G-1)/G sum_g (theta_-g - mean theta_-g)^2                 leave one block out
Student's t          97.5 % quantile by the expansion of Cornish and Fisher (1938); a table below 4 degrees
Holm (1979)          p-values of a family, adjusted
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from hicra.dynamics.series import Floats, Ints

Z = 1.959963984540054

_T975 = (12.706, 4.303, 3.182)


def wilson(successes: float, n: float) -> tuple[float, float]:
    """Wilson's interval of a share of `n` independent trials; NaN for none.

    >>> [round(x, 3) for x in wilson(50, 100)]
    [0.404, 0.596]
    """
    if n <= 0:
        return math.nan, math.nan
    p = successes / n
    centre = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def clustered_share(top: Floats, bottom: Floats) -> tuple[float, float, float]:
    """sum(top) / sum(bottom) with an interval that counts prompts, not completions, as independent.

    Args:
        top, bottom: (G,) sums of each prompt, 0 <= top <= bottom.

    Returns:
        The share, and the ends of its interval within [0, 1]: NaN for a single prompt, and Wilson's interval with
        prompts for trials where all are alike (their variance says nothing then).
    """
    used = bottom > 0
    a, b = top[used], bottom[used]
    if len(b) == 0:
        return math.nan, math.nan, math.nan
    share = float(a.sum() / b.sum())
    if len(b) == 1:
        return share, math.nan, math.nan
    variance = len(b) / (len(b) - 1) * float(np.square(a - share * b).sum()) / float(b.sum()) ** 2
    if variance <= 1e-18:
        return share, *wilson(share * len(b), len(b))
    half = student_t975(len(b) - 1) * math.sqrt(variance)
    return share, max(0.0, share - half), min(1.0, share + half)


def jackknife_error(left_out: npt.ArrayLike) -> float:
    """Standard error from the (G,) leave-one-out values; NaN for fewer than two."""
    values = np.asarray(left_out, np.float64)
    n = len(values)
    return math.sqrt((n - 1) / n * float(np.square(values - values.mean()).sum())) if n > 1 else math.nan


def student_t975(freedom: float) -> float:
    """97.5 % quantile of Student's t.

    >>> [round(student_t975(n), 2) for n in (1, 4, 10, 1000)]
    [12.71, 2.77, 2.23, 1.96]
    """
    if freedom < 4:
        return _T975[max(0, int(freedom) - 1)]
    first = (Z**3 + Z) / 4
    second = (5 * Z**5 + 16 * Z**3 + 3 * Z) / 96
    third = (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / 384
    return Z + first / freedom + second / freedom**2 + third / freedom**3


def two_sided_p(z: float) -> float:
    """P(|N(0,1)| >= |z|).

    >>> round(two_sided_p(Z), 6)
    0.05
    """
    return math.erfc(abs(z) / math.sqrt(2))


def holm(p: npt.ArrayLike) -> Floats:
    """Holm's adjusted p-values; NaNs stay and are not counted as tests.

    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p, np.float64)
    out = np.full(len(values), np.nan)
    tested: Ints = np.flatnonzero(np.isfinite(values))
    order = tested[np.argsort(values[tested], kind="stable")]
    factor = np.arange(len(order), 0, -1)
    out[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * factor))
    return out
