"""The inner loops of counting, compiled by numba. They work on one shard: some texts as word ids, a 0 after each.

Names: `gram[i]` is the id of the kept n-gram that begins at place i (0: none), `word[i]` the id of the kept word there
(0: none); both count from 1. Text d is at the places ``end[d - 1] ... end[d] - 1``, its problem is ``problem[d]``.
Imported on first use only.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from hicra.grams._words import (
    AFTER_BREAK,
    MATHS_LEFT,
    MATHS_RIGHT,
    NEAR_AFTER,
    NEAR_LEFT,
    NEAR_RIGHT,
    OPENS_CLAUSE,
    OPENS_SENTENCE,
)

# --- columns of what is known of a gram
TF, DF, PROBLEMS, CLAUSE, SENTENCE, STATEMENTS, ADJACENT, NEAR, AFTER = range(9)  # sums
LAST_TEXT, LAST_PROBLEM, LAST_STATEMENT = range(9, 12)  # marks: number + 1 of where it was seen last
WIDTH = 16  # int32: one cache line a gram

# --- keys of n-grams: two ids of 31 bits and which of them stands for n - 1 words
BOTH, LEFT_ONLY, RIGHT_ONLY = 0, 1, 2
KEY, SEEN, IN = 0, 1, 2  # columns of a table: key, occurrences, problems << 32 | last problem + 1
ID = (1 << 31) - 1


@nb.njit(cache=True, nogil=True)
def gather(source, begin, order, out):  # type: ignore[no-untyped-def]
    """Write the stretches ``source[begin[d]:begin[d + 1]]`` one after the other, in the given order."""
    n = 0
    for d in order:
        size = begin[d + 1] - begin[d]
        out[n : n + size] = source[begin[d] : begin[d + 1]]
        n += size


@nb.njit(cache=True, nogil=True)
def count_words(words, end, problem, solution, problems, last):  # type: ignore[no-untyped-def]
    """Add to `problems` (V + 1,) the problems of each word, where `last` (V + 1,) holds the last one + 1. Returns the
    number of words."""
    i = total = 0
    for d in range(len(end)):
        if not solution[d]:
            i = end[d]
            continue
        mark = problem[d] + 1
        while i < end[d]:
            word = words[i]
            i += 1
            if word:
                total += 1
                if last[word] != mark:
                    last[word] = mark
                    problems[word] += 1
    return total


@nb.njit(cache=True, nogil=True)
def key_hash(key):  # type: ignore[no-untyped-def]
    """64 well-mixed bits of a key; injective."""
    h = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    h = (h ^ (h >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    return h ^ (h >> np.uint64(32))


@nb.njit(cache=True, nogil=True)
def tally(gram, word, flags, end, problem, solution, n, part, parts, table, used):  # type: ignore[no-untyped-def]
    """Count the (n + 1)-grams of which at least one half of n words is kept.

    Args:
        n: words of the grams in `gram`.
        part, parts: count only the keys of this part of the key space.
        table: int64 (capacity, 3), open addressing; see KEY, SEEN, IN.
        used: entries in it.

    Returns:
        The entries in the table, or -1 if it would be too full.
    """
    capacity = np.uint64(len(table))
    limit = len(table) * 4 // 5
    low = np.uint64(0xFFFFFFFF)
    i = np.int64(0)
    for d in range(len(end)):
        if not solution[d]:
            i = end[d]
            continue
        mark = np.int64(problem[d]) + 1
        stop = end[d] - n
        while i < stop:
            left, right = np.int64(gram[i]), np.int64(gram[i + 1])
            kind = BOTH
            if left and right:
                if n == 1 and flags[i + 1] & AFTER_BREAK:
                    i += 1
                    continue
            elif left:
                right = np.int64(word[i + n])
                kind = LEFT_ONLY
                if right == 0 or flags[i + n] & AFTER_BREAK:
                    i += 1
                    continue
            elif right:
                left = np.int64(word[i])
                kind = RIGHT_ONLY
                if left == 0 or flags[i + 1] & AFTER_BREAK:
                    i += 1
                    continue
            else:
                i += 1
                continue
            i += 1
            key = np.int64(kind) << 62 | left << 31 | right
            h = key_hash(key)
            if np.int64(((h >> np.uint64(32)) * np.uint64(parts)) >> np.uint64(32)) != part:
                continue
            slot = np.int64(((h & low) * capacity) >> np.uint64(32))
            while True:
                there = table[slot, KEY]
                if there == key:
                    table[slot, SEEN] += 1
                    if table[slot, IN] & 0xFFFFFFFF != mark:
                        table[slot, IN] = ((table[slot, IN] >> 32) + 1) << 32 | mark
                    break
                if there == 0:
                    if used >= limit:
                        return -1
                    used += 1
                    table[slot, KEY] = key
                    table[slot, SEEN] = 1
                    table[slot, IN] = np.int64(1) << 32 | mark
                    break
                slot = np.int64((slot + 1) % len(table))
        i = end[d]
    return used


@nb.njit(cache=True, nogil=True)
def harvest(table, minimum, left_top, right_top, kept):  # type: ignore[no-untyped-def]
    """Read a table: raise `left_top` and `right_top` (K + 1,) of the n-grams, and write to `kept` the keys of the
    (n + 1)-grams in at least `minimum` problems. Returns how many these are; `kept` may be too short for them."""
    n = 0
    for slot in range(len(table)):
        key = table[slot, KEY]
        if key == 0:
            continue
        seen = table[slot, SEEN]
        kind = (key >> 62) & 3
        left, right = key >> 31 & ID, key & ID
        if kind != RIGHT_ONLY and seen > right_top[left]:
            right_top[left] = seen
        if kind != LEFT_ONLY and seen > left_top[right]:
            left_top[right] = seen
        if kind == BOTH and table[slot, IN] >> 32 >= minimum:
            if n < len(kept):
                kept[n] = key
            n += 1
    return n


@nb.njit(cache=True, nogil=True)
def index_keys(keys, slots):  # type: ignore[no-untyped-def]
    """Fill `slots`, int64 (capacity, 2) of zeros, with each key and its place in `keys` + 1."""
    capacity = np.uint64(len(slots))
    for k in range(len(keys)):
        slot = np.int64(((key_hash(keys[k]) & np.uint64(0xFFFFFFFF)) * capacity) >> np.uint64(32))
        while slots[slot, 0]:
            slot = np.int64((slot + 1) % len(slots))
        slots[slot, 0] = keys[k]
        slots[slot, 1] = k + 1


@nb.njit(cache=True, nogil=True)
def extend(gram, flags, n, slots):  # type: ignore[no-untyped-def]
    """Turn the ids of n-grams into those of the (n + 1)-grams that begin at the same places, in place; returns how many
    places hold one."""
    capacity = np.uint64(len(slots))
    alive = 0
    for i in range(len(flags) - 1):
        left, right = np.int64(gram[i]), np.int64(gram[i + 1])
        if left == 0:
            continue
        gram[i] = 0
        if right == 0 or (n == 1 and flags[i + 1] & AFTER_BREAK):
            continue
        key = left << 31 | right
        slot = np.int64(((key_hash(key) & np.uint64(0xFFFFFFFF)) * capacity) >> np.uint64(32))
        while slots[slot, 0]:
            if slots[slot, 0] == key:
                gram[i] = slots[slot, 1]
                alive += 1
                break
            slot = np.int64((slot + 1) % len(slots))
    if len(flags):
        gram[len(flags) - 1] = 0
    return alive


@nb.njit(cache=True, nogil=True)
def describe(gram, flags, end, problem, solution, group, n, first_text, known, groups_seen, by_group):  # type: ignore[no-untyped-def]
    """Add up what the places of kept n-grams tell.

    Args:
        n: words of the grams.
        first_text: number of the shard's first text in the corpus.
        known: int32 (K + 1, WIDTH), added to; see TF ... LAST_STATEMENT.
        groups_seen: uint64 (K + 1,), bits of the groups that count already for the gram's last problem.
        by_group: int32 (K + 1, S), added to.
    """
    i = np.int64(0)
    for d in range(len(end)):
        problem_mark = problem[d] + 1
        text_mark = first_text + d + 1
        bit = np.uint64(1) << np.uint64(group[d])
        if not solution[d]:
            while i < end[d]:
                g = gram[i]
                if g and known[g, LAST_STATEMENT] != problem_mark:
                    known[g, LAST_STATEMENT] = problem_mark
                    known[g, STATEMENTS] += 1
                i += 1
            continue
        while i < end[d]:
            g = gram[i]
            if g:
                row = known[g]
                here, there = flags[i], flags[i + n - 1]
                row[TF] += 1
                row[CLAUSE] += here & OPENS_CLAUSE != 0
                row[SENTENCE] += here & OPENS_SENTENCE != 0
                row[ADJACENT] += (here & MATHS_LEFT | there & MATHS_RIGHT) != 0
                row[NEAR] += (here & NEAR_LEFT | there & NEAR_RIGHT) != 0
                row[AFTER] += there & NEAR_AFTER != 0
                if row[LAST_TEXT] != text_mark:
                    row[LAST_TEXT] = text_mark
                    row[DF] += 1
                    if row[LAST_PROBLEM] != problem_mark:
                        row[LAST_PROBLEM] = problem_mark
                        row[PROBLEMS] += 1
                        groups_seen[g] = 0
                    if not groups_seen[g] & bit:
                        groups_seen[g] |= bit
                        by_group[g, group[d]] += 1
            i += 1
