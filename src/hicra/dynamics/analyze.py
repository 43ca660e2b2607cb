"""The whole analysis of run directories: one entry point, from which reports and the command line draw.

A run is read twice: its completions at once (a row each, no text), its kept rollouts a step at a time. What a run has
no columns for is left out and named in `RunAnalysis.missing`. Runs on one gram set are rarefied to the same numbers of
occurrences, so their curves can be laid over each other.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hicra.dynamics.alarms import find_alarms
from hicra.dynamics.compass import near_evaluations, pass_at_k, rank_correlation
from hicra.dynamics.conditional import ConditionalEntropy, conditional_entropy
from hicra.dynamics.flow import Moves, Transitions, success_by_position, transitions
from hicra.dynamics.gauge import competence
from hicra.dynamics.intervals import Z, jackknife_error
from hicra.dynamics.odds import move_odds
from hicra.dynamics.phases import phases
from hicra.dynamics.reading import Completions, read_completions
from hicra.dynamics.resample import banded, ratio, step_sums
from hicra.dynamics.result import Analysis, Compass, Flow, RunAnalysis, Settings
from hicra.dynamics.sensitivity import Sensitivity, draw_grams, semantic_sensitivity, sensitivities
from hicra.dynamics.series import Floats, Ints, Series
from hicra.dynamics.spread import BLOCKS, StepCounts, entropy_series, step_counts
from hicra.dynamics.sweep import Sweep, prompt_blocks, sweep
from hicra.dynamics.tokens import token_series
from hicra.dynamics.vocabulary import Vocabulary
from hicra.errors import ConfigError

if TYPE_CHECKING:
    from hicra.traces.rundir import RunReader

COMPASSES = ("entropy", "pass_at_k", "semantic_gram_rarefied", "semantic_cluster_rarefied", "conditional_rarefied")
"""Series that are set against held-out accuracy."""

_LOGGED = {
    "entropy": ("entropy",),
    "entropy_planning": ("entropy_planning",),
    "entropy_execution": ("entropy_execution",),
    "logprob_planning": ("logprob_planning",),
    "logprob_execution": ("logprob_execution",),
    "planning_share": ("planning_share",),
    "length": ("length",),
    "truncated": ("truncated",),
    "reward": ("reward",),
    "no_signal": ("no_signal", "frac_reward_zero_std"),
    "semantic_gram_plug_in": ("semantic_entropy_bits",),
    "semantic_cluster_plug_in": ("semantic_entropy_clusters_bits",),
}
"""Series that metrics.jsonl may have where completions do not: without bands."""


def analyze(
    runs: str | os.PathLike[str] | RunReader | Sequence[str | os.PathLike[str] | RunReader],
    *,
    names: Sequence[str] | None = None,
    settings: Settings | None = None,
) -> Analysis:
    """Analyse run directories.

    Args:
        runs: a run directory (or its reader), or several. A run may still be going on; what it has committed counts.
        names: what to call the runs; None: their directories.
        settings: quantiles, numbers of draws, limits; None: the defaults.

    Raises:
        ConfigError: no run, or another number of names than of runs.
        RunDirError: not a run directory, or one whose log is damaged. Steps whose files are torn or missing are passed
            over with a note instead.
    """
    given: list[Any] = list(runs) if isinstance(runs, Sequence) and not isinstance(runs, str) else [runs]
    if not given:
        raise ConfigError("there is no run to analyse", expected="one run directory or more")
    if names is not None and len(names) != len(given):
        raise ConfigError("names and runs do not go together", expected=f"{len(given)} names", got=f"{len(names)}")
    settings = settings or Settings()
    loaded = [_load(run, settings) for run in given]
    shown = list(names) if names is not None else [run.reader.path.resolve().name for run in loaded]
    for run in loaded:
        run.rarefy = _common(run, loaded)
    found = [_run(run, name, _weights(run, loaded), settings) for run, name in zip(loaded, shown, strict=True)]
    return Analysis(found, compasses(found, settings.held_out), settings)


@dataclass
class _Loaded:
    reader: RunReader
    notes: list[str]
    completions: Completions | None
    vocabulary: Vocabulary
    counts: dict[str, StepCounts]
    swept: Sweep
    rarefy: dict[str, int]


def _load(run: Any, settings: Settings) -> _Loaded:
    from hicra.traces.rundir import RunReader

    reader = run if isinstance(run, RunReader) else RunReader(Path(run))
    notes = [f"step {step}: {text}" for step, text in reader.notes()]
    completions = read_completions(reader, notes)
    swept = sweep(reader, settings, notes)
    seen = [int(m.max(initial=-1)) for m, _, _ in swept.moves]
    largest = max([-1 if completions is None else int(completions.gram_id.max(initial=-1)), *seen])
    vocabulary = Vocabulary.of(reader.grams, largest)
    counts = {}
    if completions is not None:
        counts = {level: step_counts(completions, size, of) for level, (size, of) in vocabulary.levels().items()}
    return _Loaded(reader, notes, completions, vocabulary, counts, swept, {})


def _same_set(run: _Loaded, loaded: Sequence[_Loaded]) -> list[_Loaded]:
    return [r for r in loaded if r is run or (run.vocabulary.hash and r.vocabulary.hash == run.vocabulary.hash)]


def _common(run: _Loaded, loaded: Sequence[_Loaded]) -> dict[str, int]:
    """Level -> occurrences that every run on the same gram set can supply at every step."""
    out = {}
    for level in run.counts:
        spare = [r.counts[level].spare for r in _same_set(run, loaded) if level in r.counts]
        out[level] = min([s for s in spare if s > 0], default=0)
    return out


def _weights(run: _Loaded, loaded: Sequence[_Loaded]) -> Floats:
    """(K,) followed occurrences of each gram over all steps of all runs on the same gram set."""
    out = np.zeros(max([len(r.vocabulary.grams) for r in _same_set(run, loaded)]))
    for other in _same_set(run, loaded):
        for found, _ in other.swept.followings:
            out += np.bincount(found.gram, minlength=len(out))
    return out


def _run(run: _Loaded, name: str, weights: Floats, settings: Settings) -> RunAnalysis:
    series: dict[str, Series] = {}
    missing: dict[str, str] = {}
    pass_k = None
    logged = _logged(run.reader)
    if run.completions is None:
        series.update(logged)
        for lost in ("bands", "pass_at_k", "semantic_gram_rarefied"):
            missing[lost] = "the run kept no completions"
        if "logprob_execution" in series:
            for kind in ("planning", "execution"):
                if (known := series.get(f"logprob_{kind}")) is not None:
                    first = known.value[known.known][:1]
                    series[f"relative_perplexity_{kind}"] = Series.bare(known.steps, np.exp(first - known.value))
    else:
        series, missing = token_series(run.completions, seed=settings.seed)
        pass_k = _pass_series(run.completions, settings, series, missing)
    for level, counts in run.counts.items():
        of_level = entropy_series(counts, run.rarefy[level])
        if not any(s.known.any() for s in of_level.values()):
            missing[f"semantic_{level}"] = "no step has 20 occurrences of grams"
            continue
        series.update({f"semantic_{level}_{estimator}": s for estimator, s in of_level.items()})
        if "rarefied" not in of_level:
            missing[f"semantic_{level}_rarefied"] = "no number of occurrences that every step can supply"
    if run.completions is not None and not run.vocabulary.clusters:
        missing["semantic_cluster"] = "the gram set has no clusters"
    series.update(run.swept.overlap_series())
    if run.swept.pooled is None:
        missing["overlap"] = (
            "no rollouts with token entropies were kept" if run.swept.steps else "no rollouts were kept"
        )
    series.update(_conditional(run, weights, settings))
    if not any(key.startswith("conditional_") for key in series):
        missing["conditional"] = "no rollouts were kept" if not run.swept.steps else "no gram is followed by procedure"
    nll = None
    if (logprob := series.get("logprob_execution")) is not None:
        nll = Series(logprob.steps, -logprob.value, -logprob.high, -logprob.low, "nats")
        series["competence"] = Series.bare(nll.steps, competence(nll.value), "share")
    semantic = next((series[k] for k in _SEMANTIC if k in series), None)
    alongside = {name: series[name] for name in _ALONGSIDE if name in series}
    if nll is not None:
        alongside["nll_execution"] = nll
    flow = _flow(run, settings)
    if flow is None:
        missing["flow"] = "no rollouts were kept" if not run.swept.steps else "no gram occurs in the kept rollouts"
    sensitivity = _sensitivity(run, settings)
    if not sensitivity:
        missing["sensitivity"] = "no gram occurs"
    return RunAnalysis(
        name=name,
        path=str(run.reader.path),
        steps=list(run.reader.steps),
        series=series,
        missing=missing,
        overlap=run.swept.pooled,
        phases=phases(nll, semantic, alongside, seed=settings.seed),
        sensitivity=sensitivity,
        flow=flow,
        alarms=find_alarms(_metrics(run.reader, series), settings.limits),
        rarefied_to=dict(run.rarefy),
        pass_k=pass_k,
        evals=run.reader.evals(),
        notes=run.notes,
    )


_SEMANTIC = ("semantic_cluster_rarefied", "semantic_gram_rarefied", "semantic_gram_plug_in")
"""What the second phase is read from, the first that there is."""

_ALONGSIDE = ("reward", "length", "conditional_rarefied")
"""Series whose change since the second phase began is told."""


def _pass_series(c: Completions, settings: Settings, series: dict[str, Series], missing: dict[str, str]) -> int | None:
    """Pass@k on training prompts, averaged over groups; its k, or None where nothing was sampled twice."""
    reward = c.columns["reward"]
    size = np.bincount(c.group, np.isfinite(reward)).astype(np.int64)
    right = np.bincount(c.group, reward > settings.right_above).astype(np.int64)
    k = min(settings.pass_k, int(np.median(size)))
    if k < 2:
        missing["pass_at_k"] = "no prompt was sampled twice in a step, with a reward each time"
        return None
    value = pass_at_k(size, right, k)
    _, first = np.unique(c.group, return_index=True)
    step_of = c.step_of[first]
    order = np.argsort(step_of, kind="stable")
    known = np.isfinite(value[order])
    columns = np.stack([np.where(known, value[order], 0.0), known.astype(np.float64)], axis=1)
    sums = step_sums(columns, step_of[order], len(c.steps), seed=settings.seed)
    series["pass_at_k"] = banded(c.steps, *ratio(sums, 0, 1), "share")
    return k


def _conditional(run: _Loaded, weights: Floats, settings: Settings) -> dict[str, Series]:
    rows: list[ConditionalEntropy] = []
    errors, steps = [], []
    for step, (found, prompt) in zip(run.swept.steps, run.swept.followings, strict=True):
        if len(found.gram) == 0:
            continue

        def measured(kept: Any = slice(None), found: Any = found) -> ConditionalEntropy:
            return conditional_entropy(found.gram[kept], found.ngram[kept], m=settings.followers, weights=weights)

        steps.append(step)
        rows.append(measured())
        left = [measured(kept).rarefied for kept in prompt_blocks(prompt, BLOCKS)]
        errors.append(jackknife_error(left) if np.isfinite(left).all() else math.nan)
    if not rows:
        return {}
    at, error = np.array(steps, np.int64), Z * np.array(errors)
    rarefied = np.array([r.rarefied for r in rows])
    return {
        **{
            f"conditional_{name}": Series.bare(at, np.array([getattr(r, name) for r in rows]), "bits")
            for name in ("plug_in", "miller_madow", "chao_shen")
        },
        "conditional_rarefied": Series(at, rarefied, np.maximum(0.0, rarefied - error), rarefied + error, "bits"),
        "conditional_coverage": Series.bare(at, np.array([r.coverage for r in rows]), "share"),
    }


def _sensitivity(run: _Loaded, settings: Settings) -> dict[str, Sensitivity]:
    """Curves with grams dropped: of semantic entropy from all completions, by token kind from the kept rollouts."""
    n_grams = len(run.vocabulary.grams)
    out: dict[str, Sensitivity] = {}
    if n_grams < 2:
        return out
    kept = draw_grams(n_grams, fraction=settings.drop, draws=settings.draws, seed=settings.seed)
    if (found := run.counts.get("gram")) is not None and found.counts.sum() > 0:
        for level, (_, class_of) in run.vocabulary.levels().items():
            out[f"semantic_{level}_rarefied"] = semantic_sensitivity(found.steps, found.counts, kept, class_of)
    sums = run.swept.sums_by_gram(n_grams)
    if "n" in sums and sums["n"][:, :-1].sum() > 0:
        out |= sensitivities(run.swept.steps, sums, kept)
    return out


def _flow(run: _Loaded, settings: Settings) -> Flow | None:
    level, names, class_of = run.vocabulary.moves
    if not run.swept.steps or not any(len(m) for m, _, _ in run.swept.moves):
        return None
    moves = run.swept.all_moves(class_of)
    if len(moves.move) == 0:
        return None
    common = np.argsort(-np.bincount(moves.move, minlength=len(names)), kind="stable")
    common = common[np.bincount(moves.move, minlength=len(names))[common] > 0]
    kept = common[: settings.max_moves]
    of = np.full(len(names), len(kept), np.int64)
    of[kept] = np.arange(len(kept))
    shown = [names[i] for i in kept.tolist()] + (["(other)"] if len(common) > len(kept) else [])
    lumped = Moves(of[moves.move], moves.row, moves.position, moves.right, moves.prompt, moves.step)
    third = max(1, len(run.swept.steps) // 3)
    early, late = run.swept.steps[third - 1], run.swept.steps[-third]

    def counted(part: Moves) -> Transitions:
        return transitions(part.move, part.row, len(shown), len(part.right))

    odds = []
    if (c := run.completions) is not None:
        move = c.gram_id if class_of is None else class_of[c.gram_id]
        scored = np.isfinite(c.columns["reward"])
        kept_moves = (move >= 0) & scored[c.gram_row]
        number = np.cumsum(scored) - 1
        odds = move_odds(
            number[c.gram_row[kept_moves]],
            move[kept_moves],
            c.columns["reward"][scored] > settings.right_above,
            c.group[scored],
        )
    return Flow(
        level,
        shown,
        counted(lumped),
        counted(lumped.of(lumped.step <= early)),
        counted(lumped.of(lumped.step >= late)),
        success_by_position(lumped.of(np.concatenate(run.swept.scored)), len(shown), settings.parts),
        odds,
        names,
    )


def compasses(runs: Sequence[RunAnalysis], held_out: str) -> list[Compass]:
    """Rank correlations of `COMPASSES` with the evaluations' `held_out`, over evaluations and runs."""
    out = []
    for name in COMPASSES:
        level, change = [], []
        for run in runs:
            rows = [e for e in run.evals if isinstance(e.get(held_out), int | float)]
            if name not in run.series or len(rows) < 3:
                continue
            x = near_evaluations(run.series[name], [e["step"] for e in rows])
            y = np.array([float(e[held_out]) for e in rows])
            level.append((x, y))
            change.append((np.diff(x), np.diff(y)))
        if level:
            out.append(Compass(name, rank_correlation(level), rank_correlation(change)))
    return out


def _logged(reader: RunReader) -> dict[str, Series]:
    """The engine's own metrics as series, one number a step, noise unknown."""
    rows = reader.metrics()
    steps: Ints = np.array([m["step"] for m in rows], np.int64)
    out = {}
    for name, aliases in _LOGGED.items():
        values = [next((float(m[a]) for a in aliases if _number(m.get(a))), math.nan) for m in rows]
        if np.isfinite(values).any():
            out[name] = Series.bare(steps, np.array(values))
    return out


def _metrics(reader: RunReader, series: Mapping[str, Series]) -> list[dict[str, Any]]:
    """The run's metrics by step, with what was measured here in place of what its engine logged."""
    rows: dict[int, dict[str, Any]] = {m["step"]: dict(m) for m in reader.metrics()}
    for name in _LOGGED:
        if name in series:
            for step, value in zip(series[name].steps.tolist(), series[name].value.tolist(), strict=True):
                if math.isfinite(value):
                    rows.setdefault(step, {"step": step})[name] = value
    return [rows[step] for step in sorted(rows)]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
