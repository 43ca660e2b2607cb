"""Run directories as arrays: what was run, and sums of each step's prompts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hicra.errors import ConfigError, RunDirError
from hicra.report.stats import draw_prompts
from hicra.report.style import N_RUN_COLOURS, visible

if TYPE_CHECKING:
    from hicra.report.stats import Floats, Ints
    from hicra.traces.rundir import RunReader

_SUMS = (
    "sum_logprob_planning",
    "sum_logprob_execution",
    "sum_entropy_planning",
    "sum_entropy_execution",
)
_COLUMNS = (
    "step",
    "prompt_id",
    "reward",
    "length",
    "truncated",
    "n_planning",
    "n_execution",
    *_SUMS,
)
_NOT_METHOD = re.compile(
    r"(^|_)(seeds?|dir|device|port|threads|report_to|run_name|workers)$|^(name|out|path|run|grams|resume_from_checkpoint)$"
)
"""Settings that do not make another method of a run: seeds, places, names (of grams, the hash counts)."""


@dataclass(frozen=True)
class Prompts:
    """Sums over the completions of one prompt in one step; M rows, by step.

    Attributes:
        steps: (S,) the training steps that have completions.
        step_of: (M,) index into `steps`.
        sums: name -> (M,); ``n`` is the number of completions; NaN where the engine had no value.
        gram_row, gram_id, gram_count: (N,) occurrences: row in 0..M-1 (ascending), gram, how often.
        binary: whether every reward is 0 or 1, so that its mean is an accuracy.
    """

    steps: Ints
    step_of: Ints
    sums: Mapping[str, Floats]
    gram_row: Ints
    gram_id: Ints
    gram_count: Ints
    binary: bool

    @cached_property
    def draws(self) -> list[Floats | None]:
        """Bootstrap draws of each step's prompts, the same for every quantity."""
        counts = np.bincount(self.step_of, minlength=len(self.steps))
        return draw_prompts(counts, np.random.default_rng(2509))


@dataclass(frozen=True)
class Run:
    """One run directory, read.

    Attributes:
        name: what the report calls it.
        meta: run.json.
        grams: grams.json or None.
        metrics, evals: as `RunReader` gives them.
        prompts: sums of the completions, None where the run kept none.
        role: colour role.
        dash: how the line is drawn: 0 solid, 1 dashed, 2 dotted (runs of one method share their colour).
        method: runs of one method differ in their seeds only.
    """

    name: str
    reader: RunReader
    meta: Mapping[str, Any]
    grams: Mapping[str, Any] | None
    metrics: Sequence[Mapping[str, Any]]
    evals: Sequence[Mapping[str, Any]]
    prompts: Prompts | None
    method: str = ""
    role: str = "run0"
    dash: int = 0
    notes: Sequence[tuple[int, str]] = field(default=())

    def setting(self, *names: str) -> Any:
        """The first of `names` that the config gives a number, a text or a flag, at whatever depth; else None."""
        for name in names:
            found = _find(self.meta.get("config") or {}, name)
            if found is not None:
                return found
        return None

    @property
    def seeds(self) -> Mapping[str, Any]:
        """Name -> seed, as the run directory has them."""
        seeds = self.meta.get("seeds")
        return seeds if isinstance(seeds, Mapping) else {}

    @property
    def baseline(self) -> bool:
        """Whether this run has no planning bonus: plain GRPO, or alpha 0."""
        return bool(self.setting("estimator") == "grpo" or self.setting("alpha") == 0)

    @property
    def gram_hash(self) -> str | None:
        """Content hash of the gram set."""
        found = (self.meta.get("grams") or {}).get("hash")
        return None if found is None else str(found)


def read_runs(paths: Sequence[Path], names: Sequence[str] | None = None) -> list[Run]:
    """Read run directories, name them apart and give them colours.

    Raises:
        ConfigError: no run, or another number of names than of runs.
        RunDirError: not a run directory, a damaged one, or one without a committed step and without an evaluation.
    """
    if not paths:
        raise ConfigError("there is no run to report on", expected="one run directory or more")
    if names is not None and len(names) != len(paths):
        raise ConfigError(
            "names and runs do not go together", expected=f"{len(paths)} names", got=f"{len(names)} names"
        )
    shown = _apart([visible(n) for n in names]) if names else _names(paths)
    return _coloured([_read(path, name) for path, name in zip(paths, shown, strict=True)])


def _read(path: Path, name: str) -> Run:
    from hicra.traces.rundir import RunReader

    reader = RunReader(path)
    skipped: list[tuple[int, str]] = []
    prompts = _prompts(reader, skipped)
    run = Run(
        name=name,
        reader=reader,
        meta=reader.meta,
        grams=reader.grams,
        metrics=reader.metrics(),
        evals=reader.evals(),
        prompts=prompts,
        notes=[*reader.notes(), *skipped],
    )
    if not run.metrics and not run.evals:
        raise RunDirError(
            f"{path}: nothing to report yet",
            expected="a committed step or an evaluation in metrics.jsonl",
            got="none",
            mend="wait until the first training step is done",
        )
    return run


def readable(
    read: Callable[..., Any], steps: Sequence[int], columns: Sequence[str]
) -> tuple[Any, list[tuple[int, str]]]:
    """The table of all steps, or of those whose files can be read, and (step, remark) of the others.

    A run that is still being written, or one that a full disk cut short, has all its whole steps to show.
    """
    import pyarrow as pa

    try:
        return read(columns=columns), []
    except RunDirError:
        tables, notes = [], []
        for step in steps:
            try:
                tables.append(read([step], columns))
            except RunDirError as error:
                notes.append((step, f"passed over: {error.problem}"))
        return pa.concat_tables(tables) if tables else read([], columns), notes


def _prompts(reader: RunReader, notes: list[tuple[int, str]]) -> Prompts | None:
    table, skipped = readable(reader.completions, reader.steps, [*_COLUMNS, "gram_ids", "gram_counts"])
    notes += skipped
    if len(table) == 0:
        return None
    columns = {
        name: table[name].to_numpy().astype(np.float64) for name in _COLUMNS if name not in ("step", "prompt_id")
    }
    steps, step_index = np.unique(table["step"].to_numpy(), return_inverse=True)
    names = table["prompt_id"].combine_chunks().dictionary_encode()
    key = step_index.astype(np.int64) * len(names.dictionary) + names.indices.to_numpy()
    groups, row = np.unique(key, return_inverse=True)
    columns["n"] = np.ones(len(table))
    sums = {name: np.bincount(row, values, len(groups)).astype(np.float64) for name, values in columns.items()}
    lists, counts = table["gram_ids"].combine_chunks(), table["gram_counts"].combine_chunks()
    gram_row = np.repeat(row, lists.value_lengths().to_numpy())
    order = np.argsort(gram_row, kind="stable")
    return Prompts(
        steps=steps.astype(np.int64),
        step_of=groups // len(names.dictionary),
        sums=sums,
        gram_row=gram_row[order],
        gram_id=lists.flatten().to_numpy().astype(np.int64)[order],
        gram_count=counts.flatten().to_numpy().astype(np.int64)[order],
        binary=bool(np.isin(columns["reward"][np.isfinite(columns["reward"])], (0.0, 1.0)).all()),
    )


def _names(paths: Sequence[Path]) -> list[str]:
    """The last part of each path; as many parts more as it takes to tell the runs apart."""
    parts = [tuple(visible(p) for p in path.resolve().parts) for path in paths]
    depth = 1
    while depth < 4 and len({p[-depth:] for p in parts}) < len(set(parts)):
        depth += 1
    return _apart(["/".join(p[-depth:]) or "run" for p in parts])


def _apart(names: Iterable[str]) -> list[str]:
    out: list[str] = []
    for name in names:
        number, unique = 2, name
        while unique in out:
            unique, number = f"{name} ({number})", number + 1
        out.append(unique)
    return out


def _coloured(runs: list[Run]) -> list[Run]:
    """Baselines grey, methods in the palette's order; runs that differ in their seeds only share a colour."""
    methods = [_method(run) or run.name for run in runs]
    hues: dict[str, str] = {}
    used: dict[str, int] = {}
    out = []
    greys = len({m for run, m in zip(runs, methods, strict=True) if run.baseline})
    for run, method in zip(runs, methods, strict=True):
        if method not in hues:
            grey = run.baseline and greys == 1
            hues[method] = "baseline" if grey else f"run{sum(h != 'baseline' for h in hues.values()) % N_RUN_COLOURS}"
        dash = used.get(method, 0)
        used[method] = dash + 1
        out.append(Run(**{**_fields(run), "role": hues[method], "dash": dash % 3, "method": method}))
    return out


def _fields(run: Run) -> dict[str, Any]:
    return {name: getattr(run, name) for name in Run.__dataclass_fields__}


def _method(run: Run) -> str | None:
    """The settings without seeds and places, as text; None where the run names none."""
    config = run.meta.get("config")
    if not isinstance(config, Mapping) or not config:
        return None

    def keep(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {k: keep(v) for k, v in value.items() if not _NOT_METHOD.search(str(k).lower())}
        return value

    return json.dumps([keep(config), run.gram_hash, run.meta.get("engine")], sort_keys=True, default=str)


def _find(tree: Any, name: str) -> Any:
    if not isinstance(tree, Mapping):
        return None
    if isinstance(tree.get(name), str | int | float):
        return tree[name]
    for value in tree.values():
        found = _find(value, name)
        if found is not None:
            return found
    return None
