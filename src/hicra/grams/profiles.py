"""Profiles: every choice of mining by name.

``paper`` follows arXiv 2509.03646 to the letter; what the paper leaves open is a field with the default said here.
``refined`` is the default: short grams too, positions, a judge that tells steering from content, no cluster quota.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from hicra.errors import ConfigError

Clustering = Literal["average", "kmeans"]


@dataclass(frozen=True)
class Profile:
    """Settings of `hicra.mine`.

    Attributes:
        name: of the profile.
        n_min, n_max: words of a gram. The paper: 3 ... 5.
        min_problems: in how many distinct problems a gram must occur: a number, a share, or the greater of a pair.
            The paper gives none; embedding every n-gram of a large corpus is out of reach, so here too the rare go.
        judged: whether the judge (`hicra.grams.judge`) tells steering from content. Not in the paper.
        likely: least probability of steering, from its numbers, for a gram to be embedded at all.
        steers: least probability, from numbers and meaning, for a gram to be kept: at any place, at the start of a
            clause, or at that of a sentence (`hicra.grams.filters.positions`).
        clustering: ``"average"`` linkage cut at `distance`, or ``"kmeans"`` with `clusters` centres. The paper names
            neither model nor method.
        distance: mean cosine distance at which clusters are no longer merged.
        clusters: centres of k-means.
        seed: of k-means.
        top: share of the clusters that is kept, those with the greatest document frequency. The paper: 0.2.
        cluster_problems: least share of the problems that a kept cluster must be in.
        frequency: what a cluster's document frequency counts: ``"solutions"`` (the paper) or ``"problems"`` (many
            rollouts of one problem are one).
    """

    name: str
    n_min: int = 1
    n_max: int = 6
    min_problems: int | float | tuple[int, float] = (4, 0.0001)
    judged: bool = True
    likely: float = 0.6
    steers: float = 0.8
    clustering: Clustering = "average"
    distance: float = 0.45
    clusters: int = 100
    seed: int = 0
    top: float = 1.0
    cluster_problems: float = 0.0
    frequency: Literal["problems", "solutions"] = "problems"

    def __post_init__(self) -> None:
        if not 1 <= self.n_min <= self.n_max:
            raise ConfigError(
                "the lengths of grams are out of range",
                expected="1 <= n_min <= n_max",
                got=f"n_min={self.n_min}, n_max={self.n_max}",
            )
        for name in ("likely", "steers", "top", "cluster_problems"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is out of range", expected="0 ... 1", got=repr(getattr(self, name)))
        if self.clustering not in get_args(Clustering):
            raise ConfigError(
                "unknown clustering", expected=" | ".join(get_args(Clustering)), got=repr(self.clustering)
            )
        if self.frequency not in ("problems", "solutions"):
            raise ConfigError("unknown frequency", expected="problems | solutions", got=repr(self.frequency))


PAPER = Profile(
    "paper",
    n_min=3,
    n_max=5,
    min_problems=(5, 0.002),
    judged=False,
    clustering="kmeans",
    top=0.2,
    frequency="solutions",
)
"""The published recipe."""

REFINED = Profile("refined")
"""The default."""

PROFILES = {profile.name: profile for profile in (PAPER, REFINED)}
