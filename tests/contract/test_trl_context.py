"""Completions may grow once too many are cut off: in the running trainer, on record, and after a resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("trl")

import tests.contract.test_trl_resume as resume
from hicra.engines.context import ContextRule
from hicra.engines.recipe_sections import ContextSection
from hicra.engines.trl import HICRAConfig, HICRATrainer
from hicra.errors import ConfigError
from hicra.traces.rundir import RunReader
from tests.tiny_trl import IGNORED, trainer

pytestmark = [
    pytest.mark.filterwarnings(text)
    for text in [*IGNORED, "ignore:.*of the first batch:hicra.engines.notice.HicraWarning"]
]


def made(folder: Path, section: ContextSection, **settings: Any) -> tuple[Any, ContextRule]:
    one = trainer(HICRATrainer, HICRAConfig, folder, **{"max_steps": 5, "rollouts_per_step": 8, **settings})
    return one, ContextRule(one, section)


def longest(path: Path) -> list[int]:
    table = RunReader(path).completions(columns=["step", "length"]).to_pylist()
    return [max(row["length"] for row in table if row["step"] == step) for step in sorted({r["step"] for r in table})]


def test_it_is_raised_after_enough_steps_and_once(tmp_path: Path) -> None:
    # a random model hardly ever ends within 12 tokens: nearly all completions are cut off
    one, rule = made(tmp_path, ContextSection(raise_to=20, steps=2))
    one.train()
    assert rule.raised_at == 2
    lengths = longest(one.args.run_path)
    assert lengths[:2] == [12, 12]
    assert all(12 < length <= 20 for length in lengths[2:])
    notes = [(step, text) for step, text in RunReader(one.args.run_path).notes() if "max_completion_length" in text]
    assert [step for step, _ in notes] == [2]
    assert "goes from 12 to 20" in notes[0][1]
    assert one.max_completion_length == 20


def test_too_few_steps_in_a_row_raise_nothing(tmp_path: Path) -> None:
    one, rule = made(tmp_path, ContextSection(raise_to=20, steps=3), max_steps=2)
    one.train()
    assert rule.raised_at is None
    assert longest(one.args.run_path) == [12, 12]


@pytest.mark.parametrize(("steps", "raised"), [(2, 2), (5, 5)], ids=["before the checkpoint", "after it"])
def test_killed_and_resumed_it_is_the_same_run(
    steps: int, raised: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"max_steps": 7, "save_strategy": "steps", "save_steps": 3}
    section = ContextSection(raise_to=20, steps=steps)
    whole, rule = made(tmp_path / "whole", section, **settings)
    whole.train()
    assert rule.raised_at == raised
    monkeypatch.setattr(resume, "trainer", lambda _kind, _config, folder, **s: made(folder, section, **s)[0])
    resume.interrupted(tmp_path / "parts", 5, **settings)  # the step after 5 dies; the checkpoint is that of step 3
    resumed, rule = made(tmp_path / "parts", section, **settings)
    torch.manual_seed(99)
    resumed.train(resume_from_checkpoint=True)
    assert rule.raised_at == raised
    resume.assert_same_run(whole, resumed)


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="raises nothing"):
        made(tmp_path, ContextSection(raise_to=12))
    with pytest.raises(ConfigError, match="keeps its state in the run directory"):
        made(tmp_path, ContextSection(raise_to=20), record=False)
    with pytest.raises(ConfigError, match="out of range"):
        ContextSection(raise_to=20, clipped=1.0)
    one, _ = made(tmp_path, ContextSection(raise_to=20))
    one.args.use_vllm, one.args.vllm_mode, one.args.vllm_max_model_length = True, "colocate", 20
    with pytest.raises(ConfigError, match="does not fit into vLLM"):
        ContextRule(one, ContextSection(raise_to=20))
