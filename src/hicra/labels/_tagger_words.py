"""The first half of tagging, compiled by numba: token ids -> words, with what lies between them.

The words are those of the text rules (`hicra.grams.text`), so every lossless tokenisation of one text gives the same
ones. Between words the bytes leave marks: the tagger wants to know more of a gap than that it breaks.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from hicra.grams.text import BREAK, COMMA, JUNK, LEAD, LETTER, MARK, NEWLINE, NONE, SPACE, WIDE

# --- what lies before a word, and how it is written: bits of `flags`
START, LINE, BLANK, PAUSE, STOP, ASK, COLON, DIGIT, SIGN, QUOTE, LIST, NAME, CAPITAL, CAPITALS = (
    1 << i for i in range(14)
)
"""The text starts or the mask broke; a newline; a blank line; a comma or dash; a full stop; ``? !``; ``: ;``; a digit;
maths and other signs; a quote or parenthesis; ``* # -``; an identifier; the word begins with a capital; is in capitals.
"""
FLAGS = 14

PAD, OTHER_NAME = 0, 1
"""Ids that are no words: nothing (between segments), and the first of real ones."""

_KIND = np.zeros(256, np.int32)
for _bytes, _bit in (
    (b".", STOP), (b"?!", ASK), (b":;", COLON), (b"0123456789", DIGIT), (b"\"'()`", QUOTE), (b"*#-", LIST),
    (b"$%&+/<=>@[\\]^_{|}~", SIGN),
):  # fmt: skip
    for _byte in _bytes:
        _KIND[_byte] = _bit

_SEED = np.uint64(0xCBF29CE484222325)
_PRIME = np.uint64(0x100000001B3)


def word_hash(symbols: bytes) -> int:
    """FNV-1a, 64 bits, of a word's symbols: what `read` computes on the way."""
    value = int(_SEED)
    for symbol in symbols:
        value = (value ^ symbol) * int(_PRIME) & 0xFFFFFFFFFFFFFFFF
    return value


@nb.njit(cache=True, nogil=True)
def look_up(key, slots, slot_id):  # type: ignore[no-untyped-def]
    """Id of a word by its hash in a table with open addressing, or -1."""
    mask = np.uint64(len(slots) - 1)
    at = (key ^ (key >> np.uint64(32))) & mask
    while slot_id[at] >= 0:
        if slots[at] == key:
            return slot_id[at]
        at = (at + np.uint64(1)) & mask
    return np.int32(-1)


@nb.njit(cache=True, nogil=True)
def fill(keys, ids, slots, slot_id):  # type: ignore[no-untyped-def]
    """Put hashes and their ids into an empty table (`slot_id` all -1, a power of two of slots)."""
    mask = np.uint64(len(slots) - 1)
    for i in range(len(keys)):
        at = (keys[i] ^ (keys[i] >> np.uint64(32))) & mask
        while slot_id[at] >= 0:
            at = (at + np.uint64(1)) & mask
        slots[at], slot_id[at] = keys[i], ids[i]


@nb.njit(cache=True, nogil=True)
def read(  # type: ignore[no-untyped-def]
    ids, row_offset, keep, data, offset, table, start, lossy, pads, slots, slot_id, n_words, n_other,
    out_id, out_flags, out_first, out_last, out_hash,
):  # fmt: skip
    """Words of rows of token ids.

    Args:
        ids, row_offset, keep: as for the kernel of `Labeller`: (N,), (B+1,), (N,) or of length 0.
        data, offset: the vocabulary's bytes.
        table, start: the text rules (those for lossless text) and their first state.
        lossy: whether white space was lost: spaces around an apostrophe or hyphen then do not count.
        pads: entries with the id PAD before every segment (and after the last), so that no window reaches across one.
        slots, slot_id: see `fill`; `n_words` ids are words, then come `n_other` ids for the endings of other words.
        out_id, out_flags, out_first, out_last: (M,) written: id, flags, first and last token (-1 for PAD); out_hash:
            (M,) or of length 0, the words' hashes.

    Returns:
        The number of entries; -1 - i where ids[i] is outside the vocabulary; -(1 << 62) where M is too small.
    """
    size = len(offset) - 1
    n = 0
    room = len(out_id)
    lead = np.int64(0)
    for row in range(len(row_offset) - 1):
        lo, hi = row_offset[row], row_offset[row + 1]
        fresh = True  # a segment begins with the next word
        q = np.int64(start)
        inside = junk = False
        skip_space = False
        flags = START
        word_flags = 0
        capitals = letters = 0
        first = last = np.int64(0)
        key = np.uint64(0)
        tail = np.uint64(0)
        for t in range(lo, hi + 1):
            a = z = np.int64(0)
            if t < hi and not (len(keep) > 0 and not keep[t]):
                token = ids[t]
                if token < 0 or token >= size:
                    return -1 - t
                a, z = offset[token], offset[token + 1]
            reset = a == z
            if lossy and not reset:
                if data[a] == 32 and (
                    skip_space or (inside and z - a == 2 and (data[a + 1] == 39 or data[a + 1] == 45))
                ):
                    a += 1
                skip_space = z - a == 1 and (data[a] == 39 or data[a] == 45)
            for i in range(a, z + 1 if reset else z):
                symbol = b = np.uint8(0)
                if reset:
                    emitted = BREAK
                    q = np.int64(start)
                else:
                    b = data[i]
                    packed = table[q, b]
                    q = np.int64(packed & 0xFF)
                    emitted = (packed >> 8) & 0xFF
                    symbol = np.uint8(packed >> 16)
                if emitted >= LETTER:
                    since = lead if emitted & WIDE else np.int64(t)
                    if not inside:
                        inside, junk = True, False
                        first = since
                        key, tail = _SEED, np.uint64(0)
                        capitals = letters = 0
                        word_flags = CAPITAL if 65 <= b <= 90 else 0
                    if emitted & 3:
                        key = (key ^ np.uint64(39 if emitted & 3 == 1 else 45)) * _PRIME
                        tail = tail << np.uint64(8) | np.uint64(39 if emitted & 3 == 1 else 45)
                    letters += 1
                    capitals += int(65 <= b <= 90)
                    key = (key ^ np.uint64(symbol)) * _PRIME
                    tail = tail << np.uint64(8) | np.uint64(symbol)
                    last = np.int64(t)
                elif emitted == LEAD:
                    lead = np.int64(t)
                elif emitted == JUNK:
                    junk = True
                elif emitted == NONE:
                    if not inside and not reset:
                        flags |= _KIND[b]
                        if b == 10:
                            flags |= LINE
                elif emitted != MARK:  # SPACE, COMMA, NEWLINE, BREAK
                    if inside:
                        inside = False
                        if junk:
                            flags |= NAME
                        else:
                            if n + 2 * pads + 1 > room:
                                return -(1 << 62)
                            if fresh:
                                for _ in range(pads):
                                    out_id[n], out_flags[n], out_first[n], out_last[n] = PAD, 0, -1, -1
                                    if len(out_hash):
                                        out_hash[n] = 0
                                    n += 1
                                fresh = False
                            word = look_up(key, slots, slot_id)
                            if word < 0:
                                word = np.int32(n_words + (tail & np.uint64(0xFFFFFF)) * _PRIME % np.uint64(n_other))
                            if letters > 1 and capitals == letters:
                                word_flags |= CAPITALS
                            out_id[n], out_flags[n], out_first[n], out_last[n] = word, flags | word_flags, first, last
                            if len(out_hash):
                                out_hash[n] = key
                            n += 1
                            flags = 0
                    if emitted == COMMA:
                        flags |= PAUSE
                    elif emitted == NEWLINE or b == 10:
                        flags |= BLANK if flags & LINE and emitted == BREAK else LINE
                    elif emitted == BREAK and not reset:
                        flags |= SIGN if b > 127 else _KIND[b]
                    elif emitted == SPACE and not reset:
                        flags |= _KIND[b]
                    if reset:
                        flags, fresh = START, True
        # `reset` at t == hi closed the last word
    if n:
        for _ in range(pads):
            out_id[n], out_flags[n], out_first[n], out_last[n] = PAD, 0, -1, -1
            if len(out_hash):
                out_hash[n] = 0
            n += 1
    return n
