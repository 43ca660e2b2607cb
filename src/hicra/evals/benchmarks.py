"""Loading benchmarks: from files of yours or from the Hugging Face hub, checked against what is known of them.

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
    cluster       (optional) items of one cluster are versions of one problem
    options       (optional) choices; the answer is then a letter, or one of them
    images        (optional) paths of pictures, relative to the file's folder and inside it; ``<image1>`` in the
                  problem or in an option marks the first one's place, those without a mark come first
    grader        (optional) mathvista, mathvision, mathverse or emma: asked and graded as there, with the columns
                  question_type, answer_type, precision and unit for mathvista; `benchmark` is taken for it, too
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

from hicra.errors import ConfigError, DataError, HicraWarning
from hicra.evals.catalogue import BENCHMARKS, GRADERS, PRESETS, VISION, Benchmark, Hub
from hicra.evals.pictures import MAX_PICTURES, Picture, from_file
from hicra.evals.vision_hub import from_hub

__all__ = [
    "BENCHMARKS",
    "FOLDER_VARIABLE",
    "PRESETS",
    "Benchmark",
    "Hub",
    "Problem",
    "answers_digest",
    "load",
    "problems_digest",
]

FOLDER_VARIABLE = "HICRA_BENCHMARKS"
"""Environment variable that names a folder with files ``<benchmark>.jsonl``."""

_COLUMNS = {
    "id": ("id", "unique_id"),
    "problem": ("problem", "question"),
    "answer": ("answer", "final_answer", "answers"),
    "solution": ("solution",),
    "answer_latex": ("answer_latex",),
    "error": ("error",),
    "cluster": ("cluster",),
    "options": ("options", "choices"),
    "images": ("images",),
    "grader": ("grader", "benchmark"),
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
        cluster: items of one cluster are versions of one problem.
        options: choices.
        images: pictures.
        grader: one of `hicra.evals.catalogue.GRADERS`.
        extra: whatever else the source says of the item.
    """

    id: str
    problem: str
    answer: str
    published: str
    solution: str | None = None
    error: float | None = None
    cluster: str | None = None
    options: tuple[str, ...] = ()
    images: tuple[Picture, ...] = ()
    grader: str = "boxed"
    extra: Mapping[str, Any] = field(default_factory=dict)


def load(name: str, path: str | os.PathLike[str] | None = None, *, pictures: bool = True) -> list[Problem]:
    """The items of a benchmark.

    Args:
        name: one of `BENCHMARKS` or `VISION`, or any name together with a path: then nothing is known to check it by.
        path: a file in the schema above or a folder with ``<name>.jsonl``; by default the folder that the environment
            variable HICRA_BENCHMARKS names, else the hub (extra ``eval``).
        pictures: without them, items have no `images`, whatever the file says.

    Raises:
        ConfigError: there is no such benchmark, or no such file.
        DataError: an item lacks a problem or an answer, ids repeat, the number of items is wrong, or a picture is
            missing or lies elsewhere.
    """
    about = BENCHMARKS.get(name) or VISION.get(name)
    place = _file(name, path)
    if place is None and about is None:
        raise ConfigError(
            f"there is no benchmark {name!r}",
            expected=f"one of {', '.join((*BENCHMARKS, *VISION))}, or a path to a file of yours",
        )
    if place is not None:
        problems = _problems(_rows(place), str(place), place.parent if pictures else None)
    else:
        assert about is not None
        rows = from_hub(about.hub, about.grader, pictures)
        problems = _problems(rows, f"{about.hub.repository} on the hub")
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


def _problems(rows: Iterable[tuple[str, Mapping[str, Any]]], source: str, folder: Path | None = None) -> list[Problem]:
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
        cluster = None if found["cluster"] is None else str(found["cluster"])
        options = tuple(str(option) for option in _listed(found["options"], f"{source}, {where}: options"))
        images = tuple(_pictures(found["images"], folder, f"{source}, {where}"))
        grader = next((str(row[n]) for n in _COLUMNS["grader"] if row.get(n) in GRADERS), "boxed")
        problems.append(
            Problem(
                name,
                found["problem"],
                answer,
                published,
                solution,
                error,
                cluster,
                options,
                images,
                grader,
                extra,
            )
        )
    return problems


def _listed(value: Any, where: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, (list, tuple)):
        raise DataError(where, expected="a list", got=type(value).__name__)
    return list(value)


def _pictures(value: Any, folder: Path | None, where: str) -> Iterable[Picture]:
    """Pictures of a row: paths in a file, or pictures that the hub's reader has made."""
    given = _listed(value, f"{where}: images")
    if len(given) > MAX_PICTURES:
        raise DataError(f"{where}: too many pictures", expected=f"at most {MAX_PICTURES}", got=str(len(given)))
    for image in given:
        if isinstance(image, Picture):
            yield image
        elif folder is not None:
            try:
                yield from_file(folder, image)
            except DataError as error:
                raise DataError(
                    f"{where}: {error.problem}", expected=error.expected, got=error.got, mend=error.mend
                ) from error


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
    if about.problems_sha256 is None:
        return
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
