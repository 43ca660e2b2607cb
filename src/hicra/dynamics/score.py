"""`hicra score`: a run directory with the log-probs and entropies that its engine did not keep.

The run itself stays as it is; a second one is written beside it. Every few seconds what is done of the current step
goes to disk, so that a killed run goes on where it stopped.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hicra.dynamics.scorer import Scorer, Scores, load_scorer
from hicra.dynamics.summary import NO_ENTROPIES, NO_LOGPROBS, step_metrics, sums_by_kind
from hicra.errors import ConfigError, RunDirError
from hicra.traces import disk
from hicra.traces.rundir import RUN, RunReader, RunWriter

PARTS = "scoring"
"""Folder inside the new run directory that holds what is done of the step at hand."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scored:
    """What was done.

    Attributes:
        path: the new run directory.
        steps: steps that were written by this call.
        completions, tokens: what the model was run on by this call.
        notes: what could not be scored, in words.
    """

    path: Path
    steps: Sequence[int]
    completions: int
    tokens: int
    notes: Sequence[str]


def score_run(
    run: str | os.PathLike[str],
    model: str | Scorer,
    tokenizer: Any,
    out: str | os.PathLike[str] | None = None,
    *,
    again: bool = False,
    device: str = "auto",
    dtype: str = "auto",
    temperature: float = 1.0,
    batch_tokens: int = 16_384,
    flush_seconds: float = 10.0,
    progress: Callable[[int, int, int], None] | None = None,
) -> Scored:
    """Fill in log-probs and entropies by a teacher-forced forward pass over the completions whose text was kept.

    Args:
        run: a run directory.
        model: hub name or path, in which ``{step}`` stands for the step (one checkpoint a step); or a `Scorer`.
        tokenizer: the model's; for prompts.
        out: the run directory to write, or to go on with; default: `run` with ``-scored`` at the end of its name.
        again: score what has log-probs and entropies too.
        device, dtype, temperature, batch_tokens: as `hicra.dynamics.scorer.Scorer` has them.
        flush_seconds: what is done goes to disk this often.
        progress: called with the step, and how many of how many completions of it are done.

    Raises:
        RunDirError: no run directory, one without text, or `out` holds something else.
        ConfigError: no such model, tokens without ids, or nothing left to fill in.
        DataError: tokens that the model does not know.
    """
    reader = RunReader(run)
    target = Path(out) if out is not None else reader.path.with_name(reader.path.name + "-scored")
    _check_worth(reader, again)
    settings = {
        "source": str(reader.path.resolve()),
        "model": model if isinstance(model, str) else type(model.model).__name__,
        "temperature": temperature,
        "dtype": dtype,
        "batch_tokens": batch_tokens,
        "again": again,
    }
    writer = _writer(reader, target, settings)
    models = _Models(model, device=device, dtype=dtype, temperature=temperature, batch_tokens=batch_tokens)
    prompts = _Prompts(tokenizer)
    grams = (reader.grams or {}).get("grams") or []
    done = RunReader(target).steps
    evals = [e for e in reader.evals() if not done or e["step"] > done[-1]]
    metrics = {m["step"]: m for m in reader.metrics()}
    steps: list[int] = []
    notes: list[str] = []
    counted = [0, 0]

    def tell(n: int, of: int) -> None:
        if progress is not None:
            progress(step, n, of)

    for step in reader.steps:
        if step in done:
            continue
        completions = reader.completions([step]).to_pylist()
        rollouts = reader.rollouts([step]).to_pylist()
        scorer = models.of(step)
        if scorer is None:
            _once(notes, f"no model for some steps (the first: {step}): they are copied as they were")
        else:
            parts = _Parts(target / PARTS, step, flush_seconds)
            _fill(rollouts, scorer, prompts, parts, again, counted, tell)
            if not _join(completions, rollouts, f"{reader.path}, step {step}"):
                _once(
                    notes, "sums by token kind are filled in only where text was kept and every token is the policy's"
                )
        writer.write_rows(step, completions, rollouts)
        while evals and evals[0]["step"] <= step:
            writer.eval(evals[0]["step"], _values(evals.pop(0)))
        known = _values(metrics.get(step, {}))
        known |= _only_kinds(step_metrics(completions, len(grams)))
        writer.commit(step, known)
        shutil.rmtree(target / PARTS, ignore_errors=True)
        steps.append(step)
    notes += prompts.notes
    said = {text for _, text in RunReader(target).notes()}
    said |= {NO_LOGPROBS, NO_ENTROPIES}
    for at, text in [*reader.notes(), *((reader.steps[-1], note) for note in notes)]:
        if text not in said:
            writer.note(at, text)
    return Scored(target, steps, counted[0], counted[1], notes)


def _fill(
    rollouts: list[Row],
    scorer: Scorer,
    prompts: _Prompts,
    parts: _Parts,
    again: bool,
    counted: list[int],
    progress: Callable[[int, int], None],
) -> None:
    """Score the rows of a step that lack something, in place."""
    todo = [i for i, row in enumerate(rollouts) if again or row["logprob"] is None or row["entropy"] is None]
    for i in todo:
        if any(token < 0 for token in rollouts[i]["token_ids"]):
            raise ConfigError(
                "tokens of this run have no ids: it was imported without the model's tokenizer",
                mend="hicra import RUN -o NEW_DIRECTORY --tokenizer MODEL, then score that",
            )
    given = {i: prompts.ids(rollouts[i]["prompt"]) for i in todo}
    lengths = [len(given[i]) + len(rollouts[i]["token_ids"]) for i in todo]
    found = parts.read()
    for batch in scorer.batches(lengths):
        rows = [todo[j] for j in batch]
        fresh = [i for i in rows if i not in found]
        if fresh:
            tokens = [rollouts[i]["token_ids"] for i in fresh]
            scores = dict(zip(fresh, scorer.score_batch([given[i] for i in fresh], tokens), strict=True))
            found |= scores
            parts.add(scores)
            counted[0] += len(fresh)
            counted[1] += sum(map(len, tokens))
        progress(sum(i in found for i in todo), len(todo))
    for i in todo:
        row = rollouts[i]
        foreign = [p is None for p in row["logprob"]] if row["logprob"] is not None else None
        for name in ("logprob", "entropy"):
            if again or row[name] is None:
                values = getattr(found[i], name).tolist()
                row[name] = (
                    values if foreign is None else [None if f else v for f, v in zip(foreign, values, strict=True)]
                )


def _join(completions: list[Row], rollouts: Sequence[Row], where: str) -> bool:
    """Put the sums of scored rollouts into their completions; whether every completion has its own now.

    A rollout and its completion are told by their order within the group: both are written in the order of sampling.
    """
    places: dict[tuple[int, int], list[Row]] = {}
    for completion in completions:
        places.setdefault((completion["rank"], completion["group_id"]), []).append(completion)
    whole = True
    for rollout in rollouts:
        waiting = places.get((rollout["rank"], rollout["group_id"]))
        row = waiting.pop(0) if waiting else None
        if row is None or row["length"] != len(rollout["token_ids"]):
            raise RunDirError(
                f"{where}: a rollout without its completion",
                expected="completions and rollouts of a group in the same order",
                got=f"prompt {rollout['prompt_id']!r}, {len(rollout['token_ids'])} tokens",
            )
        logprob, entropy = (_floats(rollout[name]) for name in ("logprob", "entropy"))
        mask = None if logprob is None or np.isfinite(logprob).all() else np.isfinite(logprob)
        sums = sums_by_kind(np.asarray(rollout["planning"], np.bool_), mask, logprob, entropy)
        if (sums["n_planning"], sums["n_execution"]) == (row["n_planning"], row["n_execution"]):
            row.update(sums)
        else:
            whole = False
    return whole and not any(places.values())


def _values(line: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name != "step"}


def _floats(values: Sequence[float | None] | None) -> np.ndarray[Any, Any] | None:
    return None if values is None else np.array([math.nan if v is None else v for v in values], np.float32)


def _only_kinds(metrics: Mapping[str, float]) -> dict[str, float]:
    return {k: v for k, v in metrics.items() if k.startswith(("logprob_", "entropy_", "perplexity_"))}


def _check_worth(reader: RunReader, again: bool) -> None:
    kept = reader.rollouts(columns=["step", "logprob", "entropy"])
    if len(kept) == 0:
        raise RunDirError(
            f"{reader.path}: no text was kept, so there is nothing to score",
            expected="rollouts (rollouts_per_step above 0, or an import)",
        )
    if not again and not kept["logprob"].null_count and not kept["entropy"].null_count:
        raise ConfigError(
            f"{reader.path}: every completion has log-probs and entropies already",
            mend="--again scores them with this model in place of the recorded ones",
        )


def _writer(reader: RunReader, target: Path, settings: Mapping[str, Any]) -> RunWriter:
    config = {**(reader.meta.get("config") or {}), "scored": dict(settings)}
    last = None
    if (target / RUN).exists():
        before = RunReader(target)
        if (before.meta.get("config") or {}).get("scored") != settings:
            raise RunDirError(
                f"{target}: holds another run",
                expected="a new directory, or one that the same scoring began",
                got=json.dumps((before.meta.get("config") or {}).get("scored"))[:300],
                mend="choose another directory with -o, or remove this one",
            )
        last = before.steps[-1] if before.steps else 0
    return RunWriter.create(
        target,
        config=config,
        seeds=reader.meta.get("seeds") or {},
        grams=reader.grams,
        engine=str(reader.meta.get("engine") or ""),
        resume_step=last,
    )


class _Models:
    """The scorer of each step; one in memory at a time."""

    def __init__(self, model: str | Scorer, **settings: Any) -> None:
        self._model, self._settings = model, settings
        self._loaded: tuple[str, Scorer] | None = None

    def of(self, step: int) -> Scorer | None:
        """None where the checkpoint of this step is not there."""
        if isinstance(self._model, Scorer):
            return self._model
        name = self._model.replace("{step}", str(step))
        if "{step}" in self._model and not Path(name).is_dir():
            return None
        if self._loaded is None or self._loaded[0] != name:
            self._loaded = None  # frees the one before
            self._loaded = (name, load_scorer(name, **self._settings))
        return self._loaded[1]


class _Prompts:
    """Prompts as token ids, each encoded once."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, list[int]] = {}
        self.notes: list[str] = []
        probe = list(tokenizer("a")["input_ids"])
        bos = getattr(tokenizer, "bos_token_id", None)
        self._begin = [bos] if bos is not None and probe[:1] == [bos] else []

    def ids(self, prompt: str) -> list[int]:
        """With the begin token that the tokenizer puts in front of every text, once."""
        if prompt not in self._known:
            ids = list(self._tokenizer(prompt, add_special_tokens=False)["input_ids"])
            if self._begin and ids[:1] != self._begin:
                ids = self._begin + ids
            if not ids:
                ids = [self._some_token()]
                _once(self.notes, "completions without a prompt were scored after a begin or end token alone")
            self._known[prompt] = ids
        return self._known[prompt]

    def _some_token(self) -> int:
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            if (found := getattr(self._tokenizer, name, None)) is not None:
                return int(found)
        raise ConfigError("a completion without a prompt, and a tokenizer without begin or end token")


class _Parts:
    """Scores of the step at hand on disk: files that appear whole, each with some rows."""

    def __init__(self, folder: Path, step: int, seconds: float) -> None:
        self._folder, self._step, self._seconds = folder, step, seconds
        self._waiting: dict[int, Scores] = {}
        self._number = 0
        self._last = time.monotonic()

    def read(self) -> dict[int, Scores]:
        """Row -> its scores, of what an earlier process did of this step."""
        import pyarrow.parquet as pq

        found: dict[int, Scores] = {}
        for path in sorted(self._folder.glob(f"step-{self._step:06d}.part-*.parquet")):
            self._number = int(path.stem.rsplit("-", 1)[1]) + 1
            for row in pq.read_table(path).to_pylist():
                found[row["row"]] = Scores(*(np.array(row[n], np.float32) for n in ("logprob", "entropy")))
        return found

    def add(self, scores: Mapping[int, Scores]) -> None:
        """Keep scores; write what is waiting if it is time."""
        self._waiting |= scores
        if time.monotonic() - self._last < self._seconds:
            return
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.table(
            {
                "row": pa.array(list(self._waiting), pa.int32()),
                "logprob": pa.array([s.logprob for s in self._waiting.values()], pa.list_(pa.float32())),
                "entropy": pa.array([s.entropy for s in self._waiting.values()], pa.list_(pa.float32())),
            }
        )
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        path = self._folder / f"step-{self._step:06d}.part-{self._number:05d}.parquet"
        with disk.explained(path, "what was scored before is kept"):
            self._folder.mkdir(parents=True, exist_ok=True)
            disk.write_atomic(path, bytes(memoryview(sink.getvalue())))
        self._waiting, self._number, self._last = {}, self._number + 1, time.monotonic()


def _once(notes: list[str], text: str) -> None:
    if text not in notes:
        notes.append(text)
