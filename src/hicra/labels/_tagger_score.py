"""The second half of tagging, compiled by numba: words -> scores -> spans -> tokens.

Weights are 8-bit integers and scores their sums, so a score is the same whatever the batch, the machine or the number
of threads.
"""

from __future__ import annotations

import math

import numba as nb
import numpy as np

from hicra.labels._tagger_features import _FIRM, TEMPLATES, keys_of
from hicra.labels._tagger_words import PAD, look_up

HEADS = 5
"""Columns of the weights: steers or not; deduction, branching, backtracing; a span begins within a run."""

SMOOTH = 4
"""How many neighbours on each side a smoothed score looks at."""

GAPS = 11
"""Kinds of gap that the smoothing knows: START .. SIGN, NAME, and a capital behind it."""


@nb.njit(cache=True, nogil=True, inline="always")
def _shift(size):  # type: ignore[no-untyped-def]
    """How far a 32-bit key is shifted to be a place among `size`, a power of two from 256 on."""
    shift = np.uint32(32)
    while size > 1:
        size >>= 1
        shift -= np.uint32(1)
    return shift


@nb.njit(cache=True, nogil=True)
def index_keys(keys, weights, slots, at, first_head, seen):  # type: ignore[no-untyped-def]
    """Put 32-bit keys into an empty table.

    Args:
        keys, weights: (K,), (K, HEADS).
        slots: uint32, zeros, a power of two of them, written: the keys. 0 is an empty slot; a key of 0 is kept as 1.
        at: as long, written: the key's row of `weights`.
        first_head: uint32, as long, written: a table of its own for the commonest question, so that one look finds key
            and weight: the key's lower 24 bits and the 8 of the first column, at the place that the key's upper bits
            say (place and 24 bits make the whole key). Zeros, which tell nothing, are left out.
        seen: uint8, zeros, a power of two of them, written: a bit for each key, by its upper bits. It is small enough
            to stay near the core, and turns most unknown features away.
    """
    bits, shift = np.uint32(8 * len(seen) - 1), _shift(len(slots))
    mask = np.uint32(len(slots) - 1)
    for i in range(len(keys)):
        key = max(keys[i], np.uint32(1))
        s = key & mask
        while slots[s]:
            s = (s + np.uint32(1)) & mask
        slots[s], at[s] = key, i
        if weights[i, 0]:
            s = keys[i] >> shift
            while first_head[s]:
                s = (s + np.uint32(1)) & mask
            first_head[s] = keys[i] << np.uint32(8) | np.uint32(np.uint8(weights[i, 0]))
        b = (keys[i] >> np.uint32(9)) & bits
        seen[b >> np.uint32(3)] |= np.uint8(1 << (b & np.uint32(7)))


@nb.njit(cache=True, nogil=True, inline="always")
def _find(key, slots, seen):  # type: ignore[no-untyped-def]
    """Slot of a key, or -1."""
    b = (key >> np.uint32(9)) & np.uint32(8 * len(seen) - 1)
    if not seen[b >> np.uint32(3)] >> (b & np.uint32(7)) & 1:
        return np.int64(-1)
    mask = np.uint32(len(slots) - 1)
    key = max(key, np.uint32(1))
    s = key & mask
    while slots[s]:
        if slots[s] == key:
            return np.int64(s)
        s = (s + np.uint32(1)) & mask
    return np.int64(-1)


@nb.njit(cache=True, nogil=True)
def raw_scores(word, coarse_of, fine_of, flags, first_head, seen, out):  # type: ignore[no-untyped-def]
    """Sums of the first head's weights over each entry's features; 0 for PAD."""
    m = len(word)
    coarse, fine = np.empty(m, np.int32), np.empty(m, np.int32)
    for i in range(m):
        coarse[i], fine[i] = coarse_of[word[i]], fine_of[word[i]]
    keys, likely = np.empty(TEMPLATES, np.uint64), np.empty(TEMPLATES, np.uint32)
    bits, mask = np.uint32(8 * len(seen) - 1), np.uint32(len(first_head) - 1)
    shift = _shift(len(first_head))
    for i in range(m):
        out[i] = 0
        if word[i] == PAD:
            continue
        n = keys_of(word, coarse, fine, flags, i, keys)
        # two passes, the first without branches: what is left is nearly always there, so its look-ups overlap
        left = 0
        for k in range(n):
            key = np.uint32(keys[k] >> np.uint64(32))
            b = (key >> np.uint32(9)) & bits
            likely[left] = key
            left += (seen[b >> np.uint32(3)] >> (b & np.uint32(7))) & 1
        total = np.int32(0)
        for k in range(left):
            s, low = likely[k] >> shift, likely[k] & np.uint32(0xFFFFFF)
            while first_head[s] and first_head[s] >> np.uint32(8) != low:
                s = (s + np.uint32(1)) & mask
            total += np.int32(np.int8(first_head[s] & np.uint32(0xFF)))
        out[i] = total


@nb.njit(cache=True, nogil=True)
def smooth(word, flags, score, scale, bias, near, across, blocked, gaps, floor, out):  # type: ignore[no-untyped-def]
    """Probabilities of entries from their own and their neighbours' scores.

    Args:
        score: (M,) of `raw_scores`; `scale` and `bias` make log-odds of them.
        near, across: (2 SMOOTH + 1,) weights of a neighbour's log-odds where no firm gap, or one, lies between.
        blocked: (2 SMOOTH + 1,) added where a firm gap lies between.
        gaps: (4, GAPS) added for what lies in the gaps before the words i - 1 .. i + 2; the last entry of `near`'s
            own place belongs to the word itself.
        floor: log-odds that stand for nothing (beyond a segment), and the least that count.
        out: (M,) float32, written; 0 for PAD.
    """
    for i in range(len(word)):
        out[i] = 0
        if word[i] == PAD:
            continue
        z = 0.0
        for o in range(-SMOOTH, SMOOTH + 1):
            broken = False
            for s in range(min(0, o) + 1, max(0, o) + 1):
                broken |= (flags[i + s] & _FIRM) > 0
            x = floor
            if word[i + o] != PAD:
                x = min(max(score[i + o] * scale + bias, floor), -floor)
            if o == 0:
                z += near[SMOOTH] * x
            elif broken:
                z += across[o + SMOOTH] * x + near[o + SMOOTH] * floor + blocked[o + SMOOTH]
            else:
                z += near[o + SMOOTH] * x + across[o + SMOOTH] * floor
        for o in range(4):
            f = flags[i + o - 1]
            for g in range(GAPS):
                bit = 1 << g if g < 9 else (2048 if g == 9 else 4096)
                if f & bit:
                    z += gaps[o, g]
        out[i] = 1 / (1 + math.exp(-(z + blocked[SMOOTH])))


@nb.njit(cache=True, nogil=True)
def find_spans(  # type: ignore[no-untyped-def]
    word, coarse_of, fine_of, flags, word_hash, probability, threshold,
    slots, at, seen, weight, bias, move_slots, move_at, spans,
):  # fmt: skip
    """Runs of words above the threshold, cut where a span begins within.

    Args:
        weight, bias: (K, HEADS) and (HEADS,), integers of one scale.
        move_slots, move_at: table of the hashes of known moves, see `_tagger_words.fill`.
        spans: (S, 4) int64, written: first and last entry, function (0, 1, 2), move or -1.

    Returns:
        The number of spans.
    """
    keys = np.empty(TEMPLATES, np.uint64)
    m = len(word)
    # classes of entries, where they are needed
    n = 0
    total = np.zeros(HEADS, np.int64)
    i = 0
    while i < m:
        if word[i] == PAD or probability[i] < threshold:
            i += 1
            continue
        first = i
        of_class = np.zeros(3, np.int64)
        while i < m and word[i] != PAD and probability[i] >= threshold:
            coarse, fine = _window(word, coarse_of, fine_of, i)
            reach = len(coarse) // 2
            count = keys_of(
                word[i - reach : i + reach + 1], coarse, fine, flags[i - reach : i + reach + 1], reach, keys
            )
            for h in range(1, HEADS):
                total[h] = bias[h]
            for k in range(count):
                slot = _find(np.uint32(keys[k] >> np.uint64(32)), slots, seen)
                if slot >= 0:
                    for h in range(1, HEADS):
                        total[h] += weight[at[slot], h]
            if i > first and total[4] > 0:
                n = _close(spans, n, first, i - 1, of_class, flags, word_hash, move_slots, move_at)
                first = i
                of_class[:] = 0
            of_class += total[1:4]
            i += 1
        n = _close(spans, n, first, i - 1, of_class, flags, word_hash, move_slots, move_at)
    return n


@nb.njit(cache=True, nogil=True)
def _window(word, coarse_of, fine_of, i):  # type: ignore[no-untyped-def]
    from_, to = i - 10, i + 11
    coarse, fine = np.empty(21, np.int32), np.empty(21, np.int32)
    for j in range(from_, to):
        coarse[j - from_], fine[j - from_] = coarse_of[word[j]], fine_of[word[j]]
    return coarse, fine


@nb.njit(cache=True, nogil=True)
def _close(spans, n, first, last, of_class, flags, word_hash, move_slots, move_at):  # type: ignore[no-untyped-def]
    key = np.uint64(0)
    whole = True
    for i in range(first, last + 1):
        key = (key ^ word_hash[i]) * np.uint64(0x9E3779B97F4A7C15)
        key ^= key >> np.uint64(29)
        whole &= i == first or not flags[i] & _FIRM
    spans[n, 0], spans[n, 1], spans[n, 2] = first, last, np.argmax(of_class)
    spans[n, 3] = look_up(key, move_slots, move_at) if whole else -1
    return n + 1


@nb.njit(cache=True, nogil=True)
def paint(spans, gram, first, last, probability, gram_id, begin, out):  # type: ignore[no-untyped-def]
    """Spans of entries as labels of tokens; a token that two spans touch belongs to the first.

    Args:
        spans, gram: (S, 4) of `find_spans` and the gram of each.
        first, last, probability: (M,) tokens and probability of each entry.
        gram_id, begin, out: (N,) written: gram, whether a span begins, probability (the largest of the token's words).
    """
    for i in range(len(first)):
        if first[i] >= 0:
            for t in range(first[i], last[i] + 1):
                out[t] = max(out[t], probability[i])
    for s in range(len(spans)):
        fresh = True
        for i in range(spans[s, 0], spans[s, 1] + 1):
            for t in range(first[i], last[i] + 1):
                if gram_id[t] < 0:
                    gram_id[t], begin[t] = gram[s], fresh
                    fresh = False
