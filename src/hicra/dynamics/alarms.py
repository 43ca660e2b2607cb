"""Alarms: what goes wrong in a run, seen in the metrics of its steps.

With `recent` the median of the last 3 steps, `reference` the median of the first 5, and `noise` a robust standard
deviation of the metric from differences of the last 200 steps (1.4826 median |d| / sqrt 2):

    entropy_collapse       recent token entropy < 0.2 reference
    length_blow_up         recent length > 2 x its median 16 to 20 steps earlier (the first 5 steps in a young run), and
                           recent reward no higher than it was then
    all_truncated          0.98 of the step's completions hit the length limit
    vanishing_advantages   recent share of groups with equal rewards >= 0.9
    planning_runaway       recent planning share > 1.5 reference and > reference + 0.03: phrases stuffed to please

A change relative to an earlier level must also exceed 4 noises. An alarm is raised at the step at which it becomes true
and again only after it has been false for a while. Everything is a pure function of the metrics up to a step, so an
engine may call `alarms_at` at each step and a report may call `find_alarms` at the end: they say the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hicra.dynamics.series import Floats


@dataclass(frozen=True, slots=True)
class AlarmLimits:
    """Limits of the alarms; see the module's text.

    Attributes:
        entropy_share: collapse below this share of the reference.
        length_ratio: blow-up above this multiple within `length_span` steps.
        length_span: steps.
        truncated: share of a step's completions.
        no_signal: share of groups with equal rewards.
        planning_ratio, planning_rise: above both of them.
        noises: a change of level must be this many standard deviations of the metric's noise.
        reference, recent: steps that a level is the median of.
    """

    entropy_share: float = 0.2
    length_ratio: float = 2.0
    length_span: int = 20
    truncated: float = 0.98
    no_signal: float = 0.9
    planning_ratio: float = 1.5
    planning_rise: float = 0.03
    noises: float = 4.0
    reference: int = 5
    recent: int = 3


LIMITS = AlarmLimits()
NOISE_SPAN = 200


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm.

    Attributes:
        name: one of `NAMES`.
        step: the step at which it became true.
        value: the metric's recent level.
        limit: the level that it passed.
        says: a sentence for a log or a report.
    """

    name: str
    step: int
    value: float
    limit: float
    says: str


METRICS: dict[str, tuple[str, ...]] = {
    "entropy": ("entropy",),
    "length": ("length",),
    "truncated": ("truncated",),
    "no_signal": ("no_signal", "frac_reward_zero_std"),
    "planning_share": ("planning_share",),
    "reward": ("reward",),
}
"""What each metric may be called; the first name that a step has counts."""


def find_alarms(metrics: Sequence[Mapping[str, Any]], limits: AlarmLimits = LIMITS) -> list[Alarm]:
    """Every alarm of a run, in order.

    Args:
        metrics: one mapping a step, ascending, with ``step`` and the metrics of `METRICS` that there are (numbers or
            None), as `RunReader.metrics` gives them.
        limits: when to raise them.
    """
    columns = _columns(metrics)
    found = []
    last: dict[str, int] = {}
    for i in range(len(metrics)):
        for alarm in _true_at(columns, i, limits):
            if last.get(alarm.name, -1_000_000) < i - limits.reference:
                found.append(alarm)
            last[alarm.name] = i
    return found


def alarms_at(metrics: Sequence[Mapping[str, Any]], limits: AlarmLimits = LIMITS) -> list[Alarm]:
    """The conditions that hold at the last step of `metrics`, those that held before included."""
    return _true_at(_columns(metrics), len(metrics) - 1, limits) if metrics else []


def alarm_metrics(alarms: Sequence[Alarm]) -> dict[str, float]:
    """Alarms as metrics to log: ``alarm/NAME`` is 1 where it holds, 0 where not."""
    on = {alarm.name for alarm in alarms}
    return {f"alarm/{name}": float(name in on) for name in NAMES}


_Columns = Mapping[str, Floats]


def _entropy_collapse(c: _Columns, i: int, limits: AlarmLimits) -> tuple[float, float, str] | None:
    recent, reference = _recent(c["entropy"], i, limits), _reference(c["entropy"], i, limits)
    limit = limits.entropy_share * reference
    if recent < limit and _beyond(c["entropy"], i, reference - recent, limits):
        return recent, limit, f"token entropy has fallen to {recent:.3g} from {reference:.3g} nats: entropy collapse"
    return None


def _length_blow_up(c: _Columns, i: int, limits: AlarmLimits) -> tuple[float, float, str] | None:
    start = max(0, i + 1 - limits.length_span)
    before = slice(start, start + limits.reference)
    if i < before.stop:
        return None
    earlier, recent = _median(c["length"][before]), _recent(c["length"], i, limits)
    limit = limits.length_ratio * earlier
    if not (recent > limit and _beyond(c["length"], i, recent - earlier, limits)):
        return None
    then, now = _median(c["reward"][before]), _recent(c["reward"], i, limits)
    if now > then and _beyond(c["reward"], i, now - then, limits):
        return None  # longer and better: that is what training is for
    steps = i - start
    return recent, limit, f"completions grew from {earlier:.0f} to {recent:.0f} tokens in {steps} steps: length blow-up"


def _all_truncated(c: _Columns, i: int, limits: AlarmLimits) -> tuple[float, float, str] | None:
    now = float(c["truncated"][i])
    if now >= limits.truncated:
        return now, limits.truncated, f"{now:.0%} of the step's completions hit the length limit"
    return None


def _vanishing_advantages(c: _Columns, i: int, limits: AlarmLimits) -> tuple[float, float, str] | None:
    if i + 1 < limits.recent:
        return None
    recent = _recent(c["no_signal"], i, limits)
    if recent >= limits.no_signal:
        return recent, limits.no_signal, f"{recent:.0%} of the groups have equal rewards, so no advantage: no signal"
    return None


def _planning_runaway(c: _Columns, i: int, limits: AlarmLimits) -> tuple[float, float, str] | None:
    recent, reference = _recent(c["planning_share"], i, limits), _reference(c["planning_share"], i, limits)
    limit = max(limits.planning_ratio * reference, reference + limits.planning_rise)
    if recent > limit and _beyond(c["planning_share"], i, recent - reference, limits):
        return (
            recent,
            limit,
            f"planning tokens went from {reference:.1%} to {recent:.1%} of all: look for stuffed phrases",
        )
    return None


_RULES: dict[str, Callable[[_Columns, int, AlarmLimits], tuple[float, float, str] | None]] = {
    "entropy_collapse": _entropy_collapse,
    "length_blow_up": _length_blow_up,
    "all_truncated": _all_truncated,
    "vanishing_advantages": _vanishing_advantages,
    "planning_runaway": _planning_runaway,
}

NAMES = tuple(_RULES)


def _true_at(c: _Columns, i: int, limits: AlarmLimits) -> list[Alarm]:
    out = []
    for name, rule in _RULES.items():
        if (found := rule(c, i, limits)) is not None:
            value, limit, says = found
            out.append(Alarm(name, int(c["step"][i]), value, limit, f"step {int(c['step'][i])}: {says}"))
    return out


def _columns(metrics: Sequence[Mapping[str, Any]]) -> _Columns:
    out = {"step": np.array([m["step"] for m in metrics], np.float64)}
    for name, aliases in METRICS.items():
        out[name] = np.array([_number(m, aliases) for m in metrics], np.float64)
    return out


def _number(metrics: Mapping[str, Any], names: Sequence[str]) -> float:
    for name in names:
        value = metrics.get(name)
        if isinstance(value, int | float):
            return float(value)
    return math.nan


def _median(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else math.nan


def _recent(values: Floats, i: int, limits: AlarmLimits) -> float:
    return _median(values[max(0, i + 1 - limits.recent) : i + 1])


def _reference(values: Floats, i: int, limits: AlarmLimits) -> float:
    """Level of the first steps; NaN, with which nothing compares, until they are over."""
    known = np.flatnonzero(np.isfinite(values[: i + 1]))[: limits.reference]
    return _median(values[known]) if len(known) == limits.reference and known[-1] < i else math.nan


def _beyond(values: Floats, i: int, change: float, limits: AlarmLimits) -> bool:
    known = values[max(0, i - NOISE_SPAN) : i + 1]
    known = known[np.isfinite(known)]
    noise = 1.4826 * float(np.median(np.abs(np.diff(known)))) / math.sqrt(2) if len(known) > 1 else 0.0
    return change > limits.noises * noise
