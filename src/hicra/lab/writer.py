"""The imperfect writer: the text that the lab's model is warmed up on.

It can do the task, badly. Its arithmetic is noisy, it has a favourite approach and favourite wordings, it gives up
early and, when it goes back, mostly tries the same thing again. Reinforcement learning then has something to sharpen
(procedure) and something to widen (strategy). A solution reads

    let 's multiply then add , 8 * 6 = 4 8 + 2 = 5 0 vs 4 6 miss . try a different approach .
    let 's multiply then subtract , 8 * 6 = 4 8 - 2 = 4 6 vs 4 6 yes . so answer : 8 * 6 - 2

Drills are practice without phrases and without noise: they teach what an equation and a comparison are, so that the
noise in solutions is a habit that can be unlearnt and not a lack of knowledge.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, fields

from hicra.errors import ConfigError
from hicra.lab.phrases import APPROACH_PHRASES, BACKTRACKING, CHECKING, CONCLUDING, OPENING
from hicra.lab.world import Approach, Problem, World, calculate, numeral


@dataclass(frozen=True, slots=True)
class Habits:
    """How the writer errs. All but `max_attempts` are probabilities.

    Attributes:
        noise: an equation comes out wrong: the procedural knob.
        misjudge: a comparison with the target is called wrongly.
        insight: an attempt uses an approach that works; else one is drawn by habit.
        insight_after_opening: the same, where the solution begins with an opening phrase.
        favourite: share of the first approach among habitual attempts, the others share the rest equally: the
            strategic prior.
        wording: share of a move's first wording, the others share the rest equally.
        opening, checking, concluding: how often these moves are made.
        give_up: after a miss, stop instead of going back.
        stubborn: after the favourite way of going back, do the same approach once more instead of drawing one.
        swap: write `6 * 8` for `8 * 6`, and so for sums.
        max_attempts: stop after so many, which keeps completions within their budget.
    """

    noise: float = 0.18
    misjudge: float = 0.03
    insight: float = 0.10
    insight_after_opening: float = 0.35
    favourite: float = 0.55
    wording: float = 0.80
    opening: float = 0.10
    checking: float = 0.05
    concluding: float = 0.08
    give_up: float = 0.35
    stubborn: float = 0.60
    swap: float = 0.30
    max_attempts: int = 4

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "max_attempts":
                if value < 1:
                    raise ConfigError("the writer makes no attempt", expected="max_attempts >= 1", got=str(value))
            elif not 0 <= value <= 1:
                raise ConfigError(
                    f"the writer's habit {field.name!r} is no probability", expected="0 to 1", got=str(value)
                )


def write_solution(rng: random.Random, world: World, problem: Problem, habits: Habits) -> str:
    """One solution of the imperfect writer, right or wrong; words are separated by single spaces."""
    words: list[str] = []
    insight = habits.insight
    if rng.random() < habits.opening:
        words += [_wording(rng, OPENING, habits), ","]
        insight = habits.insight_after_opening
    approach = _draw(rng, world, problem, insight, habits)
    tried = {approach}
    for attempt in range(1, habits.max_attempts + 1):
        lines, expression, result = _carry_out(rng, approach, problem, habits)
        reached = (result == problem.target) != (rng.random() < habits.misjudge)
        words += [*lines, "vs", numeral(problem.target), "yes" if reached else "miss", "."]
        if reached:
            return " ".join([*words, "so answer :", expression])
        if attempt == habits.max_attempts or rng.random() < habits.give_up:
            break
        if result != problem.target and rng.random() < habits.concluding:
            words += [CONCLUDING[0 if result > problem.target else 1], "."]
        back = _wording(rng, BACKTRACKING, habits)
        words += [back, "."]
        if back != BACKTRACKING[0]:  # the rarer ways of going back are the ones that lead somewhere new
            approach = rng.choice([choice for choice in world.choices if choice not in tried] or world.choices)
        elif rng.random() >= habits.stubborn:
            approach = _draw(rng, world, problem, insight, habits)
        tried.add(approach)
    return " ".join([*words, "i stop here"])


def write_drill(rng: random.Random, world: World, problem: Problem) -> str:
    """Practice without phrases and without noise: every approach on a problem's numbers, in random order."""
    lines = []
    for approach in rng.sample(world.choices, len(world.choices)):
        x, y, z = approach.operands(problem.numbers)
        if approach.op != "-" and rng.random() < 0.5:
            x, y = y, x
        middle = calculate(approach.op, x, y)
        result = calculate(approach.then, middle, z)
        lines.append(f"{x} {approach.op} {y} = {numeral(middle)} {approach.then} {z} = {_comparison(rng, result)}")
    return " ".join(lines)


def write_comparisons(rng: random.Random) -> str:
    """Eight comparisons of numerals, half of them equal.

    Comparing is the skill that a model learns last and that nothing works without. Among other text it takes millions
    of tokens to come; alone, a few hundred thousand.
    """
    return " ".join(_comparison(rng, rng.randint(0, 99)) for _ in range(8))


def _comparison(rng: random.Random, value: int) -> str:
    """A value against a target: the same in half of the cases that a target can equal, else mostly a near miss."""
    other = value
    if rng.random() < 0.5 or not 0 <= value <= 99:
        other = _miscalculate(rng, value) if rng.random() < 0.7 else rng.randint(10, 99)
    verdict = "yes" if numeral(other) == numeral(value) else "miss"
    return f"{numeral(value)} vs {numeral(other)} {verdict} ."


def _wording(rng: random.Random, wordings: Sequence[str], habits: Habits) -> str:
    return wordings[0] if rng.random() < habits.wording else rng.choice(wordings[1:])


def _draw(rng: random.Random, world: World, problem: Problem, insight: float, habits: Habits) -> Approach:
    if rng.random() < insight:
        return rng.choice(world.solutions(problem))
    favourite, *others = world.choices
    return favourite if rng.random() < habits.favourite else rng.choice(others)


def _carry_out(rng: random.Random, approach: Approach, problem: Problem, habits: Habits) -> tuple[list[str], str, int]:
    """Announce and calculate: the words, the expression for the answer, and the result that the writer believes in."""
    x, y, z = approach.operands(problem.numbers)
    if approach.op != "-" and rng.random() < habits.swap:
        x, y = y, x
    middle = _noisy(rng, calculate(approach.op, x, y), habits.noise)
    result = _noisy(rng, calculate(approach.then, middle, z), habits.noise)
    words = [_wording(rng, APPROACH_PHRASES[approach.name], habits), ","]
    words += [f"{x} {approach.op} {y} = {numeral(middle)} {approach.then} {z} = {numeral(result)}"]
    if rng.random() < habits.checking:
        result = _noisy(rng, calculate(approach.then, middle, z), habits.noise)
        words += [
            ".",
            _wording(rng, CHECKING, habits),
            ",",
            f"{numeral(middle)} {approach.then} {z} = {numeral(result)}",
        ]
    return words, f"{x} {approach.op} {y} {approach.then} {z}", result


def _noisy(rng: random.Random, value: int, noise: float) -> int:
    return _miscalculate(rng, value) if rng.random() < noise else value


def _miscalculate(rng: random.Random, value: int) -> int:
    return value + rng.choice((-10, -2, -1, 1, 2, 10))
