"""Two processes at width: accumulation, several iterations, several steps a generation, groups that are left out.

The rollouts are a function of the prompt and the place in its group, so that one process and two sample the same; then
a step on the whole generation must come to the same weights, up to the order of sums.
"""

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
from tests.tiny_trl import IGNORED
from tests.tiny_width import train

pytestmark = [pytest.mark.filterwarnings(text) for text in IGNORED]
ROOT = Path(__file__).parents[2]

RUNS: dict[str, dict[str, Any]] = {
    "whole": {"steps_per_generation": 2, "num_iterations": 2, "max_steps": 4},  # a step sees all of a generation
    "parts": {"steps_per_generation": 4, "num_iterations": 2, "max_steps": 4},
}


def launch(folder: Path, runs: dict[str, dict[str, Any]]) -> None:
    script = folder.with_suffix(".py")
    script.write_text(f"from tests.tiny_width import train\ntrain({str(folder)!r}, 2, {runs!r})\n")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-3000:]


def end(folder: Path, name: str, processes: int) -> Any:
    ends = [json.loads((folder / f"{name}-{rank}.json").read_text()) for rank in range(processes)]
    assert all(e[0] == ends[0][0] for e in ends)
    return ends[0]


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["prompt_id"], tuple(row["token_ids"])


@pytest.mark.slow
def test_two_processes_train_as_one_and_record_as_one(tmp_path: Path) -> None:
    launch(tmp_path / "two", RUNS)
    train(tmp_path / "one", 1, {"whole": RUNS["whole"]})
    weights, losses = end(tmp_path / "two", "whole", 2)
    alone, alone_losses = end(tmp_path / "one", "whole", 1)
    assert losses == pytest.approx(alone_losses, abs=1e-5)
    for mine, theirs in zip(weights, alone, strict=True):
        assert mine == pytest.approx(theirs, abs=2e-4)  # AdamW makes much of the last bits of small gradients

    two, one = (RunReader(tmp_path / n / "whole" / "out" / "hicra_run") for n in ("two", "one"))
    ours, theirs = ({key(r): r for r in reader.rollouts().to_pylist()} for reader in (two, one))
    assert ours.keys() == theirs.keys()
    for name, row in ours.items():
        for column in ("advantage", "planning", "gram_id", "begin", "reward"):
            assert row[column] == theirs[name][column]
    for mine, other in zip(two.metrics(), one.metrics(), strict=True):
        for name in ("planning_share", "added_mass_share", "reward", "length", "n_planning"):
            if name in other:  # in the second iteration nothing is sampled
                assert mine[name] == pytest.approx(other[name], rel=1e-5), name
        assert mine["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-3)

    parts = RunReader(tmp_path / "two" / "parts" / "out" / "hicra_run")
    rows = parts.completions().to_pylist()
    assert len(rows) == 32  # four micro-batches of eight are one generation, which lasts for all four steps
    assert Counter(row["rank"] for row in rows) == {0: 16, 1: 16}
    assert set(Counter(row["group_id"] for row in rows).values()) == {8}
    assert {len({r["rank"] for r in rows if r["group_id"] == row["group_id"]}) for row in rows} == {1}
    end(tmp_path / "two", "parts", 2)
