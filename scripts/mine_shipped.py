"""Mine the sets that ship with the package: ``math``, ``general`` and ``code``.

    python scripts/mine_shipped.py DATA_FOLDER [NAME ...]      # writes src/hicra/grams/data/{math,general,code}.json

DATA_FOLDER holds ``traces/*.jsonl.zst``. Traces without a licence are left out. What is written is phrases of up to six
words that occur in the solutions to several distinct problems; no text of a trace or a problem is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from hicra.grams.gramset import GramSet
from hicra.grams.mine import mine
from hicra.labels.labeller import Labeller
from hicra.traces.schema import Trace
from scripts.fit_judge import licensed_traces

TARGET = Path(__file__).parents[1] / "src" / "hicra" / "grams" / "data"


def math(folder: Path) -> Iterator[Trace]:
    """Every licensed source: mathematics for the most part, and the puzzles, proofs and code traces beside it."""
    yield from licensed_traces(folder)


def general(folder: Path) -> Iterator[Trace]:
    """Puzzles, games, logic and fourteen subjects that are not mathematics."""
    yield from licensed_traces(folder, ("rg_zero", "mmlu_pro", "misguided"))


SOURCES = {"math": math, "general": general}


def code(folder: Path, mined: GramSet, least: int = 3) -> GramSet:
    """The part of a set that is found in solutions about code (CRUX: what does a program print, which input does it
    need) to `least` distinct problems. Mined on their own these 2,000 solutions are too few and too alike."""
    labeller = Labeller(mined)
    problems: dict[str, set[str]] = {}
    solutions = 0
    for trace in licensed_traces(folder, ("zeroeval",)):
        if ":crux" in str(trace.source):
            solutions += 1
            for span in labeller.spans(trace.solution):
                problems.setdefault(span.gram, set()).add(trace.problem)
    chosen = [gram for gram in mined if len(problems.get(gram.text, ())) >= least]
    made = {
        "source": f"the grams of {mined.name!r} that label something in solutions to {least} CRUX problems",
        "parent": mined.name,
        "parent_hash": mined.hash,
        "solutions": solutions,
    }
    return GramSet.from_grams(chosen, name="code", provenance=made)


def tell(stage: str, done: int, total: int | None) -> None:
    """Progress, on the line of the stage."""
    print(f"\r{stage} {done:,}{'' if total is None else f' of {total:,}'}   ", end="", file=sys.stderr, flush=True)


def main(folder: Path, names: Sequence[str]) -> None:
    """Mine what is named and write."""
    for name in names:
        if name == "code":
            mined = code(folder, GramSet.load("math"))
        else:
            mined = mine(SOURCES[name](folder), name=name, progress=tell)
        mined.save(TARGET / f"{name}.json")
        print(f"{name}: {len(mined):,} grams in {len(mined.clusters):,} clusters", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or [*SOURCES, "code"])
