"""The same batch gives the same advantages, exactly, whichever way it goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("trl")

from hicra.credit.apply import HicraCredit
from hicra.credit.config import CreditConfig
from hicra.engines.trl import HICRAConfig, HICRATrainer
from hicra.engines.trl_async import AsyncHICRAConfig, AsyncHICRATrainer
from tests import tiny_async
from tests.same_batch import FORMULAS, Batch, G, make
from tests.tiny_trl import IGNORED, trainer

pytestmark = [
    *[pytest.mark.filterwarnings(text) for text in IGNORED],
    pytest.mark.filterwarnings("ignore:.*of the first batch:hicra.engines.notice.HicraWarning"),
]
ALPHA = 0.3


def by_apply_padded(batch: Batch, estimator: str, _: Path, __: Any) -> list[list[float]]:
    credit = HicraCredit(CreditConfig(estimator=estimator, alpha=ALPHA), batch.tokenizer)
    found = credit.apply(batch.group_advantages, *batch.padded)
    return [row[: len(ids)].tolist() for row, ids in zip(found, batch.rows, strict=True)]


def by_apply_flat(batch: Batch, estimator: str, _: Path, __: Any) -> list[list[float]]:
    credit = HicraCredit(CreditConfig(estimator=estimator, alpha=ALPHA), batch.tokenizer)
    ids, mask, offsets = batch.flat
    found = credit.apply(batch.group_advantages, ids, mask, offsets=offsets)
    return [part.tolist() for part in torch.tensor_split(found, offsets[1:-1])]


def by_plan_of_arrays(batch: Batch, estimator: str, _: Path, __: Any) -> list[list[float]]:
    credit = HicraCredit(CreditConfig(estimator=estimator, alpha=ALPHA), batch.tokenizer)
    ids, mask = (part.numpy() for part in batch.padded)
    found = credit.advantages(batch.group_advantages.numpy(), credit.plan(ids, mask), mask=mask)
    return [row[: len(ids)].tolist() for row, ids in zip(found, batch.rows, strict=True)]


def by_trl(batch: Batch, estimator: str, folder: Path, _: Any) -> list[list[float]]:
    """From what the loss is given, rows brought back into their order."""
    found: dict[int, list[float]] = {}

    class Spy(HICRATrainer):
        def _compute_loss(self, model: Any, inputs: Any) -> Any:
            for row, ids, advantages in zip(
                inputs["hicra_row"].tolist(), inputs["completion_ids"], inputs["advantages"], strict=True
            ):
                n = len(batch.rows[row])
                assert ids[:n].tolist() == batch.rows[row]
                found[row] = advantages[:n].tolist()
            return super()._compute_loss(model, inputs)

    def rollout(prompts: list[str], trainer: Any) -> dict[str, Any]:
        return {
            "prompt_ids": [batch.tokenizer(p)["input_ids"] for p in prompts],
            "completion_ids": batch.rows,
            "logprobs": [[-3.0] * len(row) for row in batch.rows],
            "env_mask": batch.masks,
        }

    def reward(completion_ids: Any, **_: Any) -> list[float]:
        return batch.rewards

    settings = {"rollout_func": rollout, "reward_funcs": reward, "max_steps": 1, "num_generations": G}
    trainer(Spy, HICRAConfig, folder, estimator=estimator, alpha=ALPHA, **settings).train()
    return [found[i] for i in range(len(batch.rows))]


def by_asynchronous_trl(batch: Batch, estimator: str, folder: Path, patch: Any) -> list[list[float]]:
    """Of the tokens that are trained; the others' stand as they went in."""
    tiny_async.make_it_run_on_a_cpu(patch)
    found: list[list[float]] = []

    class Spy(AsyncHICRATrainer):
        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            segment = inputs["segment_id"][0]
            for i in range(int(segment.max()) + 1):
                found.append(inputs["advantages"][0][segment == i].tolist())
            return super().compute_loss(model, inputs, *args, **kwargs)

    settings = {"rollouts": tiny_async.samples_of(batch), "max_steps": 1, "num_generations": G}
    own = {"scale_rewards": "group"}  # the worker's advantages as they come
    tiny_async.trainer(Spy, AsyncHICRAConfig, folder, estimator=estimator, alpha=ALPHA, **settings, **own).train()
    out = []
    for mask, a, trained in zip(batch.masks, batch.group_advantages.tolist(), found, strict=True):
        values = iter(trained)
        out.append([next(values) if own_token else a for own_token in mask])
    return out


WAYS = [by_apply_padded, by_apply_flat, by_plan_of_arrays, by_trl, by_asynchronous_trl]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("estimator", FORMULAS)
def test_the_same_batch_gives_the_same_advantages(way: Any, estimator: str, tmp_path: Path, monkeypatch: Any) -> None:
    batch = make()
    expected = batch.expected(estimator, ALPHA)
    assert len({value for row in expected for value in row}) > 8  # tokens of one row do differ
    assert way(batch, estimator, tmp_path, monkeypatch) == expected


def test_the_expected_numbers_are_those_worked_out_by_hand() -> None:
    """Row 0, "wait so now we have the sum", reward 1, group mean 7/16: "wait" plans."""
    batch = make()
    row = batch.expected("hicra", ALPHA)[0]
    a = 1.0 - 0.4375
    flags = [value != a for value in row]
    assert flags[0]
    assert all(value == pytest.approx(a * 1.3 if flag else a) for value, flag in zip(row, flags, strict=True))
    failed = batch.expected("hicra", ALPHA)[1]  # "3 + 4 = 7 wait", reward 0; a tool wrote tokens 2 and 3
    assert failed[-1] == pytest.approx(-0.4375 * 0.7)
    assert failed[:-1] == [-0.4375] * (len(failed) - 1)
