"""What an experiment shows, and how sure that is: paired differences over held-out problems, and words about them.

For a problem i, d_i is the difference of two mean accuracies on it (HICRA minus GRPO, or after minus before
training). The interval of their mean (intervals.py) speaks of *other problems for these two trained models*. It does
not speak of other training runs: one seed cannot say that a method is better.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from hicra.errors import RunDirError
from hicra.lab.intervals import mean_interval
from hicra.lab.layout import Layout
from hicra.lab.settings import ARMS, LabSettings
from hicra.traces.rundir import RunReader

NAMES = {"grpo": "GRPO", "hicra": "HICRA"}


@dataclass(frozen=True, slots=True)
class Difference:
    """A mean paired difference of accuracy over n problems, and its 95 % interval."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def clear(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        return f"{self.mean:+.3f} (95 % interval {self.low:+.3f} to {self.high:+.3f}, {self.n} problems)"


@dataclass(frozen=True, slots=True)
class Outcome:
    """An experiment's end: first and last evaluation of each arm, gains, and HICRA minus GRPO."""

    first: dict[str, dict[str, Any]]
    last: dict[str, dict[str, Any]]
    gain: dict[str, Difference]
    hicra_minus_grpo: Difference
    words: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; an end of an interval that is not finite is None."""
        content: dict[str, Any] = _finite(asdict(self))
        return content


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def outcome(layout: Layout, settings: LabSettings) -> Outcome:
    """Read what both arms of a finished experiment came to.

    Raises:
        RunDirError: an arm has not ended.
    """
    steps = settings.training.steps
    first, last, gain = {}, {}, {}
    accuracy = {}
    for arm in ARMS:
        evals = {found["step"]: found for found in RunReader(layout.run(arm)).evals()}
        if not {0, steps} <= set(evals):
            raise RunDirError(
                f"the {arm} run has not ended", expected=f"evaluations at steps 0 and {steps}", got=str(sorted(evals))
            )
        first[arm], last[arm] = evals[0], evals[steps]
        accuracy[arm] = item_accuracy(layout, arm, steps)
        gain[arm] = paired_difference(accuracy[arm], item_accuracy(layout, arm, 0))
    difference = paired_difference(accuracy["hicra"], accuracy["grpo"])
    return Outcome(first, last, gain, difference, _words(first, last, gain, difference, settings))


def item_accuracy(layout: Layout, arm: str, step: int) -> dict[str, float]:
    """Mean accuracy on each held-out problem in an evaluation."""
    import pyarrow.parquet as pq

    table = pq.read_table(layout.items(arm, step), columns=["item", "correct"]).to_pydict()
    found: dict[str, list[bool]] = {}
    for item, correct in zip(table["item"], table["correct"], strict=True):
        found.setdefault(item, []).append(correct)
    return {item: sum(values) / len(values) for item, values in found.items()}


def paired_difference(after: dict[str, float], before: dict[str, float]) -> Difference:
    """`after` minus `before` over the items that both have; infinitely uncertain with fewer than two."""
    both = [after[item] - before[item] for item in after if item in before]
    return Difference(*mean_interval(both), len(both))


def _words(
    first: dict[str, dict[str, Any]],
    last: dict[str, dict[str, Any]],
    gain: dict[str, Difference],
    difference: Difference,
    settings: LabSettings,
) -> list[str]:
    words = [_learning(NAMES[arm], first[arm], last[arm], gain[arm]) for arm in ARMS]
    words += [f"{NAMES[arm]}: {'; '.join(changes)}." for arm in ARMS if (changes := _changes(first[arm], last[arm]))]
    if not difference.clear:
        words.append(f"HICRA minus GRPO: {difference}: on these problems the two models cannot be told apart.")
    else:
        better = "HICRA's" if difference.mean > 0 else "GRPO's"
        words.append(f"HICRA minus GRPO: {difference}: {better} model is the better one on problems like these.")
    words.append(
        "That interval is about problems, for these two models. It leaves out what another training run would change: "
        f"this is one run of each (seed {settings.seed}), and which method is better takes several seeds to say."
    )
    return words


def _learning(name: str, first: dict[str, Any], last: dict[str, Any], gain: Difference) -> str:
    verb = "learned" if gain.clear and gain.mean > 0 else "got worse" if gain.clear else "did not measurably change"
    return f"{name} {verb}: accuracy on unseen problems {first['accuracy']:.3f} to {last['accuracy']:.3f}, {gain}."


_CHANGES = (
    ("wrong equations", "execution_error", "{:.1%}"),
    ("execution entropy (nats)", "entropy_execution", "{:.3f}"),
    ("execution perplexity", "perplexity_execution", "{:.3f}"),
    ("approaches tried (bits)", "approach_entropy_bits", "{:.2f}"),
    ("phrases (bits, at equal counts)", "semantic_entropy_rarefied_bits", "{:.2f}"),
    ("length (tokens)", "length", "{:.0f}"),
    ("cut off", "truncated", "{:.1%}"),
)


def _changes(first: dict[str, Any], last: dict[str, Any]) -> list[str]:
    pairs = [(label, form, first.get(key), last.get(key)) for label, key, form in _CHANGES]
    return [
        f"{label} {form.format(a)} to {form.format(b)}"
        for label, form, a, b in pairs
        if a is not None and b is not None
    ]
