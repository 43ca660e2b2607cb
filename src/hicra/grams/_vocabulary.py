"""A dictionary of words: symbols to ids, exact and in numba. Imported on first use only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba as nb
import numpy as np

from hicra.grams._words import HASH_FACTOR, HASH_START, split
from hicra.grams.text import TextRules, text_rules

if TYPE_CHECKING:
    import numpy.typing as npt

LONGEST = 64
"""Words of more symbols are all the same word, `TOO_LONG`: no gram holds it."""
TOO_LONG = 1


@nb.njit(cache=True, nogil=True)
def _slot(word, h, letters, begin, hashes, slots):  # type: ignore[no-untyped-def]
    """The slot of a word (uint8 symbols, and their hash): it holds the id, or 0 where the word is new."""
    mask = len(slots) - 1
    slot = np.int64((h ^ (h >> np.uint64(29))) & np.uint64(mask))
    while True:
        known = slots[slot]
        if known == 0:
            return slot
        if hashes[known] == h and begin[known + 1] - begin[known] == len(word):
            same = True
            for k in range(len(word)):
                same = same and letters[begin[known] + k] == word[k]
            if same:
                return slot
        slot = (slot + 1) & mask


@nb.njit(cache=True, nogil=True)
def _number(source, last, source_hashes, end, done, letters, begin, hashes, slots, known, ids):  # type: ignore[no-untyped-def]
    """Give words their ids, new ones the next free ones; stops where the dictionary is full.

    Args:
        source, last, source_hashes, end: what `split` wrote.
        done: words that have their ids already.
        letters, begin, hashes, slots: the dictionary; word w is ``letters[begin[w]:begin[w + 1]]``.
        known: its last id.
        ids: int32, written.

    Returns:
        Words that have their ids now, and the last id.
    """
    room = min(len(hashes) - 2, len(slots) // 2)
    text = np.searchsorted(end, done, "right")
    for i in range(done, len(last)):
        lo, hi = last[i - 1] if i else 0, last[i]
        if i + 1 == end[text]:
            ids[i] = 0
            text += 1
            continue
        if hi - lo > LONGEST:
            ids[i] = TOO_LONG
            continue
        word = source[lo:hi]
        slot = _slot(word, source_hashes[i], letters, begin, hashes, slots)
        if slots[slot] == 0:
            filled = begin[known + 1]
            if known >= room or filled + LONGEST > len(letters):
                return i, known
            known += 1
            slots[slot] = known
            hashes[known] = source_hashes[i]
            letters[filled : filled + len(word)] = word
            begin[known + 1] = filled + len(word)
        ids[i] = slots[slot]
    return len(last), known


@nb.njit(cache=True, nogil=True)
def _reorder(hashes, known, slots):  # type: ignore[no-untyped-def]
    """Fill empty slots with the words 2 ... known."""
    mask = len(slots) - 1
    for word in range(TOO_LONG + 1, known + 1):
        h = hashes[word]
        slot = np.int64((h ^ (h >> np.uint64(29))) & np.uint64(mask))
        while slots[slot]:
            slot = (slot + 1) & mask
        slots[slot] = word


class Vocabulary:
    """The words of a corpus, as text rules cut them. Ids follow the order in which the words came."""

    def __init__(self, rules: TextRules | None = None) -> None:
        self._rules = rules or text_rules()
        self._letters, self._begin = np.zeros(1 << 15, np.uint8), np.zeros(1 << 12, np.int64)
        self._hashes, self._slots = np.zeros(1 << 12, np.uint64), np.zeros(1 << 13, np.int32)
        self._known = TOO_LONG

    def __len__(self) -> int:
        return self._known

    def encode(self, texts: list[bytes], near: int) -> tuple[Any, Any, Any]:
        """Word ids (int32, a 0 after each text), their flags (uint8) and the end of each text in them (int64)."""
        offset = np.cumsum([0, *map(len, texts)], dtype=np.int64)
        data = np.frombuffer(b"".join(texts), np.uint8)
        room = len(data) // 2 + 2 * len(texts) + 2  # a word and what parts it from the next take two bytes at least
        letters, last = np.empty(len(data) + 1, np.uint8), np.empty(room, np.int64)
        hashes, flags = np.empty(room, np.uint64), np.empty(room, np.uint8)
        end = np.empty(len(texts), np.int64)
        table, start = self._rules.table, self._rules.start
        n = split(data, offset, table, start, near, letters, last, hashes, flags, end)
        return self._number(letters, last[:n], hashes, end), flags[:n].copy(), end

    def _number(self, letters: Any, last: Any, hashes: Any, end: Any) -> npt.NDArray[np.int32]:
        ids = np.empty(len(last), np.int32)
        done = 0
        while True:
            done, self._known = _number(
                letters, last, hashes, end, done,
                self._letters, self._begin, self._hashes, self._slots, self._known, ids,
            )  # fmt: skip
            if done == len(ids):
                return ids
            if self._begin[self._known + 1] + LONGEST > len(self._letters):
                self._letters = _doubled(self._letters)
            if self._known + 2 >= len(self._hashes):
                self._begin, self._hashes = _doubled(self._begin), _doubled(self._hashes)
                self._slots = np.zeros(2 * len(self._hashes), np.int32)
                _reorder(self._hashes, self._known, self._slots)

    def symbols(self, word: int) -> bytes:
        """What a word is made of, as the text rules emit it."""
        return bytes(self._letters[self._begin[word] : self._begin[word + 1]])

    def index(self, symbols: bytes) -> int:
        """The id of a word, 0 where the corpus does not hold it."""
        if not 0 < len(symbols) <= LONGEST:
            return 0
        h = int(HASH_START)
        for symbol in symbols:
            h = (h ^ symbol) * int(HASH_FACTOR) & 0xFFFFFFFFFFFFFFFF
        word = np.frombuffer(symbols, np.uint8)
        return int(self._slots[_slot(word, np.uint64(h), self._letters, self._begin, self._hashes, self._slots)])


def _doubled(array: Any) -> Any:
    larger = np.zeros(2 * len(array), array.dtype)
    larger[: len(array)] = array
    return larger
