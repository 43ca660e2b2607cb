"""The built-in reward, and finding reward functions by name."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from hicra.engines.rewards import boxed, checked, completion_text, find_reward, math_reward
from hicra.errors import ConfigError, DataError


def test_boxed_is_strict_but_for_white_space() -> None:
    completions = [r"\boxed{ 1  2 }", r"\boxed{12}", "12", [{"role": "assistant", "content": r"\boxed{7}"}]]
    assert boxed(completions, answer=["1 2", "1 2", "12", "7"]) == [1.0, 0.0, 0.0, 1.0]
    with pytest.raises(DataError, match="column 'answer'"):
        boxed(completions)


def test_math_compares_what_answers_mean() -> None:
    completions = [r"\boxed{0.5}", r"\boxed{x = \frac12}", "0.5", [{"role": "assistant", "content": r"\boxed{33}"}]]
    assert math_reward(completions, answer=[r"\frac{1}{2}", 0.5, "0.5", 33]) == [1.0, 1.0, 0.0, 1.0]
    assert find_reward("math") is math_reward
    with pytest.raises(DataError, match="'math' compares with the column 'answer'"):
        math_reward(completions)


def test_text_of_a_conversation() -> None:
    assert completion_text([{"role": "assistant", "content": "a"}, {"role": "tool", "content": None}]) == "a"


def test_rewards_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_rewards_of_a_test.py").write_text("import math\ndef one(**_): return [1.0]\nnumber = 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find_reward("boxed") is boxed
    assert find_reward("my_rewards_of_a_test:one")() == [1.0]
    for name, says in {
        "boxd": "no built-in reward",
        "no_such_module_at_all:one": "no module 'no_such_module_at_all'",
        "my_rewards_of_a_test:two": "has no 'two'",
        "my_rewards_of_a_test:number": "cannot be called",
    }.items():
        with pytest.raises(ConfigError, match=says):
            find_reward(name)


def test_an_import_that_fails_inside_a_reward_module_is_not_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_rewards_of_a_test.py").write_text("import no_such_module_at_all\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all"):
        find_reward("broken_rewards_of_a_test:one")


def test_checked_keeps_names_and_none() -> None:
    def mine(values: list[float | None]) -> list[float | None]:
        return values

    wrapped = checked(mine, "mine", lambda: 3)
    assert wrapped.__name__ == "mine"
    assert wrapped([1, None, 0.5]) == [1, None, 0.5]
    with pytest.raises(DataError, match="'mine' returned inf at step 3, for completion 1"):
        wrapped([0.0, math.inf])
