"""What a run in TRL leaves behind: metrics through TRL's own log, alarms, and the run directory.

Shared by the synchronous and the asynchronous trainer. Sums travel over processes, not means, once a step or a log.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from hicra.credit.apply import HicraCredit
from hicra.dynamics.gauge import Gauge
from hicra.engines.generation import Generation
from hicra.engines.meter import Meter, flat_name
from hicra.engines.notice import FirstBatch
from hicra.engines.record import TokenText, groups_to_keep, rows_of
from hicra.engines.watch import Watch
from hicra.errors import HicraWarning
from hicra.traces.rundir import RunReader, RunWriter

if TYPE_CHECKING:
    from torch import Tensor


class RecordMixin:
    """Logs, alarms and the run directory of a trainer that puts its generations into `_hicra_complete`.

    Attributes:
        credit: labels completions and shapes advantages.
        run_writer: the run directory, from the start of `train` on; None before, and where `args.record` is off.
        run_notes: free JSON for run.json, to be set before `train` (the recipe, for instance).
    """

    credit: HicraCredit
    run_writer: RunWriter | None
    run_notes: dict[str, Any]

    if TYPE_CHECKING:  # what the trainer brings along

        def __getattr__(self, name: str) -> Any: ...

    def _hicra_begin(self, credit: HicraCredit, tokenizer: Any) -> None:
        """Make ready; once the trainer itself is."""
        self.credit, self.run_writer, self.run_notes = credit, None, {}
        self._hicra_tokenizer = tokenizer
        self._hicra_text = TokenText(tokenizer, credit.labeller.vocab)
        self._hicra_meters = {mode: Meter(credit.grams) for mode in ("train", "eval")}
        self._hicra_complete: list[Generation] = []  # training ones that wait for the end of the step
        self._hicra_committed: int | None = None
        self._hicra_gauge: Gauge | None = None
        self._hicra_first_batch = FirstBatch(tokenizer)
        self._hicra_watch = Watch()
        self.hicra_step_hooks: list[Callable[[int, Mapping[str, float]], None]] = []

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        mode = self._hicra_mode
        meter = self._hicra_meters[mode]
        meter.reduce(self.accelerator)
        for name, value in meter.since_log().items():
            if math.isfinite(value):
                self._metrics[mode][f"hicra/{name}"].append(value)
        super().log(logs, start_time)  # type: ignore[misc]
        evaluated = {k.removeprefix("eval_"): v for k, v in logs.items() if k.startswith("eval_")}
        if evaluated and self.run_writer is not None and self.args.process_index == 0:
            self.run_writer.eval(int(self.state.global_step), _flat(evaluated))

    def _maybe_log_save_evaluate(
        self,
        tr_loss: Any,
        grad_norm: Any,
        model: Any,
        trial: Any,
        epoch: Any,
        ignore_keys_for_eval: Any,
        start_time: Any,
        learning_rate: float | None = None,
    ) -> None:
        self._commit_step(grad_norm, learning_rate)
        super()._maybe_log_save_evaluate(  # type: ignore[misc]
            tr_loss, grad_norm, model, trial, epoch, ignore_keys_for_eval, start_time, learning_rate=learning_rate
        )

    def _commit_step(self, grad_norm: Any, learning_rate: float | None) -> None:
        """Write and commit the optimizer step that has just been made."""
        writer, step = self.run_writer, int(self.state.global_step)
        if step == self._hicra_committed or (writer is None and self._hicra_gauge is None):
            return  # at the end of an epoch the caller is called once more
        self._hicra_committed = step
        meter = self._hicra_meters["train"]
        meter.reduce(self.accelerator)
        metrics = meter.step(self._hicra_trl_metrics())
        if self._hicra_gauge is not None:  # reduced sums are the same on every rank, so the gauge is
            self.credit.gauge = self._hicra_gauge.update(-metrics.get("logprob_execution", math.nan))
            metrics["competence"] = self.credit.gauge
            self._metrics["train"]["hicra/competence"].append(self.credit.gauge)
        if writer is None:
            return
        complete, self._hicra_complete = self._hicra_complete, []
        rank, keep = self.args.process_index, self._hicra_groups_to_keep(complete)
        rows = [rows_of(g, step=step, rank=rank, keep=keep, text=self._hicra_text) for g in complete]
        writer.write_rows(step, [r for c, _ in rows for r in c], [r for _, k in rows for r in k])
        self.accelerator.wait_for_everyone()
        if rank == 0:
            norm = grad_norm.item() if isinstance(grad_norm, torch.Tensor) else grad_norm
            extra = {"grad_norm": norm, "learning_rate": learning_rate, "epoch": self.state.epoch}
            alarms, fresh = self._hicra_watch.step(step, metrics)
            writer.commit(step, metrics | extra | alarms | {"num_tokens": self.state.num_input_tokens_seen})
            for says in fresh:
                writer.note(step, f"alarm: {says.partition(': ')[2]}")
            for name, value in alarms.items():
                self._metrics["train"][f"hicra/{name}"].append(value)
        for hook in self.hicra_step_hooks:  # on every rank, with the same metrics
            hook(step, metrics)

    def _begin_run(self, resume_step: int | None) -> None:
        self._hicra_committed, self._hicra_complete = resume_step, []
        if self.credit.follows_gauge:
            self._hicra_gauge, self.credit.gauge = Gauge(), 0.0
        if not self.args.record:
            return
        config = {"trainer": self.args.to_dict(), "credit": asdict(self.credit.config), **self.run_notes}
        config["model"] = getattr(self.model.config, "name_or_path", None) or None
        config["reward"] = list(getattr(self, "reward_func_names", ()))
        seed = int(self.args.seed)
        with self.accelerator.main_process_first():  # rank 0 moves old files away before others write new ones
            self.run_writer = RunWriter.create(
                self.args.run_path,
                config=config,
                seeds={"seed": seed, "data_seed": seed if self.args.data_seed is None else int(self.args.data_seed)},
                grams=self.credit.grams.to_dict(),
                rank=self.args.process_index,
                resume_step=resume_step,
                engine="trl",
            )
        self._hicra_watch = Watch(RunReader(self.args.run_path).metrics() if resume_step is not None else ())

    def _hicra_trl_metrics(self) -> Mapping[str, Sequence[float]]:
        """TRL's own metrics since its last log line."""
        return self._metrics["train"]  # type: ignore[no-any-return]

    def _hicra_groups_to_keep(self, complete: Sequence[Generation]) -> set[int]:
        """Numbers of the groups whose text is kept."""
        groups_each = len(complete[0]) * self.args.world_size // self.num_generations if complete else 0
        return groups_to_keep(list(complete), self.num_generations, groups_each, self.args.rollouts_per_step)

    def _note(self, text: str) -> None:
        if self.run_writer is not None and self.args.process_index == 0:
            self.run_writer.note(self._hicra_step, text)

    def _hicra_look_at_first_batch(self, planning: Tensor, mask: Tensor) -> None:
        text = self._hicra_first_batch.look(planning, mask, self.credit.grams.name)
        if self.args.process_index == 0 and text:
            warnings.warn(text, HicraWarning, stacklevel=2)
            self._note(text)

    @property
    def _hicra_mode(self) -> str:
        return "train" if self.model.training else "eval"

    @property
    def _hicra_step(self) -> int:
        """The optimizer step that is being made, counted from 1."""
        return int(self.state.global_step) + 1


def _flat(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    """Numbers of a log line under the run directory's names."""
    numbers = {k: v for k, v in metrics.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return {flat_name(name): float(value) for name, value in numbers.items()}
