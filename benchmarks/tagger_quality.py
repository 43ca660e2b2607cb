"""How good is the tagger? Out of fold, by source, by function, with how many excerpts, and where it errs.

    python benchmarks/tagger_quality.py ../shared/data

Every figure is out of fold but those of the row "as shipped, in sample": heads, smoothing and threshold come from
other excerpts. Words and their classes come from unlabelled solutions and are those of the packaged model. Excerpts
without a licence are scored and never trained on. `gram_quality.py` prints the same beside the gram sets.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from hicra.labels.agreement import agreement
from hicra.labels.labeller import Labeller
from hicra.labels.quality import Excerpt, Quality, score, score_spans
from hicra.labels.tagger import packaged
from scripts.fit_judge import annotated
from scripts.train_tagger import (
    Examples,
    Heads,
    Lexicon,
    Smoothing,
    best_threshold,
    crossed,
    folds,
    tagged_out_of_fold,
)

CURVE = (59, 259, 500, 859)
"""Excerpts of the learning curve, besides all."""


def row(name: str, quality: Quality) -> None:
    """One line of a table."""
    print(f"{name:<52} {quality}", flush=True)


def lexicon() -> Lexicon:
    """The packaged model's."""
    t = packaged().tensors
    return Lexicon(tuple(t["words"].tobytes().split(b"\n")), t["coarse"], t["fine"])


def part(spans: Sequence[Any], excerpts: Sequence[Excerpt], among: Any) -> Quality:
    """Score some of the excerpts."""
    chosen = np.flatnonzero(among)
    return score_spans([spans[i] for i in chosen], [excerpts[i] for i in chosen])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", default=Path(__file__).parents[2] / "shared" / "data")
    chosen = parser.parse_args()
    if (chosen.data / "gold").is_dir():
        measure(chosen.data)
    else:
        print(f"{chosen.data} holds no annotated excerpts: nothing to measure")


def measure(data: Path) -> None:
    """All of it."""
    examples = Examples(annotated(data), lexicon())
    excerpts = examples.excerpts
    second = np.array([e.id.startswith("r2-") for e in excerpts])
    third = np.array([e.id.startswith(("r3-", "r4-")) for e in excerpts])
    given = ~second & ~third
    first59 = given & np.array([not e.id.startswith("d-") for e in excerpts])
    fold = folds(len(excerpts))
    z = crossed(examples, fold)
    probability, spans = tagged_out_of_fold(examples, fold, z)
    everything = np.ones(len(excerpts), bool)
    row("folds over excerpts, all", part(spans, excerpts, everything))
    row("  the 259 given ones", part(spans, excerpts, given))
    row("  the first 59 of them", part(spans, excerpts, first59))
    row("  the 600 of round 2", part(spans, excerpts, second))
    row("  the 800 of round 3", part(spans, excerpts, third))
    by_source(part(spans, excerpts, everything))
    reliability(examples, probability)
    errors(examples, spans)
    held_out(examples, first59)
    for count in CURVE:
        among = np.isin(np.arange(len(excerpts)), np.random.default_rng(1).permutation(len(excerpts))[:count])
        few = crossed(examples, fold, among=among)
        found = tagged_out_of_fold(examples, fold, few)[1]
        row(f"learning curve: 4/5 of {count} excerpts", part(found, excerpts, everything))
    sources = sorted({e.source for e in excerpts})
    of_source = np.array([sources.index(e.source) for e in excerpts])
    left_out = tagged_out_of_fold(examples, of_source, crossed(examples, of_source))[1]
    row("sources left out", part(left_out, excerpts, everything))
    by_source(part(left_out, excerpts, everything))
    row("as shipped, in sample", score(Labeller("tagger"), excerpts))
    passes(excerpts, {"given": given, "round 2": second, "round 3": third})


def by_source(quality: Quality) -> None:
    """Per source and per function."""
    for source, q in quality.by_source.items():
        print(f"    {source:<14} P {q.precision:.3f}  R {q.recall:.3f}  F1 {q.f1:.3f}  ({q.core} core words)")
    recalls = "  ".join(f"{k} {v:.3f}" for k, v in quality.recall_by_function.items())
    print(f"    recall by function: {recalls}", flush=True)


def held_out(examples: Examples, test: Any) -> None:
    """Everything but the first 59 excerpts trains, these are scored once."""
    kept = Subset(examples, ~test)
    fold = folds(len(kept.excerpts), seed=1)
    z = crossed(kept, fold)
    smoothing = Smoothing.fit(kept, z, kept.licensed)
    threshold = best_threshold(kept, smoothing.probability(kept, z), np.ones(len(fold), bool))
    heads = Heads.fit(kept, kept.licensed, steers_only=True)
    aside = Subset(examples, test)
    likely = smoothing.probability(aside, heads.log_odds(aside, np.ones(len(aside.keys), bool)))
    for name, at in (("threshold of the others", threshold), ("threshold .50", 0.5)):
        spans: list[list[tuple[int, int]]] = [[] for _ in aside.excerpts]
        for i in np.flatnonzero(likely >= at):
            spans[aside.excerpt[i]].append((int(aside.chars[i, 0]), int(aside.chars[i, 1])))
        row(f"first 59 held out, {name} ({at:.2f})", score_spans(spans, aside.excerpts))


class Subset(Examples):
    """Some excerpts of examples."""

    def __init__(self, whole: Examples, among: Any) -> None:
        number = np.cumsum(among) - 1
        words = among[whole.excerpt]
        self.excerpts = [e for e, kept in zip(whole.excerpts, among, strict=True) if kept]
        self.excerpt = number[whole.excerpt[words]]
        for name in ("keys", "chars", "flags", "function", "begins", "steers", "licensed"):
            setattr(self, name, getattr(whole, name)[words])


def reliability(examples: Examples, probability: Any) -> None:
    """Do tokens with probability p steer in a share p of cases? Mean of the passes in ten bins; calibration error."""
    edges = np.linspace(0, 1, 11)
    at = np.digitize(probability, edges[1:-1])
    total, gap = len(probability), 0.0
    cells = []
    for b in range(10):
        inside = at == b
        if inside.any():
            said, was = probability[inside].mean(), examples.steers[inside].mean()
            gap += inside.sum() / total * abs(said - was)
            cells.append(f"{said:.2f}->{was:.2f} ({inside.sum()})")
    print(f"    reliability: {'  '.join(cells)}; expected calibration error {gap:.4f}", flush=True)


def errors(examples: Examples, spans: Sequence[Any], shown: int = 25) -> None:
    """The commonest wordings that are missed, and that are labelled by mistake."""
    missed, wrong = Counter[str](), Counter[str]()
    for e, found in zip(examples.excerpts, spans, strict=True):
        for span in e.first:
            both = any(o.start < span.end and o.end > span.start for o in e.second)
            if both and not any(a < span.end and z > span.start for a, z in found):
                missed[" ".join(e.text[span.start : span.end].lower().split())] += 1
        for a, z in found:
            if not any(s.start < z and s.end > a for s in (*e.first, *e.second)):
                wrong[e.text[a:z].lower()] += 1
    for name, counts in (("spans missed whole", missed), ("words labelled by mistake", wrong)):
        most = ", ".join(f"{text} {n}" for text, n in counts.most_common(shown))
        print(f"    {name}: {sum(counts.values())}, {len(counts)} wordings: {most}", flush=True)


def passes(excerpts: Sequence[Excerpt], rounds: dict[str, Any]) -> None:
    """How far the annotation passes agree, in each round."""
    for name, among in rounds.items():
        found = agreement([e for e, kept in zip(excerpts, among, strict=True) if kept])
        alone = ", ".join(f"{text} {n}" for text, n in [*found.only_first[:8], *found.only_second[:8]])
        low, high = found.f1_interval
        print(
            f"passes, {name}: word F1 {found.f1:.3f} [{low:.3f}, {high:.3f}], kappa {found.kappa:.3f}; alone: {alone}"
        )


if __name__ == "__main__":
    main()
