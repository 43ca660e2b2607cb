"""What ships in the wheel: every row has a source and licence that allow it, and is none of the forbidden problems."""

from __future__ import annotations

import importlib.util
import json
import re
from collections import Counter
from importlib import resources
from pathlib import Path
from types import ModuleType

import pytest

from hicra.traces import Trace, read_traces, sample_traces

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = REPOSITORY.parent / "shared" / "data"

PERMITTED = {
    "openai/grade-school-math": "MIT",
    "open-thought/reasoning-gym-eval": "Apache-2.0",
    "WildEval/ZeroEval": "Apache-2.0",
    "cpldcpu/MisguidedAttention": "CC0-1.0",
    "TIGER-AI-Lab/MMLU-Pro": "Apache-2.0",
}
BANNED = re.compile(r"aime|amc\d*|minerva|math-?l5|olympiad_?aime|gaokao|asdiv|tabmwp|carp|sat_math", re.IGNORECASE)

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the corpora that the sample was drawn from are not here")


@pytest.fixture(scope="module")
def sample() -> list[Trace]:
    return list(sample_traces())


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_sample", REPOSITORY / "scripts" / "make_sample.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def test_each_row_names_a_permitted_source_and_its_licence(sample: list[Trace]) -> None:
    for trace in sample:
        repository, _, run = (trace.source or "").partition(":")
        assert trace.license == PERMITTED.get(repository), trace.source
        assert run
        assert not BANNED.search(run), trace.source


def test_every_permitted_corpus_and_style_is_there(sample: list[Trace]) -> None:
    assert 280 <= len(sample) <= 330
    assert len({trace.id for trace in sample}) == len(sample)
    assert {(trace.source or "").split(":")[0] for trace in sample} == set(PERMITTED)
    gym = {
        (t.source or "").split(":")[1].split("/")[0].split("-")[0]
        for t in sample
        if "reasoning-gym" in (t.source or "")
    }
    assert gym == {"zero", "inter", "intra", "math"}  # rg_zero, rg_rl (two kinds of run), rg_math
    styles = Counter(trace.style for trace in sample)
    assert set(styles) == {"long-cot", "cot", "rlvr-cot", "model-short", "human-short"}
    assert min(styles.values()) >= 5
    assert Counter(trace.source for trace in sample).most_common(1)[0][1] <= 6  # no model or run dominates


def test_mostly_right_some_wrong_and_readable(sample: list[Trace]) -> None:
    assert all(trace.correct is not None for trace in sample)
    assert 0.6 <= sum(bool(trace.correct) for trace in sample) / len(sample) <= 0.9
    for trace in sample:
        assert 100 <= len(trace.solution) <= 8000
        assert trace.problem.strip()


def test_there_is_planning_to_label(sample: list[Trace]) -> None:
    """The sample is for demos of planning phrases: a good part of it has some, though none were looked for."""
    phrases = re.compile(r"\b(let me|let's|wait|we need to|first|alternatively|therefore|check)\b", re.IGNORECASE)
    assert sum(bool(phrases.search(trace.solution)) for trace in sample) > len(sample) / 2


def test_it_is_small_and_has_a_card() -> None:
    data = resources.files("hicra.traces") / "data"
    assert len((data / "sample.jsonl.zst").read_bytes()) < 400_000
    card = (data / "README.md").read_text(encoding="utf-8")
    for repository, licence in PERMITTED.items():
        assert re.search(rf"{re.escape(repository)} @ [0-9a-f]{{40}}.*{re.escape(licence)} \|", card), repository
    assert "300 reasoning traces" in card


@needs_shared
def test_no_problem_of_the_contests_is_in_it(sample: list[Trace]) -> None:
    """By text: no problem contains, or is contained in, or shares twelve words in a row with one of these."""
    problems = []
    for name in ("aime24", "aime25", "amc23", "amc83", "minerva"):
        lines = (SHARED / "benchmarks" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        problems += [words(json.loads(line)["problem"]) for line in lines]
    assert len(problems) > 400
    runs = {tuple(p[i : i + 12]) for p in problems for i in range(max(1, len(p) - 11))}
    whole = {" ".join(p) for p in problems}
    for trace in sample:
        mine = words(trace.problem)
        assert not runs & {tuple(mine[i : i + 12]) for i in range(max(1, len(mine) - 11))}, trace.id
        assert not any(f" {text} " in f" {' '.join(mine)} " for text in whole), trace.id


@needs_shared
def test_nothing_comes_from_repositories_without_a_licence(sample: list[Trace]) -> None:
    unlicensed = list(read_traces(SHARED / "traces" / "r1_nolicence.jsonl.zst"))
    assert unlicensed
    assert not {t.id for t in sample} & {t.id for t in unlicensed}
    assert not {t.solution.strip() for t in sample} & {t.solution.strip() for t in unlicensed}


@needs_shared
@pytest.mark.slow
def test_the_script_makes_what_ships(sample: list[Trace], script: ModuleType) -> None:
    assert script.make_sample(SHARED / "traces", SHARED / "benchmarks") == sample


def test_the_script_knows_a_problem_in_disguise(script: ModuleType) -> None:
    known = "Find the sum of all integer bases $b>9$ for which $17_{b}$ is a divisor of $97_{b}$."
    banned = script.Benchmarks([known, "What is $2+2$?"])
    assert known in banned
    assert "Find the sum of all integer bases \\( b > 9 \\) for which 17_b is a divisor of 97_b" in banned
    assert f"Think step by step.\n\n{known} Answer in a box." in banned
    assert "what is 2 + 2 ?" in banned
    assert "Find the sum of all even numbers below 10." not in banned


def test_the_script_refuses_what_may_not_ship(script: ModuleType) -> None:
    def row(**changes: object) -> Trace:
        solution = "first we " + " ".join(f"word{'abcdefghijklmnopqrstuvwxyz'[i]}x" for i in range(26))
        fields = {"id": "1", "problem": "2 + 2?", "solution": solution, "correct": True, "source": "a/b:run/x/y/gsm8k"}
        return Trace(**{**fields, "license": "MIT", **changes})  # type: ignore[arg-type]

    banned = script.Benchmarks(["2 + 3?"])
    assert script.may_ship("rg_zero", row(), banned)
    for changes in (
        {"license": None},
        {"license": "CC-BY-NC-4.0"},
        {"correct": None},
        {"source": "a/b:math-evals/llama/aime"},
        {"source": "a/b:math-evals/q/q/amc23"},
        {"source": "a/b:math-evals/q/q/minerva_math"},
        {"problem": "2+3"},
        {"problem": "x" * 3000},
        {"solution": "4"},
        {"solution": "1 2 3 4 " * 100},
        {"solution": row().solution * 50},
    ):
        assert not script.may_ship("rg_zero", row(**changes), banned), changes
    assert not script.may_ship("rg_math", row(source="a/b:math-evals/q/q/gaokao2023en"), banned)
    assert not script.may_ship("zeroeval", row(source="a/b:math-l5/q"), banned)
