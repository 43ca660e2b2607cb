"""Sentence-transformers models for the encoder."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hicra.errors import ConfigError, MissingExtraError, require
from hicra.grams.packaged_model import PACKAGES
from hicra.grams.precision import place_and_dtype
from hicra.grams.vector_cache import Vectors

_EXPECTED = f"{' | '.join(PACKAGES)}, a folder, or the name of a sentence-transformers model on the hub"


class SentenceModel:
    """A sentence-transformers model.

    Args:
        name: a folder, or a model of the hub (weights in safetensors only).
        dtype: ``"float32"``, ``"bfloat16"`` or ``"auto"``.
        device: for torch, or ``"auto"``.

    Raises:
        MissingExtraError: sentence-transformers is not installed.
        ConfigError: the model cannot be loaded.
    """

    def __init__(self, name: str, *, dtype: str = "auto", device: str = "auto") -> None:
        library = require("sentence_transformers", "mine")
        import torch

        where, self.dtype = place_and_dtype(device, dtype)
        precision = {"dtype": getattr(torch, self.dtype), "use_safetensors": True}
        try:
            with without_bars():
                model = library.SentenceTransformer(name, device=where, model_kwargs=precision)
        except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
            raise ConfigError(
                f"cannot load the encoder {name!r}",
                expected=_EXPECTED,
                got=(str(error).splitlines() or [type(error).__name__])[0][:200],
            ) from error
        self._model = model.eval()
        if self.dtype != "float32":  # the mean over tokens is taken in float32
            self._model[0].register_forward_hook(_widen)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the weights, the tokenizer, the modules and the precision."""
        import torch

        digest = hashlib.sha256(f"{self._model!r} {self._model.prompts!r} {self.dtype}".encode())
        rules = getattr(self._model.tokenizer, "backend_tokenizer", self._model.tokenizer)
        digest.update(rules.to_str().encode() if hasattr(rules, "to_str") else repr(rules).encode())
        for name, tensor in sorted(self._model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy())
        return digest.hexdigest()[:32]

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text; zeros where the model has no tokenizer of the usual kind (then one length is all)."""
        tokenizer = self._model.tokenizer
        if not hasattr(tokenizer, "backend_tokenizer"):
            return [0] * len(texts)
        rows = tokenizer(list(texts), padding=False, truncation=True, max_length=self._model.max_seq_length)
        return [len(ids) for ids in rows["input_ids"]]

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """(K, D) float32."""
        found = self._model.encode(
            list(texts),
            batch_size=len(texts),
            show_progress_bar=False,
            convert_to_numpy=True,
            normalize_embeddings=False,
        )
        return np.asarray(found, np.float32)


def check(name: str) -> None:
    """Raise what `SentenceModel` would, as far as that can be known without loading anything."""
    if name.startswith((os.sep, ".", "~")) and not Path(name).is_dir():
        raise ConfigError(f"there is no folder {name} with an encoder", expected=_EXPECTED)
    if importlib.util.find_spec("sentence_transformers") is None:
        raise MissingExtraError(
            "this part of hicra needs the package 'sentence_transformers', which is not installed",
            mend='pip install "hicra[mine]"',
        )


@contextmanager
def without_bars() -> Iterator[None]:
    """Without transformers' own progress bars over weights; we have ours."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _widen(module: Any, inputs: Any, features: dict[str, Any]) -> dict[str, Any]:
    tokens = features.get("token_embeddings")
    return features if tokens is None else features | {"token_embeddings": tokens.float()}
