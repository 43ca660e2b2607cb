"""Clusters of vectors and their functions."""

from __future__ import annotations

import numpy as np
import pytest

from hicra.errors import ConfigError, DataError
from hicra.grams.cluster import average_linkage, cluster, k_means
from hicra.grams.functions import PROTOTYPES, assign
from hicra.grams.profiles import PAPER, REFINED

pytest.importorskip("scipy")


def directions(*degrees: float) -> np.ndarray:
    angle = np.radians(degrees)
    return np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32)


def test_average_linkage_cuts_at_the_mean_distance() -> None:
    vectors = directions(0, 10, 90, 100, 180)
    near = 1 - np.cos(np.radians(10))
    # between the first two pairs: mean of 1 - cos of 90, 100, 80, 90 degrees = 1
    assert average_linkage(vectors, near * 0.99).tolist() == [0, 1, 2, 3, 4]
    assert average_linkage(vectors, near * 1.01).tolist() == [0, 0, 1, 1, 2]
    assert average_linkage(vectors, 1.001).tolist() in ([0, 0, 0, 0, 1], [0, 0, 1, 1, 1])
    assert average_linkage(vectors, 2).tolist() == [0] * 5


def test_clusters_do_not_depend_on_the_order() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(60, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    order = rng.permutation(60)
    one, other = average_linkage(vectors, 0.6), average_linkage(vectors[order], 0.6)
    assert 1 < one.max() < 59
    same = one[order][:, None] == one[order][None]
    assert (same == (other[:, None] == other[None])).all()


def test_large_inputs_are_parted() -> None:
    vectors = directions(0, 1, 2, 3, 90, 91, 92, 93)
    found = average_linkage(vectors, 0.1, largest=4)
    assert found.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert average_linkage(vectors, 0.1, largest=1).tolist() == list(range(8))


def test_k_means() -> None:
    pytest.importorskip("sklearn")
    vectors = directions(0, 90, 1, 91)
    assert k_means(vectors, 2).tolist() == [0, 1, 0, 1]
    assert k_means(vectors[:1], 9).tolist() == [0]
    with pytest.raises(ConfigError):
        k_means(vectors, 0)


def test_the_profile_says_how() -> None:
    pytest.importorskip("sklearn")
    vectors = directions(0, 1, 90)
    assert cluster(vectors, REFINED).tolist() == [0, 0, 1]
    assert sorted(cluster(vectors, PAPER).tolist()) == [0, 1, 2]  # of 100 centres as many as there are rows


def test_what_cannot_be_clustered() -> None:
    with pytest.raises(DataError):
        average_linkage(np.zeros((0, 3), np.float32), 0.4)
    with pytest.raises(ConfigError):
        average_linkage(directions(0), 3)


class Words:
    """Sentences to vectors, from a table."""

    def __init__(self, table: dict[str, float]) -> None:
        self.table = table

    def encode(self, texts: list[str]) -> np.ndarray:
        return directions(*(self.table[t] for t in texts))


def test_functions_by_nearest_prototypes() -> None:
    prototypes = {"deduction": ["so"], "backtracing": ["wait", "hmm"]}
    encoder = Words({"so": 0, "wait": 90, "hmm": 120})
    assert assign(directions(10, 80, 130), encoder, prototypes=prototypes) == [
        "deduction",
        "backtracing",
        "backtracing",
    ]
    # two prototypes are averaged: at 60 degrees "so" is at 60 degrees, "wait" at 30, "hmm" at 60
    assert assign(directions(50), encoder, prototypes=prototypes) == ["deduction"]
    assert assign(directions(50), encoder, prototypes=prototypes, nearest=1) == ["backtracing"]


def test_every_function_has_prototypes() -> None:
    assert set(PROTOTYPES) == {"deduction", "branching", "backtracing"}
    with pytest.raises(ConfigError):
        assign(directions(0), Words({}), prototypes={"deduction": []})
    with pytest.raises(ConfigError):
        assign(directions(0), Words({"x": 0}), prototypes={"singing": ["x"]})  # type: ignore[dict-item]
    with pytest.raises(DataError):
        assign(np.ones((1, 3), np.float32), Words({"x": 0}), prototypes={"deduction": ["x"]})
