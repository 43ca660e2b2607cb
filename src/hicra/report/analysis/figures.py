"""The figures of an analysis as data, in reading order; the moves have a file of their own (`flow`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hicra.report.analysis.curves import curve_of, series_panel, why_missing
from hicra.report.analysis.failures import failure_figure
from hicra.report.analysis.flow import flow_figures
from hicra.report.analysis.words import (
    COMPASS_NAMES,
    compass_words,
    gauge_words,
    minus,
    phase_words,
    sensitivity_words,
)
from hicra.report.figures import Figure, Mark, Panel, gram_remarks, share_limits
from hicra.report.picture import Column, Dot, Picture, Span, SpanRow, dots_picture, spans_picture
from hicra.report.quantities import Curve
from hicra.report.stats import Estimate

if TYPE_CHECKING:
    from hicra.dynamics.compass import Correlation
    from hicra.dynamics.phases import Phase
    from hicra.dynamics.result import Analysis, RunAnalysis
    from hicra.dynamics.series import Series
    from hicra.report.runs import Run


def analysis_figures(runs: Sequence[Run], analysis: Analysis) -> list[Figure]:
    """Everything that an analysis adds to a report.

    Args:
        runs: of the report.
        analysis: of the same runs in the same order.
    """
    failures = failure_figure(runs, analysis)
    return [
        phase_figure(runs, analysis),
        semantic_figure(runs, analysis),
        conditional_figure(runs, analysis),
        sensitivity_figure(runs, analysis),
        overlap_figure(runs, analysis),
        compass_figure(runs, analysis),
        *flow_figures(runs, analysis),
        *([failures] if failures else []),
        alarm_figure(runs, analysis),
    ]


# --- phases -----------------------------------------------------------------------------------------------------------


def phase_figure(runs: Sequence[Run], analysis: Analysis) -> Figure:
    """Phases, the lines that they were read from, and the competence gauge."""
    execution = _bent_panel(runs, analysis, "execution", "Execution NLL and its broken line", "nats")
    semantic = _bent_panel(runs, analysis, "semantic", "Semantic entropy and its broken line", "bits")
    gauge = series_panel(runs, analysis, "competence", "Competence gauge", "", smooth=False)
    gauge = replace(gauge, findings=tuple(_gauges(runs, analysis)), limits=(0.0, 1.0))
    lead = (
        "Does execution become certain first, and does strategy widen after that? Broken lines are fitted to both "
        "series; a bend is accepted only where lines without it, with the same noise, would hardly ever look so."
    )
    remarks = (
        "A second phase is a rise of semantic entropy at equal counts. It says nothing of why: compare with the "
        "accuracy above. Where the words say that a phase was not seen, it may be absent or too weak for this many "
        "steps.",
    )
    return Figure(
        "phases", "Phases", lead, (execution, semantic, gauge), remarks, pictures=(_timeline(runs, analysis),)
    )


def _timeline(runs: Sequence[Run], analysis: Analysis) -> Picture:
    rows = []
    last = max((max(run.steps, default=1) for run in analysis.runs), default=1)
    for run, found in zip(runs, analysis.runs, strict=True):
        spans = []
        for phase, hatched in ((found.phases.first, False), (found.phases.second, True)):
            if phase.seen and phase.begin is not None:
                spans.append(_span(phase, f"{run.name}: {phase_words(phase)}", hatched, max(found.steps, default=last)))
        rows.append(SpanRow(run.name, run.role, tuple(spans)))
    title = "Phases, with the intervals of their ends (first: full, second: dashed)"
    first = min((min(run.steps, default=1) for run in analysis.runs), default=1)
    return spans_picture("timeline", title, rows, (first, max(last, first + 1)))


def _span(phase: Phase, says: str, hatched: bool, last: float) -> Span:
    assert phase.begin is not None
    end = last if phase.end is None else phase.end
    return Span(
        phase.begin, end, phase.begin_low, phase.begin_high, phase.end_low, phase.end_high, says, hatched=hatched
    )


def _bent_panel(runs: Sequence[Run], analysis: Analysis, name: str, title: str, unit: str) -> Panel:
    """Single steps as dots, the fitted line as a line, its bends as marks."""
    curves, marks, missing, said = [], [], [], []
    for i, found in enumerate(analysis.runs):
        bent = getattr(found.phases, name)
        phase = found.phases.first if name == "execution" else found.phases.second
        if bent is None:
            missing.append(f"{runs[i].name}: {phase.says.partition(': ')[2]}")
            continue
        said.append(f"{runs[i].name}: {phase_words(phase)}.")
        series = _fitted_series(found, name)
        line = np.interp(series.steps, bent.steps, bent.fitted, left=np.nan, right=np.nan)
        raw = np.where(series.known, series.value if name != "execution" else -series.value, np.nan)
        curves.append(Curve(i, series.steps, raw, line, None, None, Estimate(raw)))
        marks += [
            Mark(i, float(x), float(low), float(high))
            for x, low, high in zip(bent.knots, bent.knots_low, bent.knots_high, strict=True)
        ]
    return Panel(f"bent-{name}", title, unit, tuple(curves), tuple(missing), findings=tuple(said), marks=tuple(marks))


def _fitted_series(found: RunAnalysis, name: str) -> Series:
    """The series that the analysis read the phase from."""
    if name == "execution":
        return found.series["logprob_execution"]
    names = ("semantic_cluster_rarefied", "semantic_gram_rarefied", "semantic_gram_plug_in")
    return next(found.series[n] for n in names if n in found.series)


def _gauges(runs: Sequence[Run], analysis: Analysis) -> list[str]:
    said = [(run.name, gauge_words(found)) for run, found in zip(runs, analysis.runs, strict=True)]
    lead = "From the past alone: 1 once the execution NLL has stopped falling, so a schedule of alpha may follow it."
    return [lead, *(f"{name}: {words}." for name, words in said if words)]


# --- semantic entropy -------------------------------------------------------------------------------------------------

_LEVELS = (("cluster", "clusters"), ("gram", "grams"))


def semantic_figure(runs: Sequence[Run], analysis: Analysis) -> Figure:
    """Semantic entropy at equal counts; the plain and the corrected ones to unfold."""
    panels, more = [], []
    remarks = list(gram_remarks(runs))
    for level, plural in _LEVELS:
        name = f"Semantic entropy of {plural}"
        rarefied = series_panel(runs, analysis, f"semantic_{level}_rarefied", f"{name}, at equal counts", "bits")
        others = [
            series_panel(runs, analysis, f"semantic_{level}_{key}", f"{name}, {how}", "bits")
            for key, how in (("plug_in", "plug-in"), ("miller_madow", "Miller-Madow"), ("chao_shen", "Chao-Shen"))
        ]
        if level == "cluster" and not any(p.curves for p in (rarefied, *others)):
            remarks.append(f"Clusters of grams are not shown: {'; '.join(rarefied.missing)}.")
            continue
        panels.append(rarefied)
        more += [p for p in others if p.curves]
        draws = {run.rarefied_to.get(level, 0) for run in analysis.runs} - {0}
        if draws:
            shown = " or ".join(f"{m:,}" for m in sorted(draws))
            remarks.append(f"Equal counts for {plural}: {shown} occurrences are drawn at every step.")
    lead = (
        "How evenly the policy spreads over its strategic moves. The plug-in value grows with the number of "
        "occurrences, so longer completions alone raise it; drawing equal numbers at every step takes that away. "
        "Miller-Madow and Chao-Shen correct for moves that were not seen, in part."
    )
    return Figure("semantic", "Semantic entropy", lead, tuple(panels), tuple(remarks), more=tuple(more))


def conditional_figure(runs: Sequence[Run], analysis: Analysis) -> Figure:
    """Entropy of the procedure that follows a move."""
    title = "Entropy of the procedure after a move"
    rarefied = series_panel(runs, analysis, "conditional_rarefied", f"{title}, at equal counts", "bits")
    coverage = series_panel(
        runs, analysis, "conditional_coverage", "Occurrences of grams that are common enough", "share"
    )
    more = [
        series_panel(runs, analysis, f"conditional_{key}", f"{title}, {how}", "bits")
        for key, how in (("plug_in", "plug-in"), ("miller_madow", "Miller-Madow"), ("chao_shen", "Chao-Shen"))
    ]
    settings = analysis.settings
    lead = (
        f"Given the move, how many ways of carrying on: H(next {settings.ngram} execution tokens | gram), numbers "
        "folded together. In the paper it stays flat while semantic entropy rises: new strategy, old procedure."
    )
    remark = (
        f"At equal counts: {settings.followers} occurrences of each gram at every step, over grams that have as many; "
        "their weights do not change through training."
    )
    return Figure(
        "conditional",
        "Procedure given the move",
        lead,
        (rarefied, coverage) if coverage.curves else (rarefied,),
        (*gram_remarks(runs), remark),
        more=tuple(p for p in more if p.curves),
    )


_DROPPED = {
    "semantic_gram_rarefied": ("Semantic entropy of grams", "bits"),
    "semantic_cluster_rarefied": ("Semantic entropy of clusters", "bits"),
    "planning_share": ("Share of planning tokens", "share"),
    "entropy_planning": ("Token entropy, planning tokens", "nats"),
    "entropy_execution": ("Token entropy, execution tokens", "nats"),
    "relative_perplexity_planning": ("Relative perplexity, planning tokens", "ratio"),
    "relative_perplexity_execution": ("Relative perplexity, execution tokens", "ratio"),
}


def sensitivity_figure(runs: Sequence[Run], analysis: Analysis) -> Figure:
    """Curves with grams dropped at random: one panel a run, since the bands overlap."""
    panels: list[Panel] = []
    more: list[Panel] = []
    for name, (title, unit) in _DROPPED.items():
        of_runs = share_limits([_dropped(runs, analysis, i, name, title, unit) for i in range(len(runs))])
        if name == "semantic_gram_rarefied":
            panels += of_runs
        else:
            more += [p for p in of_runs if p.curves]
    settings = analysis.settings
    lead = (
        f"How much hangs on single grams: {100 * settings.drop:.0f} % of them are left out at random, {settings.draws} "
        "times. The line has all grams; the band holds 95 % of the curves with some left out, and lies lower where "
        "less is left to vary. What counts is whether its shape is that of the line."
    )
    return Figure("sensitivity", "Does the choice of grams matter?", lead, tuple(panels), more=tuple(more))


def _dropped(runs: Sequence[Run], analysis: Analysis, i: int, name: str, title: str, unit: str) -> Panel:
    run, found = runs[i], analysis.runs[i].sensitivity.get(name)
    key = f"sensitivity-{name.replace('_', '-')}-{i}"
    if found is None or not found.series.known.any():
        missing = f"{run.name}: {why_missing(analysis.runs[i], 'sensitivity')}"
        return Panel(key, f"{title}, {run.name}", unit, (), (missing,))
    curve = curve_of(i, found.series, smooth=False)
    return Panel(key, f"{title}, {run.name}", unit, (curve,), findings=(sensitivity_words(run.name, found),))


# --- planning against high entropy ------------------------------------------------------------------------------------


def overlap_figure(runs: Sequence[Run], analysis: Analysis) -> Figure:
    """Both shares at every quantile and over steps."""
    top = analysis.settings.top_share
    shown = f"top {100 * top:.0f} %"
    steps = [
        series_panel(runs, analysis, "planning_in_top", f"Planning tokens that are in the {shown} by entropy", "share"),
        series_panel(runs, analysis, "top_that_plans", f"Tokens of the {shown} that are planning tokens", "share"),
    ]
    chance = [r.overlap.planning / r.overlap.tokens for r in analysis.runs if r.overlap and r.overlap.tokens]
    curves = [_overlap_panel(runs, analysis, name, title) for name, title in (
        ("planning_in_top", "Planning tokens in the top, by how much counts as top"),
        ("top_that_plans", "Share of the top that is planning, by how much counts as top"),
    )]  # fmt: skip
    curves[0] = replace(curves[0], guides=((0.0, 0.0, 1.0, 1.0),))
    curves[1] = replace(curves[1], guides=tuple((0.0, p, 1.0, p) for p in sorted(set(chance))))
    steps[0] = replace(steps[0], guides=((-1e9, top, 1e9, top),))
    lead = (
        "Are planning tokens the same as tokens of high entropy? In the paper most planning tokens are of high "
        "entropy, but few tokens of high entropy are planning tokens. Dashed: what entropies that know nothing of "
        "planning would give. In the completions below, “Planning and entropy” shows both on the text."
    )
    remarks = [
        f"{run.name}: {100 * p:.1f} % of its kept tokens are planning tokens; by chance, as many of the top would be."
        for run, p in zip([r for r, a in zip(runs, analysis.runs, strict=True) if a.overlap], chance, strict=False)
    ]
    panels = (*curves, *steps) if any(p.curves for p in (*curves, *steps)) else (steps[0],)
    return Figure("overlap", "Planning against high entropy", lead, panels, tuple(remarks))


def _overlap_panel(runs: Sequence[Run], analysis: Analysis, name: str, title: str) -> Panel:
    curves, missing, said = [], [], []
    for i, found in enumerate(analysis.runs):
        o = found.overlap
        value = None if o is None else getattr(o, name)
        if o is None or value is None or not np.isfinite(value).any():
            missing.append(f"{runs[i].name}: {why_missing(found, name)}")
            continue
        low, high = getattr(o, f"{name}_low"), getattr(o, f"{name}_high")
        known = np.isfinite(low).any()
        curves.append(Curve(i, o.share, value, value, low if known else None, high if known else None, Estimate(value)))
        said.append(_overlap_words(runs[i].name, analysis, i, name))
    return Panel(
        f"{name.replace('_', '-')}-by-share",
        title,
        "share",
        tuple(curves),
        tuple(missing),
        findings=tuple(s for s in said if s),
        x_name="share of tokens that counts as top",
        x_share=True,
        limits=(0.0, 1.0) if curves else None,
    )


def _overlap_words(run: str, analysis: Analysis, i: int, name: str) -> str:
    o = analysis.runs[i].overlap
    assert o is not None
    at = int(np.argmin(np.abs(o.share - analysis.settings.top_share)))
    value, low, high = (100 * float(getattr(o, f"{name}{end}")[at]) for end in ("", "_low", "_high"))
    top = f"top {100 * float(o.share[at]):.0f} %"
    interval = f" (95 % interval {low:.1f} to {high:.1f})" if math.isfinite(low) else ""
    if name == "planning_in_top":
        lift = float(o.lift[at])
        return f"{run}: {value:.1f} %{interval} of planning tokens are in the {top}, {lift:.2g} times chance."
    return f"{run}: {value:.1f} %{interval} of the {top} are planning tokens."


# --- compasses --------------------------------------------------------------------------------------------------------


def compass_figure(runs: Sequence[Run], analysis: Analysis) -> Figure:
    """Quantities that may point to held-out accuracy, side by side."""
    k = sorted({run.pass_k for run in analysis.runs if run.pass_k})
    by = "k" if len(k) != 1 else str(k[0])
    panels = (
        series_panel(runs, analysis, "entropy", "Token entropy, all tokens", "nats", key="entropy-all"),
        series_panel(runs, analysis, "pass_at_k", f"Pass@{by} on training prompts, unbiased", "share"),
    )
    lead = (
        "Which quantity of training points to accuracy on problems that training does not see? Rank correlations "
        "within runs: of the levels, and of the changes from one evaluation to the next."
    )
    if not analysis.compasses:
        remark = (
            f"No correlations: they need three or more evaluations with {analysis.settings.held_out!r} in a run, "
            "and there are none."
        )
        return Figure("compasses", "Exploration compasses", lead, panels, (remark,))
    remarks = (
        "Neighbouring steps say much the same, so intervals count effective points, not points. Two quantities that "
        "both drift correlate whatever they measure: believe the changes more than the levels. Runs that were trained "
        "on the same data are taken as independent.",
    )
    return Figure("compasses", "Exploration compasses", lead, panels, remarks, pictures=(_forest(analysis),))


def _forest(analysis: Analysis) -> Picture:
    found = analysis.compasses
    names = [COMPASS_NAMES.get(c.series, c.series) for c in found]
    levels = [[_rho_dot(c.level)] for c in found]
    changes = [[_rho_dot(c.change)] for c in found]
    columns = [Column("levels", levels, (-1.05, 1.05), 0.0), Column("changes", changes, (-1.05, 1.05), 0.0)]
    title = "Rank correlation with held-out accuracy"
    return dots_picture("compass-correlations", title, names, columns, findings=[compass_words(c) for c in found])


def _rho_dot(found: Correlation) -> Dot:
    empty = found.low < -0.995 and found.high > 0.995  # an interval over everything: none
    low, high = (math.nan, math.nan) if empty else (found.low, found.high)
    return Dot(found.rho, low, high, "planning")


# --- alarms -----------------------------------------------------------------------------------------------------------

ALARM_WORDS = {
    "entropy_collapse": "entropy collapse",
    "length_blow_up": "length blow-up",
    "all_truncated": "batches cut off by the length limit",
    "vanishing_advantages": "vanishing advantages",
    "planning_runaway": "planning share running away",
}


def alarm_figure(runs: Sequence[Run], analysis: Analysis) -> Figure:
    """Alarms in words, and the share of groups that teach nothing."""
    panel = series_panel(runs, analysis, "no_signal", "Groups with equal rewards: no advantage", "share")
    said = []
    for run, found in zip(runs, analysis.runs, strict=True):
        said += [f"{run.name}, {ALARM_WORDS.get(a.name, a.name)}, {minus(a.says)}." for a in found.alarms]
        if not found.alarms:
            said.append(f"{run.name}: no alarm.")
    checked = ", ".join(ALARM_WORDS.values())
    lead = f"What tends to go wrong, looked for at every step from what was known then: {checked}."
    return Figure("alarms", "Alarms", lead, (panel,), tuple(said))
