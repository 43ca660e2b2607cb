"""HICRA on TRL's `GRPOTrainer`: the smallest overrides, no copied code, no second forward.

| method of TRL / transformers | what is added |
|---|---|
| `_calculate_rewards` | keeps ids and rewards of the batch; refuses rewards that are no numbers |
| `_generate_and_score_completions` | labels and per-token advantages, before TRL shuffles, splits and buffers |
| `_get_per_token_logps_and_entropies` | keeps what the loss computes; the entropy-shaped advantage acts here |
| `_compute_loss` | sums by token kind, on the first pass over a batch |
| `log` | the sums become metrics, reduced once |
| `_maybe_log_save_evaluate` | the step is committed to the run directory |
| `train`, `_save_checkpoint` and others in trl_resume.py | exact resume |

With an effective alpha of 0 the advantages stay TRL's own (B,) tensor, so the run is GRPO bit for bit.
tests/contract/test_trl_contract.py fails where a new TRL moves this ground.

    class Mine(HICRAMixin, TheirTrainer): ...          # on top of somebody's own subclass of GRPOTrainer
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import gather_object  # type: ignore[import-untyped, unused-ignore]
from trl import GRPOTrainer

from hicra.credit.apply import HicraCredit
from hicra.dynamics.gauge import Gauge
from hicra.engines.generation import ROW, Generation
from hicra.engines.meter import Meter, flat_name
from hicra.engines.notice import HicraWarning
from hicra.engines.record import TokenText, groups_to_keep, prompt_name, rows_of
from hicra.engines.rewards import checked, completion_text
from hicra.engines.trl_config import HICRAConfig
from hicra.engines.trl_resume import ExactResumeMixin
from hicra.engines.watch import Watch
from hicra.errors import ConfigError, DataError
from hicra.labels.audit import share_warning
from hicra.traces.rundir import RunReader, RunWriter

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["HICRAConfig", "HICRAMixin", "HICRATrainer", "HicraWarning"]


class HICRAMixin(ExactResumeMixin):
    """Adds HICRA to a subclass of `GRPOTrainer`; put it first: ``class Mine(HICRAMixin, TheirTrainer)``.

    Takes what the trainer takes. Its `args` must be a `HICRAConfig` (or a subclass of it).

    Args:
        credit: a ready-made `HicraCredit` instead of the one that the config describes, e.g. with grams that have no
            file.

    Attributes:
        credit: labels completions and shapes advantages.
        run_writer: the run directory, from the start of `train` on; None before, and where `args.record` is off.
        run_notes: free JSON for run.json, to be set before `train` (the recipe, for instance).

    Raises:
        ConfigError: `args` is no `HICRAConfig`.
        DataError: during training: rewards or log-probabilities that are not finite.
    """

    credit: HicraCredit
    run_writer: RunWriter | None
    run_notes: dict[str, Any]

    def __init__(self, *args: Any, credit: HicraCredit | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # of the trainer
        if not isinstance(self.args, HICRAConfig):
            raise ConfigError(
                f"{type(self).__name__} needs its settings in a HICRAConfig",
                expected="args=HICRAConfig(...)",
                got=type(self.args).__name__,
                mend="HICRAConfig takes everything that GRPOConfig takes; for a config class of your own: "
                "class MyConfig(HICRAConfig, TheirConfig)",
            )
        self.credit = credit or HicraCredit(self.args.credit_config(), self._tokenizer)
        self.run_writer, self.run_notes = None, {}
        functions = getattr(self, "reward_funcs")  # noqa: B009  # mypy sees the assignment below only
        self.reward_funcs = [
            function if isinstance(function, torch.nn.Module) else checked(function, name, lambda: self._hicra_step)
            for function, name in zip(functions, self.reward_func_names, strict=True)
        ]
        self._hicra_gauge = None
        self._hicra_text = TokenText(self._tokenizer, self.credit.labeller.vocab)
        self._hicra_meters = {mode: Meter(self.credit.grams) for mode in ("train", "eval")}
        self._hicra_scored: dict[str, Any] = {}  # of the batch that is being scored
        self._hicra_generations: dict[str, Generation] = {}  # the newest of each mode
        self._hicra_complete: list[Generation] = []  # training ones that wait for the end of the step
        self._hicra_number = 0
        self._hicra_in_loss: dict[str, Any] | None = None
        self._hicra_committed: int | None = None
        self._hicra_looked = False
        self._hicra_watch = Watch()

    # --- advantages --------------------------------------------------------------------------------------------------
    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> Tensor:
        rewards: Tensor = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)  # type: ignore[misc]
        columns = [isinstance(f, torch.nn.Module) for f in self.reward_funcs]  # None cannot come out of a model
        model = torch.tensor(columns, dtype=torch.bool, device=rewards.device)
        bad = (rewards.isinf() | (rewards.isnan() & model)).any(0).tolist()
        if any(bad):
            name = self.reward_func_names[bad.index(True)]
            raise DataError(
                f"the reward function {name!r} gave a reward that is not finite at step {self._hicra_step}",
                expected="finite numbers",
                mend="look at what it returns for empty, cut-off or unparsable completions",
            )
        local = slice(self.args.process_index * len(prompts), (self.args.process_index + 1) * len(prompts))
        total = (rewards * self.reward_weights.to(rewards.device)).nansum(1)
        total = total.masked_fill(rewards.isnan().all(1), math.nan)[local]
        self._hicra_scored = {
            "rewards": total.double().tolist(),
            "token_ids": [list(map(int, ids)) for ids in completion_ids_list],
            "names": [prompt_name(prompt, row) for prompt, row in zip(prompts, inputs, strict=True)],
            "completions": completions,
        }
        return rewards

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        scored, self._hicra_scored = self._hicra_scored, {}
        mode, step = self._hicra_mode, int(self.state.global_step)
        ids, mask = output["completion_ids"], output["completion_mask"].bool()
        if "tool_mask" in output:  # what a tool or an environment wrote is not the policy's
            mask = mask & output["tool_mask"].bool()
        if mode == "train" and self.credit.redraw_due(step):
            self._redraw_placebo([completion_text(c) for c in scored.get("completions", ())], step)
        # models often have more rows than their tokenizer has tokens: such an id has no text, so it plans nothing
        labels = self.credit.plan(ids, mask & (ids < len(self.credit.labeller.vocab)), step=step)
        if len(scored.get("rewards", ())) != len(ids):
            raise ConfigError(
                f"{type(self).__name__} returns other completions than those it scored: their rewards are unknown",
                expected=f"{len(ids)} rewards, one for each completion of the batch",
                got=str(len(scored.get("rewards", ()))),
                mend="keep whole batches in _generate_and_score_completions, or use hicra.credit.HicraCredit by hand",
            )
        before = output["advantages"]
        if not self.credit.config.row.needs_entropies:
            output["advantages"] = self.credit.advantages(before, labels, step=step, mask=mask)
        group_size = self.num_generations if mode == "train" else self.num_generations_eval
        first = self.args.process_index * len(ids)
        groups_each = len(ids) * self.args.world_size // group_size
        ends = {*self.eos_token_ids, self._tokenizer.pad_token_id}
        self._hicra_generations[mode] = Generation(
            number=self._hicra_number,
            alpha=self.credit.alpha(step),
            prompts=(output["prompt_ids"], output["prompt_mask"]),
            prompt_ids=scored["names"],
            token_ids=scored["token_ids"],
            groups=[self._hicra_number * groups_each + (first + i) // group_size for i in range(len(ids))],
            rewards=scored["rewards"],
            truncated=[not row or row[-1] not in ends for row in scored["token_ids"]],
            mask=mask,
            labels=labels,
            advantages=before,
        )
        if mode == "train":
            self._hicra_number += 1
            self._look_at_first_batch(labels.mask, mask)
        output["planning_mask"] = labels.mask & mask
        output[ROW] = torch.arange(len(ids), device=ids.device)
        return output

    def _redraw_placebo(self, texts: list[str], step: int) -> None:
        try:
            grams = self.credit.redraw(gather_object(texts), step=step)
            text = f"the placebo was drawn anew from this batch: {grams.name}"
        except DataError as error:  # every process sees the same texts, so all of them keep the old one
            text = f"the placebo stays as it was, this batch is too small to draw it anew: {error.problem}"
            warnings.warn(text, HicraWarning, stacklevel=2)
        self._note(text)

    def _note(self, text: str) -> None:
        if self.run_writer is not None and self.args.process_index == 0:
            self.run_writer.note(self._hicra_step, text)

    def _look_at_first_batch(self, planning: Tensor, mask: Tensor) -> None:
        tokens = 0 if self._hicra_looked else int(mask.sum())
        if not tokens:  # a batch may be masked out as a whole, e.g. where all of it is truncated
            return
        self._hicra_looked = True
        share = int((planning & mask).sum()) / tokens
        tokenizer = getattr(self._tokenizer, "name_or_path", "") or type(self._tokenizer).__name__
        odd = share_warning(share, self.credit.grams.name, tokenizer)
        if self.args.process_index == 0 and odd:
            text = f"of the first batch, {odd}. Look at what is labelled with `hicra label --audit`."
            warnings.warn(text, HicraWarning, stacklevel=2)
            self._note(text)

    # --- what the loss knows -----------------------------------------------------------------------------------------
    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        result = super()._get_per_token_logps_and_entropies(*args, **kwargs)  # type: ignore[misc]
        batch = self._hicra_in_loss
        if batch is not None and "hicra_seen" not in batch and result[1] is not None:
            logprobs, entropies = result[0].detach(), result[1].detach()
            batch["hicra_seen"] = (logprobs, entropies)
            if self.credit.config.row.needs_entropies:  # the loss reads the advantages after this forward
                labels, mask = self._hicra_generations[self._hicra_mode].rows_of(batch[ROW])
                step = int(self.state.global_step)
                batch["advantages"] = self.credit.advantages(
                    batch["advantages"], labels, entropies, step=step, mask=mask
                )
        return result

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        mode = self._hicra_mode
        generation = self._hicra_generations.get(mode)
        if ROW not in inputs or generation is None:
            return super()._compute_loss(model, inputs)  # type: ignore[misc, no-any-return]
        batch = dict(inputs)  # TRL's buffer may come again: what is added here must not stay in it
        self._hicra_in_loss = batch
        try:
            loss: Tensor = super()._compute_loss(model, batch)  # type: ignore[misc]
        finally:
            self._hicra_in_loss = None
        meter = self._hicra_meters[mode]
        meter.add_loss(loss)
        if "hicra_seen" in batch and not generation.complete():
            logprobs, entropies = batch["hicra_seen"]
            generation.observe(
                self.credit, inputs[ROW], logprobs, entropies, batch["advantages"], step=self._hicra_step
            )
            if generation.complete():
                meter.add(generation)
                if mode == "train" and self.run_writer is not None:
                    self._hicra_complete.append(generation)
        return loss

    # --- logs and the run directory ----------------------------------------------------------------------------------
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
        super()._maybe_log_save_evaluate(
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
        metrics = meter.step(self._metrics["train"])
        if self._hicra_gauge is not None:  # reduced sums are the same on every rank, so the gauge is
            self.credit.gauge = self._hicra_gauge.update(-metrics.get("logprob_execution", math.nan))
            metrics["competence"] = self.credit.gauge
            self._metrics["train"]["hicra/competence"].append(self.credit.gauge)
        if writer is None:
            return
        complete, self._hicra_complete = self._hicra_complete, []
        rank, group_size = self.args.process_index, self.num_generations
        groups_each = len(complete[0]) * self.args.world_size // group_size if complete else 0
        keep = groups_to_keep(complete, group_size, groups_each, self.args.rollouts_per_step)
        rows = [rows_of(g, step=step, rank=rank, keep=keep, text=self._hicra_text) for g in complete]
        writer.write_rows(step, [r for c, _ in rows for r in c], [r for _, k in rows for r in k])
        self.accelerator.wait_for_everyone()
        metrics = meter.step(self._metrics["train"])
        if rank == 0:
            norm = grad_norm.item() if isinstance(grad_norm, torch.Tensor) else grad_norm
            extra = {"grad_norm": norm, "learning_rate": learning_rate, "epoch": self.state.epoch}
            alarms, fresh = self._hicra_watch.step(step, metrics)
            writer.commit(step, metrics | extra | alarms | {"num_tokens": self.state.num_input_tokens_seen})
            for says in fresh:
                writer.note(step, f"alarm: {says.partition(': ')[2]}")
            for name, value in alarms.items():
                self._metrics["train"][f"hicra/{name}"].append(value)

    def _begin_run(self, resume_step: int | None) -> None:
        self._hicra_committed, self._hicra_complete = resume_step, []
        if self.credit.follows_gauge:
            self._hicra_gauge, self.credit.gauge = Gauge(), 0.0
        if not self.args.record:
            return
        config = {"trainer": self.args.to_dict(), "credit": asdict(self.credit.config), **self.run_notes}
        config["model"] = getattr(self.model.config, "name_or_path", None) or None
        config["reward"] = list(self.reward_func_names)
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

    # --- small facts -------------------------------------------------------------------------------------------------
    @property
    def _hicra_mode(self) -> str:
        return "train" if self.model.training else "eval"

    @property
    def _hicra_step(self) -> int:
        """The optimizer step that is being made, counted from 1."""
        return int(self.state.global_step) + 1


class HICRATrainer(HICRAMixin, GRPOTrainer):  # type: ignore[misc]
    """TRL's `GRPOTrainer` with HICRA (arXiv 2509.03646). Arguments as `GRPOTrainer`, `args` a `HICRAConfig`.

    Args:
        args: default: `HICRAConfig`'s defaults, the paper's settings.
        credit: see `HICRAMixin`.
    """

    _tag_names = ["trl", "grpo", "hicra"]  # noqa: RUF012
    _name = "HICRA"

    def __init__(
        self, model: Any, reward_funcs: Any = None, args: HICRAConfig | None = None, *rest: Any, **kwargs: Any
    ) -> None:
        if args is None:
            name = model if isinstance(model, str) else getattr(model.config, "name_or_path", "") or "model"
            args = HICRAConfig(f"{Path(name).name}-HICRA")
        super().__init__(model, reward_funcs, args, *rest, **kwargs)


def _flat(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    """Numbers of a log line under the run directory's names."""
    numbers = {k: v for k, v in metrics.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return {flat_name(name): float(value) for name, value in numbers.items()}
