"""``hicra analyze``'s page: the report's figures with those of the analysis in their places."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hicra.errors import RunDirError, require
from hicra.report.analysis.figures import analysis_figures
from hicra.report.analysis.words import summary
from hicra.report.figures import Figure, build_figures
from hicra.report.page import Extras, render, save_page
from hicra.report.rollouts import select
from hicra.report.runs import Run, read_runs

if TYPE_CHECKING:
    from hicra.dynamics.result import Analysis, RunAnalysis, Settings
    from hicra.report.rollouts import Shown

ORDER = (
    "accuracy",
    "phases",
    "perplexity",
    "entropy",
    "semantic",
    "conditional",
    "sensitivity",
    "overlap",
    "compasses",
    "flow",
    "moves",
    "failures",
    "length",
    "planning",
    "alarms",
    "held-out",
    "optimisation",
)
"""Figures in reading order."""

_ALARM = re.compile(r"step \d+: alarm: ")
"""An engine's note of an alarm: the analysis tells alarms itself."""


def analyze_runs(
    run_dirs: Sequence[Path | str], *, names: Sequence[str] | None = None, settings: Settings | None = None
) -> tuple[list[Run], Analysis]:
    """Read runs for a report and analyse them, under the same names.

    Raises:
        ConfigError: no run, or another number of names than of runs.
        RunDirError: not a run directory, or there is nothing in it yet.
    """
    from hicra.dynamics.analyze import analyze

    runs = read_runs([Path(p) for p in run_dirs], names)
    return runs, analyze([run.reader for run in runs], names=[run.name for run in runs], settings=settings)


def write_analysis(
    run_dirs: Sequence[Path | str],
    out: Path | str,
    *,
    title: str | None = None,
    names: Sequence[str] | None = None,
    settings: Settings | None = None,
) -> Path:
    """Analyse run directories and write one self-contained HTML file.

    Args:
        run_dirs: run directories; training may still be going on in them.
        out: the file to write (its directory must exist).
        title: heading; the default names the runs.
        names: what to call the runs, in order; the default is the end of each path.
        settings: of the analysis.

    Returns:
        The file's path.

    Raises:
        ConfigError: no run, names that do not fit, or an `out` that cannot be written.
        RunDirError: a path is not a run directory, or there is nothing in it yet.
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    require("jinja2", "report")
    runs, analysis = analyze_runs(run_dirs, names=names, settings=settings)
    return save_page(analysis_page(runs, analysis, title=title), out)


def analysis_page(runs: Sequence[Run], analysis: Analysis, *, title: str | None = None) -> str:
    """The HTML text of `write_analysis`."""
    shown = select(runs)
    names = [run.name for run in runs]
    top = analysis.settings.top_share
    thresholds = [_thresholds(run, s, top) for run, s in zip(runs, shown, strict=True)]
    extras = Extras(
        eyebrow="analysis of training",
        said=summary(analysis, names),
        notes=[(n, text) for n, a in zip(names, analysis.runs, strict=True) for text in _notes(a)],
        top_share=top if any(thresholds) else 0.0,
        thresholds=thresholds,
    )
    return render(runs, all_figures(runs, analysis), title=title, extras=extras, shown=shown)


def _notes(found: RunAnalysis) -> list[str]:
    return [text for text in found.notes if not _ALARM.match(text)]


def all_figures(runs: Sequence[Run], analysis: Analysis) -> list[Figure]:
    """The report's figures and the analysis's, the latter's where both have one, in reading order."""
    figures = {f.key: f for f in (*build_figures(runs), *analysis_figures(runs, analysis))}
    return [figures[key] for key in ORDER if key in figures]


def _thresholds(run: Run, shown: Shown, top: float) -> Mapping[int, float]:
    """Step -> the entropy that the top share of the step's kept tokens have or exceed."""
    out = {}
    for step in shown.steps:
        try:
            lists = run.reader.rollouts([step], ["entropy"])["entropy"].combine_chunks()
        except RunDirError:
            continue
        values = np.asarray(lists.flatten().to_numpy(zero_copy_only=False), np.float64)
        if np.isfinite(values).any():
            out[step] = float(np.quantile(values[np.isfinite(values)], 1 - top))
    return out
