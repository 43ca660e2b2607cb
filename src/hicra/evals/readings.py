r"""Where a response to a vision problem says its answer: rules, in order, the first that finds something counts.

    box        the last \boxed{...}
    sentence   the last "The answer is ...", "the correct option is ...", up to the end of its sentence
    letter     of a choice: alone, at the very start or at the very end: "B", "(B)", "B. 12", "... is B."
    number     of a value: the last one in the text
    whole      a text of one short line is the answer itself

They follow what the authors of the benchmarks do before, or in place of, asking a language model for the answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hicra.evals.boxed import last_boxed

TAIL = 4_000
"""Characters at the end of a response that are looked at, apart from boxes."""

_SENTENCE = re.compile(
    r"(?:(?:final|correct|right|best)\s+)?(?:answer|option|choice)(?:\s+(?:letter|option|choice))?\s*"
    r"(?:is|should be|would be|:|=)+\s*:?\s*(?:\*\*)?\s*(?=([^\n]{1,400}))",
    re.I,
)
_END = re.compile(r"(?<=[^\d\s])\.\s|\.\s+(?=[A-Z])|\.\s*$")
_NUMBER = re.compile(r"-?(?:\d[\d,]*)?\.?\d+(?:[eE][-+]?\d+)?(?:\s*/\s*\d+)?%?")
_LETTER = re.compile(r"^\W*(?:option|choice)?\W*\(?([A-J])\)?\W*$", re.I)
_LEADING = re.compile(r"^\s*(?:\*\*)?(?:\(([A-Ja-j])\)|([A-J])\s*[.):]|([A-J])\s*\n)")
_TRAILING = re.compile(r"(?:\(([A-J])\)|(?<![\w'\\])([A-J]))\s*[.*]*\s*$")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a response answers, and the rule that found it."""

    answer: str
    rule: str


def read_answer(response: str, *, letters: int = 0) -> Reading | None:
    """The answer in a response; None where no rule finds one.

    Args:
        response: a model's.
        letters: number of choices; 0 for a problem without.
    """
    box = last_boxed(response)
    if box is not None:
        return Reading(box.strip(), "box") if box.strip() else None
    tail = response[-TAIL:].strip()
    if not tail:
        return None
    stated = [m[1] for m in _SENTENCE.finditer(tail)]
    if stated and (said := _first_sentence(stated[-1])):
        return Reading(said, "sentence")
    if letters:
        found = _LEADING.match(tail) if len(tail) == len(response.strip()) else None
        found = _TRAILING.search(tail) or found
        if found:
            return Reading(next(g for g in found.groups() if g).upper(), "letter")
    elif numbers := _NUMBER.findall(tail):
        return Reading(numbers[-1].strip(), "number")
    if "\n" not in tail and len(tail) <= 100:
        return Reading(tail.strip(" ."), "whole")
    return None


def letter_of(answer: str, letters: int) -> str | None:
    """The letter of a choice that an answer names, with or without what stands behind it; None for anything else."""
    text = re.sub(r"\\(?:text|textbf|mathrm|mathbf|mbox)\s*\{([^{}]*)\}", r"\1", answer).strip().strip("$*{}. ")
    found = _LETTER.match(text) or re.match(r"^\(([A-Ja-j])\)", text) or re.match(r"^([A-J])\s*[.):]\s", text)
    if found is None:
        return None
    letter = found[1].upper()
    return letter if ord(letter) - ord("A") < letters else None


def _first_sentence(text: str) -> str:
    text = text.strip().strip("*").strip()
    end = _END.search(text)
    said = (text[: end.start()] if end else text).strip().strip("*").strip()
    return said.strip('"“”').rstrip(".").strip("$ ")
