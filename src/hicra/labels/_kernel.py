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
_GAP = START_STATE
_WORD, _NUMBER, _LINE = (int(text_rules().table[_GAP, byte] & 0xFF) for byte in b"a1\n")

PLAIN, LETTERS, SPACED_LETTERS = 0, 1, 2
"""What a token is: anything, ASCII letters only, or one space and then ASCII letters."""

_UNKNOWN = -1

COLUMNS = 8
"""Of the table about tokens: rows of 32 bytes, so that a token costs one cache line and not one for each fact."""
_FIRST, _END, _KIND, _JUMP, _QUIET_GAP, _QUIET_WORD, _QUIET_NUMBER = range(7)


@nb.njit(cache=True)
def classify(data, offset, table, symbol_class, go, start, symbol, facts):  # type: ignore[no-untyped-def]
    """Look at every token of the vocabulary once, so that the common ones take one step each in `label`.

    Args:
        data, offset: the vocabulary's bytes.
        table, symbol_class, go, start: the text rules and the automaton.
        symbol: uint8, as long as `data`, written: the class of each byte, lower-cased, as far as it is an ASCII letter.
        facts: int32 (V, COLUMNS), written, of each token: where its bytes begin and end; PLAIN, LETTERS or
            SPACED_LETTERS; of letters, the state that they lead to from `start`; of a token that emits nothing but
            separators when it comes in a gap, in a word, after a number: the rules' state after it, what opens << 8,
            whether it parts words << 10 and breaks << 11, else _UNKNOWN.
    """
    for i in range(len(data)):
        b = data[i]
        symbol[i] = symbol_class[b + 32 if 65 <= b <= 90 else b]
    for token in range(len(offset) - 1):
        lo, hi = offset[token], offset[token + 1]
        spaced = hi - lo > 1 and data[lo] == 32
        letters = hi > lo
        for i in range(lo + 1 if spaced else lo, hi):
            letters = letters and 97 <= data[i] | 32 <= 122
        facts[token, _FIRST], facts[token, _END], facts[token, _KIND], facts[token, _JUMP] = lo, hi, PLAIN, 0
        if letters:
            facts[token, _KIND] = SPACED_LETTERS if spaced else LETTERS
            state = start
            for i in range(lo + 1 if spaced else lo, hi):
                state = go[state, symbol[i]]
            facts[token, _JUMP] = state
        for column in range(3):
            q = _GAP if column == 0 else _WORD if column == 1 else _NUMBER
            net = 0
            known = hi > lo
            for i in range(lo, hi):
                packed = table[q, data[i]]
                q = packed & 0xFF
                emitted = (packed >> 8) & 0xFF
                if emitted > BREAK:
                    known = False
                elif emitted != NONE:
                    net |= int(_OPENS[emitted]) << 8 | 1 << 10 | int(emitted == BREAK) << 11
            facts[token, _QUIET_GAP + column] = net | q if known else _UNKNOWN


@nb.njit(cache=True, nogil=True)
def _end_word(  # type: ignore[no-untyped-def]
    s, k, ring, last, opened, token_at, solid, facts, ids,
    first_out, next_out, gram, length, need, gram_id, owner, reach, begin, matches, found,
):  # fmt: skip
    """Word k ends in state s and token `last`: write the longest match that ends here, where it may begin."""
    u = first_out[s]
    while u:
        g = gram[u]
        at = k - length[u] + 1
        if need[g] == 0 or need[g] & opened[at & ring]:
            fresh = True
            for t in range(token_at[at & ring], last + 1):
                if facts[ids[t], _KIND] == PLAIN and not solid[t]:
                    continue  # spaces, a comma
                # a token belongs to the leftmost of its matches, and to the longest (= latest found) of these
                if gram_id[t] < 0 or owner[t] >= at:
                    gram_id[t], owner[t], begin[t] = g, at, fresh
                    fresh = False
                    if len(reach):
                        reach[t] = k
            if found < len(matches):
                matches[found, 0] = token_at[at & ring]
                matches[found, 1] = last
                matches[found, 2] = g
                matches[found, 3] = at
                matches[found, 4] = k
            return found + 1
        u = next_out[u]
    return found


@nb.njit(cache=True, nogil=True)
def _join(gram_id, begin, owner, reach, cluster):  # type: ignore[no-untyped-def]
    """Of occurrences of one cluster that overlap or follow each other word on word, make one: that of the first."""
    before = -1  # the labelled token before this one
    joined = False
    word = np.int64(0)  # where the occurrence reaches that others join
    for t in range(len(gram_id)):
        g = gram_id[t]
        if g < 0:
            continue
        if begin[t]:
            joined = before >= 0 and cluster[g] >= 0 and cluster[gram_id[before]] == cluster[g] and owner[t] <= word + 1
            word = reach[t]
        if joined:
            begin[t], gram_id[t] = False, gram_id[before]
        before = t


@nb.njit(cache=True, nogil=True)
def label(  # type: ignore[no-untyped-def]
    ids, row_offset, keep, data, symbol_of, facts,
    table, start_rules, symbol_class, go, start, first_out, next_out, gram, length, need, ring_size, cluster,
    gram_id, begin, matches,
):  # fmt: skip
    """Label rows of token ids.

    Args:
        ids: (N,) token ids; row r is ``ids[row_offset[r]:row_offset[r + 1]]``.
        keep: (N,) which tokens count, or of length 0 for all; the others break matches and are never looked at.
        data, symbol_of, facts: the vocabulary's bytes and what `classify` found.
        table, start_rules: the text rules, and their state where a text begins.
        symbol_class ... need: the automaton.
        ring_size: a power of two greater than the longest match's words + 1.
        cluster: (K,) int32 of each gram, -1 for none, to join occurrences of one cluster; or of length 0 not to.
        gram_id: (N,) int32 filled with -1, written; begin: (N,) bool filled with False, written.
        matches: (M, 5) written with first token, last token, gram, first word and last word of the longest match that
            ends at each word end; M may be 0. Words are numbered through; numbers skip one at a break.

    Returns:
        The number of matches, or -1 - i where ids[i] is outside the vocabulary.
    """
    size = len(facts)
    has_keep = len(keep) > 0
    ring = ring_size - 1
    # at the numbers of the latest words: the token of the first byte, and what opened there
    token_at = np.zeros(ring_size, np.int64)
    opened = np.zeros(ring_size, np.uint8)
    solid = np.zeros(len(ids), np.bool_)  # of PLAIN tokens: holds bytes of a word
    owner = np.empty(len(ids), np.int64)  # of a labelled token: where its match begins, as the number of a word
    reach = np.empty(len(ids) if len(cluster) else 0, np.int64)  # ... and where it ends
    apostrophe, hyphen = symbol_class[39], symbol_class[45]
    lead = mark_first = mark_last = last = np.int64(0)
    found = 0
    k = np.int64(0)  # number of the latest word
    for row in range(len(row_offset) - 1):
        lo, hi = row_offset[row], row_offset[row + 1]
        q = start_rules  # state of the text rules
        s = np.int64(start)  # state of the automaton
        in_gap = True  # no word since the last separator
        opens = np.uint8(_ALL)
        k += 1
        for t in range(lo, hi + 1):
            a = z = np.int64(0)
            if t < hi and not (has_keep and not keep[t]):
                token = ids[t]
                if token < 0 or token >= size:
                    return -1 - t
                a, z = np.int64(facts[token, _FIRST]), np.int64(facts[token, _END])
                what = facts[token, _KIND]
                if what == LETTERS and q == _WORD:  # deeper into a word; in state 0 no gram holds it
                    if s != 0:
                        for i in range(a, z):
                            s = np.int64(go[s, symbol_of[i]])
                        last = np.int64(t)
                    continue
                if (what == SPACED_LETTERS and q == _WORD) or (
                    what != PLAIN and (q == _GAP or q == _LINE)
                ):  # a new word
                    if q == _WORD:
                        if first_out[s]:
                            found = _end_word(
                                s, k, ring, last, opened, token_at, solid, facts, ids,
                                first_out, next_out, gram, length, need, gram_id, owner, reach, begin, matches, found,
                            )  # fmt: skip
                        s = np.int64(go[s, SPACE_CLASS])
                    letters = a + 1 if what == SPACED_LETTERS else a
                    k += 1
                    opened[k & ring] = opens
                    token_at[k & ring] = last = np.int64(t)
                    q, in_gap, opens = _WORD, False, np.uint8(0)
                    if s == start:  # no gram under way
                        s = np.int64(facts[token, _JUMP])
                    else:
                        for i in range(letters, z):
                            s = np.int64(go[s, symbol_of[i]])
                    continue
                if q == _GAP or q == _WORD or q == _NUMBER:
                    net = facts[token, _QUIET_GAP if q == _GAP else _QUIET_WORD if q == _WORD else _QUIET_NUMBER]
                    if net != _UNKNOWN:  # separators only
                        q = net & 0xFF
                        if net & 1 << 10:
                            if not in_gap and first_out[s]:
                                found = _end_word(
                                    s, k, ring, last, opened, token_at, solid, facts, ids,
                                    first_out, next_out, gram, length, need,
                                    gram_id, owner, reach, begin, matches, found,
                                )  # fmt: skip
                            if net & 1 << 11:
                                s = np.int64(start)
                                k += 1
                            elif not in_gap:
                                s = np.int64(go[s, SPACE_CLASS])
                            opens |= np.uint8((net >> 8) & _ALL)
                            in_gap = True
                        continue
            reset = a == z  # the end of the row, a token outside the mask, a special token: a break
            for i in range(a, z + 1 if reset else z):
                symbol = b = np.uint8(0)
                if reset:
                    emitted = BREAK
                    q = start_rules
                else:
                    b = data[i]
                    packed = table[q, b]
                    q = packed & 0xFF
                    emitted = (packed >> 8) & 0xFF
                    symbol = np.uint8(packed >> 16)
                if emitted >= LETTER:
                    since = lead if emitted & WIDE else np.int64(t)  # the token of the character's first byte
                    if in_gap:
                        k += 1
                        opened[k & ring] = opens
                        token_at[k & ring] = since
                        opens = np.uint8(0)
                        in_gap = False
                    if emitted & 3:  # the apostrophe or hyphen that was held back
                        solid[mark_first : mark_last + 1] = True
                        s = np.int64(go[s, apostrophe if emitted & 3 == 1 else hyphen])
                    solid[since : t + 1] = True
                    last = np.int64(t)
                    s = np.int64(go[s, symbol_class[symbol]])
                elif emitted == LEAD:
                    lead = np.int64(t)
                elif emitted == MARK:
                    mark_first = lead if b >= 0x80 else np.int64(t)
                    mark_last = np.int64(t)
                elif emitted == JUNK:
                    s = np.int64(0)
                elif emitted != NONE:
                    if not in_gap and first_out[s]:
                        found = _end_word(
                            s, k, ring, last, opened, token_at, solid, facts, ids,
                            first_out, next_out, gram, length, need, gram_id, owner, reach, begin, matches, found,
                        )  # fmt: skip
                    if emitted == BREAK:
                        s = np.int64(start)
                        k += 1
                    elif not in_gap:
                        s = np.int64(go[s, SPACE_CLASS])
                    opens |= _OPENS[emitted]
                    in_gap = True
    if len(cluster):
        _join(gram_id, begin, owner, reach, cluster)
    return found
