"""How good are gram sets? Word precision, recall and F1, recall of Listing 1, stability, functions.

    python benchmarks/gram_quality.py ../shared/data            # all of it, some ten minutes
    python benchmarks/gram_quality.py ../shared/data --only labels

The annotation was made by a language model in two passes, not by people. The rows called *out of fold* are what to
expect elsewhere: the judge never saw the excerpts that it is scored on.

- folds over excerpts: five; the grams that occur in an excerpt may have been seen in others
- folds over excerpts and grams: each gram is judged by weights fitted without any occurrence of it, and without the
  excerpt; grams go to folds by a hash of their text
- sources left out: each source is scored by weights fitted to the other sources

The row of the shipped set is *in sample*: its judge was fitted to these excerpts. It is printed to show how much that
flatters.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from hicra.grams import filters
from hicra.grams.count import Counts
from hicra.grams.embed import Encoder
from hicra.grams.functions import assign
from hicra.grams.gramset import Gram, GramSet
from hicra.grams.judge import LogOdds, probability
from hicra.grams.profiles import PAPER, REFINED, Profile
from hicra.grams.signals import measure
from hicra.labels.labeller import Labeller
from hicra.labels.quality import Excerpt, Quality, score, score_spans
from hicra.traces.schema import Trace
from scripts.fit_judge import UNLICENSED, Features, Occurrences, annotated, count, licensed_traces

FOLDS = 5
SWEEP = (0.6, 0.7, 0.75, 0.8, 0.85, 0.9)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--only", choices=("labels", "folds", "tagger", "functions", "stability"))
    chosen = parser.parse_args()
    if not (chosen.data / "gold").is_dir():
        print(f"{chosen.data} holds no annotated excerpts: nothing to measure")
        return
    excerpts = annotated(chosen.data)
    parts = {"labels": labels, "folds": folds, "tagger": tagger, "functions": functions, "stability": stability}
    for name, part in parts.items():
        if chosen.only in (None, name):
            start = time.perf_counter()
            print(f"\n## {name}")
            part(chosen.data, excerpts)
            print(f"({time.perf_counter() - start:.0f} s)", flush=True)


def row(name: str, size: int | None, quality: Quality) -> None:
    """One line of a table."""
    shown = f"{size:,}" if size is not None else ""
    print(f"{name:<44} {shown:>7}  {quality}", flush=True)


# --- sets as they are -------------------------------------------------------------------------------------------------
def labels(data: Path, excerpts: Sequence[Excerpt]) -> None:
    """The published list, the profile `paper` and the shipped sets."""
    listing = GramSet.load("paper")
    row("Listing 1", len(listing), score(listing, excerpts))
    mined = mined_by(PAPER, licensed_traces(data), seed=0)
    row("profile paper, mined here", len(mined), score(mined, excerpts))
    print(f"  recall of Listing 1: {listing_recall(mined, listing):.2f} of its entries")
    for name in ("math", "general", "code"):
        shipped = GramSet.load(name)
        row(f"shipped {name} (in sample)", len(shipped), score(shipped, excerpts))
        print(f"  recall of Listing 1: {listing_recall(shipped, listing):.2f} of its entries")


def mined_by(profile: Profile, traces: Iterator[Trace], seed: int) -> GramSet:
    """A set, by the package's own way."""
    from hicra.grams.mine import mine

    return mine(traces, profile=replace(profile, seed=seed))


def listing_recall(grams: GramSet, listing: GramSet) -> float:
    """Share of the entries of Listing 1 all of whose words the set labels, each standing alone as a sentence."""
    labeller = Labeller(grams)
    found = 0
    for gram in listing:
        covered = np.zeros(len(gram.text), bool)
        for span in labeller.spans(gram.text):
            covered[span.start : span.end] = True
        found += all(covered[i] or c == " " for i, c in enumerate(gram.text))
    return found / len(listing)


# --- out of fold ------------------------------------------------------------------------------------------------------
class Selection:
    """The refined profile's selection for the grams that occur in the excerpts, with judges of our choosing."""

    def __init__(self, data: Path, excerpts: Sequence[Excerpt], counts: Counts) -> None:
        self.excerpts = excerpts
        signals = measure(counts)
        self.seen = Occurrences.find(excerpts, counts)
        self.features = Features(signals, np.unique(self.seen.gram), Encoder())
        self.signals = {name: values[self.features.rows] for name, values in signals.items()}
        self.licensed = np.array([e.source != UNLICENSED for e in excerpts])[self.seen.excerpt]
        self.gram_of = np.array([self.features.at[int(g)] for g in self.seen.gram])

    def log_odds(self, take: Any) -> tuple[LogOdds, LogOdds]:
        """By numbers, and by numbers and meaning, of judges fitted to the occurrences that `take` names."""
        found = []
        for meaning in (False, True):
            judge = self.features.fit(self.seen, take & self.licensed, meaning=meaning)
            found.append(judge.log_odds(self.signals, self.features.likeness if meaning else None))
        return found[0], found[1]

    def grams(self, numbers: LogOdds, meaning: LogOdds, profile: Profile) -> list[Gram]:
        """What the profile's rules keep."""
        likely = filters.likely(self.signals, numbers)
        steers = {f"steers_{k}": probability(v) for k, v in meaning._asdict().items()}
        at, value = filters._best(self.signals, steers, profile)
        kept = (likely >= profile.likely) & (value >= profile.steers)
        return [Gram(self.features.texts[i], at[i]) for i in np.flatnonzero(kept)]


def folds(data: Path, excerpts: Sequence[Excerpt]) -> None:
    """The refined profile out of fold, at several thresholds."""
    selection = Selection(data, excerpts, count(licensed_traces(data)))
    by_excerpt = np.random.default_rng(0).permutation(len(excerpts)) % FOLDS
    digest = [int(hashlib.sha256(text.encode()).hexdigest(), 16) % FOLDS for text in selection.features.texts]
    sources = {source: i for i, source in enumerate(sorted({e.source for e in excerpts}))}
    by_source = np.array([sources[e.source] for e in excerpts])
    out_of_fold(selection, "folds over excerpts", by_excerpt, None, SWEEP)
    out_of_fold(selection, "folds over excerpts and grams", by_excerpt, np.array(digest), (REFINED.steers,))
    out_of_fold(selection, "sources left out", by_source, None, (REFINED.steers,))


def out_of_fold(selection: Selection, name: str, fold: Any, gram_fold: Any, thresholds: Sequence[float]) -> None:
    """Score every excerpt with grams chosen without it (and, with `gram_fold`, each by a judge that never saw it)."""
    spans: dict[float, list[list[tuple[int, int]]]] = {t: [[] for _ in fold] for t in thresholds}
    for f in range(int(fold.max()) + 1):
        train = fold[selection.seen.excerpt] != f
        if gram_fold is None:
            numbers, meaning = selection.log_odds(train)
        else:
            parts = [selection.log_odds(train & (gram_fold[selection.gram_of] != q)) for q in range(FOLDS)]
            numbers, meaning = (
                LogOdds(*(np.choose(gram_fold, [p[k][place] for p in parts]) for place in range(3))) for k in range(2)
            )
        for threshold in thresholds:
            grams = GramSet.from_grams(selection.grams(numbers, meaning, replace(REFINED, steers=threshold)))
            labeller = Labeller(grams)
            for i in np.flatnonzero(fold == f):
                found = labeller.spans(selection.excerpts[i].text)
                spans[threshold][i] = [(s.start, s.end) for s in found]
    for threshold in thresholds:
        quality = score_spans(spans[threshold], selection.excerpts)
        row(f"refined, {name}, steers {threshold:.2f}", None, quality)
        if threshold == REFINED.steers and gram_fold is None:
            for source, q in quality.by_source.items():
                print(f"    {source:<14} P {q.precision:.3f}  R {q.recall:.3f}  F1 {q.f1:.3f}  ({q.core} core words)")
            by_function = "  ".join(f"{k} {v:.3f}" for k, v in quality.recall_by_function.items())
            print(f"    recall by function: {by_function}", flush=True)


# --- the tagger -------------------------------------------------------------------------------------------------------
def tagger(data: Path, excerpts: Sequence[Excerpt]) -> None:
    """Out of fold, on these excerpts and on those of the second round; its own file has the tables."""
    from benchmarks.tagger_quality import measure as tables

    tables(data)


# --- functions --------------------------------------------------------------------------------------------------------
def functions(data: Path, excerpts: Sequence[Excerpt]) -> None:
    """Functions by nearest prototypes against the annotated classes; no weight was fitted for them."""
    shipped = GramSet.load("math")
    function_of = {g.text: g.function for g in shipped}
    labeller = Labeller(shipped)
    names = ("deduction", "branching", "backtracing")
    table = {a: dict.fromkeys(names, 0) for a in names}
    agree = total = both = 0
    for excerpt in excerpts:
        for found in labeller.spans(excerpt.text):
            classes = [
                next((s.function for s in marked if s.start < found.end and s.end > found.start), None)
                for marked in (excerpt.first, excerpt.second)
            ]
            if classes[0] and classes[1]:
                both += 1
                agree += classes[0] == classes[1]
            if classes[0] and classes[0] == classes[1]:
                table[classes[0]][str(function_of[found.gram])] += 1
                total += 1
    right = sum(table[name][name] for name in names)
    largest = max(sum(counts.values()) for counts in table.values())
    print(
        f"clusters' functions: {right / total:.3f} of {total} occurrences right; "
        f"the commonest class is {largest / total:.3f}"
    )
    print(f"the two passes agree on {agree / both:.3f} of {both}")
    for name in names:
        print(f"  annotated {name:<12} -> " + "  ".join(f"{k} {v}" for k, v in table[name].items()))
    encoder = Encoder()
    marked = [(e.text[s.start : s.end], s.function) for e in excerpts for s in e.first if s.function]
    given = assign(encoder.encode([text for text, _ in marked]), encoder)
    alone = np.mean([g == f for g, (_, f) in zip(given, marked, strict=True)])
    print(f"annotated spans themselves, by nearest prototypes: {alone:.3f} of {len(marked)} right")


# --- stability --------------------------------------------------------------------------------------------------------
def stability(data: Path, excerpts: Sequence[Excerpt]) -> None:
    """Two halves of the problems, mined apart."""
    traces = list(licensed_traces(data))
    for profile in (REFINED, PAPER):
        halves = []
        for half in (0, 1):
            part = (t for t in traces if hashlib.sha256(t.problem.strip().lower().encode()).digest()[0] % 2 == half)
            halves.append(mined_by(profile, part, seed=half))
        a, b = ({g.text: g for g in grams} for grams in halves)
        both = a.keys() & b.keys()
        weight = occurrences([*a, *b], traces[::10])
        shared = sum(weight[t] for t in both) / max(1, sum(weight[t] for t in a.keys() | b.keys()))
        agree = adjusted_rand([a[t].cluster for t in sorted(both)], [b[t].cluster for t in sorted(both)])
        print(
            f"profile {profile.name}: {len(a):,} and {len(b):,} grams, "
            f"Jaccard {len(both) / len(a.keys() | b.keys()):.2f}, weighted by occurrences {shared:.2f}, "
            f"clusters' adjusted Rand index {agree:.2f}",
            flush=True,
        )


def occurrences(texts: Sequence[str], traces: Sequence[Trace]) -> dict[str, int]:
    """How often each phrase is the leftmost-longest match in some solutions."""
    labeller = Labeller(GramSet.from_grams(sorted(set(texts))))
    found = dict.fromkeys(texts, 0)
    for trace in traces:
        for span in labeller.spans(trace.solution):
            found[span.gram] += 1
    return found


def adjusted_rand(a: Sequence[Any], b: Sequence[Any]) -> float:
    """Agreement of two partitions: 1 the same, 0 chance (Hubert and Arabie 1985)."""
    _, i = np.unique(np.array(a, str), return_inverse=True)
    _, j = np.unique(np.array(b, str), return_inverse=True)
    table = np.zeros((i.max() + 1, j.max() + 1))
    np.add.at(table, (i, j), 1)

    def pairs(x: Any) -> float:
        return float((x * (x - 1) / 2).sum())

    both, rows, columns, all_ = pairs(table), pairs(table.sum(1)), pairs(table.sum(0)), pairs(np.array([len(i)]))
    expected = rows * columns / all_
    return (both - expected) / ((rows + columns) / 2 - expected)


if __name__ == "__main__":
    main()
