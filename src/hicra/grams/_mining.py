"""The steps of `hicra.grams.mine`, and what each leaves behind."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

import hicra
from hicra.errors import DataError
from hicra.grams.cluster import cluster
from hicra.grams.corpus import Corpus
from hicra.grams.embed import Encoder
from hicra.grams.evidence import Evidence, totals
from hicra.grams.filters import Rule, judge, keep_clusters, late_rules, positions, rules, signals
from hicra.grams.functions import assign
from hicra.grams.gramset import Gram, GramSet
from hicra.grams.judge import fingerprint
from hicra.grams.sources import Tally

if TYPE_CHECKING:
    import numpy.typing as npt

    from hicra.grams.profiles import Profile
    from hicra.grams.ray_engine import RayCorpus

Progress = Callable[[str, int, int | None], None]
"""Called with the stage, how much of it is done, and of how much (None where nobody knows)."""


class Run:
    """One run: what is known of each of K candidates, in the order of their texts, filled in step by step.

    Attributes:
        left: bool (K,), the candidates that no rule has dropped yet.
        funnel: after each step, what it did and how many candidates it left.
    """

    def __init__(self, profile: Profile, encoder: Encoder, report: Progress) -> None:
        self.profile, self.encoder, self.report = profile, encoder, report
        self.funnel: list[dict[str, Any]] = []

    def reading(self, stage: str, done: int) -> None:
        """Progress of reading."""
        self.report(stage, done, None)

    def count(self, corpus: Corpus | RayCorpus) -> None:
        """Count n-grams."""
        n_max = self.profile.n_max
        self.counts = corpus.count(
            n_max=n_max,
            min_problems=self.profile.min_problems,
            progress=lambda stage, done: self.report(stage, done, n_max),
        )
        size = len(self.counts)
        self.left = np.ones(size, np.bool_)
        self.rule: npt.NDArray[np.object_] = np.full(size, None, np.object_)
        self.reason: npt.NDArray[np.object_] = np.full(size, None, np.object_)
        self.at: npt.NDArray[np.object_] = np.full(size, "any", np.object_)
        self.cluster_of = np.full(size, -1, np.int64)
        least, problems = self.counts.min_problems, self.counts.n_problems
        self._step(f"n-grams of up to {n_max} words in at least {least:,} of {problems:,} problems")
        if not size:
            raise DataError(
                f"the corpus is too small to mine: no phrase occurs in {least:,} distinct problems or more",
                expected="solutions to hundreds of problems",
                got=f"problems: {problems:,}, solutions: {self.counts.n_solutions:,}, words: {self.counts.n_words:,}",
                mend="give more traces, or lower min_problems of the profile (--set min_problems=2)",
            )

    def filter(self) -> None:
        """Drop what the numbers tell to be content."""
        self.signals = dict(signals(self.counts))
        self._apply(rules(self.profile))

    def judge(self) -> None:
        """Embed what is left; drop what numbers and meaning together tell to be content."""
        left = np.flatnonzero(self.left)
        texts = [str(text) for text in self.counts.text[left]]
        vectors = self.encoder.encode(texts, lambda done, total: self.report("embed", done, total))
        seen = {name: values[left] for name, values in self.signals.items()}
        self.judged = judge(seen, vectors, self.encoder, self.profile)
        for name, values in self.judged.items():
            self.signals[name] = np.full(len(self.counts), np.nan)
            self.signals[name][left] = values
        self._apply(late_rules(self.profile))
        self.vectors = vectors[self.left[left]]
        self.at[self.left] = positions(self.signals, self.profile)[self.left]

    def cluster(self, corpus: Corpus | RayCorpus) -> None:
        """Wordings of one move together; how many problems hold one of them."""
        left = np.flatnonzero(self.left)
        self.report("cluster", 0, len(left))
        found = cluster(self.vectors, self.profile)
        self.cluster_of[left] = found
        self.frequency = corpus.cluster_frequency(self.counts.text[left].tolist(), self.at[left].tolist(), found)
        self.names = self._name_clusters(left, found)
        self.report("cluster", len(left), len(left))

    def _name_clusters(self, left: npt.NDArray[np.intp], found: npt.NDArray[np.int64]) -> list[str]:
        """Each is called like its member in most problems, the first by the alphabet where several are."""
        names = [""] * (int(found.max()) + 1)
        for i, c in sorted(zip(left.tolist(), found.tolist(), strict=True), key=lambda p: -self.counts.problems[p[0]]):
            names[c] = names[c] or str(self.counts.text[i])
        return names

    def select(self) -> None:
        """Keep the clusters that the profile keeps."""
        keep, says = keep_clusters(self.profile, self.frequency, self.counts.n_problems)
        gone = self._drop("cluster", ~keep[self.cluster_of])
        said = {c: says(c) for c in np.unique(self.cluster_of[gone]).tolist()}
        self.reason[gone] = [said[c] for c in self.cluster_of[gone].tolist()]
        self._check_left()

    def assign(self) -> None:
        """A function for each cluster: that of the nearest prototypes to its centre."""
        left = np.flatnonzero(self.cluster_of >= 0)
        centres = np.zeros((len(self.names), self.vectors.shape[1]))
        np.add.at(centres, self.cluster_of[left], self.vectors * self.counts.problems[left, None])
        centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
        self.functions = assign(centres.astype(np.float32), self.encoder)

    # --- results -----------------------------------------------------------------------------------------------------
    def grams(self, name: str, tally: Tally) -> GramSet:
        """The set."""
        chosen = [
            Gram(
                text=str(self.counts.text[i]),
                at=self.at[i],
                cluster=self.names[self.cluster_of[i]],
                function=self.functions[self.cluster_of[i]],
            )
            for i in np.flatnonzero(self.left)
        ]
        return GramSet.from_grams(chosen, name=name, rules=self.counts.rules, provenance=self._facts(tally))

    def evidence(self, grams: GramSet, tally: Tally) -> Evidence:
        """What is known of every candidate."""
        clustered = self.cluster_of >= 0
        names = np.array([*self.names, None], np.object_)
        functions = np.array([*self.functions, None], np.object_)
        columns = {
            "at": self.at,
            "rule": self.rule,
            "reason": self.reason,
            "cluster": names[self.cluster_of],
            "function": functions[self.cluster_of],
            "cluster_problems": np.where(clustered, np.append(self.frequency.problems, 0)[self.cluster_of], np.nan),
            **{name: self.signals[name].astype(np.float32) for name in self.judged},
        }
        facts = {"grams": grams.name, "grams_hash": grams.hash, **self._facts(tally)}
        return Evidence.of(self.counts, columns, facts)

    def _facts(self, tally: Tally) -> dict[str, Any]:
        settings, least = dataclasses.asdict(self.profile), self.profile.min_problems
        return {
            "source": f"mined by hicra {hicra.__version__}, profile {self.profile.name}",
            "corpus": tally.to_dict(),
            "counted": totals(self.counts),
            "profile": settings | {"min_problems": list(least) if isinstance(least, tuple) else least},
            "judge": fingerprint() if self.profile.judged else None,
            "encoder": {"name": self.encoder.name, "fingerprint": self.encoder.model.fingerprint},
            "funnel": self.funnel,
        }

    # --- steps -------------------------------------------------------------------------------------------------------
    def _apply(self, given: Iterable[Rule]) -> None:
        for rule in given:
            with np.errstate(invalid="ignore"):  # of what was dropped before it was judged there are no numbers
                self._drop(rule.name, ~rule.keep(self.signals))
        self._check_left()

    def _drop(self, name: str, drop: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
        rows = np.flatnonzero(self.left & drop)
        self.rule[rows] = name
        self.left[rows] = False
        self._step(name)
        return rows

    def _step(self, what: str) -> None:
        self.funnel.append({"what": what, "left": int(self.left.sum())})

    def _check_left(self) -> None:
        if not self.left.any():
            raise DataError(
                "the rules leave nothing of the corpus",
                expected="phrases that steer, in solutions to hundreds of problems",
                got="; ".join(f"{step['what']}: {step['left']:,} left" for step in self.funnel),
                mend="give more traces, or loosen the rule that dropped the last ones (--set name=value)",
            )
