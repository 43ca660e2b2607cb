"""The inner loop of labelling, compiled by numba: token ids -> labels, in one pass over their bytes.

Imported by `labeller` on first use only: numba takes most of a second to load.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from hicra.grams.text import (
    BREAK,
    CLAUSE,
    JUNK,
    LEAD,
    LETTER,
    MARK,
    NONE,
    OPENS,
    SENTENCE,
    START_STATE,
    WIDE,
    text_rules,
)
from hicra.labels.automaton import SPACE_CLASS

_OPENS = np.array(OPENS, np.uint8)
_ALL = CLAUSE | SENTENCE
_WORD_STATE = int(text_rules().table[START_STATE, ord("a")] & 0xFF)

PLAIN, LETTERS, SPACED_LETTERS = 0, 1, 2
"""What a token is: anything, ASCII letters only, or one space and then ASCII letters."""


@nb.njit(cache=True)  # type: ignore[untyped-decorator]
def classify(data, offset, symbol_class, go, start, lower, kind, jump):  # type: ignore[no-untyped-def]
    """Fill `lower` with the ASCII-lower-cased bytes, `kind` with each token's kind and, for letters after one space, `jump` with
    the state that they lead to from `start`."""
    for i in range(len(data)):
        b = data[i]
        lower[i] = b + 32 if 65 <= b <= 90 else b
    for token in range(len(offset) - 1):
        lo, hi = offset[token], offset[token + 1]
        spaced = hi - lo > 1 and data[lo] == 32
        letters = hi > lo
        for i in range(lo + 1 if spaced else lo, hi):
            letters = letters and 97 <= lower[i] <= 122
        kind[token] = PLAIN
        if letters:
            kind[token] = SPACED_LETTERS if spaced else LETTERS
        if letters and spaced:
            state = start
            for i in range(lo + 1, hi):
                state = go[state, symbol_class[lower[i]]]
            jump[token] = state


@nb.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def label(  # type: ignore[no-untyped-def]
    ids, row_offset, keep, data, offset, lower, kind, jump,
    table, symbol_class, go, start, first_out, next_out, gram, length, need, ring_size,
    gram_id, begin, matches,
):  # fmt: skip
    """Label rows of token ids.

    Args:
        ids: (N,) token ids; row r is ``ids[row_offset[r]:row_offset[r + 1]]``.
        keep: (N,) which tokens count, or of length 0 for all; the others break matches and are never looked at.
        data, offset, lower, kind, jump: the vocabulary's bytes and what `classify` found.
        table ... need: the text rules and the automaton.
        ring_size: a power of two greater than the longest gram's symbols + 1.
        gram_id: (N,) int32 filled with -1, written; begin: (N,) bool filled with False, written.
        matches: (M, 3) written with first token, last token, gram of the longest match that ends at each word end; M may be 0.

    Returns:
        The number of matches, or -1 - i where ids[i] is outside the vocabulary.
    """
    size = len(offset) - 1
    has_keep = len(keep) > 0
    ring = ring_size - 1
    # of each of the latest symbols: first and last token of its bytes (-1: a space), and what opened at its word's start
    first = np.empty(ring_size, np.int64)
    last = np.empty(ring_size, np.int64)
    opened = np.empty(ring_size, np.uint8)
    owner = np.empty(len(ids), np.int64)  # of a labelled token: where its match begins, as a symbol number
    found = 0
    n_rows = len(row_offset) - 1
    k = np.int64(0)  # symbols so far
    lead_token = mark_first = mark_last = np.int64(0)
    apostrophe = symbol_class[39]
    hyphen = symbol_class[45]
    for row in range(n_rows):
        lo, hi = row_offset[row], row_offset[row + 1]
        q = START_STATE
        s = np.int64(start)
        in_gap = True
        opens = np.uint8(_ALL)
        k += 1
        first[k & ring] = -1
        for t in range(lo, hi + 1):
            a = z = np.int64(0)
            reset = t == hi or (has_keep and not keep[t])
            if not reset:
                token = ids[t]
                if token < 0 or token >= size:
                    return -1 - t
                a, z = offset[token], offset[token + 1]
                what = kind[token]
                if what == LETTERS and s == 0 and q == _WORD_STATE:
                    continue  # deeper into a word that no gram holds
                if what == SPACED_LETTERS and q == START_STATE and s == start:
                    # the next word, with no gram under way: the whole token in one step
                    s = np.int64(jump[token])
                    k += 1
                    opened[k & ring] = opens
                    if s != 0:
                        first[k & ring] = last[k & ring] = t
                        for _ in range(a + 2, z):
                            k += 1
                            first[k & ring] = last[k & ring] = t
                    q, in_gap, opens = _WORD_STATE, False, np.uint8(0)
                    continue
                if what == SPACED_LETTERS and q == _WORD_STATE and s == 0:
                    s = np.int64(jump[token])
                    k += 2
                    first[(k - 1) & ring] = -1
                    opened[k & ring] = 0
                    if s != 0:
                        first[k & ring] = last[k & ring] = t
                        for _ in range(a + 2, z):
                            k += 1
                            first[k & ring] = last[k & ring] = t
                    continue
                reset = a == z
            if reset:
                a, z = 0, 1  # one turn of the loop below, as a break
            for i in range(a, z):
                symbol = np.uint8(0)
                b = np.uint8(0)
                if reset:
                    emitted = BREAK
                    q = START_STATE
                else:
                    b = data[i]
                    packed = table[q, b]
                    q = packed & 0xFF
                    emitted = (packed >> 8) & 0xFF
                    symbol = np.uint8(packed >> 16)
                if emitted >= LETTER:
                    if in_gap:
                        opened[(k + 1) & ring] = opens
                        opens = np.uint8(0)
                        in_gap = False
                    if emitted & 3:
                        k += 1
                        first[k & ring] = mark_first
                        last[k & ring] = mark_last
                        s = np.int64(go[s, apostrophe if emitted & 3 == 1 else hyphen])
                    k += 1
                    first[k & ring] = lead_token if emitted & WIDE else t
                    last[k & ring] = t
                    s = np.int64(go[s, symbol_class[symbol]])
                elif emitted == NONE:
                    continue
                elif emitted == LEAD:
                    lead_token = np.int64(t)
                elif emitted == MARK:
                    mark_first = lead_token if b >= 0x80 else np.int64(t)
                    mark_last = np.int64(t)
                elif emitted == JUNK:
                    k += 1
                    s = np.int64(0)
                    in_gap = False
                    opens = np.uint8(0)
                else:
                    if not in_gap:
                        # a word ends: the longest gram that ends here and may begin where it does
                        u = first_out[s]
                        while u:
                            g = gram[u]
                            at = k - length[u] + 1
                            if need[g] == 0 or need[g] & opened[at & ring]:
                                # a token belongs to the leftmost of its matches, the longest of these
                                fresh = True
                                for j in range(at, k + 1):
                                    if first[j & ring] < 0:
                                        continue
                                    for w in range(first[j & ring], last[j & ring] + 1):
                                        if gram_id[w] < 0 or owner[w] > at or (owner[w] == at and gram_id[w] != g):
                                            gram_id[w] = g
                                            owner[w] = at
                                            begin[w] = fresh
                                            fresh = False
                                if found < len(matches):
                                    matches[found, 0] = first[at & ring]
                                    matches[found, 1] = last[k & ring]
                                    matches[found, 2] = g
                                found += 1
                                break
                            u = next_out[u]
                    if emitted == BREAK:
                        s = np.int64(start)
                        k += 1
                        first[k & ring] = -1
                    elif not in_gap:
                        s = np.int64(go[s, SPACE_CLASS])
                        k += 1
                        first[k & ring] = -1
                    opens |= _OPENS[emitted]
                    in_gap = True
    return found
