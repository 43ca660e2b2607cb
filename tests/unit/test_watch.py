"""Alarms while training say what the analysis says afterwards."""

from __future__ import annotations

from typing import Any

import numpy as np

from hicra.dynamics.alarms import NAMES, find_alarms
from hicra.engines.watch import Watch


def collapsing(steps: int = 30) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    entropy = np.where(np.arange(steps) < 15, 1.0, 0.05) + 0.01 * rng.standard_normal(steps)
    return [{"step": i + 1, "entropy": float(e), "truncated": 0.0} for i, e in enumerate(entropy)]


def told(watch: Watch, rows: list[dict[str, Any]]) -> list[tuple[int, str]]:
    out = []
    for row in rows:
        metrics, fresh = watch.step(row["step"], {k: v for k, v in row.items() if k != "step"})
        assert set(metrics) == {f"alarm/{name}" for name in NAMES}
        out += [(row["step"], says) for says in fresh]
    return out


def test_a_watched_run_hears_the_alarms_of_its_analysis() -> None:
    rows = collapsing()
    expected = [(a.step, a.says) for a in find_alarms(rows)]
    assert len(expected) == 1
    assert told(Watch(), rows) == expected


def test_the_metric_stays_while_the_alarm_holds() -> None:
    watch, rows = Watch(), collapsing()
    values = [watch.step(r["step"], {"entropy": r["entropy"]})[0]["alarm/entropy_collapse"] for r in rows]
    assert values[:15] == [0.0] * 15
    assert values[-10:] == [1.0] * 10


def test_a_resumed_run_is_not_told_again() -> None:
    rows = collapsing()
    assert told(Watch(rows[:20]), rows[20:]) == []
    assert told(Watch(rows[:14]), rows[14:]) == told(Watch(), rows)


def test_a_flat_run_hears_nothing() -> None:
    rng = np.random.default_rng(1)
    rows = [{"step": i, "entropy": float(e), "length": 50.0} for i, e in enumerate(1 + 0.1 * rng.standard_normal(40))]
    assert told(Watch(), rows) == []
