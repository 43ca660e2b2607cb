"""alpha = 0 is TRL's GRPO of the same settings, bit for bit: all logged numbers and all weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("trl")
from trl import GRPOConfig, GRPOTrainer

from hicra.engines.trl import HICRAConfig, HICRATrainer
from tests.tiny_trl import IGNORED, dataset, make_tiny, reward, trainer

pytestmark = [pytest.mark.filterwarnings(text) for text in [*IGNORED, "ignore:.*of the first batch"]]

LOSSES = ["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo"]
OFF_POLICY = {"num_iterations": 2, "max_steps": 4}


def second_reward(completion_ids: Any, **_: Any) -> list[float | None]:
    """Does not apply to every third completion."""
    return [None if i % 3 == 0 else float(len(ids)) for i, ids in enumerate(completion_ids)]


def environment(prompts: list[Any], trainer: Any) -> dict[str, Any]:
    """A rollout with an environment that writes the middle third of every completion."""
    tokenizer = make_tiny().make_tokenizer()
    generator = torch.Generator().manual_seed(int(trainer.state.global_step))
    ids = [torch.randint(2, len(tokenizer), (12,), generator=generator).tolist() for _ in prompts]
    return {
        "prompt_ids": [tokenizer(p)["input_ids"] for p in prompts],
        "completion_ids": ids,
        "logprobs": [[-3.4] * 12 for _ in prompts],
        "env_mask": [[1] * 4 + [0] * 4 + [1] * 4 for _ in prompts],
    }


CONFIGURATIONS: dict[str, dict[str, Any]] = {
    **{f"loss-{name}": {"loss_type": name} for name in LOSSES},
    **{f"off-policy-{name}": {"loss_type": name, **OFF_POLICY} for name in ("grpo", "dapo", "cispo", "vespo")},
    "sequence-luspo": {"loss_type": "luspo", "importance_sampling_level": "sequence"},
    "sequence-grpo": {"loss_type": "grpo", "importance_sampling_level": "sequence"},
    "sequence-off-policy": {"loss_type": "grpo", "importance_sampling_level": "sequence", **OFF_POLICY},
    "top-entropy-quantile": {"top_entropy_quantile": 0.2},
    "entropy-coefficient": {"entropy_coef": 0.01},
    "adaptive-entropy": {"use_adaptive_entropy": True, "entropy_coef": 0.001, "entropy_target": 3.4},
    "kl": {"beta": 0.05},
    "kl-off-policy": {"beta": 0.05, "use_bias_correction_kl": True, **OFF_POLICY},
    "generation-of-two-steps": {"steps_per_generation": 4, "max_steps": 4},
    "two-generations-a-step": {"steps_per_generation": 1},
    "two-steps-twice": {"steps_per_generation": 4, "num_iterations": 2, "max_steps": 5},
    "odd-boundaries": {"steps_per_generation": 3, "num_iterations": 1, "max_steps": 4},
    "no-accumulation": {"gradient_accumulation_steps": 1, "max_steps": 4},
    "off-policy-mask": {"loss_type": "grpo", "off_policy_mask_threshold": 0.01, **OFF_POLICY},
    "two-sided-clipping": {"delta": 1.5, **OFF_POLICY},
    "truncation-mask": {"mask_truncated_completions": True},
    "scaled-by-group": {"scale_rewards": "group"},
    "scaled-by-batch": {"scale_rewards": "batch"},
    "two-rewards": {"reward_funcs": [reward, second_reward], "reward_weights": [1.0, 0.1]},
    "normalised-rewards": {
        "reward_funcs": [reward, second_reward],
        "multi_objective_aggregation": "normalize_then_sum",
    },
    "environment-mask": {"rollout_func": environment},
    "environment-mask-off-policy": {"rollout_func": environment, "mask_truncated_completions": True, **OFF_POLICY},
    "logged-every-two": {"logging_steps": 2, "max_steps": 4},
    "evaluated-between": {
        "eval_strategy": "steps",
        "eval_steps": 2,
        "per_device_eval_batch_size": 4,
        "eval_dataset": dataset(4),
        "steps_per_generation": 4,
        "max_steps": 4,
    },
    "padded-to-a-multiple": {"pad_to_multiple_of": 8},
    "second-epoch": {"train_dataset": dataset(4), "max_steps": 4},
}

CLOCK = ("step_time", "runtime", "per_second")


def outcome(kind: type, config: type, folder: Path, **settings: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    made = trainer(kind, config, folder, **settings)
    made.train()
    logs = [
        {k: v for k, v in line.items() if "hicra/" not in k and not any(word in k for word in CLOCK)}
        for line in made.state.log_history
    ]
    return logs, {name: value.clone() for name, value in made.model.state_dict().items()}


def assert_same(first: Any, second: Any) -> None:
    assert [list(line) for line in first[0]] == [list(line) for line in second[0]]
    for mine, theirs in zip(first[0], second[0], strict=True):
        assert repr(mine) == repr(theirs)  # repr shows every bit of a float, and NaN equals NaN
    assert first[1].keys() == second[1].keys()
    assert [name for name in first[1] if not torch.equal(first[1][name], second[1][name])] == []


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_alpha_zero_is_grpo_bit_for_bit(name: str, tmp_path: Path) -> None:
    settings = CONFIGURATIONS[name]
    parent = outcome(GRPOTrainer, GRPOConfig, tmp_path / "parent", **settings)
    mine = outcome(HICRATrainer, HICRAConfig, tmp_path / "hicra", alpha=0.0, **settings)
    assert_same(parent, mine)


@pytest.mark.parametrize(
    "settings",
    [
        {"observe": True},
        {"observe": True, "estimator": "entropy_advantage"},
        {"estimator": "grpo"},
        {"alpha": 0.9, "alpha_schedule": "warmup", "alpha_warmup_steps": 1, "max_steps": 1},
        {"alpha": 0.0, "estimator": "placebo"},
        {"alpha": 0.0, "record": False},
    ],
    ids=str,
)
def test_everything_that_amounts_to_alpha_zero_is_grpo(settings: dict[str, Any], tmp_path: Path) -> None:
    theirs = {k: v for k, v in settings.items() if k == "max_steps"}
    parent = outcome(GRPOTrainer, GRPOConfig, tmp_path / "parent", **theirs)
    assert_same(parent, outcome(HICRATrainer, HICRAConfig, tmp_path / "hicra", **settings))


@pytest.mark.parametrize("name", ["loss-dapo", "loss-vespo", "two-steps-twice", "environment-mask", "kl-off-policy"])
def test_alpha_changes_the_weights(name: str, tmp_path: Path) -> None:
    settings = CONFIGURATIONS[name]
    none = outcome(HICRATrainer, HICRAConfig, tmp_path / "none", alpha=0.0, **settings)
    some = outcome(HICRATrainer, HICRAConfig, tmp_path / "some", alpha=0.2, **settings)
    assert any(not torch.equal(none[1][key], some[1][key]) for key in none[1])
    assert all(torch.isfinite(value).all() for value in some[1].values())


@pytest.mark.parametrize(
    ("estimator", "option"),
    [
        ("entropy_bonus", {"entropy_coef": 0.01}),
        ("top_entropy", {"top_entropy_quantile": 0.2}),
    ],
)
def test_controls_that_trl_has_are_trls_own(estimator: str, option: dict[str, Any], tmp_path: Path) -> None:
    parent = outcome(GRPOTrainer, GRPOConfig, tmp_path / "parent", **option)
    assert_same(parent, outcome(HICRATrainer, HICRAConfig, tmp_path / "hicra", estimator=estimator))
