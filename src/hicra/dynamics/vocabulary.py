"""Names and clusters of the grams of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hicra.dynamics.series import Ints


@dataclass(frozen=True, slots=True, eq=False)
class Vocabulary:
    """The gram set of a run.

    Attributes:
        grams: (K,) texts; grams that the set does not list are called by their number.
        clusters: (C,) names, in order.
        cluster_of: (K,) index into `clusters`, -1 for none.
        hash: of the set, None where the run has none.
    """

    grams: tuple[str, ...]
    clusters: tuple[str, ...]
    cluster_of: Ints
    hash: str | None

    @classmethod
    def of(cls, content: Mapping[str, Any] | None, largest: int) -> Vocabulary:
        """From grams.json, for gram ids up to `largest` (-1: none)."""
        entries = list((content or {}).get("grams") or [])
        texts = [str(g.get("text", i)) for i, g in enumerate(entries)]
        texts += [f"gram {i}" for i in range(len(texts), largest + 1)]
        names = [g.get("cluster") for g in entries] + [None] * (len(texts) - len(entries))
        clusters = tuple(sorted({str(n) for n in names if n is not None}))
        index = {name: i for i, name in enumerate(clusters)}
        of = np.array([-1 if n is None else index[str(n)] for n in names], np.int64)
        found = (content or {}).get("hash")
        return cls(tuple(texts), clusters, of, None if found is None else str(found))

    def levels(self) -> dict[str, tuple[int, Ints | None]]:
        """Level -> (number of classes, class of each gram or None for grams themselves)."""
        found: dict[str, tuple[int, Ints | None]] = {"gram": (len(self.grams), None)} if self.grams else {}
        if self.clusters:
            found["cluster"] = (len(self.clusters), self.cluster_of)
        return found

    @property
    def moves(self) -> tuple[str, tuple[str, ...], Ints | None]:
        """What a move is: level, names, class of each gram (None: the gram itself)."""
        if self.clusters:
            return "cluster", self.clusters, self.cluster_of
        return "gram", self.grams, None
