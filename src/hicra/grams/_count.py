"""Counting level by level: which n-grams of a `Corpus` occur in enough problems, and what is known of each.

Level n knows the place and the id of every kept n-gram. A *tally* of the (n + 1)-grams with a kept half gives both the
kept ones among them and, as extensions by one word, the most frequent neighbours of the n-grams. A key is a pair of
ids, so nothing is left to the luck of a hash function. The key space is cut into as many parts as there are threads,
and into more where a table of all keys would not fit: each part is counted alone and nothing has to be merged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hicra.grams import _levels
from hicra.grams._vocabulary import TOO_LONG
from hicra.grams.corpus import Corpus, Progress, Shard
from hicra.grams.count import Counts, check_settings, least
from hicra.grams.text import VERSIONS, spelling, variants

if TYPE_CHECKING:
    import numpy.typing as npt

    Integers = npt.NDArray[np.int64]
    Keys = npt.NDArray[np.int64]

_ENTRY = 24  # bytes of a table's entry
LOAD = 0.65
SAMPLED = 64  # parts of the key space of which one is counted to learn how many keys there are
SMALL = 1 << 20  # keys; fewer need no estimate
_SUMS = _levels.LAST_TEXT  # the columns before it are sums, the others marks
_FULL = 1 << 30  # places; an int32 sum is safe for so many


class Totals(Protocol):
    """What `Counts` takes over from a corpus."""

    rules: str
    groups: tuple[str, ...]
    group_problems: Integers
    n_solutions: int
    n_problems: int
    n_statements: int
    n_characters: int
    skipped: Mapping[str, int]


@dataclass
class Level:
    """The kept n-grams, K of them."""

    n: int
    text: list[str]
    sums: Integers
    by_group: Integers
    left_top: Integers
    right_top: Integers


def count_corpus(
    corpus: Corpus, n_max: int, min_problems: int | float | tuple[int, float], progress: Progress | None
) -> Counts:
    """What `Corpus.count` promises."""
    check_settings(n_max, min_problems)
    minimum = least(min_problems, corpus.n_problems)
    with ThreadPoolExecutor(corpus.workers) as threads:
        counter = _Counter(corpus, n_max, minimum, threads)
        levels = []
        for level in counter.levels():
            levels.append(level)
            if progress:
                progress("count", level.n)
        counter.clear()
    return counts_of(corpus, levels, n_max, minimum, counter.n_words)


class _Counter:
    def __init__(self, corpus: Corpus, n_max: int, minimum: int, threads: ThreadPoolExecutor) -> None:
        self.n_words = 0
        self._corpus, self._n_max, self._minimum, self._threads = corpus, n_max, minimum, threads
        self._tables = corpus.memory // 2
        self._kept = np.zeros(0, np.int32)  # id of each word of the vocabulary among the kept ones

    def levels(self) -> Iterator[Level]:
        """Count; yields what is known of the 1-grams, the 2-grams, ..."""
        words = text = self._keep_words()
        last_word = np.arange(len(words) + 1)
        keys: Keys | None = None
        for n in range(1, self._n_max + 1):
            size = len(text)
            alive, sums, by_group = self._describe(n, size, keys)
            keys, left_top, right_top = self._tally(n, size, alive)
            yield Level(n, text, sums[1:], by_group[1:], left_top[1:], right_top[1:])
            if not len(keys):
                break
            text, last_word = extended(text, words, keys, last_word)

    def clear(self) -> None:
        """Forget where the n-grams are."""
        for s in range(self._corpus.n_shards):
            self._corpus.shelf.delete(f"grams-{s}")

    def _keep_words(self) -> list[str]:
        """Find the words in enough problems; returns them by id - 1."""
        size = len(self._corpus.vocabulary) + 1

        def count(shards: range) -> tuple[Any, int]:
            problems, last = np.zeros(size, np.int32), np.zeros(size, np.int32)
            total = 0
            for s in shards:
                shard = self._corpus.shard(s)
                total += _levels.count_words(shard.words, shard.end, shard.problem, shard.solution, problems, last)
            return problems, total

        parts = self._each(count)
        self.n_words = sum(total for _, total in parts)
        self._kept = np.zeros(size, np.int32)
        words = []
        for word in np.flatnonzero(sum(problems for problems, _ in parts) >= self._minimum).tolist():
            symbols = self._corpus.vocabulary.symbols(word)
            text = spelling(symbols)
            if word > TOO_LONG and variants(text, lossy=False) == [symbols]:  # not so with broken UTF-8
                words.append(text)
                self._kept[word] = len(words)
        return words

    def _describe(self, n: int, size: int, keys: Keys | None) -> tuple[int, Integers, Integers]:
        """Place the n-grams, given their keys by the (n - 1)-grams, and add up what their places tell.

        Returns:
            Places that hold one; sums (size + 1, _SUMS); problems by group (size + 1, S).
        """
        slots = None
        if keys is not None:
            slots = np.zeros((2 * len(keys) + 1, 2), np.int64)
            _levels.index_keys(keys, slots)

        def visit(shards: range) -> tuple[int, Integers, Integers]:
            known = np.zeros((size + 1, _levels.WIDTH), np.int32)
            seen = np.zeros(size + 1, np.uint64)
            by_group = np.zeros((size + 1, len(self._corpus.groups)), np.int32)
            sums = np.zeros((size + 1, _SUMS), np.int64)
            alive = places = 0
            for s in shards:
                shard = self._corpus.shard(s)
                if slots is None:
                    gram = self._words(shard)
                    alive += int(np.count_nonzero(gram))
                else:
                    gram = self._grams(s, shard, n - 1).copy()
                    alive += _levels.extend(gram, shard.flags, n - 1, slots)
                    self._corpus.shelf.put(f"grams-{s}", {"gram": gram})
                if places + len(gram) > _FULL:
                    sums += known[:, :_SUMS]
                    known[:, :_SUMS] = 0
                    places = 0
                places += len(gram)
                _levels.describe(
                    gram, shard.flags, shard.end, shard.problem, shard.solution, shard.group,
                    n, shard.first_text, known, seen, by_group,
                )  # fmt: skip
            return alive, sums + known[:, :_SUMS], by_group.astype(np.int64)

        parts = self._each(visit)
        return sum(p[0] for p in parts), sum(p[1] for p in parts), sum(p[2] for p in parts)

    def _tally(self, n: int, size: int, alive: int) -> tuple[Keys, Integers, Integers]:
        """Count the (n + 1)-grams with a kept half.

        Returns:
            Keys of the kept ones, sorted (none at the longest n); occurrences of the most frequent left and right
            extension of each n-gram, (size + 1,) each.
        """
        distinct = self._estimate(n, 2 * alive)
        while True:
            room = int(distinct * _ENTRY / LOAD)
            rounds = max(1, -(-room // self._tables))
            parts = rounds * self._corpus.workers
            capacity = int(distinct / parts / LOAD) + 1024
            kept: list[Keys] = []
            tops = np.zeros((2, size + 1), np.int64)
            for first in range(0, parts, self._corpus.workers):
                tables = self._fill(n, range(first, first + self._corpus.workers), parts, capacity)
                if tables is None:
                    break
                for keys, top in self._threads.map(lambda table: self._harvest(table, n, size), tables):
                    kept.append(keys)
                    np.maximum(tops, top, out=tops)
            else:
                return np.sort(np.concatenate(kept)), tops[0], tops[1]
            distinct *= 2  # the sample misled

    def _estimate(self, n: int, bound: int) -> int:
        """About how many keys there are, at most `bound`."""
        if bound <= SMALL:
            return bound
        tables = self._fill(n, range(1), SAMPLED, int(bound / SAMPLED / LOAD * 1.2))
        return bound if tables is None else min(bound, int(1.1 * SAMPLED * np.count_nonzero(tables[0][:, _levels.KEY])))

    def _fill(self, n: int, numbers: range, parts: int, capacity: int) -> list[Integers] | None:
        """Tables of some parts of the key space, or None where one is too small."""
        tables = [np.zeros((capacity, 3), np.int64) for _ in numbers]
        used = [0] * len(tables)

        def fill(i: int, gram: Any, word: Any, shard: Shard) -> None:
            used[i] = _levels.tally(
                gram, word, shard.flags, shard.end, shard.problem, shard.solution,
                n, numbers[i], parts, tables[i], used[i],
            )  # fmt: skip

        for loaded in self._ahead(n):
            list(self._threads.map(fill, range(len(tables)), *([part] * len(tables) for part in loaded)))
            if min(used) < 0:
                return None
        return tables

    def _harvest(self, table: Integers, n: int, size: int) -> tuple[Keys, Integers]:
        tops = np.zeros((2, size + 1), np.int64)
        keys = np.zeros(1 << 16 if n < self._n_max else 0, np.int64)
        found = _levels.harvest(table, self._minimum, tops[0], tops[1], keys)
        if found > len(keys) and n < self._n_max:
            keys = np.zeros(found, np.int64)
            _levels.harvest(table, self._minimum, tops[0], tops[1], keys)
        return keys[:found], tops

    def _words(self, shard: Shard) -> npt.NDArray[np.int32]:
        word = self._kept[shard.words]
        word.flags.writeable = False
        return word

    def _grams(self, s: int, shard: Shard, n: int) -> npt.NDArray[np.int32]:
        if n == 1:
            return self._words(shard)
        gram: npt.NDArray[np.int32] = self._corpus.shelf.get(f"grams-{s}")["gram"]
        return gram

    def _ahead(self, n: int) -> Iterator[tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], Shard]]:
        """Ids of n-grams and of words of each shard; the next one is read while this one is looked at."""

        def load(s: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], Shard]:
            shard = self._corpus.shard(s)
            word = self._words(shard)
            return word if n == 1 else self._grams(s, shard, n), word, shard

        with ThreadPoolExecutor(1) as reader:
            following = reader.submit(load, 0)
            for s in range(self._corpus.n_shards):
                loaded = following.result()
                if s + 1 < self._corpus.n_shards:
                    following = reader.submit(load, s + 1)
                yield loaded

    def _each(self, work: Callable[[range], Any]) -> list[Any]:
        """Let each worker do its share of the shards."""
        shards, workers = self._corpus.n_shards, self._corpus.workers
        return list(self._threads.map(work, [range(w, shards, workers) for w in range(min(workers, shards))]))


def extended(text: list[str], words: list[str], keys: Keys, last_word: Integers) -> tuple[list[str], Integers]:
    """Texts of the (n + 1)-grams with these keys, and their last words, given those of the n-grams (at 0: none)."""
    left, last = keys >> 31, last_word[keys & _levels.ID]
    longer = [f"{text[a - 1]} {words[b - 1]}" for a, b in zip(left.tolist(), last.tolist(), strict=True)]
    return longer, np.concatenate([[0], last])


def counts_of(corpus: Totals, levels: list[Level], n_max: int, minimum: int, n_words: int) -> Counts:
    """The table of what was counted."""
    text = np.array([text for level in levels for text in level.text], object)
    order = np.argsort(text)
    sums = np.concatenate([level.sums for level in levels])[order].copy("F")  # columns in one piece each
    n = np.concatenate([np.full(len(level.text), level.n, np.int64) for level in levels])
    return Counts(
        text=text[order],
        n=n[order],
        tf=sums[:, _levels.TF],
        df=sums[:, _levels.DF],
        problems=sums[:, _levels.PROBLEMS],
        clause=sums[:, _levels.CLAUSE],
        sentence=sums[:, _levels.SENTENCE],
        statements=sums[:, _levels.STATEMENTS],
        maths_adjacent=sums[:, _levels.ADJACENT],
        maths_near=sums[:, _levels.NEAR],
        maths_after=sums[:, _levels.AFTER],
        left_top=np.concatenate([level.left_top for level in levels])[order],
        right_top=np.concatenate([level.right_top for level in levels])[order],
        problems_by_group=np.concatenate([level.by_group for level in levels])[order],
        groups=corpus.groups,
        group_problems=corpus.group_problems.copy(),
        n_solutions=corpus.n_solutions,
        n_problems=corpus.n_problems,
        n_statements=corpus.n_statements,
        n_words=n_words,
        n_characters=corpus.n_characters,
        n_max=n_max,
        min_problems=minimum,
        skipped=dict(corpus.skipped),
        text_version=VERSIONS[corpus.rules],
        rules=corpus.rules,
    )
