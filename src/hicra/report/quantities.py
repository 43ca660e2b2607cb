"""What is measured, one function a quantity: run -> `Curve`, or a sentence that says why there is none.

    mean            sum over completions / number of completions of a step
    token mean      sum over tokens of a kind / number of such tokens
    relative perplexity   exp(-mean log-prob) over its value at the first step
    semantic entropy      Shannon entropy in bits of the step's gram (or cluster) frequencies, plug-in; and rarefied:
                          its expectation in m occurrences drawn without replacement, m the same for all runs and
                          steps, since the plug-in grows with the number of occurrences

Where a run kept its completions, noise comes from resampling prompts; else the engine's metrics are shown without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hicra.dynamics.intervals import jackknife_error
from hicra.report.stats import Estimate, band, ratio, smooth, wilson, with_standard_error

if TYPE_CHECKING:
    from hicra.report.runs import Prompts, Run
    from hicra.report.stats import Floats, Ints

MIN_OCCURRENCES = 20
"""Steps with fewer gram occurrences than this have no semantic entropy: it would be all noise."""

MAX_RAREFIED = 1000
MAX_ENTROPY_STEPS = 200
MAX_BLOCKS = 12
"""Bounds on the work of semantic entropy in long runs: occurrences drawn, steps looked at, blocks of the jackknife."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a panel.

    Attributes:
        run: index of the run.
        x: (S,) training steps, or what else the panel has on its x axis.
        raw: (S,) value of each step; NaN where there is none.
        line: (S,) what is drawn: `raw` smoothed over a few steps.
        low, high: (S,) 95 % band of `line`, None where noise is unknown.
        estimate: `raw` and its replicates, for comparisons.
        trials: of evaluations, (S,) the number of trials of a Wilson interval that took completions as independent, NaN
            where there is no such interval; None for training.
    """

    run: int
    x: Ints | Floats
    raw: Floats
    line: Floats
    low: Floats | None
    high: Floats | None
    estimate: Estimate
    trials: Floats | None = None


def window(n: int) -> int:
    """Steps to smooth over: about an eighth of them, odd; none below 16."""
    return 1 if n < 16 else min(51, n // 8 // 2 * 2 + 1)


def curve(index: int, x: Ints | Floats, estimate: Estimate) -> Curve:
    """A curve over training steps: smoothed, with the band of the smoothed line."""
    width = window(len(x))
    low = high = None
    if estimate.replicates is not None and np.isfinite(estimate.replicates).all(axis=0).any():
        low, high = band(smooth(estimate.replicates, width))
    line = np.where(np.isfinite(estimate.value), smooth(estimate.value, width), np.nan)
    return Curve(index, x, estimate.value, line, low, high, estimate)


def per_completion(index: int, run: Run, column: str, *metric: str) -> Curve | str:
    """Mean of a completion's column (reward, length, truncated), or the engine's metric of that name."""
    p = run.prompts
    if p is None or not np.isfinite(p.sums[column]).any():
        return logged(index, run, *metric)
    return curve(index, p.steps, ratio(p.sums[column], p.sums["n"], p.step_of, p.draws))


def per_token(index: int, run: Run, quantity: str, kind: str) -> Curve | str:
    """Mean over the tokens of a kind of ``entropy`` or ``logprob``; nats."""
    p = run.prompts
    metric = f"{quantity}_{kind}"
    if p is None:
        return logged(index, run, metric)
    top = p.sums[f"sum_{metric}"]
    if not np.isfinite(top).any():
        return f"{run.name} has no {_PLAIN[quantity]} (its engine did not write them)"
    estimate = ratio(top, p.sums[f"n_{kind}"], p.step_of, p.draws)
    if not np.isfinite(estimate.value).any():
        return f"{run.name} has no {kind} tokens"
    return curve(index, p.steps, estimate)


_PLAIN = {"entropy": "token entropies", "logprob": "log-probabilities"}


def relative_perplexity(index: int, run: Run, kind: str) -> Curve | str:
    """exp(-mean log-prob) of the sampled tokens of a kind, over its value at the first step that has one."""
    found = per_token(index, run, "logprob", kind)
    if isinstance(found, str):
        if run.prompts is None and not isinstance(found := logged(index, run, f"perplexity_{kind}"), str):
            first = found.raw[np.flatnonzero(np.isfinite(found.raw))[0]]
            return curve(index, found.x, Estimate(found.raw / first))
        return found
    first = np.flatnonzero(np.isfinite(found.raw))[0]
    value = np.exp(found.raw[first] - found.raw)
    replicates = found.estimate.replicates
    if replicates is not None:
        replicates = np.exp(replicates[:, first : first + 1] - replicates)
    return curve(index, found.x, Estimate(value, replicates))


def planning_share(index: int, run: Run) -> Curve | str:
    """Planning tokens over all completion tokens that carry loss."""
    if run.prompts is None:
        return logged(index, run, "planning_share")
    p = run.prompts
    tokens = p.sums["n_planning"] + p.sums["n_execution"]
    return curve(index, p.steps, ratio(p.sums["n_planning"], tokens, p.step_of, p.draws))


def logged(index: int, run: Run, *names: str) -> Curve | str:
    """A metric as the engine wrote it, one number a step, noise unknown; the first of `names` that is there."""
    for name in names:
        rows = [(m["step"], m[name]) for m in run.metrics if _number(m.get(name))]
        if rows:
            x, values = np.array([s for s, _ in rows], np.int64), np.array([v for _, v in rows], np.float64)
            return curve(index, x, Estimate(values))
    return f"{run.name} wrote no {' or '.join(names)}"


def evaluated(index: int, run: Run, name: str, *, share: bool) -> Curve | str:
    """An evaluation's metric, with the run's own interval (``NAME_low``, ``NAME_high``) or, for a share, Wilson's.

    Trials are the ``n_items`` of the evaluation where it says so (samples of one problem are not independent; to count
    problems is on the safe side), else its ``n``.
    """
    rows = [e for e in run.evals if _number(e.get(name))]
    if not rows:
        return f"{run.name} has no {name.replace('_', ' ')} in its evaluations"
    x = np.array([e["step"] for e in rows], np.int64)
    value = np.array([e[name] for e in rows], np.float64)
    low, high = np.full((2, len(x)), np.nan)
    trials = np.full(len(x), np.nan)
    for i, row in enumerate(rows):
        if _number(row.get(f"{name}_low")) and _number(row.get(f"{name}_high")):
            low[i], high[i] = row[f"{name}_low"], row[f"{name}_high"]
        elif share and 0 <= value[i] <= 1 and (n := _trials(row)) is not None:
            found = wilson(float(value[i]), n)
            low[i], high[i] = found.low, found.high
            trials[i] = np.nan if "n_items" in row else n
    known = bool(np.isfinite(low).any())
    return Curve(index, x, value, value, low if known else None, high if known else None, Estimate(value), trials)


def _trials(row: Mapping[str, Any]) -> float | None:
    return next((float(row[k]) for k in ("n_items", "n") if _number(row.get(k)) and row[k] >= 1), None)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


# --- semantic entropy ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Occurrences:
    """How often each class (gram or cluster) occurs: for each step, (n blocks of prompts, classes seen in the step)."""

    steps: Ints
    counts: Sequence[Floats]

    def smallest(self) -> int:
        """The largest number of occurrences that every step, less any one block, can supply (0: none)."""
        spare = [int((c.sum() - c.sum(axis=1)).min()) for c in self.counts if c.sum() >= MIN_OCCURRENCES and len(c)]
        return min([MAX_RAREFIED, *spare]) if spare else 0


def occurrences(run: Run, level: str) -> Occurrences | str:
    """Occurrences by ``gram`` or by ``cluster``, or why there are none."""
    p = run.prompts
    if p is None:
        return f"{run.name} kept no completions, so its grams cannot be counted"
    if len(p.gram_row) == 0:
        return f"{run.name} has no gram in any completion"
    classes = p.gram_id
    if level == "cluster":
        of_gram = _clusters(run)
        if of_gram is None:
            return f"the gram set of {run.name} has no clusters"
        if classes.max() >= len(of_gram):
            return f"{run.name} counts grams that its grams.json does not list"
        classes = of_gram[classes]
    looked_at = np.unique(np.linspace(0, len(p.steps) - 1, min(len(p.steps), MAX_ENTROPY_STEPS)).astype(np.int64))
    return Occurrences(p.steps[looked_at], [_in_blocks(_step_counts(p, classes, s)) for s in looked_at.tolist()])


def _in_blocks(counts: Floats) -> Floats:
    """Prompts pooled to MAX_BLOCKS blocks: as good for a standard error, and no more work for larger batches."""
    if len(counts) <= MAX_BLOCKS:
        return counts
    pooled = np.zeros((MAX_BLOCKS, counts.shape[1]))
    np.add.at(pooled, np.arange(len(counts)) % MAX_BLOCKS, counts)
    return pooled


def _step_counts(p: Prompts, classes: Ints, step: int) -> Floats:
    first, last = np.searchsorted(p.step_of, (step, step + 1))
    start, end = np.searchsorted(p.gram_row, (first, last))
    here = start + np.flatnonzero(classes[start:end] >= 0)
    names, column = np.unique(classes[here], return_inverse=True)
    counts = np.zeros((last - first, len(names)))
    np.add.at(counts, (p.gram_row[here] - first, column), p.gram_count[here])
    return counts


def _clusters(run: Run) -> Ints | None:
    grams = (run.grams or {}).get("grams") or []
    names = [g.get("cluster") for g in grams]
    known = {name: i for i, name in enumerate(sorted({str(n) for n in names if n is not None}))}
    return np.array([-1 if n is None else known[str(n)] for n in names], np.int64) if known else None


def semantic_entropy(index: int, found: Occurrences, name: str, rarefy: int | None = None) -> Curve | str:
    """Entropy in bits of each step's occurrences, plug-in or rarefied to `rarefy`; noise by a jackknife over blocks."""
    from hicra.dynamics.semantic import entropy_bits, rarefied_entropy_bits

    def bits(counts: Floats) -> float:
        counts = counts[counts > 0].astype(np.int64)
        return float(entropy_bits(counts) if rarefy is None else rarefied_entropy_bits(counts, rarefy))

    value, error = np.full((2, len(found.steps)), np.nan)
    for s, counts in enumerate(found.counts):
        total = counts.sum(axis=0)
        if total.sum() < max(MIN_OCCURRENCES, rarefy or 0):
            continue
        value[s] = bits(total)
        left = [total - row for row in counts]
        if len(left) > 1 and all(rest.sum() >= max(1, rarefy or 0) for rest in left):
            error[s] = jackknife_error(np.array([bits(rest) for rest in left]))
    if not np.isfinite(value).any():
        return f"{name} has fewer than {MIN_OCCURRENCES} gram occurrences in every step"
    return curve(index, found.steps, with_standard_error(value, error, np.random.default_rng([36, index])))
