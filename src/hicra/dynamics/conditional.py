"""Conditional entropy of the procedure that follows a strategic move, in bits.

    H(Y | X) = sum_x p(x) H(Y | X = x)         X a Strategic Gram, Y the n tokens after its occurrence

Y is counted where the n tokens after the gram's last one are all execution tokens of the same completion. Source: arXiv
2509.03646 ("conditional entropy of procedural n-grams"), which leaves n and the unit open; here they are n = 3 folded
tokens (`fold_token`), so that other numbers in the same calculation are no other procedure.

The plug-in is far too low where a gram is followed by more different n-grams than it occurs, and it grows with length
as semantic entropy does. Three corrections, each applied to every H(Y | X = x): Miller-Madow, Chao-Shen, and
rarefaction to the same m occurrences of every gram at every step,

    H_m(Y | X) = sum_x w(x) H_m(Y | X = x) / sum_x w(x)        over grams that occur m times or more

with weights w that may be held fixed (say, over the whole run), so that a changing mix of grams does not show as a
change of procedures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hicra.dynamics.semantic import expected_x_log_x
from hicra.dynamics.series import Bools, Floats, Ints
from hicra.errors import DataError
from hicra.grams.text import normalise


@dataclass(frozen=True, slots=True, eq=False)
class Following:
    """What follows each occurrence.

    Attributes:
        gram: (O,) gram of the occurrence.
        ngram: (O,) number of the n-gram after it; equal numbers are equal n-grams within one call.
        row: (O,) completion.
    """

    gram: Ints
    ngram: Ints
    row: Ints


def fold_token(text: str) -> str:
    """A token's text as a step of a procedure: case and spacing away, every token with a digit one and the same.

    Words are what `hicra.grams.text` takes for words; what holds none is the token's own text.

    >>> [fold_token(t) for t in (" The", "42", " x2", " ", " +=", "ing")]
    ['the', '0', '0', '', '+=', 'ing']
    """
    bare = text.strip()
    if any(ch.isdigit() for ch in bare):
        return "0"
    return " ".join(normalise(bare).replace("\0", " ").split()) or bare


def following(
    symbol: npt.ArrayLike,
    gram_id: npt.ArrayLike,
    begin: npt.ArrayLike,
    planning: npt.ArrayLike,
    offsets: npt.ArrayLike,
    n: int = 3,
) -> Following:
    """The n symbols after each occurrence of a gram, where all of them are execution tokens of its completion.

    Args:
        symbol: (T,) integers that stand for tokens; negative ones (white space) are passed over.
        gram_id: (T,) gram of the token, -1 for none.
        begin: (T,) whether an occurrence begins here.
        planning: (T,) whether the token is a planning token.
        offsets: (N+1,) where each completion begins.
        n: length of the n-gram.

    Raises:
        DataError: n below 1, or arrays that do not go together.
    """
    y, g, b, p, bounds = (np.asarray(a) for a in (symbol, gram_id, begin, planning, offsets))
    if n < 1:
        raise DataError("an n-gram has at least one token", expected="n >= 1", got=repr(n))
    if not len(y) == len(g) == len(b) == len(p) or len(bounds) == 0 or bounds[-1] != len(y):
        raise DataError("token columns and offsets do not go together", expected="(T,) each, offsets from 0 to T")
    kept = (y >= 0) | p.astype(bool)
    if not kept.all():
        bounds = np.concatenate([[0], np.cumsum(kept)])[bounds]
        y, g, b, p = y[kept], g[kept], b[kept], p[kept]
    inside, starts = p.astype(bool), np.flatnonzero(b.astype(bool) & (g >= 0))
    if len(starts) == 0:
        return Following(*(np.zeros(0, np.int64) for _ in range(3)))
    change = np.zeros(len(y) + 1, bool)
    change[bounds] = True
    change[starts] = True
    change[1:-1] |= g[1:] != g[:-1]
    edges = np.flatnonzero(change)
    end = edges[np.searchsorted(edges, starts, side="right")]
    row = np.searchsorted(bounds, starts, side="right") - 1
    before = np.concatenate([[0], np.cumsum(inside)])
    fits = end + n <= bounds[row + 1]
    start, end, row = starts[fits], end[fits], row[fits]
    pure = before[end + n] == before[end]
    start, end, row = start[pure], end[pure], row[pure]
    code = np.zeros(len(end), np.int64)
    for i in range(n):
        names, symbols = np.unique(y[end + i], return_inverse=True)
        code = np.unique(code * max(1, len(names)) + symbols, return_inverse=True)[1].astype(np.int64)
    return Following(g[start].astype(np.int64), code, row.astype(np.int64))


@dataclass(frozen=True, slots=True)
class ConditionalEntropy:
    """Estimates of H(Y | X), in bits.

    Attributes:
        plug_in, miller_madow, chao_shen: over all grams that are followed by something, weighted by occurrences.
        rarefied: at m occurrences of each gram, over the grams that have as many; NaN where none has.
        coverage: share of the occurrences that belongs to such grams.
        occurrences: how many were counted.
    """

    plug_in: float
    miller_madow: float
    chao_shen: float
    rarefied: float
    coverage: float
    occurrences: int


def conditional_entropy(
    gram: npt.ArrayLike, ngram: npt.ArrayLike, *, m: int = 10, weights: npt.ArrayLike | None = None
) -> ConditionalEntropy:
    """Entropy of what follows, given the gram, by every estimator.

    Args:
        gram: (O,) gram of each occurrence, >= 0.
        ngram: (O,) what follows it, >= 0.
        m: occurrences of each gram to rarefy to.
        weights: (K,) weight of each gram in the rarefied mean; None: its occurrences here.

    Raises:
        DataError: arrays that differ in length, or m below 1.
    """
    x, y = np.asarray(gram, np.int64), np.asarray(ngram, np.int64)
    if x.shape != y.shape or x.ndim != 1:
        raise DataError(
            "grams and what follows them differ in length", expected="(O,) each", got=f"{x.shape} {y.shape}"
        )
    if m < 1:
        raise DataError("rarefaction needs at least one occurrence", expected="m >= 1", got=repr(m))
    if len(x) == 0:
        return ConditionalEntropy(math.nan, math.nan, math.nan, math.nan, 0.0, 0)
    names, owner, counts = counts_by_gram(x, y)
    n_x = np.bincount(owner, counts, len(names)).astype(np.int64)
    w = n_x.astype(np.float64) if weights is None else np.asarray(weights, np.float64)[names]
    by_share = n_x / n_x.sum()
    plug_in = _plug_in(owner, counts, n_x)
    kinds = np.bincount(owner, minlength=len(names))
    miller_madow = plug_in + (kinds - 1) / (2 * n_x * math.log(2))
    enough: Bools = (n_x >= m) & (w > 0)
    rarefied = math.nan
    if enough.any():
        used = enough[owner]
        terms = expected_x_log_x(n_x[owner[used]], counts[used], m)
        each = np.maximum(0.0, math.log2(m) - np.bincount(owner[used], terms, len(names)) / m)
        rarefied = float((w * each)[enough].sum() / w[enough].sum())
    return ConditionalEntropy(
        float((by_share * plug_in).sum()),
        float((by_share * miller_madow).sum()),
        float((by_share * _chao_shen(owner, counts, n_x)).sum()),
        rarefied,
        float(by_share[enough].sum()),
        len(x),
    )


def counts_by_gram(gram: Ints, ngram: Ints) -> tuple[Ints, Ints, Ints]:
    """The (C,) grams that occur, ascending; and for each of the J pairs the gram's index in them, and how often."""
    order = np.lexsort((ngram, gram))
    x, y = gram[order], ngram[order]
    first = np.flatnonzero(np.concatenate([[True], (x[1:] != x[:-1]) | (y[1:] != y[:-1])]))
    names, owner = np.unique(x[first], return_inverse=True)
    return names, owner.astype(np.int64), np.diff(np.concatenate([first, [len(x)]])).astype(np.int64)


def _plug_in(owner: Ints, counts: Ints, n_x: Ints) -> Floats:
    """(C,) `entropy_bits` of each gram's counts."""
    p = counts / n_x[owner]
    return np.maximum(0.0, np.bincount(owner, -p * np.log2(p), len(n_x)))


def _chao_shen(owner: Ints, counts: Ints, n_x: Ints) -> Floats:
    """(C,) `chao_shen_bits` of each gram's counts."""
    singletons = np.bincount(owner, counts == 1, len(n_x))
    coverage = 1 - np.minimum(singletons, n_x - 1) / n_x
    n = n_x[owner]
    p = (coverage[owner] * counts) / n
    seen = -np.expm1(n * np.log1p(-np.minimum(p, 1 - 1e-16)))
    out = np.bincount(owner, -p * np.log2(p) / seen, len(n_x))
    return np.where(n_x > 1, np.maximum(0.0, out), 0.0)
