"""What the tagger looks at around a word: keys of features, 64 bits each, computed the same way in training and use.

A feature is a template and what fills it: the words around (offsets -4 .. 4), their classes (two partitions of the
vocabulary by the contexts that words occur in: a coarse and a fine one), n-grams of both, what lies in the gaps, and
how far the clause's start and end are and what stands there. A model is a weight for each key that it knows.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from hicra.labels._tagger_words import (
    ASK,
    BLANK,
    CAPITAL,
    COLON,
    DIGIT,
    LINE,
    LIST,
    NAME,
    PAUSE,
    QUOTE,
    SIGN,
    START,
    STOP,
)

TEMPLATES = 80
"""Room for the keys of one word."""

REACH = 10
"""How far a window reaches to either side, in words: so many PAD entries keep segments apart."""

_FIRM = START | BLANK | STOP | ASK | COLON | DIGIT | SIGN | NAME
_CLAUSE = _FIRM | LINE | PAUSE
_SHAPE = START | LINE | BLANK | PAUSE | STOP | ASK | COLON | DIGIT | SIGN | QUOTE | LIST | NAME


@nb.njit(cache=True, nogil=True, inline="always")
def _mix(key, value):  # type: ignore[no-untyped-def]
    key = (key ^ np.uint64(value)) * np.uint64(0x9E3779B97F4A7C15)
    return key ^ (key >> np.uint64(29))


@nb.njit(cache=True, nogil=True)
def keys_of(word, coarse, fine, flags, i, out):  # type: ignore[no-untyped-def]
    """Keys of the features of entry `i`.

    Args:
        word, coarse, fine: (M,) ids of the entries and of their classes; PAD is 0 in each.
        flags: (M,) see `_tagger_words`.
        i: an entry with REACH entries on both sides.
        out: (TEMPLATES,) uint64, written.

    Returns:
        How many keys were written.
    """
    n = 0
    t = np.uint64(1)
    one = np.uint64(1)
    for o in range(-4, 5):
        out[n] = _mix(_mix(t, word[i + o]), 1)
        out[n + 1] = _mix(_mix(t, coarse[i + o]), 2)
        out[n + 2] = _mix(_mix(t, fine[i + o]), 3)
        n += 3
        t += one
    # gaps: before the words i - 2 .. i + 3
    for o in range(-2, 4):
        out[n] = _mix(_mix(t, flags[i + o] & (_SHAPE | CAPITAL)), 4)
        n += 1
        t += one
    before, after = flags[i] & _SHAPE, flags[i + 1] & _SHAPE
    cap = flags[i] & CAPITAL
    out[n] = _mix(_mix(_mix(t, before), after), 5)
    out[n + 1] = _mix(_mix(_mix(t, before | cap), word[i]), 6)
    out[n + 2] = _mix(_mix(_mix(t, after), word[i]), 7)
    out[n + 3] = _mix(_mix(_mix(_mix(t, before), after), word[i]), 8)
    out[n + 4] = _mix(_mix(_mix(_mix(t, before), word[i]), word[i + 1]), 9)
    out[n + 5] = _mix(_mix(_mix(_mix(t, before), fine[i]), fine[i + 1]), 10)
    out[n + 6] = _mix(_mix(_mix(_mix(t, after), word[i - 1]), word[i]), 11)
    out[n + 7] = _mix(_mix(_mix(_mix(t, flags[i - 1] & _SHAPE), word[i - 1]), word[i]), 12)
    out[n + 8] = _mix(_mix(_mix(t, cap), word[i]), 13)
    n += 9
    # n-grams of words and of classes; a gap that breaks is part of them
    for o in range(-3, 3):
        b1 = 1 if flags[i + o + 1] & _FIRM else 0
        two = _mix(_mix(_mix(t, word[i + o]), word[i + o + 1]), b1)
        out[n] = _mix(two, 14)
        n += 1
        if -2 <= o <= 1:
            out[n] = _mix(_mix(_mix(_mix(t, fine[i + o]), fine[i + o + 1]), b1), 15)
            n += 1
        if o <= 0:
            b2 = b1 | (2 if flags[i + o + 2] & _FIRM else 0)
            if o >= -2:
                three = _mix(_mix(_mix(_mix(t, word[i + o]), word[i + o + 1]), word[i + o + 2]), b2)
                out[n] = _mix(three, 16)
                out[n + 1] = _mix(_mix(_mix(_mix(_mix(t, fine[i + o]), fine[i + o + 1]), fine[i + o + 2]), b2), 17)
                n += 2
            b3 = b2 | (4 if flags[i + o + 3] & _FIRM else 0)
            four = _mix(_mix(_mix(t, coarse[i + o]), coarse[i + o + 1]), coarse[i + o + 2])
            out[n] = _mix(_mix(_mix(four, coarse[i + o + 3]), b3), 18)
            n += 1
        t += one
    out[n] = _mix(_mix(_mix(t, word[i - 1]), word[i + 1]), 19)
    out[n + 1] = _mix(_mix(_mix(t, word[i - 2]), word[i]), 20)
    out[n + 2] = _mix(_mix(_mix(t, word[i]), word[i + 2]), 21)
    n += 3
    # the clause: where it begins and ends, and what stands there
    start = 0
    while start < 7 and not flags[i - start] & _CLAUSE:
        start += 1
    end = 0
    while end < 7 and not flags[i + end + 1] & _CLAUSE:
        end += 1
    first = i - start
    out[n] = _mix(_mix(_mix(t, start), end), 22)
    out[n + 1] = _mix(_mix(_mix(t, start), word[first]), 23)
    out[n + 2] = _mix(_mix(_mix(_mix(t, start), word[first]), word[i]), 24)
    out[n + 3] = _mix(_mix(_mix(_mix(t, start), fine[first]), fine[i]), 25)
    out[n + 4] = _mix(_mix(_mix(_mix(t, start), fine[first]), fine[first + 1]), 26)
    out[n + 5] = _mix(_mix(_mix(t, start), flags[first] & _SHAPE), 27)
    out[n + 6] = _mix(_mix(_mix(t, start), word[first - 1]), 28)
    out[n + 7] = _mix(_mix(_mix(t, end), word[i]), 29)
    out[n + 8] = _mix(_mix(_mix(t, end), flags[i + end + 1] & _SHAPE), 30)
    out[n + 9] = _mix(_mix(_mix(_mix(t, start), coarse[first]), coarse[i]), 31)
    return n + 10


@nb.njit(cache=True, nogil=True)
def all_keys(word, coarse, fine, flags, out):  # type: ignore[no-untyped-def]
    """Keys of every entry that is a word, (W, TEMPLATES), for training; returns how many a word has."""
    row = 0
    many = 0
    for i in range(len(word)):
        if word[i]:
            many = keys_of(word, coarse, fine, flags, i, out[row])
            row += 1
    return many
