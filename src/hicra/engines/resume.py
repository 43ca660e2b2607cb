"""Exact resume: where checkpoints may fall, what they must hold besides the trainer's own, which one is complete.

TRL keeps the generated batch in memory and counts micro-batches from 0 after a resume, so that a resume repeats the
run exactly only from a checkpoint at which a new generation is due anyway: a *generation boundary*. A generation lasts
``steps_per_generation * num_iterations`` micro-batches, an optimizer step ``gradient_accumulation_steps``.

Beside the model, the optimizer and the random states that transformers saves, each process leaves one small JSON file
with what would have gone into the next log line. It is written before transformers writes ``trainer_state.json``, the
last of its own files: a checkpoint that holds both was not cut off.
"""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hicra.errors import ConfigError

_NAME = re.compile(r"checkpoint-(\d+)")


def steps_per_boundary(generation_micro_batches: int, gradient_accumulation_steps: int) -> int:
    """Optimizer steps between two generation boundaries that fall on the end of a step.

    Args:
        generation_micro_batches: ``steps_per_generation * num_iterations``.
        gradient_accumulation_steps: micro-batches of an optimizer step.
    """
    return generation_micro_batches // math.gcd(generation_micro_batches, gradient_accumulation_steps)


@dataclass
class RunningState:
    """What one process has gathered since the last log line, and where it stands.

    Attributes:
        at_boundary: whether the checkpoint falls on a generation boundary.
        generation: number of the next generation.
        world_size: processes of the run.
        loss: the trainer's running loss since the last log line.
        last_logged: step of the last log line.
        metrics: TRL's running metrics of training (NaN stands as null).
        meter: hicra's running sums of training.
        credit: state of the credit (the placebo and the gauge of the moment).
        gauge: state of the competence gauge, None where alpha does not follow it.
    """

    at_boundary: bool
    generation: int
    world_size: int
    loss: float
    last_logged: int
    metrics: dict[str, list[float]] = field(default_factory=dict)
    meter: list[float] | None = None
    credit: dict[str, Any] = field(default_factory=dict)
    gauge: dict[str, Any] | None = None

    def save(self, checkpoint: Path, rank: int) -> None:
        """Write the state of this process into a checkpoint folder; the file appears whole or not at all."""
        content = asdict(self)
        content["metrics"] = {k: [v if math.isfinite(v) else None for v in vs] for k, vs in self.metrics.items()}
        checkpoint.mkdir(parents=True, exist_ok=True)
        path = checkpoint / _file(rank)
        part = path.with_name(path.name + ".part")
        with part.open("w", encoding="utf-8") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)

    @classmethod
    def load(cls, checkpoint: Path, rank: int) -> RunningState | None:
        """The state of this process, or None where the checkpoint was not written by hicra (or by fewer processes)."""
        try:
            content: dict[str, Any] = json.loads((checkpoint / _file(rank)).read_text("utf-8"))
        except (OSError, json.JSONDecodeError):
            return None
        content["metrics"] = {k: [math.nan if v is None else v for v in vs] for k, vs in content["metrics"].items()}
        return cls(**content)


def checkpoint_step(checkpoint: Path) -> int:
    """Optimizer steps that were made when the checkpoint was written.

    Raises:
        ConfigError: the folder is no complete checkpoint.
    """
    state = _trainer_state(checkpoint)
    if state is None:
        raise ConfigError(
            f"{checkpoint} is no complete checkpoint",
            expected="a folder checkpoint-N with a readable trainer_state.json",
            mend="resume from an earlier checkpoint (resume_from_checkpoint=True takes the last complete one)",
        )
    return int(state["global_step"])


def epochs_done(checkpoint: Path) -> int:
    """Whole passes over the dataset before the checkpoint."""
    state = _trainer_state(checkpoint) or {}
    return int(state.get("epoch") or 0)


def last_complete_checkpoint(output_dir: Path, world_size: int) -> Path | None:
    """The newest checkpoint that was written to its end by all processes; None where there is none."""
    found = [(int(m[1]), p) for p in output_dir.glob("checkpoint-*") if (m := _NAME.fullmatch(p.name)) and p.is_dir()]
    for _, checkpoint in sorted(found, reverse=True):
        states = all(RunningState.load(checkpoint, rank) is not None for rank in range(world_size))
        if states and _trainer_state(checkpoint) is not None and _has_random_states(checkpoint, world_size):
            return checkpoint
    return None


def find_checkpoint(wanted: str | os.PathLike[str] | bool | None, output_dir: Path, world_size: int) -> Path | None:
    """The checkpoint that ``resume_from_checkpoint`` means: a path, True for the last complete one, or none.

    Raises:
        ConfigError: True, and there is no complete checkpoint.
    """
    if wanted is None or wanted is False:
        return None
    if wanted is not True:
        return Path(wanted)
    checkpoint = last_complete_checkpoint(output_dir, world_size)
    if checkpoint is None:
        raise ConfigError(
            f"there is nothing to resume from in {output_dir}",
            expected=f"a complete checkpoint-N, written by {world_size} process{'es' if world_size > 1 else ''}",
            mend="start without resuming (into an empty run directory), or name a checkpoint",
        )
    return checkpoint


def _has_random_states(checkpoint: Path, world_size: int) -> bool:
    names = ["rng_state.pth"] if world_size == 1 else [f"rng_state_{rank}.pth" for rank in range(world_size)]
    return all((checkpoint / name).is_file() for name in names)


def _trainer_state(checkpoint: Path) -> dict[str, Any] | None:
    try:
        state: dict[str, Any] = json.loads((checkpoint / "trainer_state.json").read_text("utf-8"))
    except (OSError, json.JSONDecodeError):
        return None
    return state


def _file(rank: int) -> str:
    return f"hicra_state.rank-{rank}.json"
