"""Does it help to wait for competence? GRPO, HICRA and HICRA with the schedule "competence", in the lab.

    python benchmarks/competence.py FOLDER --seeds 4 --steps 48 --json competence.json

One warm start for all (kept in FOLDER); the three methods see the same problems in the same order and are judged on
the same held-out problems with the same draws. One process, one thread, everything can be killed and started again.
Prints the mean and standard deviation over seeds of each quantity, and paired differences from GRPO with t-intervals.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

METHODS = {"grpo": ("grpo", "constant"), "hicra": ("hicra", "constant"), "gated": ("hicra", "competence")}
"""Method -> the lab's arm and the schedule of its alpha."""

QUANTITIES = ("accuracy", "execution_error", "semantic_entropy_rarefied_bits", "length")


def run(folder: Path, method: str, seed: int, steps: int) -> dict[str, Any]:
    """Train and judge one method on one seed; found finished, it is only read."""
    from hicra.lab.arm import train_arm
    from hicra.lab.experiment import prepare
    from hicra.lab.layout import Layout
    from hicra.lab.settings import LabSettings
    from hicra.traces.rundir import RunReader

    arm, schedule = METHODS[method]
    training = replace(LabSettings().training, steps=steps, alpha_schedule=schedule)
    settings = replace(LabSettings(seed=seed), training=training)
    base = Layout(folder / "base")
    prepare(base, settings)
    layout = Layout(folder / f"seed-{seed}-{method}")
    if not layout.warm_start.exists():
        shutil.copytree(base.warm_start, layout.warm_start)
    prepare(layout, settings)
    train_arm(layout, settings, arm)
    reader = RunReader(layout.run(arm))
    last = reader.evals()[-1]
    return {
        "method": method,
        "seed": seed,
        **{name: last[name] for name in QUANTITIES},
        "alpha": [line.get("alpha", 0.0) for line in reader.metrics()],
        "competence": [line.get("competence") for line in reader.metrics()],
        "nll": [-line["logprob_execution"] for line in reader.metrics()],
        "before": reader.evals()[0]["accuracy"],
    }


def interval(values: list[float]) -> tuple[float, float, float]:
    """Mean and standard deviation over seeds, half the width of the 95 % t-interval of the mean."""
    from scipy.stats import t

    n, mean = len(values), sum(values) / len(values)
    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1)) if n > 1 else math.nan
    return mean, deviation, float(t.ppf(0.975, n - 1)) * deviation / math.sqrt(n) if n > 1 else math.nan


def table(rows: list[dict[str, Any]]) -> str:
    """What was found, over the seeds that all methods have finished."""
    done = {m: {r["seed"]: r for r in rows if r["method"] == m} for m in METHODS}
    seeds = sorted(set.intersection(*[set(found) for found in done.values()]))
    if not seeds:
        return "no seed has all three methods yet"
    lines = [f"{len(seeds)} seeds"]
    for name in QUANTITIES:
        values = {m: [done[m][s][name] for s in seeds] for m in METHODS}
        lines.append(name)
        lines += [f"    {m:7}{interval(v)[0]:9.4f} +- {interval(v)[1]:.4f} (sd)" for m, v in values.items()]
        for method in ("hicra", "gated"):
            mean, _, half = interval([a - b for a, b in zip(values[method], values["grpo"], strict=True)])
            lines.append(f"    {method} - grpo {mean:+.4f} +- {half:.4f} (95 %)")
    opened = [next((i for i, a in enumerate(done["gated"][s]["alpha"]) if a > 0), None) for s in seeds]
    means = [sum(done["gated"][s]["alpha"]) / len(done["gated"][s]["alpha"]) for s in seeds]
    lines.append(f"gated: first step with alpha > 0: {opened}; mean alpha {', '.join(f'{m:.3f}' for m in means)}")
    return "\n".join(lines)


def main() -> None:
    """Command line; see above."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=48)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*pin_memory.*")
    import torch

    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for seed in range(given.seeds):
        for method in METHODS:
            rows.append(run(given.folder, method, seed, given.steps))
            if given.json is not None:
                given.json.write_text(json.dumps(rows))
        print(table(rows), flush=True)


if __name__ == "__main__":
    main()
