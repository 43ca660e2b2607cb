"""The figures of a report as data: which quantity in which panel, in which unit, and the words that go with it.

Nothing here draws: `draw` turns a `Panel` into an SVG for the page, or a `Figure` into a PNG or PDF.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hicra.report import quantities as q
from hicra.report.quantities import Curve
from hicra.report.scales import y_limits
from hicra.report.words import change_words, contrast_words

if TYPE_CHECKING:
    from hicra.report.picture import Picture
    from hicra.report.runs import Run

Quantity = Callable[[int, "Run"], "Curve | str"]
"""(index, run) -> its curve, or why there is none."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place on a run's line: at `x`, which may as well lie anywhere from `low` to `high`."""

    run: int
    x: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes.

    Attributes:
        key: unique name, fit for an id.
        title: what is on the y axis, in words.
        unit: ``"share"``, ``"ratio"``, ``"nats"``, ``"bits"``, ``"tokens"`` or ``""``.
        curves: one for each run that has the quantity.
        missing: why the other runs have none.
        points: draw values with error bars (evaluations), not a line with a band.
        limits: y limits shared with other panels, or None.
        findings: sentences computed from the curves.
        x_name: what is on the x axis.
        x_share: whether x is a share.
        marks: places on the lines.
        guides: (x0, y0, x1, y1) of straight lines to compare with, e.g. what chance would give.
    """

    key: str
    title: str
    unit: str
    curves: tuple[Curve, ...]
    missing: tuple[str, ...] = ()
    points: bool = False
    limits: tuple[float, float] | None = None
    findings: tuple[str, ...] = ()
    x_name: str = "training step"
    x_share: bool = False
    marks: tuple[Mark, ...] = ()
    guides: tuple[tuple[float, float, float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Figure:
    """Panels that belong together, under one heading.

    Attributes:
        key, title: name and heading.
        lead: what is measured and why one looks at it.
        panels: at least one; a panel without curves is switched off and says why.
        remarks: what a reader must know to read it right.
        more: panels that a reader may want to unfold.
        pictures: drawings that are no curves.
    """

    key: str
    title: str
    lead: str
    panels: tuple[Panel, ...]
    remarks: tuple[str, ...] = ()
    more: tuple[Panel, ...] = ()
    pictures: tuple[Picture, ...] = ()


def build_figures(runs: Sequence[Run]) -> list[Figure]:
    """All figures of a report, in reading order. A figure of which no run knows anything says so in its panels."""
    figures = [
        _accuracy(runs),
        _length(runs),
        _perplexity(runs),
        _entropy(runs),
        _semantic(runs),
        _planning(runs),
        *_held_out_moves(runs),
        *_optimisation(runs),
    ]
    return figures


def panel(
    runs: Sequence[Run],
    key: str,
    title: str,
    unit: str,
    quantity: Quantity,
    *,
    points: bool = False,
    words: bool = True,
) -> Panel:
    """A panel of one quantity for all runs, with its findings."""
    found = [quantity(i, run) for i, run in enumerate(runs)]
    curves = tuple(c for c in found if isinstance(c, Curve))
    missing = tuple(dict.fromkeys(m for m in found if isinstance(m, str)))
    findings = [change_words(runs[c.run], c, unit) for c in curves] if len(curves) <= 4 else []
    findings += contrast_words(runs, curves, unit)
    return Panel(key, title, unit, curves, missing, points, findings=tuple(findings) if words else ())


def _accuracy(runs: Sequence[Run]) -> Figure:
    binary = all(run.prompts.binary for run in runs if run.prompts) and any(run.prompts for run in runs)
    name = "Training accuracy" if binary else "Training reward"
    unit = "share" if binary else ""
    train = panel(runs, "reward", name, unit, lambda i, r: q.per_completion(i, r, "reward", "accuracy", "reward"))
    panels = [train, *_held_out(runs)]
    lead = f"{'How often the policy is right' if binary else 'The mean reward'} on the prompts it trains on"
    if len(panels) == 1:
        lead += ". There are no evaluations, so nothing is said about problems it has not seen."
        return Figure("accuracy", "Accuracy" if binary else "Reward", lead, tuple(panels))
    accuracy = panels[1].unit == "share"
    known = (
        "on problems it never sees in training"
        if binary or not accuracy
        else "how often it is right on problems it never sees"
    )
    trials = [c.trials[np.isfinite(c.trials)] for c in panels[1].curves if c.trials is not None]
    remarks: tuple[str, ...] = ()
    if accuracy and any(len(t) for t in trials):
        n = sorted({int(t) for ts in trials for t in ts})
        shown = f"{n[0]:,}" if len(n) == 1 else f"{n[0]:,} to {n[-1]:,}"
        remarks = (
            f"Held-out intervals are Wilson's for {shown} independent trials. Several samples of one problem are not "
            "independent: if there are any among them, the intervals are too narrow.",
        )
    return Figure(
        "accuracy", "Accuracy" if accuracy or binary else "Reward", f"{lead}, and {known}.", tuple(panels), remarks
    )


def _held_out(runs: Sequence[Run]) -> list[Panel]:
    """Accuracy of evaluations; their reward where no run has an accuracy; nothing where there are no evaluations."""
    if not any(run.evals for run in runs):
        return []

    def one(name: str, title: str, unit: str) -> Panel:
        share = unit == "share"
        return panel(runs, "held-out", title, unit, lambda i, r: q.evaluated(i, r, name, share=share), points=True)

    accuracy = one("accuracy", "Held-out accuracy", "share")
    reward = accuracy if accuracy.curves else one("reward", "Held-out reward", "")
    return [reward if reward.curves else accuracy]


def _length(runs: Sequence[Run]) -> Figure:
    length = panel(
        runs,
        "length",
        "Completion length",
        "tokens",
        lambda i, r: q.per_completion(i, r, "length", "length", "completions/mean_length"),
    )
    cut = panel(
        runs,
        "truncated",
        "Completions cut off by the length limit",
        "share",
        lambda i, r: q.per_completion(i, r, "truncated", "truncated", "completions/clipped_ratio"),
    )
    remarks = []
    worst = [(runs[c.run].name, float(np.nanmax(c.line))) for c in cut.curves]
    for name, share in worst:
        if share > 0.1:
            remarks.append(
                f"Up to {100 * share:.0f} % of the completions of {name} are cut off: "
                "its length curve is partly the limit."
            )
    lead = "Longer completions can mean more strategy or more rambling; truncated ones never reach an answer."
    return Figure("length", "Length and truncation", lead, (length, cut), tuple(remarks))


def _perplexity(runs: Sequence[Run]) -> Figure:
    panels = share_limits(_by_kind(runs, "perplexity", "Relative perplexity", "ratio", q.relative_perplexity))
    lead = (
        "How surprised the policy is by its own tokens, relative to its first step (1 = as at the start). "
        "In the paper execution tokens fall first, as procedure is consolidated."
    )
    return Figure("perplexity", "Relative perplexity by kind of token", lead, panels, gram_remarks(runs))


def _entropy(runs: Sequence[Run]) -> Figure:
    panels = _by_kind(runs, "entropy", "Token entropy", "nats", lambda i, r, kind: q.per_token(i, r, "entropy", kind))
    lead = (
        "How undecided the policy is about the next word. A fall does not mean that strategy narrows: "
        "compare with semantic entropy below."
    )
    return Figure("entropy", "Token entropy by kind of token", lead, tuple(panels), gram_remarks(runs))


def _by_kind(
    runs: Sequence[Run], key: str, title: str, unit: str, quantity: Callable[[int, Run, str], Curve | str]
) -> list[Panel]:
    kinds = (("execution", "execution tokens"), ("planning", "planning tokens"))

    def one(kind: str, name: str) -> Panel:
        return panel(runs, f"{key}-{kind}", f"{title}, {name}", unit, lambda i, r: quantity(i, r, kind))

    return [one(kind, name) for kind, name in kinds]


def _semantic(runs: Sequence[Run]) -> Figure:
    panels: list[Panel] = []
    remarks = list(gram_remarks(runs))
    for level, plural in (("gram", "grams"), ("cluster", "clusters")):
        found = [q.occurrences(run, level) for run in runs]
        # without counts, the engine's own number is the plug-in all the same
        metric = "semantic_entropy_bits" if level == "gram" else "semantic_entropy_clusters_bits"

        def plug_in(i: int, run: Run, found: list[q.Occurrences | str] = found, metric: str = metric) -> Curve | str:
            here = found[i]
            if isinstance(here, str):
                logged = q.logged(i, run, metric) if run.prompts is None else here
                return here if isinstance(logged, str) else logged
            return q.semantic_entropy(i, here, run.name)

        plain = panel(runs, f"semantic-{level}", f"Semantic entropy of {plural}, plug-in", "bits", plug_in)
        if level == "cluster" and not plain.curves:
            remarks.append(f"Clusters of grams are not shown: {'; '.join(plain.missing)}.")
            continue
        panels.append(plain)
        counted = [f for f in found if not isinstance(f, str)]
        m = min((f.smallest() for f in counted), default=0)
        if m < q.MIN_OCCURRENCES:
            if counted:
                remarks.append(
                    f"No curve at equal counts for {plural}: some step has only {m} occurrences to spare, "
                    f"under the {q.MIN_OCCURRENCES} that are needed."
                )
            continue

        def rarefied(i: int, run: Run, found: list[q.Occurrences | str] = found, m: int = m) -> Curve | str:
            here = found[i]
            return here if isinstance(here, str) else q.semantic_entropy(i, here, run.name, m)

        title = f"Semantic entropy of {plural}, at equal counts"
        panels[-1:] = share_limits([plain, panel(runs, f"semantic-{level}-rarefied", title, "bits", rarefied)])
        remarks.append(
            f"Equal counts for {plural}: the entropy expected in {m} occurrences, the same for every step and run."
        )
    lead = (
        "How evenly the policy spreads over its strategic moves. The plug-in value grows with the number of "
        "occurrences, so longer completions alone raise it; the value at equal counts takes that away."
    )
    return Figure("semantic", "Semantic entropy", lead, tuple(panels), tuple(remarks))


def _planning(runs: Sequence[Run]) -> Figure:
    share = panel(runs, "planning-share", "Share of planning tokens", "share", q.planning_share)
    panels = [share]
    mass = panel(
        runs,
        "added-mass",
        "Advantage added, share of all |A|",
        "share",
        lambda i, r: q.logged(i, r, "added_mass_share"),
    )
    if not mass.curves:
        mass = panel(runs, "added-mass", "Advantage added, sum", "", lambda i, r: q.logged(i, r, "added_mass"))
    panels.append(mass)
    lead = (
        "How much of the text the gram set calls planning, and how much credit was put on top of GRPO's because of it "
        "(sum of alpha·|A| over planning tokens; for GRPO zero)."
    )
    return Figure("planning", "Planning tokens and added credit", lead, tuple(panels), gram_remarks(runs))


_MOVES = (
    ("approach_entropy_bits", "Entropy of the approaches tried", "bits", False),
    ("first_approach_entropy_bits", "Entropy of the approach tried first", "bits", False),
    ("semantic_entropy_bits", "Semantic entropy of grams, held-out", "bits", False),
    ("semantic_entropy_rarefied_bits", "The same at equal counts", "bits", False),
    ("execution_error", "Execution errors", "share", False),
    ("attempts", "Attempts in a completion", "", False),
    ("length", "Length, held-out", "tokens", False),
    ("truncated", "Cut off, held-out", "share", True),
)


_BENCHMARK = re.compile(r"(?:(?P<name>.+)/)?(?:(?P<accuracy>accuracy)|pass_at_(?P<k>\d+)|(?P<cut>truncated))")
"""Metrics of an evaluation during training; without a benchmark's name, accuracy and truncation have their panels."""


def _benchmarks(runs: Sequence[Run]) -> list[tuple[str, str, str, bool]]:
    """Rows like those of `_MOVES` for every benchmark that an evaluation names, and for every pass@k."""
    rows = []
    for name in dict.fromkeys(name for run in runs for line in run.evals for name in line):
        found = _BENCHMARK.fullmatch(name)
        if found is None or (found["name"] is None and found["k"] is None):
            continue
        what = f"pass@{found['k']}" if found["k"] else "accuracy" if found["accuracy"] else "cut off"
        rows.append((name, f"{found['name'] or 'Held-out'}, {what}", "share", True))
    return rows


def _held_out_moves(runs: Sequence[Run]) -> list[Figure]:
    """What the evaluations measured beyond accuracy; no figure where they measured nothing else."""

    def one(name: str, title: str, unit: str, share: bool) -> Panel:
        return panel(
            runs,
            f"eval-{name.replace('/', '-')}",
            title,
            unit,
            lambda i, r: q.evaluated(i, r, name, share=share),
            points=True,
        )

    panels = tuple(p for p in (one(*row) for row in (*_benchmarks(runs), *_MOVES)) if p.curves)
    lead = (
        "The same policies on held-out problems. Where approaches are recognised, their entropy says how widely the "
        "policy looks for a way; wording (grams) can narrow while approaches widen."
    )
    return [Figure("held-out", "Held-out behaviour", lead, panels)] if panels else []


def _optimisation(runs: Sequence[Run]) -> list[Figure]:
    rows = (("loss", "Loss"), ("grad_norm", "Gradient norm"))
    panels = tuple(
        p
        for p in (
            panel(runs, name.replace("_", "-"), title, "", lambda i, r, n=name: q.logged(i, r, n), words=False)  # type: ignore[misc]
            for name, title in rows
        )
        if p.curves
    )
    lead = "Whether training was well behaved. The value of a policy-gradient loss says nothing about progress."
    return [Figure("optimisation", "Optimisation", lead, panels)] if panels else []


def gram_remarks(runs: Sequence[Run]) -> tuple[str, ...]:
    hashes = {run.gram_hash for run in runs}
    if len(hashes) > 1:
        return (
            "The runs use different gram sets: what counts as planning differs, so their levels cannot be compared.",
        )
    return ()


def share_limits(panels: list[Panel]) -> tuple[Panel, ...]:
    shown = [y_limits(p.curves, p.unit) for p in panels if p.curves]
    if not shown:
        return tuple(panels)
    limits = (min(low for low, _ in shown), max(high for _, high in shown))
    return tuple(replace(p, limits=limits) if p.curves else p for p in panels)
