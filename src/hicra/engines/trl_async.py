"""HICRA on TRL's asynchronous GRPO (`trl.experimental.async_grpo`, one of TRL's experiments: it may change any day).

| method of TRL | what is added |
|---|---|
| `get_train_dataloader` | the collator labels the samples of a micro-batch and shapes their advantages |
| `compute_loss` | keeps the log-probs and entropies of its forward |
| `log`, `_maybe_log_save_evaluate` | metrics and the run directory, see trl_record.py |
| `train` | the run directory begins, or goes on |

TRL packs micro-batches of samples in the main process, whatever the number of processes. There credit is given, on the
host: no token is labelled twice, and no device is waited for. What the loss computed is gathered there too and read
once a step.

What differs from the synchronous engine: alpha is that of the step at which a micro-batch was packed, which for the
first micro-batch of a step is the step before; a log-probability that is not finite stops the run at the end of the
step, after the weights were touched; a resume goes on from the next prompts, as TRL's does, and repeats nothing; and
only groups that were trained on as a whole within one step are kept with their text.

Letters: P processes, M trained tokens of a row (padded), B samples of a micro-batch, T tokens of a completion (padded).
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers.trainer_utils import get_last_checkpoint
from trl.experimental.async_grpo import AsyncGRPOConfig, AsyncGRPOTrainer

from hicra.credit.apply import HicraCredit
from hicra.credit.sums import Sums
from hicra.engines.generation import Generation
from hicra.engines.record import prompt_name
from hicra.engines.resume import checkpoint_step
from hicra.engines.trl_options import DONE_BY_TRL, CreditOptions, option
from hicra.engines.trl_record import RecordMixin
from hicra.errors import ConfigError, DataError

__all__ = ["AsyncHICRAConfig", "AsyncHICRAMixin", "AsyncHICRATrainer"]


@dataclass
class AsyncHICRAConfig(CreditOptions, AsyncGRPOConfig):  # type: ignore[misc]
    """`AsyncGRPOConfig` with the clip range of arXiv 2509.03646, and what HICRA adds to it.

    Attributes:
        alpha ... rollouts_per_step: see `hicra.engines.trl_options.CreditOptions`.
        scale_rewards: "none": the advantage is the reward minus the group's mean, as in the paper; "group": divided by
            the group's standard deviation, as TRL's rollout worker does it.

    Raises:
        ConfigError: a setting of the credit that is wrong, or an estimator that has to see entropies before the loss,
            which this trainer has not.
        DataError: an unknown or unreadable gram set.
    """

    epsilon: float = option(0.2, "Lower clip range.")
    epsilon_high: float | None = option(0.28, "Upper clip range (clip-higher).")
    scale_rewards: str = option("none", "Scaling of rewards: none (the paper) or group (TRL's rollout worker).")

    def __post_init__(self) -> None:
        credit = self.check_credit()
        if credit.row.needs_entropies or (self.estimator in DONE_BY_TRL and not self.observe):
            raise ConfigError(
                f"the estimator {self.estimator!r} works on entropies, and asynchronous GRPO has none before its loss",
                expected="an estimator of labels, e.g. hicra, placebo or random_mask",
                mend="train it with HICRATrainer",
            )
        if self.placebo_redraw_every:
            raise ConfigError(
                "the placebo cannot be drawn anew here: samples come one by one, from policies of several ages",
                expected="placebo_redraw_every=0",
                got=str(self.placebo_redraw_every),
            )
        if self.scale_rewards not in ("none", "group"):
            raise ConfigError("unknown scale_rewards", expected="none | group", got=repr(self.scale_rewards))
        super().__post_init__()


@dataclass(frozen=True)
class _Packed:
    """A micro-batch of all processes, from the collator to the end of the step."""

    generation: Generation
    sizes: list[int]
    """Trained tokens of each of the P rows."""
    advantages: torch.Tensor
    """What they are trained with, (B,) or (B,T)."""


class AsyncHICRAMixin(RecordMixin):
    """Adds HICRA to a subclass of `AsyncGRPOTrainer`; put it first. Its `args` must be an `AsyncHICRAConfig`.

    Args:
        credit: a ready-made `HicraCredit` instead of the one that the config describes.

    Raises:
        ConfigError: `args` is no `AsyncHICRAConfig`.
        DataError: during training: rewards or log-probabilities that are not finite.
    """

    def __init__(self, *args: Any, credit: HicraCredit | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not isinstance(self.args, AsyncHICRAConfig):
            raise ConfigError(
                f"{type(self).__name__} needs its settings in an AsyncHICRAConfig",
                expected="args=AsyncHICRAConfig(...)",
                got=type(self.args).__name__,
                mend="AsyncHICRAConfig takes everything that AsyncGRPOConfig takes",
            )
        tokenizer = self.processing_class
        self._hicra_begin(credit or HicraCredit(self.args.credit_config(), tokenizer), tokenizer)
        self._hicra_packed: deque[_Packed] = deque()  # not yet trained on; in the main process only, as the next
        self._hicra_seen: list[tuple[_Packed, torch.Tensor]] = []  # of the step that is being made
        self._hicra_number = 0

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """As TRL's.

        Raises:
            RunDirError: a fresh run into a run directory that holds one.
        """
        found = get_last_checkpoint(self.args.output_dir) if resume_from_checkpoint is True else resume_from_checkpoint
        self._hicra_packed.clear()
        self._begin_run(checkpoint_step(Path(found)) if found else None)
        return super().train(found or None, *args, **kwargs)  # type: ignore[misc]

    # --- advantages --------------------------------------------------------------------------------------------------
    def get_train_dataloader(self) -> Any:
        """TRL's, with a collator that also gives credit."""
        loader = super().get_train_dataloader()  # type: ignore[misc]
        inner = loader.base_dataloader  # accelerate's own loader hands its collator's batches out to the processes
        collate: Callable[[Any], dict[str, Any]] = inner.collate_fn

        def with_credit(examples: list[Any]) -> dict[str, Any]:
            (rows,) = examples
            samples = [sample for row in rows for sample in row.samples]
            if self.args.scale_rewards == "none":
                for sample in samples:
                    sample["advantage"] *= _deviation(sample) + 1e-8  # what TRL's worker has divided by
            batch = collate(examples)
            packed = self._hicra_pack(samples, [int(row.trained) for row in rows])
            if packed.advantages.ndim == 2:  # as flat as the loss wants them: row by row, sample by sample
                flat = packed.advantages[packed.generation.mask].to(batch["advantages"].dtype)
                for row, values in enumerate(torch.split(flat, packed.sizes)):
                    batch["advantages"][row, : len(values)] = values
            self._hicra_packed.append(packed)
            return batch

        inner.collate_fn = with_credit
        return loader

    def _hicra_pack(self, samples: Sequence[dict[str, Any]], sizes: list[int]) -> _Packed:
        """Labels and advantages of B samples: dictionaries with ids, mask, advantage and group."""
        step = int(self.state.global_step)
        prompts, completions, trained = [], [], []
        for sample in samples:
            ids, mask = torch.as_tensor(sample["input_ids"]), torch.as_tensor(sample["completion_mask"]).bool()
            first = int(mask.int().argmax())
            prompts.append(ids[:first])
            completions.append(ids[first:])
            trained.append(mask[first:])
        ids, mask = pad_sequence(completions, True), pad_sequence(trained, True)
        before = torch.tensor([float(sample["advantage"]) for sample in samples])
        labels = self.credit.plan(ids, mask & (ids < len(self.credit.labeller.vocab)), step=step)
        self._hicra_look_at_first_batch(labels.mask, mask)
        token_ids = [row.tolist() for row in completions]
        ends = {*self.eos_token_ids, self._hicra_tokenizer.pad_token_id}
        generation = Generation(
            number=self._hicra_number,
            alpha=self.credit.alpha(step),
            prompts=(pad_sequence(prompts, True), pad_sequence([torch.ones_like(p) for p in prompts], True)),
            prompt_ids=[prompt_name(row.tolist(), {}) for row in prompts],
            token_ids=token_ids,
            groups=[int(sample["group_id"]) for sample in samples],
            rewards=[float(sample["metrics"].get("reward", math.nan)) for sample in samples],
            truncated=[not row or row[-1] not in ends for row in token_ids],
            mask=mask,
            labels=labels,
            advantages=before,
        )
        self._hicra_number += 1
        return _Packed(generation, sizes, self.credit.advantages(before, labels, step=step, mask=mask))

    # --- what the loss knows -----------------------------------------------------------------------------------------
    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """TRL's loss on advantages that were shaped already; its forward is listened to."""
        outputs: list[Any] = []

        def listened(**given: Any) -> Any:
            outputs.append(model(**given))
            return outputs[-1]

        loss = super().compute_loss(listened, inputs, *args, **kwargs)  # type: ignore[misc]
        self._hicra_meters["train"].add_loss(loss)
        index = inputs["token_index"][0].clamp(min=0)  # (M,); what the padding points at is cut off below
        found = [value.detach().flatten()[index].float() for value in (outputs[0].log_probs, outputs[0].entropy)]
        table = self.accelerator.gather(torch.stack(found).unsqueeze(0))  # (P,2,M)
        if self.accelerator.is_main_process:
            self._hicra_seen.append((self._hicra_packed.popleft(), table))
        return loss

    def _commit_step(self, grad_norm: Any, learning_rate: float | None) -> None:
        seen, self._hicra_seen = self._hicra_seen, []
        for packed, table in seen:
            generation, host = packed.generation, table.cpu()
            flat = torch.cat([row[:, :size] for row, size in zip(host, packed.sizes, strict=True)], 1)
            logprobs, entropies = (torch.zeros(generation.mask.shape) for _ in range(2))
            logprobs[generation.mask], entropies[generation.mask] = flat[0], flat[1]
            rows = torch.arange(len(generation))
            took = generation.look(rows, logprobs, entropies)
            generation.observe(self.credit, rows, took, packed.advantages, step=int(self.state.global_step))
            assert generation.sums is not None
            generation.sums = Sums.from_tensor(generation.sums.to_tensor().to(self.accelerator.device))
            self._hicra_meters["train"].add(generation)
            self._hicra_complete.append(generation)
        super()._commit_step(grad_norm, learning_rate)
        self._hicra_complete = []

    def _hicra_groups_to_keep(self, complete: Sequence[Generation]) -> set[int]:
        limit, group_size = self.args.rollouts_per_step, self.args.num_generations
        if limit <= 0:
            return set()
        rows = Counter(group for generation in complete for group in generation.groups)
        whole = [group for group, count in rows.items() if count >= group_size]
        return set(whole[: max(1, limit // group_size)])

    def _hicra_trl_metrics(self) -> dict[str, list[float]]:
        """Those of TRL's metrics whose mean over a step says something: no pairs, no counters."""
        metrics = self._metrics["train"]
        return {k: v for k, v in metrics.items() if v and not isinstance(v[0], tuple) and not k.endswith("_total")}


class AsyncHICRATrainer(AsyncHICRAMixin, AsyncGRPOTrainer):  # type: ignore[misc]
    """TRL's `AsyncGRPOTrainer` with HICRA (arXiv 2509.03646). Arguments as there, `args` an `AsyncHICRAConfig`."""

    _tag_names = ["trl", "async-grpo", "hicra"]  # noqa: RUF012
    _name = "AsyncHICRA"

    def __init__(
        self, model: str, reward_funcs: Any = None, args: AsyncHICRAConfig | None = None, *rest: Any, **kwargs: Any
    ) -> None:
        super().__init__(model, reward_funcs, args or AsyncHICRAConfig(f"{Path(model).name}-HICRA"), *rest, **kwargs)


def _deviation(sample: dict[str, Any]) -> float:
    """The standard deviation of the rewards of a sample's group."""
    try:
        deviation = float(sample["metrics"]["reward_std"])
    except KeyError:
        raise DataError(
            "the rollout worker says no 'reward_std' with its samples, so their scaling cannot be undone",
            expected='metrics["reward_std"] in every sample, as TRL\'s own worker gives it',
            mend="set scale_rewards='group' and scale advantages in the worker as you like",
        ) from None
    return 0.0 if math.isnan(deviation) else deviation  # of a group without a score; its advantages are 0
