"""Sentences of an analysis, computed from it: phases, correlations, sensitivity, moves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hicra.report.words import NBSP

if TYPE_CHECKING:
    from hicra.dynamics.compass import Correlation
    from hicra.dynamics.phases import Phase
    from hicra.dynamics.result import Analysis, Compass, RunAnalysis
    from hicra.dynamics.sensitivity import Sensitivity

COMPASS_NAMES = {
    "entropy": "Token entropy",
    "pass_at_k": "Pass@k, training",
    "semantic_gram_rarefied": "Semantic, grams",
    "semantic_cluster_rarefied": "Semantic, clusters",
    "conditional_rarefied": "Conditional",
}

COMPASS_WORDS = {
    "entropy": "token entropy",
    "pass_at_k": "Pass@k on training prompts",
    "semantic_gram_rarefied": "semantic entropy of grams",
    "semantic_cluster_rarefied": "semantic entropy of clusters",
    "conditional_rarefied": "conditional entropy of procedure",
}


def minus(text: str) -> str:
    """Hyphens before numbers as minus signs.

    >>> minus("by -0.5 nats, step-wise")
    'by −0.5 nats, step-wise'
    """
    return text.replace(" -", " −").replace("(-", "(−")


def phase_words(phase: Phase) -> str:
    """What the analysis says of a phase, with the interval of its change."""
    says = minus(phase.says)
    if phase.change is None or phase.change_low is None or phase.change_high is None:
        return says
    return f"{says} (95{NBSP}%{NBSP}interval of the change {_signed(phase.change_low)} to {_signed(phase.change_high)})"


def _signed(value: float) -> str:
    return f"{value:+.3g}".replace("-", "−")


def phase_short(phase: Phase, name: str) -> str:
    """From when to when, in one line."""
    if not phase.seen or phase.begin is None:
        return _sentence(minus(phase.says))
    begin = _around(phase.begin, phase.begin_low, phase.begin_high)
    if phase.end is None:
        return f"{name} from step {begin} on."
    return f"{name} from step {begin} to {_around(phase.end, phase.end_low, phase.end_high)}."


def _around(at: float, low: float | None, high: float | None) -> str:
    return f"{at:.0f}" if low is None or high is None else f"{at:.0f} ({low:.0f} to {high:.0f})"


def gauge_words(run: RunAnalysis) -> str | None:
    """Where the competence gauge ends, or None."""
    series = run.series.get("competence")
    if series is None or not series.known.any():
        return None
    value = float(series.value[series.known][-1])
    return f"competence gauge at the last step {value:.2f} of 1"


def summary(analysis: Analysis, names: Sequence[str]) -> list[tuple[str, list[str]]]:
    """(run, sentences) on phases and alarms: what stands at the top of the page."""
    out = []
    for run, name in zip(analysis.runs, names, strict=True):
        said = [phase_short(run.phases.first, "First phase"), phase_short(run.phases.second, "Second phase")]
        if (gauge := gauge_words(run)) is not None:
            said.append(_sentence(gauge))
        if not run.alarms:
            said.append("No alarm was raised.")
        else:
            first = run.alarms[0]
            more = f" ({len(run.alarms)} alarms in all)" if len(run.alarms) > 1 else ""
            said.append(f"Alarm at {minus(first.says)}{more}.")
        out.append((name, said))
    return out


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


# --- compasses --------------------------------------------------------------------------------------------------------


def rho_text(found: Correlation) -> str:
    """``−0.94 (−0.99 to −0.36)``; an interval that says nothing is left out.

    The interval of a rank correlation that spans nearly all of [-1, 1] is no information, and reads as if it were.
    """
    if not math.isfinite(found.rho):
        return "not defined"
    head = f"{found.rho:.2f}".replace("-", "−")
    if not math.isfinite(found.low) or (found.low < -0.995 and found.high > 0.995):
        return f"{head} (too few points for an interval)"
    return f"{head} ({found.low:.2f} to {found.high:.2f})".replace("-", "−")


def verdict(found: Correlation) -> str:
    """What an interval allows to say of a relation."""
    if math.isfinite(found.low) and found.low > 0:
        return "goes with held-out accuracy"
    if math.isfinite(found.high) and found.high < 0:
        return "goes against held-out accuracy"
    return "has no clear relation to held-out accuracy"


def compass_words(found: Compass) -> str:
    """One sentence on a compass."""
    level, change = found.level, found.change
    runs = f"{level.runs} run{'s' * (level.runs != 1)}"
    name = COMPASS_WORDS.get(found.series, found.series)
    if not level.n:
        return f"{name[:1].upper()}{name[1:]}: no correlation to be had, one of both never changes."
    return (
        f"{name[:1].upper()}{name[1:]} {verdict(level)}: rank correlation {rho_text(level)} over "
        f"{level.n} evaluations of {runs}; its changes: {rho_text(change)}, {_change_verdict(change)}."
    )


def _change_verdict(found: Correlation) -> str:
    if math.isfinite(found.low) and (found.low > 0 or found.high < 0):
        return "so it moves together with accuracy step by step" if found.low > 0 else "so it moves the other way"
    return "which could be chance"


# --- sensitivity ------------------------------------------------------------------------------------------------------


def sensitivity_words(name: str, found: Sensitivity) -> str:
    """How far the shape of the curve survives dropping grams."""
    known = found.shape[np.isfinite(found.shape)]
    if len(known) == 0:
        return f"{name}: no shape to compare, the curve does not change."
    share = f"{100 * found.fraction:.0f}{NBSP}%"
    median, worst = (f"{v:.2f}".replace("-", "−") for v in (float(np.median(known)), float(known.min())))
    return (
        f"{name}: with {share} of the grams dropped, {len(found.shape)} times, curves correlate with the full one by "
        f"{median} in the median and {worst} in the worst draw."
    )
