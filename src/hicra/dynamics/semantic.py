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
    present = present_counts(counts)
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
    present = present_counts(counts)
    n = int(present.sum())
    if n < m:
        return math.nan
    if len(present) == 1:
        return 0.0  # exactly, whatever the logarithms round to
    distinct, times = np.unique(present, return_counts=True)  # grams of equal counts have equal terms
    expected = float((times * expected_x_log_x(np.full(len(distinct), n), distinct, m)).sum())
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


_log_factorials = np.zeros(1)
"""log 0!, log 1!, ...: grows to the largest number of occurrences seen."""


def _log_factorial(n: int) -> npt.NDArray[np.float64]:
    global _log_factorials
    if len(_log_factorials) <= n:
        size = max(n + 1, 2 * len(_log_factorials))
        _log_factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, size, dtype=np.float64)))])
    return _log_factorials


def expected_x_log_x(n: Counts, c: Counts, m: int) -> npt.NDArray[np.float64]:
    """(J,) E[X log2 X] of X ~ hypergeometric(n_j, c_j, m): what rarefaction sums over grams.

    Sums over what X can be, and no further from its mean than ten standard deviations and twenty: what lies beyond has
    less than 1e-15 of the probability.

    Args:
        n: (J,) all occurrences, >= m.
        c: (J,) those of one gram, 1..n_j.
        m: occurrences drawn.
    """
    mean = m * c / n
    reach = 10 * np.sqrt(mean * (1 - c / n)) + 20
    first = np.maximum(np.maximum(1, m - (n - c)), np.floor(mean - reach).astype(np.int64))  # x = 0 adds nothing
    last = np.minimum(np.minimum(c, m), np.ceil(mean + reach).astype(np.int64))
    length = last - first + 1
    owner = np.repeat(np.arange(len(c)), length)
    x = np.arange(len(owner)) - np.repeat(np.cumsum(length) - length, length) + first[owner]
    f = _log_factorial(int(n.max(initial=0)))
    log_all = f[m] + f[n - m] - f[n] + f[c] + f[n - c]
    cx, rest = c[owner], (n - c)[owner] - m
    log_p = log_all[owner] - f[x] - f[cx - x] - f[m - x] - f[rest + x]
    return np.bincount(owner, np.exp(log_p) * x * np.log2(x), minlength=len(c)).astype(np.float64)


def _whole(counts: npt.ArrayLike) -> Counts:
    given = np.asarray(counts)
    whole = given.astype(np.int64) if given.dtype.kind in "iub" or np.isfinite(given).all() else None
    if whole is None or given.ndim != 1 or (whole != given).any() or (whole < 0).any():
        raise DataError("these are no counts", expected="(K,) whole numbers >= 0", got=f"{given.dtype} {given.shape}")
    return whole


def present_counts(counts: npt.ArrayLike) -> Counts:
    """The counts above 0, checked.

    Raises:
        DataError: counts that are negative or not whole.
    """
    whole = _whole(counts)
    return whole[whole > 0]
