"""``metrics.jsonl``: what each step measured, and which steps are complete.

    {"event": "metrics", "step": 7, "reward": 0.4, ...}          numbers or null, flat
    {"event": "commit", "step": 7, "completions": [0], "rollouts": [0]}   ranks whose files belong to the step
    {"event": "eval", "step": 7, "accuracy": 0.6, ...}
    {"event": "note", "step": 7, "text": "..."}

A step counts once its commit line is there. A last line that is cut off was being written when the process died and is
passed over. An eval or note needs no commit of its own, but counts only up to the last committed step (and at step 0).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hicra.errors import DataError, RunDirError

KINDS = ("completions", "rollouts")
"""The kinds of row files; a commit line may say under these names which ranks wrote one (if not: all there are)."""

Metrics = dict[str, Any]
"""One line as its reader gets it: ``step`` and the metrics, each an int, a float or None."""


@dataclass(slots=True)
class RunLog:
    """The valid content of a ``metrics.jsonl``.

    Attributes:
        commits: committed step -> its commit line; in order.
        metrics: committed step -> its metrics, in order.
        evals: step -> what was measured there; lines of one step are merged, the later one wins.
        notes: (step, text), in order.
        kept: the lines all of this came from (what a resume carries over).
        dropped: lines of steps without a commit, or after `until`.
    """

    commits: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    metrics: dict[int, Metrics] = field(default_factory=dict)
    evals: dict[int, Metrics] = field(default_factory=dict)
    notes: list[tuple[int, str]] = field(default_factory=list)
    kept: list[bytes] = field(default_factory=list)
    dropped: list[bytes] = field(default_factory=list)

    @property
    def last(self) -> int | None:
        """The last committed step, None before the first."""
        return next(reversed(self.commits), None)


def read_log(path: Path, until: int | None = None) -> RunLog:
    """Read ``metrics.jsonl`` at `path`, as if training had ended after step `until` (None: read all).

    Raises:
        RunDirError: a line other than the last one is damaged.
    """
    log = RunLog()
    raws = path.read_bytes().split(b"\n") if path.exists() else []
    lines = [(raw, _parse(raw, path, i, i == len(raws))) for i, raw in enumerate(raws, start=1) if raw.strip()]
    events = [(raw, event) for raw, event in lines if event is not None]
    for _, event in events:
        if event["event"] == "commit" and (until is None or event["step"] <= until):
            log.commits[event["step"]] = event
    log.commits = dict(sorted(log.commits.items()))
    last = log.last or 0
    for raw, event in events:
        step, kind = event["step"], event["event"]
        in_step = kind in ("metrics", "commit")
        # What stands beside the steps is judged by the checkpoint where there is one: an eval at the checkpoint's step
        # belongs to the past of the resumed run even if the engine commits less often than that.
        if not (step in log.commits if in_step else step <= (last if until is None else until)):
            log.dropped.append(raw)
            continue
        log.kept.append(raw)
        values = {key: value for key, value in event.items() if key != "event"}
        if kind == "metrics":
            log.metrics[step] = values
        elif kind == "eval":
            log.evals[step] = log.evals.get(step, {}) | values
        elif kind == "note":
            log.notes.append((step, str(event.get("text", ""))))
    log.metrics = dict(sorted(log.metrics.items()))
    log.evals = dict(sorted(log.evals.items()))
    return log


def line(event: str, step: int, values: Mapping[str, Any]) -> bytes:
    """One line of the log as bytes, its end included. ASCII only, so no cut falls inside a character."""
    return json.dumps({"event": event, "step": step, **values}, allow_nan=False).encode() + b"\n"


def numbers(metrics: Mapping[str, Any]) -> Metrics:
    """Metrics as JSON can hold them: numpy and torch scalars become Python's, NaN and infinities null.

    Raises:
        DataError: a name that the log needs for itself, or a value that is not a number.
    """
    out: Metrics = {}
    for name, value in metrics.items():
        if not isinstance(name, str) or name in ("event", "step"):
            raise DataError(f"a metric cannot be named {name!r}", expected="a string other than 'event' and 'step'")
        if hasattr(value, "item"):
            try:
                value = value.item()
            except (ValueError, RuntimeError) as error:  # numpy's and torch's word for "more than one element"
                raise DataError(f"the metric {name!r} is not one number", got=str(error)) from error
        if value is not None and not isinstance(value, bool | int | float):
            raise DataError(f"the metric {name!r} is not a number", expected="a number or None", got=repr(value)[:80])
        out[name] = None if isinstance(value, float) and not math.isfinite(value) else value
    return out


def _parse(raw: bytes, path: Path, number: int, last: bool) -> dict[str, Any] | None:
    try:
        event = json.loads(raw)
        if type(event["step"]) is not int or type(event["event"]) is not str:
            raise TypeError("event must be a string and step an integer")
        if event["event"] == "commit" and any(type(rank) is not int for kind in KINDS for rank in event.get(kind, ())):
            raise TypeError("ranks must be integers")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        if last:
            return None
        raise RunDirError(
            f"{path}:{number}: damaged line",
            expected='{"event": ..., "step": ...}',
            got=repr(raw[:80]),
            mend="hicra writes whole lines, so something else changed the file: restore it, or remove that line",
        ) from error
    return dict(event)
