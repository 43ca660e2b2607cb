"""Simulated evaluations with a known truth: how often an interval that claims 95 % holds it.

The chance of method m in run s on item i is that of a logit,

    logit p[m, s, i] = base + problem_c(i) + item_i + (gain + effect_c(i)) [m = after] + run_{m, s}

with normal, independent parts for problems c, items i (versions of a problem), the gain on a problem, and runs; each
item is answered k times. The truth is the difference of the two mean chances over all problems, items and runs that
there could be: means of logit-normal variables, computed by Gauss-Hermite quadrature.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hicra.evals.estimators import Floats, Ints
from hicra.evals.intervals import bonett_price, t_interval
from hicra.evals.runs import crossed_error


@dataclass(frozen=True, slots=True)
class Design:
    """An evaluation of two methods; spreads are standard deviations of logits.

    Attributes:
        items, samples, runs: items, answers an item, training runs of each method.
        versions: items that are versions of one problem; 1: every item is a problem of its own.
        base, gain: mean logit of the method before, and what the one after has more.
        problem, item, effect, run: spread of problems, of items, of the gain over problems, and of runs.
    """

    items: int
    samples: int
    runs: int = 1
    versions: int = 1
    base: float = 0.0
    gain: float = 0.3
    problem: float = 0.0
    item: float = 2.5
    effect: float = 0.8
    run: float = 0.0

    @property
    def clusters(self) -> Ints | None:
        """(I,) problem of each item, None where items are problems."""
        return None if self.versions == 1 else np.arange(self.items) // self.versions

    @property
    def truth(self) -> float:
        """Mean chance after minus mean chance before."""
        common = self.problem**2 + self.item**2 + self.run**2
        return _mean_chance(self.base + self.gain, common + self.effect**2) - _mean_chance(self.base, common)


PAPER = {
    "AIME, 30 items x 32": Design(30, 32, base=-1.5),
    "AIME, weak model": Design(30, 32, base=-3),
    "AMC, 40 x 4": Design(40, 4),
    "AMC, 83 x 4": Design(83, 4, base=1),
    "Minerva, 272 x 1": Design(272, 1),
    "Math500, 500 x 1": Design(500, 1, base=3.5),
    "Olympiad, 675 x 1": Design(675, 1),
    "MathVerse, 400 problems x 5 versions": Design(2000, 1, versions=5, problem=2.0, item=1.0, effect=1.5),
    "AIME, 3 runs of each": Design(30, 32, runs=3, run=0.3),
    "AIME, 5 runs of each": Design(30, 32, runs=5, run=0.3),
    "Math500, 3 runs of each": Design(500, 1, runs=3, run=0.3, base=2),
}
"""Evaluations of the sizes that the paper's benchmarks have, and of several runs."""


def draw(design: Design, replicates: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """(R, S, I) right answers of the method after and of the one before."""
    shape, d = (replicates, design.runs, design.items), design
    n_problems = -(-d.items // d.versions)

    def by_problem(spread: float) -> Floats:
        parts = rng.normal(0, spread, (replicates, 1, n_problems))
        return np.repeat(parts, d.versions, axis=2)[..., : d.items]

    common = d.base + by_problem(d.problem) + rng.normal(0, d.item, (replicates, 1, d.items))
    own = d.gain + by_problem(d.effect)
    counts = []
    for logit in (common + own, common):
        chance = 1 / (1 + np.exp(-(logit + rng.normal(0, d.run, (replicates, d.runs, 1)))))
        counts.append(rng.binomial(d.samples, np.broadcast_to(chance, shape)))
    return counts[0], counts[1]


def paired_interval(design: Design, after: Ints, before: Ints) -> tuple[Floats, Floats]:
    """(R,) ends of the intervals that `stats.difference` gives."""
    if design.samples == design.runs == design.versions == 1:
        return bonett_price((after > before).sum((1, 2)), (after < before).sum((1, 2)), design.items)
    return t_interval(*crossed_error(after / design.samples, before / design.samples, design.clusters))


def items_only_interval(design: Design, after: Ints, before: Ints) -> tuple[Floats, Floats]:
    """(R,) ends of a paired t interval over items that takes neither runs nor versions for what they are."""
    x, y = (c.mean(axis=1, keepdims=True) / design.samples for c in (after, before))
    return t_interval(*crossed_error(x, y))


def naive_interval(design: Design, after: Ints, before: Ints) -> tuple[Floats, Floats]:
    """(R,) ends of p_a - p_b +- z sqrt(p_a q_a / N + p_b q_b / N), as if all N answers were independent."""
    answers = design.items * design.samples * design.runs
    p, q = (counts.sum((1, 2)) / answers for counts in (after, before))
    half = 1.959963984540054 * np.sqrt((p * (1 - p) + q * (1 - q)) / answers)
    return p - q - half, p - q + half


def bootstrap_interval(
    design: Design, after: Ints, before: Ints, rng: np.random.Generator, draws: int = 999
) -> tuple[Floats, Floats]:
    """(R,) ends of the percentile bootstrap over items (the drawn items are the same in all replicates)."""
    d = (after - before).mean(axis=1) / design.samples
    weights = rng.multinomial(design.items, np.full(design.items, 1 / design.items), draws) / design.items
    low, high = np.quantile(d @ weights.T, (0.025, 0.975), axis=1)
    return low, high


def coverage(design: Design, ends: tuple[Floats, Floats]) -> float:
    """Share of the intervals that hold the truth."""
    low, high = ends
    return float(((low <= design.truth) & (design.truth <= high)).mean())


def _mean_chance(mean: float, variance: float) -> float:
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    return float(weights @ (1 / (1 + np.exp(-(mean + math.sqrt(variance) * nodes)))) / weights.sum())
