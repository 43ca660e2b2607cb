"""Which columns of TRL's completion files are rewards, and with which weights.

The files say neither: a numeric column is a reward function's or an extra that one of them logged, and weights are in
the trainer's settings only. But the advantages follow from the rewards: within a group they are the centred total times
a factor above 0 (1, or one over a standard deviation). So the rewards are the largest choice of columns from whose sum,
with weights 1, the advantages of all groups follow.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from hicra.errors import DataError
from hicra.traces.adapters.files import Row
from hicra.traces.adapters.sampled import Source

MOST = 8
"""With more numeric columns than this no choice is searched for."""

Groups = Sequence[Sequence[Row]]


def choose(groups: Groups, others: Sequence[str], source: Source) -> Mapping[str, float]:
    """Reward column -> weight.

    Args:
        groups: rows of some groups, from all over the run.
        others: columns that are none.
        source: takes a note where the choice is not plain; its options come first.

    Raises:
        DataError: no numeric column, or one that was named is not there.
    """
    rows = [row for group in groups for row in group]
    there = [n for n in rows[0] if n not in others and all(n in row for row in rows) and _numeric([r[n] for r in rows])]
    if chosen := source.options.rewards:
        if missing := [n for n in chosen if n not in there]:
            raise DataError(
                f"{source.path}: no reward column {missing[0]!r}",
                expected=f"one of {', '.join(map(repr, there)) or 'none'}",
            )
        return chosen
    if not there:
        raise DataError(
            f"{source.path}: no reward column",
            expected="a numeric column for each reward function",
            got=f"columns {', '.join(map(repr, rows[0]))}",
        )
    if len(there) <= MOST:
        for size in range(len(there), 0, -1):
            for some in map(dict.fromkeys, itertools.combinations(there, size), itertools.repeat(1.0)):
                if all(_explains(group, some) for group in groups):
                    if rest := [n for n in there if n not in some]:
                        extras = f"the advantages do not follow {', '.join(rest)}, taken for extras"
                        source.note(f"rewards: {' + '.join(some)}; {extras}")
                    return some
    source.note(
        f"rewards: {' + '.join(there)}, though the advantages do not follow from this sum: give the columns and their "
        f"weights by --reward, e.g. --reward {there[0]}=1"
    )
    return dict.fromkeys(there, 1.0)


def total(row: Mapping[str, Any], weights: Mapping[str, float]) -> float:
    """As TRL adds them: rewards that do not apply are left out; NaN where none applies."""
    known = {n: float(row[n]) for n in weights if row.get(n) is not None and not math.isnan(row[n])}
    return sum(weights[n] * value for n, value in known.items()) if known else math.nan


def _explains(group: Sequence[Row], weights: Mapping[str, float]) -> bool:
    pairs = [(total(row, weights), float(row["advantage"])) for row in group]
    pairs = [(reward, advantage) for reward, advantage in pairs if math.isfinite(reward) and math.isfinite(advantage)]
    if not pairs:
        return True
    mean = sum(reward for reward, _ in pairs) / len(pairs)
    xx = sum((reward - mean) ** 2 for reward, _ in pairs)
    slope = sum((reward - mean) * advantage for reward, advantage in pairs) / xx if xx > 1e-12 else 0.0
    if xx > 1e-12 and slope < 1e-9:
        return False
    worst = max(abs(advantage - slope * (reward - mean)) for reward, advantage in pairs)
    return worst <= 1e-3 * max(abs(advantage) for _, advantage in pairs) + 1e-6


def _numeric(values: Sequence[Any]) -> bool:
    return all(v is None or isinstance(v, bool | int | float) for v in values) and any(v is not None for v in values)
