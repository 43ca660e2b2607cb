"""Semantic entropy: plug-in and rarefied, against enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from hicra.dynamics.semantic import cluster_counts, entropy_bits, rarefied_entropy_bits
from hicra.errors import DataError


def test_plug_in() -> None:
    assert entropy_bits([1, 1, 1, 1]) == 2.0
    assert entropy_bits([5, 0, 0]) == 0.0
    # 3/4 and 1/4: .75 * log2(4/3) + .25 * 2
    assert entropy_bits([3, 1]) == pytest.approx(0.75 * math.log2(4 / 3) + 0.5)
    assert math.isnan(entropy_bits([0, 0]))
    assert math.isnan(entropy_bits([]))


@pytest.mark.parametrize("counts", [[2, 1], [3, 2, 1], [1, 1, 1], [4, 0, 2], [5, 1, 1]])
@pytest.mark.parametrize("m", [1, 2, 3])
def test_rarefied_is_the_mean_over_all_draws(counts: list[int], m: int) -> None:
    urn = [k for k, c in enumerate(counts) for _ in range(c)]
    draws = [entropy_bits(np.bincount(draw, minlength=len(counts))) for draw in itertools.combinations(urn, m)]
    assert rarefied_entropy_bits(counts, m) == pytest.approx(np.mean(draws), abs=1e-12)


def test_rarefied_ends() -> None:
    counts = [7, 3, 11, 1]
    assert rarefied_entropy_bits(counts, sum(counts)) == pytest.approx(entropy_bits(counts))
    assert rarefied_entropy_bits(counts, 1) == 0.0
    assert rarefied_entropy_bits([9], 4) == 0.0
    assert math.isnan(rarefied_entropy_bits(counts, sum(counts) + 1))
    # large counts: the law of large numbers brings it near the entropy of the frequencies
    assert rarefied_entropy_bits([50_000, 50_000], 10_000) == pytest.approx(1.0, abs=1e-3)


def test_clusters() -> None:
    assert cluster_counts([4, 2, 1, 7], [1, 0, 1, -1]).tolist() == [2, 5]
    assert cluster_counts([4, 2], [-1, -1]).tolist() == []


def test_bad_counts() -> None:
    for bad in ([-1, 2], [0.5], [math.nan], [[1, 2]]):
        with pytest.raises(DataError, match="no counts"):
            entropy_bits(bad)
    with pytest.raises(DataError, match="m >= 1"):
        rarefied_entropy_bits([1, 2], 0)
    with pytest.raises(DataError, match="differ in length"):
        cluster_counts([1, 2], [0])
