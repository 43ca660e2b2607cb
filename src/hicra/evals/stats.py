"""How well a method does on a benchmark, whether another one does better, and how sure that is.

    estimate     mean over items of each item's avg@k (or pass@j), with an interval
    difference   mean over the items that both methods answered of the difference of those, with interval and p-value

What is random decides what is computed:

    one run a method, one answer an item   Wilson's interval; differences: Bonett and Price's interval, exact McNemar
    one run a method, else                 t over items, or over clusters of items; differences: paired t
    several runs of a method               t over runs and items (runs.py)

The first two speak of other problems *for these models*; only the last speaks of the methods. Where all items agree,
the standard error is 0 and says nothing: the interval is then Wilson's, or Bonett and Price's for no item that
changed, and the p-value comes from sign flips.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hicra.errors import DataError
from hicra.evals.estimators import Floats, Ints, avg_at_k, pass_at_k
from hicra.evals.exact import mcnemar, sign_flips
from hicra.evals.intervals import bonett_price, cluster_sums, t_interval, t_test, wilson
from hicra.evals.power import GAIN, Noise, Plan, plan
from hicra.evals.results import Result
from hicra.evals.runs import crossed_error

Runs = Result | Sequence[Result]
"""One run, or the runs of one method on one benchmark, told apart by their seeds."""

FLAT = 1e-9
"""Standard errors below it are rounding: all items agree."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share of right answers and its 95 % interval, all between 0 and 1.

    Attributes:
        value, low, high: the share and the ends of its interval; infinite width is cut to [0, 1].
        items: that it is over.
        samples: fewest and most answers of an item in a run.
        runs: training runs.
        truncated: share of the answers that were cut off, None where unknown.
    """

    value: float
    low: float
    high: float
    items: int
    samples: tuple[int, int]
    runs: int
    truncated: float | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """`after` minus `before` on the same items: shares between -1 and 1, with a 95 % interval and a p-value.

    Attributes:
        value, low, high: the difference and the ends of its interval.
        p: two-sided p-value of no difference.
        test: what p comes from.
        sign_flip_p: of the exact sign-flip test over items (or clusters), NaN where it does not apply: for pass@k, for
            several runs, and for answers in numbers too uneven for it.
        items: that both have.
        left_out: items that only one of them has.
        runs: training runs of `after` and of `before`.
        samples: answers of every item, None where their numbers differ.
        noise: for planning; None where it cannot be told: several runs, clusters, uneven numbers of answers, pass@k.
    """

    value: float
    low: float
    high: float
    p: float
    test: str
    sign_flip_p: float
    items: int
    left_out: int
    runs: tuple[int, int]
    samples: int | None = None
    noise: Noise | None = None

    def plan(self, gain: float = GAIN) -> Plan | None:
        """What these items can show, and what a gain of `gain` would take; None where the noise is not known."""
        if self.noise is None or self.samples is None:
            return None
        return plan(self.noise, self.items, self.samples, gain=gain)


def estimate(runs: Runs, *, k: int | None = None) -> Estimate:
    """avg@k of a method over the items that all its runs answered, or pass@`k`.

    Raises:
        DataError: no items in common, or an item with fewer than `k` answers.
        MissingExtraError: scipy is not installed.
    """
    arm = _listed(runs)
    items = _common(arm)
    shares, clusters = _shares(arm, items, k), _clusters(arm, items)
    mean, error, freedom = (float(x) for x in crossed_error(shares, None, clusters))
    samples = min(int(r.samples.min()) for r in arm), max(int(r.samples.max()) for r in arm)
    if error < FLAT or (len(arm) == 1 and samples == (1, 1) and clusters is None):
        n = len(items) if clusters is None else int(clusters.max()) + 1
        low, high = wilson(mean * n, n)
    else:
        low, high = t_interval(mean, error, freedom)
    cut = None
    if all(r.truncated is not None for r in arm):
        cut = sum(r.truncated or 0 for r in arm) / sum(int(r.samples.sum()) for r in arm)
    return Estimate(mean, max(0.0, float(low)), min(1.0, float(high)), len(items), samples, len(arm), cut)


def difference(after: Runs, before: Runs, *, k: int | None = None) -> Difference:
    """`after` minus `before`, paired by item: avg@k, or pass@`k`.

    Raises:
        DataError: no items in common, clusters that differ, or an item with fewer than `k` answers.
        MissingExtraError: scipy is not installed.
    """
    new, old = _listed(after), _listed(before)
    items = _common([*new, *old])
    left_out = len({item for r in (*new, *old) for item in r.items}) - len(items)
    clusters = _clusters([*new, *old], items)
    x, y = _shares(new, items, k), _shares(old, items, k)
    mean, error, freedom = (float(v) for v in crossed_error(x, y, clusters))
    single = len(new) == len(old) == 1
    steps = _whole_steps(new[0], old[0], items) if single and k is None else None
    flips = math.nan
    if steps is not None:
        sums = steps if clusters is None else cluster_sums(steps.astype(np.float64), clusters).round().astype(np.int64)
        try:
            flips = sign_flips(sums)
        except DataError:
            flips = math.nan
    binary = single and k is None and max(_most(new[0]), _most(old[0])) == 1
    if binary and clusters is None:
        gained, lost = int((x > y).sum()), int((x < y).sum())
        (low, high), p, test = bonett_price(gained, lost, len(items)), mcnemar(gained, lost), "exact McNemar"
    elif error < FLAT:
        half = float(bonett_price(0, 0, len(items) if clusters is None else int(clusters.max()) + 1)[1])
        low, high = np.asarray(mean - half), np.asarray(mean + half)
        p, test = (1.0 if mean == 0 or math.isnan(flips) else flips), "sign flips"
    else:
        low, high = t_interval(mean, error, freedom)
        p = t_test(mean, error, freedom)
        test = "t over runs and items" if not single else "paired t" if clusters is None else "paired t over clusters"
    low_end, high_end = max(-1.0, float(low)), min(1.0, float(high))
    noise = _noise(new[0], old[0], items) if single and k is None and clusters is None else None
    counts = {int(n) for r in (*new, *old) for n in r.samples[_places(r, items)]}
    return Difference(
        mean,
        low_end,
        high_end,
        p,
        test,
        flips,
        len(items),
        left_out,
        (len(new), len(old)),
        counts.pop() if len(counts) == 1 else None,
        noise,
    )


def _listed(runs: Runs) -> list[Result]:
    arm = [runs] if isinstance(runs, Result) else list(runs)
    if not arm:
        raise DataError("no results of a method", expected="at least one run", got="none")
    return arm


def _common(arm: Sequence[Result]) -> list[str]:
    shared = set(arm[0].items).intersection(*(r.items for r in arm[1:]))
    if not shared:
        raise DataError(
            "these results share no item",
            expected="the same ids of the same problems",
            got="; ".join(f"{r.method} {r.benchmark}: {r.items[0]!r}, ..." for r in arm[:3] if r.items),
        )
    return sorted(shared)


def _places(result: Result, items: Sequence[str]) -> Ints:
    at = {item: i for i, item in enumerate(result.items)}
    return np.array([at[item] for item in items], np.int64)


def _shares(arm: Sequence[Result], items: Sequence[str], k: int | None) -> Floats:
    """(S, I) avg@k or pass@k of each run on each item."""
    rows = []
    for run in arm:
        at = _places(run, items)
        n, c = run.samples[at], run.correct[at]
        rows.append(avg_at_k(n, c) if k is None else pass_at_k(n, c, k))
    return np.stack(rows)


def _clusters(arm: Sequence[Result], items: Sequence[str]) -> Ints | None:
    """(I,) numbers of the items' clusters, None where no run has any."""
    named = [[r.clusters[i] for i in _places(r, items)] for r in arm if r.clusters is not None]
    if not named:
        return None
    if any(names != named[0] for names in named):
        raise DataError("the same items are in other clusters", expected="one cluster an item, in all results")
    _, numbers = np.unique(named[0], return_inverse=True)
    return numbers.astype(np.int64)


def _most(result: Result) -> int:
    return int(result.samples.max())


def _whole_steps(new: Result, old: Result, items: Sequence[str]) -> Ints | None:
    """(I,) differences of shares as whole numbers of one small unit; None where the unit would be too small."""
    a, b = _places(new, items), _places(old, items)
    unit = int(np.lcm.reduce(np.unique(np.concatenate([new.samples[a], old.samples[b]]))))
    if not 0 < unit <= 10_000:
        return None
    steps: Ints = new.correct[a] * (unit // new.samples[a]) - old.correct[b] * (unit // old.samples[b])
    return steps


def _noise(new: Result, old: Result, items: Sequence[str]) -> Noise | None:
    a, b = _places(new, items), _places(old, items)
    if len(items) < 2 or (new.samples[a] != old.samples[b]).any():
        return None
    return Noise.measured(new.samples[a], new.correct[a], old.correct[b])
