"""Synthetic training runs of which is known what happens in them: phases, collapse, stuffed phrases, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from hicra.dynamics.reading import Completions
from hicra.traces.rundir import RunWriter

GRAMS, CLUSTERS = 24, 8
WORDS = (" so", " add", " x", "=", " then", " 7")
Level = Callable[[float], float]


def flat(value: float) -> Level:
    """The same level from the first step (0) to the last (1)."""
    return lambda t: value


def bent(start: float, end: float, begin: float, stop: float) -> Level:
    """A straight way from `start` to `end` between two moments of the run."""
    return lambda t: start + (end - start) * min(1.0, max(0.0, (t - begin) / (stop - begin)))


@dataclass(frozen=True)
class World:
    """Levels over a run, numbers or functions of the moment in [0, 1]; by default nothing happens.

    Attributes:
        nll, entropy: mean NLL and entropy of execution tokens, nats; planning tokens have twice as much.
        share: chance that a planning phrase of four tokens starts, times four.
        skew: exponent of the frequencies of grams; the lower, the higher the semantic entropy.
        length, reward, truncated: means over completions.
    """

    nll: Any = 0.4
    entropy: Any = 0.5
    share: Any = 0.08
    skew: Any = 1.0
    length: Any = 100.0
    reward: Any = 0.4
    truncated: Any = 0.02

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not callable(value):
                object.__setattr__(self, field.name, flat(value))

    def frequencies(self, t: float) -> np.ndarray:
        """(GRAMS,) probabilities."""
        p = np.arange(1, GRAMS + 1) ** -self.skew(t)
        return p / p.sum()


def gram_set() -> dict[str, Any]:
    """Grams of eight clusters, as `GramSet.to_dict` has them."""
    grams = [
        {"text": f"phrase {'abcdefghijklmnopqrstuvwxyz'[i]}", "at": "any", "cluster": f"move {i % CLUSTERS}"}
        for i in range(GRAMS)
    ]
    return {"name": "planted", "hash": "cd" * 32, "text_version": 1, "grams": grams}


def completions(world: World, seed: int, steps: int = 60, prompts: int = 8, group: int = 4) -> Completions:
    """All completions of a run in memory, without tokens."""
    rng = np.random.default_rng(seed)
    n = prompts * group
    t = np.repeat(np.arange(steps) / (steps - 1), n)
    step = np.repeat(np.arange(steps), n)
    prompt = np.tile(np.repeat(np.arange(prompts), group), steps) + step % 5 * prompts
    hardness = rng.normal(0, 0.1, (steps, prompts)).repeat(group, axis=1).reshape(-1)
    length = rng.poisson([world.length(x) for x in t])
    planning = 4 * rng.binomial(length, [world.share(x) / 4 for x in t])
    execution = length - planning
    counts = np.array([rng.multinomial(k // 4, world.frequencies(x)) for k, x in zip(planning, t, strict=True)])
    row, gram = np.nonzero(counts)

    def sums(level: Level, kinds: np.ndarray, scale: float) -> np.ndarray:
        mean = np.array([level(x) for x in t]) * scale * np.exp(hardness)
        return rng.gamma(np.maximum(kinds, 1) * 1.0, mean) * (kinds > 0)

    return Completions(
        steps=np.arange(1, steps + 1),
        step_of=step,
        prompt=prompt,
        group=np.arange(steps * prompts).repeat(group),
        columns={
            "reward": (rng.random(len(t)) < np.array([world.reward(x) for x in t]) - hardness).astype(float),
            "length": length.astype(float),
            "truncated": (rng.random(len(t)) < [world.truncated(x) for x in t]).astype(float),
            "n_planning": planning.astype(float),
            "n_execution": execution.astype(float),
            "sum_logprob_planning": -sums(world.nll, planning, 2.0),
            "sum_logprob_execution": -sums(world.nll, execution, 1.0),
            "sum_entropy_planning": sums(world.entropy, planning, 2.0),
            "sum_entropy_execution": sums(world.entropy, execution, 1.0),
        },
        gram_row=row,
        gram_id=gram,
        gram_count=counts[row, gram],
    )


def write(
    path: Path, world: World, *, seed: int = 0, steps: int = 40, prompts: int = 5, group: int = 4, kept: int = 3
) -> Path:
    """A run directory with tokens of the first `kept` groups, and an evaluation at every eighth step."""
    with mock.patch("os.fsync"):  # durability is tested elsewhere, and slow
        return _write(path, world, seed, steps, prompts, group, kept)


def _write(path: Path, world: World, seed: int, steps: int, prompts: int, group: int, kept: int) -> Path:
    rng = np.random.default_rng(seed)
    writer = RunWriter.create(path, config={"seed": seed}, seeds={"train": seed}, grams=gram_set(), engine="planted")
    for step in range(1, steps + 1):
        t = (step - 1) / (steps - 1)
        rows = [_completion(world, t, rng) for _ in range(prompts * group)]
        completions, rollouts = [], []
        for i, row in enumerate(rows):
            name = f"p{(step * prompts + i // group) % 30}"
            key = {"prompt_id": name, "group_id": i // group, "reward": row["reward"]}
            completions.append({**key, **row["completion"]})
            if i // group < kept:
                rollouts.append({**key, "prompt": "1 + 1 =", "completion": "", **row["rollout"]})
        writer.write_rows(step, completions, rollouts)
        writer.commit(step, {"reward": float(np.mean([r["reward"] for r in rows]))})
        if step % 8 == 0:
            writer.eval(step, {"accuracy": world.reward(t) + 0.01 * rng.standard_normal(), "n": 400})
    return path


def _completion(world: World, t: float, rng: np.random.Generator) -> dict[str, Any]:
    length = int(rng.poisson(world.length(t)))
    gram_id, begin = np.full(length, -1), np.zeros(length, bool)
    p, at = world.frequencies(t), int(rng.integers(0, 8))
    while at + 8 <= length:
        if rng.random() < world.share(t) / 4 * 1.5:
            gram_id[at : at + 4] = rng.choice(GRAMS, p=p)
            begin[at] = True
            at += 4
        at += 1
    planning = gram_id >= 0
    scale = np.where(planning, 2.0, 1.0)
    entropy, logprob = rng.gamma(1.0, world.entropy(t) * scale), -rng.gamma(1.0, world.nll(t) * scale)
    symbols = rng.integers(0, len(WORDS), length)
    ids, counts = np.unique(gram_id[begin], return_counts=True)
    sums = {
        f"sum_{name}_{kind}": float(values[kinds].sum())
        for name, values in (("entropy", entropy), ("logprob", logprob))
        for kind, kinds in (("planning", planning), ("execution", ~planning))
    }
    return {
        "reward": float(rng.random() < world.reward(t)),
        "completion": {
            "advantage": 0.0,
            "length": length,
            "truncated": bool(rng.random() < world.truncated(t)),
            "n_planning": int(planning.sum()),
            "n_execution": int((~planning).sum()),
            **sums,
            "gram_ids": ids,
            "gram_counts": counts,
        },
        "rollout": {
            "token_ids": symbols + 100,
            "token_text": [WORDS[s] for s in symbols],
            "logprob": logprob,
            "entropy": entropy,
            "advantage": [0.0] * length,
            "planning": planning,
            "gram_id": gram_id,
            "begin": begin,
        },
    }
