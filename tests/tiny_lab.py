"""A lab of the smallest size in which everything still happens: two or four steps, a model that learns nothing."""

from __future__ import annotations

from hicra.lab.model import ModelSize
from hicra.lab.settings import LabSettings, Training
from hicra.lab.warmstart import WarmStart


def tiny_lab(*, steps: int, samples: int) -> LabSettings:
    """`steps` of training from a warm start on `samples` written solutions."""
    return LabSettings(
        model=ModelSize(width=32, layers=1, heads=2, feed_forward=48),
        warm_start=WarmStart(comparisons=16, samples=samples),
        training=Training(
            steps=steps,
            prompts=2,
            group_size=2,
            max_tokens=24,
            soft_tokens=24,
            eval_every=2,
            eval_samples=1,
            eval_problems=4,
            save_every=2,
        ),
    )
