"""Wordings of one move, together: clusters of phrase vectors.

`average_linkage` (profile ``refined``): agglomerative clustering by mean cosine distance between members, cut at a
distance. It needs the distances of all pairs, 4 K^2 bytes twice over; beyond `LARGEST` rows the vectors are first
halved, again and again, along their direction of greatest variance, and each part is clustered on its own.

`k_means` (profile ``paper``): Lloyd's algorithm from k-means++ seeds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hicra.errors import ConfigError, DataError, require

if TYPE_CHECKING:
    import numpy.typing as npt

    from hicra.grams.profiles import Profile

    Vectors = npt.NDArray[np.float32]
    Clusters = npt.NDArray[np.int64]

LARGEST = 10_000
"""Rows that average linkage takes in one piece: .4 GB of distances, and as much again while it works."""


def cluster(vectors: Vectors, profile: Profile) -> Clusters:
    """Cluster by the profile's method.

    Args:
        vectors: (K, D) unit rows, K >= 1; give them in a fixed order, e.g. that of their texts.
        profile: its `clustering`, `distance`, `clusters` and `seed` are read.

    Returns:
        (K,) number of the cluster of each row, 0 ... C-1 in the order of their first member.
    """
    if profile.clustering == "average":
        return average_linkage(vectors, profile.distance)
    return k_means(vectors, profile.clusters, seed=profile.seed)


def average_linkage(vectors: Vectors, distance: float, *, largest: int = LARGEST) -> Clusters:
    """Merge the two nearest clusters until none are nearer than `distance` (mean cosine distance of their members).

    Args:
        vectors: (K, D) unit rows.
        distance: in 0 ... 2.
        largest: rows that are clustered in one piece.

    Raises:
        ConfigError: the distance is out of range.
        DataError: no rows.
    """
    if not 0 <= distance <= 2:
        raise ConfigError("the distance of clusters is out of range", expected="0 ... 2", got=repr(distance))
    _check(vectors)
    found = np.empty(len(vectors), np.int64)
    count = 0
    for part in _parts(vectors, np.arange(len(vectors)), largest):
        labels = _linked(vectors[part], distance)
        found[part] = labels + count
        count += int(labels.max()) + 1
    return _in_order(found)


def k_means(vectors: Vectors, clusters: int, *, seed: int = 0) -> Clusters:
    """Clusters about `clusters` centres (as many as there are rows, if these are fewer)."""
    if clusters < 1:
        raise ConfigError("there must be a cluster", expected="clusters >= 1", got=repr(clusters))
    _check(vectors)
    model = require("sklearn.cluster", "mine").KMeans(min(clusters, len(vectors)), n_init=1, random_state=seed)
    return _in_order(np.asarray(model.fit_predict(vectors), np.int64))


def _check(vectors: Vectors) -> None:
    if vectors.ndim != 2 or not len(vectors):
        raise DataError("there are no vectors to cluster", expected="(K, D) with K >= 1", got=str(vectors.shape))


def _linked(vectors: Vectors, distance: float) -> Clusters:
    if len(vectors) == 1:
        return np.zeros(1, np.int64)
    hierarchy: Any = require("scipy.cluster.hierarchy", "mine")
    size = len(vectors)
    apart = np.empty(size * (size - 1) // 2)
    at = 0
    for i in range(size - 1):  # the upper triangle row by row: never the full matrix
        row = 1 - vectors[i + 1 :] @ vectors[i]
        apart[at : at + len(row)] = row
        at += len(row)
    np.maximum(apart, 0, out=apart)
    tree = hierarchy.linkage(apart, "average")
    return np.asarray(hierarchy.fcluster(tree, distance, "distance"), np.int64) - 1


def _parts(vectors: Vectors, rows: npt.NDArray[np.int64], largest: int) -> list[npt.NDArray[np.int64]]:
    """The rows, halved at the median of their first principal component until each part is small enough."""
    if len(rows) <= largest:
        return [rows]
    centred = vectors[rows] - vectors[rows].mean(0)
    _, axes = np.linalg.eigh(centred.T.astype(np.float64) @ centred)
    order = np.argsort(centred @ axes[:, -1], kind="stable")
    half = len(rows) // 2
    low, high = np.sort(rows[order[:half]]), np.sort(rows[order[half:]])
    return _parts(vectors, low, largest) + _parts(vectors, high, largest)


def _in_order(found: Clusters) -> Clusters:
    """Renumbered by first member."""
    _, first, inverse = np.unique(found, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]
