"""The lab's rewards, in the form that TRL takes reward functions in: keyword columns in, one number a completion
out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hicra.lab.verifier import is_right
from hicra.lab.world import Problem


def faithful_answer(*, completions: Sequence[str], problem: Sequence[str], **_: Any) -> list[float]:
    """1 for an answer that was earned, else 0 (see verifier.py). The dataset's column `problem` holds problem ids."""
    return [float(is_right(Problem.from_id(id), text)) for id, text in zip(problem, completions, strict=True)]


def soft_overlong(*, max_tokens: int, soft_tokens: int, price: float, eos_token_id: int) -> Callable[..., list[float]]:
    """The soft overlong punishment of DAPO (arXiv 2503.14476, equation 13), scaled by `price`:

        0                               if L <= max - soft
        -price * (L - max + soft) / soft   up to L = max, and -price for a completion that was cut

    Without it the policy never learns to stop: going on has a chance of reward, giving up has none, and being cut
    costs nothing.
    """

    def overlong(*, completion_ids: Sequence[Sequence[int]], **_: Any) -> list[float]:
        over = [
            1.0 if ids[-1] != eos_token_id else (len(ids) - max_tokens + soft_tokens) / soft_tokens
            for ids in completion_ids
        ]
        return [-price * min(max(share, 0.0), 1.0) for share in over]

    return overlong
