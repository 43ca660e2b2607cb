"""verl's whole trainer, from its command line to its checkpoints, taking real steps with HICRA on this machine.

verl's task runner, replay buffer, agent loop, reward loop, FSDP2 actor and transfer queue are its own; the platform and
the rollout engine are those of cpu_verl.py. The first run trains synchronously, the second goes on from its checkpoint
in verl's asynchronous mode on shared devices, the third is asynchronous with a rollout engine apart from the trainer.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from hicra.credit.hicra import hicra
from hicra.traces.prompts import prompt_name
from hicra.traces.rundir import RunReader
from tests.verl.cpu_names import ENGINE
from tests.verl.tiny_verl import save_lab

ROOT = Path(__file__).parents[2]
ALPHA = 0.3


def settings(folder: Path) -> list[str]:
    """Two prompts of four completions a step; everything as small as it goes."""
    actor, rollout, model = (f"actor_rollout_ref.{part}" for part in ("actor", "rollout", "model"))
    return [
        "algorithm.adv_estimator=grpo",
        "algorithm.norm_adv_by_std_in_grpo=false",
        f"+algorithm.hicra.alpha={ALPHA}",
        f"+algorithm.hicra.grams={folder / 'words.json'}",
        "+algorithm.hicra.rollouts_per_step=4",
        "critic.enable=false",
        f"data.train_files={folder / 'train.parquet'}",
        f"data.val_files={folder / 'train.parquet'}",
        "data.val_max_samples=2",
        "data.train_batch_size=2",
        "data.max_prompt_length=32",
        "data.max_response_length=16",
        "data.dataloader_num_workers=0",
        f"{model}.path={folder / 'model'}",
        f"{model}.use_remove_padding=false",
        f"+{model}.override_config.attn_implementation=sdpa",
        f"{actor}.strategy=fsdp2",
        f"{actor}.ppo_micro_batch_size_per_gpu=4",
        f"{actor}.use_torch_compile=false",
        f"{actor}.fsdp_config.use_torch_compile=false",
        f"{actor}.fsdp_config.model_dtype=fp32",
        f"+{actor}.fsdp_config.mixed_precision={{param_dtype: fp32, reduce_dtype: fp32, buffer_dtype: fp32}}",
        f"{actor}.optim.lr=1e-2",
        f"{rollout}.name={ENGINE}",
        f"{rollout}.n=4",
        f"{rollout}.tensor_model_parallel_size=1",
        f"{rollout}.n_gpus_per_node=1",
        f"{rollout}.log_prob_micro_batch_size_per_gpu=4",
        f"{rollout}.agent.num_workers=1",
        f"{rollout}.val_kwargs.temperature=1.0",
        "reward.num_workers=1",
        f"reward.custom_reward_function.path={folder / 'reward.py'}",
        "trainer.device=cpu",
        "trainer.n_gpus_per_node=1",
        "trainer.logger=[console,file]",
        "trainer.val_before_train=false",
        "trainer.test_freq=2",
        "trainer.save_freq=1",
        f"trainer.default_local_dir={folder / 'out'}",
        "transfer_queue.backend.SimpleStorage.num_data_storage_units=1",
        "ray_kwargs.ray_init.num_cpus=16",
        "+ray_kwargs.ray_init.num_gpus=2",  # places for workers: the machine has none
        "+ray_kwargs.ray_init.include_dashboard=false",
        "+ray_kwargs.ray_init.object_store_memory=300000000",
    ]


@dataclass(frozen=True)
class Run:
    """What a run left: the run directory, and the metrics that verl logged, by step."""

    folder: Path
    reader: RunReader
    logged: dict[int, dict[str, Any]]


def apart(folder: Path) -> list[str]:
    """A rollout engine of its own, an update for each prompt, new weights after two of them."""
    rollout = "actor_rollout_ref.rollout"
    return [
        "actor_rollout_ref.hybrid_engine=false",
        "actor_rollout_ref.actor.ppo_mini_batch_size=1",
        "trainer.v1.separate_async.parameter_sync_step=2",
        f"{rollout}.nnodes=1",
        f"{rollout}.checkpoint_engine.backend=file",
        f"+{rollout}.checkpoint_engine.engine_kwargs.file.folder={folder}",
    ]


TOGETHER = ["actor_rollout_ref.actor.ppo_mini_batch_size=2"]


def run(folder: Path, mode: str, steps: int, extra: list[str]) -> Run:
    """Train with verl's own command."""
    log = folder / f"{mode}.jsonl"
    env = os.environ | {
        "PYTHONPATH": str(ROOT),
        "VERL_USE_EXTERNAL_MODULES": "tests.verl.cpu_verl,hicra.engines.verl",
        "VERL_FILE_LOGGER_PATH": str(log),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "VERL_LOGGING_LEVEL": "WARN",
        "RAY_worker_niceness": "0",
    }
    command = [sys.executable, "-m", "verl.trainer.main_ppo", *settings(folder), *extra]
    command += [f"trainer.v1.trainer_mode={mode}", f"trainer.total_training_steps={steps}"]
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-6000:] + done.stdout[-2000:]
    lines = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    return Run(folder, RunReader(folder / "out" / "hicra_run"), {line["step"]: line["data"] for line in lines})


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("whole")
    save_lab(folder)
    return run(folder, "hicra_sync", 2, TOGETHER)


@pytest.fixture(scope="module")
def second(first: Run) -> Run:
    return run(first.folder, "hicra_colocate_async", 3, TOGETHER)


def weights(run: Run, step: int) -> dict[str, Any]:
    path = run.folder / "out" / f"global_step_{step}" / "actor" / "model_world_size_1_rank_0.pt"
    return torch.load(path, weights_only=False)  # type: ignore[no-any-return]


def test_every_step_is_recorded_with_what_verl_computed(first: Run) -> None:
    assert first.reader.steps == [1, 2]
    assert first.reader.meta["engine"] == "verl"
    assert first.reader.meta["config"]["credit"]["alpha"] == ALPHA
    assert first.reader.meta["config"]["trainer"]["trainer"]["v1"]["trainer_mode"] == "sync"
    for metrics in first.reader.metrics():
        logged = first.logged[metrics["step"]]
        assert logged["hicra/alpha"] == metrics["alpha"] == ALPHA
        assert logged["hicra/planning_share"] == metrics["planning_share"] > 0
        assert logged["actor/grad_norm"] == metrics["grad_norm"] > 0
        assert logged["actor/loss"] == metrics["loss"]
        assert logged["critic/score/mean"] == pytest.approx(metrics["reward"])
        assert logged["response_length/mean"] == pytest.approx(metrics["length"])
        assert logged["actor/entropy"] == pytest.approx(
            (
                metrics["entropy_planning"] * metrics["n_planning"]
                + metrics["entropy_execution"] * metrics["n_execution"]
            )
            / (metrics["n_planning"] + metrics["n_execution"]),
            rel=1e-5,
        )
        assert 0 < logged["timing_s/hicra"] < logged["timing_s/step"]
        # the rollout engine has the actor's weights (verl hands them over in bfloat16): both say the same of its tokens
        assert logged["training/rollout_actor_probs_pearson_corr"] > 0.99


def test_what_was_trained_on_is_the_formula(first: Run) -> None:
    rows = first.reader.rollouts().to_pylist()
    assert [row["group_id"] for row in rows] == [0] * 8  # a whole group of four in each of two steps
    changed = 0
    for row in rows:
        mean = np.mean([other["reward"] for other in rows if other["step"] == row["step"]])
        before, planning = float(row["reward"] - mean), torch.tensor(row["planning"])
        expected = hicra(torch.full((len(planning),), before), planning, ALPHA)
        assert row["advantage"] == pytest.approx(expected.tolist(), abs=1e-6)
        changed += int(planning.sum()) * (before != 0)
    assert changed > 0


def test_prompts_keep_their_names_from_run_to_run(first: Run) -> None:
    """A name is a hash of the conversation, whatever it went through on its way."""
    problems = pq.read_table(first.folder / "train.parquet").column("prompt").to_pylist()
    names = {prompt_name(problem, {}): problem[0]["content"] for problem in problems}
    for row in first.reader.rollouts().to_pylist():
        assert names[row["prompt_id"]] == row["prompt"].strip()
    found = first.reader.completions().column("prompt_id").to_pylist()
    assert len(found) == 16
    assert set(found) <= names.keys()


def test_the_weights_moved(first: Run) -> None:
    before, after = weights(first, 1), weights(first, 2)
    assert before.keys() == after.keys()
    moved = [name for name in before if not torch.equal(_local(before[name]), _local(after[name]))]
    assert len(moved) == len(before)


def _local(tensor: Any) -> torch.Tensor:
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor  # type: ignore[no-any-return]


def test_validation_is_recorded(first: Run) -> None:
    (found,) = first.reader.evals()
    assert found["step"] == 2
    names = [name for name in found if name.startswith("val-")]
    assert "val-aux/lab/reward/mean@1" in names
    assert {name: found[name] for name in names} == {name: first.logged[2][name] for name in names}
    assert found["val-aux/lab/reward/mean@1"] > 0


def test_another_mode_goes_on_from_the_checkpoint(second: Run) -> None:
    assert second.reader.steps == [1, 2, 3]
    assert second.reader.meta["resumes"][0]["step"] == 2
    assert second.reader.meta["resumes"][0]["config"]["trainer"]["trainer"]["v1"]["trainer_mode"] == "colocate_async"
    assert [metrics["step"] for metrics in second.reader.metrics()] == [1, 2, 3]
    assert list(second.logged) == [3]
    assert second.logged[3]["hicra/planning_share"] == second.reader.metrics()[-1]["planning_share"]
    assert len(second.reader.completions([3])) == 8
    assert (second.folder / "out" / "global_step_3" / "hicra_state.json").exists()


@pytest.mark.skipif("HICRA_VERL_ALL" not in os.environ, reason="three minutes more: HICRA_VERL_ALL=1 runs it")
def test_a_rollout_engine_apart_has_several_updates_a_step(tmp_path: Path) -> None:
    save_lab(tmp_path)
    (tmp_path / "weights").mkdir()
    found = run(tmp_path, "hicra_separate_async", 2, apart(tmp_path / "weights"))
    assert found.reader.steps == [1, 2]
    for step in (1, 2):
        rows = found.reader.completions([step]).to_pylist()
        groups = [row["group_id"] for row in rows]
        assert sorted(groups.count(group) for group in set(groups)) == [4, 4]  # of the step's two updates
        logged, recorded = found.logged[step], found.reader.metrics()[step - 1]
        # over the tokens of both, not the mean of two means
        assert recorded["n_planning"] == sum(row["n_planning"] for row in rows)
        assert logged["hicra/logprob_execution"] == pytest.approx(
            sum(row["sum_logprob_execution"] for row in rows) / sum(row["n_execution"] for row in rows)
        )
    assert found.logged[2]["training/off_policy/trajectory_staleness/mean"] > 0
    assert (tmp_path / "weights" / "2.safetensors").exists()
