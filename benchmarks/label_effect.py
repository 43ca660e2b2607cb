"""What other labels change downstream: credit, overlap with high entropy, semantic entropy, on the same rollouts.

    python benchmarks/label_effect.py [RUN] [--traces 2000]

RUN is a run directory whose text was kept (a lab run: ``hicra demo --out demo`` leaves ``demo/hicra``). Each labeller
labels the very tokens again; entropies and advantages are the run's. Without RUN there is the second table alone: real
solutions, which have neither, so only what labels themselves say of them.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hicra.dynamics.overlap import overlap
from hicra.dynamics.semantic import entropy_bits
from hicra.grams.gramset import GramSet
from hicra.labels.labeller import Labels
from hicra.labels.pieces import PieceLabeller, words_and_signs
from hicra.traces.read import read_traces, sample_traces

SETS = ("paper", "math", "tagger")
ALPHA = 0.2


def moves(labels: Labels) -> Counter[int]:
    """Occurrences of each gram."""
    counts: Counter[int] = Counter()
    for gram_id, begin in zip(labels.gram_id, labels.begin, strict=True):
        counts.update(gram_id[begin & (gram_id >= 0)].tolist())
    return counts


def seen(name: str, mask: Any, first: Any, counts: Counter[int]) -> str:
    """What a labeller says by itself; `first` is the mask of the first one."""
    same = (mask & first).sum() / max(1, (mask | first).sum())
    bits = entropy_bits(list(counts.values()) or [1])
    return (
        f"  {name:<8} planning {mask.mean():6.2%}  same as {SETS[0]} {same:.2f}  moves {sum(counts.values()):6}  "
        f"kinds {len(counts):4}  semantic entropy {bits:.2f} bits"
    )


def of_run(path: Path) -> None:
    """One row a labeller, on the rollouts of a run."""
    from hicra.traces.rundir import RunReader

    rows = RunReader(path).rollouts(columns=["token_text", "entropy", "advantage", "group_id"]).to_pylist()
    texts = [row["token_text"] for row in rows]
    entropy = np.concatenate([row["entropy"] for row in rows])
    advantage = np.concatenate([np.broadcast_to(row["advantage"], len(row["token_text"])) for row in rows])
    group = np.repeat([row["group_id"] for row in rows], [len(t) for t in texts])
    known = np.isfinite(entropy)
    print(f"{path}: {len(rows)} rollouts, {len(entropy)} tokens")
    first: Any = None
    for name in SETS:
        labels = PieceLabeller(GramSet.load(name)).label(texts)
        mask = np.concatenate(labels.mask)
        first = mask if first is None else first
        counts = moves(labels)
        added = ALPHA * np.abs(advantage[mask]).sum() / np.abs(advantage).sum()
        line = f"{seen(name, mask, first, counts)}  credit added {added:6.2%} of |A|"
        if mask.any() and known.any():
            found = overlap(entropy, mask, 0.3, prompt=group)
            low, high = found.planning_in_top_low[0], found.planning_in_top_high[0]
            line += f"  planning in top 30 % {found.planning_in_top[0]:.2f} [{low:.2f}, {high:.2f}]"
            line += f", top that plans {found.top_that_plans[0]:.2f}"
        print(line, flush=True)


def of_traces(folder: Path | None, most: int) -> None:
    """Real solutions: how much each labeller sees, by style."""
    by_style: dict[str, list[Sequence[str]]] = defaultdict(list)
    files = sorted(p for p in (folder / "traces").glob("*.jsonl.zst") if "nolicence" not in p.name) if folder else []
    each = most // max(1, len(files))
    for path in files:
        for i, trace in enumerate(read_traces(path)):
            if i >= each:
                break
            by_style[trace.style or ""].append(words_and_signs(trace.solution))
    for trace in sample_traces() if not files else ():
        by_style[trace.style or ""].append(words_and_signs(trace.solution))
    for style, texts in sorted(by_style.items()):
        print(f"{style}: {len(texts)} solutions")
        first: Any = None
        for name in SETS:
            labels = PieceLabeller(GramSet.load(name)).label(texts)
            mask = np.concatenate(labels.mask)
            first = mask if first is None else first
            counts = moves(labels)
            without = np.mean([not m.any() for m in labels.mask])
            print(f"{seen(name, mask, first, counts)}  solutions without any {without:.1%}", flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--traces", type=int, default=2_000)
    chosen = parser.parse_args()
    if chosen.run is not None:
        of_run(chosen.run)
    of_traces(chosen.data if (chosen.data / "traces").is_dir() else None, chosen.traces)


if __name__ == "__main__":
    main()
