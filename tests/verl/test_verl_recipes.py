"""verl's recipes, through verl's own classes."""

from __future__ import annotations

from pathlib import Path

import pytest

from hicra.engines.recipe_verl import check, compose
from hicra.errors import ConfigError

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.mark.parametrize("path", sorted((RECIPES / "verl").glob("*_*.yaml")), ids=lambda p: p.stem)
def test_every_recipe_is_what_the_paper_says(path: Path) -> None:
    found = check(path)
    assert (found["clip"], found["completions"], found["checked_by"]) == (
        "0.2 / 0.28, token-mean",
        "15,360 tokens",
        "verl",
    )
    config = compose(path, ["++algorithm.hicra.estimator=placebo", "data.seed=1"])
    assert config.algorithm.norm_adv_by_std_in_grpo is False
    assert config.actor_rollout_ref.actor.use_kl_loss is False
    assert config.algorithm.filter_groups.enable is ("llama3" in path.stem)
    assert (config.algorithm.hicra.estimator, config.algorithm.hicra.alpha) == ("placebo", 0.2)
    assert (RECIPES / "models" / f"{path.stem}.toml").exists()
    name = config.actor_rollout_ref.model.path
    assert f'name = "{name}"' in (RECIPES / "models" / f"{path.stem}.toml").read_text()


def test_what_verl_or_hicra_refuses_is_told(tmp_path: Path) -> None:
    shipped = RECIPES / "verl" / "qwen3_4b_base.yaml"
    with pytest.raises(ConfigError, match="unknown key 'alfa'"):
        check(shipped, ["++algorithm.hicra.alfa=1"])
    with pytest.raises(ConfigError, match="cannot be composed"):
        check(shipped, ["data.train_batch_sise=1"])
    with pytest.raises(ConfigError, match="verl refuses this recipe"):
        check(shipped, ["actor_rollout_ref.actor.loss_agg_mode=median"])
    with pytest.raises(ConfigError, match="there is no recipe"):
        check(tmp_path / "nothing.yaml")
