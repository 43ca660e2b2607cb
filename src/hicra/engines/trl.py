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
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import gather_object  # type: ignore[import-untyped, unused-ignore]
from trl import GRPOTrainer

from hicra.credit.apply import HicraCredit
from hicra.engines.generation import ROW, Generation
from hicra.engines.notice import redraw_placebo
from hicra.engines.record import prompt_name
from hicra.engines.rewards import checked, completion_text, differing
from hicra.engines.trl_config import HICRAConfig
from hicra.engines.trl_record import RecordMixin
from hicra.engines.trl_resume import ExactResumeMixin
from hicra.errors import ConfigError, DataError, HicraWarning

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["HICRAConfig", "HICRAMixin", "HICRATrainer", "HicraWarning"]


class HICRAMixin(RecordMixin, ExactResumeMixin):
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
        self._hicra_begin(credit or HicraCredit(self.args.credit_config(), self._tokenizer), self._tokenizer)
        functions = getattr(self, "reward_funcs")  # noqa: B009  # mypy sees the assignment below only
        self.reward_funcs = [
            function if isinstance(function, torch.nn.Module) else checked(function, name, lambda: self._hicra_step)
            for function, name in zip(functions, self.reward_func_names, strict=True)
        ]
        self._hicra_scored: dict[str, Any] = {}  # of the batch that is being scored
        self._hicra_generations: dict[str, Generation] = {}  # the newest of each mode
        self._hicra_number = 0
        self._hicra_in_loss: dict[str, Any] | None = None

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
        total = total.masked_fill(rewards.isnan().all(1), math.nan)
        kept = differing(total, self._hicra_group_size)
        total = total[local]
        self._hicra_scored = {
            "kept": kept[local],
            "rewards": total.double().tolist(),
            "token_ids": [list(map(int, ids)) for ids in completion_ids_list],
            "names": self._hicra_names(prompts, inputs),
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
            # every process sees the same texts, so all draw alike, or all keep the old one
            texts = gather_object([completion_text(c) for c in scored.get("completions", ())])
            self._note(redraw_placebo(self.credit, texts, step))
        labels = self.credit.plan(ids, mask & self._hicra_has_text(ids), step=step)
        if len(scored.get("rewards", ())) != len(ids):
            raise ConfigError(
                f"{type(self).__name__} returns other completions than those it scored: their rewards are unknown",
                expected=f"{len(ids)} rewards, one for each completion of the batch",
                got=str(len(scored.get("rewards", ()))),
                mend="keep whole batches in _generate_and_score_completions, or use hicra.credit.HicraCredit by hand",
            )
        if mode == "train" and self.args.filter_groups:  # a group without differences has advantages of 0 already
            counted = (mask & scored["kept"].unsqueeze(1)).sum()
            output["num_items_in_batch"] = self.accelerator.gather(counted).sum()
        before = output["advantages"]
        if not self.credit.config.row.needs_entropies:
            output["advantages"] = self.credit.advantages(before, labels, step=step, mask=mask)
        group_size = self._hicra_group_size
        first = self.args.process_index * len(ids)
        groups_each = len(ids) * self.args.world_size // group_size
        ends = {*self.eos_token_ids, self._tokenizer.pad_token_id}
        self._hicra_generations[mode] = Generation(
            number=self._hicra_number,
            alpha=self.credit.alpha(step),
            prompts=(output["prompt_ids"], self._hicra_one_of_each_image(output)),
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
            self._hicra_look_at_first_batch(labels.mask, mask)
        output["planning_mask"] = labels.mask & mask
        output[ROW] = torch.arange(len(ids), device=ids.device)
        return output

    # --- what the loss knows -----------------------------------------------------------------------------------------
    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        result = super()._get_per_token_logps_and_entropies(*args, **kwargs)  # type: ignore[misc]
        batch = self._hicra_in_loss
        if batch is not None and "hicra_seen" not in batch and result[1] is not None:
            logprobs, entropies = result[0].detach(), result[1].detach()
            generation = self._hicra_generations[self._hicra_mode]
            batch["hicra_seen"] = None if generation.complete() else generation.look(batch[ROW], logprobs, entropies)
            if self.credit.config.row.needs_entropies:  # the loss reads the advantages after this forward
                labels, mask = generation.rows_of(batch[ROW])
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
        if (seen := batch.get("hicra_seen")) is not None:
            generation.observe(self.credit, inputs[ROW], seen, batch["advantages"], step=self._hicra_step)
            if generation.complete():
                meter.add(generation)
                if mode == "train" and self.run_writer is not None:
                    self._hicra_complete.append(generation)
        return loss

    # --- small facts -------------------------------------------------------------------------------------------------
    def _hicra_has_text(self, ids: Tensor) -> Tensor:
        """Which tokens can plan: not the vision tokens, nor those that a model has and its tokenizer has not."""
        known = ids < len(self.credit.labeller.vocab)
        for token in (self._image_pad_token_id, self._video_pad_token_id):
            if token is not None:
                known = known & (ids != token)
        return known

    def _hicra_one_of_each_image(self, output: dict[str, Any]) -> Tensor:
        """The prompt mask for reading: of the hundreds of placeholders that an image takes up, the first one."""
        ids, mask = output["prompt_ids"], output["prompt_mask"]
        for token in (self._image_pad_token_id, self._video_pad_token_id):
            if token is not None:
                here = ids == token
                mask = mask.masked_fill(here & torch.nn.functional.pad(here[:, :-1], (1, 0)), 0)
        return mask  # type: ignore[no-any-return]

    def _hicra_names(self, prompts: list[Any], inputs: list[Any]) -> list[str]:
        """Names of prompts, worked out once a group: to name a picture is to read it."""
        first, names = self.args.process_index * len(prompts), dict[int, str]()
        groups = [(first + i) // self._hicra_group_size for i in range(len(prompts))]
        for group, prompt, row in zip(groups, prompts, inputs, strict=True):
            if group not in names:
                names[group] = prompt_name(prompt, row)
        return [names[group] for group in groups]

    @property
    def _hicra_group_size(self) -> int:
        return int(self.num_generations if self._hicra_mode == "train" else self.num_generations_eval)


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
