"""Are a benchmark's problems among the prompts that a model was trained on? Overlap of word n-grams, after GPT-3
(arXiv 2005.14165, appendix C: 13-grams) and what followed it.

Words here are runs of letters and digits and LaTeX commands, in lower case, because numbers and formulas are what tells
one problem from another (the text of `hicra.grams` breaks at them on purpose). Only the benchmark's n-grams are held
in memory, as 64-bit hashes; training prompts stream by, so their number does not matter.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hicra.evals.benchmarks import Problem

N = 13
"""Words in an n-gram. A problem with fewer words is found only as a whole."""

_WORD = re.compile(r"\\?[^\W_]+")


@dataclass(frozen=True, slots=True)
class Overlap:
    """What of one problem occurs in the training prompts.

    Attributes:
        id: the problem's.
        share: share of the problem's words that stand in an n-gram which also occurs in one single prompt, the one
            with most of them; 1 for a problem that occurs as a whole.
        prompt: index of that prompt, None where nothing of the problem occurs.
        words: number of words of the problem.
    """

    id: str
    share: float
    prompt: int | None
    words: int


def overlaps(problems: Sequence[Problem], prompts: Iterable[str], *, n: int = N) -> list[Overlap]:
    """Overlap of each problem with training prompts, in the order of the problems.

    Args:
        problems: a benchmark.
        prompts: training prompts; read once.
        n: words in an n-gram; problems with fewer words are compared as a whole.
    """
    texts = [words(p.problem) for p in problems]
    where: dict[int, list[tuple[int, int]]] = {}  # hash of an n-gram -> problems that have it, and at which words
    whole: dict[int, list[int]] = {}
    for i, text in enumerate(texts):
        if len(text) < n:
            whole.setdefault(_hash(text), []).append(i)
        for at, gram in enumerate(_grams(text, n)):
            where.setdefault(gram, []).append((i, at))
    best: list[tuple[int, int | None]] = [(0, None)] * len(problems)
    for number, prompt in enumerate(prompts):
        text = words(prompt)
        hits: dict[int, set[int]] = {}
        for gram in set(_grams(text, n)) & where.keys():
            for i, at in where[gram]:
                hits.setdefault(i, set()).update(range(at, at + n))
        for i in whole.get(_hash(text), ()) if len(text) < n else ():
            hits[i] = set(range(len(texts[i])))
        for i, covered in hits.items():
            if len(covered) > best[i][0]:
                best[i] = (len(covered), number)
    return [
        Overlap(p.id, covered / max(1, len(text)), prompt, len(text))
        for p, text, (covered, prompt) in zip(problems, texts, best, strict=True)
    ]


def contaminated(found: Iterable[Overlap], *, share: float = 0.5) -> list[Overlap]:
    """Those of which at least that share occurs in one prompt, the largest first."""
    return sorted((o for o in found if o.prompt is not None and o.share >= share), key=lambda o: (-o.share, o.id))


def words(text: str) -> list[str]:
    """Words of a problem: runs of letters and digits and LaTeX commands, in lower case."""
    return _WORD.findall(text.casefold())


def _grams(text: Sequence[str], n: int) -> list[int]:
    return [_hash(text[i : i + n]) for i in range(len(text) - n + 1)]


def _hash(text: Sequence[str]) -> int:
    content = " ".join(text).encode("utf-8", "replace")
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")
