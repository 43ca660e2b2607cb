"""Mine the sets that ship with the package: ``math``, ``general`` and ``code``.

    python scripts/mine_shipped.py DATA_FOLDER            # writes src/hicra/grams/data/{math,general,code}.json

DATA_FOLDER holds ``traces/*.jsonl.zst``. Traces without a licence are left out. What is written is phrases of up to six
words that occur in the solutions to several distinct problems; no text of a trace or a problem is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from hicra.grams.gramset import GramSet
from hicra.grams.mine import mine
from hicra.traces.schema import Trace
from scripts.fit_judge import licensed_traces

TARGET = Path(__file__).parents[1] / "src" / "hicra" / "grams" / "data"


def math(folder: Path) -> Iterator[Trace]:
    """Every licensed source: mathematics for the most part, and the puzzles, proofs and code traces beside it."""
    yield from licensed_traces(folder)


def general(folder: Path) -> Iterator[Trace]:
    """Puzzles, games, logic and fourteen subjects that are not mathematics."""
    yield from licensed_traces(folder, ("rg_zero", "mmlu_pro", "misguided"))


def code(folder: Path) -> Iterator[Trace]:
    """Predicting what a program prints, or which input it needs (CRUX)."""
    yield from (t for t in licensed_traces(folder, ("zeroeval",)) if ":crux" in str(t.source))


SETS = {"math": math, "general": general, "code": code}


def tell(stage: str, done: int, total: int | None) -> None:
    """Progress, on the line of the stage."""
    print(f"\r{stage} {done:,}{'' if total is None else f' of {total:,}'}   ", end="", file=sys.stderr, flush=True)


def main(folder: Path) -> None:
    """Mine all and write."""
    for name, traces in SETS.items():
        mined = mine(traces(folder), name=name, progress=tell)
        commits = {"traces": "sources, commits and licences: see the card"}
        shipped = replace(mined, provenance={**mined.provenance, **commits})
        assert isinstance(shipped, GramSet)
        shipped.save(TARGET / f"{name}.json")
        print(f"{name}: {len(shipped):,} grams in {len(shipped.clusters):,} clusters", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
