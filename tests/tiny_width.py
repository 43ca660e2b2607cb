"""Runs of the TRL engine for tests of several processes: rollouts that do not depend on how many there are."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from tests.tiny_trl import dataset, make_tiny, model, trainer

G = 8
WORDS = [2, 3, 5, 17, 17, 18, 19, 24]
"""Ids; 17 is "wait"."""


def reward(prompts: Any, completion_ids: Any, **_: Any) -> list[float]:
    """Of some prompts all completions are worth the same."""
    return [
        0.5 if prompt.startswith(("1", "3")) else sum(token == 17 for token in ids) / len(ids)
        for prompt, ids in zip(prompts, completion_ids, strict=True)
    ]


def train(folder: str | Path, processes: int, runs: dict[str, dict[str, Any]]) -> None:
    """Train each run in this process, one of `processes`; writes ``NAME-RANK.json`` with the weights and the losses."""
    from hicra.engines.trl import HICRAConfig, HICRATrainer

    folder, rank = Path(folder), int(os.environ.get("RANK", "0"))
    folder.mkdir(exist_ok=True)
    tokenizer = make_tiny().make_tokenizer()

    def rollout(prompts: list[str], trainer: Any) -> dict[str, Any]:
        rows = []
        for i, prompt in enumerate(prompts):
            draw = np.random.default_rng([*prompt.encode(), (rank * len(prompts) + i) % G])
            rows.append(draw.choice(WORDS, int(draw.integers(6, 13))).tolist())
        return {
            "prompt_ids": [tokenizer(p)["input_ids"] for p in prompts],
            "completion_ids": rows,
            "logprobs": [[-3.3] * len(row) for row in rows],
            "env_mask": [[1] * 3 + [0] * 2 + [1] * (len(row) - 5) for row in rows],
        }

    for name, settings in runs.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = trainer(
                HICRATrainer,
                HICRAConfig,
                folder / name,
                model=model(folder / f"model-{rank}"),
                rollout_func=rollout,
                reward_funcs=reward,
                train_dataset=dataset(8),
                num_generations=G,
                per_device_train_batch_size=8 // processes,
                gradient_accumulation_steps=2,
                filter_groups=True,
                alpha=0.3,
                **({"ddp_backend": "gloo"} if processes > 1 else {}),
                **settings,
            )
            made.train()
        weights = [p.detach() for p in made.accelerator.unwrap_model(made.model).parameters()]
        losses = [line["loss"] for line in made.state.log_history if "loss" in line]
        end = [[float(p.double().sum()), float(p.double().abs().max())] for p in weights]
        (folder / f"{name}-{rank}.json").write_text(json.dumps([end, losses]))
