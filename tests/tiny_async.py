"""Rollouts and attention for TRL's asynchronous trainer without a server or a GPU: a script, plain attention."""

from __future__ import annotations

import queue
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from trl.experimental.async_grpo.async_rollout_worker import RolloutSample

from tests.tiny_trl import IGNORED, SETTINGS, make_tiny, model

__all__ = ["IGNORED", "Nowhere", "Scripted", "make_it_run_on_a_cpu", "samples", "samples_of", "trainer"]

G = 4
SHARED = {
    k: SETTINGS[k] for k in ("max_steps", "logging_steps", "learning_rate", "report_to", "use_cpu", "bf16", "seed")
}
OWN: dict[str, Any] = {
    **SHARED,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
    "num_generations": G,
    "token_budget": 0,
    "save_strategy": "no",
    "disable_tqdm": True,
    "gradient_checkpointing": False,
    "epsilon": 0.2,
    "epsilon_high": 0.28,
}


def samples(groups: int, seed: int = 0) -> list[RolloutSample]:
    """Whole groups of completions of random words; of some, the middle third is a tool's."""
    tokenizer = make_tiny().make_tokenizer()
    random = np.random.default_rng(seed)
    out = []
    for group in range(groups):
        prompt = tokenizer(f"{group % 10} + 1 =")["input_ids"]
        rewards = random.random(G)
        for i in range(G):
            length = int(random.integers(5, 10))
            own = np.ones(length, np.int64)
            if i % 2:
                own[length // 3 : 2 * length // 3] = 0
            ids = np.concatenate([prompt, random.integers(3, len(tokenizer), length)]).astype(np.int64)
            mask = np.concatenate([np.zeros(len(prompt), np.int64), own])
            out.append(
                RolloutSample(
                    prompt=[],
                    completion=[],
                    input_ids=ids,
                    completion_mask=mask,
                    old_log_probs=np.where(mask, -3.3, 0.0).astype(np.float32),
                    advantage=float((rewards[i] - rewards.mean()) / (rewards.std() + 1e-8)),
                    model_version=0,
                    group_id=group,
                    metrics={"reward": float(rewards[i]), "reward_std": float(rewards.std())},
                )
            )
    return out


def samples_of(batch: Any) -> list[RolloutSample]:
    """The batch of `tests.same_batch`, as TRL's worker would hand it over; advantages not scaled."""
    prompt = batch.tokenizer("1 + 1 =")["input_ids"]
    out = []
    for i, (row, mask) in enumerate(zip(batch.rows, batch.masks, strict=True)):
        out.append(
            RolloutSample(
                prompt=[],
                completion=[],
                input_ids=np.array([*prompt, *row], np.int64),
                completion_mask=np.array([0] * len(prompt) + mask, np.int64),
                old_log_probs=np.zeros(len(prompt) + len(row), np.float32),
                advantage=float(batch.group_advantages[i]),
                model_version=0,
                group_id=i // G,
                metrics={"reward": batch.rewards[i], "reward_std": 1.0},
            )
        )
    spare = samples(2, seed=1)  # the loader looks one micro-batch ahead
    return out + spare


class Scripted:
    """A rollout worker that has everything ready."""

    def __init__(self, rollouts: list[RolloutSample]) -> None:
        self.rollout_buffer: queue.Queue[Any] = queue.Queue()
        self.metrics_queue: queue.Queue[Any] = queue.Queue()
        for sample in rollouts:
            self.rollout_buffer.put(sample)

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def update_model_version(self, model_version: int) -> None: ...
    def check_health(self, stale_after_s: float) -> None:
        raise RuntimeError("the script is over")


class Nowhere:
    """Sends weights to nobody."""

    def init_weight_transfer(self) -> None: ...
    def pause(self) -> None: ...
    def send_weights(self, iterator: Any) -> None:
        for _ in iterator:
            pass

    def resume(self) -> None: ...
    def destroy(self) -> None: ...


def attention(q: Any, k: Any, v: Any, cu_q: Any, cu_k: Any, *_: Any, softmax_scale: Any = None, **__: Any) -> Any:
    """What the FlashAttention kernel computes that TRL fetches for a GPU: causal, each segment on its own path."""
    out = torch.empty_like(q)
    for i in range(len(cu_q) - 1):
        rows, path = slice(cu_q[i], cu_q[i + 1]), slice(cu_k[i], cu_k[i + 1])
        n, m = rows.stop - rows.start, path.stop - path.start
        seen = torch.ones(n, m, dtype=torch.bool).tril(m - n)
        heads = [t.transpose(0, 1)[None] for t in (q[rows], k[path], v[path])]
        got = torch.nn.functional.scaled_dot_product_attention(
            *heads, attn_mask=seen, scale=softmax_scale, enable_gqa=True
        )
        out[rows] = got[0].transpose(0, 1)
    return out


def make_it_run_on_a_cpu(monkeypatch: Any) -> None:
    """TRL's asynchronous trainer asks a GPU for its name and fetches a kernel for it."""
    kernel = SimpleNamespace(flash_attn_varlen_func=attention)
    monkeypatch.setattr("trl.experimental.async_grpo.packing._flash_attn", lambda: kernel)
    monkeypatch.setattr("trl.experimental.async_grpo.async_grpo_trainer.get_peak_flops_per_device", lambda *_: None)


def trainer(kind: type, config: type, folder: Path, **settings: Any) -> Any:
    """A trainer of that class on the tiny model and scripted samples."""
    own = {name: settings.pop(name) for name in ("credit", "peft_config") if name in settings}
    rollouts = settings.pop("rollouts", None) or samples(12)
    args = config(output_dir=str(folder / "out"), **{**OWN, **settings})
    model(folder / "model")
    made = kind(
        model=str(folder / "model"),
        args=args,
        train_dataset=_prompts(),
        processing_class=make_tiny().make_tokenizer(),
        rollout_worker=Scripted(rollouts),
        weight_transfer=Nowhere(),
        **own,
    )
    from transformers.trainer_callback import PrinterCallback

    made.remove_callback(PrinterCallback)
    return made


def _prompts() -> Any:
    from tests.tiny_trl import dataset

    return dataset(12)
