"""Does a gram steer? A logistic regression over a gram's signals, likeness to prototypes and words.

    log-odds = b + sum_i w_i z_i                      inside a clause
               + c + sum_i v_i z_i                    more, where a clause begins
               + s                                    more, where a sentence begins

z_i are signals (`hicra.grams.signals`) and cosines to prototype sentences (`hicra.grams.functions`), both standardised,
and indicators of common words as the first, the last or any word of the gram. The weights, with the means and scales,
are in ``judge.json`` next to this file; each term can be read off (`Judge.terms`). There are two judges: ``numbers``
leaves the prototypes out and decides what is worth embedding; ``meaning`` has all terms and decides what is kept.

The weights were fitted to the development annotations at the level of grams: an occurrence counts as steering if an
annotated span holds all its words, and occurrences inside a span that do not begin it are left out, so that the judge
learns whole moves and not their fragments. No gram is a feature, so nothing is known of a phrase as such; what is
learned of it comes through its counts, its vector and its single words.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hicra.errors import DataError
from hicra.grams.functions import CONTENT, PROTOTYPES

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

FORMAT = "hicra-judge"
FORMAT_VERSION = 1
PLACES = ("first", "last", "any")
"""Where a word stands in a gram; ``any`` counts a word once however often it occurs."""
EXTRA = ("one_word", "two_words")
"""Signals that the judge makes of ``n``."""


class LogOdds(NamedTuple):
    """Log-odds that an occurrence of a gram steers, by where it begins, each (K,)."""

    inside: Any
    clause: Any
    sentence: Any


@dataclass(frozen=True)
class Judge:
    """Weights of one judge.

    Attributes:
        signals: name -> (mean, scale, weight, weight at a clause start).
        prototypes: sentence -> the same, of the cosine to it.
        words: (place, word) -> (weight, weight at a clause start).
        start: (intercept, at a clause start, at a sentence start), the latter two in addition.
    """

    signals: Mapping[str, tuple[float, float, float, float]]
    prototypes: Mapping[str, tuple[float, float, float, float]]
    words: Mapping[tuple[str, str], tuple[float, float]]
    start: tuple[float, float, float]

    def log_odds(self, signals: Mapping[str, Any], likeness: npt.NDArray[Any] | None = None) -> LogOdds:
        """Judge K grams.

        Args:
            signals: arrays (K,) by name, ``text`` and ``n`` among them.
            likeness: (K, P) cosines to `prototypes` in their order; None where the judge has none.

        Raises:
            DataError: a signal is missing, or the likenesses do not fit.
        """
        size = len(signals["text"])
        if self.prototypes and (likeness is None or likeness.shape != (size, len(self.prototypes))):
            raise DataError(
                "the likenesses do not fit the judge",
                expected=f"({size}, {len(self.prototypes)})",
                got="none" if likeness is None else str(tuple(likeness.shape)),
            )
        inside = np.full(size, self.start[0])
        clause = np.full(size, self.start[1])
        for name, (mean, scale, weight, at_clause) in self.signals.items():
            z = (_signal(signals, name) - mean) / scale
            inside += weight * z
            clause += at_clause * z
        for p, (mean, scale, weight, at_clause) in enumerate(self.prototypes.values()):
            assert likeness is not None
            z = (likeness[:, p] - mean) / scale
            inside += weight * z
            clause += at_clause * z
        of_words = self._of_words(signals["text"])
        inside += of_words[:, 0]
        clause += inside + of_words[:, 1]
        return LogOdds(inside, clause, clause + self.start[2])

    def _of_words(self, texts: Any) -> Floats:
        """(K, 2) sums of the weights of the grams' words."""
        total = np.zeros((len(texts), 2))
        weights = {place: {w: v for (at, w), v in self.words.items() if at == place} for place in PLACES}
        first, last, any_ = (weights[place] for place in PLACES)
        for i, text in enumerate(texts):
            parts = text.split(" ")
            found = [any_[word] for word in set(parts) if word in any_]
            if parts[0] in first:
                found.append(first[parts[0]])
            if parts[-1] in last:
                found.append(last[parts[-1]])
            for inside, clause in found:
                total[i, 0] += inside
                total[i, 1] += clause
        return total

    def terms(self, row: Mapping[str, Any], likeness: Mapping[str, float] | None = None) -> list[tuple[str, float]]:
        """What speaks for and against a gram where a clause begins, strongest first.

        Args:
            row: its signals and text.
            likeness: sentence -> cosine, for a judge with prototypes.

        Returns:
            (name of the term, what it adds to the log-odds); the intercepts are not among them.
        """
        signals = {name: np.array([value], object if name == "text" else np.float64) for name, value in row.items()}
        found = []
        for name, (mean, scale, weight, at_clause) in self.signals.items():
            found.append((name, float((weight + at_clause) * (_signal(signals, name)[0] - mean) / scale)))
        for text, (mean, scale, weight, at_clause) in self.prototypes.items():
            if likeness is not None:
                found.append((f"like {text!r}", (weight + at_clause) * (likeness[text] - mean) / scale))
        parts = str(row["text"]).split(" ")
        for place, words in (("first", {parts[0]}), ("last", {parts[-1]}), ("any", set(parts))):
            for word in sorted(words):
                if (place, word) in self.words:
                    found.append((f"{word!r} as {place} word", sum(self.words[place, word])))
        return sorted(found, key=lambda term: -abs(term[1]))


def _signal(signals: Mapping[str, Any], name: str) -> Any:
    if name in EXTRA:
        return (signals["n"] == 1 + EXTRA.index(name)).astype(np.float64)
    if name not in signals:
        raise DataError(f"the judge needs the signal {name!r}", got=", ".join(sorted(signals)))
    return signals[name]


def probability(log_odds: Any) -> Any:
    """1 / (1 + e^-x)."""
    return 1 / (1 + np.exp(-np.clip(log_odds, -40, 40)))


@lru_cache(maxsize=4)
def load(kind: str) -> Judge:
    """The judge ``"numbers"`` or ``"meaning"`` that comes with the package (cached)."""
    content = _content()
    if content.get("format") != FORMAT or content.get("format_version") != FORMAT_VERSION or kind not in content:
        raise DataError(f"there is no judge {kind!r}", expected="numbers | meaning")
    chosen = content[kind]
    return Judge(
        signals={name: tuple(v) for name, v in chosen["signals"].items()},
        prototypes={text: tuple(v) for text, v in chosen["prototypes"].items()},
        words={(place, w): tuple(v) for place in PLACES for w, v in chosen["words"].get(place, {}).items()},
        start=tuple(chosen["start"]),
    )


@lru_cache(maxsize=1)
def fingerprint() -> str:
    """SHA-256 (hex, 16 digits) of the judges' weights, for the provenance of what they chose."""
    return hashlib.sha256(json.dumps(_content(), sort_keys=True).encode()).hexdigest()[:16]


def _content() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((files("hicra.grams") / "judge.json").read_text("utf-8"))
    return content


def prototype_sentences() -> list[str]:
    """Sentences that judges measure likeness to: those of the functions, then those that steer nothing."""
    return [*(text for texts in PROTOTYPES.values() for text in texts), *CONTENT]
