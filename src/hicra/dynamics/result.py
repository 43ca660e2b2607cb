"""What an analysis finds, as plain dataclasses that serialise to JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hicra.dynamics.alarms import LIMITS, Alarm, AlarmLimits
from hicra.dynamics.compass import Correlation
from hicra.dynamics.flow import Success, Transitions
from hicra.dynamics.odds import MoveOdds
from hicra.dynamics.overlap import Overlap
from hicra.dynamics.phases import Phases
from hicra.dynamics.sensitivity import Sensitivity
from hicra.dynamics.series import Series, plain
from hicra.errors import ConfigError

ANALYSIS_VERSION = 1
"""Version of the JSON layout."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What an analysis can be told; the defaults are the paper's where it has any.

    Attributes:
        top_share: share of the tokens that counts as high-entropy in the series over steps.
        top_shares: shares of the run-level curve.
        ngram: length of the procedural n-gram, in folded tokens.
        followers: occurrences of a gram that the conditional entropy is rarefied to.
        drop: share of the grams that the sensitivity band drops.
        draws: how many times.
        pass_k: k of pass@k; smaller where groups are smaller.
        right_above: a completion is right where its reward is above this.
        held_out: name of the evaluations' accuracy.
        parts: equal parts of a completion that success is shown by.
        max_moves: moves of the flow; what is rarer is lumped together.
        limits: of the alarms.
        seed: of every bootstrap and simulation.
    """

    top_share: float = 0.3
    top_shares: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7)
    ngram: int = 3
    followers: int = 10
    drop: float = 0.3
    draws: int = 20
    pass_k: int = 8
    right_above: float = 0.5
    held_out: str = "accuracy"
    parts: int = 3
    max_moves: int = 40
    limits: AlarmLimits = LIMITS
    seed: int = 0

    def __post_init__(self) -> None:
        shares = (self.top_share, *self.top_shares)
        counts = (self.ngram, self.followers, self.draws, self.pass_k, self.parts, self.max_moves)
        if not (all(0 < s <= 1 for s in shares) and 0 <= self.drop < 1 and all(n >= 1 for n in counts)):
            raise ConfigError(
                "settings of the analysis are out of range",
                expected="shares in (0, 1], drop in [0, 1), whole numbers of 1 or more",
                got=repr(self),
            )


@dataclass(frozen=True, slots=True)
class Flow:
    """Strategy flow of a run.

    Attributes:
        level: ``"cluster"`` or ``"gram"``: what a move is.
        moves: (C,) names; the last one may be ``"(other)"``.
        all, early, late: transitions over all kept rollouts, and over the first and last third of the steps.
        success: by move and position.
        odds: of every move, from all completions, strongest first; `MoveOdds.move` is an index into `odds_moves`.
        odds_moves: names of all moves of the set.
    """

    level: str
    moves: Sequence[str]
    all: Transitions
    early: Transitions
    late: Transitions
    success: Success
    odds: Sequence[MoveOdds]
    odds_moves: Sequence[str]


@dataclass(frozen=True, slots=True)
class RunAnalysis:
    """One run.

    Attributes:
        name: of the run.
        path: its directory.
        steps: committed steps.
        series: by name: those of `hicra.dynamics.tokens`; ``semantic_{gram,cluster}_{estimator}``;
            ``conditional_{estimator}``; ``planning_in_top``, ``top_that_plans``; ``pass_at_k``; ``competence``.
        missing: name of a series or part -> why the run does not have it.
        overlap: both shares over all kept tokens, at several quantiles; None: see `missing`.
        phases: of the execution NLL and the rarefied semantic entropy.
        sensitivity: curves with grams dropped, by the series' names; empty where no gram occurs.
        flow: strategy flow.
        alarms: in order.
        rarefied_to: level -> occurrences that its rarefied series draw.
        pass_k: k of ``pass_at_k``.
        evals: the run's evaluations.
        notes: what was passed over, and remarks of the run's writer.
    """

    name: str
    path: str
    steps: Sequence[int]
    series: Mapping[str, Series]
    missing: Mapping[str, str]
    overlap: Overlap | None
    phases: Phases
    sensitivity: Mapping[str, Sensitivity]
    flow: Flow | None
    alarms: Sequence[Alarm]
    rarefied_to: Mapping[str, int]
    pass_k: int | None
    evals: Sequence[Mapping[str, Any]]
    notes: Sequence[str]


@dataclass(frozen=True, slots=True)
class Compass:
    """How one quantity goes with held-out accuracy.

    Attributes:
        series: name of the quantity.
        level: rank correlation over evaluations.
        change: rank correlation of changes from one evaluation to the next.
    """

    series: str
    level: Correlation
    change: Correlation


@dataclass(frozen=True, slots=True)
class Analysis:
    """Everything that `hicra.dynamics.analyze.analyze` finds.

    Attributes:
        runs: in the order given.
        compasses: quantities that at least one run has, against held-out accuracy.
        settings: what was asked for.
        version: of the JSON layout.
    """

    runs: Sequence[RunAnalysis]
    compasses: Sequence[Compass]
    settings: Settings = field(default_factory=Settings)
    version: int = ANALYSIS_VERSION

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: arrays are lists, what is not finite is None."""
        out: dict[str, Any] = plain(self)
        return out

    def to_json(self) -> str:
        """JSON text."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)
