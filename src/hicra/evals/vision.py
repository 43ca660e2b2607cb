r"""Grading vision benchmarks as their authors define it.

Each has two steps, as in the authors' code: find the answer in the response (`hicra.evals.readings`, or a language
model, see `hicra.evals.extract`), then compare it.

    MathVista   choices: "(B)" and B stand for the choice; any other text for the choice with the smallest edit
                distance. Integers: int(float(x)); numbers: rounded to the problem's `precision`. Then they are compared
                letter for letter.
    MathVision  the letter of the choice, or its text, or an equal value: letter for letter, as a tuple, or equal after
    EMMA        both are rounded to two decimals.
    MathVerse   its authors leave both steps to GPT-4. By rule: the letters of the choices, or a choice's text;
                free-form answers by `hicra.evals.answers`.

Equality of values is that of `hicra.evals.answers` as well, which accepts more spellings than the authors' code.
One thing is different: without an answer, MathVista's code takes the choice that is most like an empty text; here there
is no answer. (lupantech/MathVista, mathllm/MATH-V, ZrrSkywalker/MathVerse, EMMA-Bench/EMMA; read in 2026.)
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from hicra.evals.answers import check
from hicra.evals.benchmarks import Problem
from hicra.evals.grading import Grade, Graded, grade_boxed
from hicra.evals.pool import Pool
from hicra.evals.readings import Reading, letter_of, read_answer

MOST_COMPARED = 300
"""Characters of an answer that are compared with the choices by edit distance."""

_CHOICE_LINE = re.compile(r"^\s*\(?([A-J])\)?\s*[:.)]\s*(.+?)\s*$", re.M)
_UNIT = re.compile(r"\\(?:text|mathrm|mbox)\s*\{[^{}]*\}|\\[,;!% ]|[$%,]|\^?\{?\\circ\}?|°|[A-Za-z]+$")


def grade_vision(
    problem: Problem, completion: str, cut: bool, extracted: str | None = None, *, pool: Pool | None = None
) -> Graded:
    """Grade of one completion by the rules of the problem's benchmark.

    Args:
        problem: its `grader` says which rules.
        completion: a model's response.
        cut: whether the length limit ended it.
        extracted: the answer that a language model found in it, in place of the rules; "" where it found none.
        pool: workers of the answer checker.
    """
    if problem.grader not in _COMPARE:
        return grade_boxed(problem, completion, cut, pool=pool)
    if extracted is None:
        reading = read_answer(completion, letters=len(choices(problem)))
    else:
        reading = Reading(extracted, "model") if extracted else None
    if reading is not None and _COMPARE[problem.grader](problem, reading.answer, pool):
        return Graded(Grade.RIGHT, reading.answer, reading.rule)
    if reading is None:
        return Graded(Grade.CUT_OFF if cut else Grade.NO_ANSWER, None, "none")
    return Graded(Grade.CUT_OFF if cut else Grade.WRONG, reading.answer, reading.rule)


def choices(problem: Problem) -> tuple[str, ...]:
    """The choices of a problem, A first; MathVerse has them in the problem's text."""
    if problem.options or problem.grader != "mathverse" or problem.extra.get("question_type") != "multi-choice":
        return problem.options
    _, _, listed = problem.problem.rpartition("Choices:")
    found = {m[1]: m[2] for m in _CHOICE_LINE.finditer(listed)}
    named = tuple(found.get(letter, "") for letter in sorted(found))
    return named or ("",) * 5  # the choices are in the picture


def most_similar(answer: str, options: Sequence[str]) -> str:
    """The option with the smallest edit distance, the first of several."""
    return min(options, key=lambda option: edit_distance(answer[:MOST_COMPARED], option[:MOST_COMPARED]))


def edit_distance(a: str, b: str) -> int:
    """Levenshtein's distance.

    >>> edit_distance("kitten", "sitting")
    3
    """
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


def _mathvista(problem: Problem, answer: str, pool: Pool | None) -> bool:
    if problem.options:
        letter = letter_of(answer, len(problem.options))
        found = problem.options[ord(letter) - ord("A")] if letter else most_similar(_plain(answer), problem.options)
        return found == problem.published or (letter is not None and letter == problem.published)
    kind, value = problem.extra.get("answer_type"), _number(answer)
    if kind == "integer":
        return value is not None and str(int(value)) == problem.published
    if kind == "float":
        places = problem.extra.get("precision")
        if value is None or not isinstance(places, (int, float)):
            return False
        return str(round(value, int(places))) == problem.published
    if kind == "list":
        return "".join(_plain(answer).split()) == "".join(problem.published.split())
    return _equal(answer, problem.answer, pool)


def _letter_or_value(problem: Problem, answer: str, pool: Pool | None) -> bool:
    """MathVision and EMMA."""
    gold = problem.answer.strip()
    letter = letter_of(answer, max(5, len(problem.options)))
    if problem.options:
        if letter is not None:
            return letter == gold.upper()
        place = ord(gold.upper()) - ord("A") if len(gold) == 1 else -1
        if 0 <= place < len(problem.options):
            return _equal(answer, problem.options[place], pool) or _rounded_alike(answer, problem.options[place])
    return _equal(answer, gold, pool) or _rounded_alike(answer, gold)


def _mathverse(problem: Problem, answer: str, pool: Pool | None) -> bool:
    letters = re.fullmatch(r"\W*[A-J](?:\W+[A-J])*\W*", problem.answer)
    if problem.extra.get("question_type") != "multi-choice" or letters is None:
        return _equal(answer.replace("掳", "°"), problem.answer.replace("掳", "°"), pool)
    options = choices(problem)
    gold = set(re.findall(r"[A-J]", problem.answer))
    named = letter_of(answer, max(5, len(options)))
    if named is not None:
        return {named} == gold
    several = re.fullmatch(r"\W*[A-J](?:\W+(?:and\W+)?[A-J])+\W*", answer)
    if several:
        return set(re.findall(r"[A-J]", answer)) == gold
    texts = [options[ord(g) - ord("A")] for g in gold if ord(g) - ord("A") < len(options)]
    return len(gold) == 1 and bool(texts) and bool(texts[0]) and _equal(answer, texts[0], pool)


_COMPARE: dict[str, Callable[[Problem, str, Pool | None], bool]] = {
    "mathvista": _mathvista,
    "mathvision": _letter_or_value,
    "emma": _letter_or_value,
    "mathverse": _mathverse,
}


def _equal(answer: str, gold: str, pool: Pool | None) -> bool:
    if answer.strip().casefold() == gold.strip().casefold():
        return True
    return check(f"\\boxed{{{answer}}}", gold, pool=pool) if _balanced(answer) else False


def _balanced(text: str) -> bool:
    return text.count("{") == text.count("}")


def _rounded_alike(answer: str, gold: str) -> bool:
    a, g = _number(answer), _number(gold)
    return a is not None and g is not None and round(a, 2) == round(g, 2)


def _plain(answer: str) -> str:
    return re.sub(r"\\(?:text|textbf|mathrm|mbox)\s*\{([^{}]*)\}", r"\1", answer).strip().strip("$").strip()


def _number(answer: str) -> float | None:
    """The number that an answer is, without its unit; None for anything else."""
    text = answer.strip()
    for _ in range(4):  # "1,000 \text{ cm}", "$45^{\circ}$"
        text = _UNIT.sub("", text).strip()
    text = text.rpartition("=")[2].strip()
    fraction = re.fullmatch(r"(-?\d+)\s*/\s*(\d+)|\\[dt]?frac\{(-?\d+)\}\{(\d+)\}", text)
    try:
        if fraction:
            above, below = (fraction[1], fraction[2]) if fraction[1] else (fraction[3], fraction[4])
            value = int(above[:40]) / int(below[:40])
        else:
            value = float(text) if len(text) < 60 else math.nan
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    return value if math.isfinite(value) and "_" not in text else None
