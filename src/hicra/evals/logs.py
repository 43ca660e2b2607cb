"""Answers back out of inspect-ai's logs: one row an item and sample, with its grade or the error that came instead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hicra.errors import DataError, require
from hicra.evals.grading import Grade
from hicra.evals.task import SCORE


@dataclass(frozen=True, slots=True)
class Logged:
    """One answer, or one failure, of a log.

    Attributes:
        item: the problem's id.
        sample: number of the answer, from 0.
        grade: None where there is none, because of an `error`.
        cut_off: whether the length limit ended it.
        error: what went wrong.
    """

    item: str
    sample: int
    grade: Grade | None
    cut_off: bool = False
    error: str | None = None

    @property
    def cancelled(self) -> bool:
        """Whether it was under way when the evaluation was stopped."""
        return self.error is not None and self.error.startswith("CancelledError(")


def read_answers(log: str | Path) -> Iterator[Logged]:
    """The answers in one log, each item and sample once.

    Raises:
        DataError: no log, a log of something else, or an answer that is there twice.
    """
    require("inspect_ai", "eval")
    from inspect_ai.log import read_eval_log_sample_summaries

    try:
        summaries = read_eval_log_sample_summaries(str(log))
    except Exception as error:  # a torn zip, no zip, other JSON: each has its own kind
        raise DataError(f"{log} cannot be read as a log of inspect-ai", got=str(error)[:200]) from error
    seen: set[tuple[str, int]] = set()
    for summary in summaries:
        found = _logged(summary, str(log))
        if (found.item, found.sample) in seen:
            raise DataError(f"{log}: item {found.item!r}, sample {found.sample} is there twice", expected="once")
        seen.add((found.item, found.sample))
        yield found


def _logged(summary: Any, log: str) -> Logged:
    item, sample = str(summary.id), int(summary.epoch) - 1
    if summary.error is not None:
        return Logged(item, sample, None, error=str(summary.error))
    score = (summary.scores or {}).get(SCORE)
    if score is None:
        return Logged(item, sample, None, error="the answer was not graded")
    about = score.metadata or {}
    try:
        grade = Grade(about["grade"])
    except (KeyError, ValueError) as error:
        raise DataError(f"{log}: item {item!r} has no grade of ours", got=repr(about)[:120]) from error
    return Logged(item, sample, grade, bool(about.get("cut_off")) or grade is Grade.CUT_OFF)
