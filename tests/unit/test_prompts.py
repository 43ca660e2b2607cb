"""Training prompts: sets by name, pictures, overlap with benchmarks, and what verl reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("datasets")
pytest.importorskip("PIL")

from hicra.cli.prompts import prompts
from hicra.engines.dataset import for_verl, load_prompts, load_sources
from hicra.engines.overlap import find, without
from hicra.engines.recipe import load_recipe
from hicra.engines.recipe_sections import DataSection
from hicra.errors import ConfigError, DataError, HicraWarning


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def recipe(folder: Path, **data: Any) -> Any:
    settings = "".join(f"{k} = {json.dumps(v)}\n" for k, v in data.items())
    path = folder / "recipe.toml"
    path.write_text(f'output = "out"\n[model]\nname = "org/model"\n[data]\n{settings}')
    return load_recipe(path)


LONG = "A farmer has {} hens and sells a third of them on Monday and a half of the rest on Tuesday; how many are left"


def test_a_set_by_name_from_a_local_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines(tmp_path / "dapo.jsonl", [{"prompt": "1 + 1?", "solution": "2", "data_source": "x"}])
    lines(tmp_path / "deepscaler.jsonl", [{"problem": "2 + 2?", "answer": "4", "solution": "because"}])
    monkeypatch.setenv("HICRA_PROMPTS", str(tmp_path))
    made = recipe(tmp_path, train=["dapo", "deepscaler"], template="{prompt} Go.", chat=True)
    with pytest.warns(HicraWarning) as told:
        rows = load_prompts(made)
    assert str(told[0].message) == "dapo: 1 rows, 14,116 were known: another version, or a part"
    assert len(told) == 2
    assert rows["prompt"] == [
        [{"role": "user", "content": "1 + 1? Go."}],
        [{"role": "user", "content": "2 + 2? Go."}],
    ]
    assert rows["answer"] == ["2", "4"]
    assert rows.column_names == ["prompt", "answer"]  # what both have


def test_a_name_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no 'dappo'(.|\n)*dapo, deepscaler, virl39k"):
        recipe(tmp_path, train="dappo")
    with pytest.raises(ConfigError, match="names nothing"):
        recipe(tmp_path, train=[])


def test_whole_numbers_and_latex_go_together(tmp_path: Path) -> None:
    lines(tmp_path / "a.jsonl", [{"prompt": "a", "answer": 2}])
    lines(tmp_path / "b.jsonl", [{"prompt": "b", "answer": "\\frac{1}{2}"}])
    assert load_prompts(recipe(tmp_path, train=["a.jsonl", "b.jsonl"]))["answer"] == ["2", "\\frac{1}{2}"]


def test_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    (tmp_path / "images").mkdir()
    for name, red in (("a.png", 255), ("b.png", 7)):
        Image.new("RGB", (4, 3), (red, 0, 0)).save(tmp_path / "images" / name)
    rows = [
        {"question": "<image>What colour?", "answer": "\\boxed{red}", "image": ["images/a.png"], "qid": "q1"},
        {"question": "<image><image>Which is darker?", "answer": "B", "image": ["images/a.png", "images/b.png"]},
    ]
    rows[1]["qid"] = "q2"
    lines(tmp_path / "virl39k.jsonl", rows)
    monkeypatch.setenv("HICRA_PROMPTS", str(tmp_path))
    with pytest.warns(HicraWarning, match="another version, or a part"):
        found = load_prompts(recipe(tmp_path, train="virl39k", chat=True))
    assert found["prompt"][1] == [{"role": "user", "content": "Which is darker?"}]
    assert found["id"] == ["q1", "q2"]
    assert [len(row["images"]) for row in found] == [1, 2]
    assert found[1]["images"][1].getpixel((0, 0)) == (7, 0, 0)
    (tmp_path / "images" / "b.png").unlink()
    with pytest.warns(HicraWarning), pytest.raises(DataError, match=r"there is no picture .*b\.png"):
        load_prompts(recipe(tmp_path, train="virl39k"))


# --- overlap ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def bench(tmp_path: Path) -> str:
    rows = [{"id": f"p{i}", "problem": LONG.format(n) + "?", "answer": "1"} for i, n in enumerate((12, 77))]
    lines(tmp_path / "bench.jsonl", [*rows, {"id": "p2", "problem": "What is 4 + 5?", "answer": "9"}])
    return f"mine={tmp_path / 'bench.jsonl'}"


def test_every_prompt_that_holds_a_problem_is_found(bench: str) -> None:
    texts = ["Name a prime.", LONG.format(12), "What is 4+5 ?", "Please: " + LONG.format(12), "What is 4 + 6?"]
    (found,) = find(texts, [bench])
    assert (found.benchmark, found.n) == ("mine", 3)
    # p1 differs from p0 in one number of its 25 words: most of it is there too
    assert set(found.items) == {"p0", "p1", "p2"}
    assert sorted({i for i, _ in found.prompts}) == [1, 2, 3]
    assert without(5, [found]) == [0, 4]
    (strict,) = find(texts, [bench], share=1.0)
    assert set(strict.items) == {"p0", "p2"}
    assert find(texts, []) == []
    with pytest.raises(ConfigError, match="share is out of range"):
        find(texts, [bench], share=0.0)


def test_a_recipe_warns_or_leaves_them_out(bench: str, tmp_path: Path) -> None:
    lines(tmp_path / "rows.jsonl", [{"prompt": text} for text in ("Name a prime.", LONG.format(12), "What is 4+5 ?")])
    with pytest.warns(HicraWarning, match="of the 3 problems of mine are among the training prompts, kept"):
        kept = load_prompts(recipe(tmp_path, train="rows.jsonl", overlap=[bench]))
    assert len(kept) == 3
    with pytest.warns(HicraWarning, match="left out"):
        left = load_prompts(recipe(tmp_path, train="rows.jsonl", overlap=[bench], drop_overlap=True))
    assert left["prompt"] == ["Name a prime."]


# --- the command -----------------------------------------------------------------------------------------------------
def test_the_command_looks_and_writes(bench: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import pyarrow.parquet as pq

    rows = [{"prompt": text, "answer": i} for i, text in enumerate(("Name a prime.", LONG.format(12), "What is 4+5 ?"))]
    source = str(lines(tmp_path / "rows.jsonl", rows))
    prompts([source], overlap=[bench], share=1.0, as_json=True)
    summary = json.loads(capsys.readouterr().out)
    assert summary["prompts"] == summary["kept"] == 3
    assert summary["overlap"] == {"mine": {"items": 3, "found": ["p0", "p2"], "prompts": [1, 2]}}
    out = tmp_path / "out.parquet"
    prompts([source], overlap=[bench], share=1.0, drop=True, output=out, verl=True, template="Q {problem}")
    assert pq.read_table(out).to_pylist() == [
        {
            "data_source": "hicra",
            "prompt": [{"role": "user", "content": "Q Name a prime."}],
            "reward_model": {"style": "rule", "ground_truth": "0"},
            "extra_info": {"index": 0, "id": "0"},
        }
    ]
    prompts([source], output=tmp_path / "again.jsonl")
    again = [json.loads(line) for line in (tmp_path / "again.jsonl").read_text().splitlines()]
    assert again[0]["prompt"] == "Name a prime."
    with pytest.raises(ConfigError, match="verl reads Parquet"):
        prompts([source], output=tmp_path / "x.jsonl", verl=True)
    with pytest.raises(ConfigError, match="are about a file"):
        prompts([source], drop=True)


def test_verl_needs_answers(tmp_path: Path) -> None:
    lines(tmp_path / "rows.jsonl", [{"prompt": "a"}])
    with pytest.raises(DataError, match="compares with an answer"):
        for_verl(load_sources(DataSection(train="rows.jsonl"), tmp_path))
