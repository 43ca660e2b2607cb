"""Groups whose rewards are all equal can be left out of what the loss divides by."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("trl")
from trl import GRPOConfig, GRPOTrainer

from hicra.engines.rewards import differing
from hicra.engines.trl import HICRAConfig, HICRATrainer
from hicra.errors import ConfigError
from hicra.traces.rundir import RunReader
from tests.tiny_trl import IGNORED, trainer

pytestmark = [
    *[pytest.mark.filterwarnings(text) for text in IGNORED],
    pytest.mark.filterwarnings("ignore:.*of the first batch:hicra.engines.notice.HicraWarning"),
]

NAN = math.nan


@pytest.mark.parametrize(
    ("rewards", "kept"),
    [
        ([1.0, 1.0, 0.0, 1.0], [False, False, True, True]),
        ([0.0, 0.0, NAN, NAN], [False] * 4),
        ([NAN, 2.0, NAN, NAN, 0.0, NAN, 1.0, 1.5], [False] * 4 + [False, False, True, True]),
    ],
)
def test_which_groups_differ(rewards: list[float], kept: list[bool]) -> None:
    assert differing(torch.tensor(rewards), 2).tolist() == kept
    assert not differing(torch.full((8,), 0.3), 4).any()


def half(completion_ids: Any, prompts: Any, **_: Any) -> list[float]:
    """Prompts that begin with an even digit are never answered."""
    return [
        0.0 if int(p[0]) % 2 == 0 else sum(t % 3 == 0 for t in ids) / 12
        for p, ids in zip(prompts, completion_ids, strict=True)
    ]


def run(kind: type, config: type, folder: Path, **settings: Any) -> tuple[list[dict[str, Any]], Any]:
    """What the loss was given, and the trainer."""
    seen: list[dict[str, Any]] = []

    class Spy(kind):  # type: ignore[misc, valid-type]
        def _compute_loss(self, model: Any, inputs: Any) -> Any:
            loss = super()._compute_loss(model, inputs)
            seen.append({**inputs, "loss": loss.detach()})
            return loss

    settings = {"max_steps": 1, "reward_funcs": half, "gradient_accumulation_steps": 4, **settings}
    made = trainer(Spy, config, folder, **settings)
    made.train()
    return seen, made


def test_the_loss_divides_by_the_tokens_of_groups_that_differ(tmp_path: Path) -> None:
    plain, _ = run(GRPOTrainer, GRPOConfig, tmp_path / "plain")
    mine, made = run(HICRATrainer, HICRAConfig, tmp_path / "mine", filter_groups=True, alpha=0.0)
    rows = RunReader(made.args.run_path).completions().to_pylist()
    groups = {row["group_id"] for row in rows}
    flat = {g for g in groups if len({row["reward"] for row in rows if row["group_id"] == g}) == 1}
    assert flat
    assert flat != groups
    counted = sum(row["length"] for row in rows if row["group_id"] not in flat)
    everything = sum(row["length"] for row in rows)
    assert [int(batch["num_items_in_batch"]) for batch in mine] == [counted] * 4
    assert [int(batch["num_items_in_batch"]) for batch in plain] == [everything] * 4
    for a, b in zip(plain, mine, strict=True):
        assert torch.allclose(b["loss"] * counted, a["loss"] * everything, rtol=1e-5, atol=1e-7)
    # every completion is measured and recorded all the same
    assert sum(row["n_planning"] + row["n_execution"] for row in rows) == everything


def test_a_batch_without_any_difference_has_no_gradient_and_no_nan(tmp_path: Path) -> None:
    settings = {"filter_groups": True, "reward_funcs": lambda completion_ids, **_: [0.0] * len(completion_ids)}
    seen, made = run(HICRATrainer, HICRAConfig, tmp_path, **settings)
    assert [int(batch["num_items_in_batch"]) for batch in seen] == [0] * 4
    assert all(float(batch["loss"]) == 0.0 for batch in seen)
    assert RunReader(made.args.run_path).metrics()[0]["grad_norm"] == 0.0


@pytest.mark.parametrize("loss", ["grpo", "dr_grpo", "bnpo", "sapo", "luspo"])
def test_losses_that_divide_by_completions_are_refused(loss: str) -> None:
    with pytest.raises(ConfigError, match="filter_groups has no effect"):
        HICRAConfig(output_dir="x", use_cpu=True, bf16=False, filter_groups=True, loss_type=loss)


def test_a_second_normalisation_is_refused() -> None:
    with pytest.raises(ConfigError, match="advantages are 0"):
        HICRAConfig(
            output_dir="x",
            use_cpu=True,
            bf16=False,
            filter_groups=True,
            multi_objective_aggregation="normalize_then_sum",
        )
