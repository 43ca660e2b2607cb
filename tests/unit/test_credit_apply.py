"""HicraCredit with the real labeller over a byte vocabulary: every id is one byte of the text."""

from __future__ import annotations

import dataclasses
import math
from itertools import chain

import numpy as np
import pytest
import torch

from hicra.credit import ESTIMATORS
from hicra.credit.apply import CreditConfig, HicraCredit
from hicra.credit.sums import FIELDS, Sums
from hicra.errors import ConfigError, DataError
from hicra.grams.gramset import GramSet
from hicra.labels.labeller import Labeller
from hicra.labels.vocab import byte_vocab

GRAMS = GramSet.from_grams(["let me see", "but wait"], name="two")
PLACEBO = GramSet.from_grams(["the sum is", "is right"], name="two-placebo")
TEXTS = ["let me see the sum is 4", "but wait but wait it is right", "the sum is 5"]


def credit(control: GramSet | None = None, **settings) -> HicraCredit:  # type: ignore[no-untyped-def]
    return HicraCredit(CreditConfig(**settings), labeller=Labeller(GRAMS, byte_vocab()), control_grams=control)


def batch(texts: list[str] = TEXTS) -> tuple[torch.Tensor, torch.Tensor]:
    rows = [list(text.encode()) for text in texts]
    width = max(map(len, rows)) + 2
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return ids, mask


A = torch.tensor([1.0, -0.5, -0.5])


def test_plan_and_advantages() -> None:
    ids, mask = batch()
    c = credit()
    labels = c.plan(ids, mask)
    # "let me see" has 8 letters in it, "but wait" 7; spaces are no planning tokens
    assert labels.mask.sum(1).tolist() == [8, 14, 0]
    assert labels.credit is None
    got = c.advantages(A, labels, mask=mask)
    assert got.shape == ids.shape
    torch.testing.assert_close(got[0, 0].item(), 1.2)
    torch.testing.assert_close(got[1, 0].item(), -0.4)
    assert torch.equal(got[~labels.mask], A.unsqueeze(1).expand_as(got)[~labels.mask])
    assert torch.equal(c.apply(A, ids, mask), got)


@pytest.mark.parametrize("name", [name for name, row in ESTIMATORS.items() if row.uses_alpha])
def test_alpha_zero_is_the_same_object(name: str) -> None:
    ids, mask = batch()
    c = credit(PLACEBO if name == "placebo" else None, estimator=name, alpha=0.0)
    a = torch.tensor([1.0, -0.0, math.nan])  # not even looked at
    assert c.advantages(a, c.plan(ids, mask), mask=mask) is a
    assert c.apply(a, ids, mask) is a
    assert c.max_alpha == 0
    assert not c.config.token_level


@pytest.mark.parametrize("name", ["grpo", "entropy_bonus"])
def test_estimators_that_leave_advantages(name: str) -> None:
    ids, mask = batch()
    c = credit(estimator=name)
    assert c.advantages(A, c.plan(ids, mask)) is A
    assert c.max_alpha == 0
    assert not c.config.token_level


def test_warmup() -> None:
    ids, mask = batch()
    c = credit(alpha=0.4, alpha_schedule="warmup", alpha_warmup_steps=10)
    labels = c.plan(ids, mask)
    assert c.max_alpha == 0.4
    assert c.advantages(A, labels, step=0) is A
    assert c.advantages(A, labels, step=5)[0, 0].item() == pytest.approx(1.2)
    assert c.advantages(A, labels, step=99)[0, 0].item() == pytest.approx(1.4)


def test_competence() -> None:
    ids, mask = batch()
    c = credit(alpha=0.4, alpha_schedule="competence", alpha_gate=0.5)
    labels = c.plan(ids, mask)
    assert c.max_alpha == 0.4
    assert c.advantages(A, labels, step=0) is A
    with pytest.raises(ConfigError, match="a gauge that nobody reads"):
        c.advantages(A, labels, step=1)
    c.gauge = 0.5
    assert c.advantages(A, labels, step=1) is A
    c.gauge = 0.75
    assert c.advantages(A, labels, step=2)[0, 0].item() == pytest.approx(1.2)
    c.gauge = 1.0
    assert c.advantages(A, labels, step=3)[0, 0].item() == pytest.approx(1.4)
    other = credit(alpha=0.4, alpha_schedule="competence")
    other.load_state(c.state())
    assert other.alpha(4) == 0.4
    plain = credit(estimator="grpo", alpha_schedule="competence")
    assert (plain.alpha(9), plain.follows_gauge, plain.state()) == (0.0, False, {})


def test_variants_through_the_table() -> None:
    ids, mask = batch()
    for name, success, failure in (("hicra_symmetric", 1.2, -0.6), ("hicra_positive", 1.2, -0.5)):
        c = credit(estimator=name)
        got = c.apply(A, ids, mask)
        assert got[0, 0].item() == pytest.approx(success)
        assert got[1, 0].item() == pytest.approx(failure)


def test_every_container_gives_the_same() -> None:
    ids, mask = batch()
    c = credit()
    want = c.apply(A, ids, mask).numpy()
    lengths = mask.sum(1).tolist()
    # arrays
    got = c.apply(A.numpy(), ids.numpy(), mask.numpy())
    assert isinstance(got, np.ndarray)
    np.testing.assert_array_equal(got, want)
    # ragged rows, advantages as Python numbers
    rows = [row[:n].tolist() for row, n in zip(ids, lengths, strict=True)]
    ragged = c.apply(A.tolist(), rows)
    assert [len(r) for r in ragged] == lengths
    for r, w in zip(ragged, want, strict=True):
        np.testing.assert_allclose(r, w[: len(r)], rtol=1e-6)
    # ragged per-token advantages
    again = c.apply([[float(a)] * n for a, n in zip(A, lengths, strict=True)], rows)
    for r, w in zip(again, ragged, strict=True):
        np.testing.assert_allclose(r, w, rtol=1e-6)
    # flat with offsets, advantages per completion and per token
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    flat = torch.tensor(list(chain(*rows)))
    inside = want[mask.bool().numpy()]
    for a in (A, A.repeat_interleave(torch.tensor(lengths))):
        np.testing.assert_array_equal(c.apply(a, flat, offsets=offsets).numpy(), inside)
    with pytest.raises(DataError, match="advantages and offsets"):
        c.apply(torch.zeros(5), flat, offsets=offsets)
    with pytest.raises(DataError, match="advantages and the token ids differ in shape"):
        c.apply([[1.0], [1.0], [1.0]], rows)


def test_placebo_credits_no_planning_token() -> None:
    ids, mask = batch(["let me see the sum is right", "but wait the sum is 5"])
    c = credit(GramSet.from_grams(["see the", "the sum is"]), estimator="placebo")
    labels = c.plan(ids, mask)
    assert labels.mask.sum(1).tolist() == [8, 7]  # the true ones, for the metrics
    assert not (labels.credit & labels.mask).any()
    got = c.advantages(torch.tensor([1.0, -1.0]), labels, mask=mask)
    assert torch.equal(got != torch.tensor([[1.0], [-1.0]]), labels.credit)
    assert labels.credit.sum(1).tolist() == [8, 8]  # of "see the sum is" the "see" plans
    ragged = c.plan([list(b"see the sum"), list(b"but wait")])
    assert [int(r.sum()) for r in ragged.credit] == [6, 0]


def test_placebo_from_the_bundled_traces_and_redraw() -> None:
    c = HicraCredit(CreditConfig(estimator="placebo", placebo_redraw_every=5), byte_vocab())
    first = c.control_grams
    assert first is not None
    assert len(first) == len(c.grams)
    assert [c.redraw_due(s) for s in (0, 4, 5, 6)] == [False, False, True, True]
    from hicra.traces.read import sample_traces

    texts = [t.solution for t in sample_traces()]
    drawn = c.redraw(texts, step=6)
    assert c.control_grams is drawn
    assert drawn.hash != first.hash
    assert [c.redraw_due(s) for s in (6, 9, 10)] == [False, False, True]
    # a resumed run credits what the interrupted one did
    other = HicraCredit(CreditConfig(estimator="placebo", placebo_redraw_every=5), byte_vocab(), control_grams=first)
    other.load_state(c.state())
    assert other.control_grams == drawn
    assert not other.redraw_due(9)
    assert credit().state() == {}
    with pytest.raises(ConfigError, match="no placebo"):
        credit().redraw(texts, step=1)


def test_random_mask_in_every_container() -> None:
    ids, mask = batch()
    c = credit(estimator="random_mask", seed=4)
    labels = c.plan(ids, mask, step=3)
    assert labels.credit.sum(1).tolist() == [8, 14, 0]
    assert not (labels.credit & ~mask.bool()).any()
    lengths = mask.sum(1).tolist()
    rows = [row[:n].tolist() for row, n in zip(ids, lengths, strict=True)]
    ragged = c.plan(rows, step=3).credit
    flat = c.plan(np.array(list(chain(*rows))), offsets=np.concatenate([[0], np.cumsum(lengths)]), step=3).credit
    np.testing.assert_array_equal(np.concatenate(ragged), labels.credit[mask.bool()].numpy())
    np.testing.assert_array_equal(flat, labels.credit[mask.bool()].numpy())
    single = c.plan(rows[1], step=3).credit
    np.testing.assert_array_equal(single, ragged[1])
    assert not torch.equal(c.plan(ids, mask, step=4).credit, labels.credit)


def test_entropy_estimators() -> None:
    ids, mask = batch()
    h = torch.full(ids.shape, 0.5)
    h[~mask.bool()] = math.nan  # padding may hold anything
    h[0, 3] = 3.0
    c = credit(estimator="entropy_advantage")
    labels = c.plan(ids, mask)
    got = c.advantages(A, labels, h, mask=mask)
    assert got[0, 3].item() == pytest.approx(1.5)
    assert got[1, 0].item() == pytest.approx(-0.5 + 0.2)
    assert got.isfinite().all()
    assert c.max_alpha == 0
    assert c.config.token_level
    top = credit(estimator="top_entropy", entropy_share=0.01).advantages(A, labels, h, mask=mask)
    assert top.nonzero().tolist() == [[0, 3]]
    with pytest.raises(ConfigError, match="needs token entropies"):
        c.advantages(A, labels, mask=mask)
    with pytest.raises(DataError, match="entropies must be finite"):
        c.advantages(A, labels, h)


def test_bad_advantages() -> None:
    ids, mask = batch()
    c = credit()
    labels = c.plan(ids, mask)
    with pytest.raises(DataError, match="advantages must be finite"):
        c.advantages(torch.tensor([1.0, math.nan, 0.0]), labels)
    with pytest.raises(DataError, match="do not go together"):
        c.advantages(torch.zeros(2), labels)
    with pytest.raises(DataError, match="mask and labels differ"):
        c.advantages(A, labels, mask=mask[:, :-1])
    with pytest.raises(DataError, match="cannot be read as numbers"):
        c.advantages(["x", "y", "z"], labels)


def test_observe() -> None:
    ids, mask = batch()
    c = credit()
    labels = c.plan(ids, mask)
    logprobs = torch.where(labels.mask, -2.0, -0.5)
    logprobs[~mask.bool()] = -math.inf
    entropies = torch.where(labels.mask, 1.5, 0.25)
    after = c.advantages(A, labels, mask=mask)
    sums = c.observe(labels, mask, logprobs, entropies, A, after)
    lengths = [len(t) for t in TEXTS]
    metrics = sums.metrics()
    assert metrics["n_planning"] == 22
    assert metrics["n_execution"] == sum(lengths) - 22
    assert metrics["planning_share"] == pytest.approx(22 / sum(lengths))
    assert metrics["entropy_planning"] == 1.5
    assert metrics["entropy_execution"] == 0.25
    assert metrics["logprob_planning"] == -2.0
    assert metrics["perplexity_planning"] == pytest.approx(math.exp(2))
    assert metrics["perplexity_execution"] == pytest.approx(math.exp(0.5))
    # 8 tokens of .2 * 1, 14 of .2 * .5; |A| over all completion tokens
    assert metrics["added_mass"] == pytest.approx(8 * 0.2 + 14 * 0.1)
    total = lengths[0] + 0.5 * (lengths[1] + lengths[2])
    assert metrics["added_mass_share"] == pytest.approx((8 * 0.2 + 14 * 0.1) / total)
    # grams in order of text: "but wait" twice (adjacent), "let me see" once
    assert sums.gram_counts.tolist() == [2, 1]
    # a narrower mask, e.g. without truncated completions: only what lies inside counts
    narrow = mask.clone()
    narrow[1] = 0
    assert c.observe(labels, narrow).gram_counts.tolist() == [0, 1]
    # observe mode: advantages untouched, no mass
    assert c.observe(labels, mask, None, None, A, A).metrics()["added_mass"] == 0


def test_what_was_not_observed_is_nan() -> None:
    ids, mask = batch(["the sum is 5"])
    c = credit()
    metrics = c.observe(c.plan(ids, mask), mask).metrics()
    assert metrics["planning_share"] == 0
    assert {k for k, v in metrics.items() if math.isnan(v)} == {
        *(f"{q}_{kind}" for q in ("entropy", "logprob", "perplexity") for kind in ("planning", "execution")),
        "added_mass_share",
    }
    assert all(math.isnan(v) for k, v in Sums.zeros(0).metrics().items() if k == "planning_share")


def test_values_that_are_not_finite() -> None:
    ids, mask = batch()
    c = credit()
    labels = c.plan(ids, mask)
    bad = torch.zeros(ids.shape)
    bad[0, 0] = -math.inf
    sums = c.observe(labels, mask, logprobs=bad)
    with pytest.raises(DataError, match="1 completion tokens have a log-prob"):
        sums.metrics()
    metrics = c.observe(labels, mask, entropies=bad).metrics()
    assert metrics["nonfinite_entropy"] == 1
    assert metrics["entropy_planning"] == 0
    with pytest.raises(DataError, match="logprobs and labels differ in shape"):
        c.observe(labels, mask, logprobs=bad[:, 1:])
    with pytest.raises(DataError, match="mask and labels differ in shape"):
        c.observe(labels, mask[:, 1:])


def test_observe_in_other_containers() -> None:
    ids, mask = batch()
    c = credit()
    entropies = torch.rand(ids.shape, generator=torch.Generator().manual_seed(0))
    want = c.observe(c.plan(ids, mask), mask, entropies=entropies).metrics()
    lengths = mask.sum(1).tolist()
    rows = [row[:n].tolist() for row, n in zip(ids, lengths, strict=True)]
    ragged = c.observe(c.plan(rows), entropies=[e[:n].tolist() for e, n in zip(entropies, lengths, strict=True)])
    assert ragged.metrics() == pytest.approx(want, nan_ok=True)
    arrays = c.observe(c.plan(ids.numpy(), mask.numpy()), mask.numpy(), entropies=entropies.numpy())
    assert arrays.metrics() == pytest.approx(want, nan_ok=True)


def test_sums_travel_as_one_vector() -> None:
    ids, mask = batch()
    c = credit()
    sums = c.observe(c.plan(ids, mask), mask)
    vector = sums.to_tensor()
    assert vector.dtype == torch.float64
    assert vector.shape == (len(FIELDS) + 2,)
    twice = Sums.from_tensor(vector * 2)  # as from an all-reduce over two ranks with the same batch
    assert twice.metrics()["n_planning"] == 44
    assert twice.gram_counts.tolist() == [4, 2]
    assert sum([sums, sums]).gram_counts.tolist() == [4, 2]  # type: ignore[union-attr]
    with pytest.raises(DataError, match="different gram sets"):
        sums + Sums.zeros(3)
    with pytest.raises(DataError, match="no sums"):
        Sums.from_tensor(torch.zeros(3))


def test_needs_a_tokenizer() -> None:
    with pytest.raises(ConfigError, match="needs to read tokens"):
        HicraCredit()
    with pytest.raises(ConfigError, match="no use for control grams"):
        credit(PLACEBO)


def test_config() -> None:
    assert dataclasses.asdict(CreditConfig())["alpha"] == 0.2
    for settings, message in [
        ({"estimator": "ppo"}, "unknown estimator"),
        ({"alpha": 1.0}, "alpha is out of range"),
        ({"alpha": math.nan}, "alpha is out of range"),
        ({"alpha_schedule": "cosine"}, "unknown alpha_schedule"),
        ({"alpha_schedule": "warmup"}, "without a length"),
        ({"alpha_warmup_steps": 5}, "no effect"),
        ({"alpha_schedule": "competence", "alpha_warmup_steps": 5}, "no effect with alpha_schedule 'competence'"),
        ({"alpha_gate": 1.0}, "alpha_gate is out of range"),
        ({"alpha_gate": math.nan}, "alpha_gate is out of range"),
        ({"alpha_warmup_steps": -1}, "alpha_warmup_steps is out of range"),
        ({"placebo_redraw_every": -1}, "placebo_redraw_every is out of range"),
        ({"entropy_kappa": 1.0}, "entropy_kappa is out of range"),
        ({"entropy_beta": -1.0}, "entropy_beta is out of range"),
        ({"entropy_share": 0.0}, "entropy_share is out of range"),
        ({"entropy_bonus": math.inf}, "entropy_bonus is out of range"),
    ]:
        with pytest.raises(ConfigError, match=message):
            CreditConfig(**settings)
    with pytest.raises(dataclasses.FrozenInstanceError):
        CreditConfig().alpha = 0.3  # type: ignore[misc]
