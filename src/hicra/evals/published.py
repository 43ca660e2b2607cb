"""The paper's figures as data, and what the number of items permits to say about them.

A published accuracy comes without its answers, so the noise of a difference has to be assumed (`power.Noise.assumed`):
which share `icc` of the variance of an answer lies between items, and how much the two methods' chances on an item
correlate. Three readings bracket it:

    unpaired   r = 0       as if the two methods had answered different problems
    typical    r = 0.85    what two training methods on one base model look like, icc = 0.6
    sampling   r = 1       every item gains alike, only the draw of the answers is noise: the most favourable reading

For a benchmark answered once an item no guess is needed to turn the question round: `most_changed` says how many
items may have changed at most if the difference is to be significant, and `unrelated_changes` how many would change if
the two methods had nothing to do with each other. `fits` says whether a rounded share can be had from so many answers
at all (Brown and Heathers' GRIM test, 2017).

Numbers of items and of samples are those of data/published.json. The paper states the samples, and which benchmarks of
text it uses; for the vision ones the usual test sets are assumed, MathVerse's five versions of a problem as samples.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from hicra.errors import ConfigError
from hicra.evals.compare import Comparison, Delta, Group, over_models, tested
from hicra.evals.exact import mcnemar
from hicra.evals.intervals import t_interval, t_test, wilson
from hicra.evals.power import ALPHA, CORRELATION, ICC, Noise
from hicra.evals.stats import Difference, Estimate

BASELINE, METHOD = "GRPO", "HICRA"

READINGS = {"unpaired": 0.0, "typical": CORRELATION, "sampling": 1.0}
"""Name of a reading -> correlation over items of the two methods' chances."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """How a published column was measured.

    Attributes:
        items: problems.
        samples: answers to each.
        stated: whether the paper says so; if not, these are the usual ones.
    """

    items: int
    samples: int
    stated: bool


@dataclass(frozen=True, slots=True)
class Published:
    """One of the paper's tables.

    Attributes:
        benchmarks: columns.
        models: model -> method -> benchmark -> accuracy in %.
    """

    benchmarks: dict[str, Benchmark]
    models: dict[str, dict[str, dict[str, float]]]


@cache
def tables() -> dict[str, Published]:
    """The paper's tables: ``"text"`` (5 models, 6 benchmarks) and ``"vision"`` (2 models, 4 benchmarks)."""
    content = json.loads(resources.files("hicra.evals").joinpath("data/published.json").read_text("utf-8"))
    out = {}
    for name, table in content["tables"].items():
        models: dict[str, dict[str, dict[str, float]]] = {}
        for row in table["rows"]:
            models.setdefault(row["model"], {})[row["method"]] = row["accuracy"]
        out[name] = Published({b: Benchmark(**about) for b, about in table["benchmarks"].items()}, models)
    return out


def comparison(names: Sequence[str] = ("text",), *, icc: float = ICC, correlation: float = CORRELATION) -> Comparison:
    """Published rows as a table, HICRA against GRPO, each of the paper's tables one family of tests.

    Args:
        names: ``"text"``, ``"vision"``, ``"all"``, or parts of models' names; a table's family stays whole when a part
            of it is shown.
        icc, correlation: the assumed noise (see the module's text).

    Raises:
        ConfigError: a name that is nowhere, or a number out of range.
        MissingExtraError: scipy is not installed.
    """
    wanted = [name.casefold() for name in names]
    groups, notes, used = [], [], set()
    for table_name, table in tables().items():
        whole = tested(
            (_group(model, rows, table, icc, correlation) for model, rows in table.models.items()),
            list(table.benchmarks),
        )
        picked = []
        for group in whole:
            hits = {w for w in wanted if w in ("all", table_name) or w in group.model.casefold()}
            used |= hits
            picked += [group] if hits else []
        if picked:
            groups.append((table, picked))
            tests = sum(len(group.deltas) for group in whole)
            marked = sum(delta.mark for group in whole for delta in group.deltas.values())
            low = sum(delta.difference.p < ALPHA for group in whole for delta in group.deltas.values())
            notes.append(
                f"Published figures ({table_name}): one run of each, noise assumed (icc {icc:g}, correlation "
                f"over items {correlation:g}); of {tests} differences {low} have p < .05, {marked} after Holm's "
                "correction (*)."
            )
            if pooled := over_models(picked):
                notes.append(str(pooled))
    if missing := [name for name, w in zip(names, wanted, strict=True) if w not in used]:
        known = ["text", "vision", "all", *(model for table in tables().values() for model in table.models)]
        raise ConfigError(f"nothing published under {missing[0]!r}", expected=", ".join(known), got=missing[0])
    benchmarks = tuple(dict.fromkeys(b for table, _ in groups for b in table.benchmarks))
    return Comparison(benchmarks, tuple(g for _, picked in groups for g in picked), tuple(notes))


def published_estimate(percent: float, about: Benchmark, icc: float = ICC) -> Estimate:
    """A published accuracy with the interval that its number of items permits.

    One answer an item: Wilson's interval. More: t over items, with p (1 - p) (icc + (1 - icc) / k) for the variance.
    """
    p, n, k = percent / 100, about.items, about.samples
    if k == 1:
        low, high = wilson(p * n, n)
    else:
        low, high = t_interval(p, math.sqrt(p * (1 - p) * (icc + (1 - icc) / k) / n), n - 1)
    return Estimate(p, max(0.0, float(low)), min(1.0, float(high)), n, (k, k), 1)


def published_difference(
    after: float, before: float, about: Benchmark, *, icc: float = ICC, correlation: float = CORRELATION
) -> Difference:
    """The difference of two published accuracies (in %), with assumed noise."""
    noise = Noise.assumed(before / 100, after / 100, icc=icc, correlation=correlation)
    value, error = (after - before) / 100, noise.error(about.items, about.samples)
    low, high = t_interval(value, error, about.items - 1)
    p = t_test(value, error, about.items - 1)
    ends = max(-1.0, float(low)), min(1.0, float(high))
    return Difference(value, *ends, p, "assumed noise", math.nan, about.items, 0, (1, 1), about.samples, noise)


def fits(percent: float, answers: int, *, decimals: int = 1) -> bool:
    """Whether a share of `answers` answers can be `percent` after rounding.

    >>> fits(86.7, 40 * 4), fits(86.7, 83 * 4)
    (False, True)
    """
    half = 0.5 * 10.0**-decimals + 1e-9
    first = math.ceil((percent - half) / 100 * answers)
    return 100 * first / answers <= percent + half


def most_changed(net: int, items: int) -> int | None:
    """Most items that may have changed between two methods, `net` more of them for the better, for an exact McNemar
    test below 5 %; None where not even `net` changes all one way are enough.

    Args:
        net: items gained less items lost.
        items: of the benchmark, answered once.
    """
    gain = abs(net)
    found = None
    for changed in range(gain, items + 1, 2):
        if mcnemar((changed + gain) // 2, (changed - gain) // 2) >= ALPHA:
            break
        found = changed
    return found


def unrelated_changes(after: float, before: float, items: int) -> float:
    """Items that would change if two methods with these accuracies (in %) had nothing to do with each other."""
    a, b = after / 100, before / 100
    return items * (a * (1 - b) + b * (1 - a))


def _group(model: str, rows: dict[str, dict[str, float]], table: Published, icc: float, correlation: float) -> Group:
    about = table.benchmarks
    cells = {(m, b): published_estimate(value, about[b], icc) for m, row in rows.items() for b, value in row.items()}
    deltas = {}
    for b in about:
        found = published_difference(rows[METHOD][b], rows[BASELINE][b], about[b], icc=icc, correlation=correlation)
        deltas[METHOD, b] = Delta(found, math.nan, False)
    return Group(model, tuple(rows), BASELINE, cells, deltas, published=True)


def summary(table: str = "text", *, icc: float = ICC) -> list[dict[str, Any]]:
    """For each reading: its correlation, the differences with p < .05, and those left after Holm's correction.

    Raises:
        MissingExtraError: scipy is not installed.
    """
    out = []
    for name, correlation in READINGS.items():
        groups = comparison([table], icc=icc, correlation=correlation).groups
        found = [(g.model, b, d) for g in groups for (_, b), d in g.deltas.items()]
        out.append(
            {
                "reading": name,
                "correlation": correlation,
                "differences": len(found),
                "significant": [f"{m} {b}" for m, b, d in found if d.difference.p < ALPHA],
                "after_holm": [f"{m} {b}" for m, b, d in found if d.mark],
            }
        )
    return out
