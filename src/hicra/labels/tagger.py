"""The distilled tagger: planning words by a small model of the words around, for moves that no list holds.

For a word i with the features F(i) of `_tagger_features` (words, word classes, n-grams, gaps, place in the clause):

    s(i) = b + sum of w[f] over f in F(i)                             8-bit weights, one look-up a feature
    p(i) = sigmoid(a . s(i-4 .. i+4) + gaps)                          calibrated, smoothed over neighbours

Words with p >= threshold are planning words; a run of them is cut where the model says that a span begins, and has
the function with the largest sum. A span whose wording is among the moves seen in many problems has that move as its
gram, any other one of three grams called "other deduction", "other branching", "other backtracing", so labels of the
tagger are labels as all others are.

Use it as ``Labeller("tagger", tokenizer)``. The weights come with the package (`data/tagger.md` says how they were
made, `scripts/train_tagger.py` makes them).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from hicra.errors import DataError, require
from hicra.grams.gramset import Function, Gram, GramSet
from hicra.grams.text import TEXT_VERSION, text_rules
from hicra.labels.vocab import Vocab, byte_vocab

FORMAT, FORMAT_VERSION = "hicra-tagger", 1
NAME = "tagger"
FUNCTIONS: tuple[Function, ...] = ("deduction", "branching", "backtracing")
"""In the order of the weights' columns."""

_SEEN = 1 << 18  # bytes of the filter in front of the table of features

Array = np.ndarray[Any, Any]

_SHAPES = {
    "words": (np.uint8, 1), "coarse": (np.uint8, 1), "fine": (np.uint16, 1), "keys": (np.uint32, 1),
    "weights": (np.int8, 2), "bias": (np.int32, 1), "near": (np.float64, 1), "across": (np.float64, 1),
    "blocked": (np.float64, 1), "gaps": (np.float64, 2), "scale": (np.float64, 1),
}  # fmt: skip


class Tagged(NamedTuple):
    """A span that the tagger found in a text.

    Attributes:
        start, end: character offsets, end exclusive.
        text: the span.
        function: what it does.
        probability: mean over its words of the probability that the word is part of a planning span.
        move: the known move with this wording, or None.
    """

    start: int
    end: int
    text: str
    function: Function
    probability: float
    move: str | None


@dataclass(frozen=True, eq=False)
class Model:
    """The weights, see `_SHAPES` and the module's text.

    Attributes:
        tensors: by name. `words`: the V words, newlines between; `coarse`, `fine` (1 + V + others,): classes of ids;
            `keys` (K,): features; `weights` (K, 5) and `bias` (5,): of the five scores; `scale` (2,): log-odds of one
            unit of score, and the floor; the others: the smoothing, see `_tagger_score.smooth`.
        threshold: least probability of a planning word.
        about: what the file says of itself.
    """

    tensors: dict[str, Array]
    threshold: float
    about: dict[str, str]

    @property
    def nbytes(self) -> int:
        """Memory of the tensors, bytes."""
        return sum(tensor.nbytes for tensor in self.tensors.values())


def load_model(path: str | Path | None = None) -> Model:
    """Read a model's file (safetensors).

    Args:
        path: default: the packaged one.

    Raises:
        DataError: the file cannot be read, or is no tagger, or of another version or other text rules.
        MissingExtraError: safetensors is not installed.
    """
    library = require("safetensors.numpy", "train")
    where = Path(str(files("hicra.labels") / "data" / "tagger.safetensors")) if path is None else Path(path)
    try:
        raw = where.read_bytes()
        about = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]
        tensors = library.load(raw)
        expected = {"format": FORMAT, "format_version": str(FORMAT_VERSION), "text_version": str(TEXT_VERSION)}
        got = {name: about.get(name) for name in expected}
        threshold = float(about["threshold"])
    except (OSError, ValueError, KeyError, TypeError, library_error()) as error:
        raise DataError(f"cannot read the tagger {where}", got=f"{type(error).__name__}: {error}"[:200]) from error
    if got != expected:
        raise DataError(f"{where} is no tagger for this version of hicra", expected=str(expected), got=str(got))
    wrong = [
        n for n, (kind, d) in _SHAPES.items() if n not in tensors or (tensors[n].dtype, tensors[n].ndim) != (kind, d)
    ]
    if wrong:
        raise DataError(f"{where}: tensors are missing or of another kind", got=", ".join(wrong))
    return Model(tensors, threshold, about)


def library_error() -> type[Exception]:
    """What safetensors raises."""
    return cast(type[Exception], require("safetensors", "train").SafetensorError)


@lru_cache(maxsize=1)
def packaged() -> Model:
    """The model that comes with the package, read once."""
    return load_model()


def moves_of(known: Iterable[Gram]) -> GramSet:
    """Known moves and the three others as a set: what gram ids of the tagger's labels point into.

    The packaged one is ``GramSet.load("tagger")``.
    """
    others = [Gram(f"other {function}", function=function) for function in FUNCTIONS]
    return GramSet.from_grams([*known, *others], name=NAME, provenance={"labeller": NAME})


def is_tagger(grams: GramSet | str) -> bool:
    """Whether a set, or the name of one, stands for the tagger."""
    return grams == NAME if isinstance(grams, str) else grams.provenance.get("labeller") == NAME


class TaggerMachine:
    """A model and a vocabulary, ready to label token ids; `Labeller` drives it as it does the automaton.

    Args:
        vocab: bytes of the tokens.
        model, grams: weights and moves (see `moves_of`); default: the packaged ones.

    Raises:
        DataError: the weights cannot be read, or the moves lack the three others.
    """

    def __init__(self, vocab: Vocab, model: Model | None = None, grams: GramSet | None = None) -> None:
        from hicra.labels import _tagger_features, _tagger_score, _tagger_words

        self.vocab, self.model = vocab, model or packaged()
        self.grams = grams or GramSet.load(NAME)
        self._read, self._score, self._reach = _tagger_words.read, _tagger_score, _tagger_features.REACH
        t = self.model.tensors
        words = t["words"].tobytes().split(b"\n")
        self._size = len(words) + 1
        self._others = len(t["coarse"]) - self._size
        hashes = np.array([_tagger_words.word_hash(word) for word in words], np.uint64)
        self._slots, self._slot_id = _table(hashes, np.arange(1, self._size, dtype=np.int32))
        self._key_slots, self._key_at, self._first_head, self._seen = _features(self.model)
        self._coarse, self._fine = t["coarse"].astype(np.int32), t["fine"].astype(np.int32)
        others = [f"other {function}" for function in FUNCTIONS]
        if not all(other in self.grams for other in others):
            raise DataError(
                f"the gram set {self.grams.name!r} is no set of the tagger's moves",
                expected=f"{', '.join(others)} in it",
            )
        self._other = np.array([self.grams.index(other) for other in others], np.int32)
        listed = [i for i in range(len(self.grams)) if i not in self._other]
        hashes = np.array([move_hash(self.grams[i].text) for i in listed], np.uint64)
        self._move_slots, self._move_at = _table(hashes, np.array(listed, np.int32))

    def run(
        self, ids: Array, bounds: Array, keep: Array, *, want_matches: bool = False
    ) -> tuple[tuple[Array, ...], Array]:
        """(mask, gram_id, begin, probability), each (N,), and spans (S, 4) where they are wanted.

        A span is first token, last token, gram, and its function as an index into `FUNCTIONS`.
        """
        entries = self.entries(ids, bounds, keep)
        word, flags, first, last, hashes = entries
        probability = self.probabilities(word, flags)
        t, score = self.model.tensors, self._score
        spans = np.empty((len(word) // 2 + 1, 4), np.int64)
        found = score.find_spans(
            word, self._coarse, self._fine, flags, hashes, probability, np.float32(self.model.threshold),
            self._key_slots, self._key_at, self._seen, t["weights"], t["bias"], self._move_slots, self._move_at, spans,
        )  # fmt: skip
        spans = spans[:found]
        gram = np.where(spans[:, 3] >= 0, spans[:, 3], self._other[spans[:, 2]]).astype(np.int32)
        gram_id, begin = np.full(len(ids), -1, np.int32), np.zeros(len(ids), np.bool_)
        of_token = np.zeros(len(ids), np.float32)
        score.paint(spans, gram, first, last, probability, gram_id, begin, of_token)
        matches = np.empty((0, 4), np.int64)
        if want_matches:
            matches = np.stack([first[spans[:, 0]], last[spans[:, 1]], gram, spans[:, 2]], 1)
        return (gram_id >= 0, gram_id, begin, of_token), matches

    def entries(self, ids: Array, bounds: Array, keep: Array) -> tuple[Array, ...]:
        """Words of rows of token ids, PAD between segments: ids, flags, first and last token, hashes."""
        rules = text_rules(TEXT_VERSION)
        ids = np.ascontiguousarray(ids if ids.dtype in (np.int32, np.int64, np.uint8) else ids.astype(np.int64))
        keep = np.ascontiguousarray(keep)
        breaks = len(bounds) + (int((~keep).sum()) if len(keep) else 0)
        room = 2 * self._reach * (breaks + 1) + 2 * len(ids) + 16
        while True:
            out = [np.empty(room, kind) for kind in (np.int32, np.int32, np.int64, np.int64, np.uint64)]
            n = self._read(
                ids, bounds, keep, self.vocab.data, self.vocab.offset, rules.table, rules.start, self.vocab.lossy,
                self._reach, self._slots, self._slot_id, self._size, self._others, *out,
            )  # fmt: skip
            if n != -(1 << 62):
                break
            room *= 2
        if n < 0:
            raise self.vocab.outside(ids, bounds, -1 - n)
        return tuple(part[:n] for part in out)

    def probabilities(self, word: Array, flags: Array) -> Array:
        """Probability of each entry, (M,) float32; 0 for PAD."""
        t, score = self.model.tensors, self._score
        raw, out = np.empty(len(word), np.int32), np.empty(len(word), np.float32)
        score.raw_scores(word, self._coarse, self._fine, flags, self._first_head, self._seen, raw)
        scale, floor = t["scale"].tolist()
        bias = float(t["bias"][0]) * scale
        score.smooth(word, flags, raw, scale, bias, t["near"], t["across"], t["blocked"], t["gaps"], floor, out)
        return out


def tag(text: str, machine: TaggerMachine | None = None) -> list[Tagged]:
    """The planning spans of a plain text, each with its function and probability.

    Args:
        text: any text; lone surrogates are tolerated.
        machine: for a model of your own; it must have `hicra.labels.vocab.byte_vocab`.
    """
    machine = machine or _of_bytes()
    data = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)
    bounds = np.array([0, len(data)], np.int64)
    (_, _, _, probability), matches = machine.run(data, bounds, np.empty(0, np.bool_), want_matches=True)
    char_of = np.cumsum((data & 0xC0) != 0x80) - 1
    found = []
    for first, last, gram, function in matches.tolist():
        start, end = int(char_of[first]), int(char_of[last]) + 1
        inside = probability[first : last + 1]
        move = machine.grams[gram].text if gram not in machine._other else None
        mean = float(inside[inside > 0].mean())
        found.append(Tagged(start, end, text[start:end], FUNCTIONS[function], mean, move))
    return found


@lru_cache(maxsize=1)
def _of_bytes() -> TaggerMachine:
    return TaggerMachine(byte_vocab())


def move_hash(text: str) -> int:
    """Hash of a normalised phrase: that of its words' hashes in order, as `_tagger_score` makes it."""
    from hicra.labels._tagger_words import word_hash

    key, mask = 0, 0xFFFFFFFFFFFFFFFF
    for word in text.split(" "):
        key = (key ^ word_hash(word.encode())) * 0x9E3779B97F4A7C15 & mask
        key ^= key >> 29
    return key


@lru_cache(maxsize=2)
def _features(model: Model) -> tuple[Array, Array, Array, Array]:
    """The table of a model's features, see `_tagger_score.index_keys`; labellers of one process share it."""
    from hicra.labels._tagger_score import index_keys

    t = model.tensors
    size = max(256, _room(len(t["keys"])))
    tables = np.zeros(size, np.uint32), np.zeros(size, np.int32), np.zeros(size, np.uint32), np.zeros(_SEEN, np.uint8)
    index_keys(t["keys"], t["weights"], *tables)
    return tables


def _room(count: int) -> int:
    return int(max(2, 1 << (2 * count).bit_length()))


def _table(keys: Array, ids: Array) -> tuple[Array, Array]:
    from hicra.labels._tagger_words import fill

    slots = np.zeros(_room(len(keys)), np.uint64)
    slot_id = np.full(len(slots), -1, np.int32)
    fill(keys, ids, slots, slot_id)
    return slots, slot_id
