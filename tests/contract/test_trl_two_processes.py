"""Two processes over gloo: groups that straddle them, one sum of metrics, files of each rank, exact resume."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

from hicra.traces.rundir import RunReader

ROOT = Path(__file__).parents[2]

SCRIPT = """
import json, os, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
from tests.tiny_trl import model, trainer
from hicra.engines.trl import HICRAConfig, HICRATrainer

folder, die_in, resume = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "resume"
rank = os.environ["RANK"]
# 2 x 4 rows are one group of 8: half of it lies on either process
made = trainer(
    HICRATrainer, HICRAConfig, folder, model=model(folder / f"model-{rank}"), ddp_backend="gloo",
    steps_per_generation=1, gradient_accumulation_steps=2, num_generations=8, max_steps=4, logging_steps=3,
    save_strategy="steps", save_steps=2,
)
compute = made._compute_loss
def dying(*args):
    if made.state.global_step == die_in - 1:
        os._exit(3)
    return compute(*args)
made._compute_loss = dying
made.train(resume_from_checkpoint=resume)
weights = made.accelerator.unwrap_model(made.model).parameters()
losses = [line["loss"] for line in made.state.log_history if "loss" in line]
(folder / f"end-{rank}.json").write_text(json.dumps([float(sum(p.double().sum() for p in weights)).hex(), losses]))
"""


def launch(folder: Path, *, die_in: int = 0, resume: bool = False) -> int:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = folder.parent / "two.py"
    script.write_text(SCRIPT)
    arguments = [str(folder), str(die_in), "resume" if resume else "fresh"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([*command, str(script), *arguments], env=env, cwd=ROOT, capture_output=True, timeout=300)
    if done.returncode and not die_in:
        pytest.fail(done.stderr.decode(errors="replace")[-3000:])
    return done.returncode


def end(folder: Path) -> list[Any]:
    ends = [json.loads((folder / f"end-{rank}.json").read_text()) for rank in (0, 1)]
    assert ends[0][0] == ends[1][0]
    return ends[0]  # type: ignore[no-any-return]


def without_clock(reader: RunReader) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k != "step_time"} for line in reader.metrics()]


@pytest.mark.slow
def test_two_processes_record_together_and_resume_exactly(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    launch(whole)
    reader = RunReader(whole / "out" / "hicra_run")
    assert reader.steps == [1, 2, 3, 4]
    rows = reader.completions().to_pylist()
    assert Counter(row["rank"] for row in rows) == {0: 32, 1: 32}
    assert set(Counter(row["group_id"] for row in rows).values()) == {8}
    assert {len({r["rank"] for r in rows if r["group_id"] == row["group_id"]}) for row in rows} == {2}
    assert set(Counter(row["group_id"] for row in reader.rollouts().to_pylist()).values()) == {8}
    for line in reader.metrics():
        mine = [row for row in rows if row["step"] == line["step"]]
        assert line["n_planning"] == sum(row["n_planning"] for row in mine)
        assert line["reward"] == pytest.approx(sum(row["reward"] for row in mine) / len(mine))

    assert launch(parts, die_in=4) != 0
    assert RunReader(parts / "out" / "hicra_run").steps == [1, 2, 3]
    launch(parts, resume=True)
    assert end(parts) == end(whole)
    again = RunReader(parts / "out" / "hicra_run")
    assert without_clock(again) == without_clock(reader)
    assert again.completions().equals(reader.completions())
