"""What engines/verl*.py rely on in verl. A failure: read the new release before you raise the pin.

The signatures, words and metric names that are looked for are those of verl 0.9.1 with TransferQueue 0.1.11.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from verl.trainer.ppo import core_algos
from verl.trainer.ppo.v1 import (
    AgentLoopWorkerTQ,
    PPOTrainer,
    PPOTrainerColocateAsync,
    PPOTrainerSeparateAsync,
    PPOTrainerSync,
    get_trainer_cls,
    trainer_base,
)
from verl.workers.engine_workers import TrainingWorker

from hicra.engines.verl import HICRAColocateAsync, HICRAMixin, HICRASeparateAsync, HICRASync
from hicra.engines.verl_record import COLUMNS
from tests.verl.tiny_verl import verl_config

ROOT = Path(__file__).parents[2]
SIGNATURES = {
    "__init__": ["self", "config"],
    "_init_tokenizer": ["self"],
    "_compute_advantage": ["self", "batch", "metrics"],
    "step": ["self", "metrics", "timing_raw"],
    "_validate": ["self"],
    "_save_checkpoint": ["self"],
    "_load_checkpoint": ["self"],
}
MODES = {
    "sync": (PPOTrainerSync, HICRASync),
    "colocate_async": (PPOTrainerColocateAsync, HICRAColocateAsync),
    "separate_async": (PPOTrainerSeparateAsync, HICRASeparateAsync),
}


def test_the_minor_version_is_the_one_that_was_read() -> None:
    assert importlib.metadata.version("verl").rsplit(".", 1)[0] == "0.9", (
        "this verl is newer than engines/verl*.py: see what moved in verl/trainer/ppo/v1/trainer_base.py"
    )
    locked = (ROOT / "locked-verl.txt").read_text("utf-8")
    assert f"verl=={importlib.metadata.version('verl')}\n" in locked
    assert f"TransferQueue=={importlib.metadata.version('TransferQueue')}\n" in locked


@pytest.mark.parametrize("method", SIGNATURES)
def test_overridden_methods_have_the_signatures_that_we_know(method: str) -> None:
    assert list(inspect.signature(getattr(PPOTrainer, method)).parameters) == SIGNATURES[method]
    assert list(inspect.signature(getattr(HICRAMixin, method)).parameters) == SIGNATURES[method]


def test_every_override_is_in_the_list() -> None:
    overrides = {n for n in vars(HICRAMixin) if callable(getattr(HICRAMixin, n)) and hasattr(PPOTrainer, n)}
    assert {n for n in overrides if n == "__init__" or not n.startswith("__")} == SIGNATURES.keys()


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_has_its_trainer(mode: str) -> None:
    verls, ours = MODES[mode]
    assert get_trainer_cls(mode) is verls
    assert get_trainer_cls(f"hicra_{mode}") is ours
    assert issubclass(ours, verls)
    assert ours.verl_mode == mode
    # nothing of the mode comes between us and the method that we build on
    assert "_compute_advantage" not in vars(verls)
    assert "step" not in vars(verls)
    assert verl_config(Path("m")).trainer.v1.get(mode) is not None


@pytest.mark.parametrize(
    ("of", "words"),
    [
        (PPOTrainer.__init__, ["self.trainer_mode = self.config.trainer.v1.trainer_mode"]),
        (PPOTrainer._init_tokenizer, ["self.tokenizer = model_config.tokenizer"]),
        (PPOTrainer._setup, ["self._init_tokenizer()", "self._load_checkpoint()"]),
        (PPOTrainer._compute_advantage, ['fields = ["advantages", "returns"]', "response_to_nested(", "kv_batch_put("]),
        (PPOTrainer._compute_old_log_prob, ['data.select("old_log_probs", "entropy")', '"calculate_entropy": True']),
        (PPOTrainer.step, ["metrics.update(metrics_aggregator.get_aggregated_metrics())"]),
        (PPOTrainer._save_checkpoint, ['f"global_step_{self.global_steps}"', "latest_checkpointed_iteration.txt"]),
        (PPOTrainer._load_checkpoint, ["resume_from_path", "default_local_dir", 'split("global_step_")']),
        (PPOTrainer._compute_metrics, ["compute_timing_metrics(", 'tag.get("is_padding", False)']),
        (PPOTrainer._update_actor, ['rename_dict(output["metrics"], "actor/")']),
        (TrainingWorker._postprocess_output, ['final_metrics["loss"]', 'final_metrics["grad_norm"]', '["lr"]']),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)  # fmt: skip
def test_what_we_read_and_count_on_is_still_there(of: Any, words: list[str]) -> None:
    source = inspect.getsource(of)
    assert [word for word in words if word not in source] == []


def test_a_step_is_recorded_before_its_checkpoint_is_saved() -> None:
    fit = inspect.getsource(PPOTrainer.fit)
    assert fit.index("self.step(metrics, self.timing_raw)") < fit.index("self._save_checkpoint()")
    assert fit.index("self._save_checkpoint()") < fit.index("self.logger.log(data=metrics")
    saved = inspect.getsource(PPOTrainer._save_checkpoint)
    assert "latest_checkpointed_iteration" in saved.split("torch.save(")[1]  # verl's word that it is whole comes last


def test_the_agent_loop_leaves_what_we_read() -> None:
    source = inspect.getsource(AgentLoopWorkerTQ.__ray_metadata__.modified_class._agent_loop_postprocess)
    assert 'keys.append(f"{uid}_{session_id}_{i}")' in source
    from verl.experimental.agent_loop import AgentLoopOutput

    given = inspect.getsource(AgentLoopOutput.as_dict)
    for name in ("prompts", "responses", "response_mask", "rm_scores"):
        assert f'output["{name}"]' in given
    assert {"response_mask", "rm_scores", "prompts"} < set(COLUMNS)


def test_a_registered_estimator_still_gets_no_token_ids() -> None:
    """If this fails, verl has opened a smaller door than the one that we use."""
    fields = inspect.getsource(PPOTrainer._compute_advantage).split("fields = [")[1].split("]")[0]
    assert "responses" not in fields
    assert "prompts" not in fields


def test_the_losses_are_those_that_were_read() -> None:
    """A loss that averages advantages over a completion would undo the credit: 'geo_mean' does, and is refused."""
    assert set(core_algos.POLICY_LOSS_REGISTRY) == {
        *("vanilla", "dppo_tv", "dppo_kl", "gspo", "sapo", "gpg", "clip_cov"),
        *("kl_cov", "geo_mean", "dro", "cispo", "bypass_mode"),
    }
    for name, loss in core_algos.POLICY_LOSS_REGISTRY.items():
        averages = re.search(r"advantages\s*\*\s*response_mask\)\.sum", inspect.getsource(loss)) is not None
        assert averages == (name == "geo_mean"), name


def plugin_environment(folder: Path) -> dict[str, str]:
    """An environment in which an installed package names our module under verl's group of entry points."""
    info = folder / "hicra_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hicra-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[verl.plugins]\nhicra = hicra.engines.verl\n")
    env = {k: v for k, v in os.environ.items() if k != "VERL_USE_EXTERNAL_MODULES"}
    return env | {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}


def test_verl_finds_us_by_its_own_entry_points(tmp_path: Path) -> None:
    code = "import verl.trainer.ppo.v1.trainer_base as b; print(sorted(n for n in b.TRAINER_REGISTRY if 'hicra' in n))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], env=plugin_environment(tmp_path), capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1:] == [str(sorted(f"hicra_{mode}" for mode in MODES))], done.stderr[-2000:]
    assert trainer_base.TRAINER_REGISTRY.keys() >= {f"hicra_{mode}" for mode in MODES}
