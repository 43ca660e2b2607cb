"""verl's recipes: YAML that Hydra lays over verl's own defaults, checked by verl's own classes."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hicra.errors import ConfigError

MEND = "install it where verl is: `pip install hicra[verl]` (the tests of these recipes: `make test-verl`)"


def check(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Compose a recipe and hand it to everything that verl checks a configuration with.

    Args:
        path: the YAML file.
        overrides: further settings, as on verl's command line.

    Returns:
        What is about to be done, in a few words.

    Raises:
        ConfigError: there is no such recipe, verl is not installed here, or Hydra, verl or hicra refuse it.
    """
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml"))) if path.parent.is_dir() else ""
        raise ConfigError(f"there is no recipe {path}", expected=there or None)
    if importlib.util.find_spec("verl") is None:
        raise ConfigError("verl's recipes are checked by verl's own classes, and it is not installed here", mend=MEND)
    config = compose(path, overrides)
    from verl.trainer.ppo.utils import need_critic, need_reference_policy  # type: ignore[import-not-found, unused-ignore]
    from verl.utils.config import (  # type: ignore[import-not-found, unused-ignore]
        omega_conf_to_dataclass,
        validate_config,
    )

    from hicra.engines.verl_config import VerlSettings

    hicra = VerlSettings.from_verl(config)
    try:
        omega_conf_to_dataclass(config.actor_rollout_ref.actor)
        omega_conf_to_dataclass(config.actor_rollout_ref.rollout)
        omega_conf_to_dataclass(type(config)({k: v for k, v in config.algorithm.items() if k != "hicra"}))
        validate_config(config, need_reference_policy(config), need_critic(config))
    except Exception as error:  # verl checks with assertions, ValueErrors and Hydra's own
        raise ConfigError(f"{path}: verl refuses this recipe", got=f"{type(error).__name__}: {error}"[:500]) from error
    actor, rollout, data = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout, config.data
    how = "observed, alpha 0" if hicra.observe else f"{hicra.estimator}, alpha {hicra.alpha:g}"
    return {
        "model": str(config.actor_rollout_ref.model.path),
        "data": str(data.train_files),
        "reward": str(config.reward.custom_reward_function.path),
        "credit": f"{how}, grams {hicra.grams}",
        "batch": f"{int(data.train_batch_size) * int(rollout.n)} completions of {data.train_batch_size} prompts",
        "completions": f"{int(data.max_response_length):,} tokens",
        "clip": f"{actor.clip_ratio_low:g} / {actor.clip_ratio_high:g}, {actor.loss_agg_mode}",
        "gpus": int(config.trainer.nnodes) * int(config.trainer.n_gpus_per_node),
        "mode": str(config.trainer.v1.trainer_mode),
        "checked_by": "verl",
    }


def compose(path: Path, overrides: Sequence[str] = ()) -> Any:
    """verl's whole configuration with the recipe on top, as Hydra makes it.

    Raises:
        ConfigError: an unknown key, or something that Hydra cannot read.
    """
    from hydra import compose as hydra_compose  # type: ignore[import-not-found, unused-ignore]
    from hydra import initialize_config_dir
    from hydra.errors import HydraException  # type: ignore[import-not-found, unused-ignore]

    try:
        with initialize_config_dir(config_dir=str(path.parent.resolve()), version_base=None):
            verl = "hydra.searchpath=[pkg://verl.trainer.config]"
            return hydra_compose(config_name=path.stem, overrides=[verl, *overrides])
    except HydraException as error:
        raise ConfigError(f"{path} cannot be composed", got=str(error)[:500]) from error
