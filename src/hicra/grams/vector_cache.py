"""Vectors on disk, found by the content of the text that they stand for.

A cache is a folder of shards. A shard is a safetensors file with ``keys`` (N, 16), 128-bit BLAKE2b hashes of the texts,
and ``vectors`` (N, D) float32; the texts themselves are not stored. A shard is written whole or not at all and never
changed, so any number of processes may share a folder, and a process that is killed leaves what it had finished.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hicra.traces.disk import TMP_SUFFIX, write_atomic

_KEY = 16  # bytes

Vectors = np.ndarray[Any, np.dtype[np.float32]]


def default_cache() -> Path:
    """Where hicra keeps what it can compute anew: ``$HICRA_CACHE``, or ``hicra`` in the user's cache folder."""
    named = os.environ.get("HICRA_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hicra"


class VectorCache:
    """The vectors of one model.

    Args:
        folder: of the shards; made when the first one is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, texts: Sequence[str]) -> tuple[np.ndarray[Any, np.dtype[np.bool_]], Vectors | None]:
        """Look texts up.

        Returns:
            Which are there (K,), and vectors (K, D) whose other rows are zero; None where none is there. Shards that
            are damaged, or of another dimension than the first, count as not there.
        """
        wanted = {key_of(text): i for i, text in enumerate(texts)}
        there = np.zeros(len(texts), np.bool_)
        vectors: Vectors | None = None
        for keys, stored in self._shards():
            hits = [(wanted[key], row) for row, key in enumerate(keys) if key in wanted]
            if not hits:
                continue
            if vectors is None:
                vectors = np.zeros((len(texts), stored.shape[1]), np.float32)
            if stored.shape[1] != vectors.shape[1]:
                continue
            to, rows = np.array(hits).T
            vectors[to] = stored[rows]
            there[to] = True
        return there, vectors

    def add(self, texts: Sequence[str], vectors: Vectors) -> Path:
        """Store a shard.

        Raises:
            OSError: it cannot be written.
        """
        from safetensors.numpy import save

        keys = b"".join(map(key_of, texts))
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{hashlib.sha256(keys).hexdigest()[:32]}.safetensors"
        tensors = {
            "keys": np.frombuffer(keys, np.uint8).reshape(-1, _KEY),
            "vectors": np.ascontiguousarray(vectors, np.float32),
        }
        write_atomic(path, save(tensors))
        return path

    def _shards(self) -> Iterator[tuple[list[bytes], Vectors]]:
        from safetensors import SafetensorError, safe_open

        for path in sorted(self.folder.glob("*.safetensors")):
            if path.name.startswith(".") or path.name.endswith(TMP_SUFFIX):
                continue
            try:
                with safe_open(path, framework="np") as shard:
                    keys, vectors = shard.get_tensor("keys"), shard.get_tensor("vectors")
            except (OSError, SafetensorError):  # gone, or cut off by a failing disk: computed anew
                continue
            if keys.shape == (len(vectors), _KEY) and vectors.ndim == 2 and vectors.dtype == np.float32:
                flat = keys.tobytes()
                yield [flat[i : i + _KEY] for i in range(0, len(flat), _KEY)], vectors


def key_of(text: str) -> bytes:
    """The 128-bit hash under which a text's vector is stored."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_KEY).digest()
