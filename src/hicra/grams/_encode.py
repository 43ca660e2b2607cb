"""From traces to a `Corpus`: hash, encode, sort by problem, drop what repeats."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from hicra.errors import DataError
from hicra.grams._spill import Arrays, Buckets, gathered
from hicra.grams.corpus import MOST_GROUPS, NEAR, OTHER, SOLUTION, STATEMENT, UNKNOWN, Corpus, Progress
from hicra.traces.schema import Trace

if TYPE_CHECKING:
    import numpy.typing as npt

_BATCH = 1 << 22  # bytes of text encoded at a time
_LONGEST_SHARD = 1 << 23  # words
_REMEMBERED = 1 << 16  # problems


class Reader:
    """Fills a corpus. Traces are hashed in the caller's thread while numba encodes the batch before in another."""

    def __init__(self, corpus: Corpus, group: Callable[[Trace], str | None], progress: Progress | None) -> None:
        self._corpus, self._group, self._progress = corpus, group, progress
        self._buckets = Buckets(corpus.shelf, corpus.memory // 8)
        self._names: dict[str, int] = {}
        self._problems: dict[str, bytes] = {}
        self._stated: set[bytes] = set()
        self._batch = _Batch()

    def read(self, traces: Iterable[Trace]) -> None:
        """Take all traces in.

        Raises:
            DataError: there are none, or none of their solutions holds a word.
        """
        given = 0
        waiting: list[Future[None]] = []
        with ThreadPoolExecutor(1) as thread:
            for trace in traces:
                given += 1
                self._take(trace)
                if self._batch.size > _BATCH:
                    if len(waiting) > 1:
                        waiting.pop(0).result()
                    waiting.append(thread.submit(self._encode, self._batch))
                    self._batch = _Batch()
                    if self._progress:
                        self._progress("read", given)
            waiting.append(thread.submit(self._encode, self._batch))
            for future in waiting:
                future.result()
        if self._progress:
            self._progress("read", given)
        self._sort()
        if not self._corpus.n_solutions:
            raise DataError(
                "there is nothing to count",
                expected="solutions with words in them",
                got=f"{given} traces, {self._corpus.skipped['empty']} of them without a word",
            )

    def _take(self, trace: Trace) -> None:
        problem = self._problems.get(trace.problem)
        if problem is None:
            if len(self._problems) >= _REMEMBERED:
                self._problems.clear()
                self._stated.clear()
            normal = " ".join(trace.problem.lower().split())
            problem = self._problems[trace.problem] = _hash(normal.encode("utf-8", "surrogatepass")) if normal else b""
        solution = trace.solution.encode("utf-8", "surrogatepass")
        digest = _hash(solution)
        name = self._group(trace)
        group = self._names.setdefault(UNKNOWN if name is None else name, len(self._names))
        self._batch.add(solution, problem or _hash(b"alone " + digest), digest, SOLUTION, group, len(trace.solution))
        if problem:
            statement = trace.problem.encode("utf-8", "surrogatepass")
            digest = _hash(statement)
            if digest not in self._stated:  # the solutions to one problem mostly come together
                self._stated.add(digest)
                self._batch.add(statement, problem, digest, STATEMENT, 0, 0)

    def _encode(self, batch: _Batch) -> None:
        if batch.texts:
            words, flags, end = self._corpus.vocabulary.encode(batch.texts, NEAR)
            self._buckets.add(batch.rows(np.diff(end, prepend=0)), {"words": words, "flags": flags})

    def _sort(self) -> None:
        corpus = self._corpus
        names = sorted(self._names)
        rank = np.zeros(len(names), np.int32)
        rank[[self._names[name] for name in names]] = np.arange(len(names))
        solutions_of = np.zeros(len(names), np.int64)
        duplicates = empty = n_texts = 0
        for buckets in self._buckets.finish(4 * corpus.workers, _LONGEST_SHARD):
            rows, places = self._buckets.read(buckets)
            rows["group"] = rank[rows["group"]]
            order, repeated, without = _order(rows)
            duplicates += repeated
            empty += without
            if not len(order):
                continue
            places = gathered(places, rows["length"], order)
            rows = {name: column[order] for name, column in rows.items()}
            rows["problem"] = np.cumsum(_changes(rows, "p0", "p1"), dtype=np.int32) - np.int32(1)
            solution = rows["kind"] == SOLUTION
            s = corpus.n_shards
            corpus.shelf.put(f"texts-{s}", {k: rows[k] for k in ("length", "kind", "group", "problem")})
            corpus.shelf.put(f"places-{s}", places)
            corpus.first_text.append(n_texts)
            corpus.first_problem.append(corpus.n_problems)
            n_texts += len(order)
            corpus.n_solutions += int(solution.sum())
            corpus.n_problems += int(rows["problem"][-1]) + 1
            corpus.n_statements += len(np.unique(rows["problem"][~solution]))
            corpus.n_characters += int(rows["characters"].sum())
            solutions_of += np.bincount(rows["group"][solution], minlength=len(names))
        self._buckets.clear()
        corpus.skipped = {"duplicates": duplicates, "empty": empty}
        self._name_groups(names, solutions_of)

    def _name_groups(self, names: list[str], solutions: npt.NDArray[np.int64]) -> None:
        """Name the groups, those with the fewest solutions together where there are too many."""
        corpus = self._corpus
        keep = names
        if len(names) > MOST_GROUPS:
            largest = sorted(range(len(names)), key=lambda i: (-solutions[i], names[i]))[: MOST_GROUPS - 1]
            keep = sorted({names[i] for i in largest} | {OTHER})
        number = {name: i for i, name in enumerate(keep)}
        corpus.groups = tuple(keep)
        corpus.group_of = np.array([number.get(name, number.get(OTHER, 0)) for name in names], np.int32)
        corpus.group_problems = np.zeros(len(keep), np.int64)
        for s in range(corpus.n_shards):
            shard = corpus.shard(s)
            pairs = shard.problem[shard.solution].astype(np.int64) * len(keep) + shard.group[shard.solution]
            corpus.group_problems += np.bincount(np.unique(pairs) % len(keep), minlength=len(keep))


class _Batch:
    """Texts that wait to be encoded, and what is known of each."""

    def __init__(self) -> None:
        self.texts: list[bytes] = []
        self.size = 0
        self._hashes: list[bytes] = []
        self._facts: list[tuple[int, int, int]] = []

    def add(self, text: bytes, problem: bytes, digest: bytes, kind: int, group: int, characters: int) -> None:
        self.texts.append(text)
        self.size += len(text)
        self._hashes += (problem, digest)
        self._facts.append((kind, group, characters))

    def rows(self, length: npt.NDArray[np.int64]) -> Arrays:
        halves = np.frombuffer(b"".join(self._hashes), ">u8").astype(np.uint64).reshape(-1, 4)
        kind, group, characters = np.array(self._facts, np.int64).T
        return {
            **{name: halves[:, i].copy() for i, name in enumerate(("p0", "p1", "c0", "c1"))},
            "kind": kind.astype(np.uint8),
            "group": group.astype(np.int32),
            "characters": characters.copy(),
            "length": length,
        }


def _hash(data: bytes) -> bytes:
    return blake2b(data, digest_size=16).digest()


def _changes(rows: Arrays, *columns: str) -> npt.NDArray[np.bool_]:
    """Where a row differs from the one before it in any of the columns; True for the first."""
    changed = np.ones(len(rows["p0"]), np.bool_)
    changed[1:] = np.any([rows[name][1:] != rows[name][:-1] for name in columns], axis=0)
    return changed


def _order(rows: Arrays) -> tuple[npt.NDArray[np.intp], int, int]:
    """Indices of the texts that stay, by problem, solutions before statements, by hash; and how many solutions repeat
    or hold no word. Of a solution that came in two groups, the first of these by name has it."""
    order = np.lexsort([rows[name] for name in ("group", "c1", "c0", "kind", "p1", "p0")])
    rows = {name: column[order] for name, column in rows.items()}
    solution = rows["kind"] == SOLUTION
    fresh = _changes(rows, "p0", "p1", "kind", "c0", "c1")
    empty = fresh & solution & (rows["length"] == 1)
    stays = fresh & ~empty
    problem = np.cumsum(_changes(rows, "p0", "p1")) - 1
    solved = np.bincount(problem[stays & solution], minlength=problem[-1] + 1)
    return order[stays & (solved[problem] > 0)], int((solution & ~fresh).sum()), int(empty.sum())
