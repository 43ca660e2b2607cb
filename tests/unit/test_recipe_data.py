"""From a recipe's data to prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("datasets")

from hicra.engines.dataset import load_prompts
from hicra.engines.recipe import load_recipe
from hicra.errors import ConfigError, DataError


def recipe(folder: Path, rows: list[dict[str, Any]] | str, **data: Any) -> Any:
    content = rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "rows.jsonl").write_text(content)
    settings = "".join(f"{k} = {json.dumps(v)}\n" for k, v in data.items())
    path = folder / "recipe.toml"
    path.write_text(f'output = "out"\n[model]\nname = "org/model"\n[data]\ntrain = "rows.jsonl"\n{settings}')
    return load_recipe(path)


ROWS = [{"question": f"{i}?", "target": str(i), "level": i} for i in range(5)]


def test_columns_are_renamed_and_kept(tmp_path: Path) -> None:
    rows = load_prompts(recipe(tmp_path, ROWS, prompt="question", answer="target", limit=3))
    assert rows["prompt"] == ["0?", "1?", "2?"]
    assert rows["answer"] == ["0", "1", "2"]
    assert rows["level"] == [0, 1, 2]


def test_template_and_conversation(tmp_path: Path) -> None:
    made = recipe(tmp_path, ROWS, prompt="question", template="Q {prompt} {x}", system="Be brief.")
    assert load_prompts(made)["prompt"][1] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Q 1? {x}"},
    ]
    plain = recipe(tmp_path, ROWS, prompt="question", chat=True)
    assert load_prompts(plain)["prompt"][0] == [{"role": "user", "content": "0?"}]


def test_conversations_stay(tmp_path: Path) -> None:
    talk = [{"role": "user", "content": "hello"}]
    assert load_prompts(recipe(tmp_path, [{"prompt": talk}]))["prompt"] == [talk]
    with pytest.raises(DataError, match="a template needs a text"):
        load_prompts(recipe(tmp_path, [{"prompt": talk}], template="{prompt}!"))


@pytest.mark.parametrize(
    ("rows", "data", "says"),
    [
        (ROWS, {}, "has no column 'prompt'(.|\n)*question, target, level"),
        ([{"prompt": "a"}, {"prompt": " "}], {}, "row 1: no prompt"),
        ([{"prompt": 3}], {}, "row 0: no prompt"),
        ('{"prompt": "a"}\n{"prom', {}, "cannot be loaded"),
        ("", {}, "cannot be loaded|holds no rows|has no column"),
    ],
)
def test_bad_data_is_named(rows: Any, data: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says):
        load_prompts(recipe(tmp_path, rows, **data))


def test_evaluation_data_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "held_out.jsonl").write_text('{"prompt": "z"}\n')
    made = recipe(tmp_path, [{"prompt": "a"}], eval="held_out.jsonl")
    assert load_prompts(made, evaluation=True)["prompt"] == ["z"]
    with pytest.raises(ConfigError, match="no evaluation data"):
        load_prompts(recipe(tmp_path, [{"prompt": "a"}]), evaluation=True)


def test_parquet(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"prompt": ["p"], "answer": ["a"]}), tmp_path / "rows.parquet")
    made = recipe(tmp_path, [{"prompt": "a"}], eval="rows.parquet")
    assert load_prompts(made, evaluation=True)["answer"] == ["a"]
