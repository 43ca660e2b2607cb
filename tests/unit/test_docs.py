"""Every command and every piece of Python in the README and the docs runs, or names a target that exists.

Commands go on from what earlier ones wrote: tests of one file must run on one worker (`--dist loadfile`).
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hicra.cli import main
from tests.tiny_trl import IGNORED

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)

ELSEWHERE = {
    # what runs in CI itself, or in a test of its own (tests/unit/test_lab_demo.py runs the quick demo)
    "make demo",
    "make test",
    "make install",
    "make bench",
    "make figures",
    "make lock",
}


def blocks(language: str) -> list[Any]:
    found = []
    for page in PAGES:
        for i, match in enumerate(FENCE.finditer(page.read_text("utf-8"))):
            if match[1] == language:
                found.append(pytest.param(match[2], id=f"{page.name}-{i}"))
    return found


def commands() -> list[Any]:
    found = {}
    for block in blocks("bash"):
        for line in block.values[0].splitlines():
            command = line.split("  #")[0].strip()
            if command and not command.startswith("#"):
                found.setdefault(command, pytest.param(command, id=command))
    return list(found.values())


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> dict[str, Any]:
    """What the pages take for granted: a model, a tokenizer, data and a run directory, all tiny and made here."""
    import torch
    from datasets import Dataset

    from hicra import GramSet
    from hicra.evals.results import Answer, write_results
    from hicra.traces import sample_traces
    from tests.run_dirs import make_run
    from tests.tiny_trl import SETTINGS, make_tiny, reward

    folder = tmp_path_factory.mktemp("docs")
    make_tiny().make(folder)
    (folder / "model").rename(folder / "my-model")
    recipe = (ROOT / "recipes" / "tiny.toml").read_text("utf-8")
    recipe = (
        recipe.replace("../runs/tiny/model", "my-model")
        .replace("../runs/tiny/", "")
        .replace("make_tiny:digits", "boxed")
    )
    (folder / "recipe.toml").write_text(recipe.replace("runs/tiny/out", "out"))
    shutil.copytree(ROOT / "recipes", folder / "recipes")
    (folder / "held.jsonl").write_text('{"id": "h1", "problem": "What is 4 + 5?", "answer": "9"}\n')
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder / "my-model")
    model = AutoModelForCausalLM.from_pretrained(folder / "my-model")
    for arm in ("grpo", "hicra"):
        make_run(folder / "demo" / arm, steps=3)
        (folder / "demo" / arm / "evals").mkdir()
        for step in (0, 3):
            answers = [Answer(f"p{i}", s, (i + s) % 5 < step + (arm == "hicra")) for i in range(20) for s in range(2)]
            write_results(folder / "demo" / arm / "evals" / f"step-{step:06d}.parquet", answers)
    (folder / "traces.jsonl").write_text('{"problem": "2 + 2?", "solution": "Wait, let me check. So it is 4."}\n' * 3)
    rows = [{"problem": t.problem, "solution": t.solution, "correct": t.correct} for t in sample_traces()]
    (folder / "solutions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    GramSet.from_grams(["let me check"], name="mine").save(folder / "mine.json")
    make_foreign(folder, tokenizer)
    ids = torch.randint(3, 25, (4, 6), generator=torch.Generator().manual_seed(0))
    settings = {k: v for k, v in SETTINGS.items() if k not in ("loss_type", "scale_rewards")}
    return {
        "folder": folder,
        "names": {
            "model": model,
            "tokenizer": tokenizer,
            "reward": reward,
            "output_dir": str(folder / "out"),
            "your_grpo_settings": settings | {"max_steps": 1},
            "dataset": Dataset.from_dict({"prompt": [f"{i} + 1 =" for i in range(8)]}),
            "completion_ids": ids,
            "completion_mask": torch.ones_like(ids),
            "group_advantages": torch.tensor([0.5, -0.5, 0.25, -0.25]),
            "logprobs": -torch.rand(4, 6),
            "entropies": torch.rand(4, 6),
            "token_ids": ids,
            "mask": torch.ones_like(ids),
            "step": 0,
            "run_dir": str(folder / "demo" / "grpo"),
            "new_run_dir": str(folder / "new_run"),
            "paper": GramSet.load("paper"),
            "completion_rows": [],
            "rollout_rows": [],
        },
    }


def make_foreign(folder: Path, tokenizer: Any) -> None:
    """Outputs of other tools, one that was imported, and one whose failures were judged."""
    from hicra.dynamics.failures import Judgement
    from hicra.dynamics.judge import Store
    from hicra.engines.imported import import_run
    from tests import foreign
    from tests.run_dirs import make_run

    foreign.trl(folder / "trl-out")
    foreign.verl(folder / "verl-dump")
    rows = [{"step": s, "prompt": "1 + 2 =", "completion": f"wait {s} so", "reward": s % 2} for s in (1, 2)]
    foreign.write_lines(folder / "rows-of-mine.jsonl", rows)
    foreign.write_lines(folder / "rows.jsonl", [{**row, "generation": row["completion"]} for row in rows])
    import_run(folder / "rows-of-mine.jsonl", folder / "unscored", tokenizer=tokenizer)
    make_run(folder / "judged", steps=2)
    for judge in ("ann", "bob"):
        Store(folder / "judged" / "judgements.jsonl").add(Judgement("1.0", 1, "p", judge, "plan"))


@pytest.mark.filterwarnings(*IGNORED)
@pytest.mark.parametrize("code", blocks("python"))
def test_python_runs(code: str, world, monkeypatch) -> None:
    monkeypatch.chdir(world["folder"])
    monkeypatch.setenv("HICRA_CACHE", str(world["folder"] / "cache"))
    exec(compile(code, "<docs>", "exec"), dict(world["names"]))


@pytest.mark.parametrize("command", commands())
def test_commands_run(command: str, world, monkeypatch) -> None:
    words = shlex.split(command)
    if words[0] == "make":
        assert command in ELSEWHERE
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.M)
        return
    if words[0] == "pip":
        assert words[:2] == ["pip", "install"]
        extras = re.fullmatch(r"hicra(\[(\w+)\])?", words[2])
        assert extras
        assert extras[2] is None or re.search(rf"^{extras[2]} = \[", (ROOT / "pyproject.toml").read_text(), re.M)
        return
    assert words[0] == "hicra", f"{command}: add a way to run it here"
    monkeypatch.chdir(world["folder"])
    if words[1] in ("train", "eval"):  # trainers and inspect-ai leave their mark on a process
        if words[1] == "train" and "--resume" not in words:
            shutil.rmtree("out", ignore_errors=True)
        monkeypatch.setenv("XDG_DATA_HOME", str(world["folder"] / "data"))
        done = subprocess.run([sys.executable, "-m", "hicra.cli", *words[1:]], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr + done.stdout
        return
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setenv("HICRA_CACHE", str(world["folder"] / "cache"))
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"(?:\]\(|src(?:set)?=\")(?!https?:)([^)#\"]+)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
