"""The context rule of arXiv 2509.03646: completions may grow once more than a fifth of them are cut off.

    max_completion_length := raise_to    after `steps` optimizer steps in a row with truncated > clipped

It is raised once, in the running trainer: in the generation settings of transformers, or those of vLLM, whose engine
must have room from the start (``vllm_max_model_length``). The run directory keeps it: a note in metrics.jsonl, and
context.json with the step, from which a resumed run knows how long its completions are.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hicra.engines.recipe_sections import ContextSection
from hicra.errors import ConfigError
from hicra.traces.disk import write_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = "context.json"


class ContextRule:
    """Watches the share of cut-off completions of a `HICRATrainer`; make one before `train`.

    Args:
        trainer: the trainer; its steps' metrics are looked at on every process.
        section: the rule.

    Attributes:
        raised_at: the step after which completions were allowed to be longer, None as long as they are not.

    Raises:
        ConfigError: `raise_to` is no longer than what the trainer has, or vLLM's engine has no room for it.
    """

    def __init__(self, trainer: Any, section: ContextSection) -> None:
        self._trainer, self._section = trainer, section
        self.raised_at: int | None = None
        self._above = 0
        args = trainer.args
        if section.raise_to <= trainer.max_completion_length:
            raise ConfigError(
                "[context] raise_to raises nothing",
                expected=f"more than max_completion_length = {trainer.max_completion_length}",
                got=str(section.raise_to),
            )
        if not args.record:
            raise ConfigError("[context] keeps its state in the run directory", expected="record = true")
        room = args.vllm_max_model_length if args.use_vllm and args.vllm_mode == "colocate" else None
        if room is not None and room <= section.raise_to:
            raise ConfigError(
                "[context] raise_to does not fit into vLLM's engine, which is made once",
                expected=f"vllm_max_model_length above {section.raise_to} (and the prompt)",
                got=str(room),
            )
        self._first = trainer.max_completion_length
        trainer.hicra_step_hooks.append(self.after_step)
        trainer.add_callback(_on_train_begin(self))

    @property
    def _file(self) -> Path:
        return Path(self._trainer.args.run_path) / FILE

    def begin(self, step: int) -> None:
        """A run starts, or goes on after `step`: as long as completions were by then."""
        self._above, self.raised_at = 0, None
        self._set(self._first)
        if step > 0 and self._file.exists():
            state = json.loads(self._file.read_text("utf-8"))
            self._above = int(state["above"].get(str(step), 0))
            if state["raised_at"] is not None and state["raised_at"] <= step:
                self.raised_at = int(state["raised_at"])
                self._set(self._section.raise_to)

    def after_step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Look at the metrics of a step, the same on every process."""
        if self.raised_at is not None or "truncated" not in metrics:  # nothing was sampled in this step
            return
        self._above = self._above + 1 if metrics["truncated"] > self._section.clipped else 0
        if self._above >= self._section.steps:
            self.raised_at = step
            self._set(self._section.raise_to)
            if self._trainer.args.process_index == 0:
                self._trainer.run_writer.note(
                    step,
                    f"{metrics['truncated']:.0%} of the completions were cut off: max_completion_length goes from "
                    f"{self._first} to {self._section.raise_to}",
                )
        self._keep(step)

    def _keep(self, step: int) -> None:
        if self._trainer.args.process_index != 0:
            return
        state = {"above": {str(step): self._above}, "raised_at": self.raised_at}
        if self._file.exists():  # a resume may start from any of the last checkpoints
            above = json.loads(self._file.read_text("utf-8"))["above"]
            state["above"] = {k: v for k, v in above.items() if int(k) < step} | {str(step): self._above}
        write_atomic(self._file, json.dumps(state).encode())

    def _set(self, length: int) -> None:
        trainer = self._trainer
        trainer.max_completion_length = trainer.args.max_completion_length = length
        if trainer.args.use_vllm:
            trainer.vllm_generation.max_completion_length = length
        else:
            trainer.generation_config.max_new_tokens = length
            trainer.generation_kwargs["max_new_tokens"] = length


def _on_train_begin(rule: ContextRule) -> Any:
    from transformers import TrainerCallback

    class Begin(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            rule.begin(int(state.global_step))

    return Begin()
