"""The text benchmarks of the paper: what they are, where they come from, and loading them with their checksums.

No problem text ships with hicra: AIME and AMC problems are (c) MAA and Minerva's are for non-commercial use. A
benchmark is read from a file of yours or from the Hugging Face hub, and checked against what is known of it: a wrong
number of items is an error, another wording or another answer is a warning.

A file has one JSON object a line:

    id            name of the item, unique in the file
    problem       what is asked
    answer        the reference answer as its source spells it
    answer_latex  (optional) the reference as it would stand in a box; graded instead of `answer`
    solution      (optional) a worked solution
    error         (optional) absolute margin within which a number counts as right
    anything else is kept in `Problem.extra`
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hicra.errors import ConfigError, DataError, HicraWarning, require

FOLDER_VARIABLE = "HICRA_BENCHMARKS"
"""Environment variable that names a folder with files ``<benchmark>.jsonl``."""

_COLUMNS = {
    "id": ("id", "unique_id"),
    "problem": ("problem", "question"),
    "answer": ("answer", "final_answer", "answers"),
    "solution": ("solution",),
    "answer_latex": ("answer_latex",),
    "error": ("error",),
}
"""Names under which sources have a column, the first one that is there counts."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One item of a benchmark.

    Attributes:
        id: name of the item.
        problem: what is asked, LaTeX in text.
        answer: the reference, as it would stand in a box where the source has that.
        published: the reference as the source spells it.
        solution: a worked solution, if the source has one.
        error: absolute margin within which a number counts as right, if the source states one.
        extra: whatever else the source says of the item.
    """

    id: str
    problem: str
    answer: str
    published: str
    solution: str | None = None
    error: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hub:
    """Where a benchmark lies on the Hugging Face hub."""

    repository: str
    split: str
    config: str | None = None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What is known of a benchmark.

    Attributes:
        name: how hicra calls it.
        title: how people call it.
        items: number of items; `other_items` are the numbers of other copies in circulation.
        samples: answers per item in the paper's tables.
        license: of the texts.
        hub: where to get them.
        problems_sha256: of the problems' letters and digits, whatever their order, see `problems_digest`.
        answers_sha256: of the answers, each with its problem, see `answers_digest`.
    """

    name: str
    title: str
    items: int
    samples: int
    license: str
    hub: Hub
    problems_sha256: str
    answers_sha256: str
    other_items: tuple[int, ...] = ()


_MAA = "problems (c) Mathematical Association of America, no open licence: evaluation and research only"

BENCHMARKS: dict[str, Benchmark] = {
    b.name: b
    for b in (
        Benchmark(
            "aime24",
            "AIME 2024",
            30,
            32,
            _MAA,
            Hub("HuggingFaceH4/aime_2024", "train"),
            "ace8cbe81670eacfd40706c5d5fe59e5fc2ef7e30643673cca4aed3e9b79d3d9",
            "2e0b865b7e3509e60dbcf81ea30223c7b31bb1ba1638186dcf81e267ac90678f",
        ),
        Benchmark(
            "aime25",
            "AIME 2025",
            30,
            32,
            _MAA,
            Hub("math-ai/aime25", "test"),
            "6a9f023596a32b00f5a19b24490c69e775ba0f4de3a4dc360e9381682a343531",
            "5871f833bd2db83676a36e9372cdec53006038b3c0a171fdaa5a5aa97c331567",
        ),
        Benchmark(
            "math500",
            "MATH-500",
            500,
            1,
            "MIT (hendrycks/math; split openai/prm800k)",
            Hub("HuggingFaceH4/MATH-500", "test"),
            "a46e75825b1a30a281d19bae06c4de553f30fd1ce879a76a603ff8f50038b460",
            "853b5d466c0ac113668b0e8dbb7b0c0003777b8a35fd632d846997a7e74eac67",
        ),
        Benchmark(
            "amc23",
            "AMC 2023, 40 items",
            40,
            4,
            _MAA,
            Hub("math-ai/amc23", "test"),
            "3cd04b74a4efa8b252d7396ca031cd8736d02b70a2802bce6215a118138b7a9a",
            "0c4039a2b693b0e047c8aa7437c8c72622e609beb5c64f7f9285c40bd721e4dc",
        ),
        Benchmark(
            "amc83",
            "AMC 2022 and 2023, 83 items",
            83,
            4,
            _MAA,
            Hub("AI-MO/aimo-validation-amc", "train"),
            "070af8417000028ff26cd630df36f6d8d13742b26577da55d01968bb2383e83d",
            "1a88fd70f9dc9a2992e3d08e3c94e896defed234ace0b1ae54aeebdc078bf310",
        ),
        Benchmark(
            "minerva",
            "Minerva Math (OCWCourses)",
            272,
            1,
            "CC BY-NC-SA 4.0 (MIT OpenCourseWare): non-commercial",
            Hub("math-ai/minervamath", "test"),
            "c95b6b23fee0f9fc1131279fee52c1645004fa58dc83024523f258d9b8de7312",
            "4120550bae0d95c568fbee96f859964b82a9dec8208cf67086eec03c578848e8",
        ),
        Benchmark(
            "olympiadbench",
            "OlympiadBench, English text-only mathematics with answers",
            675,
            1,
            "MIT (OpenBMB/OlympiadBench)",
            Hub("Hothan/OlympiadBench", "train", "OE_TO_maths_en_COMP"),
            "3abf09e4a90543e9c6e6d6655de78b1ca1023a4282f94a5613465968c0f7cc34",
            "868d0a67f038db5b0dd9c75d7c00cc3bf92ab7390588b23d3d0b2e82085cb4a5",
            other_items=(674,),
        ),
    )
}

PRESETS: dict[str, dict[str, int]] = {
    "paper": {n: BENCHMARKS[n].samples for n in ("aime24", "aime25", "math500", "amc23", "minerva", "olympiadbench")}
}
"""Benchmarks of a table and the answers to sample per item. ``paper``: table 1 of arXiv 2509.03646."""


def load(name: str, path: str | os.PathLike[str] | None = None) -> list[Problem]:
    """The items of a benchmark.

    Args:
        name: one of `BENCHMARKS`, or any name together with a path: then nothing is known to check it against.
        path: a file in the schema above or a folder with ``<name>.jsonl``; by default the folder that the environment
            variable HICRA_BENCHMARKS names, else the hub (extra ``eval``).

    Raises:
        ConfigError: there is no such benchmark, or no such file.
        DataError: an item lacks a problem or an answer, ids repeat, or the number of items is wrong.
    """
    about = BENCHMARKS.get(name)
    place = _file(name, path)
    if place is None and about is None:
        raise ConfigError(
            f"there is no benchmark {name!r}",
            expected=f"one of {', '.join(BENCHMARKS)}, or a path to a file of yours",
        )
    if place is not None:
        problems = _problems(_rows(place), str(place))
    else:
        assert about is not None
        problems = _problems(_from_hub(about.hub), f"{about.hub.repository} on the hub")
    if about is not None:
        _verify(problems, about, str(place or about.hub.repository))
    return problems


def problems_digest(problems: Iterable[Problem]) -> str:
    """SHA-256 over the problems' letters and digits, sorted: blind to spaces, mark-up and order."""
    return _digest(_folded(p.problem) for p in problems)


def answers_digest(problems: Iterable[Problem]) -> str:
    """SHA-256 over pairs of problem and published answer, sorted; spaces and dollar signs out, 027 and 27.0 as 27."""
    return _digest(_folded(p.problem) + "\x1f" + _folded_answer(p.published) for p in problems)


def _file(name: str, path: str | os.PathLike[str] | None) -> Path | None:
    given = path or os.environ.get(FOLDER_VARIABLE)
    if not given:
        return None
    place = Path(given)
    if place.is_dir():
        place = place / f"{name}.jsonl"
    if place.is_file():
        return place
    if path is None:
        return None  # the folder does not have this one
    raise ConfigError(f"{place} is no file", expected=f"JSON lines with the items of {name}")


def _rows(place: Path) -> Iterable[tuple[str, Mapping[str, Any]]]:
    with place.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{place}, line {number} is no JSON: {error}") from error
            if not isinstance(row, dict):
                raise DataError(f"{place}, line {number}", expected="a JSON object", got=type(row).__name__)
            yield f"line {number}", row


def _from_hub(hub: Hub) -> Iterable[tuple[str, Mapping[str, Any]]]:
    datasets = require("datasets", "eval")
    try:
        rows = datasets.load_dataset(hub.repository, hub.config, split=hub.split)
    except Exception as error:  # it raises a dozen kinds for one cause
        raise ConfigError(
            f"{hub.repository} cannot be loaded from the hub: {error}",
            mend=f"load it from a file: a path, or a folder named by {FOLDER_VARIABLE}",
        ) from error
    for number, row in enumerate(rows):
        yield f"row {number}", row


def _problems(rows: Iterable[tuple[str, Mapping[str, Any]]], source: str) -> list[Problem]:
    problems: list[Problem] = []
    seen: set[str] = set()
    for where, row in rows:
        found = {
            field: next((row[n] for n in names if row.get(n) not in (None, "")), None)
            for field, names in _COLUMNS.items()
        }
        published = _joined(found["answer"]) or _joined(found["answer_latex"])
        answer = _joined(found["answer_latex"]) or published
        if not isinstance(found["problem"], str) or not answer:
            lacks = "a problem" if not isinstance(found["problem"], str) else "an answer"
            raise DataError(f"{source}, {where} has no {lacks.split()[1]}", expected=lacks, got=f"{sorted(row)}")
        name = str(found["id"] if found["id"] is not None else len(problems))
        if name in seen:
            raise DataError(f"{source}, {where}: the id {name!r} occurs twice", expected="unique ids")
        seen.add(name)
        used = {n for names in _COLUMNS.values() for n in names}
        extra = {k: v for k, v in row.items() if k not in used}
        error = _margin(found["error"], f"{source}, {where}")
        solution = found["solution"] if isinstance(found["solution"], str) else None
        problems.append(Problem(name, found["problem"], answer, published, solution, error, extra))
    return problems


def _joined(answer: Any) -> str:
    """An answer as text; several of them as a list, whole numbers without a decimal point."""
    if isinstance(answer, (list, tuple)):
        return ",".join(_joined(a) for a in answer)
    if isinstance(answer, float) and answer.is_integer():
        return str(int(answer))
    return "" if answer is None else str(answer).strip()


def _margin(value: Any, where: str) -> float | None:
    if value is None:
        return None
    try:
        margin = max(float(part) for part in str(value).split(","))
    except ValueError as error:
        raise DataError(f"{where}: the error margin is no number", got=repr(value)) from error
    return margin if margin > 0 and math.isfinite(margin) else None


def _verify(problems: Sequence[Problem], about: Benchmark, source: str) -> None:
    if len(problems) != about.items and len(problems) not in about.other_items:
        raise DataError(
            f"{source} is not {about.title}: the number of items is wrong",
            expected=" or ".join(str(n) for n in (about.items, *about.other_items)),
            got=str(len(problems)),
        )
    if len(problems) != about.items or problems_digest(problems) != about.problems_sha256:
        what = "problems"
    elif answers_digest(problems) != about.answers_sha256:
        what = "answers"
    else:
        return
    warnings.warn(
        HicraWarning(
            f"{source}: the {what} of {about.name} are not those known to hicra (another wording, or an edit)"
        ),
        stacklevel=3,
    )


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "replace")).hexdigest()


def _folded(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).casefold()


def _folded_answer(answer: str) -> str:
    text = re.sub(r"[\s$]+", "", answer)
    return re.sub(r"^0+(?=\d+$)", "", re.sub(r"^(\d+)\.0$", r"\1", text))
