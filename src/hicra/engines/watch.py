"""Alarms while training: the same conditions as in the analysis (`hicra.dynamics.alarms`), at every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hicra.dynamics.alarms import LIMITS, alarm_metrics, alarms_at


class Watch:
    """Remembers a run's metrics and tells what has gone wrong by now.

    Args:
        history: metrics of the steps before, with their ``step``; of a run that is resumed.
    """

    def __init__(self, history: Sequence[Mapping[str, Any]] = ()) -> None:
        self._metrics = list(history)
        self._true_at = {alarm.name: len(self._metrics) - 1 for alarm in alarms_at(self._metrics)}

    def step(self, step: int, metrics: Mapping[str, Any]) -> tuple[dict[str, float], list[str]]:
        """Take in a step.

        Returns:
            Metrics to log, ``alarm/NAME`` 1 or 0, and a sentence for each alarm that has just become true.
        """
        self._metrics.append({"step": step, **metrics})
        now, place = alarms_at(self._metrics), len(self._metrics) - 1
        fresh = [a.says for a in now if self._true_at.get(a.name, -place - 1_000_000) < place - LIMITS.reference]
        self._true_at |= {alarm.name: place for alarm in now}
        return alarm_metrics(now), fresh
