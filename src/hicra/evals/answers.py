r"""Is the final answer right? ``check(completion, gold)`` for one, ``check_many`` for many; the training reward too.

The answer is the last ``\boxed{...}`` of the completion; without a box there is none (strict, the default). It is
compared by meaning: ``\frac{1}{2}`` is 0.5, a set has no order, ``28\%`` is 28, words ignore case. What counts as the
same, and the policy on units, is in `hicra.evals._compare`, `hicra.evals._units` and `hicra.evals._values`.

Most pairs are decided here, in bounded time. What needs computer algebra goes to math-verify (extra ``eval``) in
worker processes with limits of time and memory: a hostile answer costs one worker and counts as wrong. Verdicts come
in order; both functions may be called from threads and, through ``asyncio.to_thread``, from async code.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Sequence

from hicra.errors import DataError
from hicra.evals._compare import same
from hicra.evals.boxed import last_boxed
from hicra.evals.pool import Limits, Pool

__all__ = ["Limits", "Pool", "check", "check_many", "default_pool", "final_answer"]

_STATED = re.compile(
    r"(?:final answer|answer)\s*(?:is|:|=)?\s*:?\s*(?:\*\*)?\s*"
    r"(?:\$([^$\n]+)\$|\\\((.+?)\\\)|([^\n]*?))(?:\*\*)?(?:[.,;]?\s*(?:\n|$)|[.;]\s)",
    re.I,
)
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:/\d+)?")


def check(completion: str, gold: str, *, strict: bool = True, pool: Pool | None = None) -> bool:
    r"""Whether the final answer of a completion is the gold one.

    Args:
        completion: text of a model; bytes are decoded, broken ones replaced.
        gold: the reference answer, in LaTeX as it would stand in a box (a box or dollar signs around it are fine).
        strict: demand a box. Without it, an answer that is announced ("The answer is 5") or the last number counts.
        pool: workers for what needs algebra; by default one pool for the process.

    Raises:
        DataError: an argument is no text.
        MissingExtraError: math-verify is not installed and this pair needs it.
    """
    return check_many([completion], [gold], strict=strict, pool=pool)[0]


def check_many(
    completions: Sequence[str], golds: Sequence[str], *, strict: bool = True, pool: Pool | None = None
) -> list[bool]:
    """`check` for N completions and N golds, in their order. Equal pairs are computed once.

    Raises:
        DataError: the lengths differ, or an element is no text.
        MissingExtraError: math-verify is not installed and a pair needs it.
    """
    if len(completions) != len(golds):
        raise DataError(
            "completions and golds do not pair up",
            expected="as many golds as completions",
            got=f"{len(completions)} completions, {len(golds)} golds",
        )
    pairs = []
    for i, (completion, gold) in enumerate(zip(completions, golds, strict=True)):
        answer = final_answer(_text(completion, "completion", i), strict=strict)
        pairs.append(None if answer is None else (answer, _reference(_text(gold, "gold", i))))
    verdicts: dict[tuple[str, str], bool | None] = {}
    for pair in pairs:
        if pair is not None and pair not in verdicts:
            verdicts[pair] = same(*pair)
    open_pairs = [pair for pair, verdict in verdicts.items() if verdict is None]
    if open_pairs:
        verdicts.update(zip(open_pairs, (pool or default_pool()).verdicts(open_pairs), strict=True))
    return [pair is not None and verdicts[pair] is True for pair in pairs]


def final_answer(completion: str, *, strict: bool = True) -> str | None:
    """What a completion answers: its last box; if not strict, else what it announces or its last number."""
    answer = last_boxed(completion)
    if answer is not None or strict or "\\boxed" in completion:
        return answer
    tail = completion[-4_000:]
    stated = [m[1] or m[2] or m[3] for m in _STATED.finditer(tail)]
    if stated and stated[-1].strip():
        return stated[-1].strip(" *.")
    numbers = _NUMBER.findall(tail)
    return numbers[-1] if numbers else None


def default_pool() -> Pool:
    """The pool that is used where none is given: one for the process, a worker for each core."""
    global _default
    with _lock:
        if _default is None:
            _default = Pool()
        return _default


def _reference(gold: str) -> str:
    inside = last_boxed(gold) if "box" in gold else None
    return gold if inside is None else inside


def _text(value: object, what: str, i: int) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "replace")
    raise DataError(f"{what} {i} is no text", expected="a string", got=type(value).__name__)


_default: Pool | None = None
_lock = threading.Lock()


def _after_fork() -> None:
    global _default, _lock
    _default, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
