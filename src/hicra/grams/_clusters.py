"""How often clusters of grams occur: a trie of the grams' words is walked from every place of the corpus."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

import numba as nb
import numpy as np

from hicra.errors import DataError
from hicra.grams._levels import index_keys, key_hash
from hicra.grams._words import AFTER_BREAK, OPENS_CLAUSE, OPENS_SENTENCE
from hicra.grams.corpus import ClusterFrequency, Shard
from hicra.grams.text import variants

if TYPE_CHECKING:
    import numpy.typing as npt

    from hicra.grams._vocabulary import Vocabulary


class Encoded(Protocol):
    """What this needs of a corpus."""

    workers: int

    @property
    def groups(self) -> Sequence[str]: ...
    @property
    def vocabulary(self) -> Vocabulary: ...
    @property
    def n_shards(self) -> int: ...
    def shard(self, s: int, /) -> Shard: ...


_NEED = {"any": 0, "clause": OPENS_CLAUSE, "sentence": OPENS_SENTENCE}


@nb.njit(cache=True, nogil=True)
def _walk(  # type: ignore[no-untyped-def]
    words, flags, end, problem, solution, group, first_text, first, slots, cluster, need, last, sums, seen, by_group
):
    """Add up the occurrences in one shard.

    Args:
        words ... first_text: of the shard.
        first: int32 (V + 1,) node of each word that begins a gram, 0 for none.
        slots: the other nodes by ``node before << 31 | word``, laid out as by `_levels.index_keys`.
        cluster: int32 (nodes + 1,) cluster of the gram that ends at a node, -1 for none; need: what must open there.
        last: int64 (C, 2) last text and problem of each cluster, + 1.
        sums: int64 (C, 3), added to: problems, solutions, occurrences.
        seen, by_group: as in `_levels.describe`.
    """
    capacity = np.uint64(len(slots))
    i = np.int64(0)
    for d in range(len(end)):
        text_mark, problem_mark = first_text + d + 1, problem[d] + 1
        bit = np.uint64(1) << np.uint64(group[d])
        if not solution[d]:
            i = end[d]
        while i < end[d]:
            node = np.int64(first[words[i]])
            j = i
            while node:
                c = cluster[node]
                if c >= 0 and (need[node] == 0 or need[node] & flags[i]):
                    sums[c, 2] += 1
                    if last[c, 0] != text_mark:
                        last[c, 0] = text_mark
                        sums[c, 1] += 1
                        if last[c, 1] != problem_mark:
                            last[c, 1] = problem_mark
                            sums[c, 0] += 1
                            seen[c] = 0
                        if not seen[c] & bit:
                            seen[c] |= bit
                            by_group[c, group[d]] += 1
                j += 1
                if words[j] == 0 or flags[j] & AFTER_BREAK:
                    break
                key = node << 31 | np.int64(words[j])
                slot = np.int64(((key_hash(key) & np.uint64(0xFFFFFFFF)) * capacity) >> np.uint64(32))
                while slots[slot, 0] != 0 and slots[slot, 0] != key:
                    slot = np.int64((slot + 1) % len(slots))
                node = np.int64(slots[slot, 1])
            i += 1


def cluster_frequency(corpus: Encoded, texts: Sequence[str], at: Sequence[str], cluster: Any) -> ClusterFrequency:
    """What `Corpus.cluster_frequency` promises."""
    cluster = np.asarray(cluster)
    if not len(texts) == len(at) == len(cluster):
        raise DataError(
            "grams, positions and clusters differ in number", got=f"{len(texts)}, {len(at)} and {len(cluster)}"
        )
    size = int(cluster.max(initial=-1)) + 1
    first, slots, cluster_at, need = _trie(corpus, texts, at, cluster)

    def visit(shards: range) -> tuple[Any, Any]:
        last, sums = np.zeros((size, 2), np.int64), np.zeros((size, 3), np.int64)
        seen, by_group = np.zeros(size, np.uint64), np.zeros((size, len(corpus.groups)), np.int64)
        for s in shards:
            shard = corpus.shard(s)
            _walk(
                shard.words, shard.flags, shard.end, shard.problem, shard.solution, shard.group, shard.first_text,
                first, slots, cluster_at, need, last, sums, seen, by_group,
            )  # fmt: skip
        return sums, by_group

    workers = corpus.workers
    with ThreadPoolExecutor(workers) as threads:
        parts = list(threads.map(visit, [range(w, corpus.n_shards, workers) for w in range(workers)]))
    problems, solutions, occurrences = sum(sums for sums, _ in parts).T
    return ClusterFrequency(problems, solutions, occurrences, sum(by_group for _, by_group in parts))


def _trie(
    corpus: Encoded, texts: Sequence[str], at: Sequence[str], cluster: npt.NDArray[np.integer[Any]]
) -> tuple[Any, Any, Any, Any]:
    """The arrays `first`, `slots`, `cluster`, `need` of `_walk`."""
    words: dict[str, int] = {}
    nodes: dict[int, int] = {}  # key -> node; a first word has the key of the node 0
    ends: dict[int, int] = {}
    for k, text in enumerate(texts):
        node = 0
        for word in text.split():
            if word not in words:
                words[word] = corpus.vocabulary.index(variants(word, lossy=False)[0])
            if not words[word]:
                break  # the corpus does not hold it, nor the gram
            node = nodes.setdefault(node << 31 | words[word], len(nodes) + 1)
        else:
            if at[k] not in _NEED:
                raise DataError(f"gram {text!r}: unknown position", expected=" | ".join(_NEED), got=repr(at[k]))
            if node in ends:
                raise DataError(f"the gram {text!r} is given twice")
            ends[node] = k
    first = np.zeros(len(corpus.vocabulary) + 1, np.int32)
    inner = []
    for key, node in nodes.items():
        if key >> 31:
            inner.append((key, node))
        else:
            first[key] = node
    slots = np.zeros((2 * len(inner) + 1, 2), np.int64)
    keys = np.array([key for key, _ in inner], np.int64)
    index_keys(keys, slots)
    filled = slots[:, 0] != 0
    slots[filled, 1] = np.array([node for _, node in inner], np.int64)[slots[filled, 1] - 1]
    cluster_at, need = np.full(len(nodes) + 1, -1, np.int32), np.zeros(len(nodes) + 1, np.uint8)
    for node, k in ends.items():
        cluster_at[node], need[node] = cluster[k], _NEED[at[k]]
    return first, slots, cluster_at, need
