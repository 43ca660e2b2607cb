"""How far two annotation passes agree, word by word.

With a, b the words that each pass marks, N words in all, p the share of words on which they say the same and e the
share expected by chance:

    F1 = 2 |a and b| / (|a| + |b|)        kappa = (p - e) / (1 - e),  e = (|a| |b| + (N - |a|) (N - |b|)) / N^2

(Cohen, Educational and Psychological Measurement 20, 1960.) Intervals are percentile bootstraps over excerpts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hicra.errors import DataError
from hicra.labels.quality import WORD, Excerpt, Interval, Marked, over


@dataclass(frozen=True)
class Agreement:
    """Agreement of two passes over the same excerpts.

    Attributes:
        excerpts, words: how many.
        first, second, both: words that each pass marks, and both.
        f1, kappa: see the module's text; nan where nothing is marked.
        f1_interval, kappa_interval: 95 %.
        same_class: share of the words marked by both that have one class.
        classes: words by (class of the first pass, class of the second); "" for unmarked.
        by_source: source -> (words, F1, kappa).
        only_first, only_second: spans that touch no span of the other pass, commonest first, in lower case.
    """

    excerpts: int
    words: int
    first: int
    second: int
    both: int
    f1: float
    kappa: float
    f1_interval: Interval
    kappa_interval: Interval
    same_class: float
    classes: Mapping[tuple[str, str], int]
    by_source: Mapping[str, tuple[int, float, float]]
    only_first: Sequence[tuple[str, int]]
    only_second: Sequence[tuple[str, int]]


def agreement(excerpts: Sequence[Excerpt], *, resamples: int = 1_000, seed: int = 0) -> Agreement:
    """Compare the two passes of some excerpts.

    Raises:
        DataError: no excerpts.
    """
    if not excerpts:
        raise DataError("there are no excerpts to compare")
    rows, classes = [], Counter[tuple[str, str]]()
    for excerpt in excerpts:
        words = [m.span() for m in WORD.finditer(excerpt.text)]
        a, b = over(words, excerpt.first), over(words, excerpt.second)
        rows.append([a.sum(), b.sum(), (a & b).sum(), len(words)])
        classes.update(zip(_classes(words, excerpt.first), _classes(words, excerpt.second), strict=True))
    counted = np.array(rows, np.int64)
    rng = np.random.default_rng(seed)
    f1_drawn, kappa_drawn = _rates(counted[rng.integers(0, len(rows), (resamples, len(rows)))].sum(1))
    f1, kappa = _rates(counted.sum(0))
    sources = np.array([e.source for e in excerpts])
    by_source = {}
    for source in sorted(set(sources.tolist())):
        part = counted[sources == source].sum(0)
        of_source = _rates(part)
        by_source[source] = (int(part[3]), float(of_source[0]), float(of_source[1]))
    marked = {pair: n for pair, n in classes.items() if all(pair)}
    first, second, both, words_in_all = (int(n) for n in counted.sum(0))
    return Agreement(
        len(excerpts), words_in_all, first, second, both, float(f1), float(kappa),
        _interval(f1_drawn), _interval(kappa_drawn),
        sum(n for (a, b), n in marked.items() if a == b) / sum(marked.values()) if marked else float("nan"),
        dict(classes), by_source,
        _alone((e.text, e.first, e.second) for e in excerpts), _alone((e.text, e.second, e.first) for e in excerpts),
    )  # fmt: skip


def _rates(counted: Any) -> tuple[Any, Any]:
    a, b, both, n = (counted[..., i].astype(np.float64) for i in range(4))
    with np.errstate(divide="ignore", invalid="ignore"):
        chance = (a * b + (n - a) * (n - b)) / n**2
        same = (n - a - b + 2 * both) / n
        return 2 * both / (a + b), (same - chance) / (1 - chance)


def _interval(drawn: Any) -> Interval:
    known = drawn[np.isfinite(drawn)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)


def _classes(words: Sequence[tuple[int, int]], spans: Sequence[Marked]) -> list[str]:
    return [next((s.function or "" for s in spans if s.start < z and s.end > a), "") for a, z in words]


def _alone(rows: Any) -> list[tuple[str, int]]:
    found = Counter[str]()
    for text, mine, other in rows:
        for span in mine:
            if not any(o.start < span.end and o.end > span.start for o in other):
                found[" ".join(text[span.start : span.end].lower().split())] += 1
    return found.most_common()
