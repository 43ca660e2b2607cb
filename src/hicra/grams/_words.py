"""From bytes to words and what stands between them: the text rules, compiled by numba, in one pass over the text.

Imported on first use only: numba takes most of a second to load.
"""

from __future__ import annotations

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
_WORD = int(text_rules().table[START_STATE, ord("a")] & 0xFF)
_LOWER = np.array([c | 32 if 97 <= c | 32 <= 122 else 0 for c in range(128)] + [0] * 128, np.uint8)  # ASCII letters
_MARKS = np.array([0, ord("'"), ord("-"), 0], np.uint8)
HASH_FACTOR = np.uint64(0x100000001B3)
HASH_START = np.uint64(0xCBF29CE484222325)


@nb.njit(cache=True, nogil=True)
def _look_around(between, flags, lo, hi, near):  # type: ignore[no-untyped-def]
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
def split(data, offset, table, start, near, letters, last, hashes, flags, end):  # type: ignore[no-untyped-def]
    """Cut texts into words.

    Args:
        data: uint8, UTF-8 bytes of all texts; text t is ``data[offset[t]:offset[t + 1]]``.
        table, start: the text rules, and the state where a text begins.
        near: how many words away maths still is near.
        letters: uint8 as long as `data`, written: the symbols of all words.
        last: int64 (places,), written: where each word ends in `letters`. After each text comes an empty word.
        hashes: uint64 (places,), written: hash of each word.
        flags: uint8 (places,), written, of each word.
        end: int64 (texts,), written: where each text ends in `last`, past its empty word.

    Returns:
        The number of words, empty ones too.
    """
    between = np.zeros(len(last), np.uint8)
    filled = n = 0
    for t in range(len(offset) - 1):
        first = n
        state = np.int64(start)
        begin = filled  # of the word under way
        spoilt = False
        h = HASH_START
        gap = CLAUSE | SENTENCE | AFTER_BREAK | _STOP
        i, stop = offset[t], offset[t + 1]
        while i <= stop:
            if state == _WORD:  # the common case: on through the letters of a word
                while i < stop:
                    symbol = _LOWER[data[i]]
                    if symbol == 0:
                        break
                    letters[filled] = symbol
                    filled += 1
                    h = (h ^ np.uint64(symbol)) * HASH_FACTOR
                    i += 1
            at_end = i == stop
            b = np.uint8(10) if at_end else data[i]
            i += 1
            before = state
            packed = table[state, b]
            emitted = np.int64(BREAK) if at_end else np.int64((packed >> 8) & 0xFF)
            state = np.int64(packed & 0xFF)
            if emitted >= LETTER:
                if emitted & 3:
                    symbol = _MARKS[emitted & 3]
                    letters[filled] = symbol
                    filled += 1
                    h = (h ^ np.uint64(symbol)) * HASH_FACTOR
                symbol = np.uint8(packed >> 16)
                letters[filled] = symbol
                filled += 1
                h = (h ^ np.uint64(symbol)) * HASH_FACTOR
            elif emitted == JUNK:
                spoilt = True
            elif emitted >= SPACE and emitted <= BREAK:
                if spoilt:  # an identifier: no word, but maths
                    gap |= AFTER_BREAK | _MATHS | _BESIDE_NEXT | (0 if gap & _STOP else _BESIDE_LAST)
                    filled = begin
                    spoilt = False
                    h = HASH_START
                elif filled > begin:
                    last[n] = filled
                    hashes[n] = h
                    between[n] = gap
                    n += 1
                    gap = 0
                    begin = filled
                    h = HASH_START
                gap |= int(_OPENS[emitted])
                if emitted == BREAK:
                    gap |= AFTER_BREAK
                if emitted >= NEWLINE and _STOPS[b]:
                    gap = (gap | _STOP) & ~_BESIDE_NEXT
                elif emitted == BREAK and _SIGNS[b] and not _PUNCTUATION[before]:
                    gap |= _MATHS | _BESIDE_NEXT | (0 if gap & _STOP else _BESIDE_LAST)
        last[n] = filled
        between[n] = gap
        flags[n] = AFTER_BREAK
        _look_around(between, flags, first, n, near)
        n += 1
        end[t] = n
    return n
