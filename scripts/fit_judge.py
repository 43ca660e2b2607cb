"""Fit the judges of `hicra.grams.judge` to the development annotations.

    python scripts/fit_judge.py DATA_FOLDER            # writes src/hicra/grams/judge.json

DATA_FOLDER holds ``traces/*.jsonl.zst`` and ``gold/planning_spans_*.jsonl``; more annotated excerpts are in
``annotations/`` of the repository. Traces and excerpts without a licence are left out. One training row is a gram and a
place (inside a clause, at a clause start, at a sentence start) with the number of its occurrences in the excerpts and
how many of them lie in marked spans; occurrences inside a span that do not begin it are left out.
``benchmarks/gram_quality.py`` tells how good the weights are, out of fold.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from hicra.grams.corpus import Corpus
from hicra.grams.count import Counts
from hicra.grams.embed import Encoder
from hicra.grams.judge import EXTRA, FORMAT, FORMAT_VERSION, PLACES, Judge, prototype_sentences
from hicra.grams.profiles import REFINED, Profile
from hicra.grams.signals import Signals, measure
from hicra.grams.text import BREAK, COMMA, JUNK, LETTER, NEWLINE, OPENS, SPACE, START_STATE, text_rules
from hicra.labels.quality import Excerpt, read_excerpts
from hicra.traces.read import read_traces
from hicra.traces.schema import Trace

UNLICENSED = "r1_nolicence"
VOCABULARY = 1000
"""Words that may have weights of their own: those in most problems of the corpus. The excerpts have no say in it."""
STRENGTH = 1.0
"""Of the weights' L2 penalty, inverse (scikit-learn's C)."""
SMALLEST = 0.05
"""Words whose weights are smaller are left out of the file."""
TARGET = Path(__file__).parents[1] / "src" / "hicra" / "grams" / "judge.json"
ANNOTATIONS = Path(__file__).parents[1] / "annotations"


# --- data ------------------------------------------------------------------------------------------------------------
def licensed_traces(folder: Path, names: Sequence[str] = ("*",)) -> Iterator[Trace]:
    """Solutions that are not known to be wrong, from the files that state a licence."""
    for path in sorted({p for name in names for p in (folder / "traces").glob(f"{name}.jsonl.zst")}):
        if not path.name.startswith(UNLICENSED):
            yield from (trace for trace in read_traces(path) if trace.correct is not False)


def annotated(folder: Path) -> list[Excerpt]:
    """All annotated excerpts, those of the data folder first."""
    return read_excerpts(
        [*sorted((folder / "gold").glob("planning_spans_*.jsonl")), *sorted(ANNOTATIONS.glob("planning_spans_*.jsonl"))]
    )


def count(traces: Iterable[Trace], profile: Profile = REFINED) -> Counts:
    """Counts as mining with `profile` makes them."""
    with Corpus.encode(traces) as corpus:
        return corpus.count(n_max=profile.n_max, min_problems=profile.min_problems)


class Word(NamedTuple):
    """A word of an excerpt: characters, whether a break comes before it, 0 / 1 / 2 for inside / clause / sentence."""

    text: str
    start: int
    end: int
    breaks: bool
    opens: int


def words_of(text: str) -> list[Word]:
    """The words of a text as the text rules see them; identifiers are left out."""
    table = text_rules().table
    data = text.encode("utf-8", "surrogatepass")
    char = np.cumsum((np.frombuffer(data, np.uint8) & 0xC0) != 0x80) - 1
    found: list[Word] = []
    state, flags, breaks, inside, junk, first, last = START_STATE, 3, True, False, False, 0, 0
    symbols = bytearray()

    def close() -> None:
        nonlocal flags, breaks
        if junk:
            flags, breaks = 3, True
            return
        spelled = symbols.decode("latin-1") if symbols.isascii() else text[char[first] : char[last] + 1].lower()
        opens = 2 if flags & 2 else 1 if flags & 1 else 0
        found.append(Word(spelled, int(char[first]), int(char[last]) + 1, breaks, opens))
        flags, breaks = 0, False

    for i, byte in enumerate(data):
        packed = int(table[state, byte])
        state, emitted, symbol = packed & 0xFF, packed >> 8 & 0xFF, packed >> 16
        if emitted >= LETTER:
            if not inside:
                symbols, inside, junk, first = bytearray(), True, False, i
            prefix = emitted - LETTER & 3
            symbols += b"'" if prefix == 1 else b"-" if prefix == 2 else b""
            symbols.append(symbol)
            last = i
        elif emitted == JUNK:
            junk = True
        elif emitted in (SPACE, COMMA, NEWLINE, BREAK):
            if inside:
                close()
                inside = False
            flags |= OPENS[emitted]
            breaks = breaks or emitted == BREAK
    if inside:
        close()
    return found


@dataclass(frozen=True, eq=False)
class Occurrences:
    """Occurrences of counted grams in excerpts, each (M,).

    Attributes:
        gram: row of the counts.
        place: 0 inside a clause, 1 at a clause start, 2 at a sentence start.
        excerpt: number of the excerpt.
        steers: all words lie in spans that either pass marked.
        used: taken for training.
    """

    gram: Any
    place: Any
    excerpt: Any
    steers: Any
    used: Any

    @classmethod
    def find(cls, excerpts: Sequence[Excerpt], counts: Counts) -> Occurrences:
        """All of them."""
        row = {text: i for i, text in enumerate(counts.text.tolist())}
        rows: list[tuple[int, int, int, bool, bool]] = []
        for e, excerpt in enumerate(excerpts):
            words = words_of(excerpt.text)
            marked, begins = np.zeros(len(words), bool), np.zeros(len(words), bool)
            for span in (*excerpt.first, *excerpt.second):
                inside = [i for i, w in enumerate(words) if w.start < span.end and w.end > span.start]
                marked[inside] = True
                for k, i in enumerate(inside):
                    begins[i] |= k == 0 or words[i].breaks  # a span that reaches across a break begins anew
            for i in range(len(words)):
                for j in range(i + 1, min(i + counts.n_max, len(words)) + 1):
                    if j > i + 1 and words[j - 1].breaks:
                        break
                    gram = row.get(" ".join(w.text for w in words[i:j]))
                    if gram is not None:
                        steers = bool(marked[i:j].all())
                        rows.append((gram, words[i].opens, e, steers, not steers or bool(begins[i])))
        return cls(*(np.array(column) for column in zip(*rows, strict=True)))

    def __len__(self) -> int:
        return len(self.gram)


# --- fitting ---------------------------------------------------------------------------------------------------------
class Features:
    """Terms of the judges, for some grams of a corpus.

    Args:
        signals: of all grams of the corpus.
        rows: the grams that the annotations speak of; means and scales are theirs.
        encoder: for the likeness to prototypes.
    """

    def __init__(self, signals: Signals, rows: Any, encoder: Encoder) -> None:
        self.rows = rows
        self.at = {int(row): i for i, row in enumerate(rows)}
        names = [name for name in signals if name not in ("text", "problems", "likely")]
        columns = [signals[name][rows] for name in names] + [(signals["n"][rows] == n) * 1.0 for n in (1, 2)]
        self.names = [*names, *EXTRA]
        self.numbers = np.column_stack(columns)
        self.sentences = prototype_sentences()
        self.texts = [str(text) for text in signals["text"][rows]]
        self.vectors = encoder.encode(self.texts)
        self.likeness = self.vectors @ encoder.encode(self.sentences).T
        single = [i for i, text in enumerate(signals["text"]) if " " not in text]
        common = sorted(single, key=lambda i: (-signals["problems"][i], signals["text"][i]))[:VOCABULARY]
        self.words = [str(signals["text"][i]) for i in common]

    @cached_property
    def indicators(self) -> Any:
        """(K, 3 V) of words by place."""
        number = {word: i for i, word in enumerate(self.words)}
        row, column = [], []
        for i, text in enumerate(self.texts):
            parts = text.split(" ")
            for place, words in enumerate(({parts[0]}, {parts[-1]}, set(parts))):
                found = [place * len(number) + number[w] for w in words if w in number]
                row += [i] * len(found)
                column += found
        return sparse.csr_matrix((np.ones(len(row)), (row, column)), (len(self.texts), 3 * len(number)))

    def fit(self, seen: Occurrences, take: Any, *, meaning: bool, strength: float = STRENGTH) -> Judge:
        """A judge from the occurrences that `take` (M,) names; `used` is heeded."""
        columns = np.hstack([self.numbers, self.likeness]) if meaning else self.numbers
        mean, scale = columns.mean(0), columns.std(0)
        scale = np.where(scale < 1e-3, 1.0, scale)  # the same everywhere: no matter
        dense = (columns - mean) / scale
        chosen = np.flatnonzero(take & seen.used)
        key, inverse = np.unique(seen.gram[chosen] * 3 + seen.place[chosen], return_inverse=True)
        total, good = np.bincount(inverse), np.bincount(inverse, weights=seen.steers[chosen])
        at = np.array([self.at[int(g)] for g in key // 3])
        clause, sentence = ((key % 3 >= k)[:, None].astype(float) for k in (1, 2))
        words = self.indicators[at]
        design = sparse.hstack(
            [dense[at], dense[at] * clause, clause, sentence, words, words.multiply(clause)], format="csr"
        )
        model = LogisticRegression(C=strength, max_iter=500).fit(
            sparse.vstack([design, design]),
            np.repeat([1, 0], len(key)),
            sample_weight=np.concatenate([good, total - good]) + 1e-12,
        )
        weight = model.coef_[0]
        size, vocabulary = dense.shape[1], len(self.words)
        table = np.column_stack([mean, scale, weight[:size], weight[size : 2 * size]]).round(4).tolist()
        of_words = weight[2 * size + 2 :].reshape(2, 3, vocabulary).round(2)
        return Judge(
            signals={name: tuple(v) for name, v in zip(self.names, table, strict=False)},
            prototypes={s: tuple(v) for s, v in zip(self.sentences, table[len(self.names) :], strict=False)},
            words={
                (place, word): (float(of_words[0, p, w]), float(of_words[1, p, w]))
                for p, place in enumerate(PLACES)
                for w, word in enumerate(self.words)
                if np.abs(of_words[:, p, w]).max() >= SMALLEST
            },
            start=(float(model.intercept_[0]), float(weight[2 * size]), float(weight[2 * size + 1])),
        )


def to_json(judge: Judge) -> dict[str, Any]:
    """A judge as plain values."""
    words: dict[str, dict[str, list[float]]] = {place: {} for place in PLACES}
    for (place, word), weights in sorted(judge.words.items()):
        words[place][word] = list(weights)
    return {
        "signals": {name: list(v) for name, v in judge.signals.items()},
        "prototypes": {text: list(v) for text, v in judge.prototypes.items()},
        "words": words,
        "start": [round(x, 4) for x in judge.start],
    }


def write(judges: dict[str, Judge], path: Path, facts: dict[str, Any]) -> None:
    """The file of weights, one term a line."""
    head = {"format": FORMAT, "format_version": FORMAT_VERSION, **facts}
    text = json.dumps(head | {name: to_json(judge) for name, judge in judges.items()}, ensure_ascii=False, indent=1)
    text = re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda m: "[" + re.sub(r",\s+", ", ", m[1]) + "]", text)
    path.write_text(text + "\n", "utf-8")


def main(folder: Path) -> None:
    """Fit on all licensed excerpts and write."""
    counts = count(licensed_traces(folder))
    excerpts = [e for e in annotated(folder) if e.source != UNLICENSED]
    seen = Occurrences.find(excerpts, counts)
    features = Features(measure(counts), np.unique(seen.gram), Encoder())
    everything = np.ones(len(seen), bool)
    judges = {kind: features.fit(seen, everything, meaning=kind == "meaning") for kind in ("numbers", "meaning")}
    facts = {
        "encoder": Encoder().name,
        "excerpts": len(excerpts),
        "occurrences": len(seen),
        "note": "fitted by scripts/fit_judge.py to planning spans that a language model marked in two passes",
    }
    write(judges, TARGET, facts)
    print(f"{TARGET}: {len(judges['meaning'].words)} words, {len(excerpts)} excerpts, {len(seen)} occurrences")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
