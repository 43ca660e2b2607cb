"""Loading text benchmarks, grading them, and looking for their problems among training prompts."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hicra.errors import ConfigError, DataError, HicraWarning
from hicra.evals import benchmarks
from hicra.evals.benchmarks import BENCHMARKS, PRESETS, Problem, answers_digest, load, problems_digest
from hicra.evals.contamination import contaminated, overlaps
from hicra.evals.grading import Grade, Tally, grade, tally

SHARED = Path(__file__).parents[3] / "shared" / "data" / "benchmarks"
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="the data is not here")


def problem(answer: str = "9", text: str = "What is 4 + 5?", name: str = "a", error: float | None = None) -> Problem:
    return Problem(name, text, answer, answer, error=error)


def write(place: Path, rows: list[dict[str, Any]]) -> Path:
    place.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place


@needs_shared
@pytest.mark.parametrize("name", BENCHMARKS)
@pytest.mark.filterwarnings("error")
def test_known_files_load_without_a_word(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    problems = load(name, SHARED)
    assert len(problems) == BENCHMARKS[name].items
    assert len({p.id for p in problems}) == len(problems)
    monkeypatch.setenv(benchmarks.FOLDER_VARIABLE, str(SHARED))
    assert load(name) == problems


@needs_shared
def test_an_edited_file_is_told(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (SHARED / "aime24.jsonl").read_text().splitlines()]
    edited = [{**row, "answer": "1", "answer_latex": "1"} if i == 3 else row for i, row in enumerate(rows)]
    with pytest.warns(HicraWarning, match="the answers of aime24"):
        load("aime24", write(tmp_path / "answers.jsonl", edited))
    edited = [{**row, "problem": row["problem"] + "!!1"} if i == 3 else row for i, row in enumerate(rows)]
    with pytest.warns(HicraWarning, match="the problems of aime24"):
        load("aime24", write(tmp_path / "problems.jsonl", edited))
    with pytest.raises(DataError, match="the number of items is wrong"):
        load("aime24", write(tmp_path / "short.jsonl", rows[1:]))


def test_the_paper_samples_32_32_1_4_1_1() -> None:
    assert list(PRESETS["paper"].values()) == [32, 32, 1, 4, 1, 1]
    assert all(len(b.problems_sha256) == len(b.answers_sha256) == 64 for b in BENCHMARKS.values())


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    rows = [
        {"id": 7, "question": "1 + 1?", "answer": 2.0, "level": 1},
        {"problem": "roots?", "answer": ["$1$", "$2$"], "answer_latex": "1, 2", "error": "1e-1", "solution": "so"},
    ]
    first, second = load("mine", write(tmp_path / "mine.jsonl", rows))
    assert first == Problem("7", "1 + 1?", "2", "2", extra={"level": 1})
    assert second == Problem("1", "roots?", "1, 2", "$1$,$2$", "so", 0.1)
    assert load("mine", tmp_path) == [first, second]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("{", "line 1 is no JSON"),
        ("[1]", "expected: a JSON object"),
        ('{"problem": "a"}', "has no answer"),
        ('{"answer": "a"}', "has no problem"),
        ('{"id": 1, "problem": "a", "answer": "1"}\n' * 2, "the id '1' occurs twice"),
        ('{"problem": "a", "answer": "1", "error": "much"}', "margin is no number"),
    ],
)
def test_broken_files_say_where(lines: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text(lines)
    with pytest.raises(DataError, match=says):
        load("mine", tmp_path)


def test_names_and_paths_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(benchmarks.FOLDER_VARIABLE, raising=False)
    with pytest.raises(ConfigError, match="one of aime24"):
        load("aime99")
    with pytest.raises(ConfigError, match="is no file"):
        load("aime24", tmp_path)


def test_the_hub_is_asked_for_what_is_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []
    rows = [{"id": i, "problem": f"problem {i}", "answer": f"{i:03}"} for i in range(30)]

    def load_dataset(*about: Any, split: str) -> list[dict[str, Any]]:
        asked.append((*about, split))
        if len(asked) > 1:
            raise OSError("no network")
        return rows

    fake = ModuleType("datasets")
    fake.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", fake)
    monkeypatch.setenv(benchmarks.FOLDER_VARIABLE, str(tmp_path))
    with pytest.warns(HicraWarning, match="HuggingFaceH4/aime_2024"):
        assert load("aime24")[5] == Problem("5", "problem 5", "005", "005")
    assert asked == [("HuggingFaceH4/aime_2024", None, "train")]
    with pytest.raises(ConfigError, match="no network"):
        load("aime24")


def test_digests_are_blind_to_order_and_spaces_only() -> None:
    one = [problem("027", "What is $x$?"), problem("2", "And y?")]
    other = [problem("2", "And  y ?"), problem("27.0", "What is x?")]
    assert problems_digest(one) == problems_digest(other)
    assert answers_digest(one) == answers_digest(other)
    swapped = [problem("2", "What is $x$?"), problem("27", "And y?")]
    assert problems_digest(one) == problems_digest(swapped)
    assert answers_digest(one) != answers_digest(swapped)


def test_grades() -> None:
    texts = [r"\boxed{9}", r"\boxed{8}", "9", r"\boxed{8} no, \boxed{9", r"\boxed{9}", "so 9", r"\boxed{8}"]
    flags = [False, False, False, False, True, True, True]
    grades = grade(texts, [problem()] * 7, truncated=flags)
    assert grades == ["right", "wrong", "no_answer", "cut_off", "right", "cut_off", "cut_off"]
    assert grade(texts, [problem()] * 7)[5:] == [Grade.NO_ANSWER, Grade.WRONG]
    counts = tally(grades)
    assert counts == Tally(right=2, wrong=1, no_answer=1, cut_off=3)
    assert (counts.n, counts.accuracy, counts.accuracy_of_finished, counts.share_cut_off) == (7, 2 / 7, 0.5, 3 / 7)
    assert math.isnan(Tally().accuracy)
    with pytest.raises(DataError, match="7, 1 and 7"):
        grade(texts, [problem()])


def test_a_stated_margin_counts() -> None:
    near = problem("4.2", error=0.1)
    texts = [r"\boxed{4.3\%}", r"\boxed{4.1}", r"\boxed{4.31}", r"\boxed{x}", "4.2"]
    assert grade(texts, [near] * 5) == ["right", "right", "wrong", "wrong", "no_answer"]
    assert grade([r"\boxed{4.3}"], [problem("4.2")]) == ["wrong"]


def test_overlap_finds_copies_and_parts() -> None:
    text = (
        r"In triangle $ABC$ the sides are $AB = 13$, $BC = 14$ and $CA = 15$. Find the length of the longest altitude."
    )
    items = [
        problem(text=text, name="copied"),
        problem(text="What is 4 + 5?", name="short"),
        problem(text="", name="e"),
    ]
    other = text.replace("13", "26")  # another problem in the same words
    prompts = ["nothing", "Answer this: " + text.upper(), "what is  4+5", other, "What is 4 + 6?"]
    copied, short, empty = overlaps(items, prompts, n=8)
    assert (copied.share, copied.prompt) == (1.0, 1)
    assert (short.share, short.prompt) == (1.0, 2)
    assert (empty.share, empty.prompt, empty.words) == (0.0, None, 0)
    partly, *_ = overlaps(items, prompts[3:], n=8)
    assert 0.4 < partly.share < 0.9
    assert partly.prompt == 0
    nothing, *_ = overlaps(items, [], n=8)
    assert (nothing.share, nothing.prompt) == (0.0, None)
    assert [o.id for o in contaminated([empty, partly, short, copied], share=0.95)] == ["copied", "short"]
