"""The procedural world: make a target from three numbers, in words.

A problem gives three numbers in an order, `a b c`, and a two-digit target. It is solved by one of a handful of
*approaches*, fixed two-step recipes such as `a * b + c`. Choosing the approach is strategy; carrying it out is
procedure. Nothing in the prompt says which approach works: a solver has to try, compare and go back.

Held-out problems are split off by a stable hash of the *puzzle* (the numbers without their order, and the target), so
that a held-out problem never occurs in training, not even with its numbers in another order.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from dataclasses import dataclass
from functools import cache
from typing import Literal

from hicra.errors import ConfigError

Split = Literal["train", "heldout"]

TARGETS = range(10, 100)
"""Targets have two digits, and so have all results that can be written (00 to 99; see `numeral`)."""

HELDOUT_SHARE = 8
"""One puzzle in this many is held out."""


@dataclass(frozen=True, slots=True)
class Approach:
    """A two-step recipe `(x op y) then z` over the positions 0, 1, 2 of a problem's numbers.

    A difference is taken the way that makes it positive (`|x - y|`), so that order does not matter to what a recipe
    can reach.
    """

    name: str
    x: int
    op: str
    y: int
    then: str
    z: int

    def operands(self, numbers: tuple[int, int, int]) -> tuple[int, int, int]:
        """The three numbers in the order in which this recipe uses them."""
        x, y, z = numbers[self.x], numbers[self.y], numbers[self.z]
        return (y, x, z) if self.op == "-" and x < y else (x, y, z)

    def result(self, numbers: tuple[int, int, int]) -> int:
        """What the recipe makes of the numbers, without error."""
        x, y, z = self.operands(numbers)
        return calculate(self.then, calculate(self.op, x, y), z)


APPROACHES: tuple[Approach, ...] = (
    Approach("product plus", 0, "*", 1, "+", 2),
    Approach("sum times", 0, "+", 1, "*", 2),
    Approach("product minus", 0, "*", 1, "-", 2),
    Approach("gap times", 0, "-", 1, "*", 2),
    Approach("tail product plus", 1, "*", 2, "+", 0),
    Approach("tail sum times", 1, "+", 2, "*", 0),
    Approach("tail product minus", 1, "*", 2, "-", 0),
    Approach("tail gap times", 1, "-", 2, "*", 0),
)
"""Every approach of the world, in the order in which `World.approaches` counts them."""


def calculate(op: str, x: int, y: int) -> int:
    """`x op y` for the three operations of the world."""
    if op == "+":
        return x + y
    if op == "-":
        return x - y
    if op == "*":
        return x * y
    raise ValueError(f"unknown operation {op!r}")


def numeral(value: int) -> str:
    """How a result is written: two digit words, `neg` below 0, `huge` above 99.

    Digits are words of their own because a tiny model learns to compare two numbers digit by digit, but not as atoms.
    """
    if value < 0:
        return "neg"
    return "huge" if value > 99 else f"{value // 10} {value % 10}"


@dataclass(frozen=True, slots=True)
class Problem:
    """Three numbers in order and the target to make of them."""

    numbers: tuple[int, int, int]
    target: int

    @property
    def id(self) -> str:
        """A readable, unique name: `8-6-2=46`."""
        return "-".join(map(str, self.numbers)) + f"={self.target}"

    @classmethod
    def from_id(cls, id: str) -> Problem:
        """The inverse of `id`."""
        numbers, target = id.split("=")
        a, b, c = (int(number) for number in numbers.split("-"))
        return cls((a, b, c), int(target))

    @property
    def prompt(self) -> str:
        """The prompt's words, separated by single spaces."""
        return f"use {' '.join(map(str, self.numbers))} make {numeral(self.target)} :"

    @property
    def split(self) -> Split:
        """`heldout` for one puzzle in `HELDOUT_SHARE`, by a hash that no seed, order or Python version changes."""
        puzzle = f"{sorted(self.numbers)}={self.target}"
        digest = hashlib.blake2b(puzzle.encode(), digest_size=8).digest()
        return "heldout" if int.from_bytes(digest, "big") % HELDOUT_SHARE == 0 else "train"


@dataclass(frozen=True, slots=True)
class World:
    """The problems that can be set: the difficulty and strategy knobs.

    Attributes:
        largest: the largest number (2 to 9). More numbers mean more facts of arithmetic to know, and more problems.
        approaches: how many of `APPROACHES` there are to choose from (2 to 8).
    """

    largest: int = 8
    approaches: int = 6

    def __post_init__(self) -> None:
        if not 4 <= self.largest <= 9:
            raise ConfigError("the lab's largest number is out of range", expected="4 to 9", got=str(self.largest))
        if not 2 <= self.approaches <= len(APPROACHES):
            raise ConfigError(
                "the lab has no such number of approaches", expected=f"2 to {len(APPROACHES)}", got=str(self.approaches)
            )

    @property
    def choices(self) -> tuple[Approach, ...]:
        """The approaches of this world."""
        return APPROACHES[: self.approaches]

    def solutions(self, problem: Problem) -> tuple[Approach, ...]:
        """The approaches that reach the problem's target (at least one for every problem of this world)."""
        return tuple(choice for choice in self.choices if choice.result(problem.numbers) == problem.target)

    def problems(self, split: Split | None = None) -> tuple[Problem, ...]:
        """Every problem of the world, or of one split, in a fixed order."""
        return tuple(problem for problem in _problems(self) if split is None or problem.split == split)

    def draw(self, rng: random.Random, split: Split) -> Problem:
        """A problem of the split: the approach that solves it is drawn uniformly, so that none is a safe bet."""
        by_approach = _by_approach(self, split)
        return rng.choice(by_approach[rng.randrange(len(by_approach))])

    def sample(self, n: int, seed: int, split: Split) -> tuple[Problem, ...]:
        """Up to `n` different problems of a split, shuffled by `seed`."""
        pool = list(self.problems(split))
        random.Random(seed).shuffle(pool)
        return tuple(pool[:n])


@cache
def _problems(world: World) -> tuple[Problem, ...]:
    numbers = itertools.product(range(2, world.largest + 1), repeat=3)
    found = {
        Problem((a, b, c), result): None
        for a, b, c in numbers
        for choice in world.choices
        if (result := choice.result((a, b, c))) in TARGETS
    }
    return tuple(found)


@cache
def _by_approach(world: World, split: Split) -> tuple[tuple[Problem, ...], ...]:
    pool = world.problems(split)
    return tuple(tuple(p for p in pool if choice.result(p.numbers) == p.target) for choice in world.choices)
