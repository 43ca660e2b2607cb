"""Reading a completion of the lab back: its attempts, its equations, and whether its answer was earned.

A completion is right if its answer follows *faithfully* from its last attempt: the approach that was announced is the
one carried out, on the problem's own numbers, with right equations, compared with the right target, called a hit, and
answered. Rewarding the final expression alone lets arithmetic rot at flat accuracy; not binding the announcement to
the deed lets the phrases float free of content.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hicra.lab.phrases import APPROACH_OF, CHECKING
from hicra.lab.world import APPROACHES, Problem, calculate, numeral

_VALUE = r"\d \d|neg|huge"
_STEP = rf"(?P<middle{{n}}>{_VALUE}) (?P<then{{n}}>[-+*]) (?P<z{{n}}>\d) = (?P<result{{n}}>{_VALUE})"
_ATTEMPT = re.compile(
    r"(?P<phrase>[a-z' ]+) , (?P<x>\d) (?P<op>[-+*]) (?P<y>\d) = "
    + _STEP.format(n="")
    + r"(?P<check> \. (?P<checking>[a-z' ]+) , "
    + _STEP.format(n=2)
    + rf")? vs (?P<target>{_VALUE}) (?P<verdict>yes|miss) \."
)
_ANSWER = re.compile(r"so answer : (\d [-+*] \d [-+*] \d)$")
# A lookahead, because the result of one equation is the left side of the next. A lone digit must not be the tail of a
# numeral.
_EQUATION = re.compile(rf"(?<!\S)(?=(\d \d|(?<!\d )\d) ([-+*]) (\d) = ({_VALUE}))")

_BY_NAME = {choice.name: choice for choice in APPROACHES}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One announced and carried-out attempt. Numbers that may be `neg` or `huge` are kept as written."""

    approach: str | None
    x: int
    op: str
    y: int
    middle: str
    then: str
    z: int
    result: str
    target: str
    verdict: str
    consistent: bool
    """The checking move, where there is one, repeats the step that it checks."""

    @property
    def expression(self) -> str:
        return f"{self.x} {self.op} {self.y} {self.then} {self.z}"

    def faithful(self, problem: Problem) -> bool:
        """Whether this attempt does what it announces, without error, and truly reaches the problem's target."""
        approach = _BY_NAME.get(self.approach or "")
        if approach is None or not self.consistent:
            return False
        x, y, z = approach.operands(problem.numbers)
        written = (self.x, self.y)
        return (
            (self.op, self.then, self.z) == (approach.op, approach.then, z)
            and (written == (x, y) or (self.op != "-" and written == (y, x)))
            and self.middle == numeral(calculate(self.op, self.x, self.y))
            and self.result == numeral(approach.result(problem.numbers))
            and self.result == self.target == numeral(problem.target)
            and self.verdict == "yes"
        )


def attempts(text: str) -> list[Attempt]:
    """The complete attempts of a completion, in order. Anything else is passed over."""
    return [_attempt(match) for match in _ATTEMPT.finditer(text)]


def is_right(problem: Problem, text: str) -> bool:
    """Whether the completion solves the problem, faithfully (see the top of this file)."""
    text = text.strip()
    answer = _ANSWER.search(text)
    if answer is None:
        return False
    found = list(_ATTEMPT.finditer(text, 0, answer.start()))
    last = found[-1] if found else None
    if last is None or text[last.end() : answer.start()].strip():  # nothing may come between the attempt and its answer
        return False
    attempt = _attempt(last)
    return answer[1] == attempt.expression and attempt.faithful(problem)


def equations(text: str) -> Iterator[bool]:
    """For every equation of a completion whose value is defined, whether it is right."""
    for left, op, right, result in _EQUATION.findall(text):
        yield numeral(calculate(op, int(left.replace(" ", "")), int(right))) == result


def _attempt(match: re.Match[str]) -> Attempt:
    consistent = match["check"] is None or (
        match["checking"].strip() in CHECKING
        and (match["middle2"], match["then2"], match["z2"]) == (match["middle"], match["then"], match["z"])
    )
    return Attempt(
        approach=APPROACH_OF.get(match["phrase"].strip()),
        x=int(match["x"]),
        op=match["op"],
        y=int(match["y"]),
        middle=match["middle"],
        then=match["then"],
        z=int(match["z"]),
        result=match["result2"] or match["result"],
        target=match["target"],
        verdict=match["verdict"],
        consistent=consistent,
    )
