"""Analysis of a run: every series from 10 M tokens of rollouts, beside a naive way in plain Python on a slice.

    python benchmarks/analyze.py [--tokens 10000000] [--steps 100] [--json]

Claims: 10 M tokens of rollouts through all series (bands, rarefied and conditional entropies, overlap, phases, flow,
sensitivity, alarms) in under 60 s and 4 GB.

The run directory is written here: completions of some 500 tokens over 1,500 grams in 120 clusters, eight a prompt. The
naive way computes the same point values from rows of Python lists, one loop a quantity, without any band, rarefaction
by 50 random draws; it is timed on one step and scaled. Time to write the run is not counted.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import resource
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hicra.dynamics.analyze import analyze
from hicra.traces import RunWriter, completion_schema, rollout_schema
from hicra.traces.rundir import RunReader, step_file

GRAMS, CLUSTERS, GROUP, LENGTH, VOCABULARY = 1500, 120, 8, 500, 32_000
WORDS = ("so", "let", "me", "check", "whether", "this", "holds", "again")


def write_run(path: Path, tokens: int, steps: int, seed: int = 0) -> None:
    """A run directory of about `tokens` rollout tokens."""
    rng = np.random.default_rng(seed)
    grams = [
        {"text": f"gram number {i}", "at": "any", "cluster": f"move {i % CLUSTERS}", "function": None}
        for i in range(GRAMS)
    ]
    writer = RunWriter.create(
        path,
        config={},
        seeds={"seed": seed},
        grams={"name": "synthetic", "hash": "0", "text_version": 1, "grams": grams},
        engine="benchmark",
    )
    texts = np.array([f" {WORDS[i % len(WORDS)]}{'' if i % 3 else i}" for i in range(VOCABULARY)])
    ranks = 1 / np.arange(1, GRAMS + 1)
    n = max(GROUP, tokens // (steps * LENGTH) // GROUP * GROUP)
    for step in range(1, steps + 1):
        tables = _step(rng, step, n, steps, ranks / ranks.sum(), texts)
        for kind, table in zip(("completions", "rollouts"), tables, strict=True):
            pq.write_table(table, path / kind / step_file(step, 0), compression="zstd")
        writer.commit(step, {"reward": 0.5})
        if step % 10 == 0:
            writer.eval(step, {"accuracy": 0.2 + 0.4 * step / steps})


def _step(rng, step: int, n: int, steps: int, p: np.ndarray, texts: np.ndarray) -> tuple[pa.Table, pa.Table]:
    lengths = rng.integers(LENGTH // 2, 3 * LENGTH // 2, n)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    total = int(offsets[-1])
    starts = np.flatnonzero(rng.random(total) < 0.02)
    starts = starts[np.diff(starts, append=total) > 4]
    gram = np.full(total, -1, np.int32)
    begin = np.zeros(total, bool)
    begin[starts] = True
    chosen = rng.choice(GRAMS, len(starts), p=p)
    for i in range(4):
        gram[starts + i] = chosen
    planning = gram >= 0
    entropy = rng.gamma(1.0, np.where(planning, 0.6, 0.2)).astype(np.float32)
    logprob = (-rng.gamma(1.0, np.where(planning, 0.6, 0.3 - 0.1 * step / steps))).astype(np.float32)
    ids = np.minimum(rng.zipf(1.3, total), VOCABULARY - 1).astype(np.int32)
    row = np.repeat(np.arange(n), lengths)
    reward = (rng.random(n) < 0.5).astype(float)
    key = {
        "step": np.full(n, step, np.int32),
        "rank": np.zeros(n, np.int32),
        "prompt_id": [f"p{(step * n + i) // GROUP % 4000}" for i in range(n)],
        "group_id": np.arange(n) // GROUP,
        "reward": reward,
    }

    def summed(values: np.ndarray, kept: np.ndarray) -> np.ndarray:
        return np.bincount(row[kept], values[kept], n)

    pairs, times = np.unique(np.stack([row[starts], chosen]), axis=1, return_counts=True)
    bounds = np.searchsorted(pairs[0], np.arange(n + 1)).astype(np.int32)
    completions = {
        **key,
        "advantage": reward - reward.mean(),
        "length": lengths.astype(np.int32),
        "truncated": np.zeros(n, bool),
        "n_planning": np.bincount(row[planning], minlength=n).astype(np.int32),
        "n_execution": np.bincount(row[~planning], minlength=n).astype(np.int32),
        **{
            f"sum_{name}_{kind}": summed(values, kept)
            for name, values in (("logprob", logprob), ("entropy", entropy))
            for kind, kept in (("planning", planning), ("execution", ~planning))
        },
        "gram_ids": pa.ListArray.from_arrays(bounds, pairs[1].astype(np.int32)),
        "gram_counts": pa.ListArray.from_arrays(bounds, times.astype(np.int32)),
    }

    def lists(values: object) -> pa.Array:
        return pa.ListArray.from_arrays(offsets.astype(np.int32), pa.array(values))

    rollouts = {
        **key,
        "prompt": ["what is it?"] * n,
        "completion": ["left out"] * n,
        "token_ids": lists(ids),
        "token_text": lists(texts[ids]),
        "logprob": lists(logprob),
        "entropy": lists(entropy),
        "advantage": lists(np.zeros(total, np.float32)),
        "planning": lists(planning),
        "gram_id": lists(gram),
        "begin": lists(begin),
    }
    return tuple(
        pa.table({f.name: columns[f.name] for f in schema}).cast(schema)
        for columns, schema in ((completions, completion_schema()), (rollouts, rollout_schema()))
    )


def naive(path: Path, step: int) -> tuple[float, int]:
    """Seconds that plain loops take for one step's point values, and how many tokens they saw."""
    start = time.perf_counter()
    rows = RunReader(path).rollouts([step]).to_pylist()
    sums: dict[str, float] = defaultdict(float)
    numbers: Counter[bool] = Counter()
    every, occurrences, after = [], [], defaultdict(Counter)
    for row in rows:
        for i, planning in enumerate(row["planning"]):
            numbers[planning] += 1
            sums[f"entropy {planning}"] += row["entropy"][i]
            sums[f"logprob {planning}"] += row["logprob"][i]
            every.append((row["entropy"][i], planning))
            if row["begin"][i]:
                gram, end = row["gram_id"][i], i + 1
                while end < len(row["gram_id"]) and row["gram_id"][end] == gram and not row["begin"][end]:
                    end += 1
                occurrences.append(gram)
                if end + 3 <= len(row["planning"]) and not any(row["planning"][end : end + 3]):
                    after[gram][tuple(text.strip().lower() for text in row["token_text"][end : end + 3])] += 1
    every.sort(reverse=True)
    for share in (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7):
        sums[f"top {share}"] = sum(planning for _, planning in every[: int(share * len(every))])
    entropies = [_bits(Counter(occurrences)), *(_bits(c) for c in after.values())]
    for _ in range(50):
        entropies.append(_bits(Counter(random.sample(occurrences, min(1000, len(occurrences))))))
    flow = Counter(itertools.pairwise(occurrences))
    assert flow
    assert entropies
    return time.perf_counter() - start, len(every)


def _bits(counts: Counter) -> float:
    n = sum(counts.values())
    return -sum(c / n * math.log2(c / n) for c in counts.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=10_000_000)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        write_run(path, given.tokens, given.steps)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        wall, cpu = time.perf_counter(), time.process_time()
        found = analyze(path)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        slow, n = naive(path, given.steps)
    run = found.runs[0]
    assert not run.missing, run.missing
    tokens = run.overlap.tokens
    out = {
        "tokens": tokens,
        "seconds": round(wall, 2),
        "cpu_seconds": round(cpu, 2),
        "tokens_per_second": round(tokens / wall),
        "peak_gb": round(peak, 2),
        "gb_before": round(before, 2),
        "series": len(run.series),
        "naive_tokens": n,
        "naive_seconds_scaled": round(slow * tokens / n, 1),
        "times_faster": round(slow * tokens / n / wall, 1),
    }
    if given.json:
        print(json.dumps(out))
        return
    print(f"{tokens:,} tokens, {given.steps} steps, {len(run.series)} series: {wall:.1f} s ({cpu:.1f} s of CPU)")
    print(f"peak memory {peak:.2f} GB ({before:.2f} GB before)")
    print(f"plain Python, point values only: {out['naive_seconds_scaled']:.0f} s, scaled from {n:,} tokens")


if __name__ == "__main__":
    main()
