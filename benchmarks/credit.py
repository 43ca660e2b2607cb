"""Credit and its bookkeeping: tensors against a plain Python loop over tokens, in one run.

    python benchmarks/credit.py [--completions 128] [--tokens 2048] [--repeats 9] [--json]

One batch of completions with occurrences of some four tokens on about 8 % of the tokens. Both ways compute HICRA's
advantages (B, T), counts, mean entropy and log-prob of both kinds of tokens, the added mass and the occurrences of
each gram; the results are compared before anything is timed. The two are timed in turn, so that what else the machine
does falls on both; each ratio is of one such pair. The random control is timed too, as the dearest of the estimators.
Labelling itself is benchmarks/label.py's.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from hicra.credit.apply import CreditConfig, HicraCredit
from hicra.credit.controls import random_mask
from hicra.grams.gramset import GramSet
from hicra.labels.labeller import Labeller, Labels
from hicra.labels.vocab import byte_vocab


def batch(completions: int, tokens: int, n_grams: int) -> dict[str, Any]:
    """One batch: completions of different lengths, occurrences of 2 to 6 tokens at random places."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(tokens // 4, tokens + 1, completions)
    mask = np.arange(tokens) < lengths[:, None]
    gram_id = np.full((completions, tokens), -1, np.int32)
    begin = np.zeros((completions, tokens), bool)
    for row, length in enumerate(lengths):
        at = 0
        while (at := at + int(rng.integers(20, 72))) + 6 < length:
            size = int(rng.integers(2, 7))
            gram_id[row, at : at + size] = rng.integers(n_grams)
            begin[row, at] = True
            at += size
    shape = (completions, tokens)
    tensors = [torch.from_numpy(x) for x in (gram_id >= 0, gram_id, begin)]
    return {
        "labels": Labels(*tensors),
        "mask": torch.from_numpy(mask),
        "advantages": torch.from_numpy(rng.normal(size=completions).astype(np.float32)),
        "logprobs": torch.from_numpy(-rng.exponential(0.4, shape).astype(np.float32)),
        "entropies": torch.from_numpy(rng.exponential(0.5, shape).astype(np.float32)),
        "token_ids": torch.from_numpy(rng.integers(0, 256, shape)),
    }


def with_tensors(credit: HicraCredit, b: dict[str, Any]) -> tuple[Any, dict[str, float], Any]:
    """What an engine does once a batch."""
    after = credit.advantages(b["advantages"], b["labels"], mask=b["mask"])
    sums = credit.observe(b["labels"], b["mask"], b["logprobs"], b["entropies"], b["advantages"], after)
    return after, sums.metrics(), sums.gram_counts


def with_a_loop(rows: dict[str, Any], alpha: float, n_grams: int) -> tuple[Any, dict[str, float], Any]:
    """The same, token by token, over plain lists."""
    after: list[list[float]] = []
    n, entropy, logprob = [0, 0], [0.0, 0.0], [0.0, 0.0]
    added = total = 0.0
    counts = [0] * n_grams
    for i, a in enumerate(rows["advantages"]):
        row = []
        planning, gram_id, begin = rows["planning"][i], rows["gram_id"][i], rows["begin"][i]
        for t, inside in enumerate(rows["mask"][i]):
            plans = planning[t] and inside
            value = a + alpha * abs(a) if plans else a
            row.append(value)
            if inside:
                kind = 0 if plans else 1
                n[kind] += 1
                entropy[kind] += rows["entropies"][i][t]
                logprob[kind] += rows["logprobs"][i][t]
                added += value - a
                total += abs(a)
                if begin[t]:
                    counts[gram_id[t]] += 1
        after.append(row)
    metrics = {"planning_share": n[0] / sum(n), "added_mass": added, "added_mass_share": added / total}
    for kind, name in enumerate(("planning", "execution")):
        metrics[f"n_{name}"] = float(n[kind])
        metrics[f"entropy_{name}"] = entropy[kind] / n[kind]
        metrics[f"logprob_{name}"] = logprob[kind] / n[kind]
        metrics[f"perplexity_{name}"] = math.exp(-logprob[kind] / n[kind])
    return after, metrics, counts


def seconds(function: Callable[[], Any]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def spread(values: list[float], digits: int) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), digits),
        "low": round(min(values), digits),
        "high": round(max(values), digits),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--completions", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)

    grams = GramSet.load("paper")
    credit = HicraCredit(CreditConfig(), labeller=Labeller(grams, byte_vocab()))
    b = batch(options.completions, options.tokens, len(grams))
    labels, mask = b["labels"], b["mask"]
    rows = {k: b[k].tolist() for k in ("advantages", "mask", "logprobs", "entropies")}
    rows |= {"planning": labels.mask.tolist(), "gram_id": labels.gram_id.tolist(), "begin": labels.begin.tolist()}

    ours, theirs = with_tensors(credit, b), with_a_loop(rows, 0.2, len(grams))
    torch.testing.assert_close(ours[0], torch.tensor(theirs[0]))
    for name, value in theirs[1].items():
        assert math.isclose(ours[1][name], value, rel_tol=1e-4), (name, ours[1][name], value)
    assert ours[2].tolist() == theirs[2]

    random = credit_of_random(labels, mask, b["token_ids"])
    random()
    fast, slow, dear = [], [], []
    for _ in range(options.repeats):
        fast.append(seconds(lambda: with_tensors(credit, b)))
        slow.append(seconds(lambda: with_a_loop(rows, 0.2, len(grams))))
        dear.append(seconds(random))
    result = {
        "completion_tokens": int(mask.sum()),
        "planning_share": round(ours[1]["planning_share"], 4),
        "repeats": options.repeats,
        "tensors_ms": spread([1e3 * s for s in fast], 2),
        "loop_ms": spread([1e3 * s for s in slow], 1),
        "ratio": spread([s / f for s, f in zip(slow, fast, strict=True)], 1),
        "random_mask_ms": spread([1e3 * s for s in dear], 2),
    }
    if options.json:
        print(json.dumps(result))
        return
    for key, value in result.items():
        text = "{median} ({low} to {high})".format(**value) if isinstance(value, dict) else value
        print(f"{key:20} {text}")


def credit_of_random(labels: Labels, mask: torch.Tensor, token_ids: torch.Tensor) -> Callable[[], torch.Tensor]:
    return lambda: random_mask(labels.mask, labels.begin, mask, token_ids)


if __name__ == "__main__":
    main()
