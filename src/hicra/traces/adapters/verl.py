"""verl's rollout dump: ``<rollout_data_dir>/12.jsonl``, written where ``trainer.rollout_data_dir`` is set.

One file a step, one line a completion: ``input, output, gts, score, step``, then what the trainer adds: ``uid``
(``<prompt>_<rollout>_<output>``, trainers of verl 0.9 on) or ``request_id`` and the extras of the reward function. Both
texts are without special tokens, so a chat prompt is not quite what the model saw. ``score`` is the sum of the token
scores, before a KL penalty. Read in verl 0.9.1 (`PPOTrainer._log_rollout_data`, `RayPPOTrainer._log_rollout_data`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hicra.traces.adapters.files import TornError, first_row, is_last, json_rows, need, number, numbered, torn
from hicra.traces.adapters.sampled import Adapter, Sampled, Source, Step

_FIELDS = {"input", "output", "score", "step"}
_NAME = r"(\d+)\.jsonl(?:\.zst|\.gz)?"


def find(path: Path) -> list[Path]:
    """Files named by their step whose first line has verl's fields."""
    files = numbered(path.iterdir() if path.is_dir() else [path], _NAME)
    return files if any(first_row(file).keys() >= _FIELDS for file in files[:3]) else []


def read(source: Source) -> Iterator[Step]:
    """The steps."""
    for path in source.files:
        rows = []
        step = int(path.name.split(".")[0])
        try:
            for where, row in json_rows(path):
                step = need(row, "step", int, where)
                rows.append(
                    Sampled(
                        where=where,
                        prompt=need(row, "input", str, where),
                        completion=need(row, "output", str, where),
                        reward=number(row.get("score"), where, "score"),
                        group=_group(row.get("uid")),
                    )
                )
        except TornError as error:
            if not is_last(path, source.files):
                raise torn(path) from error
            source.note(f"{path.name} is still being written: step {step} was left out")
            return
        if rows:
            source.note("verl dumps prompts without their special tokens: they are not quite what the model saw")
            yield Step(step, rows)


def _group(uid: object) -> str | None:
    """The prompt's part of ``<prompt>_<rollout>_<output>``; None where there is none, or it is another kind of name."""
    parts = uid.rsplit("_", 2) if isinstance(uid, str) else []
    return parts[0] if len(parts) == 3 and parts[1].isdigit() and parts[2].isdigit() else None


VERL = Adapter(
    "verl", "<step>.jsonl with input, output, score, step on each line (trainer.rollout_data_dir)", find, read
)
