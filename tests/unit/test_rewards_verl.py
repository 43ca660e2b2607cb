"""The boxed-answer reward as verl loads it: by path, called in threads, one completion at a time."""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import hicra
from hicra.engines import rewards_verl
from hicra.engines.rewards import math_reward

FILE = Path(hicra.__file__).parent / "engines" / "rewards_verl.py"


def by_path() -> Any:
    """What verl does with custom_reward_function.path."""
    spec = importlib.util.spec_from_file_location("custom_module", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.compute_score


CASES = [
    (r"so \boxed{\frac{1}{2}}", "0.5", True),
    (r"\boxed{3} no, \boxed{5}", "5", True),
    ("the answer is 5", "5", False),
    (r"\boxed{2^{1000000000}}", "7", False),
    ("", "7", False),
]


@pytest.mark.parametrize(("completion", "truth", "right"), CASES)
def test_it_says_what_the_reward_of_trl_says(completion: str, truth: str, right: bool) -> None:
    found = by_path()(data_source="dapo", solution_str=completion, ground_truth=truth, extra_info={"num_turns": None})
    assert (found["score"], found["acc"]) == (float(right), float(right))
    assert math_reward([completion], [truth]) == [found["score"]]


def test_what_it_found_is_told() -> None:
    assert rewards_verl.compute_score("x", r"\boxed{3}", 3)["pred"] == "3"
    assert rewards_verl.compute_score("x", "3", 3)["pred"] == ""


def test_threads_share_one_worker_and_keep_their_answers() -> None:
    pytest.importorskip("math_verify")
    golds = [str(i) for i in range(12)]  # an integral needs the worker
    texts = [rf"\boxed{{\int_0^1 {i}\,dx}}" for i in range(12)]
    with ThreadPoolExecutor(4) as pool:
        found = list(
            pool.map(lambda pair: rewards_verl.compute_score("x", *pair)["score"], zip(texts, golds, strict=True))
        )
    assert found == [1.0] * 12
