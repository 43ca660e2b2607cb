"""What judges said of failed rollouts (``judgements.jsonl`` in a run directory), as a figure."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hicra.errors import RunDirError
from hicra.report.figures import Figure, Panel, panel, share_limits
from hicra.report.quantities import Curve
from hicra.report.stats import Estimate
from hicra.report.style import visible
from hicra.report.words import value_text

if TYPE_CHECKING:
    from hicra.dynamics.failures import Agreement, Judgement, Point
    from hicra.dynamics.result import Analysis
    from hicra.report.runs import Run

FILE = "judgements.jsonl"


def failure_figure(runs: Sequence[Run], analysis: Analysis) -> Figure | None:
    """Planning & Strategy failures against others through training; None where no run was judged.

    Of several judges of a run, the curves show the one with the most answers; agreement is said in words.
    """
    from hicra.dynamics.failures import agreements

    judged = [read_judgements(run.reader.path / FILE) for run in runs]
    if not any(found for found, _ in judged):
        return None
    remarks, points = [], []
    for run, (found, broken) in zip(runs, judged, strict=True):
        judge = Counter(j.judge for j in found if j.category).most_common(1)
        shown = [j for j in found if judge and j.judge == judge[0][0]]
        points.append(_points(run, shown, analysis.settings.right_above))
        if shown:
            remarks.append(_judge_words(run.name, shown))
        if broken:
            remarks.append(f"{run.name}: {broken} lines of {FILE} are no answers, and were passed over.")
        remarks += [_agreement_words(run.name, a) for a in agreements(found, two_classes=True)]
    panels = share_limits([
        _panel(runs, points, "planning", "Planning & Strategy failures, of all completions"),
        _panel(runs, points, "others", "Other failures, of all completions"),
    ])  # fmt: skip
    share = _panel(runs, points, "share", "Planning & Strategy, of the failures judged")
    lead = (
        "Why solutions fail, as a judge sees it: a wrong plan, or something else (a slip in execution, an unrelated "
        "answer, one that is acceptable after all). In the paper planning failures fall more than the others."
    )
    remarks.append(
        "Intervals are Wilson's over judged failures, for a judge that errs in the same way at every step; a rate is "
        "the judged share times the share of completions that fail."
    )
    return Figure("failures", "Failures", lead, (*panels, share), tuple(remarks))


def read_judgements(path: Path) -> tuple[list[Judgement], int]:
    """Answers to the wording of today, the last one of each judge on each failure, and the number of broken lines.

    The file may be in the middle of being written, so it is read and never mended: a last line without its end is left.
    """
    from hicra.dynamics.failures import CATEGORIES, Judgement
    from hicra.dynamics.judge import PROMPT_VERSION

    raw = path.read_bytes() if path.is_file() else b""
    found: dict[tuple[str, str], Judgement] = {}
    broken = 0
    for line in raw[: raw.rfind(b"\n") + 1].splitlines():
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            said = Judgement(**{name: row[name] for name in Judgement.__dataclass_fields__})
            if said.category not in (None, *CATEGORIES):
                raise ValueError(said.category)
            if row.get("prompt_version") == PROMPT_VERSION:
                found[str(said.judge), str(said.key)] = said
        except (ValueError, KeyError, TypeError):
            broken += 1
    return list(found.values()), broken


def _points(run: Run, shown: Sequence[Judgement], right_above: float) -> list[Point]:
    from hicra.dynamics.failures import failure_rates, failure_series

    try:
        rates = failure_rates(run.reader, sorted({j.step for j in shown} & set(run.reader.steps)), right_above)
    except RunDirError:
        rates = {}
    return failure_series(shown, rates)


def _panel(runs: Sequence[Run], points: Sequence[Sequence[Point]], what: str, title: str) -> Panel:
    def quantity(i: int, run: Run) -> Curve | str:
        rows = [(p.step, *_values(p, what), p.n) for p in points[i]]
        if not any(math.isfinite(row[1]) for row in rows):
            return f"{run.name} has no judged failures (hicra judge asks a model or a person)"
        x, value, low, high, n = (np.array(column) for column in zip(*rows, strict=True))
        return Curve(i, x.astype(np.int64), value, value, low, high, Estimate(value), n.astype(np.float64))

    return replace(panel(runs, f"failures-{what}", title, "share", quantity, points=True), x_name="step judged")


def _values(p: Point, what: str) -> tuple[float, float, float]:
    if what == "share":
        return p.share, p.low, p.high
    if what == "planning":
        return p.planning_rate, p.low * p.failed, p.high * p.failed
    return p.other_rate, (1 - p.high) * p.failed, (1 - p.low) * p.failed


def _judge_words(run: str, shown: Sequence[Judgement]) -> str:
    answers = [j.category for j in shown if j.category]
    counts = Counter(answers)
    parts = ", ".join(f"{name} {counts[name]}" for name in ("plan", "execution", "unrelated", "acceptable"))
    unread = len(shown) - len(answers)
    more = f"; {unread} answers could not be read" if unread else ""
    return f"{run}: judged by {visible(shown[0].judge, 60)}, {len(answers)} failures: {parts}{more}."


def _agreement_words(run: str, a: Agreement) -> str:
    pair = " and ".join(visible(name, 60) for name in a.judges)
    if not a.n or not math.isfinite(a.kappa):
        return f"{run}: {pair} share {a.n} failures; Cohen's kappa is not defined."
    kappa, low, high = (f"{v:.2f}".replace("-", "−") for v in (a.kappa, a.low, a.high))
    return (
        f"{run}: {pair} agree on {value_text(a.agreed, 'share')} of {a.n} failures, planning against others; "
        f"Cohen's kappa {kappa} (95 % interval {low} to {high})."
    )
