"""TRL's completions: ``<output_dir>/completions/completions_00012.parquet``, written where ``log_completions=True``.

One file a logged step, columns ``step, prompt, completion, <one a reward function>, <extras>, advantage``; prompt and
completion are texts or conversations, completions without special tokens. A file holds the newest generated batch, in
which the completions of one prompt stand together; a batch that several steps train on is in the files of all of them.
What the trainer logged beside (loss, clipped share of completions, ...) is taken from ``trainer_state.json`` of the
newest checkpoint. Read in TRL 1.16.0 (`GRPOTrainer.log`).
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hicra.traces.adapters import trl_rewards
from hicra.traces.adapters.files import (
    Row,
    TornError,
    conversation,
    is_last,
    number,
    numbered,
    parquet_rows,
    spoken,
    torn,
)
from hicra.traces.adapters.sampled import Adapter, Sampled, Source, Step

_COLUMNS = ("step", "prompt", "completion", "advantage")
_OWN = {"step", "epoch", "reward", "completions/mean_length", "num_tokens"}
"""What is logged that the rows say themselves."""

_LOOK = 8
"""Files that are looked at to find out which columns are rewards."""


def find(path: Path) -> list[Path]:
    """Files named as TRL names them, in the folder or in its ``completions/``, whose columns are TRL's."""
    inside = path / "completions" if (path / "completions").is_dir() else path
    files = numbered(inside.iterdir() if inside.is_dir() else [path], r"completions_(\d+)\.parquet")
    return files if files and _names(files[0]) >= set(_COLUMNS) else []


def read(source: Source) -> Iterator[Step]:
    """The steps, with what was seen twice left out."""
    rewards: Mapping[str, float] | None = None
    logged = _logged(source.files[0].parent.parent)
    before: list[tuple[str, str]] = []
    for path in source.files:
        rows = _rows(path, source)
        if not rows:
            continue
        step = int(number(rows[0][1].get("step"), rows[0][0], "step"))
        if step == 0:
            source.note(f"{path.name} is from before the first step, so an evaluation: left out")
            continue
        texts = [(str(row["prompt"]), str(row["completion"])) for _, row in rows]
        if texts == before:
            source.note("steps that trained on an earlier step's batch again are left out: TRL wrote that batch twice")
            continue
        before = texts
        if rewards is None:
            rewards = trl_rewards.choose(_some_groups(source), _COLUMNS, source)
        yield Step(
            step,
            [
                Sampled(
                    where=where,
                    prompt=conversation(row["prompt"], where, "prompt"),
                    completion=spoken(row["completion"], where, "completion"),
                    reward=trl_rewards.total(row, rewards),
                    group=group,
                    advantage=number(row["advantage"], where, "advantage"),
                )
                for (where, row), group in zip(rows, _groups([prompt for prompt, _ in texts]), strict=True)
            ],
            logged.get(step, {}),
        )


def _rows(path: Path, source: Source) -> list[tuple[str, Row]]:
    """The rows of a file; none where it is empty, or the last one and torn."""
    try:
        rows = list(parquet_rows(path))
    except TornError as error:
        if not is_last(path, source.files):
            raise torn(path) from error
        source.note(f"{path.name} is still being written and was left out")
        return []
    if not rows:
        source.note(f"{path.name} holds no completion")
    return rows


def _names(path: Path) -> set[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return set(pq.read_schema(path).names)
    except (pa.ArrowException, OSError, ValueError):
        return set(_COLUMNS)  # torn: its name alone has to do


def _groups(prompts: Sequence[str]) -> list[int]:
    """Numbers of groups: runs of one prompt, cut at the most common length where a prompt was drawn twice in a row."""
    runs = [len(list(run)) for _, run in itertools.groupby(prompts)]
    usual = Counter(runs).most_common(1)[0][0]
    sizes = [size for run in runs for size in ([usual] * (run // usual) if run % usual == 0 else [run])]
    return [group for group, size in enumerate(sizes) for _ in range(size)]


def _some_groups(source: Source) -> list[list[Row]]:
    """The groups of some files from all over the run."""
    files = [path for path in source.files if not path.stem.endswith("_00000")]
    found: list[list[Row]] = []
    for path in files[:: max(1, -(-len(files) // _LOOK))]:
        rows = [row for _, row in _rows(path, source)]
        numbers = _groups([str(row["prompt"]) for row in rows]) if rows else []
        for _, group in itertools.groupby(zip(numbers, rows, strict=True), key=lambda pair: pair[0]):
            found.append([row for _, row in group])
    return found


def _logged(folder: Path) -> dict[int, dict[str, float]]:
    """Step -> what the trainer logged, from the newest checkpoint that can be read; empty where there is none."""
    for path in reversed(numbered(folder.glob("checkpoint-*"), r"checkpoint-(\d+)")):
        try:
            history = json.loads((path / "trainer_state.json").read_bytes())["log_history"]
            found: dict[int, dict[str, float]] = {}
            for line in history:
                values = {n: v for n, v in line.items() if n not in _OWN and isinstance(v, int | float)}
                if not any(name.startswith("eval_") for name in values):
                    found.setdefault(int(line["step"]), {}).update(values)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # a checkpoint that is being written; an older one will do
        for values in found.values():
            if (clipped := values.pop("completions/clipped_ratio", None)) is not None:
                values["truncated"] = clipped
        return found
    return {}


TRL = Adapter(
    "trl",
    "completions/completions_<step>.parquet with step, prompt, completion, advantage (log_completions=True)",
    find,
    read,
)
