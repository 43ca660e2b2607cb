"""Which tokens are planning tokens: token ids in, `Labels` out; or plain text in, `Span`s out.

A token is a planning token where one of its non-space bytes lies in an occurrence of a Strategic Gram. The labeller
runs over the bytes of the tokens, so every lossless tokenisation of one text gets the same label, and a gram is found
whatever tokens it is cut into.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from hicra import DEFAULT_GRAMS
from hicra.errors import ConfigError, DataError, require
from hicra.grams.gramset import GramSet
from hicra.grams.text import text_rules
from hicra.labels.automaton import Automaton, build
from hicra.labels.tagger import NAME, TaggerMachine, is_tagger
from hicra.labels.vocab import Vocab, byte_vocab, vocab_of

Kind = Literal["grams", "tagger"]
"""What finds planning tokens: the phrases of a set, or the distilled tagger (`hicra.labels.tagger`)."""

Join = Literal["apart", "cluster"]
"""What becomes of occurrences that touch, see `Labeller`."""


@dataclass(frozen=True)
class Labels:
    """Labels of token ids, in the container, shape and (for tensors) on the device that the ids came in.

    Attributes:
        mask: bool; the token overlaps the non-space bytes of some match. ``mask == (gram_id >= 0)``.
        gram_id: int32; index into the gram set of the leftmost, then longest, match that the token belongs to; -1 for
            none.
        begin: bool; an occurrence starts here. Adjacent repeats of a gram stay two occurrences.
        credit: bool or None; the tokens that get the extra credit where these are not `mask` (placebo and random
            controls).
        probability: float32 or None; of the tagger: how likely the token is a planning token, labelled or not; 0 for
            tokens without a word and outside the mask.
    """

    mask: Any
    gram_id: Any
    begin: Any
    credit: Any = None
    probability: Any = None


class Span(NamedTuple):
    """One occurrence in a text.

    Attributes:
        start, end: character offsets, end exclusive.
        gram: the gram's text.
        cluster: its cluster's name, or None.
    """

    start: int
    end: int
    gram: str
    cluster: str | None


class Labeller:
    """Labels planning tokens.

    Args:
        grams: a `GramSet`, or the name or path of one; ``"tagger"`` for the tagger.
        tokenizer: a transformers or tokenizers tokenizer, a `Vocab`, or a name or path for ``AutoTokenizer``. Without
            one there are only `spans`.
        kind: ``"grams"`` or ``"tagger"``; None: what `grams` stands for.
        join: what becomes of occurrences that touch, i.e. overlap or follow each other word on word: ``"apart"``, each
            is one; ``"cluster"``, those of one cluster are one, of the first one's gram. `Labels.mask` is the same.

    Raises:
        DataError: the gram set cannot be loaded, or was made for text rules that are not known, or not for this kind of
            tokenizer.
        ConfigError: the tokenizer is of a kind whose bytes are not known; an unknown `kind` or `join`.
        MissingExtraError: the tagger without safetensors.
    """

    def __init__(
        self,
        grams: GramSet | str = DEFAULT_GRAMS,
        tokenizer: Any = None,
        *,
        kind: Kind | None = None,
        join: Join = "apart",
    ) -> None:
        if join not in get_args(Join):
            raise ConfigError("unknown way to join occurrences", expected=" | ".join(get_args(Join)), got=repr(join))
        if kind not in (None, *get_args(Kind)):
            raise ConfigError("unknown kind of labeller", expected=" | ".join(get_args(Kind)), got=repr(kind))
        self.kind: Kind = kind or ("tagger" if is_tagger(grams) else "grams")
        if self.kind == "tagger" and not is_tagger(grams):
            grams = NAME
        self.grams = grams if isinstance(grams, GramSet) else GramSet.load(grams)
        text_rules(self.grams.text_version, name=self.grams.rules)
        self.join = join
        if isinstance(tokenizer, str):
            tokenizer = require("transformers", "train").AutoTokenizer.from_pretrained(tokenizer)
        self._machine = None if tokenizer is None else self._made_for(vocab_of(tokenizer))
        self._text_machine: _Machine | TaggerMachine | None = None
        self.tokenizer_name = str(getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__)

    def __repr__(self) -> str:
        kind = (
            "text only" if self._machine is None else f"{self._machine.vocab.kind}, {len(self._machine.vocab)} tokens"
        )
        return f"Labeller({self.grams.name!r}, {len(self.grams)} grams, {kind})"

    def _made_for(self, vocab: Vocab) -> _Machine | TaggerMachine:
        return (
            TaggerMachine(vocab, grams=self.grams) if self.kind == "tagger" else _Machine(self.grams, vocab, self.join)
        )

    @property
    def vocab(self) -> Vocab:
        """The tokenizer's bytes."""
        return self._need_machine().vocab

    @property
    def automaton(self) -> Automaton:
        """The compiled grams.

        Raises:
            ConfigError: the tagger has none.
        """
        machine = self._need_machine()
        if isinstance(machine, TaggerMachine):
            raise ConfigError("the tagger has no automaton", expected="a labeller of grams")
        return machine.automaton

    def label(self, token_ids: Any, mask: Any = None, *, offsets: Any = None) -> Labels:
        """Label completions.

        Args:
            token_ids: integers; one of: an array or tensor (B, T) of padded rows, (T,) of one completion or, with
                `offsets`, (N,) of all completions end to end; a list of integers (one completion); a list of lists
                (ragged rows).
            mask: which tokens are the policy's own (1) and which are padding, prompt or tool output (0); same shape
                as the ids. Tokens outside break matches and are never labelled, and their ids are not looked at.
                Default: all.
            offsets: (B+1,) where each completion of a flat batch begins, from 0 to N.

        Returns:
            Labels of the same container: arrays for arrays, tensors on the same device for tensors, lists of arrays
            for ragged rows.

        Raises:
            ConfigError: the labeller was made without a tokenizer.
            DataError: ids outside the vocabulary, a mask of another shape, offsets that do not fit, or ids that are
                no integers.
        """
        machine = self._need_machine()
        if isinstance(token_ids, Sequence) and len(token_ids) and _is_row(token_ids[0]):
            return self._label_ragged(machine, token_ids, mask, offsets)
        ids = _as_array(token_ids, "token_ids")
        if ids.size == 0 and ids.dtype.kind == "f":
            ids = ids.astype(np.int64)  # an empty list has no integers to show
        if ids.dtype.kind not in "iu":
            raise DataError("token_ids are no integers", got=f"dtype {ids.dtype}")
        keep = _keep(mask, ids.shape)
        if offsets is not None:
            bounds = _offsets(offsets, ids)
        elif ids.ndim == 1:
            bounds = np.array([0, len(ids)], np.int64)
        elif ids.ndim == 2:
            bounds = np.arange(ids.shape[0] + 1, dtype=np.int64) * ids.shape[1]
        else:
            raise DataError("token_ids have too many dimensions", expected="(T,) or (B, T)", got=str(ids.shape))
        found, _ = machine.run(ids.reshape(-1), bounds, keep.reshape(-1))
        parts: list[Any] = [part.reshape(ids.shape) for part in found]
        if hasattr(token_ids, "detach"):
            import torch

            parts = [torch.from_numpy(part).to(token_ids.device) for part in parts]
        return _labels(parts)

    def spans(self, text: str) -> list[Span]:
        """The occurrences in a plain text, in order of their start.

        Where matches overlap, each character belongs to the leftmost, then longest; a match that owns no character
        is left out.

        Args:
            text: any text; lone surrogates are tolerated.
        """
        if not isinstance(text, str):
            raise DataError("spans needs a text", expected="str", got=type(text).__name__)
        if self._text_machine is None:
            self._text_machine = self._made_for(byte_vocab())
        data = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)
        bounds = np.array([0, len(data)], np.int64)
        _, matches = self._text_machine.run(data, bounds, np.empty(0, np.bool_), want_matches=True)
        char_of = np.cumsum((data & 0xC0) != 0x80) - 1  # byte -> index of its character
        grams = self.grams
        if self.kind == "tagger":  # its spans do not overlap
            return [
                Span(int(char_of[a]), int(char_of[z]) + 1, grams[g].text, grams[g].cluster)
                for a, z, g, _ in matches.tolist()
            ]
        # a match is owned away by one that begins no later and ends no earlier; in order of end these are seen from
        # behind
        kept: list[list[int]] = []
        for match in matches.tolist():
            while kept and kept[-1][0] >= match[0]:
                kept.pop()
            kept.append(match)
        if self.join == "cluster":
            kept = _joined(kept, self.grams.cluster_id)
        return [Span(int(char_of[a]), int(char_of[z]) + 1, grams[g].text, grams[g].cluster) for a, z, g, _, _ in kept]

    def _need_machine(self) -> _Machine | TaggerMachine:
        if self._machine is None:
            raise ConfigError(
                "this labeller has no tokenizer, so it can label text only",
                mend="Labeller(grams, tokenizer).label(token_ids), or .spans(text)",
            )
        return self._machine

    def _label_ragged(self, machine: _Machine | TaggerMachine, rows: Sequence[Any], mask: Any, offsets: Any) -> Labels:
        if offsets is not None:
            raise DataError("offsets go with flat ids, not with a list of rows")
        arrays = [_as_array(row, f"token_ids[{i}]") for i, row in enumerate(rows)]
        lengths = [len(array) for array in arrays]
        keep = np.empty(0, np.bool_)
        if mask is not None:
            keeps = [_as_array(row, f"mask[{i}]") for i, row in enumerate(mask)]
            if [k.shape for k in keeps] != [a.shape for a in arrays]:
                raise DataError(
                    "the mask is of another shape than the token ids",
                    expected=f"rows of {lengths[:8]} tokens",
                    got=f"rows of {[k.size for k in keeps][:8]}",
                )
            keep = np.concatenate([_keep(k, k.shape) for k in keeps])
        ids = np.concatenate([array for array in arrays if array.size] or [np.empty(0, np.int64)])
        if ids.dtype.kind not in "iu" or any(array.ndim != 1 for array in arrays):
            raise DataError("token_ids are no rows of integers", got=f"dtype {ids.dtype}")
        bounds = np.zeros(len(arrays) + 1, np.int64)
        np.cumsum(lengths, out=bounds[1:])
        found, _ = machine.run(ids, bounds, keep)
        return _labels([np.split(part, bounds[1:-1]) for part in found])


class _Machine:
    """Text rules, automaton and vocabulary, ready for the kernel."""

    def __init__(self, grams: GramSet, vocab: Vocab, join: Join) -> None:
        from hicra.labels import _kernel

        self.vocab = vocab
        self._cluster = grams.cluster_id if join == "cluster" else np.empty(0, np.int32)
        self.automaton = build(grams, lossy=vocab.lossy)
        self._rules = text_rules(grams.text_version, name=grams.rules, lossy=vocab.lossy)
        self._symbol = np.empty(len(vocab.data), np.uint8)
        self._facts = np.zeros((len(vocab), _kernel.COLUMNS), np.int32)
        a = self.automaton
        _kernel.classify(
            vocab.data, vocab.offset, self._rules.table, a.symbol_class, a.go, a.start, self._symbol, self._facts
        )
        self._ring = 1 << (a.longest + 3).bit_length()
        self._kernel = _kernel.label

    def run(
        self,
        ids: np.ndarray[Any, Any],
        bounds: np.ndarray[Any, Any],
        keep: np.ndarray[Any, Any],
        *,
        want_matches: bool = False,
    ) -> tuple[tuple[np.ndarray[Any, Any], ...], np.ndarray[Any, Any]]:
        """(mask, gram_id, begin), each (N,), and the matches (M, 5) where they are wanted."""
        a = self.automaton
        if ids.dtype not in (np.int32, np.int64, np.uint8):
            ids = ids.astype(np.int64)
        gram_id = np.full(len(ids), -1, np.int32)
        begin = np.zeros(len(ids), np.bool_)
        matches = np.empty((len(ids) // 2 + 1 if want_matches else 0, 5), np.int64)
        found = self._kernel(
            np.ascontiguousarray(ids), bounds, np.ascontiguousarray(keep), self.vocab.data, self._symbol, self._facts,
            self._rules.table, self._rules.start, a.symbol_class, a.go, a.start, a.first_out, a.next_out, a.gram,
            a.length, a.need, self._ring, self._cluster, gram_id, begin, matches,
        )  # fmt: skip
        if found < 0:
            raise self.vocab.outside(ids, bounds, -1 - found)
        return (gram_id >= 0, gram_id, begin), matches[:found]


def _labels(parts: Sequence[Any]) -> Labels:
    """From what a machine found: mask, gram_id, begin and, of the tagger, probability."""
    mask, gram_id, begin, *probability = parts
    return Labels(mask, gram_id, begin, probability=probability[0] if probability else None)


def _joined(kept: list[list[int]], cluster: np.ndarray[Any, np.dtype[np.int32]]) -> list[list[int]]:
    """Matches that own something, in order, with those of one cluster that touch made one; see `_kernel._join`."""
    found: list[list[int]] = []
    for start, last, gram, first_word, last_word in kept:
        before = found[-1] if found else None
        if before and cluster[gram] >= 0 and cluster[before[2]] == cluster[gram] and first_word <= before[4] + 1:
            before[1], before[4] = last, last_word
        else:
            found.append([start, last, gram, first_word, last_word])
    return found


def _is_row(item: Any) -> bool:
    return isinstance(item, Sequence | np.ndarray) or (hasattr(item, "ndim") and item.ndim > 0)


def _as_array(value: Any, name: str) -> np.ndarray[Any, Any]:
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    try:
        return np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"{name} cannot be read as an array of integers", got=str(error)) from error


def _keep(mask: Any, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    if mask is None:
        return np.empty(0, np.bool_)
    keep = _as_array(mask, "mask")
    if keep.shape != shape:
        raise DataError(
            "the mask is of another shape than the token ids", expected=str(tuple(shape)), got=str(tuple(keep.shape))
        )
    return keep if keep.dtype == np.bool_ else keep != 0


def _offsets(offsets: Any, ids: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    bounds = _as_array(offsets, "offsets")
    if (
        ids.ndim != 1
        or bounds.ndim != 1
        or bounds.dtype.kind not in "iu"
        or not len(bounds)
        or bounds[0] != 0
        or bounds[-1] != len(ids)
        or (np.diff(bounds.astype(np.int64)) < 0).any()
    ):
        raise DataError(
            "the offsets do not fit the flat token ids",
            expected=f"(B+1,) integers that rise from 0 to {ids.size}",
            got=f"ids of shape {tuple(ids.shape)}, offsets {bounds.tolist()[:8]}",
        )
    return bounds.astype(np.int64)
