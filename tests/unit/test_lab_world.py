"""The lab's world, writer and verifier agree with each other, and held-out problems are held out."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest

from hicra.errors import ConfigError
from hicra.lab.verifier import attempts, equations, is_right
from hicra.lab.world import APPROACHES, Problem, World, numeral
from hicra.lab.writer import Habits, write_comparisons, write_drill, write_solution

WORLD = World()
PROBLEM = Problem((8, 6, 2), 46)
RIGHT = "let 's multiply then subtract , 8 * 6 = 4 8 - 2 = 4 6 vs 4 6 yes . so answer : 8 * 6 - 2"
FLAWLESS = Habits(noise=0, misjudge=0, insight=1, insight_after_opening=1)


def test_problem_reads_and_names_itself() -> None:
    assert PROBLEM.prompt == "use 8 6 2 make 4 6 :"
    assert PROBLEM.id == "8-6-2=46"
    assert Problem.from_id(PROBLEM.id) == PROBLEM


def test_numerals_have_two_digits_or_a_word() -> None:
    assert [numeral(v) for v in (-1, 0, 7, 46, 99, 100)] == ["neg", "0 0", "0 7", "4 6", "9 9", "huge"]


def test_every_problem_can_be_solved_and_targets_have_two_digits() -> None:
    problems = WORLD.problems()
    assert len(problems) == len(set(problems)) > 1500
    for problem in problems:
        assert WORLD.solutions(problem)
        assert 10 <= problem.target <= 99


def test_split_is_disjoint_stable_and_blind_to_the_order_of_numbers() -> None:
    train, heldout = set(WORLD.problems("train")), set(WORLD.problems("heldout"))
    assert not train & heldout
    assert train | heldout == set(WORLD.problems())
    assert 0.08 < len(heldout) / len(WORLD.problems()) < 0.22
    puzzles = {(tuple(sorted(p.numbers)), p.target) for p in train}
    assert not any((tuple(sorted(p.numbers)), p.target) in puzzles for p in heldout)
    # written down, so that no change of Python, platform or hash seed moves a problem from one side to the other
    assert [t for t in range(10, 60) if Problem((2, 5, 9), t).split == "heldout"] == HELDOUT_OF_2_5_9


HELDOUT_OF_2_5_9 = [12, 43, 47, 59]


def test_draws_come_from_their_split_and_favour_no_approach() -> None:
    rng = random.Random(0)
    drawn = [WORLD.draw(rng, "train") for _ in range(1200)]
    assert {p.split for p in drawn} == {"train"}
    shares = Counter(choice.name for p in drawn for choice in WORLD.solutions(p)[:1])
    assert min(shares[choice.name] for choice in WORLD.choices) > 0.08 * len(drawn)


def test_knobs_change_the_world() -> None:
    assert len(World(largest=5).problems()) < len(World(largest=9).problems())
    assert len(World(approaches=2).problems()) < len(World(approaches=8).problems())
    with pytest.raises(ConfigError, match="largest"):
        World(largest=10)
    with pytest.raises(ConfigError, match="approaches"):
        World(approaches=len(APPROACHES) + 1)
    with pytest.raises(ConfigError, match="noise"):
        Habits(noise=1.2)


def test_a_flawless_writer_is_always_right() -> None:
    rng = random.Random(1)
    for _ in range(400):
        problem = WORLD.draw(rng, "train")
        text = write_solution(rng, WORLD, problem, FLAWLESS)
        assert is_right(problem, text), text
        assert all(equations(text)), text


def test_noise_is_the_share_of_wrong_equations() -> None:
    rng = random.Random(2)
    habits = Habits(noise=0.3, checking=0)
    found = [ok for _ in range(1500) for ok in equations(write_solution(rng, WORLD, WORLD.draw(rng, "train"), habits))]
    assert 0.26 < 1 - sum(found) / len(found) < 0.34


def test_favourite_is_the_share_of_the_first_approach() -> None:
    rng = random.Random(3)
    for favourite in (0.2, 0.9):
        habits = Habits(favourite=favourite, insight=0, insight_after_opening=0, max_attempts=1)
        first = [attempts(write_solution(rng, WORLD, WORLD.draw(rng, "train"), habits))[0] for _ in range(800)]
        assert abs(sum(a.approach == "product plus" for a in first) / len(first) - favourite) < 0.06


def test_attempts_are_limited() -> None:
    rng = random.Random(4)
    habits = Habits(give_up=0, insight=0, insight_after_opening=0, max_attempts=3)
    counts = [len(attempts(write_solution(rng, WORLD, WORLD.draw(rng, "train"), habits))) for _ in range(200)]
    assert max(counts) == 3


def test_drills_are_right_and_balanced() -> None:
    rng = random.Random(5)
    drills = [write_drill(rng, WORLD, WORLD.draw(rng, "train")) for _ in range(300)]
    assert all(ok for text in drills for ok in equations(text))
    drills += [write_comparisons(rng) for _ in range(300)]
    for left, right, verdict in re.findall(r"(\d \d|neg|huge) vs (\d \d|neg|huge) (yes|miss) \.", " ".join(drills)):
        assert (left == right) == (verdict == "yes")
    verdicts = Counter(word for text in drills for word in text.split() if word in ("yes", "miss"))
    assert 0.4 < verdicts["yes"] / verdicts.total() < 0.6


def test_the_faithful_derivation_is_right() -> None:
    assert is_right(PROBLEM, RIGHT)
    assert is_right(PROBLEM, RIGHT.replace("8 * 6", "6 * 8")), "factors commute"
    tried = "let 's multiply then add , 8 * 6 = 4 8 + 2 = 5 0 vs 4 6 miss . try a different approach . "
    assert is_right(PROBLEM, tried + RIGHT), "what was tried before does not matter"


def test_a_check_may_correct_the_result() -> None:
    checked = RIGHT.replace("= 4 6 vs", "= 4 7 . let me check this , 4 8 - 2 = 4 6 vs")
    assert is_right(PROBLEM, checked)
    assert not is_right(PROBLEM, checked.replace(", 4 8 - 2", ", 4 9 - 3")), "it checks another step"


@pytest.mark.parametrize(
    ("why", "text"),
    [
        ("first equation wrong", RIGHT.replace("= 4 8", "= 4 7")),
        ("second equation wrong", RIGHT.replace("- 2 = 4 6", "- 2 = 4 5")),
        ("another approach announced", RIGHT.replace("multiply then subtract", "multiply then add")),
        ("no approach announced", RIGHT.replace("let 's multiply then subtract", "let me check this")),
        ("another expression answered", RIGHT[:-1] + "3"),
        ("called a miss", RIGHT.replace("yes", "miss")),
        ("compared with another target", RIGHT.replace("vs 4 6", "vs 4 7")),
        ("gave up", RIGHT.split(" so ")[0] + " i stop here"),
        ("something between attempt and answer", RIGHT.replace("so answer", "wait that is wrong . so answer")),
        ("cut before its end", RIGHT.rsplit(" ", 2)[0]),
        ("goes on after the answer", RIGHT + " . i stop here"),
        ("an answer without a derivation", "so answer : 8 * 6 - 2"),
        ("nothing", ""),
    ],
)
def test_anything_less_is_wrong(why: str, text: str) -> None:
    assert not is_right(PROBLEM, text), why


def test_numbers_must_be_the_problems() -> None:
    other = "let 's multiply then subtract , 9 * 6 = 5 4 - 8 = 4 6 vs 4 6 yes . so answer : 9 * 6 - 8"
    assert not is_right(PROBLEM, other)
    assert is_right(Problem((9, 6, 8), 46), other)


def test_equations_are_found_in_any_text() -> None:
    assert list(equations("8 * 6 = 4 8 - 2 = 4 6 vs 4 6")) == [True, True]
    assert list(equations("8 * 6 = 4 7 - 2 = 4 6 vs")) == [False, False]
    assert list(equations("2 - 9 = neg + 4 = 0 1")) == [True], "what follows an undefined value is not counted"
    assert list(equations("* = 4 4 6 vs +")) == []
