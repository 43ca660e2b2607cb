"""Methods side by side on benchmarks: the paper's layout, with intervals, and marks where the paired test allows them.

For each model, methods in order (base, GRPO, HICRA); every method after the baseline is compared with the baseline, on
every benchmark. These differences, over all models, are one family of tests; Holm's correction keeps the chance of
*any* false mark in it at 5 %. A reader who cares about two benchmarks only declares them as the family beforehand: the
others are then shown with intervals and without marks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from hicra.errors import ConfigError, DataError
from hicra.evals.exact import holm
from hicra.evals.intervals import mean_error, t_interval, t_test
from hicra.evals.power import ALPHA, GAIN
from hicra.evals.results import Result
from hicra.evals.sources import BASE
from hicra.evals.stats import Difference, Estimate, difference, estimate

NAMES = {
    "aime24": "AIME24",
    "aime25": "AIME25",
    "math500": "Math500",
    "amc23": "AMC23",
    "amc83": "AMC (83)",
    "minerva": "Minerva",
    "olympiad": "Olympiad",
    "mathvista": "MathVista",
    "mathvision": "MathVision",
    "mathverse": "MathVerse",
    "emma": "EMMA",
}
"""Benchmarks in the paper's order and spelling, by their key."""

_ALIASES = {"olympiadbench": "olympiad", "minervamath": "minerva", "aime2024": "aime24", "aime2025": "aime25"}


EDGE = (100, 0.1)
"""Fewer items than that, with a share of right answers that near to 0 or 1, are too few for a t interval's 95 %."""


@dataclass(frozen=True, slots=True)
class Delta:
    """A difference to the baseline, and what remains of it within its family.

    Attributes:
        difference: see there.
        adjusted: Holm's p-value, NaN outside the declared family.
        mark: whether `adjusted` is below 5 %.
    """

    difference: Difference
    adjusted: float
    mark: bool


@dataclass(frozen=True, slots=True)
class OverModels:
    """A mean difference over models and benchmarks, its 95 % interval and p-value by t over models.

    Attributes:
        value, low, high, p: as in `Difference`.
        models: model -> its mean over benchmarks.
    """

    value: float
    low: float
    high: float
    p: float
    models: Mapping[str, float]

    def __str__(self) -> str:
        return (
            f"Over {len(self.models)} models, the mean difference is {100 * self.value:+.1f} points "
            f"({100 * self.low:+.1f} to {100 * self.high:+.1f}, p = {self.p:.3f}, t over models)."
        )


@dataclass(frozen=True, slots=True)
class Group:
    """One model's rows of the table.

    Attributes:
        model: what was trained; may be empty.
        methods: rows, in order.
        baseline: the method that others are compared with, None where there is nothing to compare.
        cells: (method, benchmark) -> share of right answers.
        deltas: (method, benchmark) -> difference to the baseline.
        published: whether these are a paper's figures, read with assumed noise.
    """

    model: str
    methods: tuple[str, ...]
    baseline: str | None
    cells: Mapping[tuple[str, str], Estimate]
    deltas: Mapping[tuple[str, str], Delta] = field(default_factory=dict)
    published: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """A table: benchmarks as columns, groups of rows, and what a reader has to know about them."""

    benchmarks: tuple[str, ...]
    groups: tuple[Group, ...]
    notes: tuple[str, ...] = ()

    def __add__(self, other: Comparison) -> Comparison:
        """Both tables under one heading, each with its own family of tests."""
        both = ordered([*self.benchmarks, *other.benchmarks])
        return Comparison(both, self.groups + other.groups, tuple(dict.fromkeys(self.notes + other.notes)))

    def to_dict(self, gain: float = GAIN) -> dict[str, Any]:
        """Plain JSON types; numbers that are not finite are None. Each difference has a plan to show `gain`, where its
        noise is known."""
        return {
            "benchmarks": list(self.benchmarks),
            "groups": [
                {
                    "model": g.model,
                    "published": g.published,
                    "methods": list(g.methods),
                    "baseline": g.baseline,
                    "accuracy": [_row(m, b, asdict(cell)) for (m, b), cell in g.cells.items()],
                    "delta": [
                        _row(
                            m,
                            b,
                            {**asdict(d.difference), "p_holm": d.adjusted, "mark": d.mark, **_plan(d.difference, gain)},
                        )
                        for (m, b), d in g.deltas.items()
                    ],
                }
                for g in self.groups
            ],
            "notes": list(self.notes),
        }


def compare(
    results: Iterable[Result],
    *,
    baseline: str | None = None,
    family: Sequence[str] | None = None,
    pass_k: int | None = None,
) -> Comparison:
    """Lay results out as a table.

    Args:
        results: of any models, methods, benchmarks and seeds; several seeds of a method are its training runs.
        baseline: method that the ones after it are compared with; default: GRPO, or the last but one.
        family: benchmarks whose differences are tested together; default: all.
        pass_k: pass@k in place of avg@k.

    Raises:
        DataError: no results, the same run twice, or results that share no items.
        ConfigError: no such baseline or benchmark.
        MissingExtraError: scipy is not installed.
    """
    found = _aligned(_distinct(list(results)))
    if not found:
        raise DataError("nothing to compare", expected="at least one result", got="none")
    benchmarks = ordered([key(r.benchmark) for r in found])
    declared = tuple(key(name) for name in family) if family else benchmarks
    if unknown := [name for name in declared if name not in benchmarks]:
        raise ConfigError(
            f"no results on {', '.join(unknown)}", expected=f"a family among {', '.join(benchmarks)}", got=str(family)
        )
    if baseline is not None and baseline.casefold() not in {r.method.casefold() for r in found}:
        raise ConfigError(
            "no such baseline", expected=", ".join(dict.fromkeys(r.method for r in found)), got=repr(baseline)
        )
    groups = [_group(model, found, benchmarks, baseline, pass_k) for model in dict.fromkeys(r.model for r in found)]
    return Comparison(benchmarks, tuple(tested(groups, declared)), tuple(_notes(groups, found, declared, pass_k)))


def over_models(groups: Sequence[Group]) -> OverModels | None:
    """Mean difference over models, each model's mean over its benchmarks being one observation.

    Its spread holds what differs between models *and* between training runs, so it speaks of the method even where each
    model was trained once; it speaks of these benchmarks only. For three models or more, of which the last method is
    compared with the baseline on the same benchmarks; else None.
    """
    found: dict[str, dict[str, float]] = {}
    for group in groups:
        last = {b: d.difference.value for (m, b), d in group.deltas.items() if m == group.methods[-1]}
        if last:
            found[group.model] = last
    if len(found) < 3 or len({frozenset(values) for values in found.values()}) > 1:
        return None
    means = {model: sum(values.values()) / len(values) for model, values in found.items()}
    mean, error, freedom = (float(x) for x in mean_error(list(means.values())))
    low, high = t_interval(mean, error, freedom)
    return OverModels(mean, float(low), float(high), t_test(mean, error, freedom), means)


def key(benchmark: str) -> str:
    """What a benchmark is found by: ``"AIME 2024"`` and ``"aime24"`` are one.

    >>> key("OlympiadBench"), key("AIME_24"), key("my own")
    ('olympiad', 'aime24', 'my own')
    """
    plain = "".join(c for c in benchmark.casefold() if c.isalnum())
    plain = _ALIASES.get(plain, plain)
    return plain if plain in NAMES else benchmark


def ordered(benchmarks: Iterable[str]) -> tuple[str, ...]:
    """Each benchmark once: the paper's in its order, then the others in theirs."""
    given = dict.fromkeys(benchmarks)
    return (*(name for name in NAMES if name in given), *(name for name in given if name not in NAMES))


def tested(groups: Iterable[Group], family: Sequence[str]) -> list[Group]:
    """The groups with Holm's p-values and marks: their differences on the benchmarks of `family` are one family."""
    given = list(groups)
    places = [(g, at) for g, group in enumerate(given) for at in group.deltas if at[1] in family]
    adjusted = holm([given[g].deltas[at].difference.p for g, at in places])
    found = dict(zip(places, adjusted.tolist(), strict=True))
    out = []
    for g, group in enumerate(given):
        deltas = {}
        for at, delta in group.deltas.items():
            p = found.get((g, at), math.nan)
            deltas[at] = replace(delta, adjusted=p, mark=p < ALPHA)
        out.append(replace(group, deltas=deltas))
    return out


def _group(
    model: str, found: Sequence[Result], benchmarks: Sequence[str], baseline: str | None, pass_k: int | None
) -> Group:
    arms: dict[tuple[str, str], list[Result]] = {}
    for r in found:
        if r.model == model:
            arms.setdefault((r.method, key(r.benchmark)), []).append(r)
    names = dict.fromkeys(method for method, _ in arms)
    methods = tuple(sorted(names, key=lambda name: name.casefold() != BASE))  # stable: base first, then as given
    chosen = pick_baseline(methods, baseline)
    cells = {(m, b): estimate(arms[m, b], k=pass_k) for m in methods for b in benchmarks if (m, b) in arms}
    deltas = {}
    if chosen is not None:
        for m in methods[methods.index(chosen) + 1 :]:
            for b in benchmarks:
                if (m, b) in arms and (chosen, b) in arms:
                    deltas[m, b] = Delta(difference(arms[m, b], arms[chosen, b], k=pass_k), math.nan, False)
    return Group(model, methods, chosen, cells, deltas)


def pick_baseline(methods: Sequence[str], wanted: str | None = None) -> str | None:
    """The method that those after it are compared with: the wanted one, else GRPO, else the last but one."""
    places = [i for i, m in enumerate(methods) if m.casefold() == (wanted or "grpo").casefold()]
    if wanted is not None:
        return methods[places[0]] if places else None
    if places and places[0] < len(methods) - 1:
        return methods[places[0]]
    return methods[-2] if len(methods) > 1 else None


def _distinct(results: list[Result]) -> list[Result]:
    """Results without second copies of a base model's; a second copy of anything else is a mistake."""
    seen: dict[tuple[str, str, str], list[Result]] = {}
    out = []
    for r in results:
        before = seen.setdefault((r.model, r.method, key(r.benchmark)), [])
        copies = [
            b
            for b in before
            if b.items == r.items and (b.correct == r.correct).all() and (b.samples == r.samples).all()
        ]
        same_seed = [b for b in before if r.seed is not None and b.seed == r.seed]
        if r.method == BASE and copies:
            continue
        if r.method != BASE and (same_seed or (copies and r.seed is None)):
            raise DataError(
                f"{r.method} on {r.benchmark} is there twice",
                expected="one result of a model, method, benchmark and seed",
                got=f"seed {r.seed} twice" if same_seed else "two equal results without a seed",
                mend="leave one out, or tell them apart with --name",
            )
        before.append(r)
        out.append(r)
    return out


def _aligned(results: list[Result]) -> list[Result]:
    """Where every model has a single method, the models are what is compared: they become the methods of one group."""
    pairs = dict.fromkeys((r.model, r.method) for r in results)
    models = dict.fromkeys(model for model, _ in pairs)
    if len(pairs) > len(models) or len(models) == 1:
        return results
    methods = {method for _, method in pairs}
    if len(methods) == len(pairs):  # both tell them apart: the method is the shorter word
        return [replace(r, model="") for r in results]
    return [replace(r, model="", method=r.model or r.method) for r in results]


def _notes(groups: Sequence[Group], found: Sequence[Result], family: Sequence[str], pass_k: int | None) -> list[str]:
    deltas = [(b, d.difference) for g in groups for (_, b), d in g.deltas.items()]
    notes = [
        "Shares of right answers in %" + (f" (pass@{pass_k})" if pass_k else "") + ", with 95 % intervals over items."
    ]
    if deltas:
        size = sum(b in family for b, _ in deltas)
        tests = ", ".join(dict.fromkeys(d.test for _, d in deltas))
        notes.append(f"*: p < .05 after Holm's correction for {size} difference{'s' * (size != 1)} ({tests}).")
        if all(d.runs == (1, 1) for _, d in deltas):
            notes.append(
                "One training run of each method: the intervals are about other problems for these models, "
                "not about other training runs."
            )
        elif any(min(d.runs) < 3 for _, d in deltas):
            notes.append("Fewer than three training runs of a method: how much runs differ is hardly known.")
        if edge := dict.fromkeys(b for g in groups for (m, b), d in g.deltas.items() if _at_the_edge(g, m, b, d)):
            notes.append(
                f"{', '.join(NAMES.get(b, b) for b in edge)}: few items, nearly all right or nearly all wrong: the "
                "intervals hold about 90 % there, not 95."
            )
        if pooled := over_models(groups):
            notes.append(str(pooled))
        if left := {b: d.left_out for b, d in deltas if d.left_out}:
            said = ", ".join(f"{NAMES.get(b, b)} {n}" for b, n in left.items())
            notes.append(f"Items that only one of two methods answered are left out of the differences: {said}.")
    cut = [(c.truncated, m, b) for g in groups for (m, b), c in g.cells.items() if c.truncated is not None]
    if cut and max(cut)[0] > 0.01:
        share, method, benchmark = max(cut)
        notes.append(
            "Answers cut off at the length limit count as they were judged: "
            f"up to {share:.1%} ({method}, {NAMES.get(benchmark, benchmark)})."
        )
    return notes


def _plan(d: Difference, gain: float) -> dict[str, Any]:
    found = d.plan(gain)
    return {} if found is None else {"plan": asdict(found)}


def _at_the_edge(group: Group, method: str, benchmark: str, delta: Delta) -> bool:
    """Whether a t interval rests on a few items only (the simulation in docs/evaluation.md says where it gives way)."""
    arms = [group.cells[m, benchmark].value for m in (method, group.baseline) if m is not None]
    return (
        delta.difference.test == "paired t"
        and delta.difference.items < EDGE[0]
        and any(not EDGE[1] < share < 1 - EDGE[1] for share in arms)
    )


def _row(method: str, benchmark: str, values: dict[str, Any]) -> dict[str, Any]:
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
    return {"method": method, "benchmark": benchmark, **finite}
