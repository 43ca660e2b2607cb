"""What HICRA adds to the settings of TRL's trainers: the credit and the run directory."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hicra.credit.config import CreditConfig
from hicra.engines.table import check_kept
from hicra.grams.gramset import GramSet

DONE_BY_TRL = {
    "entropy_bonus": ("entropy_coef", 0.0, "entropy_bonus"),
    "top_entropy": ("top_entropy_quantile", 1.0, "entropy_share"),
}
"""Estimator -> TRL's option for it, the option's off value, and our setting that it takes."""


def option(default: Any, text: str) -> Any:
    """A field with TRL's kind of help."""
    return field(default=default, metadata={"help": text})


@dataclass
class CreditOptions:
    """Fields of `hicra.credit.CreditConfig` and of the run directory, to be put in front of a config class of TRL.

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
    """

    if TYPE_CHECKING:  # what the trainer's config brings along
        output_dir: str
        seed: int

    alpha: float = option(0.2, "Share of |A| that planning tokens get on top, in [0, 1). 0 is GRPO.")
    grams: str = option("paper", "Name or path of the set of Strategic Grams; tagger for the tagger.")
    soft: bool = option(False, "Scale alpha by the probability that a token plans; with the tagger.")
    estimator: str = option("hicra", "How credit is shaped: a name in hicra.credit.ESTIMATORS.")
    alpha_schedule: str = option("constant", "How alpha goes over optimizer steps: constant, warmup or competence.")
    alpha_warmup_steps: int = option(0, "Optimizer steps over which alpha rises from 0.")
    alpha_gate: float = option(0.5, "With competence: alpha is 0 while the gauge is at or below it.")
    placebo_redraw_every: int = option(0, "Optimizer steps after which the placebo is drawn anew; 0: never.")
    entropy_beta: float = option(0.4, "Of the estimator entropy_advantage: weight of the entropy.")
    entropy_kappa: float = option(2.0, "Of the estimator entropy_advantage: the change is at most |A| / kappa.")
    entropy_share: float = option(0.2, "Of the estimator top_entropy: sets top_entropy_quantile.")
    entropy_bonus: float = option(0.01, "Of the estimator entropy_bonus: sets entropy_coef.")

    observe: bool = option(False, "Train as GRPO and measure everything that HICRA measures.")
    record: bool = option(True, "Write a run directory.")
    run_dir: str | None = option(None, "The run directory. Default: <output_dir>/hicra_run.")
    rollouts_per_step: int = option(64, "Completions kept with text each step, in whole groups. 0 keeps no text.")

    def check_credit(self) -> CreditConfig:
        """The credit, once its settings have proved right.

        Raises:
            ConfigError: a setting out of range, or an unknown name.
            DataError: an unknown or unreadable gram set.
        """
        credit = self.credit_config()  # validates itself
        GramSet.load(self.grams)
        check_kept(self.rollouts_per_step)
        return credit

    def credit_config(self) -> CreditConfig:
        """The part that `hicra.credit` is to do; its seed is the run's.

        Plain "grpo" in observe mode, and for the two controls that TRL does itself.
        """
        credit = CreditConfig(**{f.name: getattr(self, f.name) for f in fields(CreditConfig)})
        return replace(credit, estimator="grpo") if self.observe or self.estimator in DONE_BY_TRL else credit

    @property
    def run_path(self) -> Path:
        """The run directory."""
        return Path(self.run_dir) if self.run_dir is not None else Path(self.output_dir) / "hicra_run"
