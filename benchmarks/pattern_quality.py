"""Do patterns help? Word precision, recall and F1 of hand-written patterns, alone and beyond the shipped set `math`.

    python benchmarks/pattern_quality.py ../shared/data [--folds] [--with SET]

--folds adds the rows that tell what to expect elsewhere: the refined profile's selection out of fold (the judge never
saw the excerpts that it is scored on), with and without the patterns. That takes some minutes.

The patterns below were written down once, from general grammar and from the wording of the annotation guidelines,
before they were scored; the excerpts were not looked at, and no pattern was changed, added or dropped after scoring.
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

LISTS = {
    "LET": "go back|look at|think about|start by|begin by|break this down|break it down|make sure",
    "WAY": "approach|way|idea|option|possibility|method",
    "WOULD": "is|would be|could be|might be",
    "MISREAD": "misread|misunderstood|misinterpreted|overlooked|forgot|missed",
}
MOVES = {
    "let us": """
        [<conn>] <let's~|let me> [<adv>] <verb> @clause
        [<conn>] <let's~|let me> [<adv>] <LET> @clause
        [<conn>] <let's~|let me> <try|consider|take> <another|a different> [<noun>] @clause""",
    "we need to": """
        [<conn>] <i|we> [<adv>] <need to|have to|must|should|want to> [<adv>] <verb> @clause
        [<conn>] <i'll~|we'll~> [<adv>] <verb> @clause
        [<conn>] <i|we> <can|could> [<adv>] <verb> @clause
        <my|our|the> [<ord>] <step|goal|task|plan|approach> is to @clause
        to <verb> <this|the> <problem|question|answer|solution> @clause""",
    "the problem asks": """
        the <problem|question|task> <ask~|say~|state|states|want~> [<us to|for|that|to>] @clause
        [<conn>] <we|i> are <given|told|asked> [<that|to>] @clause
        <suppose|assume|assuming> [that] @clause
        in <this|that|the first|the second|each|either|both> <case|cases|scenario> @clause
        what if @clause
        [<maybe|perhaps>] <another|one|a different> <WAY> <WOULD> [to] @clause""",
    "this means": """
        <this|that|which|it> <mean~|imply~|suggests|shows|indicates|tells us|gives us> [that] @clause
        [<conn>] <we|i|you|one> [<modal>] [<adv>] <see|conclude|deduce|infer|know|note|notice|observe> [that] @clause
        it follows that @clause
        [<conn>] the <answer|final answer|result|solution> <is|must be|should be|would be> @clause
        <therefore|thus|hence|consequently|accordingly> @clause
        so @sentence
        <as a result|in conclusion|in summary|to conclude|based on this|because of this> @clause""",
    "order": """
        <first|second|third|next|then|finally|lastly> @sentence
        step by step""",
    "doubt": """
        <wait|hmm|however|alternatively|actually|hold on> @clause
        but @sentence
        [<conn>] <that|this|it> <isn't~|is> [<not|also|still>] <right|correct|wrong|possible|impossible> @clause
        [<conn>] <that|this|it> <doesn't~|can't~|won't~> <make sense|work|be right|seem right|match> @clause
        <is|does> <that|this|it> <right|correct|possible|make sense|work> @clause
        [<conn>] <i|we> <made|must have made|might have made|may have made> <a|an> <mistake|error> @clause
        [<conn>] <i|we> [<might|may|must>] [have] <MISREAD> @clause
        <going back|go back|back> to @clause
        to <verify|check|confirm|double-check|be sure|make sure> @clause
        but the <problem|question> <says|states|said> @clause""",
}  # fmt: skip


def patterns(names: Sequence[str] = tuple(MOVES)) -> GramSet:
    """The patterns of some kinds of moves."""
    found = {}
    for name in names:
        for line in MOVES[name].strip().splitlines():
            text, _, at = line.strip().partition(" @")
            for short, words in LISTS.items():
                text = text.replace(f"<{short}>", f"<{words}>")
            found[text] = {"text": text, "at": at or "any", "cluster": name}
    return GramSet.from_grams(found.values(), name="patterns")


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
    listing, mined, written = GramSet.load("paper"), GramSet.load("math"), patterns()
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
    for name in MOVES:
        added, right = beyond(mined, patterns([name]), excerpts)
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
    for (t, more), found in spans.items():
        name = f"refined {t:.2f}, out of fold{' + patterns' if more else ''}"
        print(f"{name:<38} {score_spans(found, excerpts)}", flush=True)


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
