"""Evaluation during training: right numbers in the run directory, and training that does not notice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

pytest.importorskip("trl")
pytest.importorskip("scipy")

from hicra.engines.evaluation import EvaluationSettings, add_evaluation, overall, rounds, share
from hicra.engines.trl import HICRAConfig, HICRATrainer
from hicra.errors import ConfigError
from hicra.evals.results import read_results
from hicra.evals.stats import estimate
from hicra.traces.rundir import RunReader
from tests.contract.test_trl_resume import assert_same_run, interrupted
from tests.tiny_trl import IGNORED, history, trainer

pytestmark = [
    *[
        pytest.mark.filterwarnings(text)
        for text in [*IGNORED, "ignore:.*of the first batch:hicra.engines.notice.HicraWarning"]
    ]
]


def problems(folder: Path, n: int = 3) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"id": f"p{i}", "problem": f"{i} + 1 =", "answer": str(i + 1)} for i in range(n)]
    (folder / "held.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"held={folder / 'held.jsonl'}"


def made(folder: Path, settings: EvaluationSettings | None, **more: Any) -> Any:
    one = trainer(HICRATrainer, HICRAConfig, folder, **{"max_steps": 4, **more})
    if settings is not None:
        add_evaluation(one, settings)
    return one


def settings(folder: Path, **more: Any) -> EvaluationSettings:
    return EvaluationSettings(
        **{"problems": [problems(folder)], "every": 2, "samples": 2, "prompt": "{problem}", **more}
    )


def test_training_does_not_notice_and_everything_is_in_the_run_directory(tmp_path: Path) -> None:
    one = made(tmp_path / "a", settings(tmp_path), rollouts_per_step=8)
    one.train()
    plain = made(tmp_path / "b", None, rollouts_per_step=8)
    plain.train()
    assert history(one) == history(plain)
    mine, theirs = RunReader(one.args.run_path), RunReader(plain.args.run_path)
    assert mine.rollouts().equals(theirs.rollouts())
    assert one.generation_config.to_dict() == plain.generation_config.to_dict()
    assert one.generation_kwargs == plain.generation_kwargs

    assert [line["step"] for line in mine.evals()] == [0, 2, 4]
    assert all(line["n"] == 6 and line["n_items"] == 3 and line["seconds"] > 0 for line in mine.evals())
    assert all(0 < line["length"] <= 12 and line["sampled_tokens"] == line["length"] * 6 for line in mine.evals())
    logged = [line for line in one.state.log_history if "eval_accuracy" in line]
    assert [line["step"] for line in logged] == [0, 2, 4]
    for step in (0, 2, 4):
        (result,) = read_results(one.args.run_path / "evals" / f"step-{step:06d}.parquet")
        assert (result.items, result.samples.tolist()) == (("p0", "p1", "p2"), [2, 2, 2])


# "\boxed{ 1 }": right for p0. The last row does not end: the limit cut it off.
SCRIPT = [
    ["\\boxed{ 1 } <eos>", "\\boxed{ 1 } <eos>", "\\boxed{ 2 } <eos>", "so <eos>", "so so so so"],
    ["\\boxed{ 2 } <eos>"] * 5,
    ["\\boxed{ 3 } <eos>", "\\boxed{ 3 }", "wait wait", "\\boxed{ 4 } <eos>", "wait <eos>"],
]


def test_the_numbers_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = made(tmp_path, None, max_steps=1)
    add_evaluation(one, settings(tmp_path, samples=5, pass_k=[2], at_end=False, batch=2))
    said: list[int] = [0, 0, 0]
    real = one._generate_single_turn

    def script(ids: Any, images: Any, fields: Any, count: int) -> Any:
        if one.model.training:
            return real(ids, images, fields, count)
        assert (count, len(ids)) in ((2, 2), (1, 1))
        assert one.generation_config.temperature == 0.6
        out = []
        for row in ids:
            item = int(one._tokenizer.decode(row).split()[0])
            out.append(one._tokenizer(SCRIPT[item][said[item]])["input_ids"])
            said[item] += 1
        return out, None

    monkeypatch.setattr(one, "_generate_single_turn", script)
    one.train()
    (line,) = RunReader(one.args.run_path).evals()
    right = [2, 5, 2]  # "\boxed{ 3 }" without an end is cut off and right all the same
    assert line["accuracy"] == pytest.approx(sum(right) / 15)
    # 1 - C(3,2)/C(5,2) = 0.7, 1 and 0.7
    assert line["pass_at_2"] == pytest.approx((0.7 + 1 + 0.7) / 3)
    assert line["truncated"] == pytest.approx(3 / 15)
    # of the 15 answers two are cut off and not right: the third cut-off one counts among the finished ones' right
    assert line["accuracy_finished"] == pytest.approx(9 / 13)
    assert line["no_answer"] == pytest.approx(2 / 15)
    (result,) = read_results(one.args.run_path / "evals" / "step-000000.parquet")
    assert result.correct.tolist() == right
    assert result.truncated == 3
    by_hand = estimate(result)
    assert (line["accuracy_low"], line["accuracy_high"]) == (by_hand.low, by_hand.high)
    assert by_hand.low < line["accuracy"] < by_hand.high


def test_killed_and_resumed_the_evaluations_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more = {"max_steps": 6, "save_strategy": "steps", "save_steps": 2, "train_dataset": None}
    more.pop("train_dataset")
    asked = settings(tmp_path)
    whole = made(tmp_path / "whole", asked, **more)
    whole.train()
    import tests.contract.test_trl_resume as resume

    monkeypatch.setattr(resume, "trainer", lambda _kind, _config, folder, **s: made(folder, asked, **s))
    interrupted(tmp_path / "parts", 5, **more)
    resumed = made(tmp_path / "parts", asked, **more)
    torch.manual_seed(99)
    resumed.train(resume_from_checkpoint=True)
    for one in (whole, resumed):
        for line in one.state.log_history:
            line.pop("eval_seconds", None)
    assert_same_run(whole, resumed)
    for step in (0, 2, 4, 6):
        a, b = (pq.read_table(w.args.run_path / "evals" / f"step-{step:06d}.parquet") for w in (whole, resumed))
        assert a.equals(b)


def test_greedy_and_several_benchmarks(tmp_path: Path) -> None:
    other = problems(tmp_path / "more", 2).replace("held=", "more=")
    one = made(
        tmp_path,
        settings(tmp_path, problems=[problems(tmp_path), other], samples=1, temperature=0.0, at_start=False, every=99),
        max_steps=1,
    )
    one.train()
    (line,) = RunReader(one.args.run_path).evals()
    assert line["step"] == 1
    assert (line["held/n_items"], line["more/n_items"]) == (3, 2)
    assert line["accuracy"] == pytest.approx((line["held/accuracy"] + line["more/accuracy"]) / 2)
    assert (line["n"], line["n_items"]) == (5, 5)
    names = {r.benchmark for r in read_results(one.args.run_path / "evals" / "step-000001.parquet")}
    assert names == {"held", "more"}


def test_the_mean_over_benchmarks_by_hand() -> None:
    found = overall(
        {"a/accuracy": 0.5, "a/accuracy_low": 0.2, "a/accuracy_high": 0.9, "a/n": 8, "a/n_items": 4}
        | {"b/accuracy": 0.9, "b/accuracy_low": 0.5, "b/accuracy_high": 1.0, "b/n": 6, "b/n_items": 6},
        ["a", "b"],
    )
    # .7 - sqrt(.09 + .16) / 2, .7 + sqrt(.16 + .01) / 2
    expected = {"accuracy": 0.7, "accuracy_low": 0.45, "accuracy_high": 0.7 + 0.17**0.5 / 2, "n": 14, "n_items": 10}
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(("items", "world"), [(5, 2), (3, 4), (7, 3), (1, 1)])
def test_every_process_generates_equally_often_and_nothing_is_left_out(items: int, world: int) -> None:
    parts = [share(items, world, rank) for rank in range(world)]
    assert len({len(part) for part in parts}) == 1
    assert {i for part in parts for i in part} == set(range(items))
    for batch in (1, 2, 3, 100, None):
        asked = [list(rounds(part, 3, batch)) for part in parts]
        assert len({len(calls) for calls in asked}) == 1
        for part, calls in zip(parts, asked, strict=True):
            found = [(i, first + s) for where, first, count in calls for i in where for s in range(count)]
            assert sorted(found) == sorted((i, s) for i in part for s in range(3))
            assert batch is None or all(len(where) * count <= batch for where, _, count in calls)


def test_what_does_not_go_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="every is out of range"):
        EvaluationSettings(problems=["aime24"], every=0)
    with pytest.raises(ConfigError, match="sampling is out of range"):
        EvaluationSettings(problems=["aime24"], top_p=0.0)
    with pytest.raises(ConfigError, match="do not go with the rest"):
        settings(tmp_path, pass_k=[3]).benches()
    with pytest.raises(ConfigError, match="do not go with the rest"):
        settings(tmp_path, temperature=0.0).benches()
    with pytest.raises(ConfigError, match="without tools"):
        made(tmp_path, settings(tmp_path), rollout_func=lambda prompts, trainer: {})


TWO = """
import os, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
from hicra.engines.evaluation import EvaluationSettings, add_evaluation
from hicra.engines.trl import HICRAConfig, HICRATrainer
from tests.tiny_trl import model, trainer

folder, held = Path(sys.argv[1]), sys.argv[2]
own = model(folder / f"model-{os.environ['RANK']}")
made = trainer(HICRATrainer, HICRAConfig, folder, model=own, ddp_backend="gloo", max_steps=1)
asked = EvaluationSettings(problems=[held], every=1, samples=3, prompt="{problem}", batch=2, at_start=False)
found = add_evaluation(made, asked)
made.train()
(folder / f"end-{os.environ['RANK']}").write_text(repr(made.state.log_history[0]))
"""


@pytest.mark.slow
def test_two_processes_share_the_items(tmp_path: Path) -> None:
    held, root = problems(tmp_path, 5), Path(__file__).parents[2]
    (tmp_path / "two.py").write_text(TWO)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    env = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    arguments = [str(tmp_path / "two.py"), str(tmp_path), held]
    done = subprocess.run([*command, *arguments], env=env, cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    (result,) = read_results(tmp_path / "out" / "hicra_run" / "evals" / "step-000001.parquet")
    assert (len(result.items), result.samples.tolist()) == (5, [3] * 5)
    logged = [(tmp_path / f"end-{rank}").read_text() for rank in (0, 1)]
    assert logged[0] == logged[1]
    assert "'eval_n': 15" in logged[0]
