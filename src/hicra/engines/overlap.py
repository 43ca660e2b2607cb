"""Problems of the benchmarks among the training prompts, by `hicra.evals.contamination`: which, and without them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hicra.errors import ConfigError

SHARE = 0.5
"""Share of a problem's words that must stand in n-grams of one prompt."""


@dataclass(frozen=True)
class Found:
    """What of one benchmark occurs in the prompts.

    Attributes:
        benchmark: its name; `n`: its items.
        items: ids of the problems that occur, those with most words in common first.
        prompts: (prompt, problem) pairs: indices of the prompts that hold one, and its id.
    """

    benchmark: str
    n: int
    items: list[str]
    prompts: list[tuple[int, str]]


def find(
    prompts: Iterable[str], benches: Sequence[str], folder: Path | None = None, *, share: float = SHARE
) -> list[Found]:
    """Every prompt of which a benchmark's problem is a part.

    `contamination.overlaps` names the one prompt that has most of a problem; the search goes on without it until none
    is left, so that repetitions are found too.

    Args:
        prompts: the problems to train on.
        benches: names of benchmarks, or ``name=file``.
        folder: where files are looked for first.
        share: of a problem's words.

    Raises:
        ConfigError: no such benchmark or file, or a share out of (0, 1].
    """
    from hicra.evals.asking import choose
    from hicra.evals.benchmarks import load
    from hicra.evals.contamination import contaminated, overlaps

    if not 0 < share <= 1:
        raise ConfigError("the share is out of range", expected="0 < share <= 1", got=str(share))
    if not benches:
        return []
    texts = list(prompts)
    found = []
    for name, (_, path) in choose(benches).items():
        beside = None if path is None or folder is None else folder / path
        problems = load(name, beside if beside is not None and beside.exists() else path)
        n = len(problems)
        left, items, pairs = dict(enumerate(texts)), dict[str, None](), []
        while left:
            keys = list(left)
            hits = contaminated(overlaps(problems, left.values()), share=share)
            if not hits:
                break
            for hit in hits:
                assert hit.prompt is not None
                items[hit.id] = None
                pairs.append((keys[hit.prompt], hit.id))
                left.pop(keys[hit.prompt], None)
            # another prompt can only hold a problem that was found already
            problems = [p for p in problems if p.id in items]
        found.append(Found(name, n, list(items), sorted(pairs)))
    return found


def without(n: int, found: Sequence[Found]) -> list[int]:
    """Indices of the prompts, of n, that hold no problem."""
    out = {i for f in found for i, _ in f.prompts}
    return [i for i in range(n) if i not in out]
