"""Do patterns help? Word precision, recall and F1 of hand-written patterns, alone and beyond the shipped set `math`.

    python benchmarks/pattern_quality.py ../shared/data [--folds] [--with SET]

--folds adds the rows that tell what to expect elsewhere: the refined profile's selection out of fold (the judge never
saw the excerpts that it is scored on), with and without the patterns. That takes some minutes.

The patterns (the shipped set `patterns`) were written down once, from general grammar and from the wording of the
annotation guidelines, before they were scored; the excerpts were not looked at, and no pattern was changed, added or
dropped after scoring.
What `math` labels is in sample (its judge was fitted to these excerpts, see benchmarks/gram_quality.py); what the
patterns add is not.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from hicra.grams.gramset import GramSet
from hicra.labels.labeller import Labeller
from hicra.labels.quality import Excerpt, read_excerpts, score, score_spans


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument(
        "--with", dest="more", action="append", default=[], help="score this set too, alone and beyond math"
    )
    parser.add_argument("--folds", action="store_true", help="the mined grams out of fold, with and without patterns")
    chosen = parser.parse_args()
    if not (chosen.data / "gold").is_dir():
        print(f"{chosen.data} holds no annotated excerpts: nothing to measure")
        return
    excerpts = read_excerpts(sorted((chosen.data / "gold").glob("planning_spans_*.jsonl")))
    listing, mined, written = GramSet.load("paper"), GramSet.load("math"), GramSet.load("patterns")
    rows = {
        "Listing 1": listing,
        "patterns": written,
        "Listing 1 + patterns": listing.merge(written),
        "math (in sample)": mined,
        "math + patterns": mined.merge(written),
    }
    for path in chosen.more:
        rows |= {path: GramSet.load(path), f"math + {path}": mined.merge(GramSet.load(path))}
    for name, grams in rows.items():
        print(f"{name:<28} {len(grams):>6,}  {score(grams, excerpts)}", flush=True)
    print("\nwhat each kind of move adds to math: words, and how many of them are marked")
    for name in written.clusters:
        added, right = beyond(mined, GramSet.from_grams(g for g in written if g.cluster == name), excerpts)
        print(f"{name:<28} {added:>6,}  {right / max(1, added):.3f}")
    if chosen.folds:
        print()
        folds(chosen.data, excerpts, written, (0.8, 0.85, 0.9))


def folds(data: Path, excerpts: Sequence[Excerpt], written: GramSet, thresholds: Sequence[float]) -> None:
    """Excerpts in five folds: each is labelled by grams that were chosen without it, and by these and the patterns."""
    from benchmarks.gram_quality import FOLDS, REFINED, Selection, count, licensed_traces, replace

    selection = Selection(data, excerpts, count(licensed_traces(data)))
    fold = np.random.default_rng(0).permutation(len(excerpts)) % FOLDS
    spans: dict[tuple[float, bool], list[list[tuple[int, int]]]] = {
        (t, more): [[] for _ in excerpts] for t in thresholds for more in (False, True)
    }
    for f in range(FOLDS):
        odds = selection.log_odds(fold[selection.seen.excerpt] != f)
        for t in thresholds:
            grams = GramSet.from_grams(selection.grams(*odds, replace(REFINED, steers=t)))
            for more, labeller in ((False, Labeller(grams)), (True, Labeller(grams.merge(written)))):
                for i in np.flatnonzero(fold == f):
                    spans[t, more][i] = [(s.start, s.end) for s in labeller.spans(excerpts[i].text)]
    for a, b in (((0.8, False), (0.85, True)), ((0.8, False), (0.8, True))):
        low, high = paired(spans[a], spans[b], excerpts)
        print(f"F1, {b[0]:.2f} + patterns less {a[0]:.2f} without, 95 % of paired draws: {low:+.3f} to {high:+.3f}")
    for (t, more), found in spans.items():
        name = f"refined {t:.2f}, out of fold{' + patterns' if more else ''}"
        print(f"{name:<38} {score_spans(found, excerpts)}", flush=True)


def paired(
    before: Sequence[Sequence[tuple[int, int]]],
    after: Sequence[Sequence[tuple[int, int]]],
    excerpts: Sequence[Excerpt],
    draws: int = 2_000,
) -> tuple[float, float]:
    """The interval of the difference in F1: both are scored on the same draws of excerpts."""
    from hicra.labels.quality import _count, _rates

    counted = [np.stack([_count(e, s, []) for e, s in zip(excerpts, spans, strict=True)]) for spans in (before, after)]
    rows = np.random.default_rng(0).integers(0, len(excerpts), (draws, len(excerpts)))
    first, second = (_rates(c[rows].sum(1).astype(np.float64))[2] for c in counted)
    low, high = np.quantile(second - first, [0.025, 0.975])
    return float(low), float(high)


def beyond(base: GramSet, more: GramSet, excerpts: Sequence[Excerpt]) -> tuple[int, int]:
    """Words that `more` labels and `base` does not, and how many of these either pass marked."""
    from hicra.labels.quality import WORD

    one, other = Labeller(base), Labeller(more)
    added = right = 0
    for excerpt in excerpts:
        covered = np.zeros((3, len(excerpt.text)), bool)
        for row, spans in enumerate((one.spans(excerpt.text), other.spans(excerpt.text))):
            for span in spans:
                covered[row, span.start : span.end] = True
        for marked in (*excerpt.first, *excerpt.second):
            covered[2, marked.start : marked.end] = True
        for word in WORD.finditer(excerpt.text):
            was, now, gold = covered[:, word.start() : word.end()].any(1)
            added += now and not was
            right += now and not was and gold
    return int(added), int(right)


if __name__ == "__main__":
    main()
