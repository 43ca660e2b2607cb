"""Where the first phase ends and the second begins, or that there is none.

arXiv 2509.03646 sees two phases: first the perplexity of execution tokens falls sharply (procedures are consolidated),
then semantic entropy rises while execution stays where it is (strategies are explored). It draws them by eye. Here both
series get a broken line (`hicra.dynamics.hinge`) and

    first phase    from the start of the steepest falling segment of the execution NLL (its slope's interval below 0)
                   to the first knot after it at which the fall has slowed to a quarter or less
    second phase   from the start of the first segment of semantic entropy that rises with a quarter of the steepest
                   rise or more and from which on the line rises (the interval of its change to the last step above 0)

The series may show neither: `Phase.seen` is False then and `says` tells why in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hicra.dynamics.hinge import MIN_POINTS, Bent, Change, bend, change_since
from hicra.dynamics.series import Series

SLOWED = 0.25
"""A fall or a rise is over, or has not begun, where its slope is below this share of the steepest one."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase.

    Attributes:
        seen: whether the series shows it.
        begin, end: training steps; `end` is None where it had not ended at the last step.
        begin_low, begin_high, end_low, end_high: 95 % intervals; None where the step is the first one, or unknown.
        change, change_low, change_high: how far the series fell (first phase, nats a token) or rose (second phase,
            bits) from `begin` to `end` or the last step, and the interval.
        says: the same in a sentence.
    """

    seen: bool
    says: str
    begin: float | None = None
    begin_low: float | None = None
    begin_high: float | None = None
    end: float | None = None
    end_low: float | None = None
    end_high: float | None = None
    change: float | None = None
    change_low: float | None = None
    change_high: float | None = None


@dataclass(frozen=True, slots=True)
class Phases:
    """Both phases.

    Attributes:
        first, second: as seen, or not.
        execution, semantic: the lines they were read from; None where the run has no such series, or too few steps.
        alongside: what other series did from the start of the second phase to the last step; empty without one. The
            paper's second phase is a rise of semantic entropy *with* reward and length, while conditional entropy and
            execution stay where they are.
    """

    first: Phase
    second: Phase
    execution: Bent | None
    semantic: Bent | None
    alongside: Mapping[str, Change]


def phases(
    execution_nll: Series | None,
    semantic: Series | None,
    others: Mapping[str, Series] | None = None,
    *,
    seed: int = 0,
) -> Phases:
    """Read both phases off two series.

    Args:
        execution_nll: mean negative log-prob of execution tokens, nats (log of their perplexity); None: unknown.
        semantic: semantic entropy in bits, corrected for length (rarefied); None: unknown.
        others: series for `Phases.alongside`, by name.
        seed: of the simulations behind the intervals.
    """
    nll = None if execution_nll is None else bend(execution_nll.steps, execution_nll.value, seed=seed)
    spread = None if semantic is None else bend(semantic.steps, semantic.value, seed=seed + 1)
    second = second_phase(spread, _why(semantic, "semantic entropy"))
    alongside = {}
    if second.begin is not None:
        for i, (name, series) in enumerate((others or {}).items()):
            change = change_since(series.steps, series.value, second.begin, seed=seed + 2 + i)
            if change is not None:
                alongside[name] = change
    first = first_phase(nll, _why(execution_nll, "log-probs of execution tokens"))
    return Phases(first, second, nll, spread, alongside)


def first_phase(line: Bent | None, why_none: str = "") -> Phase:
    """The fall of the execution NLL; see the module's text."""
    if line is None:
        return Phase(False, f"no first phase seen: {why_none}")
    falling = np.flatnonzero(line.slopes_high < 0)
    if len(falling) == 0:
        return Phase(False, "no first phase seen: the perplexity of execution tokens does not fall beyond its noise")
    first = int(falling[np.argmin(line.slopes[falling])])
    steepest = line.slopes[first]
    slowed = [j for j in range(first + 1, len(line.slopes)) if line.slopes[j] >= SLOWED * steepest]
    last = slowed[0] if slowed else len(line.slopes)
    begin, end = _knot(line, first - 1), _knot(line, last - 1)
    if not slowed:
        end = (None, None, None)
    change = _change(line, first, last)
    until = f"until step {_around(*end)}" if slowed else "to the last step: it has not ended"
    return Phase(
        True,
        f"first phase from step {_around(*begin)} {until}; execution NLL changes by {change[0]:+.3g} nats",
        *begin,
        *end,
        *change,
    )


def second_phase(line: Bent | None, why_none: str = "") -> Phase:
    """The rise of semantic entropy; see the module's text."""
    if line is None:
        return Phase(False, f"no second phase seen: {why_none}")
    steepest, last = float(line.slopes.max()), len(line.slopes)
    for j in range(last):
        rest = _change(line, j, last)
        if line.slopes[j] < max(SLOWED * steepest, 1e-300) or rest[1] <= 0:
            continue
        begin = _knot(line, j - 1)
        net = float(line.changes[0, last])
        after_fall = f", and is {net:+.3g} bits from where it began" if net < 0 else ""
        return Phase(
            True,
            f"second phase from step {_around(*begin)}: semantic entropy changes by {rest[0]:+.3g} bits to the last"
            f" step{after_fall}",
            *begin,
            None,
            None,
            None,
            *rest,
        )
    return Phase(False, "no second phase seen: semantic entropy does not rise beyond its noise")


def _why(series: Series | None, name: str) -> str:
    if series is None:
        return f"the run has no {name}"
    return f"{int(series.known.sum())} steps have {name}, at least {MIN_POINTS} are needed"


def _knot(line: Bent, j: int) -> tuple[float | None, float | None, float | None]:
    """Step and interval of a knot; the first step where j is -1."""
    if j < 0:
        return float(line.steps[0]), None, None
    if j >= len(line.knots):
        return None, None, None
    return float(line.knots[j]), float(line.knots_low[j]), float(line.knots_high[j])


def _change(line: Bent, first: int, last: int) -> tuple[float, float, float]:
    """Change over segments first..last-1, and its interval."""
    changes = (line.changes, line.changes_low, line.changes_high)
    value, low, high = (float(c[first, last]) for c in changes)
    return value, low, high


def _around(at: float | None, low: float | None, high: float | None) -> str:
    return f"{at:.0f}" if low is None or high is None else f"{at:.0f} ({low:.0f} to {high:.0f})"
