"""Experiments in a folder: they go on where they were stopped, keep a fitting warm start, and mix with nothing else."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hicra.errors import ConfigError, HicraError
from hicra.lab.experiment import prepare, run_experiment
from hicra.lab.layout import Layout
from hicra.lab.warmstart import WarmStart
from tests.tiny_lab import tiny_lab

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

SETTINGS = tiny_lab(steps=4, samples=16)


class Watcher:
    """Counts batches of the warm start, and kills the whole process once an arm has come to `die_at`."""

    def __init__(self, die_at: int | None = None) -> None:
        self.die_at, self.batches = die_at, 0
        self.seen: dict[str, int] = {}

    def warm_start(self, done: int, total: int, loss: float) -> None:
        self.batches += loss == loss

    def arm(self, arm: str, step: int, total: int, metrics: dict[str, Any], evals: list[dict[str, Any]]) -> None:
        self.seen[arm] = step
        if self.die_at is not None and step >= self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)


def run_and_die(root: Path) -> int:
    """Run the experiment in a process that is killed -9 after two steps; its exit code."""
    code = (
        "import sys; from pathlib import Path; from hicra.lab.experiment import run_experiment;"
        "from tests.unit.test_lab_experiment import SETTINGS, Watcher;"
        "run_experiment(Path(sys.argv[1]), SETTINGS, watcher=Watcher(die_at=2))"
    )
    here = Path(__file__).parents[2]
    return subprocess.run([sys.executable, "-c", code, str(root)], cwd=here, timeout=300, check=False).returncode


def arms_at_work(root: Path) -> list[str]:
    """Command lines of processes that train in this folder."""
    lines = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines.append(process.read_bytes().replace(b"\0", b" ").decode())
    return [line for line in lines if "hicra.lab.arm" in line and str(root) in line]


def test_a_killed_experiment_goes_on(tmp_path: Path) -> None:
    from hicra.traces.rundir import RunReader

    assert run_and_die(tmp_path) == -signal.SIGKILL
    deadline = time.monotonic() + 20
    while arms_at_work(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not arms_at_work(tmp_path), "no run goes on unseen"
    layout = run_experiment(tmp_path, SETTINGS, watcher=(second := Watcher()))
    assert second.batches == 0, "the warm start was kept"
    assert second.seen == {"grpo": 4, "hicra": 4}
    for arm in ("grpo", "hicra"):
        run = RunReader(layout.run(arm))
        assert run.steps == [1, 2, 3, 4]
        assert [found["step"] for found in run.evals()] == [0, 2, 4]
        assert run.meta["config"]["arm"] == arm
        assert layout.finished(arm)
        assert not layout.checkpoints(arm).exists()
        assert not list(layout.model(arm).glob("*.bin")), "models are safetensors"
    start = {arm: RunReader(layout.run(arm)).evals()[0] for arm in ("grpo", "hicra")}
    assert start["grpo"] == start["hicra"], "both arms begin with the same model and are judged alike"

    before = layout.run("grpo").joinpath("metrics.jsonl").read_bytes()
    layout.checkpoints("grpo").mkdir()  # as if killed after saving the model
    run_experiment(tmp_path, SETTINGS)  # finished: nothing to do
    assert not layout.checkpoints("grpo").exists()
    assert layout.run("grpo").joinpath("metrics.jsonl").read_bytes() == before
    with pytest.raises(ConfigError, match="other settings"):
        run_experiment(tmp_path, replace(SETTINGS, seed=1))


def test_one_process_at_a_time(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    from hicra.lab.experiment import _alone_in

    with _alone_in(tmp_path), pytest.raises(ConfigError, match="another process"):
        run_experiment(tmp_path, SETTINGS)


def test_a_warm_start_is_made_once(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    prepare(layout, SETTINGS, first := Watcher())
    weights = layout.warm_start.joinpath("model.safetensors").read_bytes()
    prepare(layout, replace(SETTINGS, seed=5), second := Watcher())
    assert (first.batches, second.batches) == (2, 0)
    assert layout.warm_start.joinpath("model.safetensors").read_bytes() == weights
    prepare(layout, replace(SETTINGS, warm_start=WarmStart(comparisons=16, samples=32)), third := Watcher())
    assert third.batches == 3


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "grpo").mkdir()
    (tmp_path / "grpo" / "precious").write_text("x")
    with pytest.raises(ConfigError, match="not the lab's"):
        run_experiment(tmp_path, SETTINGS)
    assert (tmp_path / "grpo" / "precious").exists()


def test_a_failing_arm_shows_the_end_of_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hicra.lab import experiment

    monkeypatch.setattr(experiment, "_ARM", "no.such.module")
    with pytest.raises(HicraError, match=r"(?s)run ended with exit code.*no\.such"):
        run_experiment(tmp_path, SETTINGS)


def test_settings_that_cannot_be_read_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no experiment"):
        Layout(tmp_path).load_settings()
    (tmp_path / "experiment.json").write_text("[]")
    with pytest.raises(ConfigError, match="JSON object"):
        Layout(tmp_path).load_settings()
