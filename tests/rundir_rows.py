"""Rows for run directories, small and complete."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hicra.traces import RunWriter

GRAMS = {
    "name": "two",
    "hash": "abc123",
    "text_version": 1,
    "grams": [
        {"text": "let me", "at": "any", "cluster": "a", "function": None},
        {"text": "wait", "at": "clause", "cluster": None, "function": None},
    ],
}


def completion_row(i: int = 0, **changes: Any) -> dict[str, Any]:
    row = {
        "prompt_id": f"p{i // 2}",
        "group_id": i // 2,
        "reward": float(i % 2),
        "advantage": i % 2 - 0.5,
        "length": 3,
        "truncated": False,
        "n_planning": 2,
        "n_execution": 1,
        "sum_logprob_planning": -1.5,
        "sum_logprob_execution": -0.25,
        "sum_entropy_planning": None,
        "sum_entropy_execution": None,
        "gram_ids": [1],
        "gram_counts": [1],
    }
    return {**row, **changes}


def rollout_row(i: int = 0, **changes: Any) -> dict[str, Any]:
    row = {
        "prompt_id": f"p{i // 2}",
        "group_id": i // 2,
        "reward": float(i % 2),
        "prompt": "1 + 1 =",
        "completion": "let me 2",
        "token_ids": [5, 6, 7],
        "token_text": ["let", " me", " 2"],
        "logprob": [-0.5, -1.0, -0.25],
        "entropy": None,
        "advantage": [0.75, 0.75, 0.5],
        "planning": [True, True, False],
        "gram_id": [0, 0, -1],
        "begin": [True, False, False],
    }
    return {**row, **changes}


def new_run(path: Path, **changes: Any) -> RunWriter:
    arguments: dict[str, Any] = {"config": {"alpha": 0.2}, "seeds": {"train": 1}, "grams": GRAMS, "engine": "test"}
    return RunWriter.create(path, **{**arguments, **changes})


def write_step(writer: RunWriter, step: int, rows: int = 2) -> None:
    """One whole step; its reward is the step, so that a reader can tell what it got."""
    kept = [(completion_row(i, reward=step), rollout_row(i, reward=step)) for i in range(rows)]
    writer.write_rows(step, [c for c, _ in kept], [r for _, r in kept])
    writer.commit(step, {"reward": float(step)})


def log_lines(run: Path) -> list[dict[str, Any]]:
    """Every line of the log."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def files(run: Path) -> set[str]:
    """Every file of the run, by its path inside it."""
    return {p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file()}
