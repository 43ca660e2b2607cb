"""A run of another tool as a run directory: its completions, labelled, step by step.

What the tool did not keep stays empty, and the result says what that switches off. Importing again goes on where the
last import stopped, so a run can be followed while it trains.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hicra import DEFAULT_GRAMS
from hicra.dynamics.summary import step_metrics
from hicra.engines.join import Join
from hicra.errors import RunDirError
from hicra.grams.gramset import GramSet
from hicra.traces.adapters import Options, Step, open_run
from hicra.traces.rundir import RUN, RunReader, RunWriter

ENGINE = "import"
"""The engine's name in run.json."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did; `steps` is empty where nothing was new.

    Attributes:
        path: the run directory.
        format: name of the adapter.
        steps: numbers of the steps that were added.
        completions, tokens: how many they hold.
        notes: what was left out or guessed, and what is switched off because the tool did not keep it.
    """

    path: Path
    format: str
    steps: Sequence[int]
    completions: int
    tokens: int
    notes: Sequence[str]


def import_run(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    format: str | None = None,
    grams: GramSet | str = DEFAULT_GRAMS,
    tokenizer: Any = None,
    options: Options | None = None,
    keep: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Imported:
    """Read another tool's completions, label them, and write a run directory.

    Args:
        source: what the tool wrote: a file or a folder.
        out: the run directory to write; one that an earlier import of the same source began is gone on with.
        format: a name of `hicra.traces.adapters.ADAPTERS`; None finds out.
        grams: gram set, or its name or path.
        tokenizer: the model's tokenizer. Without one, tokens that the tool did not keep are words and signs, and no
            log-probs can be filled in later.
        options: what the files do not say: columns, weights of rewards, which score.
        keep: text is kept for this many completions a step, in whole groups; None: for all.
        progress: called with the number of each step that is done.

    Raises:
        DataError: not readable (with file and line), or token ids without a tokenizer.
        RunDirError: `out` holds another run.
    """
    foreign = open_run(source, format, options)
    found = grams if isinstance(grams, GramSet) else GramSet.load(grams)
    join = Join(found, tokenizer)
    config = {
        "source": str(foreign.source.path.resolve()),
        "format": foreign.adapter.name,
        "tokenizer": join.tokenizer_name,
        "columns": dict(foreign.source.options.columns),
        "rewards": dict(foreign.source.options.rewards),
        "scorer": foreign.source.options.scorer,
    }
    before = _before(Path(out), config)
    writer: RunWriter | None = None
    steps: list[int] = []
    completions = tokens = 0
    for step in foreign.steps():
        if before is not None and before.has(step):
            join.look(step)
            continue
        rows, rollouts = join.rows(step, keep)
        if writer is None:
            after = None if before is None else max((n for n in before.reader.steps if n < step.number), default=0)
            writer = RunWriter.create(
                out, config=config, seeds={}, grams=found.to_dict(), engine=ENGINE, resume_step=after
            )
        writer.write_rows(step.number, rows, rollouts)
        counted = step_metrics(rows, len(found), found.cluster_id)
        writer.commit(step.number, {**step.metrics, **counted})
        steps.append(step.number)
        completions += len(rows)
        tokens += sum(row["length"] for row in rows)
        if progress is not None:
            progress(step.number)
    notes = [*foreign.source.notes, *join.notes()]
    if writer is not None:
        said = set() if before is None else {text for _, text in before.reader.notes()}
        for text in notes:
            if text not in said:
                writer.note(steps[-1], text)
    if join.steps == 1:  # true of today's import, not of the run: it may go on
        notes.append("one step: curves over training are switched off")
    return Imported(Path(out), foreign.adapter.name, steps, completions, tokens, notes)


@dataclass(frozen=True, slots=True)
class _Before:
    """What an earlier import into the same directory left."""

    reader: RunReader

    def has(self, step: Step) -> bool:
        """Whether the step is there as it is now; the last one may have been imported while it was being written."""
        steps = self.reader.steps
        if not steps or step.number > steps[-1]:
            return False
        if step.number < steps[-1]:
            return True
        return len(self.reader.completions([step.number], ["reward"])) == len(step.rows)


def _before(out: Path, config: dict[str, Any]) -> _Before | None:
    if not (out / RUN).exists():
        return None
    reader = RunReader(out)
    if reader.meta.get("engine") != ENGINE or reader.meta.get("config") != config:
        raise RunDirError(
            f"{out}: holds another run",
            expected="a new directory, or one that an import of the same source with the same settings began",
            got=f"engine {reader.meta.get('engine')!r}, {reader.meta.get('config')}"[:300],
            mend="choose another directory, or remove this one",
        )
    return _Before(reader)
