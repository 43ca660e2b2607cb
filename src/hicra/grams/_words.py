"""From bytes to word ids: the text rules and a dictionary of words, compiled by numba, in one pass over the text.

Imported on first use only: numba takes most of a second to load.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from hicra.grams.text import (
    _CONTEXTS,
    _ID,
    BREAK,
    CLAUSE,
    JUNK,
    LETTER,
    NEWLINE,
    OPENS,
    SENTENCE,
    SPACE,
    START_STATE,
    text_rules,
)

LONGEST = 64
"""Words of more symbols are all the same word, `TOO_LONG`: no gram holds it."""
TOO_LONG = 1

# --- flags of a word in its text
OPENS_CLAUSE, OPENS_SENTENCE = CLAUSE, SENTENCE  # 1, 2
AFTER_BREAK = 4  # no gram reaches from the word before to this one
MATHS_LEFT, NEAR_LEFT = 8, 16  # maths directly before the word, or within `near` words, in its sentence
MATHS_RIGHT, NEAR_RIGHT = 32, 64  # the same after it
NEAR_AFTER = 128  # maths within `near` words after it, whatever sentences end in between

# --- what stands between two words
_STOP, _BESIDE_NEXT, _BESIDE_LAST, _MATHS = 8, 16, 32, 64  # beside CLAUSE, SENTENCE, AFTER_BREAK

_OPENS = np.array(OPENS, np.uint8)
_STOPS = np.isin(np.arange(256), list(b".!?:;\n"))
_SIGNS = np.isin(np.arange(256), list(b"0123456789$\\+=^%")) | (np.arange(256) >= 0x80)
_PUNCTUATION = np.zeros(256, np.bool_)  # states in the middle of a bullet, an ellipsis, ...: signs, but not of maths
_PUNCTUATION[[_ID[context, "E280"] for context in _CONTEXTS]] = True
_FNV = np.uint64(0x100000001B3)
_FNV_START = np.uint64(0xCBF29CE484222325)


@nb.njit(cache=True, nogil=True)
def _find(symbols, length, h, spelled, begin, hashes, slots):  # type: ignore[no-untyped-def]
    """The slot of a word: it holds the word's id, or 0 where the dictionary has no such word."""
    mask = len(slots) - 1
    slot = np.int64((h ^ (h >> np.uint64(29))) & np.uint64(mask))
    while True:
        word = slots[slot]
        if word == 0:
            return slot
        if hashes[word] == h and begin[word + 1] - begin[word] == length:
            same = True
            for k in range(length):
                if spelled[begin[word] + k] != symbols[k]:
                    same = False
                    break
            if same:
                return slot
        slot = (slot + 1) & mask


@nb.njit(cache=True, nogil=True)
def _grown(array, size):  # type: ignore[no-untyped-def]
    larger = np.zeros(size, array.dtype)
    larger[: len(array)] = array
    return larger


@nb.njit(cache=True, nogil=True)
def _look_around(between, words, flags, lo, hi, near):  # type: ignore[no-untyped-def]
    """Set the flags of the words lo ... hi - 1 of one text from what stands before each of them and before its end."""
    far = 1 << 40
    distance = far
    for i in range(lo, hi):
        gap = between[i]
        if gap & _STOP:
            distance = far
        if gap & _BESIDE_NEXT:
            distance = 0
        flag = gap & (CLAUSE | SENTENCE | AFTER_BREAK)
        if distance < near:
            flag |= NEAR_LEFT | (MATHS_LEFT if distance == 0 else 0)
        flags[i] = flag
        distance += 1
    distance = anywhere = far
    for i in range(hi - 1, lo - 1, -1):
        gap = between[i + 1]
        distance = 0 if gap & _BESIDE_LAST else far if gap & _STOP else distance + 1
        anywhere = 0 if gap & _MATHS else anywhere + 1
        if distance < near:
            flags[i] |= NEAR_RIGHT | (MATHS_RIGHT if distance == 0 else 0)
        if anywhere < near:
            flags[i] |= NEAR_AFTER


@nb.njit(cache=True, nogil=True)
def encode(data, offset, table, near, spelled, begin, hashes, slots, known, words, flags, end):  # type: ignore[no-untyped-def]
    """Read texts.

    Args:
        data: uint8, UTF-8 bytes of all texts; text t is ``data[offset[t]:offset[t + 1]]``.
        table: the text rules.
        near: how many words away maths still is near.
        spelled, begin, hashes, slots, known: the dictionary; word w is ``spelled[begin[w]:begin[w + 1]]``, known words
            have the ids TOO_LONG + 1 ... `known`.
        words: int32, written: ids of the words, a 0 after each text. As long as `data` and the number of texts
            together is long enough.
        flags: uint8, written, of each word.
        end: int64 (texts,), written: where each text ends in `words`, past its 0.

    Returns:
        The dictionary, and the length of `words`.
    """
    symbols = np.zeros(LONGEST, np.uint8)
    between = np.zeros(len(words) + 1, np.uint8)
    filled = begin[known + 1]
    n = 0
    for t in range(len(offset) - 1):
        first = n
        state = START_STATE
        length = 0  # of the word under way; LONGEST + 1 where it is none
        spoilt = False
        h = _FNV_START
        gap = np.uint8(CLAUSE | SENTENCE | AFTER_BREAK | _STOP)
        for i in range(offset[t], offset[t + 1] + 1):
            at_end = i == offset[t + 1]
            b = np.uint8(10) if at_end else data[i]
            before = state
            packed = table[state, b]
            emitted = np.int64(BREAK) if at_end else np.int64((packed >> 8) & 0xFF)
            state = packed & 0xFF
            if emitted >= LETTER:
                for held in range(2):
                    symbol = np.uint8(packed >> 16)
                    if held == 0:
                        if not emitted & 3:
                            continue
                        symbol = np.uint8(39 if emitted & 3 == 1 else 45)
                    if length < LONGEST:
                        symbols[length] = symbol
                        length += 1
                        h = (h ^ np.uint64(symbol)) * _FNV
                    else:
                        length = LONGEST + 1
            elif emitted == JUNK:
                spoilt = True
            elif emitted >= SPACE and emitted <= BREAK:
                if spoilt:
                    gap |= np.uint8(AFTER_BREAK | _MATHS | _BESIDE_NEXT | (0 if gap & _STOP else _BESIDE_LAST))
                elif length:
                    slot = np.int64(0)
                    word = np.int64(TOO_LONG)
                    if length <= LONGEST:
                        slot = _find(symbols, length, h, spelled, begin, hashes, slots)
                        word = np.int64(slots[slot])
                    if word == 0:
                        known += 1
                        word = known
                        if filled + LONGEST > len(spelled):
                            spelled = _grown(spelled, 2 * len(spelled))
                        if known + 2 >= len(begin):
                            begin = _grown(begin, 2 * len(begin))
                            hashes = _grown(hashes, 2 * len(hashes))
                        spelled[filled : filled + length] = symbols[:length]
                        filled += length
                        begin[word + 1] = filled
                        hashes[word] = h
                        slots[slot] = word
                        if 2 * known > len(slots):
                            slots = np.zeros(2 * len(slots), np.int32)
                            mask = np.uint64(len(slots) - 1)
                            for w in range(TOO_LONG + 1, known + 1):
                                s = np.int64((hashes[w] ^ (hashes[w] >> np.uint64(29))) & mask)
                                while slots[s]:
                                    s = (s + 1) & (len(slots) - 1)
                                slots[s] = w
                    words[n] = word
                    between[n] = gap
                    n += 1
                    gap = np.uint8(0)
                if length or spoilt:
                    length = 0
                    spoilt = False
                    h = _FNV_START
                gap |= _OPENS[emitted]
                if emitted == BREAK:
                    gap |= np.uint8(AFTER_BREAK)
                if _STOPS[b] and emitted >= NEWLINE:
                    gap = (gap | np.uint8(_STOP)) & np.uint8(~_BESIDE_NEXT & 0xFF)
                elif emitted == BREAK and _SIGNS[b] and not _PUNCTUATION[before]:
                    gap |= np.uint8(_MATHS | _BESIDE_NEXT | (0 if gap & _STOP else _BESIDE_LAST))
        words[n] = 0
        between[n] = gap
        flags[n] = AFTER_BREAK
        _look_around(between, words, flags, first, n, near)
        n += 1
        end[t] = n
    return spelled, begin, hashes, slots, known, n


class Vocabulary:
    """The words of a corpus. Ids follow the order in which the words came."""

    def __init__(self) -> None:
        self._dictionary: tuple[Any, ...] = (
            np.zeros(1 << 16, np.uint8),
            np.zeros(1 << 12, np.int64),
            np.zeros(1 << 12, np.uint64),
            np.zeros(1 << 12, np.int32),
            TOO_LONG,
        )

    def __len__(self) -> int:
        return int(self._dictionary[4])

    def encode(self, texts: list[bytes], near: int) -> tuple[Any, Any, Any]:
        """Word ids (int32, a 0 after each text), their flags (uint8) and the end of each text in them (int64)."""
        offset = np.cumsum([0, *map(len, texts)], dtype=np.int64)
        room = int(offset[-1]) // 2 + 2 * len(texts) + 2  # a word and what parts it take two bytes at least
        words, flags = np.empty(room, np.int32), np.empty(room, np.uint8)
        end = np.empty(len(texts), np.int64)
        data = np.frombuffer(b"".join(texts), np.uint8)
        *dictionary, n = encode(data, offset, text_rules().table, near, *self._dictionary, words, flags, end)
        self._dictionary = tuple(dictionary)
        return words[:n].copy(), flags[:n].copy(), end

    def symbols(self, word: int) -> bytes:
        """What a word is made of, as the text rules emit it."""
        spelled, begin = self._dictionary[:2]
        return bytes(spelled[begin[word] : begin[word + 1]])

    def index(self, symbols: bytes) -> int:
        """The id of a word, 0 where the corpus does not hold it."""
        if not 0 < len(symbols) <= LONGEST:
            return 0
        h = int(_FNV_START)
        for symbol in symbols:
            h = (h ^ symbol) * int(_FNV) & 0xFFFFFFFFFFFFFFFF
        slots = self._dictionary[3]
        return int(slots[_find(np.frombuffer(symbols, np.uint8), len(symbols), np.uint64(h), *self._dictionary[:4])])
