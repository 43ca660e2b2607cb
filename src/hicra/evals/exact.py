"""Exact tests of paired answers, and Holm's correction.

McNemar, exact     b items went from wrong to right, c from right to wrong: under the null b ~ Binomial(b + c, 1/2);
                   p = min(1, 2 P(X <= min(b, c)))           (McNemar 1947; Dixon and Mood's sign test, 1946)
sign flips         the null says that each item's difference d_i could as well have been -d_i:
                   p = P(|sum +-d_i| >= |sum d_i|)            (Fisher 1935)
                   d_i are whole numbers of answers, so the distribution of the sum is a convolution of I two-point
                   distributions: exact, no random draws, whatever I. For one answer an item it is exact McNemar.
Holm (1979)        p_(1) <= ... <= p_(m) of one family: adjusted p_(j) = max_{i <= j} min(1, (m - i + 1) p_(i))
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hicra.errors import DataError, require
from hicra.evals.estimators import Floats


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided p-value for `gained` items that only the one has right and `lost` that only the other has.

    Raises:
        DataError: negative counts.
        MissingExtraError: scipy is not installed.

    >>> round(mcnemar(9, 2), 4)
    0.0654
    """
    if gained < 0 or lost < 0:
        raise DataError("McNemar's test: negative counts", expected="counts of items", got=f"{gained} and {lost}")
    if gained == lost:
        return 1.0
    below = require("scipy.special", "eval").bdtr(min(gained, lost), gained + lost, 0.5)
    return min(1.0, 2 * float(below))


def sign_flips(differences: npt.ArrayLike, *, most: int = 4_000_000) -> float:
    """Two-sided p-value of the sum of `differences` when the sign of each is a coin's.

    Args:
        differences: (I,) integers: by how many answers an item (or a cluster) differs. With unequal numbers of answers
            bring them to a common denominator first.
        most: refuse sums beyond this many steps of the lattice; memory is 8 bytes a step.

    Raises:
        DataError: not integers, or the lattice is too fine.

    >>> sign_flips([3, 1, 2])  # only +++ and --- of 8 reach 6
    0.25
    """
    given = np.asarray(differences)
    if given.ndim != 1 or not np.issubdtype(given.dtype, np.integer):
        raise DataError("sign flips: not whole numbers", expected="(I,) integers", got=f"{given.dtype} {given.shape}")
    steps = np.abs(given[given != 0]).astype(np.int64)
    if len(steps) == 0:
        return 1.0
    unit = int(np.gcd.reduce(steps))
    steps = np.sort(steps // unit)
    observed, reach = abs(int(given.sum())) // unit, int(steps.sum())
    if reach > most:
        raise DataError(
            "sign flips: the differences are too fine for an exact test",
            expected=f"a sum of at most {most:,} steps",
            got=f"{reach:,}",
            mend="use as many answers for every item",
        )
    # chances of the sum of the chosen steps: a total of `s` chosen makes the sum 2 s - reach
    chances = np.zeros(reach + 1)
    chances[0] = 1.0
    so_far = 0
    for step in steps.tolist():
        chances[: so_far + 1] *= 0.5
        chances[step : so_far + step + 1] += chances[: so_far + 1].copy()
        so_far += step
    sums = 2 * np.arange(reach + 1) - reach
    return min(1.0, float(chances[np.abs(sums) >= observed].sum()))


def holm(p: Sequence[float] | Floats) -> Floats:
    """(m,) adjusted p-values of one family of tests; NaNs stay and are not counted as tests.

    Raises:
        DataError: a value outside [0, 1].

    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p, np.float64)
    if ((values < 0) | (values > 1)).any():
        raise DataError("Holm: not p-values", expected="numbers in [0, 1]", got=f"{values.min()} to {values.max()}")
    out = np.full(values.shape, np.nan)
    tested = np.flatnonzero(np.isfinite(values))
    order = tested[np.argsort(values[tested], kind="stable")]
    times = np.arange(len(order), 0, -1)
    out[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * times))
    return out
