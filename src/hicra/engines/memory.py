r"""What a run needs of a GPU's memory, estimated from the model's shape before anything is loaded.

With N parameters, L layers, width H, Q query and K key/value channels, F the feed-forward width, V tokens in the
vocabulary, W processes that training states are shared by, b completions a micro-batch, P prompt and T completion
tokens, p bytes a parameter (4, or 2 where the model is loaded in bfloat16):

    weights        p N                                   / W with zero3, fsdp
    gradients      p N                                   / W with zero2, zero3, fsdp
    Adam           2 p N                                 / W with any sharding
    gathered       2 * 2 N / L                           zero3, fsdp: two layers at a time, in bfloat16
    checkpoints    2 L b (P+T) H                         the input of each layer, in bfloat16
    one layer      4 b (P+T) (5 H + 2 Q + 2 K + 3 F)     recomputed, and its gradients; without checkpointing: every one
    rollouts       u M                                   vLLM beside the trainer: its share u of the GPU's memory M
                   2 N + 4 L K g (P+T)                   transformers' generate, g completions at a time

There are no logits in the list: TRL's loss goes through the vocabulary in tiles and holds none (on a CPU it does, 7
bytes each as measured). vLLM's share must hold 2 N / tp bytes of weights, and what is left holds its cache: 4 L K / tp
bytes a token; asleep, it takes nothing while the trainer works, and the larger of the two phases counts. Mixed
precision (bf16 with weights in float32) has p = 4. A vision tower counts with its parameters, its activations do not.
What the estimate leaves out (fragmentation, CUDA itself, communication) it takes to be a tenth.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hicra.engines.recipe import Recipe
    from hicra.engines.trl_config import HICRAConfig

GIB = 2**30
SPARE = 1.1
"""What comes on top of the sum: fragmentation, CUDA, communication."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What the estimate needs of a model; letters as above.

    Attributes:
        layers, width, feed_forward, vocabulary: L, H, F, V.
        heads, kv_heads, head: number of query and of key/value heads, channels of one.
        tied: whether input and output embedding are one.
        further: parameters that are not the text decoder's: a vision tower.
    """

    layers: int
    width: int
    feed_forward: int
    vocabulary: int
    heads: int
    kv_heads: int
    head: int
    tied: bool
    further: int = 0

    @property
    def parameters(self) -> int:
        """N: embeddings, attention and gated feed-forward; norms and biases too, as far as they count."""
        attention = self.width * self.head * (2 * self.heads + 2 * self.kv_heads)
        layer = attention + 3 * self.width * self.feed_forward + 2 * self.width
        embeddings = self.vocabulary * self.width * (1 if self.tied else 2)
        return self.layers * layer + embeddings + self.width + self.further


_QWEN25_7B = Shape(28, 3584, 18944, 152_064, 28, 4, 128, tied=False)
_QWEN3_4B = Shape(36, 2560, 9728, 151_936, 32, 8, 128, tied=True)
_LLAMA31_8B = Shape(32, 4096, 14336, 128_256, 32, 8, 128, tied=False)

SHAPES: dict[str, Shape] = {
    "Qwen/Qwen2.5-7B": _QWEN25_7B,
    "Qwen/Qwen3-4B": _QWEN3_4B,
    "Qwen/Qwen3-4B-Base": _QWEN3_4B,
    "Qwen/Qwen3-4B-Instruct-2507": _QWEN3_4B,
    "meta-llama/Llama-3.1-8B": _LLAMA31_8B,
    "meta-llama/Llama-3.1-8B-Instruct": _LLAMA31_8B,
    "deepseek-ai/DeepSeek-R1-Distill-Llama-8B": _LLAMA31_8B,
    "Qwen/Qwen2.5-VL-7B-Instruct": Shape(28, 3584, 18944, 152_064, 28, 4, 128, tied=False, further=676_550_144),
    "XiaomiMiMo/MiMo-VL-7B-SFT-2508": Shape(36, 4096, 11008, 151_680, 32, 8, 128, tied=False, further=680_000_000),
    "XiaomiMiMo/MiMo-VL-7B-RL-2508": Shape(36, 4096, 11008, 151_680, 32, 8, 128, tied=False, further=680_000_000),
}
"""Shapes of the paper's models, as in their config.json; MiMo-VL's tower is taken to be as large as Qwen2.5-VL's."""


def shape_of(name: str, folder: Path | None = None) -> Shape | None:
    """Shape of a model: from the config.json of a folder, from the hub's cache on this machine, else from `SHAPES`."""
    place = folder / "config.json" if folder is not None else _cached(name)
    if place is not None and place.is_file():
        return from_config(json.loads(place.read_text("utf-8")))
    return SHAPES.get(name)


def from_config(config: Mapping[str, Any]) -> Shape | None:
    """Shape from the content of a config.json, None where it is none of a gated decoder."""
    text = config.get("text_config") or config
    try:
        heads, width = int(text["num_attention_heads"]), int(text["hidden_size"])
        return Shape(
            layers=int(text["num_hidden_layers"]),
            width=width,
            feed_forward=int(text["intermediate_size"]),
            vocabulary=int(text["vocab_size"]),
            heads=heads,
            kv_heads=int(text.get("num_key_value_heads") or heads),
            head=int(text.get("head_dim") or width // heads),
            tied=bool(text.get("tie_word_embeddings", config.get("tie_word_embeddings", False))),
            further=_tower(config.get("vision_config")),
        )
    except (KeyError, TypeError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class Need:
    """Memory of one GPU in bytes.

    Attributes:
        parts: what takes it while the trainer works.
        room: of the GPU.
        asleep: what vLLM takes in its turn, when it sleeps while the trainer works.
        notes: in words.
    """

    parts: dict[str, float]
    room: float
    asleep: float
    notes: list[str]

    @property
    def total(self) -> float:
        """The larger phase, and what comes on top."""
        ours = sum(size for name, size in self.parts.items() if name != "vLLM")
        states = sum(self.parts[name] for name in ("weights", "gradients", "Adam"))
        return max(ours * SPARE + self.parts.get("vLLM", 0.0), states * SPARE + self.asleep)

    @property
    def fits(self) -> bool:
        """Whether one GPU has room."""
        return self.total <= self.room


def estimate(recipe: Recipe, config: HICRAConfig, completion: int | None = None) -> Need | None:
    """Memory that a recipe needs of each of its GPUs, None where the model's shape is not known.

    Args:
        recipe: its `[model]` and `[launch]`.
        config: its training settings.
        completion: T; default: `max_completion_length`.
    """
    shape = shape_of(recipe.model.name, recipe.file(recipe.model.name))
    if shape is None:
        return None
    launch = recipe.launch
    length = completion or config.max_completion_length
    prompt = PROMPT_TOKENS
    n = shape.parameters
    p = 2 if "16" in str(recipe.model.init.get("dtype", recipe.model.init.get("torch_dtype", ""))) else 4
    w = launch.gpus
    shared = {"none": (1, 1, 1), "zero2": (1, w, w), "zero3": (w, w, w), "fsdp": (w, w, w)}[launch.sharding]
    b = config.per_device_train_batch_size
    tokens = b * (prompt + length)
    q, k = shape.heads * shape.head, shape.kv_heads * shape.head
    layer = 4 * tokens * (5 * shape.width + 2 * q + 2 * k + 3 * shape.feed_forward)
    parts: dict[str, float] = {
        "weights": p * n / shared[0],
        "gradients": p * n / shared[1],
        "Adam": 2 * p * n / shared[2],
        "activations": 2 * shape.layers * tokens * shape.width + layer
        if config.gradient_checkpointing
        else layer * shape.layers,
    }
    if launch.sharding in ("zero3", "fsdp"):
        parts["gathered layers"] = 2 * 2 * n / shape.layers
    notes: list[str] = []
    asleep = 0.0
    room = launch.gpu_memory * GIB
    cache = 4 * shape.layers * k
    if config.use_vllm:
        tp = config.vllm_tensor_parallel_size
        beside = config.vllm_mode == "colocate"
        share = config.vllm_gpu_memory_utilization * room if beside else 0.9 * room
        sleeps = beside and config.vllm_enable_sleep_mode
        if beside and not sleeps:
            parts["vLLM"] = share
        asleep = share if sleeps else 0.0
        free = (share - 2 * n / tp) / (cache / tp * (prompt + length))
        where = "beside the trainer" if beside else f"on {launch.vllm_gpus} further GPUs"
        notes.append(
            f"vLLM {where}: {share / GIB:.1f} GiB, of it weights {2 * n / tp / GIB:.1f}, cache for "
            f"{max(0.0, free):.0f} whole completions at once" + ("; asleep while the trainer works" if sleeps else "")
        )
        if free < 1:
            notes.append("vLLM has no room for a single whole completion: raise vllm_gpu_memory_utilization")
    else:
        together = b * config.steps_per_generation
        parts["generation"] = cache * together * (prompt + length) + (2 * n if shared[0] > 1 else 0)
    return Need(parts, room, asleep, notes)


PROMPT_TOKENS = 1024
"""P of the estimate: TRL sets no limit to prompts any more; the prompt sets stay below this but for pictures."""


def _tower(vision: Mapping[str, Any] | None) -> int:
    """Parameters of a vision tower, roughly: its blocks."""
    if not vision:
        return 0
    width = int(vision.get("hidden_size") or vision.get("embed_dim") or 0)
    inner = int(vision.get("intermediate_size") or 4 * width)
    return int(vision.get("depth") or vision.get("num_hidden_layers") or 0) * (4 * width * width + 3 * width * inner)


def _cached(name: str) -> Path | None:
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    try:
        found = try_to_load_from_cache(name, "config.json")
    except ValueError:  # not a name of the hub
        return None
    return Path(found) if isinstance(found, str) else None
