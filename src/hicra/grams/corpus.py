"""A corpus as word ids: each distinct solution once, the solutions to one problem side by side, on disk where large.

The text is read once. What is left of it, five bytes a word and a dictionary of the words, is all that counting needs.
Order is by the hashes of problem and solution, so neither the order in which traces came nor repeated lines leave a
mark on it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hicra.errors import ConfigError
from hicra.grams._spill import Shelf
from hicra.grams.text import ENGLISH, text_rules
from hicra.traces.schema import Trace

if TYPE_CHECKING:
    import numpy.typing as npt

    from hicra.grams.count import Counts

Groups = str | Callable[[Trace], str | None]
Progress = Callable[[str, int], None]

NEAR = 4
"""Maths is near a gram if at most `NEAR` - 1 words stand between them."""
MEMORY = 1 << 30
MOST_GROUPS = 64
SOLUTION, STATEMENT = 0, 1
"""Kinds of text."""
OTHER, UNKNOWN = "(other)", "(unknown)"


@dataclass(frozen=True)
class Shard:
    """Some problems of a corpus with all their solutions.

    Attributes:
        words: int32 (P,) ids of words, a 0 after each text.
        flags: uint8 (P,) of each word, see `hicra.grams._words`.
        end: int64 (D,) where each text ends, past its 0.
        problem: int32 (D,) number of its problem in the corpus.
        solution: bool (D,) whether the text is a solution; else it is the statement of a problem.
        group: int32 (D,) number of its group.
        first_text: number of the first text in the corpus.
    """

    words: npt.NDArray[np.int32]
    flags: npt.NDArray[np.uint8]
    end: npt.NDArray[np.int64]
    problem: npt.NDArray[np.int32]
    solution: npt.NDArray[np.bool_]
    group: npt.NDArray[np.int32]
    first_text: int


@dataclass(frozen=True)
class ClusterFrequency:
    """How often clusters of grams occur, any member standing for its cluster.

    Attributes:
        problems: int64 (C,) distinct problems with a solution that holds a member.
        solutions: int64 (C,) solutions that hold a member.
        occurrences: int64 (C,) occurrences of members; those that overlap count each.
        problems_by_group: int64 (C, S) distinct problems with a solution of that group that holds a member.
    """

    problems: npt.NDArray[np.int64]
    solutions: npt.NDArray[np.int64]
    occurrences: npt.NDArray[np.int64]
    problems_by_group: npt.NDArray[np.int64]


class Corpus:
    """Traces, encoded. A context manager: leaving it removes what was spilled.

    Attributes:
        groups: names of the groups, sorted; at most `MOST_GROUPS`, the last ones of more are ``"(other)"``.
        group_problems: int64 (S,) distinct problems with a solution of each group.
        n_solutions, n_problems, n_statements, n_characters: totals, as in `Counts`.
        skipped: ``duplicates`` and ``empty``, as in `Counts`.
        rules: name of the text rules.
        vocabulary: the words.
        first_text, first_problem: the numbers that the texts and problems of each shard start from.
        group_of: group of each name that the stored texts refer to.
    """

    def __init__(self, spill_dir: str | Path | None, workers: int | None, memory: int, rules: str = ENGLISH) -> None:
        from hicra.grams._vocabulary import Vocabulary

        self.workers = _workers(workers)
        if memory < 1 << 20:
            raise ConfigError("too little memory to count with", expected="memory >= 1 MiB, in bytes", got=str(memory))
        self.memory = memory
        self.shelf = Shelf(spill_dir, memory // 2)
        self.rules = rules
        self.vocabulary = Vocabulary(text_rules(name=rules))
        self.groups: tuple[str, ...] = ()
        self.group_problems = np.zeros(0, np.int64)
        self.n_solutions = self.n_problems = self.n_statements = self.n_characters = 0
        self.skipped: Mapping[str, int] = {"duplicates": 0, "empty": 0}
        self.first_text: list[int] = []
        self.first_problem: list[int] = []
        self.group_of = np.zeros(0, np.int32)

    @classmethod
    def encode(
        cls,
        traces: Iterable[Trace],
        *,
        groups: Groups = "source",
        spill_dir: str | Path | None = None,
        workers: int | None = None,
        memory: int = MEMORY,
        progress: Progress | None = None,
        rules: str = ENGLISH,
    ) -> Corpus:
        """Read traces, once.

        Args:
            traces: any number of them; whether they are correct is not looked at.
            groups: what parts the corpus for `Counts.problems_by_group`: ``"source"`` (the source up to its first
                colon), ``"style"``, or a function of a trace.
            spill_dir: where to make a scratch folder for what does not fit; the system's temporary folder if None.
            workers: threads; as many as the process may use cores if None.
            memory: bytes to work in, beside the dictionary of words and the counts themselves.
            progress: called with ``"read"`` and the number of solutions so far.
            rules: name of the text rules that cut words and breaks.

        Raises:
            DataError: there is no trace, or no solution with a word in it; the scratch folder cannot be written; no
                such rules.
            ConfigError: an unknown grouping, less than one worker, too little memory.
        """
        from hicra.grams._encode import Reader

        corpus = cls(spill_dir, workers, memory, rules)
        try:
            Reader(corpus).read(traces, grouping(groups), progress)
        except BaseException:
            corpus.close()
            raise
        return corpus

    def count(
        self,
        *,
        n_max: int = 6,
        min_problems: int | float | tuple[int, float] = (5, 0.002),
        progress: Progress | None = None,
    ) -> Counts:
        """Count the n-grams; see `hicra.grams.count.count_ngrams`."""
        from hicra.grams._count import count_corpus

        return count_corpus(self, n_max, min_problems, progress)

    def cluster_frequency(
        self, texts: Sequence[str], at: Sequence[str], cluster: npt.NDArray[np.integer[Any]]
    ) -> ClusterFrequency:
        """How often each cluster of grams occurs, by whatever member.

        Args:
            texts: K grams, normalised, no two of them the same.
            at: K positions, ``"any"``, ``"clause"`` or ``"sentence"``: where an occurrence must begin.
            cluster: (K,) their clusters 0 ... C - 1.

        Raises:
            DataError: lengths differ, an unknown position, a gram given twice.
        """
        from hicra.grams._clusters import cluster_frequency

        return cluster_frequency(self, texts, at, cluster)

    def __len__(self) -> int:
        return self.n_solutions

    @property
    def n_shards(self) -> int:
        return len(self.first_text)

    def shard(self, s: int) -> Shard:
        """One of the parts that the corpus is stored in; no problem is in two of them."""
        texts, places = self.shelf.get(f"texts-{s}"), self.shelf.get(f"places-{s}")
        return Shard(
            words=places["words"],
            flags=places["flags"],
            end=np.cumsum(texts["length"], dtype=np.int64),
            problem=texts["problem"] + np.int32(self.first_problem[s]),
            solution=texts["kind"] == SOLUTION,
            group=self.group_of[texts["group"]],
            first_text=self.first_text[s],
        )

    def close(self) -> None:
        """Remove what was spilled."""
        self.shelf.close()

    def __enter__(self) -> Corpus:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def grouping(groups: Groups) -> Callable[[Trace], str | None]:
    """The function that names a trace's group.

    Raises:
        ConfigError: no such grouping.
    """
    if callable(groups):
        return groups
    if groups == "source":
        return lambda trace: None if trace.source is None else trace.source.partition(":")[0]
    if groups == "style":
        return lambda trace: trace.style
    raise ConfigError("unknown grouping", expected='"source", "style" or a function of a trace', got=repr(groups))


def _workers(workers: int | None) -> int:
    if workers is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if workers < 1:
        raise ConfigError("no worker, no work", expected="workers >= 1, or None", got=repr(workers))
    return workers
