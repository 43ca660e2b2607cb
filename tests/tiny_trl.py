"""A minuscule model for tests of the TRL engine: made once, trained in under a second, planning tokens by chance."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Any

import torch

RECIPES = Path(__file__).parent.parent / "recipes"


@functools.cache
def make_tiny() -> Any:
    """The module recipes/make_tiny.py."""
    spec = importlib.util.spec_from_file_location("make_tiny", RECIPES / "make_tiny.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def reward(completions: Any, completion_ids: Any, **_: Any) -> list[float]:
    """Share of token ids that three divides: never all equal, cheap, a function of the tokens alone."""
    return [sum(t % 3 == 0 for t in ids) / max(1, len(ids)) for ids in completion_ids]


def dataset(n: int = 32) -> Any:
    from datasets import Dataset

    return Dataset.from_dict({"prompt": [f"{i % 10} + {i // 10} =" for i in range(n)]})


IGNORED = [
    "ignore:.*gradient_checkpointing:FutureWarning",  # transformers on TRL's use of its old names
    "ignore:You are using 'rollout_func':UserWarning",
]
"""Warnings of other packages that runs of the trainer raise."""

SETTINGS: dict[str, Any] = {
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
    "num_generations": 4,
    "max_completion_length": 12,
    "max_steps": 3,
    "logging_steps": 1,
    "learning_rate": 5e-3,
    "report_to": "none",
    "use_cpu": True,
    "bf16": False,
    "save_strategy": "no",
    "seed": 7,
    "disable_tqdm": True,
    "gradient_checkpointing": False,
    # GRPOConfig's own defaults differ from HICRAConfig's: what is compared has to be the same
    "loss_type": "dapo",
    "scale_rewards": "none",
    "epsilon": 0.2,
    "epsilon_high": 0.28,
    "beta": 0.0,
}


def model(path: Path) -> Any:
    """A fresh model with fixed weights; it lies on disk too, for the reference model of runs with a KL term."""
    torch.set_num_threads(1)
    made = make_tiny().make_model(len(make_tiny().make_tokenizer()))
    if not path.exists():
        made.save_pretrained(path)
    made.config._name_or_path = str(path)
    return made


def trainer(kind: type, config: type, folder: Path, **settings: Any) -> Any:
    """A trainer of that class on the tiny model; settings go over `SETTINGS`, output into the folder."""
    own = (
        "model",
        "train_dataset",
        "eval_dataset",
        "reward_funcs",
        "rollout_func",
        "credit",
        "processing_class",
        "peft_config",
    )
    extra = {name: settings.pop(name) for name in own if name in settings}
    args = config(output_dir=str(folder / "out"), **{**SETTINGS, **settings})
    kwargs = {
        "model": model(folder / "model"),
        "reward_funcs": reward,
        "args": args,
        "train_dataset": dataset(),
        "processing_class": make_tiny().make_tokenizer(),
    }
    made = kind(**{**kwargs, **extra})
    from transformers.trainer_callback import PrinterCallback

    made.remove_callback(PrinterCallback)
    return made


def history(done: Any) -> list[tuple[float, float, float]]:
    """(loss, gradient norm, reward) of every logged step."""
    return [(h["loss"], h["grad_norm"], h.get("reward")) for h in done.state.log_history if "loss" in h]
