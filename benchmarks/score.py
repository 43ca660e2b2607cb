"""Log-probs and entropies of stored tokens: the vocabulary in chunks against all logits at once, a process for each.

    python benchmarks/score.py [--tokens 2048] [--hidden 896] [--vocabulary 151936] [--repeats 3] [--json]

The last layer only, on random states in float32: the rest of the model is the same for both ways. The naive way makes
the logits of all tokens, takes their log-softmax, and sums p log p. Each process measures its own peak memory; the
largest difference between the two results is told. The naive way's memory grows with the number of tokens, the other
one's does not.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import torch

from hicra.dynamics._chunked import Head, token_stats


def inputs(tokens: int, hidden: int, vocabulary: int) -> tuple[torch.Tensor, torch.Tensor, Head]:
    """(T, D) states, (T,) targets and the last layer; peaked as a trained model's distributions are."""
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(tokens, hidden, generator=generator)
    weight = torch.randn(vocabulary, hidden, generator=generator).mul_(4 / hidden**0.5)  # no copy: peaks are measured
    return states, torch.randint(vocabulary, (tokens,), generator=generator), Head(weight)


def naive(states: torch.Tensor, target: torch.Tensor, head: Head) -> tuple[torch.Tensor, torch.Tensor]:
    """All logits at once."""
    logp = torch.log_softmax(states @ head.weight.T, -1)
    return logp.gather(1, target[:, None]).squeeze(1), -(logp.exp() * logp).sum(-1)


WAYS = {"chunked": token_stats, "naive": naive}


def measure(way: str, tokens: int, hidden: int, vocabulary: int, repeats: int) -> dict[str, Any]:
    """Seconds, memory above what the inputs take (MB), and sums of the results by which the ways are compared."""
    given = inputs(tokens, hidden, vocabulary)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    with torch.inference_mode():
        for _ in range(repeats):
            start = time.process_time()
            logprob, entropy = WAYS[way](*given)
            seconds.append(time.process_time() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    some = slice(None, None, max(1, tokens // 64))
    return {
        "cpu_seconds": sorted(seconds),
        "megabytes": (peak - before) / 1024,
        "logprob": logprob[some].tolist(),
        "entropy": entropy[some].tolist(),
    }


def main() -> None:
    """Measure both ways in processes of their own and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("tokens", 2048), ("hidden", 896), ("vocabulary", 151_936), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    sizes = (args.tokens, args.hidden, args.vocabulary, args.repeats)
    if args.way:
        print(json.dumps(measure(args.way, *sizes)))
        return
    found = {}
    for way in WAYS:
        command = [sys.executable, __file__, "--way", way]
        for name in ("tokens", "hidden", "vocabulary", "repeats"):
            command += [f"--{name}", str(getattr(args, name))]
        found[way] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    worst = max(
        abs(a - b)
        for name in ("logprob", "entropy")
        for a, b in zip(*(found[way].pop(name) for way in WAYS), strict=True)
    )
    document = {**vars(args), **found, "largest_difference": worst}
    if args.json:
        print(json.dumps({k: v for k, v in document.items() if k not in ("json", "way")}))
        return
    for way, result in found.items():
        seconds = result["cpu_seconds"]
        print(f"{way:8} {seconds[0]:6.2f} CPU s (to {seconds[-1]:.2f}), {result['megabytes']:8.0f} MB above the inputs")
    print(f"largest difference {worst:.2g} nats, {args.tokens:,} tokens, vocabulary {args.vocabulary:,}")


if __name__ == "__main__":
    main()
