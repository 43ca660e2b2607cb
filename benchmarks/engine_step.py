"""Where HICRA's time goes in an optimizer step: labels, credit, metrics, and the run directory.

    python benchmarks/engine_step.py [--steps 6] [--tokens N] [--small] [--synchronize] [--json]

On a GPU: a model of the size and shape of Qwen2.5-0.5B with random weights, in bfloat16, 16 completions of 1024 tokens.
Without one, or with --small: 5 M parameters and 256 tokens on one CPU thread. The completions are pieces of the bundled
traces, handed over by a rollout function, so no time goes into generation: shares of a real step are smaller.

Claim: labels, credit and metrics together take at most 0.5 % of a step. The run directory stands apart: it depends on
the disk (it waits until a step is safe there) and on how many completions are kept with their text.

TRL's trainer and ours take turns, step by step, in one process. The clock of a part stands still while another runs in
it. On a GPU kernels are only queued by most of it: --synchronize waits before and after each part, which charges device
time to where it belongs and slows both down.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import statistics
import tempfile
import threading
import warnings
from pathlib import Path
from typing import Any

import torch
import trl_step
from trl import GRPOConfig, GRPOTrainer

from hicra.credit.apply import HicraCredit
from hicra.engines import trl_record
from hicra.engines.generation import Generation
from hicra.engines.meter import Meter
from hicra.engines.trl import HICRAConfig, HICRATrainer
from hicra.traces.rundir import RunWriter

PARTS: dict[str, list[tuple[Any, str]]] = {
    "labels": [(HicraCredit, "plan")],
    "credit": [(HicraCredit, "advantages")],
    "metrics": [
        (Generation, "look"),
        (Generation, "observe"),
        (Meter, "add"),
        (Meter, "reduce"),
        (Meter, "step"),
        (Meter, "since_log"),
    ],
    "run directory": [(trl_record, "rows_of"), (RunWriter, "write_rows"), (RunWriter, "commit")],
}

HALF_A_BILLION = {  # Qwen2.5-0.5B
    "vocab_size": 151_936,
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
}


def watch(clock: trl_step.Clock, synchronize: bool) -> None:
    """Put the clock around every part."""
    wait = torch.cuda.synchronize if synchronize else lambda: None

    def timed(function: Any, part: str) -> Any:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            wait()
            clock.enter(part)
            try:
                return function(*args, **kwargs)
            finally:
                wait()
                clock.leave()

        return call

    for part, places in PARTS.items():
        for owner, name in places:
            setattr(owner, name, timed(getattr(owner, name), part))


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    clock = trl_step.Clock()
    watch(clock, options.synchronize)
    first, second = threading.Semaphore(1), threading.Semaphore(0)
    turns = {"parent": trl_step.Turns(first, second), "hicra": trl_step.Turns(second, first)}
    trainers = [
        trl_step.make_trainer(GRPOTrainer, GRPOConfig, folder / "parent", options, turns["parent"]),
        trl_step.make_trainer(HICRATrainer, HICRAConfig, folder / "hicra", options, turns["hicra"]),
    ]
    marks: list[dict[str, float]] = []
    begin = turns["hicra"].on_step_begin

    def marked(*args: Any, **kwargs: Any) -> None:
        marks.append(dict(clock.by_method))
        begin(*args, **kwargs)

    turns["hicra"].on_step_begin = marked  # type: ignore[method-assign]
    threads = [threading.Thread(target=trainer.train) for trainer in trainers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    marks.append(dict(clock.by_method))
    steps = {name: turn.seconds[trl_step.WARM_UP :] for name, turn in turns.items()}
    spent = {
        part: [b.get(part, 0.0) - a.get(part, 0.0) for a, b in itertools.pairwise(marks)][trl_step.WARM_UP :]
        for part in PARTS
    }
    ours = [sum(parts) for parts in zip(*(spent[p] for p in ("labels", "credit", "metrics")), strict=True)]
    total = sum(steps["hicra"])
    return {
        "device": torch.cuda.get_device_name() if options.gpu else "CPU, one thread",
        "parameters": sum(p.numel() for p in trainers[1].model.parameters()),
        "tokens_each": options.tokens,
        "steps": len(ours),
        "parent_s": trl_step.spread(steps["parent"]),
        "hicra_s": trl_step.spread(steps["hicra"]),
        "difference_s": trl_step.spread([h - p for p, h in zip(steps["parent"], steps["hicra"], strict=True)]),
        "share": sum(ours) / total,
        "share_worst": max(o / h for o, h in zip(ours, steps["hicra"], strict=True)),
        "milliseconds": {part: 1000 * statistics.median(values) for part, values in spent.items()},
        "shares": {part: sum(values) / total for part, values in spent.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--tokens", type=int, default=0, help="of a completion; default 1024 on a GPU, else 256")
    parser.add_argument("--rollouts", type=int, default=64, help="completions kept with text each step")
    parser.add_argument("--small", action="store_true", help="the small model on the CPU, GPU or not")
    parser.add_argument("--synchronize", action="store_true", help="charge device time to the part that queued it")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.gpu = torch.cuda.is_available() and not options.small
    options.synchronize = options.synchronize and options.gpu
    options.tokens = options.tokens or (1024 if options.gpu else 256)
    options.hidden, options.layers = 256, 4
    options.shape = HALF_A_BILLION if options.gpu else {}
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    trl_step.cut_completions(options)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options, Path(folder))
    if options.json:
        print(json.dumps(found))
        return
    print(
        f"{found['device']}: {found['parameters'] / 1e6:.0f} M parameters, 16 completions of {found['tokens_each']} "
        f"tokens, {found['steps']} steps each, in turn"
    )
    for name in ("parent_s", "hicra_s", "difference_s"):
        s = found[name]
        print(f"  {name:16s} median {s['median']:8.4f}   range {s['min']:8.4f} .. {s['max']:8.4f}")
    for part, share in found["shares"].items():
        print(f"  {part:16s} {found['milliseconds'][part]:8.2f} ms   {share:7.3%} of a step")
    print(f"  labels, credit and metrics: {found['share']:.3%} of a step (worst step {found['share_worst']:.3%})")


if __name__ == "__main__":
    main()
