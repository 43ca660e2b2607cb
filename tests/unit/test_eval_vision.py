"""Vision benchmarks: loading with pictures, prompts, where an answer stands, and grading as the authors do it."""

from __future__ import annotations

import base64
import json
import struct
import sys
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hicra.errors import ConfigError, DataError, HicraWarning
from hicra.evals import pictures
from hicra.evals.asking import ask
from hicra.evals.benchmarks import Problem, load
from hicra.evals.catalogue import BENCHMARKS, GRADERS, PRESETS, VISION
from hicra.evals.extract import instruction
from hicra.evals.pictures import Picture, data_uri, from_file
from hicra.evals.prompts import parts, question
from hicra.evals.readings import letter_of, read_answer
from hicra.evals.vision import choices, edit_distance, grade_vision, most_similar

SHARED = Path(__file__).parents[3] / "shared" / "data" / "benchmarks_mm"
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="the data is not here")


def png(size: int = 1) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0)
    lines = zlib.compress(b"\0" * (size + 1) * size)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", lines) + chunk(b"IEND", b"")


def problem(grader: str, answer: str, options: tuple[str, ...] = (), text: str = "What?", **extra: Any) -> Problem:
    return Problem("a", text, answer, answer, options=options, grader=grader, extra=extra)


def write(place: Path, rows: list[dict[str, Any]]) -> Path:
    place.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place


def test_the_catalogue() -> None:
    assert [(b.items, b.grader) for b in VISION.values()] == [
        (1000, "mathvista"),
        (3040, "mathvision"),
        (3940, "mathverse"),
        (788, "mathverse"),
        (2788, "emma"),
    ]
    assert not VISION.keys() & BENCHMARKS.keys()
    assert {b.grader for b in (*VISION.values(), *BENCHMARKS.values())} == set(GRADERS)
    assert all(b.license for b in VISION.values())
    assert PRESETS["vision"] == {"mathvista": 1, "mathvision": 1, "mathverse": 1, "emma": 1}


@needs_shared
@pytest.mark.parametrize(
    ("name", "file"),
    [("mathvista", "mathvista_testmini_annotations.jsonl"), ("mathverse_textonly", "mathverse_textonly.jsonl")],
)
def test_known_files(name: str, file: str, tmp_path: Path) -> None:
    problems = load(name, SHARED / file, pictures=False)
    assert len(problems) == VISION[name].items
    rows = [json.loads(line) for line in (SHARED / file).read_text("utf-8").splitlines()]
    rows[3]["answer"] = "another"
    with pytest.warns(HicraWarning, match=f"the answers of {name}"):
        load(name, write(tmp_path / "edited.jsonl", rows), pictures=False)
    with pytest.raises(DataError, match="the number of items is wrong"):
        load(name, write(tmp_path / "short.jsonl", rows[1:]), pictures=False)


@needs_shared
def test_missing_pictures_are_told_before_anything_is_asked() -> None:
    with pytest.raises(DataError, match=r"images/1\.jpg' is not there"):
        load("mathvista", SHARED / "mathvista_testmini_annotations.jsonl")


@needs_shared
def test_real_pictures_load_and_real_answers_are_right() -> None:
    problems = load("sample", SHARED / "mathvision_sample.jsonl")
    assert len(problems) == 96
    assert {p.grader for p in problems} == {"mathvision"}
    for p in problems:
        assert data_uri(p.images[0]).startswith("data:image/jpeg;base64,/9j/")
        assert [type(x) for x in parts(question(p), p.images)].count(Picture) == 1
        assert grade_vision(p, f"so \\boxed{{{p.answer}}}", False).grade == "right"
        other = "E" if p.answer != "E" and p.options else "12345"
        assert grade_vision(p, f"so \\boxed{{{other}}}", False).grade == "wrong"


@needs_shared
def test_real_golds_of_mathvista_and_mathverse_are_right() -> None:
    for p in load("mathvista", SHARED / "mathvista_testmini_annotations.jsonl", pictures=False):
        gold = chr(ord("A") + p.options.index(p.published)) if p.options else p.published
        for said in (f"\\boxed{{{gold}}}", f"... Therefore, the answer is {gold}."):
            assert grade_vision(p, said, False).grade == "right", p.id
    for p in load("mathverse_textonly", SHARED / "mathverse_textonly.jsonl", pictures=False):
        assert grade_vision(p, f"so \\boxed{{{p.published}}}", False).grade == "right", p.id


@pytest.mark.parametrize(
    "path", ["../secret.png", "/etc/hostname", "out/secret.png", "", 7, "a\x00b", "http://x/y.png", "x" * 5_000]
)
def test_paths_that_lead_elsewhere_are_refused(path: Any, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png())
    home = tmp_path / "bench"
    home.mkdir()
    (home / "out").symlink_to(tmp_path)
    (home / "ok.png").write_bytes(png())
    rows = [{"id": 1, "problem": "x", "answer": "1", "images": ["ok.png", path]}]
    with pytest.raises(DataError, match="line 1: "):
        load("mine", write(home / "mine.jsonl", rows))
    rows[0]["images"] = ["ok.png"]
    (loaded,) = load("mine", write(home / "mine.jsonl", rows))
    assert data_uri(loaded.images[0]) == "data:image/png;base64," + base64.b64encode(png()).decode()


def test_what_is_no_picture_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, data in (("png", png()), ("jpeg", b"\xff\xd8\xff\xe0"), ("gif", b"GIF89a"), ("webp", b"RIFF0000WEBP")):
        assert data_uri(Picture("x", lambda data=data: data)).startswith(f"data:image/{kind};base64,")
    for data in (b"<svg onload=alert(1)>", b"", b"RIFF0000WAVE", b"%PDF-1.4", b"root:x:0:0"):
        with pytest.raises(DataError, match="is no picture"):
            data_uri(Picture("x", lambda data=data: data))
    monkeypatch.setattr(pictures, "MAX_BYTES", 100)
    (tmp_path / "large.png").write_bytes(png() + b"\0" * 100)
    with pytest.raises(DataError, match="too large"):
        data_uri(from_file(tmp_path, "large.png"))
    with pytest.raises(DataError, match="too large"):
        data_uri(Picture("x", lambda: png() + b"\0" * 100))
    rows = [{"problem": "x", "answer": "1", "images": ["large.png"] * 33}]
    with pytest.raises(DataError, match="too many pictures"):
        load("mine", write(tmp_path / "mine.jsonl", rows))
    with pytest.raises(DataError, match="images\n  expected: a list"):
        load("mine", write(tmp_path / "mine.jsonl", [{**rows[0], "images": "large.png"}]))


def test_pictures_stand_where_they_are_marked() -> None:
    one, two, three = (Picture(str(i), png) for i in (1, 2, 3))
    assert parts("a <image2> b <image_1> c", [one, two, three]) == [three, "a ", two, " b ", one, " c"]
    assert parts("<image1>", [one]) == [one]
    assert parts("<image7> no", [one]) == [one, "<image7> no"]
    assert parts("none", []) == ["none"]


def test_prompts_are_the_authors() -> None:
    vista = problem("mathvista", "6cm", ("6cm", "7cm"), unit="cm")
    assert question(vista) == (
        "Hint: Please answer the question and provide the correct option letter, e.g., A, B, C, D, at the end.\n"
        "Question: What? (Unit: cm)\nChoices:\n(A) 6cm\n(B) 7cm\nPut the final answer in one \\boxed{}."
    )
    assert not question(vista, box=False).endswith("boxed{}.")
    for about, words in (
        ({"answer_type": "integer"}, "an integer answer"),
        ({"answer_type": "float", "precision": 1}, "one decimal place"),
        ({"answer_type": "float", "precision": 2}, "two decimal places"),
        ({"answer_type": "list"}, "a Python list"),
    ):
        assert words in question(problem("mathvista", "1", **about))
    vision = question(problem("mathvision", "B", ("x", "y")))
    assert vision.endswith("What?\n(A) x\n(B) y")
    assert vision.startswith("Please solve the problem step by step and put your answer in one")
    assert question(problem("mathvision", "B", tuple("ABCDE"))).endswith("What?")
    verse = question(problem("mathverse", "B", question_type="multi-choice"))
    assert verse.startswith("Please first conduct reasoning, and then answer the question and provide the correct")
    assert "the final value" in question(problem("mathverse", "B", question_type="free-form"))
    assert "shown in the image" in question(problem("mathverse", "B", question_in_picture=True))
    emma = question(problem("emma", "B", ("x", "y"), context="Some context."))
    assert emma.startswith("Some context.\nWhat?\n(A) x\n(B) y\nAnswer with the option's letter")
    assert "single word or phrase" in question(problem("emma", "7", context="none"))


@pytest.mark.parametrize(
    ("text", "letters", "answer", "rule"),
    [
        (r"first \boxed{A}, no: \boxed{B}", 4, "B", "box"),
        ("so the answer is **12 cm**. Good.", 0, "12 cm", "sentence"),
        ("The correct option is (C) 12. Bye", 4, "(C) 12", "sentence"),
        ("Answer: 3.5", 0, "3.5", "sentence"),
        ("The answer is \"Yes\".", 2, "Yes", "sentence"),
        ("the answer is A. No wait, the answer is B.", 4, "B", "sentence"),
        ("We see\nthat it must be (D).", 4, "D", "letter"),
        ("B. 12", 4, "B", "letter"),
        ("(b) because", 4, "B", "letter"),
        ("it is 3, then 1,250", 0, "1,250", "number"),
        ("blue", 4, "blue", "whole"),
    ],
)  # fmt: skip
def test_where_an_answer_stands(text: str, letters: int, answer: str, rule: str) -> None:
    found = read_answer(text, letters=letters)
    assert found is not None
    assert (found.answer, found.rule) == (answer, rule)


def test_no_answer_is_none() -> None:
    for text in ("", "  \n", r"\boxed{}", "I do not know\nwhat to say", "\n" * 10_000):
        assert read_answer(text, letters=4) is None
    assert read_answer("The answer is " * 50_000) is not None  # in linear time
    assert read_answer("(" * 100_000, letters=4) is None


def test_letters_of_choices() -> None:
    for text in ("B", "(B)", "b", r"\text{(B)}", "(B) 12 cm", "B. 12", "**B**", "Option B", "$B$"):
        assert letter_of(text, 5) == "B", text
    for text in ("12", "Blue", "A and B", "F", ""):
        assert letter_of(text, 5) is None, text


@pytest.mark.parametrize(
    ("item", "right", "wrong"),
    [
        (
            problem("mathvista", "7cm", ("6cm", "7cm", "70cm")),
            ["B", "(B) 7cm", "7cm", "7 cm", "7 centimetres"],
            ["A", "6cm", "C", "70 cm"],
        ),
        (problem("mathvista", "7", answer_type="integer"), ["7", "7.9", "$7$ cm", "7 \\text{ cm}"], ["8", "six"]),
        (problem("mathvista", "1200", answer_type="integer"), ["1,200", "x = 1200"], ["1", "1.2"]),
        (problem("mathvista", "1.2", answer_type="float", precision=1), ["1.2", "1.18", "1.24 m"], ["1.26", "12"]),
        (problem("mathvista", "0.21", answer_type="float", precision=2), ["0.21", "0.2099", "21/100"], ["0.2", "21"]),
        (problem("mathvista", "[0, 2]", answer_type="list"), ["[0,2]", "[0, 2]"], ["[2, 0]", "0, 2"]),
        (
            problem("mathvision", "B", ("$\\frac{1}{2}$", "$\\frac{1}{3}$", "$1$", "$2$", "$3$")),
            ["B", "b", "(B)", "\\frac{1}{3}", "1/3", "0.33"],
            ["A", "0.3", "C", "1"],
        ),
        (problem("mathvision", "2.5"), ["2.5", "5/2", "\\frac{5}{2}", "2.501", "2.5 \\text{ cm}"], ["2.6", "25", "B"]),
        (problem("mathvision", "E", tuple("ABCDE")), ["E", "(E)"], ["A", "5"]),
        (problem("emma", "D", tuple("wxyz")), ["D", "(D) z", "z"], ["A", "w", "zz"]),
        (problem("emma", "benzene"), ["benzene", "Benzene", "\\text{benzene}"], ["toluene"]),
        (
            problem("mathverse", "C", text="x\nChoices:\nA:40°\nB:60°\nC:120°", question_type="multi-choice"),
            ["C", "C: 120°", "120^\\circ", "120°"],
            ["A", "40°", "12", "A and C"],
        ),
        (problem("mathverse", "C\nD", question_type="multi-choice"), ["C, D", "D and C"], ["C", "A and C"]),
        (problem("mathverse", "False", question_type="multi-choice"), ["False", "false"], ["True"]),
        (problem("mathverse", "35掳", question_type="free-form"), ["35", "35^\\circ"], ["53"]),
    ],
)  # fmt: skip
def test_grading_as_the_authors_do(item: Problem, right: list[str], wrong: list[str]) -> None:
    for answer in right:
        assert grade_vision(item, f"so \\boxed{{{answer}}}", False).grade == "right", answer
        assert grade_vision(item, "rambling", True, answer).grade == "right", answer
    for answer in wrong:
        assert grade_vision(item, f"so \\boxed{{{answer}}}", False).grade == "wrong", answer
        assert grade_vision(item, f"so \\boxed{{{answer}}}", True).grade == "cut_off", answer


def test_grades_without_an_answer() -> None:
    item = problem("mathvista", "7cm", ("6cm", "7cm"))
    nothing = grade_vision(item, "I cannot\nsee it", False)
    assert (nothing.grade, nothing.answer, nothing.reading) == ("no_answer", None, "none")
    assert grade_vision(item, "so \\boxed{A}", False, "").grade == "no_answer"  # what a model found counts
    assert grade_vision(item, "I cannot\nsee it", True).grade == "cut_off"
    for hostile in ("\\boxed{" + "{" * 50_000, "\\boxed{" + "9" * 100_000 + "}", "\\boxed{1e999999}", "\ud800"):
        for grader in ("mathvista", "mathvision", "mathverse", "emma"):
            for options in ((), ("1", "2")):
                about = problem(grader, "2", options, answer_type="float", precision=1)
                assert grade_vision(about, hostile, False).grade in ("wrong", "no_answer")


def test_edit_distance_by_hand() -> None:
    assert [edit_distance(a, b) for a, b in (("", ""), ("", "abc"), ("flaw", "lawn"), ("same", "same"))] == [0, 3, 2, 0]
    assert most_similar("tokio", ["osaka", "tokyo", "shanghai"]) == "tokyo"
    assert most_similar("", ["osaka", "yes", "no"]) == "no"


def test_choices_of_mathverse() -> None:
    text = "Which? A: nothing\nChoices:\nA:40°\nB:60°"
    assert choices(problem("mathverse", "B", text=text, question_type="multi-choice")) == ("40°", "60°")
    assert len(choices(problem("mathverse", "B", question_type="multi-choice"))) == 5
    assert choices(problem("mathverse", "12", text=text, question_type="free-form")) == ()


def test_what_an_extractor_is_asked() -> None:
    text = instruction(problem("mathvista", "6cm", ("6cm", "7cm")), "x" * 50_000 + " so B")
    assert "(A) 6cm\n(B) 7cm" in text
    assert "the letter of the option" in text
    assert len(text) < 21_000
    assert text.rstrip().endswith("so B\n\nFinal answer:")
    for kind, words in (("integer", "an integer"), ("float", "a decimal"), ("list", "a Python list"), ("", "value or")):
        assert words in instruction(problem("mathvista", "1", answer_type=kind), "x")


def test_a_benchmark_has_one_grader(tmp_path: Path) -> None:
    rows = [{"id": i, "problem": "x", "answer": "1", "grader": g} for i, g in enumerate(("emma", "mathvision"))]
    with pytest.raises(ConfigError, match="several graders"):
        ask("mine", 1, write(tmp_path / "mine.jsonl", rows))
    asked = ask("mine", 1, write(tmp_path / "mine.jsonl", rows[:1]), prompt="Say {problem}")
    assert asked.message(asked.problems[0]) == "Say x"
    assert asked.about == "emma: Say {problem}"


HUB: dict[str, dict[str, list[Any]]] = {
    "mathvista": {
        "pid": ["1", "2"],
        "question": ["How many?", "Which?"],
        "image": ["images/1.jpg", "images/2.jpg"],
        "choices": [None, ["6cm", "7cm"]],
        "unit": [None, None],
        "precision": [1.0, None],
        "answer": ["1.2", "7cm"],
        "question_type": ["free_form", "multi_choice"],
        "answer_type": ["float", "text"],
    },
    "mathvision": {
        "id": ["4", "5"],
        "question": ["See <image1>", "And <image1>"],
        "options": [[], ["a", "b", "c", "d", "e"]],
        "image": ["images/4.jpg", "images/5.jpg"],
        "answer": ["6", "B"],
        "level": [1, 2],
    },
    "mathverse": {
        "sample_index": ["1", "2"],
        "problem_index": ["1", "1"],
        "problem_version": ["Text Dominant", "Vision Only"],
        "question": ["As shown\nChoices:\nA:1\nB:2", ""],
        "answer": ["A", "A"],
        "question_type": ["multi-choice", "multi-choice"],
    },
    "emma": {
        "pid": ["math_1", "math_2"],
        "question": ["See <image_1> and <image_2>", "Open"],
        "options": [["p", "q"], []],
        "answer": ["A", "7"],
        "context": ["", "Some"],
    },
}


@pytest.mark.parametrize("name", HUB)
def test_rows_of_the_hub(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    columns = dict(HUB[name])
    shown: list[dict[str, Any] | None] = [{"bytes": png(), "path": None}, {"bytes": png(2), "path": None}]
    if name == "emma":
        columns |= {"image_1": shown, "image_2": [shown[0], None], **{f"image_{i}": [None, None] for i in (3, 4, 5)}}
    else:
        columns["image" if name == "mathverse" else "decoded_image"] = shown
    made = datasets.Dataset.from_dict(columns)
    for column in [c for c in made.column_names if columns[c] is shown or c.startswith("image_")]:
        made = made.cast_column(column, datasets.Image())
    asked: list[Any] = []

    def load_dataset(repository: str, config: str | None, split: str) -> Any:
        asked.append((repository, config, split))
        return made if len(asked) == 1 else made.select([])

    fake = ModuleType("datasets")
    fake.load_dataset = load_dataset  # type: ignore[attr-defined]
    fake.Image = datasets.Image  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", fake)
    monkeypatch.delenv("HICRA_BENCHMARKS", raising=False)
    from dataclasses import replace

    monkeypatch.setitem(VISION, name, replace(VISION[name], items=2, problems_sha256=None))
    first, second = load(name)
    assert asked[0][0] == VISION[name].hub.repository
    assert len(asked) == max(1, len(VISION[name].hub.configs))
    assert (first.grader, second.grader) == (name, name)
    assert data_uri(first.images[0]) == "data:image/png;base64," + base64.b64encode(png()).decode()
    assert data_uri(second.images[0]) == "data:image/png;base64," + base64.b64encode(png(2)).decode()
    assert len(first.images) == (2 if name == "emma" else 1)
    assert question(first)
    assert question(second)
    if name == "mathverse":
        assert (first.cluster, second.cluster) == ("1", "1")
        assert second.extra["question_in_picture"]
        assert "shown in the image" in question(second)
    else:
        assert (second.options != ()) == (name != "emma")
        assert first.extra.get("precision") == (1.0 if name == "mathvista" else None)
    gold = second.published if name != "mathvista" else "B"
    assert grade_vision(second, f"\\boxed{{{gold}}}", False).grade == "right"
    asked.clear()
    assert all(not p.images for p in load(name, pictures=False))
