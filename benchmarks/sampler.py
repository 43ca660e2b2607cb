"""The lab's fast sampler against `model.generate` of transformers, interleaved in one run, on one thread.

    python benchmarks/sampler.py [--model DIR] [--prompts 128] [--max-tokens 176] [--repeats 7] [--json]

Both draw completions of the same prompts from the same model, whose completions differ in length as a policy's do.
Rounds alternate, so that whatever else the machine does meets both alike; the ratio is that of tokens a second within
a round, and its median is given with the smallest and the largest. Without a model one is warmed up for a minute, so
that completions end.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any


def generate(model: Any, tokenizer: Any, prompts: list[list[int]], max_tokens: int) -> int:
    """Tokens drawn by transformers, up to and including the end of each row."""
    import torch

    ids = torch.tensor(prompts)
    with torch.inference_mode():
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            top_k=0,
            top_p=1.0,
            max_new_tokens=max_tokens,
            pad_token_id=tokenizer.pad_token_id,
        )[:, ids.size(1) :]
    ended = (out == tokenizer.eos_token_id).int()
    return int(((ended.cumsum(1) - ended) == 0).sum())


def sample(model: Any, tokenizer: Any, prompts: list[list[int]], max_tokens: int, *, drop: bool = True) -> int:
    """Tokens drawn by the fast sampler."""
    from hicra.lab.sampler import Sampler

    drawn = Sampler(model).sample(
        prompts,
        max_tokens,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        drop_finished=drop,
    )
    return int(drawn.mask_BT.sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a model of the lab, e.g. hicra-demo/grpo/model")
    parser.add_argument("--prompts", type=int, default=128)
    parser.add_argument("--max-tokens", type=int, default=176)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    import torch

    from hicra.lab.base import load_model, make_base
    from hicra.lab.settings import LabSettings

    torch.set_num_threads(1)
    settings = LabSettings.quick()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.model or Path(scratch) / "model"
        if options.model is None:
            settings = LabSettings(world=settings.world, warm_start=settings.warm_start)  # the default model's size
            make_base(folder, settings)
        model, tokenizer = load_model(folder)
    model.eval()
    problems = settings.world.sample(options.prompts, 0, "train")
    problems = (problems * (options.prompts // len(problems) + 1))[: options.prompts]
    prompts = [tokenizer(problem.prompt)["input_ids"] for problem in problems]

    ways = {
        "transformers generate": lambda: generate(model, tokenizer, prompts, options.max_tokens),
        "sampler, keeping finished rows": lambda: sample(model, tokenizer, prompts, options.max_tokens, drop=False),
        "sampler": lambda: sample(model, tokenizer, prompts, options.max_tokens),
    }
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(options.repeats + 1):
        for name, way in ways.items():
            torch.manual_seed(repeat)
            start = time.process_time()  # of this process alone: sharing the core costs wall time, not this
            tokens = way()
            if repeat:  # the first round warms up
                speeds[name].append(tokens / (time.process_time() - start))
    base = speeds["transformers generate"]
    rows = []
    for name, found in speeds.items():
        ratios = [fast / slow for fast, slow in zip(found, base, strict=True)]
        rows.append(
            {
                "way": name,
                "tokens_per_cpu_second": round(statistics.median(found)),
                "ratio": round(statistics.median(ratios), 2),
                "ratio_low": round(min(ratios), 2),
                "ratio_high": round(max(ratios), 2),
            }
        )
    if options.json:
        print(json.dumps({"prompts": options.prompts, "max_tokens": options.max_tokens, "ways": rows}))
        return
    for row in rows:
        print(
            f"{row['way']:<32} {row['tokens_per_cpu_second']:>8,} tokens/s   "
            f"{row['ratio']:.2f} x  ({row['ratio_low']:.2f} to {row['ratio_high']:.2f})"
        )


if __name__ == "__main__":
    main()
