"""The boxed-answer reward through verl's own loader, in a Ray actor and its threads."""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest


def loaded() -> Any:
    from omegaconf import OmegaConf
    from verl.trainer.ppo.reward import get_custom_reward_fn

    function = {"path": "pkg://hicra.engines.rewards_verl", "name": "compute_score", "reward_kwargs": {}}
    return get_custom_reward_fn(OmegaConf.create({"reward": {"custom_reward_function": function}}))


ALGEBRA = importlib.util.find_spec("math_verify") is not None
CASES = [(r"so \boxed{\frac{1}{2}}", "0.5", 1.0), (r"\boxed{3}", "4", 0.0), ("", "7", 0.0)]
CASES += [(r"\boxed{2^{1000000000}}", "7", 0.0), (r"\boxed{\int_0^1 2x\,dx}", "1", 1.0)] if ALGEBRA else []


def score(case: tuple[str, str, float]) -> float:
    found = loaded()(data_source="dapo", solution_str=case[0], ground_truth=case[1], extra_info={"num_turns": 1})
    return float(found["score"])


def test_verl_loads_it_by_its_name() -> None:
    assert [score(case) for case in CASES] == [right for *_, right in CASES]


def test_in_an_actor_as_verls_reward_loop_calls_it(ray_session: None) -> None:
    import ray

    @ray.remote(num_cpus=1)
    class RewardActor:
        def scores(self, cases: list[tuple[str, str, float]]) -> list[float]:
            with ThreadPoolExecutor(4) as threads:
                return list(threads.map(score, cases))

    actors = [RewardActor.remote() for _ in range(2)]
    found = ray.get([actor.scores.remote(CASES * 4) for actor in actors])
    assert found == [[right for *_, right in CASES] * 4] * 2


def test_the_validation_has_what_it_averages() -> None:
    found = loaded()(data_source="dapo", solution_str=r"\boxed{3}", ground_truth="3", extra_info=None)
    assert (found["acc"], found["pred"]) == (pytest.approx(1.0), "3")
