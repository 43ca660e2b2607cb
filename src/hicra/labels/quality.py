"""How good are labels? Word precision, recall and F1 of a gram set against annotated planning spans.

Each excerpt was annotated in two passes. A word is *marked* if it overlaps a span of either pass, *core* if it overlaps
spans of both. With L the labelled words:

    precision = |L and marked| / |L|       recall = |L and core| / |core|       F1 = 2 P R / (P + R)

so what the passes disagree about is neither an error to label nor one to leave. Counts are pooled over the excerpts;
intervals are percentile bootstraps over excerpts, because words of one excerpt are not independent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hicra.errors import ConfigError, DataError
from hicra.grams.gramset import GramSet
from hicra.labels.labeller import Labeller

if TYPE_CHECKING:
    import numpy.typing as npt

WORD = re.compile(r"[^\W_]+(?:['’‘‐‑-][^\W_]+)*")
"""A word for the measurement: letters and digits, held together by apostrophes and hyphens."""

Interval = tuple[float, float]
SpansOf = Callable[[str], Iterable[tuple[int, int]]]
"""Text -> character ranges (start, end) that are labelled."""


class Marked(NamedTuple):
    """An annotated span: characters ``start`` to ``end`` (exclusive) and what it does."""

    start: int
    end: int
    function: str | None


@dataclass(frozen=True)
class Excerpt:
    """A stretch of a solution with the spans that two annotation passes marked.

    Attributes:
        id, source: its name, and where it comes from.
        text: the excerpt.
        first, second: spans of the two passes.
        trace_id, license, start: the solution that it was cut from, its licence, and where the cut begins, where known.
    """

    id: str
    source: str
    text: str
    first: tuple[Marked, ...]
    second: tuple[Marked, ...]
    trace_id: str | None = None
    license: str | None = None
    start: int = 0


@dataclass(frozen=True)
class Quality:
    """How well labels agree with the annotation.

    Attributes:
        precision, recall, f1: pooled over words; nan where nothing was labelled, or nothing is core.
        precision_interval, recall_interval, f1_interval: bootstrap over excerpts; (nan, nan) for subsets.
        labelled, core, words, excerpts: how many.
        by_source: the same for the excerpts of each source, without intervals.
        recall_by_function: share of the core words of each function that is labelled.
    """

    precision: float
    recall: float
    f1: float
    precision_interval: Interval
    recall_interval: Interval
    f1_interval: Interval
    labelled: int
    core: int
    words: int
    excerpts: int
    by_source: Mapping[str, Quality]
    recall_by_function: Mapping[str, float]

    def __str__(self) -> str:
        def part(name: str, value: float, interval: Interval) -> str:
            return f"{name} {value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"

        return "  ".join(
            [
                part("P", self.precision, self.precision_interval),
                part("R", self.recall, self.recall_interval),
                part("F1", self.f1, self.f1_interval),
                f"({self.labelled} of {self.words} words labelled, {self.core} core, {self.excerpts} excerpts)",
            ]
        )


def read_excerpts(paths: str | Path | Sequence[str | Path]) -> list[Excerpt]:
    """Read annotated excerpts.

    Args:
        paths: files of JSON lines with ``id``, ``text``, ``source`` and the lists ``annotator_a`` and ``annotator_b``
            of spans with ``start``, ``end`` (characters) and optionally ``class`` and ``text``.

    Raises:
        DataError: a file cannot be read, a field is missing, or a span does not fit its text (file and line are told).
    """
    found: list[Excerpt] = []
    for path in [paths] if isinstance(paths, str | Path) else paths:
        try:
            lines = Path(path).read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"cannot read the annotations {path}", got=str(error)) from error
        for number, line in enumerate(lines, start=1):
            if line.strip():
                found.append(_excerpt(line, f"{path}:{number}"))
    if not found:
        raise DataError("there are no annotated excerpts", got=str(paths))
    return found


def _excerpt(line: str, where: str) -> Excerpt:
    try:
        row = json.loads(line)
        passes, spelled = [], []
        for name in ("annotator_a", "annotator_b"):
            passes.append(tuple(Marked(int(s["start"]), int(s["end"]), s.get("class")) for s in row[name]))
            spelled += [s.get("text") for s in row[name]]
        excerpt = Excerpt(
            str(row["id"]), str(row.get("source", "")), str(row["text"]), passes[0], passes[1],
            row.get("trace_id"), row.get("license"), int(row.get("start") or 0),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{where}: no annotated excerpt",
            expected='{"id", "text", "source", "annotator_a": [{"start", "end", "class"}], "annotator_b": [...]}',
            got=f"{type(error).__name__}: {error}",
        ) from error
    for span, text in zip((*excerpt.first, *excerpt.second), spelled, strict=True):
        inside = excerpt.text[span.start : span.end]
        if not 0 <= span.start < span.end <= len(excerpt.text) or (text is not None and text != inside):
            raise DataError(f"{where}: a span does not fit its text", expected=repr(text), got=repr(inside))
    return excerpt


def score(
    labels: Labeller | GramSet | SpansOf,
    excerpts: Sequence[Excerpt],
    *,
    resamples: int = 2_000,
    seed: int = 0,
    level: float = 0.95,
) -> Quality:
    """Score labels against annotated excerpts.

    Args:
        labels: a labeller, a gram set, or a function from a text to the labelled character ranges.
        excerpts: see `read_excerpts`.
        resamples: of the bootstrap; 0 leaves the intervals out.
        seed: of the bootstrap.
        level: of the intervals.

    Raises:
        ConfigError: the number of resamples or the level is out of range.
        DataError: no excerpts.
    """
    if isinstance(labels, GramSet):
        labels = Labeller(labels)
    spans = _spans_of(labels) if isinstance(labels, Labeller) else labels
    return score_spans([list(spans(e.text)) for e in excerpts], excerpts, resamples=resamples, seed=seed, level=level)


def score_spans(
    spans: Sequence[Iterable[tuple[int, int]]],
    excerpts: Sequence[Excerpt],
    *,
    resamples: int = 2_000,
    seed: int = 0,
    level: float = 0.95,
) -> Quality:
    """`score` for spans that are there already, e.g. each excerpt's from the fold that did not see it.

    Args:
        spans: labelled character ranges (start, end) of each excerpt.
    """
    if resamples < 0 or not 0 < level < 1:
        raise ConfigError(
            "the bootstrap is out of range",
            expected="resamples >= 0, 0 < level < 1",
            got=f"resamples={resamples}, level={level}",
        )
    if not excerpts or len(spans) != len(excerpts):
        raise DataError(
            "spans and excerpts do not fit", expected="spans for each of at least one excerpt",
            got=f"{len(spans)} and {len(excerpts)}",
        )  # fmt: skip
    functions = sorted({s.function for e in excerpts for s in (*e.first, *e.second) if s.function})
    counted = np.stack([_count(e, s, functions) for e, s in zip(excerpts, spans, strict=True)])
    sources = sorted({e.source for e in excerpts})
    of_source = np.array([e.source for e in excerpts])
    by_source = {s: _quality(counted[of_source == s], functions, {}, None) for s in sources} if len(sources) > 1 else {}
    draws = None
    if resamples:
        rng = np.random.default_rng(seed)
        draws = counted[rng.integers(0, len(excerpts), (resamples, len(excerpts)))].sum(1)
    return _quality(counted, functions, by_source, draws, level)


_LABELLED, _RIGHT, _FOUND, _CORE, _WORDS = range(5)


def _count(excerpt: Excerpt, spans: Iterable[tuple[int, int]], functions: Sequence[str]) -> npt.NDArray[np.int64]:
    """Words that are labelled, labelled and marked, labelled and core, core, all; then found and core by function."""
    words = [m.span() for m in WORD.finditer(excerpt.text)]
    labelled = over(words, spans)
    first, second = (over(words, p) for p in (excerpt.first, excerpt.second))
    core, marked = first & second, first | second
    row = [labelled.sum(), (labelled & marked).sum(), (labelled & core).sum(), core.sum(), len(words)]
    for name in functions:
        of_it = core & over(words, [s for s in (*excerpt.first, *excerpt.second) if s.function == name])
        row += [(labelled & of_it).sum(), of_it.sum()]
    return np.array(row, np.int64)


def over(words: Sequence[tuple[int, int]], spans: Iterable[Sequence[Any]]) -> npt.NDArray[np.bool_]:
    """Which words overlap any span, (W,)."""
    hit = np.zeros(len(words), np.bool_)
    starts = np.array([w[0] for w in words], np.int64)
    ends = np.array([w[1] for w in words], np.int64)
    for span in spans:
        hit |= (starts < span[1]) & (ends > span[0])
    return hit


def _rates(counted: npt.NDArray[Any]) -> tuple[Any, Any, Any]:
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = counted[..., _RIGHT] / counted[..., _LABELLED]
        recall = counted[..., _FOUND] / counted[..., _CORE]
        return precision, recall, 2 * precision * recall / (precision + recall)


def _quality(
    counted: npt.NDArray[np.int64],
    functions: Sequence[str],
    by_source: Mapping[str, Quality],
    draws: npt.NDArray[np.int64] | None,
    level: float = 0.95,
) -> Quality:
    total = counted.sum(0)
    tail = (1 - level) / 2
    none = (float("nan"), float("nan"))
    intervals: list[Interval] = [none, none, none]
    if draws is not None:
        intervals = []
        for drawn in _rates(draws):
            known = drawn[np.isfinite(drawn)]
            low, high = np.quantile(known, [tail, 1 - tail]) if len(known) else none
            intervals.append((float(low), float(high)))
    precision, recall, f1 = (float(rate) for rate in _rates(total.astype(np.float64)))
    return Quality(
        precision, recall, f1, intervals[0], intervals[1], intervals[2],
        labelled=int(total[_LABELLED]), core=int(total[_CORE]), words=int(total[_WORDS]), excerpts=len(counted),
        by_source=by_source,
        recall_by_function={
            name: float(total[5 + 2 * i] / total[6 + 2 * i]) for i, name in enumerate(functions) if total[6 + 2 * i]
        },
    )  # fmt: skip


def _spans_of(labeller: Labeller) -> SpansOf:
    return lambda text: [(span.start, span.end) for span in labeller.spans(text)]
