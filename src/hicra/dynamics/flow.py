"""Strategy flow: which moves follow which, and where in a solution they help.

    P(b | a) = occurrences of b right after a / occurrences of a          start and end of a completion are moves too
    lift     = P(b | a) / P(b)                                            1 where what came before does not matter
    success of move b in part t of the completion = right completions with b there / completions with b there

A move is a cluster of grams (or a gram). Intervals of success take prompts, not completions, as independent
(`clustered_share`). Ours; arXiv 2509.03646 names the three functions of moves and does not follow their order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hicra.dynamics.intervals import clustered_share
from hicra.dynamics.series import Floats, Ints
from hicra.errors import DataError


@dataclass(frozen=True, slots=True, eq=False)
class Moves:
    """Occurrences in the order in which they come, completions end to end.

    Attributes:
        move: (O,) gram or cluster, 0..C-1.
        row: (O,) completion, ascending, 0..N-1.
        position: (O,) where in its completion it begins, in [0, 1).
        right: (N,) whether the completion is right.
        prompt: (N,) number of its prompt.
        step: (N,) its training step.
    """

    move: Ints
    row: Ints
    position: Floats
    right: npt.NDArray[np.bool_]
    prompt: Ints
    step: Ints

    def of(self, kept: npt.NDArray[np.bool_]) -> Moves:
        """The completions of `kept` (N,) alone."""
        number = np.cumsum(kept) - 1
        inside = kept[self.row]
        return Moves(
            self.move[inside],
            number[self.row[inside]].astype(np.int64),
            self.position[inside],
            self.right[kept],
            self.prompt[kept],
            self.step[kept],
        )


def moves_of_tokens(
    gram_id: npt.ArrayLike, begin: npt.ArrayLike, offsets: npt.ArrayLike, class_of: npt.ArrayLike | None = None
) -> tuple[Ints, Ints, Floats]:
    """Move, completion and position of each occurrence, from flat tokens.

    Args:
        gram_id, begin: (T,).
        offsets: (N+1,) where each completion begins.
        class_of: (K,) cluster of each gram, -1 leaves it out; None: grams themselves.

    Raises:
        DataError: arrays that do not go together.
    """
    g, b, bounds = np.asarray(gram_id), np.asarray(begin, bool), np.asarray(offsets, np.int64)
    if g.shape != b.shape or len(bounds) == 0 or bounds[-1] != len(g):
        raise DataError("token columns and offsets do not go together", expected="(T,) each, offsets from 0 to T")
    starts = np.flatnonzero(b & (g >= 0))
    moves = g[starts].astype(np.int64)
    if class_of is not None:
        moves = np.asarray(class_of, np.int64)[moves]
        starts, moves = starts[moves >= 0], moves[moves >= 0]
    row = (np.searchsorted(bounds, starts, side="right") - 1).astype(np.int64)
    return moves, row, (starts - bounds[row]) / np.diff(bounds)[row]


@dataclass(frozen=True, slots=True, eq=False)
class Transitions:
    """Which of C moves follows which; the last row is the start of a completion, the last column its end.

    Attributes:
        counts: (C+1, C+1) int64.
    """

    counts: Ints

    @property
    def probability(self) -> Floats:
        """(C+1, C+1) P(next | this); NaN rows for moves that never occur."""
        with np.errstate(invalid="ignore"):
            out: Floats = self.counts / self.counts.sum(axis=1, keepdims=True)
        return out

    @property
    def lift(self) -> Floats:
        """(C+1, C+1) P(next | this) / P(next)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            out: Floats = self.probability / (self.counts.sum(axis=0) / self.counts.sum())
        return out


def transitions(move: npt.ArrayLike, row: npt.ArrayLike, n_moves: int, n_rows: int) -> Transitions:
    """Count transitions.

    Args:
        move: (O,) in the order in which they come, 0..n_moves-1.
        row: (O,) completion of each, ascending.
        n_moves: C.
        n_rows: N; completions without a move go from start to end.

    Raises:
        DataError: completions that do not ascend, or moves out of range.
    """
    m, r = np.asarray(move, np.int64), np.asarray(row, np.int64)
    if m.shape != r.shape or (np.diff(r) < 0).any() or m.max(initial=-1) >= n_moves or m.min(initial=0) < 0:
        raise DataError("moves are not in order", expected=f"(O,) moves below {n_moves}, completions ascending")
    size = n_moves + 1
    counts = np.zeros((size, size), np.int64)
    counts[n_moves, n_moves] = n_rows - len(np.unique(r))
    if len(m):
        same = r[1:] == r[:-1]
        first, last = np.concatenate([[True], ~same]), np.concatenate([~same, [True]])
        counts += np.bincount(m[:-1][same] * size + m[1:][same], minlength=size * size).reshape(size, size)
        counts[n_moves, :n_moves] += np.bincount(m[first], minlength=n_moves)
        counts[:n_moves, n_moves] += np.bincount(m[last], minlength=n_moves)
    return Transitions(counts)


@dataclass(frozen=True, slots=True, eq=False)
class Success:
    """Success of completions by move and by the part of the completion that it occurs in.

    Attributes:
        share, low, high: (C, P) right completions / completions with the move in that part; NaN where there is none.
        completions: (C, P) how many hold it there.
        anywhere, anywhere_low, anywhere_high: (C,) the same wherever it occurs.
    """

    share: Floats
    low: Floats
    high: Floats
    completions: Ints
    anywhere: Floats
    anywhere_low: Floats
    anywhere_high: Floats


def success_by_position(moves: Moves, n_moves: int, parts: int = 3) -> Success:
    """Success by move and position.

    Args:
        moves: occurrences.
        n_moves: C.
        parts: P, equal parts of a completion.
    """
    part = np.minimum((moves.position * parts).astype(np.int64), parts - 1)
    values = np.full((3, n_moves, parts + 1), np.nan)
    completions = np.zeros((n_moves, parts + 1), np.int64)
    every = np.concatenate([part, np.full(len(part), parts)])  # the last column: anywhere
    cell = np.concatenate([moves.move, moves.move]) * (parts + 1) + every
    pairs = np.unique(np.stack([cell, np.concatenate([moves.row, moves.row])]), axis=1)
    names, first = np.unique(pairs[0], return_index=True)
    for name, rows in zip(names.tolist(), np.split(pairs[1], first[1:]), strict=False):  # no moves: one empty part
        prompts = np.unique(moves.prompt[rows], return_inverse=True)[1]
        right = np.bincount(prompts, moves.right[rows]).astype(np.float64)
        number = np.bincount(prompts).astype(np.float64)
        at = divmod(name, parts + 1)
        values[:, at[0], at[1]] = clustered_share(right, number)
        completions[at] = len(rows)
    share, low, high = values
    return Success(
        share[:, :parts],
        low[:, :parts],
        high[:, :parts],
        completions[:, :parts],
        share[:, parts],
        low[:, parts],
        high[:, parts],
    )
