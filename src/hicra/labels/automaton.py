"""Grams -> a deterministic automaton over the symbols of the text rules (Aho and Corasick, CACM 1975).

Each gram is the pattern *space, words with single spaces between*. The space in front makes its left end a word
boundary; its right end is one because acceptance is only looked at where a word ends. State 0 is the dead end inside
a word that no gram begins with; `start` is where a word may begin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hicra.errors import DataError
from hicra.grams.gramset import GramSet
from hicra.grams.text import CLAUSE, SENTENCE, variants

OTHER, SPACE_CLASS = 0, 1
_NEEDS = {"any": 0, "clause": CLAUSE, "sentence": SENTENCE}


@dataclass(frozen=True, eq=False)
class Automaton:
    """S states over C classes of symbols, for K grams.

    Attributes:
        symbol_class: uint8 (256,), the class of each symbol; 0 = in no gram, 1 = a space.
        go: uint16 or uint32 (S, C), the next state.
        start: the state after a space or a break.
        first_out: int32 (S,), the nearest state on the chain of suffixes (the state itself first) that ends a gram; 0
            = none.
        next_out: int32 (S,), the next such state after this one.
        gram: int32 (S,), the gram that ends in the state, -1 for none.
        length: int32 (S,), the number of that gram's symbols.
        need: uint8 (K,), what must open where the gram begins: 0, CLAUSE or SENTENCE.
        longest: symbols of the longest gram.
    """

    symbol_class: np.ndarray[Any, np.dtype[np.uint8]]
    go: np.ndarray[Any, np.dtype[Any]]
    start: int
    first_out: np.ndarray[Any, np.dtype[np.int32]]
    next_out: np.ndarray[Any, np.dtype[np.int32]]
    gram: np.ndarray[Any, np.dtype[np.int32]]
    length: np.ndarray[Any, np.dtype[np.int32]]
    need: np.ndarray[Any, np.dtype[np.uint8]]
    longest: int

    @property
    def nbytes(self) -> int:
        """Memory of all tables, bytes."""
        tables = (self.symbol_class, self.go, self.first_out, self.next_out, self.gram, self.length, self.need)
        return sum(table.nbytes for table in tables)


def build(grams: GramSet, *, lossy: bool = False) -> Automaton:
    """Build the automaton of a gram set, for lossless text or for what a lossy tokenizer leaves of it."""
    patterns = [(b" " + spelled, i) for i, gram in enumerate(grams) for spelled in variants(gram.text, lossy=lossy)]
    alphabet = sorted({symbol for pattern, _ in patterns for symbol in pattern} - {ord(" ")})
    symbol_class = np.zeros(256, np.uint8)
    symbol_class[ord(" ")] = SPACE_CLASS
    if len(alphabet) > 254:
        raise DataError("the grams use more than 254 different bytes")
    symbol_class[alphabet] = np.arange(2, 2 + len(alphabet))
    classes = symbol_class.tolist()

    # the trie
    children: list[dict[int, int]] = [{}]
    gram, length = [-1], [0]
    for pattern, gram_id in patterns:
        state = 0
        for symbol in pattern:
            following = children[state].get(classes[symbol])
            if following is None:
                following = children[state][classes[symbol]] = len(children)
                children.append({})
                gram.append(-1)
                length.append(0)
            state = following
        gram[state], length[state] = gram_id, len(pattern) - 1

    # number the states breadth first: the shallow ones, which text visits all the time, then share few cache lines
    order = [0]
    for state in order:
        order.extend(children[state].values())
    number = {state: i for i, state in enumerate(order)}
    children = [{symbol: number[child] for symbol, child in children[state].items()} for state in order]
    gram, length = [gram[state] for state in order], [length[state] for state in order]

    # every missing edge follows the longest suffix that is in the trie
    states = len(children)
    go = np.zeros((states, 2 + len(alphabet)), np.uint16 if states <= 0xFFFF else np.uint32)
    fail = [0] * states
    first_out, next_out = [0] * states, [0] * states
    for state in range(states):
        if state:
            go[state] = go[fail[state]]
            next_out[state] = first_out[fail[state]]
            first_out[state] = state if gram[state] >= 0 else next_out[state]
        for symbol, child in children[state].items():
            fail[child] = int(go[state, symbol]) if state else 0  # the row still holds the suffix's edge
            go[state, symbol] = child
    return Automaton(
        symbol_class,
        go,
        int(go[0, SPACE_CLASS]),
        np.array(first_out, np.int32),
        np.array(next_out, np.int32),
        np.array(gram, np.int32),
        np.array(length, np.int32),
        np.array([_NEEDS[g.at] for g in grams], np.uint8),
        max(length),
    )
