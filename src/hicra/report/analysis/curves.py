"""Series of an analysis as curves of the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hicra.dynamics.intervals import Z
from hicra.report.figures import Panel, panel
from hicra.report.quantities import Curve, curve
from hicra.report.stats import Estimate, with_standard_error

if TYPE_CHECKING:
    from hicra.dynamics.result import Analysis, RunAnalysis
    from hicra.dynamics.series import Series
    from hicra.report.runs import Run


TINY = 1e-9
"""Entropies closer to zero are rounding."""


def curve_of(index: int, series: Series, *, smooth: bool = True) -> Curve:
    """A series as a curve; its band becomes the noise of every step, independent of the other steps'.

    Where a few steps have a value of unknown noise, they get the largest noise of the others.
    """
    if not smooth:
        known = np.isfinite(series.low).any()
        low, high = (series.low, series.high) if known else (None, None)
        return Curve(index, series.steps, series.value, series.value, low, high, Estimate(series.value))
    value = np.where(np.abs(series.value) < TINY, 0.0, series.value)
    error = (series.high - series.low) / (2 * Z)
    if not np.isfinite(error).any():
        return curve(index, series.steps, Estimate(value))
    unknown = np.isfinite(value) & ~np.isfinite(error)
    if unknown.sum() < len(value) / 4:
        error = np.where(unknown, np.nanmax(error), error)
    rng = np.random.default_rng([2509, index])
    found = curve(index, series.steps, with_standard_error(value, error, rng))
    if found.low is None or (value < 0).any():
        return found
    return replace(found, low=np.maximum(found.low, 0.0))  # what is never negative has no band below zero


def series_panel(
    runs: Sequence[Run],
    analysis: Analysis,
    name: str,
    title: str,
    unit: str,
    *,
    key: str | None = None,
    smooth: bool = True,
) -> Panel:
    """A panel of one series of every run that has it."""

    def quantity(i: int, run: Run) -> Curve | str:
        found = analysis.runs[i]
        series = found.series.get(name)
        if series is None or not series.known.any():
            return f"{run.name}: {why_missing(found, name)}"
        return curve_of(i, series, smooth=smooth)

    return panel(runs, key or name.replace("_", "-"), title, unit, quantity)


def why_missing(run: RunAnalysis, name: str) -> str:
    """Why a run does not have a series: as the analysis says of the series itself, or of what it belongs to."""
    belongs = {"planning_in_top": "overlap", "top_that_plans": "overlap", "competence": "logprob_execution"}
    parts = [name, belongs.get(name, name)]
    while "_" in parts[-1]:
        parts.append(parts[-1].rpartition("_")[0])
    return next((run.missing[part] for part in parts if part in run.missing), "it has too little to measure it from")
