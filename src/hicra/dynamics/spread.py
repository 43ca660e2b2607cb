"""Semantic entropy through training, by every estimator, over grams and over clusters.

    plug_in, miller_madow, chao_shen, rarefied          bits (`hicra.dynamics.semantic`, `hicra.dynamics.corrected`)
    normalised                                          plug-in / log2 of the number of grams (clusters) in the set

Rarefied curves draw m occurrences at every step, so that steps can be compared: m is what 19 of 20 steps can supply
even without one block of their prompts, at most 1000; the others have no rarefied value. Hand the same m to runs that
are compared. The noise is a jackknife over blocks of prompts: a bootstrap would repeat grams, and bias every entropy
downwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hicra.dynamics.corrected import chao_shen_bits, miller_madow_bits, normalised
from hicra.dynamics.intervals import Z, jackknife_error
from hicra.dynamics.reading import Completions
from hicra.dynamics.semantic import entropy_bits, rarefied_entropy_bits
from hicra.dynamics.series import Floats, Ints, Series

ESTIMATORS = ("plug_in", "miller_madow", "chao_shen", "rarefied", "normalised")
MIN_OCCURRENCES = 20
MAX_RAREFIED = 1000
BLOCKS = 12


@dataclass(frozen=True, slots=True, eq=False)
class StepCounts:
    """Occurrences of each gram, or cluster, at each step.

    Attributes:
        steps: (S,) training steps.
        counts: (S, K) int64.
        blocks: for each step (B, K_s), the occurrences of each block of prompts, for the classes that occur there.
    """

    steps: Ints
    counts: Ints
    blocks: Sequence[Ints]

    @property
    def spare(self) -> int:
        """Occurrences that 19 of 20 steps can supply without any one of their blocks; 0: none can.

        Where one block holds most of a step's occurrences, half of them count: that step has no band then.
        """
        totals = [int(b.sum()) for b in self.blocks]
        spare = [
            max(int((b.sum() - b.sum(axis=1)).min()), n // 2) if len(b) > 1 else n
            for b, n in zip(self.blocks, totals, strict=True)
        ]
        return common_number([s for s, n in zip(spare, totals, strict=True) if n >= MIN_OCCURRENCES], least=0)


def common_number(totals: npt.ArrayLike, least: int = MIN_OCCURRENCES) -> int:
    """What 19 of 20 of the totals that are `least` or more reach, at most 1000; 0 where there is none."""
    used = np.asarray(totals, np.int64)
    used = used[used >= least]
    return int(min(MAX_RAREFIED, np.quantile(used, 0.05, method="lower"))) if len(used) else 0


def step_counts(completions: Completions, size: int, class_of: npt.ArrayLike | None = None) -> StepCounts:
    """Count occurrences by step and by block of prompts.

    Args:
        completions: of one run.
        size: K, number of grams (or of clusters).
        class_of: (n_grams,) cluster of each gram, -1 for none; None: grams themselves.
    """
    c = completions
    classes = c.gram_id if class_of is None else np.asarray(class_of, np.int64)[c.gram_id]
    known = classes >= 0
    row, classes, times = c.gram_row[known], classes[known], c.gram_count[known]
    step = c.step_of[row]
    flat = np.bincount(step * size + classes, times, len(c.steps) * size)
    counts = np.rint(flat).astype(np.int64).reshape(len(c.steps), size)
    bounds = np.searchsorted(step, np.arange(len(c.steps) + 1))
    blocks = []
    for s in range(len(c.steps)):
        here = slice(bounds[s], bounds[s + 1])
        block = _blocks(c, s)[row[here] - np.searchsorted(c.step_of, s)]
        seen, column = np.unique(classes[here], return_inverse=True)
        table = np.zeros((int(block.max(initial=-1)) + 1, len(seen)), np.int64)
        np.add.at(table, (block, column), times[here])
        blocks.append(table)
    return StepCounts(c.steps, counts, blocks)


def _blocks(c: Completions, s: int) -> Ints:
    """Block of each completion of a step: its prompts dealt to at most `BLOCKS` blocks."""
    first, last = np.searchsorted(c.step_of, (s, s + 1))
    return np.unique(c.prompt[first:last], return_inverse=True)[1].astype(np.int64) % BLOCKS


def entropy_series(found: StepCounts, m: int | None = None) -> dict[str, Series]:
    """Every estimator's series with its band.

    Args:
        found: what `step_counts` gave.
        m: occurrences to rarefy to; None: `found.spare`. 0: no rarefied series.

    Returns:
        By estimator's name. Steps with fewer than 20 occurrences are NaN, and rarefied steps with fewer than m.
    """
    m, size = found.spare if m is None else m, found.counts.shape[1]
    measures: dict[str, Callable[[Ints], float]] = {
        "plug_in": entropy_bits,
        "miller_madow": miller_madow_bits,
        "chao_shen": chao_shen_bits,
    }
    if m >= 1:
        measures["rarefied"] = lambda counts: rarefied_entropy_bits(counts, m)
    values = {name: np.full((2, len(found.steps)), np.nan) for name in measures}
    for s, blocks in enumerate(found.blocks):
        total = blocks.sum(axis=0)
        if total.sum() < MIN_OCCURRENCES:
            continue
        left = [total - b for b in blocks if b.any()]
        for name, measure in measures.items():
            values[name][0, s] = measure(total)
            if len(left) > 1:  # NaN where what is left is less than m
                values[name][1, s] = jackknife_error([measure(rest) for rest in left])
    out = {name: _series(found.steps, pair[0], pair[1]) for name, pair in values.items()}
    plug_in = out["plug_in"]
    if size > 1:
        scale = normalised(1.0, size)
        out["normalised"] = Series(
            found.steps, scale * plug_in.value, scale * plug_in.low, scale * plug_in.high, "share"
        )
    return out


def _series(steps: Ints, value: Floats, error: Floats) -> Series:
    return Series(steps, value, np.maximum(0.0, value - Z * error), value + Z * error, "bits")
