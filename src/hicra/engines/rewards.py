"""Reward functions: the built-in ones, finding one by its name, and the check that what they return is a number.

Both built-in rewards demand a box. ``boxed`` compares its content with the answer letter for letter, which is right for
answers that are whole numbers; ``math`` compares what the two mean (`hicra.evals.answers`). For anything else name
your own function as ``module:function``.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from hicra.errors import ConfigError, DataError
from hicra.evals.boxed import last_boxed

if TYPE_CHECKING:
    from torch import Tensor

RewardFunction = Callable[..., Any]


def boxed(completions: Sequence[Any], answer: Sequence[Any] | None = None, **_: Any) -> list[float]:
    """1.0 where the last ``\\boxed{...}`` of the completion is the answer, letter for letter, else 0.0.

    Args:
        completions: B completions, as strings or as TRL's lists of messages.
        answer: B reference answers, the dataset's ``answer`` column; white space is folded on both sides.

    Raises:
        DataError: the dataset has no ``answer`` column.
    """
    found = (last_boxed(completion_text(c)) for c in completions)
    return [
        float(f is not None and _folded(f) == _folded(str(a)))
        for f, a in zip(found, _given(answer, "boxed"), strict=True)
    ]


def math_reward(completions: Sequence[Any], answer: Sequence[Any] | None = None, **_: Any) -> list[float]:
    """1.0 where the last ``\\boxed{...}`` of the completion says what the answer says, else 0.0.

    ``\\frac{1}{2}`` is 0.5 and ``n = 7`` is 7: see `hicra.evals.answers`. What needs computer algebra is computed by
    math-verify (extra ``eval``) in worker processes with limits of time and memory, so that no completion can hold up
    training or end it. Works in any thread.

    Args:
        completions: B completions, as strings or as TRL's lists of messages.
        answer: B reference answers, the dataset's ``answer`` column, in LaTeX as they would stand in a box.

    Raises:
        DataError: the dataset has no ``answer`` column.
    """
    from hicra.evals.answers import check_many

    golds = [str(a) for a in _given(answer, "math")]
    return [float(right) for right in check_many([completion_text(c) for c in completions], golds)]


BUILT_IN: dict[str, RewardFunction] = {"boxed": boxed, "math": math_reward}
"""Rewards that a recipe may name without a module."""


def completion_text(completion: Any) -> str:
    """Text of a completion in either of TRL's shapes: a string, or a list of messages."""
    if isinstance(completion, str):
        return completion
    return "".join(m["content"] for m in completion if isinstance(m.get("content"), str))


def find_reward(name: str) -> RewardFunction:
    """The built-in reward of that name, or the function that ``module:function`` points at.

    Raises:
        ConfigError: there is no such built-in, module or function, or it cannot be called.
    """
    if ":" not in name:
        if name in BUILT_IN:
            return BUILT_IN[name]
        raise ConfigError(
            f"there is no built-in reward {name!r}",
            expected=f"one of {', '.join(BUILT_IN)}, or module:function",
            mend='write the reward in a Python file on the path and name it "module:function"',
        )
    module_name, _, attribute = name.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name == error.name or module_name.startswith(error.name + ".")):
            raise  # the module is there; something that it imports is not
        raise ConfigError(
            f"the reward {name!r} cannot be imported: there is no module {error.name!r}",
            mend="put its file beside the recipe, or install the package that holds it",
        ) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"the module {module_name!r} has no {attribute!r}", expected="the name of a function")
        found = getattr(found, part)
    if not callable(found):
        raise ConfigError(f"the reward {name!r} cannot be called", expected="a function", got=type(found).__name__)
    return found  # type: ignore[no-any-return]


def checked(function: RewardFunction, name: str, step: Callable[[], int]) -> RewardFunction:
    """The same reward function, refusing to return NaN or an infinity.

    TRL reads None as "this reward does not apply here" and turns it into NaN, so that a NaN that a reward function
    *computed* would silently become "does not apply". It has to be caught where it is returned.

    Args:
        function: a TRL reward function, plain or async.
        name: how TRL calls it.
        step: returns the training step that is being made, counted from 1.

    Raises (when called):
        DataError: names the function, the step and the first bad completion.
    """

    def check(rewards: Any) -> Any:
        rewards = list(rewards)
        for i, reward in enumerate(rewards):
            if reward is not None and not math.isfinite(reward):
                raise DataError(
                    f"the reward function {name!r} returned {float(reward)} at step {step()}, for completion {i}",
                    expected="a finite number, or None where the reward does not apply",
                    mend="return a number for every completion, also for an empty or unparsable one",
                )
        return rewards

    plain = function
    while isinstance(plain, functools.partial):
        plain = plain.func
    if inspect.iscoroutinefunction(plain) or inspect.iscoroutinefunction(getattr(plain, "__call__", None)):  # noqa: B004

        @functools.wraps(plain)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            return check(await function(*args, **kwargs))
    else:

        @functools.wraps(plain)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return check(function(*args, **kwargs))

    return wrapper


def differing(rewards: Tensor, group_size: int) -> Tensor:
    """Which completions belong to a group whose rewards are not all equal, (B,) bool.

    Args:
        rewards: (B,) total rewards, group after group; NaN where no reward function applied.
        group_size: G.
    """
    groups = rewards.view(-1, group_size)
    unscored = groups.isnan()
    highest, lowest = groups.masked_fill(unscored, -math.inf).amax(1), groups.masked_fill(unscored, math.inf).amin(1)
    return (highest > lowest).repeat_interleave(group_size)


def _given(answer: Sequence[Any] | None, reward: str) -> Sequence[Any]:
    if answer is None:
        raise DataError(
            f"the reward {reward!r} compares with the column 'answer', which the dataset does not have",
            mend='name the column that holds it: [data] answer = "..."',
        )
    return answer


def _folded(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
