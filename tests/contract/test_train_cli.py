"""`hicra train`: from a recipe to a run directory, offline, on the tiny model that the recipe's own script makes."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

from hicra.cli.train import train
from hicra.errors import ConfigError, RunDirError
from hicra.traces.rundir import RunReader
from tests.tiny_trl import IGNORED, RECIPES, make_tiny

pytestmark = [pytest.mark.filterwarnings(text) for text in IGNORED]


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """recipes/tiny.toml in a folder of its own, with what it needs."""
    folder = tmp_path / "recipes"
    shutil.copytree(RECIPES, folder, ignore=shutil.ignore_patterns("__pycache__"))
    make_tiny().make(tmp_path / "runs" / "tiny")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "make_tiny", raising=False)
    return folder / "tiny.toml"


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Standard output holds one JSON document and nothing else."""
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_recipe_is_trained_resumed_and_recorded(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(recipe, as_json=True)
    summary = document(capsys)
    assert summary["steps"] == 4
    reader = RunReader(summary["run_dir"])
    assert reader.steps == [1, 2, 3, 4]
    assert reader.meta["config"]["recipe"] == summary["recipe"]
    assert reader.meta["config"]["recipe"]["reward"]["functions"] == ["boxed", "make_tiny:digits"]
    assert reader.meta["config"]["trainer"]["max_completion_length"] == 24
    assert reader.grams is not None
    assert reader.grams["name"] == "paper"
    assert all(line["reward"] > 0 for line in reader.metrics())
    with pytest.raises(RunDirError, match="holds a run already"):
        train(recipe)
    recipe.write_text(recipe.read_text().replace("max_steps = 4", "max_steps = 6"))
    capsys.readouterr()
    train(recipe, resume=True, as_json=True)
    assert document(capsys)["steps"] == 6
    again = RunReader(summary["run_dir"])
    assert again.steps == [1, 2, 3, 4, 5, 6]
    assert again.metrics()[:4] == reader.metrics()


def test_a_dry_run_checks_and_writes_nothing(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(recipe, dry_run=True, as_json=True)
    summary = document(capsys)
    assert summary["dry_run"] is True
    assert summary["prompts"] == 64
    assert not Path(summary["run_dir"]).parent.exists()
    recipe.write_text(recipe.read_text().replace("make_tiny:digits", "make_tiny:digit"))
    with pytest.raises(ConfigError, match="has no 'digit'"):
        train(recipe, dry_run=True)


def test_resuming_without_a_checkpoint_says_so(recipe: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to resume from"):
        train(recipe, resume=True)


def test_evaluation_context_and_arm_from_a_recipe(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    held = recipe.parent / "held.jsonl"
    held.write_text(
        '{"id": "h1", "problem": "1 + 1 =", "answer": "2"}\n{"id": "h2", "problem": "1 + 2 =", "answer": "3"}\n'
    )
    asked = ['evaluation.problems=["held=held.jsonl"]', "evaluation.samples=2", "evaluation.every=2"]
    more = ["context.raise_to=30", "trainer.max_steps=3", 'evaluation.prompt="{problem}"']
    train(recipe, arm="grpo", settings=[*asked, *more], as_json=True)
    summary = document(capsys)
    assert [line["step"] for line in summary["evaluations"]] == [0, 2, 3]
    assert all(line["n"] == 4 for line in summary["evaluations"])
    reader = RunReader(summary["run_dir"])
    assert summary["run_dir"].split("/")[-2].endswith("-grpo")
    assert reader.meta["config"]["credit"]["estimator"] == "grpo"
    assert any("max_completion_length goes from 24 to 30" in text for _, text in reader.notes())
