"""The boxed-answer reward in the form that verl loads: ``compute_score`` of a file or module.

    reward.custom_reward_function.path=pkg://hicra.engines.rewards_verl
    reward.custom_reward_function.name=compute_score

It is the reward ``math`` of TRL's recipes (`hicra.evals.answers`): the content of the last box, compared by meaning, in
worker processes that can be killed. verl calls it once a completion, in threads of its reward actors; each actor
keeps one worker (``reward.num_workers`` says how many actors there are), started when an answer first needs algebra.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, cast

from hicra.evals.answers import check, final_answer
from hicra.evals.pool import Pool


def compute_score(
    data_source: str, solution_str: str, ground_truth: Any, extra_info: Any = None, **_: Any
) -> dict[str, Any]:
    """1.0 where the last box of `solution_str` says what `ground_truth` says, else 0.0.

    Args:
        data_source: name of the data set; every one is judged alike.
        solution_str: the completion.
        ground_truth: the reference answer, in LaTeX as it would stand in a box.
        extra_info: verl's; not looked at.

    Returns:
        ``score`` (the reward), ``acc`` (what verl's validation averages) and ``pred`` (the answer that was found, ""
        where there is none).
    """
    right = check(solution_str, str(ground_truth), pool=cast("Pool", _ONE))
    return {"score": float(right), "acc": float(right), "pred": final_answer(solution_str) or ""}


class _OneWorker:
    """A pool of one worker, made when an answer first needs it (and with it math-verify)."""

    def __init__(self) -> None:
        self._pool: Pool | None = None
        self._lock = threading.Lock()

    def verdicts(self, pairs: Sequence[tuple[str, str]]) -> list[bool]:
        with self._lock:
            if self._pool is None:
                self._pool = Pool(workers=1)
        return self._pool.verdicts(pairs)


_ONE = _OneWorker()
