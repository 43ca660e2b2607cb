"""HICRA on TRL's asynchronous GRPO, with scripted rollouts: credit, records, identity, and what is relied on."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("trl")
from trl.experimental.async_grpo import AsyncGRPOConfig, AsyncGRPOTrainer
from trl.experimental.async_grpo.async_grpo_trainer import DataCollatorForRollout
from trl.experimental.async_grpo.packing import TreeRow

from hicra.credit.hicra import hicra
from hicra.engines.trl_async import AsyncHICRAConfig, AsyncHICRATrainer
from hicra.errors import ConfigError, DataError, RunDirError
from hicra.labels.labeller import Labeller
from hicra.traces.rundir import RunReader
from tests.tiny_async import IGNORED, G, make_it_run_on_a_cpu, samples, trainer
from tests.tiny_trl import make_tiny, model

pytestmark = [pytest.mark.filterwarnings(text) for text in IGNORED]
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    make_it_run_on_a_cpu(monkeypatch)


def outcome(kind: type, config: type, folder: Path, **settings: Any) -> tuple[Any, list[str], dict[str, Any]]:
    made = trainer(kind, config, folder, **settings)
    made.train()
    names = ("loss", "grad_norm", "entropy", "ratio", "reward", "clip_ratio/region_mean")
    logs = [repr({name: line[name] for name in names}) for line in made.state.log_history if "loss" in line]
    return made, logs, {name: value.clone() for name, value in made.model.state_dict().items()}


def test_alpha_zero_is_asynchronous_grpo_bit_for_bit(tmp_path: Path) -> None:
    _, logs, weights = outcome(AsyncGRPOTrainer, AsyncGRPOConfig, tmp_path / "parent")
    same = {"alpha": 0.0, "scale_rewards": "group"}
    _, mine, mine_weights = outcome(AsyncHICRATrainer, AsyncHICRAConfig, tmp_path / "hicra", **same)
    assert mine == logs
    assert [name for name in weights if not torch.equal(weights[name], mine_weights[name])] == []
    _, _, some = outcome(AsyncHICRATrainer, AsyncHICRAConfig, tmp_path / "some", scale_rewards="group", alpha=0.5)
    assert any(not torch.equal(weights[name], some[name]) for name in weights)


@pytest.mark.parametrize("scale", ["none", "group"])
def test_every_trained_token_has_the_advantage_of_the_formula(scale: str, tmp_path: Path) -> None:
    """Read where TRL's loss reads: the flat terms of its packed rows."""
    seen: list[tuple[list[int], list[float]]] = []

    class Spy(AsyncHICRATrainer):
        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            index = inputs["token_index"][0]
            n = int((index >= 0).sum())
            targets = inputs["shift_labels"][0][index[:n]]
            for segment in range(int(inputs["segment_id"][0].max()) + 1):
                here = inputs["segment_id"][0][:n] == segment
                seen.append((targets[here].tolist(), inputs["advantages"][0][:n][here].tolist()))
            return super().compute_loss(model, inputs, *args, **kwargs)

    outcome(Spy, AsyncHICRAConfig, tmp_path, alpha=0.3, scale_rewards=scale)
    rollouts = samples(12)
    assert len(seen) == 24
    labeller = Labeller("paper", make_tiny().make_tokenizer())
    planning = 0
    for (targets, advantages), sample in zip(seen, rollouts, strict=False):
        mask = sample.completion_mask.astype(bool)
        assert targets == sample.input_ids[mask].tolist()
        group = [s.metrics["reward"] for s in rollouts if s.group_id == sample.group_id]
        a = sample.metrics["reward"] - np.mean(group)
        a = a / (np.std(group) + 1e-8) if scale == "group" else a
        flags = torch.from_numpy(labeller.label(sample.input_ids, mask).mask[mask])
        want = hicra(torch.tensor([a], dtype=torch.float32).expand(len(flags)), flags, 0.3)
        assert advantages == pytest.approx(want.tolist(), rel=1e-5, abs=1e-7)
        planning += int(flags.sum())
    assert planning > 5


@pytest.mark.parametrize("budget", [0, 40])
def test_records_are_those_of_the_tokens(budget: int, tmp_path: Path) -> None:
    """At learning rate 0 a forward of our own finds the same log-probs and entropies, however samples are packed."""
    made, _, _ = outcome(AsyncHICRATrainer, AsyncHICRAConfig, tmp_path, learning_rate=0.0, token_budget=budget)
    reader = RunReader(made.args.run_path)
    policy, tokenizer = model(tmp_path / "model").eval(), make_tiny().make_tokenizer()
    rows = reader.rollouts().to_pylist()
    assert rows
    for row in rows:
        prompt = tokenizer(row["prompt"])["input_ids"]
        with torch.no_grad():
            logits = policy(torch.tensor([prompt + row["token_ids"]])).logits[0, len(prompt) - 1 : -1]
        log_p = logits.log_softmax(-1)
        own = [value is not None for value in row["logprob"]]
        picked = log_p.gather(1, torch.tensor(row["token_ids"])[:, None])[:, 0]
        assert np.allclose([v for v in row["logprob"] if v is not None], picked[own], atol=1e-4)
        entropy = -(log_p.exp() * log_p).sum(-1)
        assert np.allclose([v for v in row["entropy"] if v is not None], entropy[own], atol=1e-4)
        assert row["completion"] == tokenizer.decode(row["token_ids"])
    for line in reader.metrics():
        mine = reader.completions([line["step"]]).to_pylist()
        assert line["n_planning"] == sum(row["n_planning"] for row in mine)
        assert line["reward"] == pytest.approx(np.mean([row["reward"] for row in mine]))
        assert line["perplexity_execution"] == pytest.approx(
            np.exp(-sum(r["sum_logprob_execution"] for r in mine) / sum(r["n_execution"] for r in mine)), rel=1e-6
        )
    assert set(Counter(row["group_id"] for row in rows).values()) == {G}


def test_what_the_worker_must_say_and_where_runs_may_go(tmp_path: Path) -> None:
    bare = samples(12)
    for sample in bare:
        del sample.metrics["reward_std"]
    with pytest.raises(DataError, match="no 'reward_std'"):
        trainer(AsyncHICRATrainer, AsyncHICRAConfig, tmp_path / "bare", rollouts=bare).train()
    made, _, _ = outcome(
        AsyncHICRATrainer, AsyncHICRAConfig, tmp_path / "ok", max_steps=1, rollouts=bare, scale_rewards="group"
    )
    assert RunReader(made.args.run_path).steps == [1]
    with pytest.raises(RunDirError, match="holds a run already"):
        trainer(AsyncHICRATrainer, AsyncHICRAConfig, tmp_path / "ok", max_steps=1).train()
    with pytest.raises(ConfigError, match="in an AsyncHICRAConfig"):
        trainer(AsyncHICRATrainer, AsyncGRPOConfig, tmp_path / "wrong")


def test_a_resumed_run_goes_on_in_its_run_directory(tmp_path: Path) -> None:
    save = {"save_strategy": "steps", "save_steps": 1}
    outcome(AsyncHICRATrainer, AsyncHICRAConfig, tmp_path, max_steps=2, **save)
    made = trainer(AsyncHICRATrainer, AsyncHICRAConfig, tmp_path, max_steps=3, **save)
    made.train(resume_from_checkpoint=True)
    reader = RunReader(made.args.run_path)
    assert reader.steps == [1, 2, 3]
    assert made.state.global_step == 3


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"estimator": "entropy_advantage"}, "has none before its loss"),
        ({"estimator": "top_entropy"}, "has none before its loss"),
        ({"estimator": "entropy_bonus"}, "has none before its loss"),
        ({"estimator": "placebo", "placebo_redraw_every": 3}, "cannot be drawn anew"),
        ({"scale_rewards": "batch"}, "unknown scale_rewards"),
        ({"alpha": 1.0}, "alpha is out of range"),
    ],
)
def test_what_it_cannot_do_is_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        AsyncHICRAConfig(output_dir="x", use_cpu=True, bf16=False, **settings)


def test_the_ground_that_it_stands_on() -> None:
    assert list(inspect.signature(AsyncGRPOTrainer.compute_loss).parameters) == [
        "self", "model", "inputs", "return_outputs", "num_items_in_batch",
    ]  # fmt: skip
    source = inspect.getsource(AsyncGRPOTrainer.compute_loss)
    assert source.count("model(") == 1
    assert "outputs.log_probs.flatten()[token_index]" in source
    assert "outputs.entropy.flatten()[token_index]" in source
    row = TreeRow()
    for sample in samples(2):
        row.add({n: getattr(sample, n) for n in ("input_ids", "completion_mask", "old_log_probs", "advantage", "group_id", "metrics")})  # fmt: skip  # noqa: E501
    packed = row.pack()
    flat = torch.cat([torch.from_numpy(s.input_ids[s.completion_mask.astype(bool)]) for s in samples(2)])
    assert torch.equal(packed["shift_labels"][packed["token_index"]], flat)  # row by row, sample by sample
    assert row.trained == len(flat)
    batch = DataCollatorForRollout(0)([[row]])
    assert batch["advantages"].shape == batch["token_index"].shape == (1, len(flat))


TWO = """
import json, os, sys
from pathlib import Path
import pytest
from hicra.engines.trl_async import AsyncHICRAConfig, AsyncHICRATrainer
from tests.tiny_async import make_it_run_on_a_cpu, samples, trainer
make_it_run_on_a_cpu(pytest.MonkeyPatch())
folder, rank = Path(sys.argv[1]), os.environ["RANK"]
from tests.tiny_trl import model
model(folder / f"{rank}" / "model")
made = trainer(AsyncHICRATrainer, AsyncHICRAConfig, folder / rank, ddp_backend="gloo", alpha=0.3,
               run_dir=str(folder / "run"), rollouts=samples(16), per_device_train_batch_size=4)
made.train()
weights = made.accelerator.unwrap_model(made.model).parameters()
(folder / f"end-{rank}.json").write_text(json.dumps(float(sum(p.double().sum() for p in weights)).hex()))
"""


@pytest.mark.slow
def test_two_processes_write_one_record(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(TWO)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([*command, str(tmp_path)], env=env, cwd=ROOT, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-3000:]
    ends = [json.loads((tmp_path / f"end-{rank}.json").read_text()) for rank in (0, 1)]
    assert ends[0] == ends[1]
    reader = RunReader(tmp_path / "run")
    rows = reader.completions().to_pylist()
    assert len(rows) == 3 * 2 * 8  # steps, micro-batches, samples of both processes
    rollouts = samples(16)
    rewards = Counter(round(s.metrics["reward"], 9) for s in rollouts)
    assert Counter(round(row["reward"], 9) for row in rows) <= rewards
    for line in reader.metrics():
        mine = [row for row in rows if row["step"] == line["step"]]
        assert line["n_planning"] == sum(row["n_planning"] for row in mine)
        total = sum(row["n_planning"] + row["n_execution"] for row in mine)
        trained = {round(s.metrics["reward"], 9): int(s.completion_mask.sum()) for s in rollouts}
        assert total == sum(trained[round(row["reward"], 9)] for row in mine)
        assert all(-5 < row["sum_logprob_execution"] / max(1, row["n_execution"]) < 0 for row in mine)
