"""Semantic entropy: how widely a policy spreads its strategic moves.

    H = -sum_k p_k log2 p_k          p_k = share of gram (or cluster) k among the occurrences of a step's batch, in bits

Source: arXiv 2509.03646. The plug-in estimate above grows with the number of occurrences n (its bias is about -(K-1)
/ (2 n ln 2) bits, Miller 1955), and completions get longer as training goes on, so its rise may be length alone. The
rarefied one compares steps at equal counts: the expected plug-in entropy of m occurrences drawn from the n without
replacement (individual-based rarefaction, Hurlbert 1971, applied to entropy). With c_k the counts and X_k
hypergeometric(n, c_k, m),

    H_m = log2 m - (1/m) sum_k E[X_k log2 X_k]

which is exact, not simulated.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from hicra.errors import DataError

Counts = npt.NDArray[np.int64]


def entropy_bits(counts: npt.ArrayLike) -> float:
    """Plug-in Shannon entropy of the frequencies, in bits.

    Args:
        counts: (K,) occurrences of each gram or cluster.

    Returns:
        Between 0 and log2 K; NaN where nothing occurred.

    Raises:
        DataError: counts that are negative or not whole.
    """
    present = _present(counts)
    n = int(present.sum())
    if n == 0:
        return math.nan
    p = present / n
    return max(0.0, float(-(p * np.log2(p)).sum()))  # one gram alone gives -0.0


def rarefied_entropy_bits(counts: npt.ArrayLike, m: int) -> float:
    """Expected plug-in entropy of m occurrences drawn without replacement, in bits.

    Args:
        counts: (K,) occurrences of each gram or cluster.
        m: occurrences to draw; take the smallest total of the batches that are to be compared.

    Returns:
        Between 0 and log2 m; NaN where fewer than m occurred.

    Raises:
        DataError: m below 1, or counts that are negative or not whole.
    """
    if m < 1:
        raise DataError("rarefaction needs at least one occurrence", expected="m >= 1", got=repr(m))
    present = _present(counts)
    n = int(present.sum())
    if n < m:
        return math.nan
    if len(present) == 1:
        return 0.0  # exactly, whatever the logarithms round to
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    distinct, times = np.unique(present, return_counts=True)  # grams of equal counts have equal terms
    expected = 0.0
    for c, times_c in zip(distinct.tolist(), times.tolist(), strict=True):
        x = np.arange(max(1, m - (n - c)), min(c, m) + 1)  # x = 0 adds nothing
        log_p = (
            _log_choose(log_factorial, c, x)
            + _log_choose(log_factorial, n - c, m - x)
            - _log_choose(log_factorial, n, m)
        )
        expected += times_c * float((np.exp(log_p) * x * np.log2(x)).sum())
    return max(0.0, math.log2(m) - expected / m)


def cluster_counts(gram_counts: npt.ArrayLike, cluster_id: npt.ArrayLike) -> Counts:
    """Occurrences of each cluster from those of its grams.

    Args:
        gram_counts: (K,) occurrences of each gram.
        cluster_id: (K,) index of each gram's cluster, -1 for none (`GramSet.cluster_id`).

    Returns:
        (C,) int64, C the largest index + 1. Grams without a cluster are left out.

    Raises:
        DataError: arrays of different lengths, or counts that are negative or not whole.
    """
    counts, ids = _whole(gram_counts), np.asarray(cluster_id)
    if counts.shape != ids.shape:
        raise DataError(
            "gram counts and cluster ids differ in length",
            expected="one of each a gram",
            got=f"{counts.shape}, {ids.shape}",
        )
    kept = ids >= 0
    out = np.zeros(int(ids.max(initial=-1)) + 1, np.int64)
    np.add.at(out, ids[kept], counts[kept])
    return out


def _log_choose(log_factorial: npt.NDArray[np.float64], n: int, k: Any) -> Any:
    return log_factorial[n] - log_factorial[k] - log_factorial[n - k]


def _whole(counts: npt.ArrayLike) -> Counts:
    given = np.asarray(counts)
    whole = given.astype(np.int64) if given.dtype.kind in "iub" or np.isfinite(given).all() else None
    if whole is None or given.ndim != 1 or (whole != given).any() or (whole < 0).any():
        raise DataError("these are no counts", expected="(K,) whole numbers >= 0", got=f"{given.dtype} {given.shape}")
    return whole


def _present(counts: npt.ArrayLike) -> Counts:
    whole = _whole(counts)
    return whole[whole > 0]
