"""What a step in verl leaves: metrics for its logger, rows, checkpoints. Real advantages over a real queue."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from hicra.dynamics.gauge import Gauge
from hicra.engines.verl_batch import groups_of, numbered, prompt_names
from hicra.errors import DataError, HicraWarning, RunDirError
from hicra.traces.rundir import RunReader
from tests.verl.tiny_verl import COMPLETIONS, PROMPTS, Batch, jagged, trainer, verl_config

pytestmark = pytest.mark.usefixtures("queue")


class Harness:
    """Our trainer with its run directory begun, on batches from the queue instead of workers."""

    def __init__(self, model: Path, folder: Path, *lines: str, step: int = 1) -> None:
        grams = f"+algorithm.hicra.grams={model / 'grams.json'}"
        folders = f"trainer.default_local_dir={folder}"
        self.trainer = trainer("hicra_sync", verl_config(model, grams, folders, *lines), step)
        self.trainer.global_steps = step - 1
        self.trainer._load_checkpoint()
        self.trainer.global_steps = step
        self.batch = Batch(self.trainer.tokenizer)
        self.run = folder / "hicra_run"

    def step(self, monkeypatch: pytest.MonkeyPatch, partition: str = "record", **put: Any) -> dict[str, Any]:
        """verl's own `step`, whose inner part is our batch's way from the queue through `_compute_advantage`."""
        handle = self.batch.put(partition, **put)

        def once(metrics: dict[str, Any], timing_raw: dict[str, float], sample_batch_size: int) -> Any:
            found = self.trainer._compute_advantage(handle, metrics)
            metrics.update({"actor/loss": 0.25, "actor/grad_norm": torch.tensor(2.0).item(), "actor/lr": 1e-6})
            return found

        monkeypatch.setattr(self.trainer, "_step_once", once)
        metrics: dict[str, Any] = {}
        timing: dict[str, float] = {}
        self.trainer.prepare_step = dict
        self.trainer.step(metrics, timing)
        assert timing["hicra"] > 0
        self.trainer.global_steps += 1
        return metrics


def test_a_steps_rows_are_what_was_in_the_queue(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = Harness(model_folder, tmp_path, "+algorithm.hicra.alpha=0.5")
    metrics = harness.step(monkeypatch)
    reader = RunReader(harness.run)
    assert reader.steps == [1]
    assert reader.grams is not None
    assert reader.grams["name"] == "lab"
    batch, rows = (
        harness.batch,
        sorted(reader.rollouts().to_pylist(), key=lambda row: COMPLETIONS.index(row["completion"].strip())),
    )
    assert [row["token_ids"] for row in rows] == [ids.tolist() for ids in batch.responses]
    assert [row["prompt"] for row in rows] == [PROMPTS[0], PROMPTS[0], PROMPTS[1], PROMPTS[1]]
    assert [row["reward"] for row in rows] == [1.0, 0.0, 0.0, 0.5]
    assert len({row["group_id"] for row in rows[:2]}) == len({row["group_id"] for row in rows[2:]}) == 1
    for i, row in enumerate(rows):
        inside = batch.masks[i].tolist()
        for name, values in (("logprob", batch.logprobs[i]), ("entropy", batch.entropies[i])):
            expected = [v if m else None for v, m in zip(values.tolist(), inside, strict=True)]
            assert row[name] == pytest.approx(expected)
    assert rows[0]["advantage"][:6] == pytest.approx([0.75, 0.75, 0.75, 0.75, 0.75, 0.5])  # a phrase of five tokens
    assert rows[1]["advantage"][4:8] == pytest.approx([-0.25] * 4)
    assert rows[3]["advantage"][4:7] == [0, 0, 0]

    completions = sorted(reader.completions().to_pylist(), key=lambda row: -row["advantage"])
    assert [row["advantage"] for row in completions] == [0.5, 0.25, -0.25, -0.5]
    assert [row["truncated"] for row in completions] == [False, False, False, True]
    assert [row["n_planning"] for row in completions] == [5, 4, 0, 9]
    assert completions[0]["sum_logprob_planning"] == pytest.approx(float(batch.logprobs[0][:5].sum()))

    (recorded,) = reader.metrics()
    assert recorded["loss"] == 0.25
    assert recorded["grad_norm"] == 2.0
    assert recorded["reward"] == pytest.approx(1.5 / 4)
    assert recorded["truncated"] == 0.25
    assert metrics["hicra/alpha"] == recorded["alpha"] == 0.5
    # added by hand: 5 * 0.25 + 9 * 0.25 + 4 * 0.125
    assert metrics["hicra/added_mass"] == pytest.approx(4.0)
    assert metrics["hicra/planning_share"] == pytest.approx(18 / sum(int(mask.sum()) for mask in batch.masks))
    assert metrics["hicra/entropy_planning"] == pytest.approx(
        float(batch.entropies[0][:5].sum() + batch.entropies[1][4:13].sum() + batch.entropies[3][:4].sum()) / 18
    )
    assert {name for name in metrics if name.startswith("hicra/alarm/")}


def test_completions_that_verl_filled_up_with_are_left_out(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from verl.trainer.ppo.padding_utils import upsample_batch_to_divisible_size

    harness = Harness(model_folder, tmp_path)
    made = harness.trainer
    real = harness.batch.put

    def filled(partition: str, **put: Any) -> Any:
        import transfer_queue
        from tensordict import TensorDict

        actors = ("old_log_probs", "entropy")  # verl's actor comes after the filling up
        handle = real(partition, without=actors)
        handle = upsample_batch_to_divisible_size(handle, 6, made.tokenizer.eos_token_id)
        batch = harness.batch
        computed = [[*rows, torch.zeros(1), torch.zeros(1)] for rows in (batch.logprobs, batch.entropies)]
        columns = {name: jagged(rows) for name, rows in zip(actors, computed, strict=True)}
        transfer_queue.kv_batch_put(keys=handle.keys, partition_id=partition, fields=TensorDict(columns, batch_size=6))
        return handle

    monkeypatch.setattr(harness.batch, "put", filled)
    metrics = harness.step(monkeypatch, partition="filled")
    assert len(RunReader(harness.run).completions()) == 4
    assert metrics["hicra/n_planning"] + metrics["hicra/n_execution"] == 60


def test_without_entropies_their_columns_are_null(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = Harness(model_folder, tmp_path)
    metrics = harness.step(monkeypatch, partition="bypass", without=["entropy"])
    reader = RunReader(harness.run)
    assert reader.completions().column("sum_entropy_planning").null_count == 4
    assert reader.rollouts().column("entropy").null_count == 4
    assert reader.rollouts().column("logprob").null_count == 0
    assert "hicra/entropy_planning" not in metrics
    assert "hicra/logprob_planning" in metrics


def test_text_is_kept_for_whole_groups(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {}
    for limit in (0, 1, 3, 4):
        harness = Harness(model_folder, tmp_path / str(limit), f"+algorithm.hicra.rollouts_per_step={limit}")
        harness.step(monkeypatch)
        kept[limit] = len(RunReader(harness.run).rollouts())
    assert kept == {0: 0, 1: 2, 3: 2, 4: 4}


def test_nothing_is_written_where_nothing_is_to_be_recorded(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = Harness(model_folder, tmp_path, "+algorithm.hicra.record=false")
    assert harness.step(monkeypatch)["hicra/planning_share"] > 0
    assert not harness.run.exists()


def test_a_run_that_starts_anew_sets_the_old_one_aside(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """verl resumes on its own, and begins at step 1 where it was killed before its first checkpoint."""
    for _ in range(2):
        Harness(model_folder, tmp_path).step(monkeypatch)
    assert RunReader(tmp_path / "hicra_run").steps == [1]
    assert len(list((tmp_path / "hicra_run" / "superseded").iterdir())) == 1
    with pytest.raises(RunDirError, match="holds a run already"):
        Harness(model_folder, tmp_path, "trainer.resume_mode=disable")


def test_the_placebo_is_drawn_anew_from_what_the_policy_wrote(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["+algorithm.hicra.estimator=placebo", "+algorithm.hicra.placebo_redraw_every=2"]
    harness = Harness(model_folder, tmp_path, *lines)
    credit, drawn = harness.trainer.credit, []
    for _ in range(2):
        harness.step(monkeypatch)
    with pytest.warns(HicraWarning, match="too small to draw it anew"):
        harness.step(monkeypatch)
    monkeypatch.setattr(credit, "redraw", lambda texts, step: (drawn.append((step, texts)), credit.grams)[1])
    for _ in range(2):
        harness.step(monkeypatch)
    assert [step for step, _ in drawn] == [3, 4]  # due since optimizer step 2, and not done yet
    assert [text.strip() for text in drawn[0][1]] == list(COMPLETIONS)
    notes = [text for _, text in RunReader(harness.run).notes()]
    assert [text.partition(":")[0] for text in notes] == [
        "the placebo stays as it was, this batch is too small to draw it anew",
        "the placebo was drawn anew from this batch",
        "the placebo was drawn anew from this batch",
    ]


class Workers:
    """Stands in for verl's actor where a checkpoint is written and read."""

    def save_checkpoint(self, path: str, *_: Any, **__: Any) -> None:
        Path(path).mkdir(parents=True)

    def load_checkpoint(self, **_: Any) -> None: ...


class Loader:
    """Stands in for verl's data loader."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def with_workers(made: Any) -> Any:
    made.actor_rollout_wg, made.train_dataloader = Workers(), Loader()
    return made


@pytest.mark.parametrize("resume", [["trainer.resume_mode=auto"], None])
def test_schedule_and_placebo_survive_a_kill(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resume: list[str] | None
) -> None:
    lines = [
        "+algorithm.hicra.estimator=placebo",
        "+algorithm.hicra.alpha_schedule=competence",
    ]
    harness = Harness(model_folder, tmp_path, *lines)
    made = with_workers(harness.trainer)
    nlls = []
    for step in (1, 2, 3):
        metrics = harness.step(monkeypatch)
        nlls.append(-metrics["hicra/logprob_execution"])
        if step == 2:
            made.global_steps = 2
            made._save_checkpoint()
            state = made.recorder.state()
            made.global_steps = 3
    gauge = Gauge()
    assert [gauge.update(nll) for nll in nlls][-1] == metrics["hicra/competence"] == made.credit.gauge
    assert json.loads((tmp_path / "global_step_2" / "hicra_state.json").read_text()) == state

    named = ["trainer.resume_mode=resume_path", f"trainer.resume_from_path={tmp_path / 'global_step_2'}"]
    again = trainer(
        "hicra_sync",
        verl_config(
            model_folder,
            f"+algorithm.hicra.grams={model_folder / 'grams.json'}",
            f"trainer.default_local_dir={tmp_path}",
            *lines,
            *(resume or named),
        ),
    )
    with_workers(again)._load_checkpoint()
    assert again.global_steps == 2
    assert again.recorder.state() == state
    assert RunReader(harness.run).steps == [1, 2]


def test_a_checkpoint_of_plain_verl_is_told(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "global_step_4" / "actor").mkdir(parents=True)
    (tmp_path / "latest_checkpointed_iteration.txt").write_text("4")
    made = trainer(
        "hicra_sync",
        verl_config(
            model_folder,
            f"+algorithm.hicra.grams={model_folder / 'grams.json'}",
            f"trainer.default_local_dir={tmp_path}",
        ),
    )
    with pytest.warns(HicraWarning, match="saved without HICRA"):
        with_workers(made)._load_checkpoint()
    assert made.global_steps == 4


def test_a_first_batch_that_is_labelled_all_over_is_told(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = Harness(model_folder, tmp_path)
    harness.batch.responses = [row[:5] for row in harness.batch.responses]
    for name in ("masks", "logprobs", "entropies", "scores"):
        setattr(harness.batch, name, [row[:5] for row in getattr(harness.batch, name)])
    with pytest.warns(HicraWarning, match="labels nearly everything"):
        harness.step(monkeypatch)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        harness.step(monkeypatch)  # once is enough
    ((step, text),) = RunReader(harness.run).notes()
    assert step == 1
    assert "hicra label --audit" in text


def test_groups_and_prompts_have_names_that_last() -> None:
    assert groups_of(["a_b_0_0", "a_b_3_1", "c_0_0"]) == ["a_b", "a_b", "c"]
    with pytest.raises(DataError, match="<prompt>_<session>_<output>"):
        groups_of(["a-b"])
    talk = [{"role": "user", "content": "1 + 1"}]
    names = prompt_names({"raw_prompt": [talk, tuple(talk)]}, 2)
    assert names[0] == names[1]
    assert prompt_names({"raw_prompt": [talk, talk], "id": [7, 8]}, 2) == ["7", "8"]
    # which groups come first hangs on their prompts, not on verl's names or on the order in the batch
    assert numbered(["x", "y", "x"], ["p", "q", "p"], 10) == numbered(["r", "s", "r"], ["p", "q", "p"], 10)
    assert sorted(numbered(["y", "x"], ["q", "p"], 10)) == [10, 11]
    assert numbered(["y", "x"], ["q", "p"], 0) == numbered(["x", "y"], ["p", "q"], 0)[::-1]
