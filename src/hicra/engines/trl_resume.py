"""Exact resume on TRL's trainer; what a checkpoint must hold, and where it may fall, is in resume.py."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from hicra.dynamics.gauge import Gauge
from hicra.engines.resume import RunningState, checkpoint_step, epochs_done, find_checkpoint
from hicra.errors import ConfigError, HicraWarning

if TYPE_CHECKING:
    from hicra.credit.apply import HicraCredit
    from hicra.engines.meter import Meter


class ExactResumeMixin:
    """Checkpoints wait for a generation boundary, and a run resumed from one repeats the uninterrupted run.

    | method of TRL / transformers | what is added |
    |---|---|
    | `train` | finds the last complete checkpoint, refuses one that lies within a generation |
    | `_get_train_sampler` | starts at the epoch of the checkpoint |
    | `_maybe_log_save_evaluate` | lets a checkpoint wait |
    | `_save_checkpoint` | also saves what the next log line has gathered |
    """

    credit: HicraCredit
    _hicra_gauge: Gauge | None
    _hicra_meters: dict[str, Meter]
    _hicra_number: int

    if TYPE_CHECKING:  # what the trainer brings along

        def __getattr__(self, name: str) -> Any: ...

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._hicra_resume: tuple[Path, RunningState | None] | None = None
        self._hicra_save_owed = False
        self.add_callback(_OnTrainBegin(self))

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """As TRL's; `resume_from_checkpoint=True` takes the last checkpoint that was written to its end.

        Raises:
            ConfigError: there is no such checkpoint, or it does not fall on a generation boundary.
            RunDirError: a fresh run into a run directory that holds one.
        """
        found = find_checkpoint(resume_from_checkpoint, Path(self.args.output_dir), self.args.world_size)
        self._hicra_resume = None
        step = None
        if found is not None:
            step = checkpoint_step(found)
            state = RunningState.load(found, self.args.process_index)
            self._check_resume(found, step, state)
            self._hicra_resume = (found, state)
            self._hicra_number = step // self._hicra_span if state is None else state.generation
            # in a process that has trained before: TRL would go on with the rest of the old batch
            self._step, self._buffered_inputs = 0, None
        self._begin_run(step)
        return super().train(None if found is None else os.fspath(found), *args, **kwargs)  # type: ignore[misc]

    def _begin_run(self, resume_step: int | None) -> None:
        """Make ready for a run that goes on after `resume_step`, or is fresh."""

    def _check_resume(self, checkpoint: Path, step: int, state: RunningState | None) -> None:
        if state is not None and state.world_size != self.args.world_size:
            raise ConfigError(
                f"{checkpoint} was written by {state.world_size} processes",
                got=f"{self.args.world_size} processes",
                mend="resume with as many processes: their batches and random states belong to them",
            )
        if not (step % self._hicra_span == 0 if state is None else state.at_boundary):
            raise ConfigError(
                f"{checkpoint} lies within a generation, whose completions are lost: training would go another way",
                expected=f"a checkpoint at a multiple of {self._hicra_span} steps",
                mend="resume from an earlier checkpoint (those that hicra writes on the way wait for the boundary)",
            )
        if self.args.sync_ref_model:
            warnings.warn(
                "sync_ref_model: TRL does not save the reference model, so it starts again from the original weights, "
                "and the resumed run differs from an uninterrupted one",
                HicraWarning,
                stacklevel=3,
            )

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        sampler = super()._get_train_sampler(dataset)  # type: ignore[misc]
        # The sampler draws a new order each epoch from a generator of its own, which transformers does not save.
        for _ in range(epochs_done(self._hicra_resume[0]) if self._hicra_resume else 0):
            next(iter(sampler), None)
        return sampler

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        if self.control.should_save or self._hicra_save_owed:
            wait = not self._hicra_at_boundary and not self.control.should_training_stop
            self.control.should_save, self._hicra_save_owed = not wait, wait
        super()._maybe_log_save_evaluate(*args, **kwargs)  # type: ignore[misc]

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if not self._hicra_at_boundary:
            warnings.warn(
                f"the checkpoint of step {self.state.global_step} lies within a generation: training cannot be resumed "
                "from it exactly",
                HicraWarning,
                stacklevel=2,
            )
        meter = self._hicra_meters["train"]
        meter.reduce(self.accelerator)
        state = RunningState(
            at_boundary=self._hicra_at_boundary,
            generation=self._hicra_number,
            world_size=self.args.world_size,
            loss=self._tr_loss.item(),
            last_logged=int(self._globalstep_last_logged),
            metrics={name: list(map(float, values)) for name, values in self._metrics["train"].items()},
            meter=meter.state(),
            credit=self.credit.state(),
            gauge=None if self._hicra_gauge is None else self._hicra_gauge.state(),
        )
        folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
        state.save(folder, self.args.process_index)
        super()._save_checkpoint(model, trial)  # type: ignore[misc]

    def _restore(self) -> None:
        """Take up the running sums of the checkpoint; called once the trainer has reset its own."""
        if self._hicra_resume is None or self._hicra_resume[1] is None:
            return
        state = self._hicra_resume[1]
        self._tr_loss.fill_(state.loss)
        self._globalstep_last_logged = state.last_logged
        metrics = self._metrics["train"]
        metrics.clear()
        metrics.update({name: list(values) for name, values in state.metrics.items()})
        self._hicra_meters["train"].restore(state.meter, metrics)
        self.credit.load_state(state.credit)
        if self._hicra_gauge is not None and state.gauge is not None:
            self._hicra_gauge = Gauge.from_state(state.gauge)

    @property
    def _hicra_span(self) -> int:
        """Optimizer steps between generation boundaries."""
        return int(self.args.steps_between_boundaries)

    @property
    def _hicra_at_boundary(self) -> bool:
        """Whether the next micro-batch is generated anew; TRL counts micro-batches in `_step`."""
        return bool(self._step % (self.args.steps_per_generation * self.num_iterations) == 0)


class _OnTrainBegin(TrainerCallback):  # type: ignore[misc]
    """Calls back when the trainer has reset its running sums and has not begun to train."""

    def __init__(self, trainer: ExactResumeMixin) -> None:
        self._trainer = trainer

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        self._trainer._restore()
