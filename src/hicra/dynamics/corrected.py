"""Entropy of frequencies, corrected for how few occurrences it is estimated from, in bits.

With n occurrences of K_obs different grams, of which f_1 occur once:

    Miller-Madow    H_MM = H + (K_obs - 1) / (2 n ln 2)                                      Miller 1955
    Chao-Shen       H_CS = -sum_k C p_k log2(C p_k) / (1 - (1 - C p_k)^n),  C = 1 - f_1/n    Chao and Shen 2003
    normalised      H / log2 K,  K the size of the gram set, the same at every step          Pielou 1966

H is the plug-in of `hicra.dynamics.semantic`. Miller-Madow takes away the first term of the bias and is right once n is
several times K. Chao-Shen estimates by the share of grams seen once how much of the distribution was never seen, which
holds for far fewer occurrences at the price of more variance. Neither is a licence to compare 30 occurrences with
30,000: for that, rarefy (`rarefied_entropy_bits`).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from hicra.dynamics.semantic import entropy_bits, present_counts
from hicra.errors import DataError


def miller_madow_bits(counts: npt.ArrayLike) -> float:
    """Plug-in entropy plus the first term of its bias.

    Args:
        counts: (K,) occurrences of each gram or cluster.

    Returns:
        At least the plug-in, and at most log2 K_obs plus that term; NaN where nothing occurred.

    Raises:
        DataError: counts that are negative or not whole.
    """
    present = present_counts(counts)
    n = int(present.sum())
    return entropy_bits(present) + (len(present) - 1) / (2 * n * math.log(2)) if n else math.nan


def chao_shen_bits(counts: npt.ArrayLike) -> float:
    """Coverage-adjusted Horvitz-Thompson estimate of the entropy.

    Where every occurrence is of another gram (f_1 = n) the coverage would be 0; f_1 is taken for n - 1 then.

    Args:
        counts: (K,) occurrences of each gram or cluster.

    Returns:
        NaN where nothing occurred, 0 for a single occurrence.

    Raises:
        DataError: counts that are negative or not whole.
    """
    present = present_counts(counts)
    n = int(present.sum())
    if n <= 1:
        return 0.0 if n else math.nan
    singletons = int((present == 1).sum())
    coverage = 1 - min(singletons, n - 1) / n
    p = coverage * present / n
    seen = -np.expm1(n * np.log1p(-np.minimum(p, 1 - 1e-16)))  # probability that the gram occurs in n draws
    return max(0.0, float(-(p * np.log2(p) / seen).sum()))


def normalised(bits: float, size: int) -> float:
    """An entropy as a share of the largest one that `size` grams or clusters can have.

    Raises:
        DataError: size below 1.
    """
    if size < 1:
        raise DataError("an entropy is normalised by the number of grams", expected="size >= 1", got=repr(size))
    return bits / math.log2(size) if size > 1 else 0.0 * bits
