"""What the samples of one item say. An item was answered k times, c of the answers are right.

    avg@k              c / k
    pass@j             1 - C(k-c, j) / C(k, j)                  the chance that one of j answers is right, unbiased
                       (Chen et al. 2021, arXiv 2107.03374), j <= k
    sampling variance  c (k-c) / (k (k-1))                      of one answer, unbiased; needs k >= 2

I items everywhere; counts are integers, the results are shares between 0 and 1.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hicra.errors import DataError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def avg_at_k(samples: npt.ArrayLike, correct: npt.ArrayLike) -> Floats:
    """(I,) share of right answers of each item.

    Args:
        samples: (I,) answers of each item, at least 1.
        correct: (I,) how many of them are right.

    Raises:
        DataError: counts that are not 0 <= correct <= samples, samples >= 1.
    """
    k, c = _checked(samples, correct)
    return c / k


def pass_at_k(samples: npt.ArrayLike, correct: npt.ArrayLike, k: int) -> Floats:
    """(I,) unbiased chance that at least one of `k` answers is right.

    Args:
        samples: (I,) answers of each item.
        correct: (I,) how many of them are right.
        k: answers that one may give, at most as many as an item has.

    Raises:
        DataError: wrong counts, or an item with fewer than `k` answers.

    >>> pass_at_k([4, 4, 4], [0, 1, 3], 2).tolist()
    [0.0, 0.5, 1.0]
    """
    n, c = _checked(samples, correct)
    if k < 1 or (n < k).any():
        raise DataError(
            f"pass@{k} cannot be estimated",
            expected="1 <= k <= the answers of every item",
            got=f"{n.min()} answers of an item",
            mend="ask for a smaller k, or sample more",
        )
    missed = np.ones(c.shape)
    for i in range(k):
        missed *= np.maximum(n - c - i, 0) / (n - i)
    return 1 - missed


def sampling_variance(samples: npt.ArrayLike, correct: npt.ArrayLike) -> Floats:
    """(I,) unbiased variance of one answer of each item; NaN for an item that was answered once.

    >>> sampling_variance([4], [2]).round(4).tolist()
    [0.3333]
    """
    k, c = _checked(samples, correct)
    with np.errstate(invalid="ignore", divide="ignore"):
        out: Floats = c * (k - c) / (k * (k - 1))
    return np.where(k > 1, out, np.nan)


def _checked(samples: npt.ArrayLike, correct: npt.ArrayLike) -> tuple[Ints, Ints]:
    k, c = np.asarray(samples), np.asarray(correct)
    whole = np.issubdtype(k.dtype, np.integer) and np.issubdtype(c.dtype, np.integer)
    if not whole or k.shape != c.shape or (c < 0).any() or (k < 1).any() or (c > k).any():
        raise DataError(
            "counts of right answers are out of range",
            expected="integers 0 <= correct <= samples, samples >= 1, of one shape",
            got=f"samples {_shown(k)}, correct {_shown(c)}",
        )
    return k.astype(np.int64), c.astype(np.int64)


def _shown(values: npt.NDArray[np.generic]) -> str:
    return f"{values.dtype} {values.shape}" + (f" in [{values.min()}, {values.max()}]" if values.size else "")
