"""Why rollouts fail, over training: a sample of failures, what judges say of them, and how far judges agree.

    Planning & Strategy   failures that a judge calls "plan"         Others   all other answered ones

Source of the two classes and the four answers: arXiv 2509.03646. Agreement is Cohen's kappa (1960), p_o the share of
items on which two judges agree and p_e what chance gives from each judge's own frequencies:

    kappa = (p_o - p_e) / (1 - p_e)
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hicra.errors import ConfigError, DataError
from hicra.traces.rundir import RunReader

CATEGORIES = ("plan", "execution", "unrelated", "acceptable")
"""What a judge answers; "plan" is Planning & Strategy, the others are Others."""

BOOTSTRAP = 1_000


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed rollout.

    Attributes:
        key: names it, the same in every sample of the run.
        step: training step; not for a judge's eyes.
        prompt_id: name of its prompt.
        reward: its reward.
        prompt, completion: texts.
    """

    key: str
    step: int
    prompt_id: str
    reward: float
    prompt: str
    completion: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """One answer.

    Attributes:
        key: of the failure.
        step: its training step.
        prompt_id: its prompt.
        judge: who answered.
        category: one of `CATEGORIES`; None where the judge gave no answer that could be read.
        why: a sentence of reason, as the judge wrote it.
    """

    key: str
    step: int
    prompt_id: str
    judge: str
    category: str | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Point:
    """The failures of one step as one judge sees them.

    Attributes:
        step: training step.
        n: answered failures.
        counts: how many fall under each of `CATEGORIES`.
        share: Planning & Strategy among them.
        low, high: Wilson's 95 % interval of the share.
        failed: share of all completions of the step that failed.
    """

    step: int
    n: int
    counts: dict[str, int]
    share: float
    low: float
    high: float
    failed: float

    @property
    def planning_rate(self) -> float:
        """Planning & Strategy failures among all completions, estimated: ``share * failed``."""
        return self.share * self.failed

    @property
    def other_rate(self) -> float:
        """Other failures among all completions, estimated."""
        return (1.0 - self.share) * self.failed


@dataclass(frozen=True, slots=True)
class Agreement:
    """Cohen's kappa of two judges over the items that both answered.

    Attributes:
        judges: their names.
        n: items.
        agreed: p_o.
        kappa: NaN where chance alone gives full agreement, or there is no item.
        low, high: 95 % bootstrap interval over items.
    """

    judges: tuple[str, str]
    n: int
    agreed: float
    kappa: float
    low: float
    high: float


def sample_failures(
    reader: RunReader, *, below: float = 0.5, steps: int = 10, each: int = 20, seed: int = 0
) -> list[Failure]:
    """Failed rollouts of a run, by step.

    Steps are the first, the last and evenly spaced ones between; in each, prompts take turns, so that no prompt fills
    the sample. Which rollouts are drawn depends on the seed and on themselves alone.

    Args:
        reader: a run whose text was kept.
        below: a rollout with a reward under this has failed.
        steps: at most this many steps.
        each: at most this many failures a step.
        seed: of the draw.

    Raises:
        ConfigError: a number below 1.
        DataError: no text was kept, or nothing failed.
    """
    if steps < 1 or each < 1:
        raise ConfigError("a sample of failures needs steps and failures", got=f"steps={steps}, each={each}")
    there = np.unique(reader.rollouts(columns=["step"])["step"].to_numpy()).tolist()
    if not there:
        raise DataError(f"{reader.path}: no text was kept, so there are no failures to look at")
    chosen = sorted({there[round(i)] for i in np.linspace(0, len(there) - 1, min(steps, len(there)))})
    out: list[Failure] = []
    for step in chosen:
        rows = reader.rollouts([step], ["prompt_id", "reward", "prompt", "completion"]).to_pylist()
        found = [_failure(step, place, row) for place, row in enumerate(rows) if row["reward"] < below]
        out += _in_turns(found, seed)[:each]
    if not out:
        raise DataError(
            f"{reader.path}: no rollout failed",
            expected=f"rewards below {below:g} at steps {', '.join(map(str, chosen[:8]))}",
            mend="--failed-below sets what counts as failed",
        )
    return out


def failure_rates(reader: RunReader, steps: Iterable[int], below: float = 0.5) -> dict[int, float]:
    """Share of all completions of each step that failed; completions without a reward are left out."""
    rates = {}
    for step in steps:
        rewards = reader.completions([step], ["reward"])["reward"].to_numpy()
        known = rewards[np.isfinite(rewards)]
        rates[step] = float((known < below).mean()) if len(known) else math.nan
    return rates


def failure_series(judgements: Sequence[Judgement], rates: dict[int, float]) -> list[Point]:
    """One judge's answers by step; steps without an answer are left out.

    Args:
        judgements: of one judge.
        rates: step -> share of completions that failed (`failure_rates`).
    """
    points = []
    for step in sorted({j.step for j in judgements}):
        said = [j.category for j in judgements if j.step == step and j.category is not None]
        if not said:
            continue
        counts = {name: said.count(name) for name in CATEGORIES}
        low, high = wilson(counts["plan"], len(said))
        share = counts["plan"] / len(said)
        points.append(Point(step, len(said), counts, share, low, high, rates.get(step, math.nan)))
    return points


def agreements(judgements: Iterable[Judgement], *, two_classes: bool = False) -> list[Agreement]:
    """Cohen's kappa of every two judges.

    Args:
        judgements: of all judges.
        two_classes: compare Planning & Strategy against Others instead of the four answers.
    """
    said: dict[str, dict[str, str]] = {}
    for j in judgements:
        if j.category is not None:
            said.setdefault(j.judge, {})[j.key] = str(j.category == "plan") if two_classes else j.category
    out = []
    for a, b in itertools.combinations(sorted(said), 2):
        shared = sorted(said[a].keys() & said[b].keys())
        out.append(_agreement((a, b), [said[a][k] for k in shared], [said[b][k] for k in shared]))
    return out


def cohen_kappa(first: Sequence[str], second: Sequence[str]) -> float:
    """Cohen's kappa of two judges' answers on the same items; NaN where it is not defined.

    Raises:
        DataError: different numbers of answers.
    """
    if len(first) != len(second):
        raise DataError("two judges with different numbers of answers", got=f"{len(first)} and {len(second)}")
    names, codes = np.unique([*first, *second], return_inverse=True)
    return _kappa(codes[: len(first)], codes[len(first) :], len(names))


def wilson(successes: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval of a share (1927); (0, 1) where there is nothing."""
    if n == 0:
        return 0.0, 1.0
    p, zz = successes / n, z * z
    middle, spread = p + zz / (2 * n), z * math.sqrt(p * (1 - p) / n + zz / (4 * n * n))
    return max(0.0, (middle - spread) / (1 + zz / n)), min(1.0, (middle + spread) / (1 + zz / n))


def _agreement(judges: tuple[str, str], first: Sequence[str], second: Sequence[str]) -> Agreement:
    n = len(first)
    if n == 0:
        return Agreement(judges, 0, math.nan, math.nan, math.nan, math.nan)
    names, codes = np.unique([*first, *second], return_inverse=True)
    a, b = codes[:n], codes[n:]
    draws = np.random.default_rng(0).integers(0, n, (BOOTSTRAP, n))
    values = np.array([_kappa(a[d], b[d], len(names)) for d in draws])
    known = values[np.isfinite(values)]
    low, high = np.quantile(known, [0.025, 0.975]).tolist() if len(known) else (math.nan, math.nan)
    return Agreement(judges, n, float((a == b).mean()), _kappa(a, b, len(names)), low, high)


def _kappa(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], size: int) -> float:
    n = len(a)
    if n == 0:
        return math.nan
    chance = float(np.bincount(a, minlength=size) @ np.bincount(b, minlength=size)) / (n * n)
    agreed = float((a == b).mean())
    return (agreed - chance) / (1.0 - chance) if chance < 1.0 else math.nan


def _failure(step: int, place: int, row: dict[str, Any]) -> Failure:
    content = hashlib.sha256(row["completion"].encode("utf-8", "replace")).hexdigest()[:12]
    key = f"{step}.{place}.{content}"
    return Failure(key, step, row["prompt_id"], row["reward"], row["prompt"], row["completion"])


def _in_turns(failures: Sequence[Failure], seed: int) -> list[Failure]:
    """Shuffled by a hash, then one of each prompt, one more of each prompt, and so on."""

    def draw(text: str) -> bytes:
        return hashlib.sha256(f"{seed} {text}".encode("utf-8", "replace")).digest()

    by_prompt: dict[str, list[Failure]] = {}
    for failure in sorted(failures, key=lambda f: draw(f.key)):
        by_prompt.setdefault(failure.prompt_id, []).append(failure)
    rounds = itertools.zip_longest(*(by_prompt[p] for p in sorted(by_prompt, key=draw)))
    return [f for turn in rounds for f in turn if f is not None]
