"""The tables of a recipe, typed; see `hicra.engines.recipe`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hicra.errors import ConfigError

SHARDING = ("none", "zero2", "zero3", "fsdp")
"""How training states are spread over processes: copied, or as DeepSpeed's stages or FSDP do."""


@dataclass(frozen=True)
class ModelSection:
    """`[model]`: which model is trained.

    Attributes:
        name: a hub id, or a folder with a model and its tokenizer.
        init: arguments of `from_pretrained`, e.g. ``{dtype = "bfloat16", revision = "..."}``.
    """

    name: str
    init: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DataSection:
    """`[data]`: what it is trained on.

    Attributes:
        train: JSON lines (also .gz, .zst), Parquet, the name of a prompt set (`hicra.engines.prompts`), or a hub id;
            or a list of these, one after the other.
        split: of a hub dataset.
        config: of a hub dataset.
        eval: as `train`, for TRL's own evaluation (reward on further prompts; accuracies: `[evaluation]`).
        eval_split: of a hub dataset.
        prompt: column with the problem.
        answer: column with the reference answer; reward functions get it as ``answer``.
        images: column with pictures, for vision-language models.
        image_folder: where pictures lie that are given as relative paths; default: beside the file.
        template: the prompt's text, with ``{prompt}`` where the problem goes.
        system: a system message; makes the prompt a conversation.
        chat: whether the prompt becomes a conversation, to be laid out by the model's chat template.
        limit: use the first rows only.
        overlap: benchmarks (names, or ``name=file``) whose problems are looked for among the prompts.
        drop_overlap: leave such prompts out, instead of only saying so.
    """

    train: str | list[str]
    split: str = "train"
    config: str | None = None
    eval: str | None = None
    eval_split: str = "test"
    prompt: str = "prompt"
    answer: str = "answer"
    images: str = "images"
    image_folder: str | None = None
    template: str = "{prompt}"
    system: str | None = None
    chat: bool = False
    limit: int | None = None
    overlap: list[str] = field(default_factory=list)
    drop_overlap: bool = False

    def __post_init__(self) -> None:
        if "{prompt}" not in self.template:
            raise ConfigError(
                "[data] template has no place for the problem", expected="a text with {prompt}", got=repr(self.template)
            )
        if self.limit is not None and self.limit < 1:
            raise ConfigError("[data] limit leaves no rows", expected="1 or more", got=str(self.limit))
        if not self.train:
            raise ConfigError("[data] train names nothing", expected="a file, a prompt set or a hub id")

    @property
    def sources(self) -> list[str]:
        """What `train` names, as a list."""
        return [self.train] if isinstance(self.train, str) else list(self.train)


@dataclass(frozen=True)
class RewardSection:
    """`[reward]`: what is rewarded.

    Attributes:
        functions: names of built-in rewards, or ``module:function``.
        weights: one for each; default: 1.
    """

    functions: list[str] = field(default_factory=lambda: ["boxed"])
    weights: list[float] | None = None

    def __post_init__(self) -> None:
        if not self.functions:
            raise ConfigError("[reward] functions is empty", expected="at least one reward function")
        if self.weights is not None and len(self.weights) != len(self.functions):
            raise ConfigError(
                "[reward] weights do not go with the functions",
                expected=f"{len(self.functions)} weights",
                got=str(len(self.weights)),
            )


@dataclass(frozen=True)
class ContextSection:
    """`[context]`: let completions grow once too many are cut off (`hicra.engines.context`).

    Attributes:
        raise_to: the later `max_completion_length`.
        clipped: share of cut-off completions above which it is raised.
        steps: so many steps in a row.
    """

    raise_to: int
    clipped: float = 0.2
    steps: int = 1

    def __post_init__(self) -> None:
        if not (self.raise_to >= 1 and 0 <= self.clipped < 1 and self.steps >= 1):
            raise ConfigError(
                "[context] is out of range",
                expected="raise_to >= 1, 0 <= clipped < 1, steps >= 1",
                got=f"raise_to {self.raise_to}, clipped {self.clipped}, steps {self.steps}",
            )


@dataclass(frozen=True)
class LaunchSection:
    """`[launch]`: the machines that the recipe is for; used for the estimate of memory and the command to start it.

    Attributes:
        gpus: processes, one a GPU.
        gpu_memory: of one GPU, in GiB.
        sharding: one of `SHARDING`.
        vllm_gpus: further GPUs of a vLLM server.
    """

    gpus: int = 1
    gpu_memory: float = 80.0
    sharding: str = "none"
    vllm_gpus: int = 0

    def __post_init__(self) -> None:
        if self.gpus < 1 or self.gpu_memory <= 0 or self.sharding not in SHARDING or self.vllm_gpus < 0:
            raise ConfigError(
                "[launch] is out of range",
                expected=f"gpus >= 1, gpu_memory > 0, sharding {' | '.join(SHARDING)}, vllm_gpus >= 0",
                got=f"{self.gpus}, {self.gpu_memory}, {self.sharding!r}, {self.vllm_gpus}",
            )
