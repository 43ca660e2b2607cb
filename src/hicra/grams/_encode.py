"""From traces to a `Corpus`: hash, encode, sort by problem, drop repeats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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

BATCH = 1 << 22  # bytes of text encoded at a time
LONGEST_SHARD = 1 << 23  # words
_REMEMBERED = 1 << 16  # problems


class Hasher:
    """Says what makes a trace distinct: hashes of its problem and of its texts.

    Attributes:
        batch: what was taken and waits to be encoded; whoever takes it away puts a new one in its place.
        names: the groups that came up, with their numbers.
    """

    def __init__(self, group: Callable[[Trace], str | None]) -> None:
        self.batch = Batch()
        self.names: dict[str, int] = {}
        self._group = group
        self._problems: dict[str, bytes] = {}
        self._stated: set[bytes] = set()

    def take(self, trace: Trace) -> None:
        """Put a solution, and the statement of its problem unless it just was, into the batch."""
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
        group = self.names.setdefault(UNKNOWN if name is None else name, len(self.names))
        self.batch.add(solution, problem or _hash(b"alone " + digest), digest, SOLUTION, group, len(trace.solution))
        if problem:
            statement = trace.problem.encode("utf-8", "surrogatepass")
            digest = _hash(statement)
            if digest not in self._stated:  # the solutions to one problem mostly come together
                self._stated.add(digest)
                self.batch.add(statement, problem, digest, STATEMENT, 0, 0)


class Reader:
    """Fills a corpus: `encode` texts, then `sort` them. `read` does both for traces."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self._buckets = Buckets(corpus.shelf, corpus.memory // 8)

    def read(
        self, traces: Iterable[Trace], group: Callable[[Trace], str | None], progress: Progress | None = None
    ) -> None:
        """Take traces in: hash them here while numba encodes the batch before in another thread.

        Raises:
            DataError: there are none, or none of their solutions holds a word.
        """
        hasher = Hasher(group)
        given = 0
        waiting: list[Future[None]] = []
        with ThreadPoolExecutor(1) as thread:
            for trace in traces:
                given += 1
                hasher.take(trace)
                if hasher.batch.size > BATCH:
                    if len(waiting) > 1:
                        waiting.pop(0).result()
                    waiting.append(thread.submit(self.encode, hasher.batch.texts, hasher.batch.rows()))
                    hasher.batch = Batch()
                    if progress:
                        progress("read", given)
            for future in waiting:
                future.result()
        self.encode(hasher.batch.texts, hasher.batch.rows())
        if progress:
            progress("read", given)
        self.sort(list(hasher.names))
        if not self._corpus.n_solutions:
            raise nothing_to_count(given, self._corpus.skipped["empty"])

    def encode(self, texts: list[bytes], rows: Arrays) -> None:
        """Take in texts and what is known of them (see `Batch.rows`)."""
        if texts:
            words, flags, end = self._corpus.vocabulary.encode(texts, NEAR)
            self._buckets.add({**rows, "length": np.diff(end, prepend=0)}, {"words": words, "flags": flags})

    def sort(self, names: list[str]) -> None:
        """Put the texts into the corpus, in its order and without repeats; `names` are the groups that rows number."""
        corpus = self._corpus
        rank = np.argsort(np.argsort(np.array(names, object))).astype(np.int32)
        names = sorted(names)
        solutions_of = np.zeros(len(names), np.int64)
        duplicates = empty = n_texts = 0
        for buckets in self._buckets.finish(4 * corpus.workers, LONGEST_SHARD):
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
        """Number the groups that have solutions."""
        corpus = self._corpus
        keep = group_names(dict(zip(names, solutions.tolist(), strict=True)))
        number = {name: i for i, name in enumerate(keep)}
        corpus.groups = tuple(keep)
        corpus.group_of = np.array([number.get(name, number.get(OTHER, 0)) for name in names], np.int32)
        corpus.group_problems = np.zeros(len(keep), np.int64)
        for s in range(corpus.n_shards):
            shard = corpus.shard(s)
            pairs = shard.problem[shard.solution].astype(np.int64) * len(keep) + shard.group[shard.solution]
            corpus.group_problems += np.bincount(np.unique(pairs) % len(keep), minlength=len(keep))


class Batch:
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

    def rows(self) -> Arrays:
        """Halves of the hashes of problem and text, kind, number of the group's name, characters that count."""
        halves = np.frombuffer(b"".join(self._hashes), ">u8").astype(np.uint64).reshape(-1, 4)
        kind, group, characters = np.array(self._facts, np.int64).reshape(-1, 3).T
        return {
            **{name: halves[:, i].copy() for i, name in enumerate(("p0", "p1", "c0", "c1"))},
            "kind": kind.astype(np.uint8),
            "group": group.astype(np.int32),
            "characters": characters.copy(),
        }


def group_names(solutions: Mapping[str, int]) -> list[str]:
    """Names of the groups, sorted, given the solutions of each; the smallest go together where there are too many."""
    largest = sorted((name for name in solutions if solutions[name]), key=lambda name: (-solutions[name], name))
    if len(largest) > MOST_GROUPS:
        largest = [*{*largest[: MOST_GROUPS - 1], OTHER}]
    return sorted(largest)


def nothing_to_count(given: int, empty: int) -> DataError:
    """The error for a corpus without a word."""
    return DataError(
        "there is nothing to count",
        expected="solutions with words in them",
        got=f"{given:,} traces, {empty:,} of them without a word",
    )


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
