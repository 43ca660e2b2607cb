"""What the tasks of `ray_engine` do, in functions that know nothing of Ray. Imported on first use only.

A task that sends something to each of R parts of the corpus, or to each of R shards of a sum, returns R values and one
more for the driver.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from hicra.errors import DataError
from hicra.grams import _levels
from hicra.grams._clusters import cluster_frequency
from hicra.grams._count import LOAD, SAMPLED, SMALL
from hicra.grams._encode import BATCH, Hasher, Reader
from hicra.grams._vocabulary import Vocabulary
from hicra.grams.corpus import MEMORY, OTHER, Corpus, Groups, Shard, grouping
from hicra.grams.sources import Sources

if TYPE_CHECKING:
    import numpy.typing as npt

    Integers = npt.NDArray[np.int64]


@dataclass
class Part:
    """Some problems of a corpus with all their solutions, as the inner loops want them."""

    shards: list[Shard]
    vocabulary: Vocabulary
    names: list[str]
    groups: Sequence[str] = ()
    workers: int = 1

    @property
    def n_shards(self) -> int:
        return len(self.shards)

    def shard(self, s: int) -> Shard:
        """A shard with its groups numbered as in `groups`."""
        number = {name: i for i, name in enumerate(self.groups)}
        of = np.array([number.get(name, number.get(OTHER, 0)) for name in self.names], np.int32)
        return replace(self.shards[s], group=of[self.shards[s].group])


def scatter(
    file: str, columns: Mapping[str, str] | None, strict: bool, wrong: bool, groups: Groups, n: int
) -> tuple[Any, ...]:
    """Read a file: R times texts (Arrow), what is known of them (`Batch.rows`) and names of groups; tally and bytes."""
    import pyarrow as pa

    sources = Sources([file], columns=columns, strict=strict, wrong=wrong)
    hasher = Hasher(grouping(groups))
    try:
        for trace in sources:
            hasher.take(trace)
    except DataError:
        if sources.tally.used or not sources.tally.wrong:  # else every trace of this file is wrong, as may be
            raise
    rows, names = hasher.batch.rows(), list(hasher.names)
    texts = pa.array(hasher.batch.texts, pa.large_binary())
    part = rows["p0"] % np.uint64(n)
    pieces = []
    for i in range(n):
        here = np.flatnonzero(part == i)
        pieces.append((texts.take(pa.array(here)), {name: column[here] for name, column in rows.items()}, names))
    return *pieces, (sources.tally, texts.nbytes + sum(column.nbytes for column in rows.values()))


def gather(*pieces: Any) -> tuple[Part, dict[str, Any]]:
    """One part of the corpus from what was sent to it, and its totals."""
    names = sorted({name for *_, some in pieces for name in some})
    number = {name: i for i, name in enumerate(names)}
    with Corpus(None, 1, MEMORY) as corpus:
        reader = Reader(corpus)
        for texts, rows, some in pieces:
            of = np.array([number[name] for name in some], np.int32)
            rows = {**rows, "group": of[rows["group"]] if len(of) else rows["group"]}
            for lo, hi in _batches(texts):
                reader.encode(texts[lo:hi].to_pylist(), {name: column[lo:hi] for name, column in rows.items()})
        reader.sort(names)
        shards = [
            replace(corpus.shard(s), group=corpus.shelf.get(f"texts-{s}")["group"]) for s in range(corpus.n_shards)
        ]
        solutions: Counter[str] = Counter()
        for shard in shards:
            solutions.update({names[g]: int(n) for g, n in enumerate(np.bincount(shard.group[shard.solution]))})
        totals = {
            name: getattr(corpus, name)
            for name in ("n_solutions", "n_problems", "n_statements", "n_characters", "skipped")
        }
        return Part(shards, corpus.vocabulary, names), {**totals, "solutions": solutions}


def words(part: Part, groups: Sequence[str], n: int) -> tuple[Any, ...]:
    """R times words (symbols) and their problems; the part's words, problems by group, and bytes sent."""
    part = replace(part, groups=groups)
    size = len(part.vocabulary) + 1
    problems, last = np.zeros(size, np.int32), np.zeros(size, np.int32)
    total = 0
    by_group = np.zeros(len(groups), np.int64)
    for s in range(part.n_shards):
        shard = part.shard(s)
        total += _levels.count_words(shard.words, shard.end, shard.problem, shard.solution, problems, last)
        pairs = shard.problem[shard.solution].astype(np.int64) * len(groups) + shard.group[shard.solution]
        by_group += np.bincount(np.unique(pairs) % len(groups), minlength=len(groups))
    tables: list[dict[bytes, int]] = [{} for _ in range(n)]
    sent = 0
    for word in np.flatnonzero(problems).tolist():
        symbols = part.vocabulary.symbols(word)
        if symbols:  # words that are too long have none
            tables[crc32(symbols) % n][symbols] = int(problems[word])
            sent += len(symbols) + 8
    return *tables, {"words": total, "group_problems": by_group, "bytes": sent}


def sum_words(minimum: int, *tables: dict[bytes, int]) -> list[bytes]:
    """The words of one shard that are in enough problems."""
    problems: Counter[bytes] = Counter()
    for table in tables:
        problems.update(table)
    return [word for word, count in problems.items() if count >= minimum]


def count_part(part: Part, symbols: list[bytes], sent: tuple[list[Integers], Sequence[str]], n: int) -> tuple[Any, ...]:
    """R times the sums of one part, for `sum_level`; and bytes sent.

    Args:
        symbols: the kept words.
        sent: keys of the kept 2-grams, 3-grams, ..., n-grams; names of the groups.
    """
    keys, groups = sent
    part = replace(part, groups=groups)
    kept = np.zeros(len(part.vocabulary) + 1, np.int32)
    for i, spelled in enumerate(symbols, start=1):
        kept[part.vocabulary.index(spelled)] = i
    kept[0] = 0  # of the words that are not here
    size = len(keys[-1]) if keys else len(symbols)
    length = len(keys) + 1
    slots = []
    for level in keys:
        slots.append(np.zeros((2 * len(level) + 1, 2), np.int64))
        _levels.index_keys(level, slots[-1])
    known, seen = np.zeros((size + 1, _levels.WIDTH), np.int32), np.zeros(size + 1, np.uint64)
    by_group = np.zeros((size + 1, len(groups)), np.int32)
    placed = []
    for s in range(part.n_shards):
        shard = part.shard(s)
        word = kept[shard.words]
        gram = word.copy()
        for k, table in enumerate(slots, start=1):
            _levels.extend(gram, shard.flags, k, table)
        placed.append((gram, word, shard))
        _levels.describe(
            gram, shard.flags, shard.end, shard.problem, shard.solution, shard.group,
            length, shard.first_text, known, seen, by_group,
        )  # fmt: skip
    table = _tally(placed, length)
    table = table[table[:, _levels.KEY] != 0]
    to = (table[:, _levels.KEY].view(np.uint64) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(33)) % np.uint64(n)
    ids = np.flatnonzero(known[:, : _levels.LAST_TEXT].any(axis=1))
    pieces = []
    for r in range(n):
        rows, some = table[to == r], ids[ids % n == r]
        pieces.append(
            {
                "keys": rows[:, _levels.KEY].copy(),
                "seen": rows[:, _levels.SEEN].copy(),
                "problems": rows[:, _levels.IN] >> 32,
                "ids": some,
                "sums": known[some, : _levels.LAST_TEXT].astype(np.int64),
                "by_group": by_group[some].astype(np.int64),
            }
        )
    return *pieces, sum(column.nbytes for piece in pieces for column in piece.values())


def sum_level(minimum: int, *pieces: dict[str, Integers]) -> dict[str, Any]:
    """Add up what the parts sent to one shard: sums of n-grams, tops of their extensions, keys of those to keep."""
    joined = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    keys, at = np.unique(joined["keys"], return_inverse=True)
    seen, problems = (np.bincount(at, joined[name], len(keys)).astype(np.int64) for name in ("seen", "problems"))
    kind, left, right = keys >> 62 & 3, keys >> 31 & _levels.ID, keys & _levels.ID
    tops = []
    for side, other in ((right, _levels.LEFT_ONLY), (left, _levels.RIGHT_ONLY)):  # left tops, right tops
        whole = kind != other
        ids, where = np.unique(side[whole], return_inverse=True)
        most = np.zeros(len(ids), np.int64)
        np.maximum.at(most, where, seen[whole])
        tops.append((ids, most))
    ids, where = np.unique(joined["ids"], return_inverse=True)
    sums, by_group = (np.zeros((len(ids), joined[name].shape[1]), np.int64) for name in ("sums", "by_group"))
    np.add.at(sums, where, joined["sums"])
    np.add.at(by_group, where, joined["by_group"])
    kept = keys[(kind == _levels.BOTH) & (problems >= minimum)]
    return {"ids": ids, "sums": sums, "by_group": by_group, "tops": tops, "kept": kept}


def frequency(part: Part, sent: tuple[Any, ...]) -> tuple[Any, ...]:
    """Columns of the part's `ClusterFrequency`."""
    texts, at, cluster, groups = sent
    found = cluster_frequency(replace(part, groups=groups), texts, at, cluster)
    return found.problems, found.solutions, found.occurrences, found.problems_by_group


class Model:
    """A model on some node."""

    def __init__(self, name: str, dtype: Any) -> None:
        from hicra.grams.embed import load_model

        self._model = load_model(name, dtype=dtype)

    def vectors(self, texts: list[str]) -> Any:
        """As of `EmbeddingModel`."""
        return self._model.vectors(texts)


def _tally(placed: list[tuple[Any, Any, Shard]], n: int) -> Integers:
    """A table of the (n + 1)-grams with a kept half; a sample of the keys says how large it has to be."""

    def fill(parts: int, capacity: int) -> tuple[Integers, int]:
        table, used = np.zeros((capacity + 64, 3), np.int64), 0
        for gram, word, shard in placed:
            if used >= 0:
                used = _levels.tally(
                    gram, word, shard.flags, shard.end, shard.problem, shard.solution, n, 0, parts, table, used
                )
        return table, used

    bound = 2 * sum(int(np.count_nonzero(gram)) for gram, *_ in placed)
    distinct = bound
    if bound > SMALL:
        _, used = fill(SAMPLED, int(bound / SAMPLED / LOAD * 1.2))
        distinct = min(bound, int(1.1 * SAMPLED * used)) if used > 0 else bound
    while True:
        table, used = fill(1, int(distinct / LOAD))
        if used >= 0:
            return table
        distinct *= 2


def _batches(texts: Any) -> list[tuple[int, int]]:
    """Ranges of texts of about `BATCH` bytes."""
    import pyarrow.compute as pc

    at = np.cumsum(pc.binary_length(texts).to_numpy(zero_copy_only=False)) // BATCH if len(texts) else np.zeros(0)
    bounds = [0, *(np.flatnonzero(np.diff(at)) + 1).tolist(), len(texts)]
    return list(pairwise(bounds))
