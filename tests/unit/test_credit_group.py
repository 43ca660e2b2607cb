"""Group-relative advantages against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from hicra.credit.group import GROUP_ADVANTAGES, dr_grpo, grpo, leave_one_out, mean
from hicra.errors import DataError

# Two groups of four: rewards 1 0 0 1 (mean 1/2) and 1 0 0 0 (mean 1/4).
REWARDS = torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0])


def test_mean() -> None:
    got = mean(REWARDS, group_size=4)
    assert got.tolist() == [0.5, -0.5, -0.5, 0.5, 0.75, -0.25, -0.25, -0.25]
    assert torch.equal(dr_grpo(REWARDS, group_size=4), got)


def test_grpo() -> None:
    # sample variance: group 1: 4 * 1/4 / 3 = 1/3; group 2: (9 + 3) / 16 / 3 = 1/4
    first, second = math.sqrt(1 / 3) + 1e-4, 0.5 + 1e-4
    want = [0.5 / first, -0.5 / first, -0.5 / first, 0.5 / first, 0.75 / second, *[-0.25 / second] * 3]
    torch.testing.assert_close(grpo(REWARDS, group_size=4), torch.tensor(want))
    # TRL's way of computing it, for groups in blocks
    blocks = REWARDS.view(2, 4)
    theirs = (blocks - blocks.mean(1, keepdim=True)) / (blocks.std(1, keepdim=True) + 1e-4)
    torch.testing.assert_close(grpo(REWARDS, group_size=4), theirs.flatten())


def test_leave_one_out() -> None:
    # group 1: a success against the mean of 0 0 1 = 1/3; a failure against 1 0 1 = 2/3. group 2: 1 - 0; 0 - 1/3
    want = [2 / 3, -2 / 3, -2 / 3, 2 / 3, 1.0, -1 / 3, -1 / 3, -1 / 3]
    torch.testing.assert_close(leave_one_out(REWARDS, group_size=4), torch.tensor(want))


def test_group_ids_need_no_order() -> None:
    ids = torch.tensor([7, -3, 7, -3, 40, 7])
    rewards = torch.tensor([1.0, 1.0, 0.0, 0.0, 5.0, 0.5])
    # group 7: 1, 0, .5 (mean .5); group -3: 1, 0; group 40 alone
    assert mean(rewards, ids).tolist() == [0.5, 0.5, -0.5, -0.5, 0.0, 0.0]


def test_a_group_of_one() -> None:
    one = torch.tensor([3.0, 1.0, 0.0])
    ids = torch.tensor([0, 1, 1])
    assert mean(one, ids)[0] == 0
    assert grpo(one, ids)[0] == 0
    with pytest.raises(DataError, match="at least two completions in every group"):
        leave_one_out(one, ids)


@pytest.mark.parametrize("name", GROUP_ADVANTAGES)
def test_equal_rewards_have_no_advantage(name: str) -> None:
    # in binary the mean of three times 0.1 is not 0.1; what rounding leaves must not become a gradient
    rewards = torch.full((6,), 0.1, dtype=torch.float64)
    assert GROUP_ADVANTAGES[name](rewards, group_size=3).tolist() == [0.0] * 6


def test_type_of_the_result() -> None:
    assert mean(torch.tensor([1, 0]), group_size=2).dtype == torch.float32
    assert mean(torch.tensor([True, False]), group_size=2).tolist() == [0.5, -0.5]
    assert mean(torch.tensor([1.0, 0.0], dtype=torch.bfloat16), group_size=2).dtype == torch.bfloat16


def test_a_success_is_not_lost_among_large_rewards() -> None:
    # in single precision 2**24 + 1 is 2**24
    rewards = torch.tensor([2.0**24, 2.0**24 + 1], dtype=torch.float64)
    assert mean(rewards, group_size=2).tolist() == [-0.5, 0.5]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("name", GROUP_ADVANTAGES)
def test_rewards_that_are_no_numbers(name: str, bad: float) -> None:
    with pytest.raises(DataError, match=r"rewards must be finite(.|\n)*index \[1\]"):
        GROUP_ADVANTAGES[name](torch.tensor([1.0, bad]), group_size=2)


def test_groups_that_do_not_fit() -> None:
    with pytest.raises(DataError, match="whole groups"):
        mean(REWARDS, group_size=3)
    with pytest.raises(DataError, match="whole groups"):
        mean(REWARDS, group_size=0)
    with pytest.raises(DataError, match="neither"):
        mean(REWARDS)
    with pytest.raises(DataError, match="both"):
        mean(REWARDS, torch.zeros(8).long(), group_size=4)
    with pytest.raises(DataError, match=r"\(7,\)"):
        mean(REWARDS, torch.zeros(7).long())
    with pytest.raises(DataError, match=r"\(2, 4\)"):
        mean(REWARDS.view(2, 4), group_size=4)
    with pytest.raises(DataError, match="one a completion"):
        mean(torch.zeros(0), group_size=4)
