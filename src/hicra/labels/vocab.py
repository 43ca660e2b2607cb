"""Tokenizer -> the bytes of every token id.

| tokenizer | how a token becomes bytes | lossless |
|---|---|---|
| byte-level BPE (GPT-2, Qwen, Llama-3) | each character stands for one byte | yes |
| SentencePiece, also with byte fallback (Llama-2, Gemma, Mistral) | U+2581 is a space, ``<0xE2>`` a byte | yes |
| WordPiece (BERT) | a space before each token, none before ``##`` | no: white space is lost |
| word level (the lab) | a space before each token | no |

Special tokens have no bytes: they break matches, as padding does.
"""

from __future__ import annotations

import contextlib
import re
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hicra.errors import ConfigError, DataError


@dataclass(frozen=True, eq=False)
class Vocab:
    """The bytes of a vocabulary of V tokens, end to end.

    Attributes:
        data: uint8, the bytes of all tokens one after the other.
        offset: int64 (V+1,), where each token's bytes begin; no bytes = a special token or an unused id.
        lossy: whether the tokenizer forgets white space, so that the text rules for lossy text apply.
        kind: the kind of tokenizer, for messages.
    """

    data: np.ndarray[Any, np.dtype[np.uint8]]
    offset: np.ndarray[Any, np.dtype[np.int64]]
    lossy: bool
    kind: str

    def __len__(self) -> int:
        return len(self.offset) - 1

    def __getitem__(self, token_id: int) -> bytes:
        return self.data[self.offset[token_id] : self.offset[token_id + 1]].tobytes()

    def outside(self, ids: np.ndarray[Any, Any], bounds: np.ndarray[Any, Any], at: int) -> DataError:
        """The error for an id that is no token: `ids` (N,) lie end to end, completions begin at `bounds`."""
        row = int(np.searchsorted(bounds, at, "right")) - 1
        return DataError(
            f"a token id is outside the vocabulary: completion {row}, token {at - int(bounds[row])}",
            expected=f"0 <= id < {len(self)} ({self.kind} tokenizer)",
            got=str(int(ids[at])),
            mend="use the tokenizer that made the ids, and mask padding out if it is marked by another number",
        )

    @classmethod
    def from_tokens(cls, tokens: Iterable[bytes], *, lossy: bool = False, kind: str = "custom") -> Vocab:
        """A vocabulary from the bytes of id 0, 1, 2, ...; ``b""`` marks a special token."""
        pieces = list(tokens)
        offset = np.zeros(len(pieces) + 1, np.int64)
        np.cumsum([len(piece) for piece in pieces], out=offset[1:])
        return cls(np.frombuffer(b"".join(pieces), np.uint8), offset, lossy, kind)


def byte_vocab() -> Vocab:
    """The vocabulary in which token b is byte b: plain UTF-8 text."""
    return Vocab(np.arange(256, dtype=np.uint8), np.arange(257, dtype=np.int64), lossy=False, kind="bytes")


_CACHE: weakref.WeakKeyDictionary[Any, tuple[int, Vocab]] = weakref.WeakKeyDictionary()


def vocab_of(tokenizer: Any) -> Vocab:
    """The bytes of every token of a tokenizer (cached while the tokenizer lives).

    Args:
        tokenizer: a transformers tokenizer (fast, or slow with a SentencePiece model), a ``tokenizers.Tokenizer``, or
            a `Vocab` made by hand for anything else.

    Raises:
        ConfigError: it is none of these, or of a kind whose bytes are not known.
    """
    if isinstance(tokenizer, Vocab):
        return tokenizer
    if not hasattr(tokenizer, "get_vocab"):
        raise ConfigError(
            "this is no tokenizer that hicra can read",
            expected="a transformers tokenizer, a tokenizers.Tokenizer or a hicra.labels.vocab.Vocab",
            got=type(tokenizer).__name__,
            mend="build a Vocab.from_tokens([bytes of id 0, bytes of id 1, ...]) for other tokenizers",
        )
    pieces: dict[str, int] = tokenizer.get_vocab()
    size = len(pieces)
    try:
        cached = _CACHE.get(tokenizer)
    except TypeError:  # a tokenizer that cannot be referred to weakly: build anew
        cached = None
    if cached is not None and cached[0] == size:
        return cached[1]
    kind, to_bytes, lossy = _kind_of(tokenizer)
    added = _added_tokens(tokenizer)
    if not pieces:
        raise DataError("the tokenizer's vocabulary is empty")
    tokens = [b""] * (max(max(pieces.values()), max(added, default=0)) + 1)
    for piece, token_id in pieces.items():
        tokens[token_id] = to_bytes(piece)
    for token_id, (content, special) in added.items():  # these are spelled in plain text whatever the kind
        plain = (b" " if lossy else b"") + content.encode("utf-8", "surrogatepass")
        tokens[token_id] = b"" if special else plain
    vocab = Vocab.from_tokens(tokens, lossy=lossy, kind=kind)
    with contextlib.suppress(TypeError):
        _CACHE[tokenizer] = (size, vocab)
    return vocab


def _kind_of(tokenizer: Any) -> tuple[str, Callable[[str], bytes], bool]:
    """Name of the kind, how one of its pieces becomes bytes, and whether it is lossy."""
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    model = getattr(backend, "model", None)
    if model is None:
        if hasattr(tokenizer, "sp_model"):
            return "SentencePiece", _sentencepiece_bytes, False
        raise ConfigError(
            f"the bytes of {type(tokenizer).__name__}'s tokens are not known",
            expected="a fast tokenizer (byte-level BPE, SentencePiece, WordPiece, word level)",
            mend="load it with use_fast=True, or build a hicra.labels.vocab.Vocab by hand",
        )
    name = type(model).__name__
    if name == "WordPiece":
        prefix = model.continuing_subword_prefix
        return "WordPiece", lambda piece: _wordpiece_bytes(piece, prefix), True
    if name == "WordLevel":
        return "word level", lambda piece: b" " + piece.encode("utf-8", "surrogatepass"), True
    parts = f"{backend.decoder!r} {backend.pre_tokenizer!r}"
    if "ByteLevel" in parts:
        return "byte-level BPE", _byte_level_bytes, False
    if "Metaspace" in parts or "ByteFallback" in parts or "▁" in parts:
        return "SentencePiece", _sentencepiece_bytes, False
    raise ConfigError(
        f"the bytes of this {name} tokenizer's tokens are not known: its decoder is {backend.decoder!r}"[:300],
        expected="byte-level BPE, SentencePiece (Metaspace or byte fallback), WordPiece or word level",
        mend="build a hicra.labels.vocab.Vocab by hand",
    )


def _added_tokens(tokenizer: Any) -> dict[int, tuple[str, bool]]:
    """Tokens added to the vocabulary, by id: content and whether they are special."""
    decoder = getattr(tokenizer, "added_tokens_decoder", None)
    if decoder is None and hasattr(tokenizer, "get_added_tokens_decoder"):
        decoder = tokenizer.get_added_tokens_decoder()
    if not decoder:
        return {}
    special = set(getattr(tokenizer, "all_special_ids", ()))
    return {i: (str(token.content), bool(token.special) or i in special) for i, token in decoder.items()}


def _byte_level_table() -> dict[int, str]:
    """The byte-level alphabet backwards: code point of the stand-in -> Latin-1 character of the byte.

    Printable bytes stand for themselves; the others are numbered upwards from U+0100 in order.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {**{byte: chr(byte) for byte in printable}, **{0x100 + i: chr(byte) for i, byte in enumerate(others)}}


_BYTE_LEVEL = _byte_level_table()
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def _byte_level_bytes(piece: str) -> bytes:
    try:
        return piece.translate(_BYTE_LEVEL).encode("latin-1")
    except UnicodeEncodeError:  # a piece outside the alphabet (an odd added token): its own text
        return piece.encode("utf-8", "surrogatepass")


def _sentencepiece_bytes(piece: str) -> bytes:
    byte = _BYTE_TOKEN.fullmatch(piece)
    if byte:
        return bytes([int(byte[1], 16)])
    return piece.replace("▁", " ").encode("utf-8", "surrogatepass")


def _wordpiece_bytes(piece: str, prefix: str) -> bytes:
    if prefix and piece.startswith(prefix) and len(piece) > len(prefix):
        return piece[len(prefix) :].encode("utf-8", "surrogatepass")
    return b" " + piece.encode("utf-8", "surrogatepass")
