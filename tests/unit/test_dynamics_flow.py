"""Strategy flow: transitions, success by position, and odds ratios."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hicra.dynamics.flow import Moves, moves_of_tokens, success_by_position, transitions
from hicra.dynamics.odds import mantel_haenszel, move_odds, odds_ratio
from hicra.errors import DataError


def test_moves_of_tokens() -> None:
    gram_id, begin = [0, 0, -1, 1, 2, -1, -1, -1], [1, 0, 0, 1, 1, 0, 0, 0]
    move, row, position = moves_of_tokens(gram_id, begin, [0, 4, 8])
    assert move.tolist() == [0, 1, 2]
    assert row.tolist() == [0, 0, 1]
    assert position.tolist() == [0.0, 0.75, 0.0]
    move, row, _ = moves_of_tokens(gram_id, begin, [0, 4, 8], [5, -1, 5])
    assert (move.tolist(), row.tolist()) == ([5, 5], [0, 1])
    with pytest.raises(DataError, match="go together"):
        moves_of_tokens(gram_id, begin, [0, 4])


def test_transitions_by_hand() -> None:
    # completion 0: a b a; 1: none; 2: b
    found = transitions([0, 1, 0, 1], [0, 0, 0, 2], n_moves=2, n_rows=3)
    assert found.counts.tolist() == [[0, 1, 1], [1, 0, 1], [1, 1, 1]]
    assert found.probability[2].tolist() == pytest.approx([1 / 3] * 3)
    # P(b) = 2/7 of all that comes next, P(b | a) = 1/2
    assert found.lift[0, 1] == pytest.approx(0.5 / (2 / 7))
    assert np.isnan(transitions([], [], 1, 0).probability).all()
    with pytest.raises(DataError, match="not in order"):
        transitions([0, 0], [1, 0], 1, 2)
    with pytest.raises(DataError, match="not in order"):
        transitions([3], [0], 2, 1)


def test_success_by_position() -> None:
    # move 0 early in a right and a wrong completion of two prompts, late in the right one only
    moves = Moves(
        np.array([0, 0, 1, 0]),
        np.array([0, 0, 0, 1]),
        np.array([0.0, 0.9, 0.5, 0.1]),
        np.array([True, False]),
        np.array([0, 1]),
        np.array([1, 1]),
    )
    found = success_by_position(moves, 3)
    assert found.share[0, 0] == 0.5
    assert found.share[0, 2] == 1.0
    assert math.isnan(found.share[0, 1])
    assert found.completions.tolist() == [[2, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert found.anywhere[:2].tolist() == [0.5, 1.0]
    second = moves.of(np.array([False, True]))
    assert (second.move.tolist(), second.row.tolist(), second.right.tolist()) == ([0], [0], [False])


def test_odds_ratio_by_hand() -> None:
    found = odds_ratio(7, 3, 4, 9)
    log_ratio = math.log(7.5 * 9.5 / (3.5 * 4.5))
    error = math.sqrt(1 / 7.5 + 1 / 3.5 + 1 / 4.5 + 1 / 9.5)
    assert found.ratio == pytest.approx(math.exp(log_ratio))
    assert found.low == pytest.approx(math.exp(log_ratio - 1.96 * error), rel=1e-3)
    assert found.p == pytest.approx(math.erfc(log_ratio / error / math.sqrt(2)))


def test_mantel_haenszel_by_hand() -> None:
    # tables (2 1 / 1 2) and (1 1 / 2 2): R = 4/6 + 2/6, S = 1/6 + 2/6
    found = mantel_haenszel([2, 1], [1, 1], [1, 2], [2, 2])
    assert found.ratio == pytest.approx(2.0)
    variance = (22 / 36) / 2 + (24 / 36) / (2 * 0.5) + (8 / 36) / (2 * 0.25)
    assert found.high == pytest.approx(2 * math.exp(1.959964 * math.sqrt(variance)))
    # one table: the plain ratio
    assert mantel_haenszel([6], [2], [3], [5]).ratio == pytest.approx(6 * 5 / (2 * 3))
    assert mantel_haenszel([2], [0], [1], [3]).ratio == math.inf
    assert mantel_haenszel([0], [2], [1], [0]).ratio == 0.0
    assert math.isnan(mantel_haenszel([2], [1], [0], [0]).ratio)


def test_odds_within_groups_see_through_hard_prompts() -> None:
    """Move 0 is tried on hard prompts and changes nothing; move 1 helps on all of them."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(600), 8)
    hard = (np.arange(600) % 2)[group]
    first = rng.random(4800) < np.where(hard, 0.7, 0.2)
    second = rng.random(4800) < 0.4
    right = rng.random(4800) < 0.6 - 0.4 * hard + 0.15 * second
    rows = np.concatenate([np.flatnonzero(first), np.flatnonzero(second), np.flatnonzero(second)])
    moves = np.concatenate([np.zeros(first.sum()), np.ones(2 * second.sum())]).astype(int)  # repeats count once
    found = {m.move: m for m in move_odds(rows, moves, right, group)}
    assert found[0].crude.high < 0.7
    assert found[0].within.low < 1 < found[0].within.high
    assert found[0].adjusted_p > 0.05
    assert found[1].within.low > 1.3
    assert found[1].adjusted_p < 0.001
    assert (found[1].with_move, found[1].without) == (second.sum(), (~second).sum())
    assert found[1].right_with == (second & right).sum()


def test_intervals_within_groups_cover() -> None:
    rng = np.random.default_rng(1)
    group, covered = np.repeat(np.arange(60), 8), 0
    for _ in range(150):
        has, right = rng.random((2, 480)) < 0.5
        (found,) = move_odds(np.flatnonzero(has), np.zeros(has.sum(), int), right, group)
        covered += found.within.low <= 1 <= found.within.high
    assert 135 <= covered <= 149


def test_rare_moves_and_nonsense() -> None:
    assert move_odds([0, 1], [0, 0], [True] * 30, [0] * 30) == []
    assert move_odds([], [], [], []) == []
    with pytest.raises(DataError, match="go together"):
        move_odds([5], [0], [True], [0])
