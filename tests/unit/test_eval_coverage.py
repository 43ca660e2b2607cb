"""Intervals hold what they say: coverage of nominal 95 % in simulated evaluations of the paper's sizes."""

from __future__ import annotations

import numpy as np
import pytest

from hicra.evals.power import Noise, power
from hicra.evals.results import Result
from hicra.evals.simulate import (
    PAPER,
    Design,
    bootstrap_interval,
    coverage,
    draw,
    items_only_interval,
    naive_interval,
    paired_interval,
)
from hicra.evals.stats import difference

REPLICATES = 6000  # the standard error of a coverage of 95 % is .28 points


def simulated(design: Design, interval, replicates: int = REPLICATES, part: int = 500) -> float:
    rng = np.random.default_rng(20260101)
    parts = [coverage(design, interval(design, *draw(design, part, rng))) for _ in range(replicates // part)]
    return float(np.mean(parts))


@pytest.mark.parametrize("design", PAPER.values(), ids=PAPER.keys())
def test_coverage_is_nominal(design: Design) -> None:
    assert 0.935 <= simulated(design, paired_interval, 6000 if design.items * design.runs < 400 else 3000) <= 0.965


def test_coverage_without_differences_between_runs_errs_on_the_safe_side() -> None:
    """How much runs differ is then estimated from 3 + 3 of them, and never as less than nothing."""
    assert 0.94 <= simulated(Design(30, 32, runs=3), paired_interval) <= 0.985


def test_the_limit_that_the_docs_admit() -> None:
    """A model that has 3 % of 30 items right: few items carry the whole difference."""
    assert 0.87 <= simulated(Design(30, 32, base=-6), paired_interval, 3000) <= 0.92


@pytest.mark.parametrize(
    ("design", "interval", "most"),
    [
        (PAPER["AIME, 30 items x 32"], naive_interval, 0.91),
        (PAPER["AIME, weak model"], lambda *a: bootstrap_interval(*a, np.random.default_rng(0), 499), 0.93),
        (PAPER["MathVerse, 400 problems x 5 versions"], items_only_interval, 0.93),
        (PAPER["Math500, 3 runs of each"], items_only_interval, 0.75),
    ],
    ids=["answers taken for items", "bootstrap", "versions taken for problems", "one run taken for the method"],
)
def test_what_is_left_out_costs_coverage(design: Design, interval, most: float) -> None:
    assert simulated(design, interval, 3000) < most


@pytest.mark.parametrize(
    "name", ["AIME, 30 items x 32", "Minerva, 272 x 1", "MathVerse, 400 problems x 5 versions", "AIME, 3 runs of each"]
)
def test_the_simulation_runs_what_a_comparison_runs(name: str) -> None:
    design = PAPER[name]
    after, before = draw(design, 1, np.random.default_rng(0))
    items = tuple(f"{i:04d}" for i in range(design.items))
    clusters = None if design.clusters is None else tuple(f"{c:04d}" for c in design.clusters)
    samples = np.full(design.items, design.samples)

    def results(counts) -> list[Result]:
        return [Result("m", "x", "b", s, items, samples, c, clusters) for s, c in enumerate(counts[0])]

    found = difference(results(after), results(before))
    low, high = paired_interval(design, after, before)
    assert (found.low, found.high) == (pytest.approx(float(low[0])), pytest.approx(float(high[0])))


def test_truth_of_a_design_is_what_many_draws_come_to() -> None:
    design = Design(2000, 4, runs=2, run=0.5, base=-1)
    after, before = draw(design, 400, np.random.default_rng(1))
    assert (after - before).mean() / 4 == pytest.approx(design.truth, abs=0.004)


def test_power_is_the_share_of_simulated_evaluations_that_show_the_gain() -> None:
    design = Design(60, 8, gain=0.5)
    after, before = draw(design, 4000, np.random.default_rng(2))
    low, high = paired_interval(design, after, before)
    samples = np.full(60 * 4000, 8)
    noise = Noise.measured(samples, after.ravel(), before.ravel())
    assert ((low > 0) | (high < 0)).mean() == pytest.approx(power(noise, design.truth, 60, 8), abs=0.03)
