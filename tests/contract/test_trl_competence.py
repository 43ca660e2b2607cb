"""alpha that waits for competence, in the TRL engine: it follows the run's own gauge and survives a kill."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("trl")

import hicra.engines.trl_record as engine
from hicra.dynamics.gauge import Gauge, competence
from hicra.engines.trl import HICRAConfig, HICRATrainer
from hicra.traces.rundir import RunReader
from tests.contract.test_trl_resume import assert_same_run, interrupted
from tests.tiny_trl import IGNORED, history, trainer

pytestmark = [
    pytest.mark.filterwarnings(text)
    for text in [*IGNORED, "ignore:.*of the first batch:hicra.engines.notice.HicraWarning"]
]

WINDOW = 3  # a test cannot wait twelve steps
GATED: dict[str, Any] = {"alpha": 0.4, "alpha_schedule": "competence", "alpha_gate": 0.25, "max_steps": 8}


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "Gauge", functools.partial(Gauge, window=WINDOW))


@pytest.mark.parametrize(
    "settings",
    [{}, {"steps_per_generation": 4, "num_iterations": 2, "max_steps": 20}],
    ids=["plain", "two steps, twice"],
)
def test_alpha_follows_the_gauge_of_the_steps_before(settings: dict[str, Any], tmp_path: Path) -> None:
    made = trainer(HICRATrainer, HICRAConfig, tmp_path, **{**GATED, **settings})
    made.train()
    lines = RunReader(made.args.run_path).metrics()
    gauge = competence([-line.get("logprob_execution", float("nan")) for line in lines], window=WINDOW).tolist()
    assert [line["competence"] for line in lines] == gauge
    expected = [0.4 * max(0.0, (g - 0.25) / 0.75) for g in [0.0, *gauge[:-1]]]
    span = made.args.steps_between_boundaries
    # a generation is credited once, by the gauge of the moment when it was made; it is complete `span / 2` steps on
    found = [(step, line["alpha"]) for step, line in enumerate(lines) if "alpha" in line]
    assert [alpha for _, alpha in found] == pytest.approx([expected[step // span * span] for step, _ in found])
    assert found[0][1] == 0.0
    assert max(alpha for _, alpha in found) > 0


def test_it_works_without_a_run_directory(tmp_path: Path) -> None:
    recorded = trainer(HICRATrainer, HICRAConfig, tmp_path / "a", **GATED)
    recorded.train()
    bare = trainer(HICRATrainer, HICRAConfig, tmp_path / "b", record=False, **GATED)
    bare.train()
    assert bare.credit.gauge == recorded.credit.gauge
    assert history(bare) == history(recorded)


def test_up_to_the_gate_it_is_grpo(tmp_path: Path) -> None:
    gated = trainer(HICRATrainer, HICRAConfig, tmp_path / "a", **{**GATED, "alpha_gate": 0.5, "max_steps": 3})
    gated.train()
    assert gated.credit.gauge > 0.5  # after the third step: the fourth would be HICRA
    grpo = trainer(HICRATrainer, HICRAConfig, tmp_path / "b", max_steps=3, alpha=0.0)
    grpo.train()
    assert history(gated) == history(grpo)


def test_killed_and_resumed_the_alphas_are_the_same(tmp_path: Path) -> None:
    settings = {**GATED, "save_strategy": "steps", "save_steps": 5}
    whole = trainer(HICRATrainer, HICRAConfig, tmp_path / "whole", **settings)
    whole.train()
    interrupted(tmp_path / "parts", 7, **settings)
    resumed = trainer(HICRATrainer, HICRAConfig, tmp_path / "parts", **settings)
    torch.manual_seed(99)
    resumed.train(resume_from_checkpoint=True)
    assert_same_run(whole, resumed)
    assert resumed.credit.gauge == whole.credit.gauge
    assert RunReader(resumed.args.run_path).meta["resumes"][0]["step"] == 5
