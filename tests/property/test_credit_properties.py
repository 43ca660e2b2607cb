"""Invariants of credit, on random advantages, masks and batches."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra.credit.apply import CreditConfig, HicraCredit
from hicra.credit.controls import random_mask
from hicra.credit.entropy import entropy_advantage, top_entropy_mask
from hicra.credit.group import GROUP_ADVANTAGES
from hicra.credit.hicra import hicra, hicra_positive, hicra_symmetric
from hicra.credit.sums import Sums
from hicra.dynamics.semantic import entropy_bits, rarefied_entropy_bits
from hicra.grams.gramset import GramSet
from hicra.labels.labeller import Labeller
from hicra.labels.vocab import byte_vocab

VARIANTS = [hicra, hicra_symmetric, hicra_positive]
SETTINGS = settings(max_examples=60, deadline=None)
LABELLER = Labeller(GramSet.from_grams(["let me see", "but wait", "so"]), byte_vocab())
PLACEBO = GramSet.from_grams(["the sum", "is"])

# whole thousandths: their products are far from what single precision cannot hold
advantage = st.integers(-5000, 5000).map(lambda n: n / 1000)
alphas = st.integers(0, 999).map(lambda n: n / 1000)
texts = st.lists(
    st.lists(st.sampled_from(["let me see", "but wait", "so", "the sum", "is", "4", ".", ","]), max_size=8).map(
        " ".join
    ),
    min_size=1,
    max_size=5,
)


@st.composite
def batches(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Advantages (B,), planning mask (B, T), completion mask (B, T) with padding behind and holes."""
    b, t = draw(st.integers(1, 5)), draw(st.integers(1, 9))
    flags = st.lists(st.lists(st.booleans(), min_size=t, max_size=t), min_size=b, max_size=b)
    a = draw(st.lists(advantage, min_size=b, max_size=b))
    return torch.tensor(a), torch.tensor(draw(flags)), torch.tensor(draw(flags))


def token_batch(rows: list[str], padding: int) -> tuple[torch.Tensor, torch.Tensor]:
    coded = [list(row.encode()) for row in rows]
    width = max(map(len, coded)) + padding
    ids = torch.tensor([row + [255] * (width - len(row)) for row in coded], dtype=torch.long).view(len(rows), width)
    mask = torch.tensor([[True] * len(row) + [False] * (width - len(row)) for row in coded]).view(len(rows), width)
    return ids, mask


# --- HICRA ----------------------------------------------------------------------------------------------------------
@SETTINGS
@given(batches(), st.sampled_from(VARIANTS))
def test_alpha_zero_is_the_identity(batch, variant) -> None:  # type: ignore[no-untyped-def]
    a, planning, _ = batch
    assert variant(a, planning, 0.0) is a


@SETTINGS
@given(batches(), alphas, st.sampled_from(VARIANTS))
def test_no_sign_changes_and_execution_stays(batch, alpha, variant) -> None:  # type: ignore[no-untyped-def]
    a, planning, _ = batch
    wide = a.unsqueeze(1).expand(planning.shape)
    got = variant(wide, planning, alpha)
    assert torch.equal(got.sign(), wide.sign())
    assert torch.equal(got[~planning], wide[~planning])
    if variant is not hicra_symmetric:
        assert (got >= wide).all()
    if alpha > 0:  # (B,) is a short form of (B, T)
        assert torch.equal(variant(a, planning, alpha), got)


@SETTINGS
@given(batches(), alphas)
def test_the_variants_part_the_formula(batch, alpha) -> None:  # type: ignore[no-untyped-def]
    # on successes all three agree; on failures the mean of hicra and symmetric is the unchanged advantage
    a, planning, _ = batch
    h, s, p = (variant(a, planning, alpha) for variant in VARIANTS)
    won = a > 0
    torch.testing.assert_close(h[won], s[won])
    torch.testing.assert_close(h[won], p[won])
    torch.testing.assert_close((h + s)[~won] / 2, p[~won], atol=1e-6, rtol=1e-5)


# --- the object that engines call -----------------------------------------------------------------------------------
def credit(estimator: str) -> HicraCredit:
    control = PLACEBO if estimator == "placebo" else None
    return HicraCredit(CreditConfig(estimator=estimator, entropy_share=0.3), labeller=LABELLER, control_grams=control)


@pytest.mark.parametrize("estimator", ["hicra", "hicra_symmetric", "placebo", "random_mask"])
@settings(max_examples=25, deadline=None)
@given(rows=texts, padding=st.integers(1, 5), seed=st.integers(0, 100))
def test_padding_and_order_do_not_matter(estimator: str, rows: list[str], padding: int, seed: int) -> None:
    c = credit(estimator)
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(len(rows), generator=generator)
    ids, mask = token_batch(rows, 0)
    want = c.apply(a, ids, mask)
    wide_ids, wide_mask = token_batch(rows, padding)
    wide = c.apply(a, wide_ids, wide_mask)
    assert torch.equal(wide[:, : ids.shape[1]], want)
    assert torch.equal(wide[~wide_mask], a.unsqueeze(1).expand_as(wide)[~wide_mask])
    order = torch.randperm(len(rows), generator=generator)
    assert torch.equal(c.apply(a[order], ids[order], mask[order]), want[order])


@pytest.mark.parametrize("estimator", ["placebo", "random_mask"])
@settings(max_examples=25, deadline=None)
@given(rows=texts, hole=st.integers(0, 30))
def test_credit_lies_inside_the_mask(estimator: str, rows: list[str], hole: int) -> None:
    ids, mask = token_batch(rows, 2)
    mask[:, hole : hole + 3] = False
    labels = credit(estimator).plan(ids, mask)
    assert not (labels.credit & ~mask).any()
    assert not (labels.mask & ~mask).any()
    if estimator == "random_mask":
        assert torch.equal(labels.credit.sum(1), labels.mask.sum(1))
    else:
        assert not (labels.credit & labels.mask).any()


@settings(max_examples=25, deadline=None)
@given(rows=texts, cut=st.integers(0, 5), seed=st.integers(0, 100))
def test_sums_of_parts_are_the_sums_of_the_whole(rows: list[str], cut: int, seed: int) -> None:
    c = credit("hicra")
    ids, mask = token_batch(rows, 1)
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(len(rows), generator=generator)
    logprobs, entropies = -torch.rand(ids.shape, generator=generator), torch.rand(ids.shape, generator=generator)

    def sums(rows: slice) -> Sums:
        if len(ids[rows]) == 0:
            return Sums.zeros(len(c.grams))
        labels = c.plan(ids[rows], mask[rows])
        after = c.advantages(a[rows], labels, mask=mask[rows])
        return c.observe(labels, mask[rows], logprobs[rows], entropies[rows], a[rows], after)

    whole = sums(slice(None))
    parts = [sums(slice(0, cut)), sums(slice(cut, None))]
    travelled = Sums.from_tensor(sum(part.to_tensor() for part in parts))
    for added in (parts[0] + parts[1], travelled):
        assert added.metrics() == pytest.approx(whole.metrics(), nan_ok=True, rel=1e-9, abs=1e-12)
        assert added.gram_counts.tolist() == whole.gram_counts.tolist()
    # the mass that HICRA adds is alpha |A| on each planning token
    n_planning = c.plan(ids, mask).mask.sum(1)
    expected = float((0.2 * a.abs() * n_planning).sum())
    assert whole.metrics()["added_mass"] == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert whole.gram_counts.tolist() == [sum(row.count(g.text) for row in rows) for g in c.grams]


# --- group baselines ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", GROUP_ADVANTAGES)
@settings(max_examples=40, deadline=None)
@given(data=st.data(), g=st.integers(2, 4), n=st.integers(1, 4))
def test_group_advantages(name: str, data: st.DataObject, g: int, n: int) -> None:
    function = GROUP_ADVANTAGES[name]
    rewards = torch.tensor(data.draw(st.lists(st.integers(0, 4), min_size=g * n, max_size=g * n))).double() / 4
    ids = torch.arange(n).repeat_interleave(g)
    want = function(rewards, group_size=g)
    assert torch.equal(want.view(n, g).sum(1).abs() < 1e-9, torch.ones(n).bool())  # centred
    order = torch.tensor(data.draw(st.permutations(range(g * n))))
    names = torch.tensor(data.draw(st.lists(st.integers(-99, 99), min_size=n, max_size=n, unique=True)))
    torch.testing.assert_close(function(rewards[order], names[ids][order]), want[order])
    torch.testing.assert_close(function(rewards + 3, group_size=g), want)  # a constant reward is no credit
    better = rewards[:, None] > rewards[None, :]
    same = ids[:, None] == ids[None, :]
    assert (want[:, None] > want[None, :])[better & same].all()


# --- the others -----------------------------------------------------------------------------------------------------
@SETTINGS
@given(batches(), st.floats(0, 5), st.floats(1.01, 9), st.integers(0, 99))
def test_entropy_advantage_keeps_signs(batch, beta, kappa, seed) -> None:  # type: ignore[no-untyped-def]
    a, planning, _ = batch
    h = 3 * torch.rand(planning.shape, generator=torch.Generator().manual_seed(seed))
    got = entropy_advantage(a, h, beta, kappa)
    wide = a.unsqueeze(1).expand_as(got)
    assert torch.equal(got.sign(), wide.sign())
    assert (got >= wide).all()
    assert (got - wide <= wide.abs() / kappa + 1e-5).all()


@SETTINGS
@given(batches(), st.floats(0.01, 1), st.integers(0, 99))
def test_top_entropy_is_a_top(batch, share, seed) -> None:  # type: ignore[no-untyped-def]
    _, planning, mask = batch
    h = torch.rand(planning.shape, generator=torch.Generator().manual_seed(seed))
    kept = top_entropy_mask(h, mask, share)
    assert not (kept & ~mask).any()
    rest = mask & ~kept
    if mask.any():
        n = int(mask.sum())
        assert kept.sum() == math.floor(round(share * 1e6) / 1e6 * (n - 1) + 1e-9) + 1
    if rest.any():
        assert h[kept].min() > h[rest].max()


@SETTINGS
@given(batches(), st.integers(0, 2**62), st.integers(0, 2**31))
def test_random_mask_is_rate_matched(batch, seed, step) -> None:  # type: ignore[no-untyped-def]
    _, planning, mask = batch
    begin = planning & mask  # the finest occurrences there are
    got = random_mask(planning, begin, mask, torch.arange(planning.numel()).view(planning.shape), seed=seed, step=step)
    assert torch.equal(got.sum(1), (planning & mask).sum(1))
    assert not (got & ~mask).any()


@SETTINGS
@given(st.lists(st.integers(0, 30), min_size=1, max_size=8), st.data())
def test_rarefied_entropy_is_bounded_and_rises(counts: list[int], data: st.DataObject) -> None:
    n = sum(counts)
    if n == 0:
        assert math.isnan(entropy_bits(counts))
        return
    m = data.draw(st.integers(1, n))
    h = rarefied_entropy_bits(counts, m)
    assert -1e-12 <= h <= min(math.log2(m), entropy_bits(counts)) + 1e-9
    if m > 1:
        assert rarefied_entropy_bits(counts, m - 1) <= h + 1e-9
