"""What tells a steering phrase from content, as numbers of an n-gram in a corpus.

Each signal is a share or a log-ratio, so that it means the same in a corpus of any size. With c(.) the counts of
`hicra.grams.count` and a pseudo-count of 1/2 where a logarithm is taken:

- ``spread``        log of the share of problems that have a solution with the gram
- ``evenness``      entropy of its rate over the groups (sources or styles), over log S; 1 where there is one group
- ``burst``         log of occurrences per solution that has any: content comes in heaps
- ``clause``, ``sentence``   log-odds that an occurrence begins one
- ``begins_clause``, ``begins_sentence``   whether any occurrence begins one
- ``surplus``       log of its rate in solutions over its rate in problem statements: content is in both
- ``maths_adjacent``, ``maths_near``, ``maths_after``   shares of occurrences beside maths or numbers
- ``left_top``, ``right_top``   shares of the most frequent neighbour: near 1 for a phrase cut out of a longer one
- ``words_*``       the same of its words: least, greatest and mean surplus; surplus, frequency, clause start,
  neighbours and maths of the first and of the last word
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from hicra.grams.count import Counts

    Floats = npt.NDArray[np.float64]

Signals = dict[str, Any]
"""Signals by name, each an array (K,): float64, but ``text`` (objects), ``problems`` (int64), ``begins_*`` (bool)."""

RARE_WORD = -16.0
"""Log-frequency taken for a word that is not counted itself."""


def measure(counts: Counts) -> Signals:
    """The signals of every counted n-gram.

    Args:
        counts: K n-grams, those of one word among them.

    Returns:
        Arrays (K,) by name, in the order of `counts`: ``text``, ``problems``, ``n`` and the signals above.
    """
    tf = counts.tf.astype(np.float64)
    found: Signals = {"text": counts.text, "problems": counts.problems, "n": counts.n.astype(np.float64)}
    found["spread"] = np.log(counts.problems / max(1, counts.n_problems))
    found["evenness"] = _evenness(counts)
    found["burst"] = np.log(tf / counts.df)
    found["clause"] = _log_odds(counts.clause, tf)
    found["sentence"] = _log_odds(counts.sentence, tf)
    found["begins_clause"] = counts.clause > 0
    found["begins_sentence"] = counts.sentence > 0
    in_solutions = (counts.df + 0.5) / (counts.n_solutions + 1)
    in_statements = (counts.statements + 0.5) / (counts.n_statements + 1)
    found["surplus"] = np.log(in_solutions) - np.log(in_statements)
    for name in ("maths_adjacent", "maths_near", "maths_after", "left_top", "right_top"):
        found[name] = getattr(counts, name) / tf
    found |= _of_words(counts, found, np.log(tf / max(1, counts.n_words)))
    return found


def _log_odds(count: npt.NDArray[np.int64], total: Floats) -> Floats:
    odds: Floats = np.log((count + 0.5) / (total - count + 0.5))
    return odds


def _evenness(counts: Counts) -> Floats:
    """Entropy of the shares of the groups, each group's rate counted alike, over its maximum."""
    size = len(counts.groups)
    if size < 2:
        return np.ones(len(counts))
    rate = counts.problems_by_group / np.maximum(counts.group_problems, 1)
    share = rate / np.maximum(rate.sum(1, keepdims=True), 1e-300)
    entropy: Floats = -(share * np.log(np.maximum(share, 1e-300))).sum(1) / np.log(size)
    return entropy


def _of_words(counts: Counts, of_gram: Signals, frequency: Floats) -> Signals:
    """Signals of the words of each n-gram; a word that is not counted itself is taken to be rare and plain."""
    row = {text: i for i, text in enumerate(counts.text.tolist()) if " " not in text}
    size = len(row)
    single = np.fromiter(row.values(), np.int64, size)
    number = {text: i for i, text in enumerate(row)}
    parts = [[number.get(word, size) for word in text.split(" ")] for text in counts.text.tolist()]
    start = np.concatenate([[0], np.cumsum([len(p) for p in parts])])[:-1].astype(np.int64)
    flat = np.array([w for p in parts for w in p], np.int64)
    first, last = flat[start], flat[np.append(start[1:], len(flat)) - 1] if len(flat) else flat

    def column(values: Floats, plain: float) -> Floats:
        return np.append(values[single], plain)

    surplus = column(of_gram["surplus"], 0.0)
    found: Signals = {
        "words_surplus_least": _reduce(np.minimum, surplus[flat], start),
        "words_surplus_most": _reduce(np.maximum, surplus[flat], start),
        "words_surplus_mean": _reduce(np.add, surplus[flat], start) / np.maximum(of_gram["n"], 1),
    }
    frequent = column(frequency, RARE_WORD)
    found["words_frequency_least"] = _reduce(np.minimum, frequent[flat], start)
    found["words_frequency_mean"] = _reduce(np.add, frequent[flat], start) / np.maximum(of_gram["n"], 1)
    for name, values in (
        ("surplus", surplus),
        ("frequency", frequent),
        ("clause", column(of_gram["clause"], 0.0)),
        ("left_top", column(of_gram["left_top"], 0.0)),
        ("right_top", column(of_gram["right_top"], 0.0)),
        ("maths_after", column(of_gram["maths_after"], 0.0)),
    ):
        found[f"first_word_{name}"], found[f"last_word_{name}"] = values[first], values[last]
    return found


def _reduce(operation: Callable[..., Any], values: Floats, start: npt.NDArray[np.int64]) -> Floats:
    """`operation` over the stretches of `values` that begin at `start`."""
    if not len(start):
        return np.zeros(0)
    reduced: Floats = operation.reduceat(values, start)  # type: ignore[attr-defined]
    return reduced
