"""Alarms: each planted trouble raises its own, a flat run none, and streaming says the same as the end."""

from __future__ import annotations

import numpy as np
import pytest

from hicra.dynamics.alarms import NAMES, AlarmLimits, alarm_metrics, alarms_at, find_alarms


def steps(n: int = 60, seed: int = 0, **changes) -> list[dict[str, float | None]]:
    """Metrics of a flat run with noise; a change is a function of the moment in [0, 1] that multiplies a metric."""
    rng = np.random.default_rng(seed)
    out = []
    for i in range(n):
        row: dict[str, float | None] = {
            "step": i + 1,
            "entropy": 0.4 * np.exp(0.1 * rng.standard_normal()),
            "length": 300 * np.exp(0.1 * rng.standard_normal()),
            "truncated": min(1.0, max(0.0, 0.1 + 0.05 * rng.standard_normal())),
            "frac_reward_zero_std": min(1.0, max(0.0, 0.4 + 0.1 * rng.standard_normal())),
            "planning_share": 0.07 + 0.01 * rng.standard_normal(),
            "reward": 0.4 + 0.05 * rng.standard_normal(),
        }
        row |= {name: change(i / (n - 1)) * row[name] for name, change in changes.items()}
        out.append(row)
    return out


def names_of(metrics, **limits) -> list[str]:
    return [alarm.name for alarm in find_alarms(metrics, AlarmLimits(**limits))]


def test_flat_runs_raise_nothing() -> None:
    raised = sum(bool(find_alarms(steps(200, seed))) for seed in range(40))
    assert raised == 0


@pytest.mark.parametrize(
    ("name", "metrics"),
    [
        ("entropy_collapse", steps(entropy=lambda t: 1 - 0.95 * t)),
        ("length_blow_up", steps(length=lambda t: 1 if t < 0.5 else 1 + 6 * (t - 0.5))),
        ("all_truncated", [*steps(20), {"step": 21, "truncated": 1.0}]),
        ("vanishing_advantages", [{**m, "frac_reward_zero_std": 0.95} for m in steps(10)]),
        ("planning_runaway", steps(planning_share=lambda t: 1 if t < 0.6 else 1 + 5 * (t - 0.6))),
    ],
)
def test_each_trouble_raises_its_alarm_and_no_other(name: str, metrics) -> None:
    found = find_alarms(metrics)
    assert [alarm.name for alarm in found] == [name]
    assert str(found[0].step) in found[0].says
    assert alarm_metrics(found) == {f"alarm/{n}": float(n == name) for n in NAMES}


def test_longer_and_better_is_no_blow_up() -> None:
    grows = {"length": lambda t: 1 if t < 0.5 else 1 + 6 * (t - 0.5)}
    assert names_of(steps(**grows)) == ["length_blow_up"]
    assert names_of(steps(**grows, reward=lambda t: 1 if t < 0.5 else 1 + 3 * (t - 0.5))) == []


def test_slow_growth_is_no_blow_up() -> None:
    assert names_of(steps(300, length=lambda t: 1 + 2 * t)) == []


def test_levels_by_hand() -> None:
    metrics = [{"step": i, "entropy": 1.0} for i in range(5)] + [{"step": 5 + i, "entropy": 0.1} for i in range(3)]
    (found,) = find_alarms(metrics)
    assert found.step == 6  # the median of the last three is low once two of them are
    assert found.value == pytest.approx(0.1)
    assert found.limit == pytest.approx(0.2)
    assert names_of(metrics, entropy_share=0.05) == []


def test_an_alarm_that_holds_is_raised_once_and_again_after_a_pause() -> None:
    def part(start: int, n: int, truncated: float):
        return [{"step": start + i, "truncated": truncated} for i in range(n)]

    metrics = [*part(1, 10, 0.0), *part(11, 4, 1.0), *part(15, 20, 0.0), *part(35, 2, 1.0)]
    assert [alarm.step for alarm in find_alarms(metrics)] == [11, 35]


def test_streaming_says_the_same_as_the_end() -> None:
    metrics = steps(planning_share=lambda t: 1 if t < 0.6 else 1 + 5 * (t - 0.6), entropy=lambda t: 1 - 0.95 * t)
    streamed: list[tuple[str, int]] = []
    on: set[str] = set()
    for i in range(len(metrics)):
        now = alarms_at(metrics[: i + 1])
        streamed += [(a.name, a.step) for a in now if a.name not in on]
        on |= {a.name for a in now}
    assert streamed == [(a.name, a.step) for a in find_alarms(metrics)]


def test_missing_and_unknown_metrics_are_no_alarm() -> None:
    assert find_alarms([]) == []
    assert alarms_at([]) == []
    assert find_alarms([{"step": i, "entropy": None, "length": float("nan")} for i in range(30)]) == []
