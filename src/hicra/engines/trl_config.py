"""Settings of a HICRA run in TRL: `GRPOConfig` with the defaults of the paper, the credit and the run directory.

Everything that can be wrong is refused here, before a model is loaded.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

from trl import GRPOConfig

from hicra.credit.config import CreditConfig
from hicra.engines.resume import steps_per_boundary
from hicra.engines.trl_options import DONE_BY_TRL, CreditOptions, option
from hicra.errors import ConfigError, HicraWarning

_PER_TOKEN = ("dapo", "cispo", "vespo")
"""Losses that divide by the tokens of the whole batch."""


@dataclass
class HICRAConfig(CreditOptions, GRPOConfig):  # type: ignore[misc]
    """`GRPOConfig` whose defaults are those of arXiv 2509.03646, and what HICRA adds to it.

    Attributes:
        alpha ... rollouts_per_step: see `hicra.engines.trl_options.CreditOptions`.
        filter_groups: leave groups whose rewards are all equal out of the number of tokens that the loss divides by.
            Their advantages are 0, so they have no gradient to give and only water down that of the others.

    Raises:
        ConfigError: alpha out of [0, 1), an unknown estimator or schedule, token credit with a loss that has none
            (``importance_sampling_level="sequence"``), or checkpoints that cannot fall on generation boundaries.
        DataError: an unknown or unreadable gram set.
    """

    # the paper's settings where TRL's defaults differ
    loss_type: str = option("dapo", "Loss. Paper: token-level.")
    scale_rewards: str = option("none", "Scaling of rewards. Paper: none, the advantage is reward minus group mean.")
    epsilon: float = option(0.2, "Lower clip range.")
    epsilon_high: float | None = option(0.28, "Upper clip range (clip-higher).")
    beta: float = option(0.0, "KL coefficient. Paper: no KL term.")

    filter_groups: bool = option(False, "Leave groups whose rewards are all equal out of the loss's mean.")

    def __post_init__(self) -> None:
        credit = self.check_credit()
        self._set_trl_controls()
        super().__post_init__()
        self._check_sequence_level(credit)
        self._check_filter()
        self._put_checkpoints_on_boundaries()

    @property
    def steps_between_boundaries(self) -> int:
        """Optimizer steps between generation boundaries."""
        return steps_per_boundary(self.steps_per_generation * self.num_iterations, self.gradient_accumulation_steps)

    def _set_trl_controls(self) -> None:
        if self.observe or self.estimator not in DONE_BY_TRL:
            return
        option, off, ours = DONE_BY_TRL[self.estimator]
        set_to, wanted = getattr(self, option), getattr(self, ours)
        if set_to not in (off, wanted):
            raise ConfigError(
                f"the estimator {self.estimator!r} is TRL's {option}, which is set to something else",
                expected=f"{option}={wanted} (from {ours}), or not set",
                got=f"{option}={set_to}",
                mend=f"set {ours}={set_to} and leave {option} out",
            )
        setattr(self, option, wanted)

    def _check_sequence_level(self, credit: CreditConfig) -> None:
        # one ratio a completion has one gradient for all its tokens: their advantages collapse to the row's mean
        if self.importance_sampling_level != "sequence" or not credit.token_level:
            return
        note = " The loss 'luspo' is made for sequence-level ratios: observe it." if self.loss_type == "luspo" else ""
        raise ConfigError(
            "importance_sampling_level='sequence' has one ratio for a whole completion, so credit that differs between "
            "its tokens would be averaged away",
            expected="importance_sampling_level='token', or credit that changes nothing",
            got=f"estimator {credit.estimator!r} with alpha up to {credit.max_alpha:g}",
            mend="set importance_sampling_level='token' (with loss_type 'dapo' or 'grpo'), or observe=True to measure "
            "a sequence-level run without changing it." + note,
        )

    def _check_filter(self) -> None:
        if not self.filter_groups:
            return
        if self.loss_type not in _PER_TOKEN:
            raise ConfigError(
                "filter_groups has no effect on this loss: it divides by completions, not by the batch's tokens",
                expected=f"loss_type {' | '.join(_PER_TOKEN)}",
                got=self.loss_type,
                mend="set loss_type='dapo' (the paper's), or leave filter_groups out",
            )
        if self.multi_objective_aggregation != "sum_then_normalize":
            raise ConfigError(
                "filter_groups needs groups whose advantages are 0 where their rewards are equal",
                expected="multi_objective_aggregation='sum_then_normalize'",
                got=self.multi_objective_aggregation,
            )

    def _put_checkpoints_on_boundaries(self) -> None:
        span = self.steps_between_boundaries
        if span == 1:
            return
        why = f"one generation lasts {span} optimizer steps, and training resumes exactly only between generations"
        save_steps: float = getattr(self, "save_steps")  # noqa: B009  # mypy sees the assignment below only
        strategy = str(getattr(self.save_strategy, "value", self.save_strategy))
        if strategy == "no":
            return
        if strategy == "best" or (self.load_best_model_at_end and strategy == "steps"):
            which, every = ("eval_steps", self.eval_steps) if strategy == "best" else ("save_steps", save_steps)
            if every is None or every != int(every) or int(every) % span:
                raise ConfigError(
                    f"the best checkpoint would fall within a generation: {why}",
                    expected=f"{which} a multiple of {span}",
                    got=f"{which}={every}",
                    mend=f"{which}={span * max(1, math.ceil((every or span) / span))}",
                )
            return
        if strategy == "steps" and save_steps >= 1 and save_steps % span:
            rounded = math.ceil(save_steps / span) * span
            warnings.warn(f"save_steps={int(save_steps)} becomes {rounded}: {why}", HicraWarning, stacklevel=4)
            self.save_steps = rounded
