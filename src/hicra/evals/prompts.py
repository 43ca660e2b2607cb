r"""What a model is asked: an item of a benchmark in a template.

A template is text with ``{problem}`` in it, which is the only thing that is replaced; other braces stay as they are.
Vision benchmarks are asked in the words of their authors, as their public code has them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from hicra.errors import ConfigError
from hicra.evals.benchmarks import Problem
from hicra.evals.pictures import Picture

BOXED = "{problem}\n\nPlease reason step by step, and put your final answer within \\boxed{}."
"""The instruction that Qwen's and DeepSeek's model cards give for mathematics."""

BARE = "{problem}"


def fill(template: str, problem: str) -> str:
    """The template with the problem in it.

    Raises:
        ConfigError: the template has no place for the problem, or more than one.
    """
    if template.count("{problem}") != 1:
        raise ConfigError(
            "a prompt template needs one place for the problem",
            expected="{problem}, once",
            got=f"{template.count('{problem}')} times",
        )
    before, after = template.split("{problem}")
    return before + problem + after


LETTER_HINT = "provide the correct option letter, e.g., A, B, C, D, at the end."
BOX_HINT = "Put the final answer in one \\boxed{}."
"""Asked of MathVista and MathVerse in addition: their authors let GPT-4 look for the answer, our rules want a box."""


def question(problem: Problem, *, box: bool = True) -> str:
    """What the authors of a vision benchmark ask, step by step, with ``<image1>`` where pictures stand.

    Args:
        problem: its `grader` says which benchmark.
        box: ask for a box where the authors do not.
    """
    asked = _QUESTIONS[problem.grader](problem)
    return f"{asked}\n{BOX_HINT}" if box and problem.grader in ("mathvista", "mathverse") else asked


def parts(text: str, pictures: Sequence[Picture]) -> list[str | Picture]:
    """A message: the text with its pictures where ``<image1>`` stands, those without a mark before it."""
    marked = {int(m[1]) for m in _MARK.finditer(text) if 0 < int(m[1]) <= len(pictures)}
    out: list[str | Picture] = [p for i, p in enumerate(pictures, 1) if i not in marked]
    at = 0
    for mark in _MARK.finditer(text):
        if int(mark[1]) in marked:
            out += [text[at : mark.start()], pictures[int(mark[1]) - 1]]
            at = mark.end()
    return [part for part in [*out, text[at:]] if not isinstance(part, str) or part.strip()]


_MARK = re.compile(r"<image[ _]?(\d{1,2})>")


def _choices(options: Sequence[str]) -> str:
    return "".join(f"({chr(ord('A') + i)}) {option}\n" for i, option in enumerate(options))


def _mathvista(problem: Problem) -> str:
    kind, places = problem.extra.get("answer_type"), problem.extra.get("precision")
    if problem.options:
        hint = f"Please answer the question and {LETTER_HINT}"
    elif kind == "integer":
        hint = (
            "Please answer the question requiring an integer answer and provide the final value, "
            "e.g., 1, 2, 3, at the end."
        )
    elif kind == "float":
        words, examples = (
            ("one decimal place", "1.2, 1.3, 1.4") if places == 1 else ("two decimal places", "1.23, 1.34, 1.45")
        )
        hint = (
            f"Please answer the question requiring a floating-point number with {words} and provide the final value, "
            f"e.g., {examples}, at the end."
        )
    else:
        hint = (
            "Please answer the question requiring a Python list as an answer and provide the final list, "
            "e.g., [1, 2, 3], [1.2, 1.3, 1.4], at the end."
        )
    unit = problem.extra.get("unit")
    asked = f"Hint: {hint}\nQuestion: {problem.problem}" + (f" (Unit: {unit})" if unit else "")
    return asked + (f"\nChoices:\n{_choices(problem.options)}".rstrip() if problem.options else "")


def _mathvision(problem: Problem) -> str:
    shown = "" if "".join(problem.options) == "ABCDE" else _choices(problem.options)
    return (
        'Please solve the problem step by step and put your answer in one "\\boxed{}". '
        'If it is a multiple choice question, only one letter is allowed in the "\\boxed{}".\n'
        f"{problem.problem}\n{shown}"
    ).rstrip()


def _mathverse(problem: Problem) -> str:
    ends = LETTER_HINT
    if problem.extra.get("question_type") != "multi-choice":
        ends = "provide the final value, e.g., 1, 2.5, 300, at the end."
    hint = f"first conduct reasoning, and then answer the question and {ends}"
    if problem.extra.get("question_in_picture"):
        return f"According to the question shown in the image, please {hint}"
    return f"Please {hint}\nQuestion: {problem.problem}"


def _emma(problem: Problem) -> str:
    context = problem.extra.get("context")
    asked = (f"{context}\n" if context and context != "none" else "") + problem.problem
    if problem.options:
        end = 'Answer with the option\'s letter from the given choices and put the letter in one "\\boxed{}".'
        return f"{asked}\n{_choices(problem.options)}{end}\nPlease solve the problem step by step."
    end = 'Answer the question using a single word or phrase and put the answer in one "\\boxed{}".'
    return f"{asked}\n{end}\nPlease solve the problem step by step."


_QUESTIONS: dict[str, Callable[[Problem], str]] = {
    "mathvista": _mathvista,
    "mathvision": _mathvision,
    "mathverse": _mathverse,
    "emma": _emma,
}
