"""Recipes: what they hold, what they refuse, and in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hicra.engines.recipe import load_recipe
from hicra.errors import ConfigError

RECIPES = Path(__file__).parents[2] / "recipes"
GOOD: dict[str, Any] = {
    "output": '"out"',
    "model": {"name": '"org/model"'},
    "data": {"train": '"rows.jsonl"'},
}


def write(folder: Path, changes: dict[str, Any] | None = None, *, without: str = "") -> Path:
    """A recipe with some values changed or one left out."""
    (folder / "rows.jsonl").write_text('{"prompt": "1 + 1 =", "answer": "2"}\n')
    tables = {k: dict(v) if isinstance(v, dict) else v for k, v in GOOD.items() if k != without}
    for key, value in (changes or {}).items():
        section, _, name = key.partition(".")
        if name:
            tables.setdefault(section, {})[name] = value
        else:
            tables[section] = value
    lines = [f"{k} = {v}" for k, v in tables.items() if not isinstance(v, dict)]
    for section, values in tables.items():
        if isinstance(values, dict):
            lines += [f"[{section}]", *(f"{k} = {v}" for k, v in values.items())]
    path = folder / "recipe.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_defaults_are_in_the_record(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, {"hicra.alpha": "0.1"}))
    record = recipe.to_dict()
    assert record["hicra"] == {"alpha": 0.1}
    assert record["reward"] == {"functions": ["boxed"], "weights": None}
    assert record["data"]["prompt"] == "prompt"
    assert "folder" not in record


def test_files_are_looked_for_beside_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path)
    monkeypatch.chdir(tmp_path.parent)
    assert load_recipe(path).file("rows.jsonl") == tmp_path / "rows.jsonl"
    assert load_recipe(path).file("nothing") is None


@pytest.mark.parametrize(
    ("changes", "without", "says"),
    [
        ({"trainr.max_steps": "1"}, "", r"unknown key 'trainr'(.|\n)*did you mean 'trainer'"),
        ({"data.promt": '"x"'}, "", r"\[data\] has an unknown key 'promt'(.|\n)*did you mean 'prompt'"),
        ({"data.limit": '"3"'}, "", r"\[data\] limit is of the wrong type(.|\n)*int(.|\n)*'3'"),
        ({"data.limit": "true"}, "", r"\[data\] limit is of the wrong type"),
        ({"data.limit": "0"}, "", "leaves no rows"),
        ({"data.chat": "1"}, "", r"\[data\] chat is of the wrong type(.|\n)*bool"),
        ({"data.template": '"no place"'}, "", "no place for the problem"),
        ({"data.train": '"other.jsonl"'}, "", r"\[data\] train: there is no 'other.jsonl'"),
        ({"data.eval": '"./folder"'}, "", r"\[data\] eval: there is no"),
        ({"model.name": '"./model"'}, "", r"\[model\] name: there is no './model'"),
        ({"model.name": '"model"'}, "", r"\[model\] name: there is no 'model'(.|\n)*hub id"),
        ({"model.init": '"bf16"'}, "", r"\[model\] init is of the wrong type"),
        ({"reward.functions": "[]"}, "", "functions is empty"),
        ({"reward.functions": '["boxed", 3]'}, "", r"\[reward\] functions is of the wrong type"),
        ({"reward.weights": "[1, 2]"}, "", r"weights do not go with the functions(.|\n)*1 weights(.|\n)*2"),
        ({"model": '"org/model"'}, "", "model is of the wrong type"),
        ({}, "output", "says no output"),
        ({}, "model", "says no model"),
        ({"model.init": "{}"}, "model", r"\[model\] says no name"),
    ],
)
def test_mistakes_are_named(changes: dict[str, Any], without: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=says):
        load_recipe(write(tmp_path, changes, without=without))


def test_broken_and_missing_files(tmp_path: Path) -> None:
    path = write(tmp_path)
    with pytest.raises(ConfigError, match=r"there is no recipe(.|\n)*did you mean .*recipe.toml"):
        load_recipe(tmp_path / "recipes.toml")
    path.write_text("output = \n")
    with pytest.raises(ConfigError, match=r"cannot be read as TOML(.|\n)*line 1"):
        load_recipe(path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hicra.alfa": "0.2"}, r"\[hicra\] has an unknown key 'alfa'(.|\n)*did you mean 'alpha'"),
        ({"trainer.learning_rte": "1"}, r"\[trainer\] has an unknown key(.|\n)*did you mean 'learning_rate'"),
        ({"hicra.learning_rate": "1"}, r"\[hicra\] has an unknown key(.|\n)*put it into \[trainer\]"),
        ({"trainer.alpha": "0.1"}, r"\[trainer\] has an unknown key(.|\n)*put it into \[hicra\]"),
        ({"hicra.alpha": '"high"'}, r"\[hicra\] alpha is of the wrong type(.|\n)*float(.|\n)*'high'"),
        ({"trainer.max_steps": "2.5"}, r"\[trainer\] max_steps is of the wrong type"),
        ({"trainer.use_cpu": '"yes"'}, r"\[trainer\] use_cpu is of the wrong type"),
        ({"trainer.output_dir": '"x"'}, r"output_dir is set elsewhere(.|\n)*use output"),
        ({"hicra.alpha": "1"}, "alpha is out of range"),
        ({"trainer.num_generations": "5"}, r"the trainer refuses these settings(.|\n)*divisible"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")
def test_settings_are_checked_against_the_trainers(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    pytest.importorskip("trl")
    recipe = load_recipe(write(tmp_path, {"trainer.use_cpu": "true", "trainer.bf16": "false"} | changes))
    with pytest.raises(ConfigError, match=says):
        recipe.training_config()


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")
def test_a_recipe_becomes_a_config(tmp_path: Path) -> None:
    pytest.importorskip("trl")
    (tmp_path / "mine.json").write_text('["let me see"]')
    changes = {
        "trainer.use_cpu": "true",
        "trainer.bf16": "false",
        "trainer.learning_rate": "1",
        "trainer.gradient_checkpointing": "false",
        "hicra.grams": '"mine.json"',
        "model.init": '{ dtype = "float32" }',
        "reward.weights": "[2]",
        "reward.functions": '["boxed"]',
    }
    config = load_recipe(write(tmp_path, changes)).training_config()
    assert config.learning_rate == 1.0
    assert config.grams == str(tmp_path / "mine.json")
    assert config.model_init_kwargs == {"dtype": "float32"}
    assert config.reward_weights == [2.0]
    assert config.output_dir == "out"


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")
def test_the_tiny_recipe_is_right(tmp_path: Path) -> None:
    pytest.importorskip("trl")
    text = (RECIPES / "tiny.toml").read_text("utf-8").replace("../runs/tiny", ".")
    (tmp_path / "recipe.toml").write_text(text)
    (tmp_path / "model").mkdir()
    (tmp_path / "problems.jsonl").write_text("{}\n")
    assert load_recipe(tmp_path / "recipe.toml").training_config().alpha == 0.2
