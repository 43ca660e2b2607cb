"""Everything that a lab experiment is made of, as one value with a JSON form and a hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any, TypeVar

from hicra.errors import ConfigError
from hicra.lab.model import ModelSize
from hicra.lab.warmstart import WarmStart
from hicra.lab.world import World
from hicra.lab.writer import Habits

ARMS = ("grpo", "hicra")
"""The runs of an experiment: GRPO (observed, alpha 0) and HICRA. They differ in alpha alone."""


@dataclass(frozen=True, slots=True)
class Training:
    """How an arm is trained and judged.

    Attributes:
        steps: optimizer steps, one generation each.
        prompts: prompts a step; completions a step are `prompts * group_size`.
        group_size: completions a prompt (G).
        max_tokens: where completions are cut.
        soft_tokens: the reward begins to fall so many tokens before the cut (DAPO's soft overlong punishment, arXiv
            2503.14476).
        overlong_price: by how much it has fallen for a completion that was cut.
        learning_rate: constant.
        alpha: of the HICRA arm.
        alpha_schedule: of the HICRA arm: "constant", or "competence" (`hicra.credit.schedule`).
        eval_every: steps between evaluations; there is one before the first step and one after the last.
        eval_samples: completions of each held-out problem in an evaluation; twice as many in the first and the last.
        eval_problems: at most so many held-out problems.
        save_every: steps between checkpoints.
    """

    steps: int = 48
    prompts: int = 16
    group_size: int = 8
    max_tokens: int = 160
    soft_tokens: int = 48
    overlong_price: float = 0.5
    learning_rate: float = 3e-4
    alpha: float = 0.2
    alpha_schedule: str = "constant"
    eval_every: int = 12
    eval_samples: int = 2
    eval_problems: int = 400
    save_every: int = 12

    def __post_init__(self) -> None:
        for name in ("steps", "prompts", "max_tokens", "eval_every", "eval_samples", "eval_problems", "save_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"the lab's {name!r} must be positive", expected=">= 1", got=str(getattr(self, name)))
        if self.group_size < 2:
            raise ConfigError(
                "a group has at least two completions", expected="group_size >= 2", got=str(self.group_size)
            )
        if not 0 < self.soft_tokens <= self.max_tokens:
            raise ConfigError("soft_tokens must lie within max_tokens", got=f"{self.soft_tokens} of {self.max_tokens}")


@dataclass(frozen=True, slots=True)
class LabSettings:
    """A whole experiment: the world and its writer, the model and its warm start, training, and the seed of training.

    The warm start has a seed of its own (`warm_start.seed`), so that experiments with several seeds start from the
    same model.
    """

    world: World = field(default_factory=World)
    habits: Habits = field(default_factory=Habits)
    model: ModelSize = field(default_factory=ModelSize)
    warm_start: WarmStart = field(default_factory=WarmStart)
    training: Training = field(default_factory=Training)
    seed: int = 0

    @classmethod
    def quick(cls, seed: int = 0) -> LabSettings:
        """The smallest experiment that goes through every station: in an easy world and for a few steps."""
        return cls(
            world=World(largest=5, approaches=3),
            model=ModelSize(width=64, layers=2, heads=4, feed_forward=128),
            warm_start=WarmStart(comparisons=2_000, samples=6_000),
            training=Training(
                steps=8,
                prompts=8,
                group_size=4,
                max_tokens=96,
                soft_tokens=24,
                eval_every=4,
                eval_samples=2,
                eval_problems=48,
                save_every=4,
            ),
            seed=seed,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> LabSettings:
        """The inverse of `to_dict`.

        Raises:
            ConfigError: a name is unknown, or a value is out of range.
        """
        return _build(cls, content, "settings")

    @property
    def warm_start_hash(self) -> str:
        """Identifies the warm-started model: what it was trained on, how, and at which size."""
        parts = {name: asdict(getattr(self, name)) for name in ("world", "habits", "model", "warm_start")}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


T = TypeVar("T")

_NESTED: Mapping[str, type] = {
    "world": World,
    "habits": Habits,
    "model": ModelSize,
    "warm_start": WarmStart,
    "training": Training,
}


def _build(kind: type[T], content: Mapping[str, Any], where: str) -> T:
    assert is_dataclass(kind)
    names = [f.name for f in fields(kind)]
    unknown = sorted(set(content) - set(names))
    if unknown:
        raise ConfigError(f"{where} has no {', '.join(map(repr, unknown))}", expected=f"some of {', '.join(names)}")
    values = {
        k: _build(_NESTED[k], v, f"{where}.{k}") if kind is LabSettings and k in _NESTED else v
        for k, v in content.items()
    }
    return kind(**values)
