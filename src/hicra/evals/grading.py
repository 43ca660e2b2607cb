"""Grades of many answers to a benchmark: right, wrong, without an answer, or cut off, and how many there are of each.

A completion that was cut off by the length limit before it answered says something about the limit, not about the
mathematics: it counts as not right in the accuracy, as everywhere, and is shown apart, with the accuracy among those
that came to an end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from hicra.errors import DataError
from hicra.evals._latex import clean
from hicra.evals._sets import end_value
from hicra.evals._units import quantity
from hicra.evals.answers import check_many, final_answer
from hicra.evals.benchmarks import Problem
from hicra.evals.pool import Pool


class Grade(StrEnum):
    """What became of one completion."""

    RIGHT = "right"
    WRONG = "wrong"
    NO_ANSWER = "no_answer"
    """It came to its end without a box."""
    CUT_OFF = "cut_off"
    """It ran into the length limit, or ends inside its box, and what it had answered until then is not right."""


@dataclass(frozen=True, slots=True)
class Graded:
    """Grade of one completion, and what it rests on.

    Attributes:
        grade: what became of it.
        answer: the answer that was found in it, None where there was none.
        reading: which rule found it, for logs.
    """

    grade: Grade
    answer: str | None = None
    reading: str = "box"


@dataclass(frozen=True, slots=True)
class Tally:
    """Numbers of grades."""

    right: int = 0
    wrong: int = 0
    no_answer: int = 0
    cut_off: int = 0

    @property
    def n(self) -> int:
        """All completions."""
        return self.right + self.wrong + self.no_answer + self.cut_off

    @property
    def accuracy(self) -> float:
        """Share of all completions that are right; NaN where there are none."""
        return self.right / self.n if self.n else float("nan")

    @property
    def accuracy_of_finished(self) -> float:
        """Share of right ones among those that were not cut off; NaN where there are none."""
        finished = self.n - self.cut_off
        return self.right / finished if finished else float("nan")

    @property
    def share_cut_off(self) -> float:
        """Share of completions that were cut off; NaN where there are none."""
        return self.cut_off / self.n if self.n else float("nan")


def grade(
    completions: Sequence[str],
    problems: Sequence[Problem],
    *,
    truncated: Sequence[bool] | None = None,
    pool: Pool | None = None,
) -> list[Grade]:
    """Grades of N completions, the i-th one to the i-th problem (repeat a problem for several samples).

    Args:
        completions: N texts.
        problems: N items; where one states an error margin, a number within it is right.
        truncated: N flags, whether the length limit ended the completion; without them, a completion that ends inside
            its box counts as cut off.
        pool: workers, see `hicra.evals.answers.check`.

    Raises:
        DataError: the lengths differ.
    """
    flags = [False] * len(completions) if truncated is None else list(truncated)
    if not len(completions) == len(problems) == len(flags):
        raise DataError(
            "completions, problems and flags do not go together",
            expected="one problem and one flag for each completion",
            got=f"{len(completions)}, {len(problems)} and {len(flags)}",
        )
    verdicts = check_many(completions, [p.answer for p in problems], pool=pool)
    grades = []
    for completion, problem, cut, right in zip(completions, problems, flags, verdicts, strict=True):
        answer = final_answer(completion)
        if right or (problem.error is not None and answer is not None and _within(answer, problem)):
            grades.append(Grade.RIGHT)
        elif cut or (answer is None and "\\boxed" in completion):
            grades.append(Grade.CUT_OFF)
        else:
            grades.append(Grade.NO_ANSWER if answer is None else Grade.WRONG)
    return grades


def grade_boxed(problem: Problem, completion: str, cut: bool, *, pool: Pool | None = None) -> Graded:
    """`grade` of one completion, with the answer in its last box."""
    return Graded(grade([completion], [problem], truncated=[cut], pool=pool)[0], final_answer(completion))


def tally(grades: Sequence[Grade]) -> Tally:
    """How many there are of each grade."""
    return Tally(*(sum(g is kind for g in grades) for kind in Grade))


def _within(answer: str, problem: Problem) -> bool:
    values = [end_value(quantity(clean(text)).value) for text in (answer, problem.answer)]
    if values[0] is None or values[1] is None or problem.error is None:
        return False
    return bool(abs(float(values[0]) - float(values[1])) <= problem.error * (1 + 1e-9))
