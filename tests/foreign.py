"""Outputs of other tools as these write them, small; fields and names were read in TRL 1.16, verl 0.9.1, prime-rl's
token export (schema version 1) and inspect-ai 0.3.285."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

TEXTS = ["Wait, let me check. It is 4", "2 + 2 = 4", "So it is 5", "let me check again"]
REWARDS = [1.0, 0.0, 0.0, 1.0]


TRL_HISTORY = [
    {"step": 1, "epoch": 0.1, "loss": 0.5, "entropy": 2.0, "reward": 0.5, "completions/clipped_ratio": 0.25}
    | {"rewards/accuracy/mean": 0.5, "completions/mean_length": 7.0, "kl": None},
    {"step": 1, "epoch": 0.1, "eval_loss": 0.1},
]


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]], torn: bool = False) -> Path:
    """JSON lines; torn: the last one is cut off in the middle."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(data[:-9] if torn else data)
    return path


def trl(folder: Path, steps: Sequence[int] = (1, 2), **columns: Sequence[Any]) -> Path:
    """``log_completions=True``: two groups of two a step; columns are added, or put in place of the usual ones."""
    import pandas as pd

    (folder / "completions").mkdir(parents=True, exist_ok=True)
    for step in steps:
        table = {
            "step": [step] * 4,
            "prompt": ["2 + 2 =", "2 + 2 =", "2 + 3 =", "2 + 3 ="],
            "completion": [f"{text} {step}" for text in TEXTS],
            "accuracy": REWARDS,
            "advantage": [0.7071, -0.7071, -0.7071, 0.7071],
        }
        pd.DataFrame({**table, **columns}).to_parquet(folder / "completions" / f"completions_{step:05d}.parquet")
    return folder


def verl_rows(step: int, *, uid: bool = True) -> list[dict[str, Any]]:
    rows = []
    for i, (text, reward) in enumerate(zip(TEXTS, REWARDS, strict=True)):
        row = {"input": f"user\n{i // 2} + 2?\nassistant\n", "output": text, "gts": "4", "score": reward, "step": step}
        rows.append({**row, "uid": f"q_{i // 2}_{i % 2}_0"} if uid else {**row, "request_id": f"r{i}"})
    return rows


def verl(folder: Path, steps: Sequence[int] = (1, 2, 10), *, uid: bool = True) -> Path:
    """``trainer.rollout_data_dir``: one file a step."""
    for step in steps:
        write_lines(folder / f"{step}.jsonl", verl_rows(step, uid=uid))
    return folder


def prime_row(step: int, prompt: Sequence[int], own: Sequence[int], reward: float, **changes: Any) -> dict[str, Any]:
    n, m = len(prompt), len(own)
    lists = {
        "token_ids": [*prompt, *own],
        "position_ids": list(range(n + m)),
        "loss_mask": [False] * n + [True] * m,
        "advantages": [0.0] * n + [reward - 0.5] * m,
        "rewards": [reward] * (n + m),
        "inference_logprobs": [0.0] * n + [-0.5] * m,
        "trainer_logprobs": [-3.25] * n + [-0.25] * m,
        "entropy": [3.0] * n + [0.75] * m,
        "mismatch_kl": [None] * (n + m),
    }
    head = {"schema_version": 1, "step": step, "export_step": step, "rank": 0, "micro_step": 0, "run_id": None}
    return {**head, "env_name": "maths", **lists, **changes}


def prime_rl(folder: Path, encode: Any, steps: Sequence[int] = (0, 1), *, stable: bool = True) -> Path:
    """The trainer's token export: one folder a step, one file a rank."""
    for step in steps:
        for rank in (0, 1):
            rows = [prime_row(step, encode(f"2 + {rank} ="), encode(t), r) for t, r in zip(TEXTS, REWARDS, strict=True)]
            write_lines(folder / "token_exports" / f"step_{step}" / f"rank_{rank}.jsonl", rows)
        if stable:
            (folder / "token_exports" / f"step_{step}" / "STABLE").touch()
    return folder


def inspect_sample(name: int, epoch: int, text: str, value: Any, **changes: Any) -> dict[str, Any]:
    message = {"id": "m", "content": text, "source": "generate", "role": "assistant"}
    return {
        "id": name,
        "epoch": epoch,
        "input": f"{name} + 2 =",
        "target": "4",
        "messages": [{"id": "u", "content": f"{name} + 2 =", "role": "user"}, message],
        "output": {"model": "m", "choices": [{"message": message, "stop_reason": "stop"}], "completion": text},
        "scores": {"match": {"value": value, "history": []}},
        "metadata": {},
        "attachments": {},
        **changes,
    }


def inspect_header(created: str, **spec: Any) -> dict[str, Any]:
    eval_ = {"created": created, "task": "sums", "dataset": {}, "model": "local/m", "config": {}, **spec}
    return {"version": 2, "status": "success", "eval": eval_, "plan": {}, "results": {}, "stats": {}}


def inspect_samples() -> list[dict[str, Any]]:
    values = ["C", "I", "I", "C"]
    return [inspect_sample(i // 2, i % 2 + 1, t, v) for i, (t, v) in enumerate(zip(TEXTS, values, strict=True))]


def inspect_eval(path: Path, header: Mapping[str, Any], samples: Sequence[Mapping[str, Any]]) -> Path:
    """A ``.eval`` archive (deflate; zstd ones are made by `zstd_zip`)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("_journal/start.json", json.dumps({"version": 2, "eval": header["eval"], "plan": {}}))
        for sample in samples:
            archive.writestr(f"samples/{sample['id']}_epoch_{sample['epoch']}.json", json.dumps(sample))
        archive.writestr("header.json", json.dumps(header))
    return path


def inspect_json(path: Path, header: Mapping[str, Any], samples: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text(json.dumps({**header, "samples": list(samples)}, indent=2))
    return path


def zstd_zip(source: Path, target: Path) -> Path:
    """The archive with its members compressed by zstd (method 93), as inspect-ai writes it; zipfile here cannot."""
    import struct
    import zlib

    import pyarrow as pa

    out, directory = b"", b""
    with zipfile.ZipFile(source) as archive:
        for name in archive.namelist():
            data = archive.read(name)
            packed = pa.compress(data, codec="zstd", asbytes=True)
            raw = name.encode()
            sizes = struct.pack("<III", zlib.crc32(data), len(packed), len(data))
            fields = struct.pack("<HHHHH", 63, 0, 93, 0, 0)
            extra = struct.pack("<HH4x", 0xCAFE, 4)
            directory += b"PK\x01\x02" + struct.pack("<H", 63) + fields + sizes
            directory += struct.pack("<HHHHHII", len(raw), 0, 0, 0, 0, 0, len(out)) + raw
            out += b"PK\x03\x04" + fields + sizes + struct.pack("<HH", len(raw), len(extra)) + raw + extra + packed
        n = len(archive.namelist())
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, n, n, len(directory), len(out), 0)
    target.write_bytes(out + directory + end)
    return target
