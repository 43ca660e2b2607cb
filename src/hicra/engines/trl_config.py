"""Settings of a HICRA run in TRL: `GRPOConfig` with the defaults of the paper, the credit and the run directory.

Everything that can be wrong is refused here, before a model is loaded.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from trl import GRPOConfig

from hicra.credit.config import CreditConfig
from hicra.engines.notice import HicraWarning
from hicra.engines.resume import steps_per_boundary
from hicra.errors import ConfigError
from hicra.grams.gramset import GramSet

_DONE_BY_TRL = {
    "entropy_bonus": ("entropy_coef", 0.0, "entropy_bonus"),
    "top_entropy": ("top_entropy_quantile", 1.0, "entropy_share"),
}
"""Estimator -> TRL's option for it, the option's off value, and our setting that it takes."""


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass
class HICRAConfig(GRPOConfig):  # type: ignore[misc]
    """`GRPOConfig` whose defaults are those of arXiv 2509.03646, and what HICRA adds to it.

    Attributes:
        alpha: share of |A| that planning tokens get on top, in [0, 1); 0 is GRPO.
        grams: name or path of the gram set.
        estimator: how credit is shaped, a name in `hicra.credit.ESTIMATORS`.
        alpha_schedule: "constant", "warmup" (linear, from 0) or "competence" (docs/competence.md).
        alpha_warmup_steps: optimizer steps of the warm-up.
        alpha_gate: where competence begins to count.
        placebo_redraw_every, entropy_beta, entropy_kappa, entropy_share, entropy_bonus: of the controls, see
            `hicra.credit.CreditConfig`. "entropy_bonus" and "top_entropy" are TRL's own options and set these.
        observe: change nothing (alpha 0) and measure everything: for any GRPO run.
        record: write a run directory.
        run_dir: where; None: ``<output_dir>/hicra_run``.
        rollouts_per_step: completions kept with their text each step, in whole groups; 0 keeps no text.

    Raises:
        ConfigError: alpha out of [0, 1), an unknown estimator or schedule, token credit with a loss that has none
            (``importance_sampling_level="sequence"``), or checkpoints that cannot fall on generation boundaries.
        DataError: an unknown or unreadable gram set.
    """

    # the paper's settings where TRL's defaults differ
    loss_type: str = _option("dapo", "Loss. Paper: token-level.")
    scale_rewards: str = _option("none", "Scaling of rewards. Paper: none, the advantage is reward minus group mean.")
    epsilon: float = _option(0.2, "Lower clip range.")
    epsilon_high: float | None = _option(0.28, "Upper clip range (clip-higher).")
    beta: float = _option(0.0, "KL coefficient. Paper: no KL term.")

    alpha: float = _option(0.2, "Share of |A| that planning tokens get on top, in [0, 1). 0 is GRPO.")
    grams: str = _option("paper", "Name or path of the set of Strategic Grams.")
    estimator: str = _option("hicra", "How credit is shaped: a name in hicra.credit.ESTIMATORS.")
    alpha_schedule: str = _option("constant", "How alpha goes over optimizer steps: constant, warmup or competence.")
    alpha_warmup_steps: int = _option(0, "Optimizer steps over which alpha rises from 0.")
    alpha_gate: float = _option(0.5, "With competence: alpha is 0 while the gauge is at or below it.")
    placebo_redraw_every: int = _option(0, "Optimizer steps after which the placebo is drawn anew; 0: never.")
    entropy_beta: float = _option(0.4, "Of the estimator entropy_advantage: weight of the entropy.")
    entropy_kappa: float = _option(2.0, "Of the estimator entropy_advantage: the change is at most |A| / kappa.")
    entropy_share: float = _option(0.2, "Of the estimator top_entropy: sets top_entropy_quantile.")
    entropy_bonus: float = _option(0.01, "Of the estimator entropy_bonus: sets entropy_coef.")

    observe: bool = _option(False, "Train as GRPO and measure everything that HICRA measures.")
    record: bool = _option(True, "Write a run directory.")
    run_dir: str | None = _option(None, "The run directory. Default: <output_dir>/hicra_run.")
    rollouts_per_step: int = _option(64, "Completions kept with text each step, in whole groups. 0 keeps no text.")

    def __post_init__(self) -> None:
        credit = self.credit_config()  # validates itself
        GramSet.load(self.grams)
        if self.rollouts_per_step < 0:
            raise ConfigError(
                "rollouts_per_step is negative",
                expected="a number of completions, 0 for none",
                got=str(self.rollouts_per_step),
            )
        self._set_trl_controls()
        super().__post_init__()
        self._check_sequence_level(credit)
        self._put_checkpoints_on_boundaries()

    def credit_config(self) -> CreditConfig:
        """The part that `hicra.credit` is to do; its seed is the run's.

        Plain "grpo" in observe mode, and for the two controls that TRL does itself.
        """
        credit = CreditConfig(**{f.name: getattr(self, f.name) for f in fields(CreditConfig)})
        return replace(credit, estimator="grpo") if self.observe or self.estimator in _DONE_BY_TRL else credit

    @property
    def run_path(self) -> Path:
        """The run directory."""
        return Path(self.run_dir) if self.run_dir is not None else Path(self.output_dir) / "hicra_run"

    @property
    def steps_between_boundaries(self) -> int:
        """Optimizer steps between generation boundaries."""
        return steps_per_boundary(self.steps_per_generation * self.num_iterations, self.gradient_accumulation_steps)

    def _set_trl_controls(self) -> None:
        if self.observe or self.estimator not in _DONE_BY_TRL:
            return
        option, off, ours = _DONE_BY_TRL[self.estimator]
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
