"""HICRA, its variants, the entropy baselines and the schedules against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from hicra.credit.entropy import entropy_advantage, entropy_bonus, top_entropy, top_entropy_mask
from hicra.credit.hicra import hicra, hicra_positive, hicra_symmetric
from hicra.credit.schedule import Moment, competence, constant, warmup
from hicra.errors import ConfigError, DataError

A = torch.tensor([0.75, -0.25])  # a success, a failure
M = torch.tensor([[True, False, True], [False, True, False]])


def test_hicra() -> None:
    # success: .75 + .2 * .75 = .9; failure: -.25 + .2 * .25 = -.2
    want = torch.tensor([[0.9, 0.75, 0.9], [-0.25, -0.2, -0.25]])
    torch.testing.assert_close(hicra(A, M, 0.2), want)
    torch.testing.assert_close(hicra(A, M), want)  # the paper's alpha is the default
    torch.testing.assert_close(hicra(A, M.long(), 0.2), want)
    torch.testing.assert_close(hicra(A.unsqueeze(1).expand(2, 3), M, 0.2), want)
    torch.testing.assert_close(hicra(A.repeat_interleave(3), M.flatten(), 0.2), want.flatten())


def test_variants() -> None:
    # symmetric: failure -.25 * 1.2 = -.3; positive: failure stays
    torch.testing.assert_close(hicra_symmetric(A, M, 0.2), torch.tensor([[0.9, 0.75, 0.9], [-0.25, -0.3, -0.25]]))
    torch.testing.assert_close(hicra_positive(A, M, 0.2), torch.tensor([[0.9, 0.75, 0.9], [-0.25, -0.25, -0.25]]))


@pytest.mark.parametrize("estimator", [hicra, hicra_symmetric, hicra_positive])
def test_bad_input(estimator) -> None:  # type: ignore[no-untyped-def]
    for alpha in (1.0, -0.1, math.nan):
        with pytest.raises(ConfigError, match="alpha is out of range"):
            estimator(A, M, alpha)
    with pytest.raises(DataError, match=r"advantages \(3,\), planning_mask \(2, 3\)"):
        estimator(torch.zeros(3), M, 0.2)  # not one a token of each row, but a column too many
    with pytest.raises(DataError, match=r"\(2, 2\)"):
        estimator(torch.zeros(2, 2), M, 0.2)


def test_half_precision_stays() -> None:
    assert hicra(A.bfloat16(), M, 0.2).dtype == torch.bfloat16


def test_entropy_advantage() -> None:
    a = torch.tensor([1.0, -1.0])
    h = torch.tensor([[0.5, 3.0], [0.5, 3.0]], requires_grad=True)
    # .4 * .5 = .2 < |A| / 2 = .5; .4 * 3 = 1.2 is cut to .5
    got = entropy_advantage(a, h)
    torch.testing.assert_close(got, torch.tensor([[1.2, 1.5], [-0.8, -0.5]]))
    assert not got.requires_grad
    with pytest.raises(ConfigError, match="kappa > 1"):
        entropy_advantage(a, h, kappa=1.0)
    with pytest.raises(DataError, match="do not go together"):
        entropy_advantage(torch.zeros(3), h)


def test_top_entropy() -> None:
    h = torch.tensor([[0.1, 0.9, 0.5, 0.0], [0.8, 0.2, 0.3, 9.0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])  # seven tokens; the 9.0 is padding
    # share .3: the quantile at .7 * 6 = 4.2 (from 0) of 0 .1 .2 .3 .5 .8 .9 is .56: .8 and .9 are above
    kept = top_entropy_mask(h, mask, 0.3)
    assert kept.nonzero().tolist() == [[0, 1], [1, 0]]
    assert top_entropy(torch.tensor([2.0, -1.0]), h, mask, 0.3).tolist() == [
        [0.0, 2.0, 0.0, 0.0],
        [-1.0, 0.0, 0.0, 0.0],
    ]
    assert torch.equal(top_entropy_mask(h, mask, 1.0), mask.bool())
    with pytest.raises(ConfigError, match="share"):
        top_entropy_mask(h, mask, 0.0)
    with pytest.raises(DataError, match="entropies and mask"):
        top_entropy_mask(h, mask[:, :3])


@pytest.mark.parametrize("share", [0.05, 0.2, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("n", [1, 2, 5, 6, 10, 11, 99])
def test_top_entropy_keeps_what_a_quantile_keeps(n: int, share: float) -> None:
    h = torch.rand(1, n, generator=torch.Generator().manual_seed(n)).double()
    kept = top_entropy_mask(h, torch.ones_like(h).bool(), share)
    # TRL: entropies >= torch.quantile(entropies, 1 - share)
    assert torch.equal(kept, h >= torch.quantile(h, 1 - share))


def test_top_entropy_of_nothing() -> None:
    assert not top_entropy_mask(torch.ones(2, 3), torch.zeros(2, 3).bool()).any()
    assert top_entropy_mask(torch.ones(0, 3), torch.ones(0, 3).bool()).shape == (0, 3)


def test_entropy_bonus() -> None:
    h = torch.tensor([[1.0, 3.0], [5.0, math.nan]], requires_grad=True)
    mask = torch.tensor([[1, 1], [1, 0]])
    bonus = entropy_bonus(h, mask, 0.1)
    assert bonus.item() == pytest.approx(0.1 * (1 + 3 + 5) / 3)
    bonus.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(h.grad, torch.tensor([[0.1 / 3, 0.1 / 3], [0.1 / 3, 0.0]]))
    assert entropy_bonus(h, torch.zeros(2, 2).bool()).item() == 0
    with pytest.raises(DataError):
        entropy_bonus(h, mask[:1])


def test_schedules() -> None:
    assert [constant(0.2, Moment(s)) for s in (0, 100)] == [0.2, 0.2]
    assert [warmup(0.2, Moment(s, 4)) for s in (0, 1, 2, 4, 9)] == pytest.approx([0, 0.05, 0.1, 0.2, 0.2])
    gated = [competence(0.2, Moment(7, gauge=g, gate=0.6)) for g in (0, 0.6, 0.7, 0.8, 1)]
    assert gated == pytest.approx([0, 0, 0.05, 0.1, 0.2])
    assert gated[:2] == [0, 0]  # to the bit: GRPO
    assert competence(0.2, Moment(7, gauge=0.5)) == pytest.approx(0.1)
