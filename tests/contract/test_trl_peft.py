"""LoRA: adapters alone learn, alpha 0 is GRPO bit for bit, a killed run resumes exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("trl")
pytest.importorskip("peft")
import peft
from trl import GRPOConfig, GRPOTrainer
from trl.experimental.async_grpo import AsyncGRPOConfig, AsyncGRPOTrainer

from hicra.engines.trl import HICRAConfig, HICRATrainer
from hicra.engines.trl_async import AsyncHICRAConfig, AsyncHICRATrainer
from hicra.traces.rundir import RunReader
from tests import tiny_async
from tests.tiny_trl import IGNORED, model, trainer

pytestmark = [
    *[pytest.mark.filterwarnings(text) for text in IGNORED],
    pytest.mark.filterwarnings("ignore:.*of the first batch:hicra.engines.notice.HicraWarning"),
]


def lora() -> Any:
    return peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")


def run(kind: type, config: type, folder: Path, *, resume: bool = False, **settings: Any) -> Any:
    made = trainer(kind, config, folder, peft_config=lora(), **settings)
    made.train(resume_from_checkpoint=resume or None)
    return made


def outcome(made: Any) -> tuple[list[str], dict[str, Any]]:
    names = ("loss", "grad_norm", "entropy", "reward")
    logs = [repr({n: line[n] for n in names}) for line in made.state.log_history if "loss" in line]
    return logs, {name: value.clone() for name, value in made.model.state_dict().items()}


def differ(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    assert first.keys() == second.keys()
    return [name for name in first if not torch.equal(first[name], second[name])]


@pytest.mark.parametrize("settings", [{"max_steps": 2}, {"beta": 0.05, "max_steps": 2}], ids=["plain", "kl"])
def test_adapters_alone_learn_and_alpha_zero_is_grpo(settings: dict[str, Any], tmp_path: Path) -> None:
    logs, weights = outcome(run(GRPOTrainer, GRPOConfig, tmp_path / "grpo", **settings))
    zero, zero_weights = outcome(run(HICRATrainer, HICRAConfig, tmp_path / "zero", alpha=0.0, **settings))
    assert zero == logs
    assert differ(weights, zero_weights) == []
    made = run(HICRATrainer, HICRAConfig, tmp_path / "hicra", alpha=0.5, **settings)
    changed = differ(weights, outcome(made)[1])
    assert changed
    assert all(".lora_" in name for name in changed)
    base = model(tmp_path / "model").state_dict()
    kept = {
        name.removeprefix("base_model.model.").replace(".base_layer", ""): value
        for name, value in outcome(made)[1].items()
    }
    assert [name for name, value in base.items() if not torch.equal(kept[name], value)] == []
    assert sum(m["n_planning"] for m in RunReader(made.args.run_path).metrics()) > 0


def test_a_killed_run_with_adapters_resumes_exactly(tmp_path: Path) -> None:
    save = {"save_strategy": "steps", "save_steps": 2, "max_steps": 4, "alpha": 0.5}
    whole = run(HICRATrainer, HICRAConfig, tmp_path / "whole", **save)

    class Dying(HICRATrainer):
        def _compute_loss(self, model: Any, inputs: Any) -> Any:
            if self.state.global_step == 3:
                raise KeyboardInterrupt
            return super()._compute_loss(model, inputs)

    with pytest.raises(KeyboardInterrupt):
        run(Dying, HICRAConfig, tmp_path / "parts", **save)
    assert RunReader(tmp_path / "parts" / "out" / "hicra_run").steps == [1, 2, 3]
    made = run(HICRATrainer, HICRAConfig, tmp_path / "parts", resume=True, **save)
    assert differ(outcome(whole)[1], outcome(made)[1]) == []
    first, again = RunReader(whole.args.run_path), RunReader(made.args.run_path)
    assert again.completions().equals(first.completions())


def test_adapters_in_the_asynchronous_trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_async.make_it_run_on_a_cpu(monkeypatch)
    ends = []
    for kind, config, own in (
        (AsyncGRPOTrainer, AsyncGRPOConfig, {}),
        (AsyncHICRATrainer, AsyncHICRAConfig, {"alpha": 0.0, "scale_rewards": "group"}),
        (AsyncHICRATrainer, AsyncHICRAConfig, {"alpha": 0.5, "scale_rewards": "group"}),
    ):
        made = tiny_async.trainer(kind, config, tmp_path / str(len(ends)), peft_config=lora(), **own)
        made.train()
        ends.append(outcome(made)[1])
    assert differ(ends[0], ends[1]) == []
    assert differ(ends[0], ends[2])
    for name in differ(ends[0], ends[2]):  # TRL merges and unmerges them to send weights, which rounds the base
        assert ".lora_" in name or torch.allclose(ends[0][name], ends[2][name], atol=1e-6)
