"""``algorithm.hicra.*``: what is refused, before anything is loaded."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from hicra.engines.verl_config import VerlSettings
from hicra.errors import ConfigError, DataError, HicraError
from tests.verl.tiny_verl import verl_config

ANYWHERE = Path("no/model")


def settings(*lines: str) -> VerlSettings:
    return VerlSettings.from_verl(verl_config(ANYWHERE, *lines))


def test_without_a_line_it_is_the_papers_hicra() -> None:
    found = settings()
    assert (found.estimator, found.alpha, found.grams) == ("hicra", 0.2, "paper")
    assert found.run_path(verl_config(ANYWHERE)) == Path("checkpoints/verl_examples/gsm8k/hicra_run")


def test_lines_are_typed() -> None:
    found = settings(
        "+algorithm.hicra.alpha=0", "+algorithm.hicra.run_dir=here", "+algorithm.hicra.rollouts_per_step=8"
    )
    assert found.alpha == 0.0
    assert isinstance(found.alpha, float)
    assert found.run_path(verl_config(ANYWHERE)) == Path("here")
    assert settings("+algorithm.hicra.run_dir=null").run_dir is None
    assert found.rollouts_per_step == 8


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("+algorithm.hicra.alfa=0.2", "unknown key 'alfa'(.|\n)*did you mean 'alpha'"),
        ("+algorithm.hicra.alpha=1", r"alpha is out of range(.|\n)*0 <= alpha < 1(.|\n)*1.0"),
        ("+algorithm.hicra.alpha=-0.1", "alpha is out of range"),
        ("+algorithm.hicra.alpha=high", "alpha is of the wrong type(.|\n)*float(.|\n)*'high'"),
        ("+algorithm.hicra.alpha=null", "alpha is of the wrong type"),
        ("+algorithm.hicra.observe=1", "observe is of the wrong type"),
        ("+algorithm.hicra.estimator=hikra", "unknown estimator"),
        ("+algorithm.hicra.alpha_schedule=warmup", "without a length"),
        ("+algorithm.hicra.rollouts_per_step=-1", "rollouts_per_step is negative"),
        ("+algorithm.hicra=0.2", r"algorithm.hicra is no table(.|\n)*\+algorithm.hicra.alpha"),
        ("algorithm.adv_estimator=gae", "verl is set to GAE(.|\n)*algorithm.adv_estimator=grpo"),
        ("actor_rollout_ref.actor.policy_loss.loss_mode=geo_mean", "averaged away"),
    ],
)
def test_what_cannot_work_is_refused(line: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        settings(line)


def test_a_missing_gram_set_is_told() -> None:
    with pytest.raises(DataError, match=r"no/such\.json"):
        settings("+algorithm.hicra.grams=no/such.json")


def test_estimators_that_need_entropies_need_verl_to_compute_them() -> None:
    with pytest.raises(ConfigError, match="bypass mode"):
        settings("+algorithm.hicra.estimator=top_entropy", "algorithm.rollout_correction.bypass_mode=true")


@pytest.mark.parametrize("change", ["+algorithm.hicra.alpha=0", "+algorithm.hicra.observe=true"])
def test_what_changes_nothing_goes_with_everything(change: str) -> None:
    lines = ["actor_rollout_ref.actor.policy_loss.loss_mode=geo_mean", "algorithm.adv_estimator=gae"]
    assert settings(change, *lines).credit_config().token_level is False


def test_the_entropy_bonus_is_verls_own() -> None:
    from verl.trainer.ppo.v1 import get_trainer_cls

    bonus = ["+algorithm.hicra.estimator=entropy_bonus", "+algorithm.hicra.entropy_bonus=0.003"]
    config = verl_config(ANYWHERE, *bonus)
    get_trainer_cls("hicra_sync")(config)
    assert config.actor_rollout_ref.actor.entropy_coeff == 0.003
    with pytest.raises(ConfigError, match=r"entropy_coeff(.|\n)*0\.003"):
        settings(*bonus, "actor_rollout_ref.actor.entropy_coeff=0.5")


def test_an_error_keeps_its_words_on_its_way_out_of_a_worker() -> None:
    with pytest.raises(HicraError) as caught:
        settings("+algorithm.hicra.alpha=2")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
