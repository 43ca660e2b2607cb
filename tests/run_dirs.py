"""Synthetic run directories: a world of phrases in which a policy learns, quick to write and like the real thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hicra.traces.rundir import RunWriter

GRAMS: tuple[tuple[str, str, str], ...] = (
    ("let 's multiply then add", "product plus", "branching"),
    ("try the sum times last", "sum times", "branching"),
    ("what about minus times", "gap times", "branching"),
    ("let 's look at it", "opening", "deduction"),
    ("first think about size", "opening", "deduction"),
    ("wait that is wrong", "backtracking", "backtracing"),
    ("let me think again", "backtracking", "backtracing"),
    ("we should verify that", "checking", "deduction"),
)
WORK = ["6", "*", "8", "=", "4", "8", "-", "2", "=", "4", "6", "vs", "4", "6", "yes", "."]


def gram_dict(
    *, clusters: bool = True, functions: bool = True, name: str = "lab", hash: str = "ab" * 32
) -> dict[str, Any]:
    """A gram set as `GramSet.to_dict` has it."""
    grams = [
        {
            "text": text,
            "at": "any",
            "cluster": cluster if clusters else None,
            "function": function if functions else None,
        }
        for text, cluster, function in GRAMS
    ]
    return {"name": name, "hash": hash, "text_version": 1, "grams": grams}


def make_run(
    path: Path,
    *,
    estimator: str = "hicra",
    seed: int = 0,
    steps: int = 12,
    prompts: int = 4,
    group: int = 4,
    kept_groups: int = 2,
    evals: bool = True,
    entropies: bool = True,
    grams: Mapping[str, Any] | None = None,
    lift: float = 0.0,
    completion: Sequence[str] | None = None,
    prompt: str | None = None,
    rows: bool = True,
) -> Path:
    """Write a run directory.

    Args:
        path: where.
        estimator: ``"hicra"`` or ``"grpo"``; the latter has alpha 0.
        seed: of the synthetic policy; also what run.json says.
        steps, prompts, group: training steps, prompts a step, completions a prompt.
        kept_groups: groups a step whose text is kept.
        evals: evaluate every fifth step.
        entropies: whether the engine has entropies and log-probs.
        grams: gram set; the default has clusters and functions.
        lift: added to the accuracy at the end.
        completion: tokens of every completion in place of synthetic ones.
        prompt: text of every prompt in place of synthetic ones.
        rows: write completions and rollouts, not metrics alone.
    """
    rng = np.random.default_rng(seed)
    alpha = 0.2 if estimator == "hicra" else 0.0
    writer = RunWriter.create(
        path,
        config={
            "estimator": estimator,
            "alpha": alpha,
            "alpha_schedule": "constant",
            "learning_rate": 3e-4,
            "max_steps": steps,
            "num_generations": group,
            "model": "lab llama, 288 k parameters",
            "seed": seed,
        },
        seeds={"train": seed},
        grams=gram_dict() if grams is None else grams,
        engine="trl",
    )
    if evals:
        writer.eval(0, _eval(0.15, 0.0))
    for step in range(1, steps + 1):
        progress = step / steps
        completions, rollouts = [], []
        for g in range(prompts):
            p_right = min(0.95, max(0.02, 0.15 + (0.33 + lift) * progress + 0.1 * rng.standard_normal()))
            rewards = (rng.random(group) < p_right).astype(float)
            name, text = _prompt((step * prompts + g) % 40, prompt)
            for reward in rewards:
                sample = _completion(rng, progress, completion)
                advantage = float(reward - rewards.mean())
                key = {"prompt_id": name, "group_id": g, "reward": float(reward)}
                completions.append({**key, **_sums(sample, advantage, entropies)})
                if g < kept_groups:
                    rollouts.append({**key, "prompt": text, **_tokens(sample, advantage, alpha, entropies)})
        if rows:
            writer.write_rows(step, completions, rollouts)
        writer.commit(step, _metrics(completions, alpha))
        if evals and step % 5 == 0:
            writer.eval(step, _eval(0.15 + (0.3 + lift) * progress, progress))
    return path


def _prompt(number: int, text: str | None) -> tuple[str, str]:
    return f"p{number:03d}", text if text is not None else f"use {number % 9 + 1} 8 2 make {number + 6} :"


def _completion(
    rng: np.random.Generator, progress: float, fixed: Sequence[str] | None
) -> dict[str, np.ndarray | list[str]]:
    tokens: list[str] = []
    gram_id: list[int] = []
    begin: list[bool] = []
    weights = np.full(len(GRAMS), 1.0)
    weights[0] += 6 * (1 - progress)
    for _ in range(int(rng.integers(1, 3 + int(3 * progress)))):
        k = int(rng.choice(len(GRAMS), p=weights / weights.sum()))
        words = GRAMS[k][0].split()
        tokens += words + WORK
        gram_id += [k] * len(words) + [-1] * len(WORK)
        begin += [True] + [False] * (len(words) + len(WORK) - 1)
    if fixed is not None:
        tokens = list(fixed)
        gram_id = [0 if 1 <= i <= 2 else -1 for i in range(len(tokens))]
        begin = [i == 1 for i in range(len(tokens))]
    planning = np.array(gram_id) >= 0
    entropy = rng.gamma(2.0, np.where(planning, 0.45, 0.16 - 0.08 * progress))
    logprob = -rng.gamma(1.5, np.where(planning, 0.5, 0.14 - 0.07 * progress))
    pieces = tokens if fixed is not None else [t if i == 0 else f" {t}" for i, t in enumerate(tokens)]
    return {
        "text": pieces,
        "gram_id": np.array(gram_id),
        "begin": np.array(begin),
        "planning": planning,
        "entropy": entropy,
        "logprob": logprob,
    }


def _sums(sample: Mapping[str, Any], advantage: float, entropies: bool) -> dict[str, Any]:
    planning = sample["planning"]
    ids, counts = np.unique(sample["gram_id"][sample["begin"]], return_counts=True)
    row: dict[str, Any] = {
        "advantage": advantage,
        "length": len(planning),
        "truncated": len(planning) > 95,
        "n_planning": int(planning.sum()),
        "n_execution": int((~planning).sum()),
        "gram_ids": ids[ids >= 0],
        "gram_counts": counts[ids >= 0],
    }
    if entropies:
        for name in ("logprob", "entropy"):
            row[f"sum_{name}_planning"] = float(sample[name][planning].sum())
            row[f"sum_{name}_execution"] = float(sample[name][~planning].sum())
    return row


def _tokens(sample: Mapping[str, Any], advantage: float, alpha: float, entropies: bool) -> dict[str, Any]:
    credit = advantage + alpha * abs(advantage) * sample["planning"]
    return {
        "completion": "".join(sample["text"]),
        "token_ids": np.arange(len(sample["text"])),
        "token_text": sample["text"],
        "logprob": sample["logprob"] if entropies else None,
        "entropy": sample["entropy"] if entropies else None,
        "advantage": credit,
        "planning": sample["planning"],
        "gram_id": sample["gram_id"],
        "begin": sample["begin"],
    }


def _metrics(completions: Sequence[Mapping[str, Any]], alpha: float) -> dict[str, float]:
    mean = {k: float(np.mean([c[k] for c in completions])) for k in ("reward", "length", "truncated")}
    planning = sum(c["n_planning"] for c in completions)
    share = planning / sum(c["length"] for c in completions)
    mass = alpha * sum(abs(c["advantage"]) * c["n_planning"] for c in completions)
    total = sum(abs(c["advantage"]) * c["length"] for c in completions)
    return {
        **mean,
        "planning_share": share,
        "added_mass": mass,
        "added_mass_share": mass / total if total else float("nan"),
        "loss": 0.01 * mean["reward"],
        "grad_norm": 0.3 + 0.1 * mean["reward"],
        "semantic_entropy_bits": 2.0,
    }


def _eval(accuracy: float, progress: float) -> dict[str, float]:
    return {
        "accuracy": round(accuracy * 400) / 400,
        "n": 400,
        "length": 40 + 30 * progress,
        "truncated": 0.02,
        "execution_error": 0.2 - 0.12 * progress,
        "approach_entropy_bits": 1.6 + 0.5 * progress,
        "semantic_entropy_bits": 2.3 - 0.1 * progress,
    }
