"""HICRAConfig: the paper's defaults, and what it refuses before a model is loaded."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

from hicra.credit.config import CreditConfig
from hicra.engines.trl import HICRAConfig
from hicra.errors import ConfigError, DataError
from tests.tiny_trl import IGNORED

pytestmark = [pytest.mark.filterwarnings(text) for text in IGNORED]


def config(**settings: Any) -> HICRAConfig:
    return HICRAConfig(output_dir="somewhere", use_cpu=True, bf16=False, report_to="none", **settings)


def test_the_defaults_are_the_papers() -> None:
    made = config()
    assert (made.alpha, made.grams, made.estimator, made.alpha_schedule) == (0.2, "paper", "hicra", "constant")
    assert (made.epsilon, made.epsilon_high, made.beta) == (0.2, 0.28, 0.0)
    assert (made.loss_type, made.scale_rewards, made.importance_sampling_level) == ("dapo", "none", "token")
    assert made.run_path == Path("somewhere/hicra_run")
    assert made.rollouts_per_step == 64


def test_every_setting_of_credit_can_be_set_here() -> None:
    assert {f.name for f in fields(CreditConfig)} <= {f.name for f in fields(HICRAConfig)}
    ours, theirs = config(), CreditConfig()
    same = {f.name for f in fields(CreditConfig)} - {"seed"}
    assert {n: getattr(ours, n) for n in same} == {n: getattr(theirs, n) for n in same}
    assert config(seed=5).credit_config().seed == 5


@pytest.mark.parametrize("alpha", [-0.1, 1.0, 1.5, float("nan")])
def test_alpha_outside_its_range_is_refused(alpha: float) -> None:
    with pytest.raises(ConfigError, match="alpha is out of range"):
        config(alpha=alpha)


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"grams": "papr"}, DataError, "no gram set 'papr'"),
        ({"grams": "./nowhere.json"}, DataError, r"cannot read the gram set nowhere.json"),
        ({"estimator": "hicar"}, ConfigError, "unknown estimator"),
        ({"alpha_schedule": "cosine"}, ConfigError, "unknown alpha_schedule"),
        ({"alpha_schedule": "warmup"}, ConfigError, "without a length"),
        ({"rollouts_per_step": -1}, ConfigError, "rollouts_per_step is negative"),
        ({"estimator": "entropy_bonus", "entropy_coef": 0.5}, ConfigError, "set entropy_bonus=0.5"),
        ({"estimator": "top_entropy", "top_entropy_quantile": 0.5}, ConfigError, "set entropy_share=0.5"),
    ],
)
def test_mistakes_are_refused(settings: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        config(**settings)


def test_controls_set_trls_options() -> None:
    assert config(estimator="entropy_bonus", entropy_bonus=0.03).entropy_coef == 0.03
    assert config(estimator="top_entropy").top_entropy_quantile == 0.2
    assert config(estimator="top_entropy", top_entropy_quantile=0.2).credit_config().estimator == "grpo"
    assert config(estimator="top_entropy", observe=True).top_entropy_quantile == 1.0
    assert config().entropy_coef == 0.0


@pytest.mark.parametrize("estimator", ["hicra", "hicra_symmetric", "placebo", "random_mask", "entropy_advantage"])
@pytest.mark.parametrize("loss", ["grpo", "luspo"])
def test_token_credit_with_one_ratio_a_completion_is_refused(estimator: str, loss: str) -> None:
    with pytest.raises(ConfigError, match="averaged away") as refused:
        config(importance_sampling_level="sequence", loss_type=loss, estimator=estimator)
    assert ("luspo" in str(refused.value)) == (loss == "luspo")


@pytest.mark.parametrize("settings", [{"alpha": 0.0}, {"observe": True}, {"estimator": "grpo"}])
def test_sequence_level_ratios_are_fine_where_credit_changes_nothing(settings: dict[str, Any]) -> None:
    made = config(importance_sampling_level="sequence", loss_type="luspo", **settings)
    assert not made.credit_config().token_level


def test_a_warm_up_counts_by_its_largest_alpha() -> None:
    with pytest.raises(ConfigError, match=r"alpha up to 0.3"):
        config(importance_sampling_level="sequence", alpha=0.3, alpha_schedule="warmup", alpha_warmup_steps=10**9)
