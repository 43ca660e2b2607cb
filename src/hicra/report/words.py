"""Plain words under a figure, computed from its curves: what rose, what fell, and what cannot be told from noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hicra.report.stats import Interval, difference, interval, welch, window_mean

if TYPE_CHECKING:
    from hicra.report.quantities import Curve
    from hicra.report.runs import Run
    from hicra.report.stats import Floats, Ints

NBSP = "\u00a0"
MAX_CONTRASTS = 4


def value_text(value: float, unit: str) -> str:
    """A value with its unit, short.

    >>> value_text(0.173, "share"), value_text(58.23, "tokens")
    ('17.3\\xa0%', '58.2\\xa0tokens')
    """
    if not np.isfinite(value):
        return "–"
    if unit == "share":
        return f"{_digits(100 * value, 3)}{NBSP}%"
    name = {"": "", "ratio": f"{NBSP}×"}.get(unit, f"{NBSP}{unit}")
    return f"{_digits(value, 3)}{name}"


def change_text(value: float, unit: str) -> str:
    """A signed difference; shares in percentage points."""
    shown = _digits(100 * value if unit == "share" else value, 2)
    sign = "" if shown.startswith("−") else "+"
    return f"{sign}{shown}{_difference_unit(unit)}"


def interval_text(found: Interval, unit: str) -> str:
    """``+0.021, 95 % interval −0.013 to +0.055``; the interval is left out where it is unknown."""
    head = change_text(found.value, unit)
    if found.low is None or found.high is None:
        return head
    scale = 100 if unit == "share" else 1
    low, high = (
        ("" if t.startswith("−") else "+") + t for t in (_digits(scale * x, 2) for x in (found.low, found.high))
    )
    return f"{head}, 95{NBSP}%{NBSP}interval {low}{NBSP}to{NBSP}{high}"


def _difference_unit(unit: str) -> str:
    return {"share": f"{NBSP}points", "ratio": "", "": ""}.get(unit, f"{NBSP}{unit}")


def _digits(value: float, significant: int) -> str:
    if value == 0:
        return "0"
    size = abs(value)
    places = max(0, significant - 1 - int(np.floor(np.log10(size)))) if size < 10**significant else 0
    text = f"{value:,.{min(places, 6)}f}"
    if size < 1e-4:
        text = f"{value:.1e}"
    return text.replace("-", "−")


# --- one run ---------------------------------------------------------------------------------------------------------


def ends(curve: Curve) -> tuple[Ints, Ints]:
    """Indices of the first tenth and the last fifth of the steps with a value; of evaluations, the first and last."""
    known = np.flatnonzero(np.isfinite(curve.raw))
    if curve.trials is not None:
        return known[:1], known[-1:]
    return known[: max(1, round(len(known) / 10))], known[-max(1, round(len(known) / 5)) :]


def mean_at(curve: Curve, where: Ints) -> Interval:
    """Mean over the steps at `where`, with its interval."""
    if curve.trials is not None:
        return _eval_interval(curve, int(where[0]))
    return interval(*window_mean(curve.estimate, where))


def _eval_interval(curve: Curve, i: int) -> Interval:
    value = float(curve.raw[i])
    if curve.low is None or curve.high is None or not np.isfinite(curve.low[i]):
        return Interval(value)
    return Interval(value, float(curve.low[i]), float(curve.high[i]))


def change(curve: Curve) -> tuple[Interval, Interval, Interval] | None:
    """(start, end, end - start) of a curve; None where it has one value only."""
    first, last = ends(curve)
    if len(first) == 0 or last[-1] == first[0]:
        return None
    start, end = mean_at(curve, first), mean_at(curve, last)
    if curve.trials is not None:
        return start, end, difference(end, start)
    a, ra = window_mean(curve.estimate, first)
    b, rb = window_mean(curve.estimate, last)
    return start, end, interval(b - a, None if ra is None or rb is None else rb - ra)


def change_words(run: Run, curve: Curve, unit: str) -> str:
    """One sentence on how one run's curve went."""
    found = change(curve)
    if found is None:
        return f"{run.name} has one value, {value_text(float(curve.raw[np.isfinite(curve.raw)][0]), unit)}."
    start, end, delta = found
    span = f"from {value_text(start.value, unit)} to {value_text(end.value, unit)}"
    if start.value == end.value and (delta.low is None or delta.low == delta.high):
        return f"{run.name} stays at {value_text(end.value, unit)}."
    if delta.low is None:
        return f"{run.name} goes {span} (noise unknown)."
    if not delta.clear:
        return f"{run.name} shows no clear change, {span} ({interval_text(delta, unit)})."
    verb = "rises" if delta.value > 0 else "falls"
    return f"{run.name} {verb} {span} ({interval_text(delta, unit)})."


# --- two runs --------------------------------------------------------------------------------------------------------


def contrast(after: Curve, before: Curve) -> Interval | None:
    """`after` minus `before` over the last fifth of the steps that both have; None where they share none."""
    shared = np.intersect1d(after.x[np.isfinite(after.raw)], before.x[np.isfinite(before.raw)])
    if len(shared) == 0:
        return None
    if after.trials is not None:
        at_end = [_eval_interval(c, int(np.flatnonzero(c.x == shared[-1])[0])) for c in (after, before)]
        return difference(*at_end)
    tail = shared[-max(1, round(len(shared) / 5)) :]
    a, ra = window_mean(after.estimate, np.flatnonzero(np.isin(after.x, tail)))
    b, rb = window_mean(before.estimate, np.flatnonzero(np.isin(before.x, tail)))
    return interval(a - b, None if ra is None or rb is None else ra - rb)


def contrast_words(runs: Sequence[Run], curves: Sequence[Curve], unit: str) -> list[str]:
    """Sentences on how runs differ at the end: methods over seeds where there are several, else run against run."""
    if len(curves) < 2:
        return []
    groups: dict[str, list[Curve]] = {}
    for c in curves:
        groups.setdefault(runs[c.run].method, []).append(c)
    if len(groups) > 1 and all(len(g) > 1 for g in groups.values()):
        return _method_words(runs, list(groups.values()), unit)
    reference = next((c for c in curves if runs[c.run].baseline), curves[0])
    out = []
    for c in [c for c in curves if c is not reference][:MAX_CONTRASTS]:
        found = contrast(c, reference)
        pair = f"{runs[c.run].name} against {runs[reference.run].name}"
        if found is None:
            out.append(f"{pair}: no step that both have.")
        elif found.low is None:
            out.append(f"{pair} at the end: {change_text(found.value, unit)}; its noise is unknown.")
        elif not found.clear:
            out.append(f"{pair} at the end: no difference to be seen ({interval_text(found, unit)}).")
        else:
            side = "higher" if found.value > 0 else "lower"
            out.append(
                f"{pair} at the end: {side} ({interval_text(found, unit)}; one run each, so not yet the method)."
            )
    return out


def _method_words(runs: Sequence[Run], groups: list[list[Curve]], unit: str) -> list[str]:
    def last(group: list[Curve]) -> Floats:
        return np.array([mean_at(c, ends(c)[1]).value for c in group])

    def name(group: list[Curve]) -> str:
        return f"{runs[group[0].run].name} and its {len(group) - 1} sister run{'s' * (len(group) > 2)}"

    reference = next((g for g in groups if runs[g[0].run].baseline), groups[0])
    out = []
    for group in [g for g in groups if g is not reference][:MAX_CONTRASTS]:
        found = welch(last(group), last(reference))
        verdict = "no difference to be seen"
        if found.clear:
            verdict = "higher" if found.value > 0 else "lower"
        pair = f"{name(group)} against {name(reference)}"
        out.append(
            f"{pair} at the end: {verdict} "
            f"({interval_text(found, unit)}; Welch's t over {len(group)} and {len(reference)} seeds)."
        )
    return out


def noise_words(runs: Sequence[Run]) -> str:
    """What the intervals cover and what they do not."""
    seeds = {m: len([r for r in runs if r.method == m]) for m in dict.fromkeys(r.method for r in runs)}
    cover = (
        "Bands and intervals are 95 %. In training they come from resampling the prompts of each step; "
        "in evaluations they are Wilson's, or what the run wrote. Differences are taken as between independent "
        "samples, which is on the safe side where runs share their problems."
    )
    if min(seeds.values()) > 1:
        noise = "There are several seeds of each method: comparisons between methods include the noise of seeds."
    elif len(seeds) == 1 and len(runs) == 1:
        noise = "This is one run with one seed: another seed may look different, and no interval here covers that."
    else:
        noise = (
            "One seed of a method is no sample of the method: intervals here do not cover what another seed would do, "
            "so a difference between two runs is not yet a difference between two methods."
        )
    return f"{cover} {noise} With this many figures, about one comparison in twenty leaves zero out by chance."
