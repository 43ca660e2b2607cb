"""Settings of HICRA in verl: ``algorithm.hicra.*`` of verl's own configuration.

    algorithm.adv_estimator=grpo +algorithm.hicra.alpha=0.2 +algorithm.hicra.grams=math

They are read when the trainer is made, before a model is loaded. verl's own settings are not changed, but for the
trainer mode (engines/verl.py) and, for the estimator "entropy_bonus", its coefficient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from hicra.credit.config import CreditConfig
from hicra.engines.table import check_kept, checked, types_of
from hicra.errors import ConfigError
from hicra.grams.gramset import GramSet

WHERE = "algorithm.hicra"


@dataclass(frozen=True)
class VerlSettings(CreditConfig):
    """What to do, and what to record: everything that `CreditConfig` has, and

    Attributes:
        observe: change nothing and measure everything: for any run.
        record: write a run directory.
        run_dir: where; None: ``<trainer.default_local_dir>/hicra_run``.
        rollouts_per_step: completions kept with their text each step, in whole groups; 0 keeps no text.

    Raises:
        ConfigError: a number out of range, or an unknown name.
        DataError: an unknown or unreadable gram set.
    """

    observe: bool = False
    record: bool = True
    run_dir: str | None = None
    rollouts_per_step: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        GramSet.load(self.grams)
        check_kept(self.rollouts_per_step)

    @classmethod
    def from_verl(cls, config: Any) -> VerlSettings:
        """The settings in verl's configuration, checked by themselves and against verl's own.

        Args:
            config: verl's whole configuration (OmegaConf).

        Raises:
            ConfigError: an unknown key, a value of the wrong type or out of range, or one that does not go with how
                verl is to train.
            DataError: an unknown or unreadable gram set.
        """
        found = cls.of(_plain(config.algorithm.get("hicra")))
        found._check_against(config)
        return found

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> VerlSettings:
        """The settings from a table of the keys under ``algorithm.hicra``."""
        given = {name: value for name, value in table.items() if not (name == "run_dir" and value is None)}
        return cls(**checked(given, types_of(cls), WHERE))

    def credit_config(self) -> CreditConfig:
        """The part that `hicra.credit` is to do; plain "grpo" in observe mode."""
        credit = CreditConfig(**{f.name: getattr(self, f.name) for f in fields(CreditConfig)})
        return replace(credit, estimator="grpo") if self.observe else credit

    def run_path(self, config: Any) -> Path:
        """The run directory."""
        return Path(self.run_dir or Path(config.trainer.default_local_dir) / "hicra_run")

    def entropy_coefficient(self, config: Any) -> float | None:
        """What verl's ``entropy_coeff`` has to become for the estimator "entropy_bonus"; None for the others.

        Raises:
            ConfigError: verl's is set to something else.
        """
        if self.observe or self.estimator != "entropy_bonus":
            return None
        set_to = float(config.actor_rollout_ref.actor.entropy_coeff)
        if set_to not in (0.0, self.entropy_bonus):
            raise ConfigError(
                "the estimator 'entropy_bonus' is verl's entropy_coeff, which is set to something else",
                expected=f"actor_rollout_ref.actor.entropy_coeff={self.entropy_bonus}, or not set",
                got=f"{set_to}",
                mend=f"set {WHERE}.entropy_bonus={set_to} and leave entropy_coeff out",
            )
        return self.entropy_bonus

    def _check_against(self, config: Any) -> None:
        credit = self.credit_config()
        self.entropy_coefficient(config)
        if not credit.token_level:
            return
        if config.algorithm.adv_estimator == "gae":  # verl's default, so most likely nobody chose it
            raise ConfigError(
                "HICRA reshapes group-relative advantages, and verl is set to GAE with a critic",
                expected="algorithm.adv_estimator=grpo, or another one that has no critic",
                got="algorithm.adv_estimator=gae (verl's default)",
                mend=f"set algorithm.adv_estimator=grpo, or {WHERE}.observe=true to measure without changing anything",
            )
        loss = config.actor_rollout_ref.actor.policy_loss.get("loss_mode", "vanilla")
        if loss == "geo_mean":  # it takes the mean of a completion's advantages
            raise ConfigError(
                "the policy loss 'geo_mean' has one advantage for a whole completion, so credit that differs between "
                "its tokens would be averaged away",
                expected="another actor_rollout_ref.actor.policy_loss.loss_mode, or credit that changes nothing",
                got=f"estimator {credit.estimator!r} with alpha up to {credit.max_alpha:g}",
                mend=f"set the loss_mode to vanilla (or gspo, whose gradient is per token), or {WHERE}.observe=true",
            )
        correction = config.algorithm.get("rollout_correction") or {}
        if credit.row.needs_entropies and correction.get("bypass_mode", False):
            raise ConfigError(
                f"the estimator {credit.estimator!r} needs token entropies, which verl does not compute in bypass mode",
                expected="algorithm.rollout_correction.bypass_mode=false",
                got="true",
            )


def _plain(table: Any) -> dict[str, Any]:
    """An OmegaConf table as Python values."""
    if table is None:
        return {}
    if not hasattr(table, "items"):
        raise ConfigError(f"{WHERE} is no table", expected=f"+{WHERE}.alpha=0.2 and the like", got=repr(table))
    from omegaconf import OmegaConf  # type: ignore[import-not-found, unused-ignore]

    plain: dict[str, Any] = OmegaConf.to_container(table, resolve=True) if OmegaConf.is_config(table) else dict(table)
    return plain
