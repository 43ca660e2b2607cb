"""The settings of credit. Imports neither torch nor an engine; engines embed these fields in their own
configurations."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from hicra.credit.checks import check_alpha
from hicra.credit.estimators import ESTIMATORS, Estimator
from hicra.credit.schedule import SCHEDULES
from hicra.errors import ConfigError


@dataclass(frozen=True)
class CreditConfig:
    """How advantages become token-level credit. The defaults are the paper's (arXiv 2509.03646).

    Attributes:
        estimator: a name of `hicra.credit.ESTIMATORS`.
        alpha: share of |A| added to planning tokens, in [0, 1); 0 observes only: labels and metrics, advantages
            untouched.
        alpha_schedule: a name of `hicra.credit.schedule.SCHEDULES`: "constant", "warmup" or "competence".
        alpha_warmup_steps: optimizer steps from 0 to alpha with "warmup".
        alpha_gate: with "competence", alpha is 0 while the competence gauge is at or below it; in [0, 1).
        grams: name or path of the gram set; "tagger" for the tagger.
        soft: scale alpha by the probability that a token is a planning one, which the tagger gives, in place of a
            yes or no; for the estimators of HICRA's kind.
        seed: of the placebo and the random control.
        placebo_redraw_every: optimizer steps after which the placebo is drawn anew from recent completions; 0 never
            does. Its share of tokens sinks as training goes on, so a long run wants it.
        entropy_beta, entropy_kappa: of "entropy_advantage" (arXiv 2506.14758).
        entropy_share: share of tokens that "top_entropy" trains on (arXiv 2506.01939); TRL's `top_entropy_quantile`.
        entropy_bonus: coefficient of "entropy_bonus"; TRL's `entropy_coef`. The HICRA paper does not name its own.

    Raises:
        ConfigError: an unknown name, or a number out of range.
    """

    estimator: str = "hicra"
    alpha: float = 0.2
    alpha_schedule: str = "constant"
    alpha_warmup_steps: int = 0
    alpha_gate: float = 0.5
    grams: str = "paper"
    soft: bool = False
    seed: int = 0
    placebo_redraw_every: int = 0
    entropy_beta: float = 0.4
    entropy_kappa: float = 2.0
    entropy_share: float = 0.2
    entropy_bonus: float = 0.01

    def __post_init__(self) -> None:
        _known("estimator", self.estimator, ESTIMATORS)
        _known("alpha_schedule", self.alpha_schedule, SCHEDULES)
        check_alpha(self.alpha)
        _within("alpha_warmup_steps", self.alpha_warmup_steps, self.alpha_warmup_steps >= 0, ">= 0")
        _within("alpha_gate", self.alpha_gate, 0 <= self.alpha_gate < 1, "in [0, 1)")
        _within("placebo_redraw_every", self.placebo_redraw_every, self.placebo_redraw_every >= 0, ">= 0")
        _within("entropy_beta", self.entropy_beta, 0 <= self.entropy_beta < math.inf, ">= 0 and finite")
        _within("entropy_kappa", self.entropy_kappa, self.entropy_kappa > 1, "> 1 (or signs could change)")
        _within("entropy_share", self.entropy_share, 0 < self.entropy_share <= 1, "in (0, 1]")
        _within("entropy_bonus", self.entropy_bonus, math.isfinite(self.entropy_bonus), "finite")
        if self.soft and not (self.row.uses_alpha and self.row.credits == "planning"):
            may = [name for name, row in ESTIMATORS.items() if row.uses_alpha and row.credits == "planning"]
            raise ConfigError(
                f"the estimator {self.estimator!r} has no use for probabilities",
                expected=f"soft with {' | '.join(may)}",
            )
        if self.alpha_schedule == "warmup" and self.alpha_warmup_steps == 0:
            raise ConfigError(
                "alpha_schedule 'warmup' without a length",
                expected="alpha_warmup_steps > 0",
                got="0",
            )
        if self.alpha_schedule != "warmup" and self.alpha_warmup_steps > 0:
            raise ConfigError(
                f"alpha_warmup_steps has no effect with alpha_schedule {self.alpha_schedule!r}",
                got=f"alpha_warmup_steps = {self.alpha_warmup_steps}",
                mend="set alpha_schedule to 'warmup', or alpha_warmup_steps to 0",
            )

    @property
    def row(self) -> Estimator:
        """The estimator's row in the table."""
        return ESTIMATORS[self.estimator]

    @property
    def max_alpha(self) -> float:
        """The largest alpha of the schedule; 0 for estimators that have none."""
        return self.alpha if self.row.uses_alpha else 0.0

    @property
    def token_level(self) -> bool:
        """Whether advantages may differ within a completion at some step: engines that need (B,) refuse that."""
        return self.row.reshape is not None and (self.alpha > 0 or not self.row.uses_alpha)


def _known(name: str, value: str, table: Iterable[str]) -> None:
    known = list(table)
    if value not in known:
        raise ConfigError(f"unknown {name}", expected=" | ".join(known), got=repr(value))


def _within(name: str, value: object, right: bool, expected: str) -> None:
    if not right:
        raise ConfigError(f"{name} is out of range", expected=f"{name} {expected}", got=repr(value))
