"""Grams -> a deterministic automaton over the symbols of the text rules.

Aho and Corasick (CACM 1975) for patterns too. A gram is *space, words with single spaces between*. The space in front
makes its left end a word boundary; its right end is one because acceptance is only looked at where a word ends.
Phrases form a trie; a slot hangs its words on it as a minimal acyclic automaton of their own, so alternatives share
what follows them and do not multiply. That graph is non-deterministic where a slot's words and others begin alike; a
state of the result is

    (places in the graph that the text reaches from one start, the state of the text behind its first word)

and the second half is what Aho and Corasick call the failure link: it has all that began later. With phrases only the
first half is one place of the trie, and the automaton is theirs. All places of one start are equally many words from
it, so a state knows how many words a match has, and begins, without looking back.

State 0 is the dead end inside a word that no gram begins with; `start` is where a word may begin.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from hicra.errors import DataError
from hicra.grams.gramset import GramSet
from hicra.grams.pattern import Part, Slot, is_pattern, parse
from hicra.grams.text import CLAUSE, SENTENCE, variants

OTHER, SPACE_CLASS = 0, 1
MOST_BYTES = 1 << 28
"""Tables may take so much; only patterns with many ``<word>`` come near it."""
_NEEDS = {"any": 0, "clause": CLAUSE, "sentence": SENTENCE}


@dataclass(frozen=True, eq=False)
class Automaton:
    """S states over C classes of symbols, and E - 1 places where grams end, for K grams.

    Attributes:
        symbol_class: uint8 (256,), the class of each symbol; 0 = in no gram, 1 = a space.
        go: uint16 or uint32 (S, C), the next state.
        start: the state after a space or a break.
        first_out: int32 (S,), the first ending, that of the longest match; 0 = none.
        next_out: int32 (E,), the ending after this one: as long a match of another gram, or a shorter one.
        gram: int32 (E,), the gram that ends.
        length: int32 (E,), the words of the match.
        need: uint8 (K,), what must open where the gram begins: 0, CLAUSE or SENTENCE.
        longest: words of the longest match.
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
    """Build the automaton of a gram set, for lossless text or for what a lossy tokenizer leaves of it.

    Raises:
        DataError: the grams use too many different bytes, or the patterns make too many states.
    """
    sequences = [(i, sequence) for i, gram in enumerate(grams) for sequence in _sequences(gram.text, lossy)]
    symbols = {s for _, sequence in sequences for choice in sequence for phrase in choice or () for s in phrase}
    alphabet = sorted(symbols - {ord(" ")})
    if len(alphabet) > 254:
        raise DataError("the grams use more than 254 different bytes")
    symbol_class = np.zeros(256, np.uint8)
    symbol_class[ord(" ")] = SPACE_CLASS
    symbol_class[alphabet] = np.arange(2, 2 + len(alphabet))
    graph = _Graph(symbol_class.tolist(), 2 + len(alphabet))
    for gram_id, sequence in sequences:
        graph.add(sequence, gram_id, is_pattern(grams[gram_id].text))
    go, ends = _determinise(graph)
    first_out, next_out, gram, length = np.zeros(len(go), np.int32), [0], [-1], [0]
    for state, (found, suffix) in enumerate(ends):  # a suffix has a smaller number: it is there already
        first_out[state] = first_out[suffix]
        for _, gram_id, words in sorted(found, reverse=True):
            next_out.append(int(first_out[state]))
            gram.append(gram_id)
            length.append(words)
            first_out[state] = len(gram) - 1
    return Automaton(
        symbol_class,
        go,
        int(go[0, SPACE_CLASS]),
        first_out,
        np.array(next_out, np.int32),
        np.array(gram, np.int32),
        np.array(length, np.int32),
        np.array([_NEEDS[g.at] for g in grams], np.uint8),
        max(length),
    )


# --- what a gram stands for -------------------------------------------------------------------------------------------
_Choice = frozenset[bytes] | None  # phrases of one number of words, as symbols; None: any one word


def _sequences(text: str, lossy: bool) -> Iterator[tuple[_Choice, ...]]:
    """The sequences of choices that a gram stands for; all phrases of a choice have the same number of words."""
    if not is_pattern(text):
        for spelled in variants(text, lossy=lossy):
            yield (frozenset((spelled,)),)
        return
    for sequence in product(*(_alternatives(part, lossy) for part in parse(text).parts)):
        whole = tuple(choice for part in sequence for choice in part)
        if whole:
            yield whole


def _alternatives(part: Part, lossy: bool) -> list[tuple[_Choice, ...]]:
    if isinstance(part, tuple):
        return [(), *(sum(inner, ()) for inner in product(*(_alternatives(p, lossy) for p in part)))]
    if isinstance(part, Slot) and part.choices is None:
        return [(None,)]
    by_words: dict[int, set[bytes]] = {}
    for phrase in part.choices or () if isinstance(part, Slot) else (part,):
        for spelled in variants(phrase, lossy=lossy):
            by_words.setdefault(spelled.count(b" "), set()).add(spelled)
    return [(frozenset(phrases),) for _, phrases in sorted(by_words.items())]


# --- the graph --------------------------------------------------------------------------------------------------------
class _Graph:
    """Places and edges over classes of symbols. Place 0 is before the space, `begin` behind it.

    Attributes:
        children: of each place, class -> place.
        also: of a place, others where the text is too whenever it is there: the beginnings of slots.
        ends: of a place, (is a pattern, gram, words) of each gram that ends there.
    """

    def __init__(self, classes: list[int], n_classes: int) -> None:
        self.children: list[dict[int, int]] = [{}]
        self.also: dict[int, list[int]] = {}
        self.ends: dict[int, list[tuple[bool, int, int]]] = {}
        self._classes, self._n_classes = classes, n_classes
        self._slots: dict[tuple[int, _Choice], list[int]] = {}
        self._shapes: dict[_Choice, list[tuple[dict[int, int], bool]]] = {}
        self.begin = self._child([0], SPACE_CLASS)

    def add(self, sequence: tuple[_Choice, ...], gram_id: int, pattern: bool) -> None:
        """Add a sequence of choices."""
        at, words = self.begin, 0
        for i, choice in enumerate(sequence):
            words += 1 if choice is None else next(iter(choice)).count(b" ") + 1
            last = self._phrase(at, next(iter(choice))) if choice is not None and len(choice) == 1 else None
            ended = self._slot(at, choice) if last is None else [last]
            if i + 1 < len(sequence):
                at = self._child(ended, SPACE_CLASS)
        for place in ended:
            there = self.ends.setdefault(place, [])
            if (pattern, gram_id, words) not in there:
                there.append((pattern, gram_id, words))

    def _child(self, places: list[int], symbol: int) -> int:
        """The one place that an edge leads to from all of these, which share it or have none."""
        found = self.children[places[0]].get(symbol)
        if found is None:
            found = len(self.children)
            self.children.append({})
            for place in places:
                self.children[place][symbol] = found
        return found

    def _phrase(self, at: int, phrase: bytes) -> int:
        for symbol in phrase:
            at = self._child([at], self._classes[symbol])
        return at

    def _slot(self, at: int, choice: _Choice) -> list[int]:
        """Hang a slot on a place, once; returns where its words end."""
        key = (at, choice)
        if key not in self._slots:
            shape = self._shape(choice)
            first = len(self.children)
            self.children += [{symbol: first + child for symbol, child in edges.items()} for edges, _ in shape]
            self.also.setdefault(at, []).append(first)
            self._slots[key] = [first + i for i, (_, accepts) in enumerate(shape) if accepts]
        return self._slots[key]

    def _shape(self, choice: _Choice) -> list[tuple[dict[int, int], bool]]:
        """The minimal acyclic automaton of a choice's phrases: edges and whether one ends, of each place."""
        if choice is None:
            letters = [symbol for symbol in range(self._n_classes) if symbol != SPACE_CLASS]
            return [(dict.fromkeys(letters, 1), False), (dict.fromkeys(letters, 1), True)]
        if choice not in self._shapes:
            shape: list[tuple[dict[int, int], bool]] = []
            known: dict[frozenset[bytes], int] = {}

            def place(rest: frozenset[bytes]) -> int:
                if rest not in known:
                    known[rest] = len(shape)
                    edges: dict[int, int] = {}
                    shape.append((edges, b"" in rest))
                    for symbol in sorted({phrase[0] for phrase in rest if phrase}):
                        edges[self._classes[symbol]] = place(frozenset(p[1:] for p in rest if p[:1] == bytes([symbol])))
                return known[rest]

            place(choice)
            self._shapes[choice] = shape
        return self._shapes[choice]


def _determinise(graph: _Graph) -> tuple[Any, list[tuple[list[tuple[bool, int, int]], int]]]:
    """The table `Automaton.go` and, of each state, what ends in its first half and the state of its second half.

    States are numbered breadth first: the shallow ones, which text visits all the time, then share few cache lines.
    """
    children, also, n_classes = graph.children, graph.also, graph._n_classes
    go = np.zeros((_room(2 * len(children), n_classes), n_classes), np.int32)
    groups: list[tuple[int, ...]] = [(0,)]
    suffix = [0]
    known: dict[tuple[tuple[int, ...], int], int] = {((0,), 0): 0}
    state = 0
    while state < len(groups):
        group = groups[state]
        edges: dict[int, tuple[int, ...]] = {}
        for place in group:
            for symbol, child in children[place].items():
                reached = (child, *also.get(child, ()))
                edges[symbol] = edges[symbol] + reached if symbol in edges else reached
        if state:
            go[state] = go[suffix[state]]
        for symbol, reached in edges.items():
            follows = int(go[state, symbol]) if state else 0  # the row still holds the suffix's edge
            key = (tuple(sorted(set(reached))) if len(reached) > 1 else reached, follows)
            found = known.get(key)
            if found is None:
                found = known[key] = len(groups)
                groups.append(key[0])
                suffix.append(follows)
                if found == len(go):
                    go = np.concatenate([go, np.zeros((_room(2 * found, n_classes) - found, n_classes), np.int32)])
            go[state, symbol] = found
        state += 1
    ends = [
        ([end for place in group for end in graph.ends.get(place, ())], follows)
        for group, follows in zip(groups, suffix, strict=True)
    ]
    return go[: len(groups)].astype(np.uint16 if len(groups) <= 0xFFFF else np.uint32), ends


def _room(states: int, n_classes: int) -> int:
    """So many states, if there may be."""
    if 4 * states * n_classes > MOST_BYTES:
        raise DataError(
            f"the grams make more than {states // 2:,} states",
            expected=f"tables of at most {MOST_BYTES >> 20} MiB",
            mend="write fewer patterns with <word>, or lists in its place",
        )
    return states
