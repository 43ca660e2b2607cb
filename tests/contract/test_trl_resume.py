"""Killed and resumed, a run gives the numbers of an uninterrupted one; checkpoints fall on generation boundaries."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("trl")
from trl import GRPOConfig, GRPOTrainer

from hicra.engines.resume import last_complete_checkpoint, steps_per_boundary
from hicra.engines.trl import HICRAConfig, HICRATrainer
from hicra.errors import ConfigError, HicraWarning
from hicra.grams.gramset import GramSet
from hicra.traces.rundir import RunReader
from tests.tiny_trl import IGNORED, dataset, trainer

pytestmark = [
    pytest.mark.filterwarnings(text)
    for text in [
        *IGNORED,
        "ignore:.*of the first batch:hicra.engines.notice.HicraWarning",
    ]
]

# 16 prompts: 8 chunks of 2, of 4 steps each (two steps, twice), 32 steps an epoch
LONG: dict[str, Any] = {
    "steps_per_generation": 4,
    "num_iterations": 2,
    "max_steps": 12,
    "save_strategy": "steps",
    "save_steps": 4,
    "logging_steps": 3,  # falls between checkpoints, so that running metrics must survive
}


def numbers(made: Any) -> list[list[tuple[str, Any]]]:
    clock = ("time", "runtime", "per_second", "train_loss", "flos")
    lines = [sorted(line.items()) for line in made.state.log_history]  # those of a checkpoint are sorted
    return [[(k, v) for k, v in line if not any(word in k for word in clock)] for line in lines]


def run_numbers(path: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k != "step_time"} for line in RunReader(path).metrics()]


def weights(made: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in made.model.state_dict().items()}


def assert_same_run(first: Any, second: Any) -> None:
    assert [repr(line) for line in numbers(first)] == [repr(line) for line in numbers(second)]
    a, b = weights(first), weights(second)
    assert [name for name in a if not torch.equal(a[name], b[name])] == []
    mine, theirs = first.args.run_path, second.args.run_path
    assert run_numbers(mine) == run_numbers(theirs)
    assert RunReader(mine).completions().equals(RunReader(theirs).completions())
    assert RunReader(mine).rollouts().equals(RunReader(theirs).rollouts())


class Stop(Exception):
    """Stands for whatever ends a process."""


def interrupted(folder: Path, after: int, **settings: Any) -> None:
    """A run that dies in the middle of the step after `after`, from a reward function's point of view."""
    made = trainer(HICRATrainer, HICRAConfig, folder, **settings)
    compute = made._compute_loss

    def dying(*args: Any) -> Any:
        if made.state.global_step == after:
            raise Stop
        return compute(*args)

    made._compute_loss = dying
    with pytest.raises(Stop):
        made.train()


CASES: dict[str, dict[str, Any]] = {
    "two steps, twice": LONG,
    # the checkpoint of step 6 holds what steps 5 and 6 have gathered for the log line of step 8
    "plain": {"max_steps": 8, "save_strategy": "steps", "save_steps": 2, "logging_steps": 4},
    # 4 prompts are one chunk of 2 twice over: epochs of two steps, each with an order of its own
    "third epoch": {
        "max_steps": 9,
        "save_strategy": "steps",
        "save_steps": 5,
        "train_dataset": dataset(4),
    },
    "start of an epoch": {"max_steps": 9, "save_strategy": "epoch", "train_dataset": dataset(6)},
    "with evaluation": {
        "max_steps": 6,
        "save_strategy": "steps",
        "save_steps": 2,
        "eval_strategy": "steps",
        "eval_steps": 1,
        "per_device_eval_batch_size": 4,
        "eval_dataset": dataset(4),
    },
    "random mask, warm-up, KL": {
        "max_steps": 6,
        "save_strategy": "steps",
        "save_steps": 3,
        "estimator": "random_mask",
        "alpha_schedule": "warmup",
        "alpha_warmup_steps": 5,
        "beta": 0.02,
    },
    "placebo drawn anew": {
        "max_steps": 6,
        "save_strategy": "steps",
        "save_steps": 3,
        "estimator": "placebo",
        "placebo_redraw_every": 2,
        "grams": "wait",  # a batch this small has no partners for more
    },
    "adaptive entropy": {
        "max_steps": 6,
        "save_strategy": "steps",
        "save_steps": 4,
        "use_adaptive_entropy": True,
        "entropy_target": 3.4,
    },
}


@pytest.mark.parametrize("case", CASES)
def test_a_resumed_run_gives_the_numbers_of_an_uninterrupted_one(case: str, tmp_path: Path) -> None:
    settings = dict(CASES[case])
    if "grams" in settings:
        settings["grams"] = str(GramSet.from_grams([settings["grams"]]).save(tmp_path / "grams.json"))
    whole = trainer(HICRATrainer, HICRAConfig, tmp_path / "whole", **settings)
    whole.train()
    dies = int(settings["max_steps"]) - 1
    interrupted(tmp_path / "parts", dies, **settings)
    resumed = trainer(HICRATrainer, HICRAConfig, tmp_path / "parts", **settings)
    checkpoint = last_complete_checkpoint(Path(resumed.args.output_dir), 1)
    assert checkpoint is not None
    torch.manual_seed(99)  # whatever a new process starts from
    resumed.train(resume_from_checkpoint=True)
    assert_same_run(whole, resumed)
    began = int(checkpoint.name.split("-")[1])
    assert RunReader(resumed.args.run_path).meta["resumes"][0]["step"] == began
    superseded = sorted(p.name for p in (resumed.args.run_path / "superseded").rglob("completions/*.parquet"))
    assert superseded == [f"step-{n:06d}.rank-0.parquet" for n in range(began + 1, dies + 1)]


SCRIPT = """
import sys
from pathlib import Path
from tests.tiny_trl import trainer
from tests.contract.test_trl_resume import LONG
from hicra.engines.trl import HICRAConfig, HICRATrainer
made = trainer(HICRATrainer, HICRAConfig, Path(sys.argv[1]), **LONG)
made.train()
"""


@pytest.mark.slow
@pytest.mark.parametrize("after", [6])
def test_kill_9_in_the_middle(after: int, tmp_path: Path) -> None:
    """A process is killed somewhere in step 7 or 8, within a generation; another one resumes from step 4."""
    root = Path(__file__).parents[2]
    folder = tmp_path / "killed"
    env = {**os.environ, "PYTHONPATH": str(root)}
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", SCRIPT, str(folder)], env=env, cwd=root)
    log = folder / "out" / "hicra_run" / "metrics.jsonl"
    deadline = time.monotonic() + 300
    try:
        while not (log.exists() and f'"event":"commit","step":{after}' in log.read_text().replace(" ", "")):
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    killed = RunReader(folder / "out" / "hicra_run")
    assert killed.steps[:after] == list(range(1, after + 1))
    assert len(killed.metrics()) == len(killed.steps)
    assert killed.completions().num_rows > 0

    whole = trainer(HICRATrainer, HICRAConfig, tmp_path / "whole", **LONG)
    whole.train()
    resumed = trainer(HICRATrainer, HICRAConfig, folder, **LONG)
    resumed.train(resume_from_checkpoint=True)
    assert_same_run(whole, resumed)


# --- where checkpoints fall -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("micro_batches", "accumulation", "steps"),
    [(1, 1, 1), (2, 2, 1), (4, 2, 2), (8, 2, 4), (1, 4, 1), (3, 2, 3), (6, 4, 3), (4, 6, 2)],
)
def test_steps_between_boundaries(micro_batches: int, accumulation: int, steps: int) -> None:
    assert steps_per_boundary(micro_batches, accumulation) == steps
    # by counting: the first step whose end is the end of a generation
    counted = next(s for s in range(1, 100) if s * accumulation % micro_batches == 0)
    assert counted == steps


def config(tmp_path: Path, **settings: Any) -> HICRAConfig:
    return HICRAConfig(
        output_dir=str(tmp_path),
        use_cpu=True,
        bf16=False,
        report_to="none",
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        num_generations=4,
        **settings,
    )


def test_save_steps_is_rounded_up_and_says_so(tmp_path: Path) -> None:
    with pytest.warns(HicraWarning, match="save_steps=5 becomes 8: one generation lasts 4 optimizer steps"):
        made = config(tmp_path, steps_per_generation=4, num_iterations=2, save_steps=5)
    assert made.save_steps == 8
    assert config(tmp_path, steps_per_generation=4, num_iterations=2, save_steps=8).save_steps == 8
    assert config(tmp_path, save_steps=5).save_steps == 5
    unsaved = config(tmp_path, steps_per_generation=4, num_iterations=2, save_strategy="no", save_steps=5)
    assert unsaved.save_steps == 5


def test_the_best_checkpoint_cannot_wait(tmp_path: Path) -> None:
    best: dict[str, Any] = {
        "steps_per_generation": 4,
        "eval_strategy": "steps",
        "per_device_eval_batch_size": 4,
        "metric_for_best_model": "reward",
    }
    with pytest.raises(ConfigError, match=r"eval_steps a multiple of 2(.|\n)*mend: *eval_steps=4"):
        config(tmp_path, save_strategy="best", eval_steps=3, **best)
    with pytest.raises(ConfigError, match="save_steps a multiple of 2"):
        config(tmp_path, save_steps=3, eval_steps=3, load_best_model_at_end=True, **best)
    config(tmp_path, save_strategy="best", eval_steps=2, **best)


def test_a_checkpoint_asked_for_within_a_generation_waits_for_its_end(tmp_path: Path) -> None:
    """Rounded save_steps do not help where an epoch ends with a short step: 3 micro-batches a generation, 2 a step."""
    settings: dict[str, Any] = {"steps_per_generation": 3, "max_steps": 8, "save_strategy": "steps", "save_steps": 3}
    made = trainer(HICRATrainer, HICRAConfig, tmp_path, train_dataset=dataset(9), **settings)
    asked: list[int] = []
    saved: list[int] = []
    save, maybe = made._save_checkpoint, made._maybe_log_save_evaluate

    def spy_maybe(*args: Any, **kwargs: Any) -> None:
        if made.control.should_save:
            asked.append(made.state.global_step)
        maybe(*args, **kwargs)

    def spy_save(*args: Any) -> None:
        saved.append(made.state.global_step)
        assert made._step % 3 == 0 or made.state.global_step == 8
        save(*args)

    made._maybe_log_save_evaluate, made._save_checkpoint = spy_maybe, spy_save
    made.train()
    assert asked
    assert saved


def test_a_checkpoint_within_a_generation_is_not_resumed_from(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"steps_per_generation": 4, "save_strategy": "steps", "save_steps": 2}
    made = trainer(HICRATrainer, HICRAConfig, tmp_path, max_steps=3, **settings)
    with pytest.warns(HicraWarning, match="step 3 lies within a generation"):
        made.train()  # the last step is saved wherever it falls
    again = trainer(HICRATrainer, HICRAConfig, tmp_path, max_steps=6, **settings)
    with pytest.raises(ConfigError, match=r"checkpoint-3 lies within a generation(.|\n)*multiple of 2"):
        again.train(resume_from_checkpoint=True)
    again = trainer(HICRATrainer, HICRAConfig, tmp_path, max_steps=6, **settings)
    again.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-2"))
    assert RunReader(again.args.run_path).steps == [1, 2, 3, 4, 5, 6]


def test_a_torn_checkpoint_is_passed_over(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"max_steps": 4, "save_strategy": "steps", "save_steps": 1}
    trainer(HICRATrainer, HICRAConfig, tmp_path, **settings).train()
    out = tmp_path / "out"
    assert last_complete_checkpoint(out, 1) == out / "checkpoint-4"
    (out / "checkpoint-4" / "trainer_state.json").write_text('{"global_step": 4, "ep')
    assert last_complete_checkpoint(out, 1) == out / "checkpoint-3"
    (out / "checkpoint-3" / "rng_state.pth").unlink()
    assert last_complete_checkpoint(out, 1) == out / "checkpoint-2"
    (out / "checkpoint-2" / "hicra_state.rank-0.json").unlink()
    assert last_complete_checkpoint(out, 1) == out / "checkpoint-1"
    assert last_complete_checkpoint(out, 2) is None
    with pytest.raises(ConfigError, match="no complete checkpoint"):
        trainer(HICRATrainer, HICRAConfig, tmp_path, **settings).train(str(out / "checkpoint-4"))


def test_nothing_to_resume_from(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to resume from"):
        trainer(HICRATrainer, HICRAConfig, tmp_path).train(resume_from_checkpoint=True)


def test_a_run_that_plain_grpo_began_can_be_taken_over(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"max_steps": 2, "save_strategy": "steps", "save_steps": 2}
    trainer(GRPOTrainer, GRPOConfig, tmp_path, **settings).train()
    made = trainer(HICRATrainer, HICRAConfig, tmp_path, **{**settings, "max_steps": 4})
    made.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-2"))
    assert RunReader(made.args.run_path).steps == [3, 4]


def test_the_state_in_a_checkpoint_is_plain_json(tmp_path: Path) -> None:
    made = trainer(HICRATrainer, HICRAConfig, tmp_path, max_steps=2, save_strategy="steps", save_steps=2)
    made.train()
    state = json.loads((tmp_path / "out" / "checkpoint-2" / "hicra_state.rank-0.json").read_text())
    assert state["at_boundary"] is True
    assert state["generation"] == 2
