"""What must hold for any counts, tokens and series."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hicra.dynamics.compass import pass_at_k, rank_correlation, ranks
from hicra.dynamics.conditional import conditional_entropy, fold_token
from hicra.dynamics.corrected import chao_shen_bits, miller_madow_bits
from hicra.dynamics.flow import transitions
from hicra.dynamics.gauge import Gauge, competence
from hicra.dynamics.odds import mantel_haenszel
from hicra.dynamics.overlap import overlap
from hicra.dynamics.semantic import entropy_bits, rarefied_entropy_bits

unhurried = settings(deadline=None)  # a busy machine is no error
counts = st.lists(st.integers(0, 60), min_size=1, max_size=12).filter(sum)
few = st.lists(st.integers(0, 15), min_size=1, max_size=8).filter(sum)
finite = st.floats(-5, 5, allow_nan=False)


@unhurried
@given(counts, st.integers(1, 40))
def test_entropies_are_ordered_and_ignore_names(c: list[int], m: int) -> None:
    plain = entropy_bits(c)
    kinds = sum(k > 0 for k in c)
    assert 0 <= plain <= math.log2(kinds) + 1e-9
    assert plain <= miller_madow_bits(c) <= plain + (kinds - 1) / (2 * sum(c) * math.log(2)) + 1e-9
    assert chao_shen_bits(c) >= plain - 1e-9  # it corrects upwards only
    if sum(c) >= m:
        rarefied = rarefied_entropy_bits(c, m)
        assert 0 <= rarefied <= plain + 1e-9
        assert rarefied <= math.log2(m) + 1e-9
    mixed = [*reversed(c), 0]
    for estimate in (entropy_bits, miller_madow_bits, chao_shen_bits):
        assert estimate(mixed) == pytest.approx(estimate(c), abs=1e-12)


@unhurried
@given(few)
def test_rarefied_entropy_rises_with_the_draw(c: list[int]) -> None:
    drawn = [rarefied_entropy_bits(c, m) for m in range(1, sum(c) + 1)]
    assert (np.diff(drawn) >= -1e-9).all()
    assert drawn[-1] == pytest.approx(entropy_bits(c), abs=1e-9)


@unhurried
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=60), st.integers(1, 5))
def test_conditional_entropy_is_below_that_of_what_follows(pairs: list[tuple[int, int]], m: int) -> None:
    gram, after = np.array(pairs).T
    found = conditional_entropy(gram, after, m=m)
    assert 0 <= found.plug_in <= entropy_bits(np.bincount(after)) + 1e-9
    joint = entropy_bits(np.unique(gram * 5 + after, return_counts=True)[1])
    assert found.plug_in == pytest.approx(joint - entropy_bits(np.bincount(gram)), abs=1e-9)  # H(Y|X) = H(X,Y) - H(X)
    assert 0 <= found.coverage <= 1
    assert math.isnan(found.rarefied) == (found.coverage == 0)


@unhurried
@given(
    st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=50),
    st.floats(0.01, 1.0),
    st.randoms(use_true_random=False),
)
def test_overlap(tokens: list[tuple[int, bool]], share: float, random) -> None:
    entropy, planning = [float(h) for h, _ in tokens], [p for _, p in tokens]
    found = overlap(entropy, planning, share)
    assert 0 <= found.top_that_plans[0] <= 1 + 1e-9
    both = found.top_that_plans[0] * share * len(tokens)
    if any(planning):
        assert both == pytest.approx(found.planning_in_top[0] * sum(planning))
    shuffled = tokens[:]
    random.shuffle(shuffled)
    again = overlap([float(h) for h, _ in shuffled], [p for _, p in shuffled], share)
    assert again.top_that_plans[0] == pytest.approx(found.top_that_plans[0])
    flipped = overlap(entropy, [not p for p in planning], share)
    assert found.top_that_plans[0] + flipped.top_that_plans[0] == pytest.approx(1.0)


@unhurried
@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 20)), min_size=1, max_size=20), st.integers(1, 12))
def test_pass_at_k(pairs: list[tuple[int, int]], k: int) -> None:
    n, c = np.array([(n, min(c, n)) for n, c in pairs]).T
    found, more = pass_at_k(n, c, k), pass_at_k(n, c, k + 1)
    for i in range(len(n)):
        if n[i] < k:
            assert math.isnan(found[i])
        else:
            assert found[i] == pytest.approx(1 - math.comb(n[i] - c[i], k) / math.comb(n[i], k))
            assert math.isnan(more[i]) or more[i] >= found[i] - 1e-12


@unhurried
@given(st.lists(st.tuples(finite, finite), min_size=3, max_size=30))
def test_rank_correlation_knows_only_ranks(points: list[tuple[float, float]]) -> None:
    x, y = np.array(points).T
    found, turned = rank_correlation([(x, y)]), rank_correlation([(-x, y)])
    swapped = rank_correlation([(y, x)])
    if math.isnan(found.rho):
        assert math.isnan(turned.rho)
        return
    assert -1 - 1e-9 <= found.rho <= 1 + 1e-9
    assert turned.rho == pytest.approx(-found.rho)
    assert swapped.rho == pytest.approx(found.rho)
    assert 1 <= found.effective <= found.n
    assert rank_correlation([(ranks(x), y)]).rho == pytest.approx(found.rho)


@unhurried
@given(st.lists(st.lists(st.integers(0, 4), max_size=8), min_size=1, max_size=10))
def test_transitions_lose_nothing(completions: list[list[int]]) -> None:
    moves = [m for c in completions for m in c]
    rows = [i for i, c in enumerate(completions) for _ in c]
    found = transitions(moves, rows, 5, len(completions)).counts
    assert found[-1].sum() == found[:, -1].sum() == len(completions)
    assert found[:5].sum(axis=1).tolist() == np.bincount(moves, minlength=5).tolist()
    assert found[:, :5].sum(axis=0).tolist() == np.bincount(moves, minlength=5).tolist()


@unhurried
@given(st.lists(st.tuples(*[st.integers(0, 6)] * 4), min_size=1, max_size=12))
def test_odds_turn_over(tables: list[tuple[int, int, int, int]]) -> None:
    a, b, c, d = np.array(tables).T
    found, turned = mantel_haenszel(a, b, c, d), mantel_haenszel(b, a, d, c)
    if math.isfinite(found.low):
        assert turned.ratio == pytest.approx(1 / found.ratio)
        assert turned.high == pytest.approx(1 / found.low)
        assert turned.p == pytest.approx(found.p)
        assert found.low <= found.ratio <= found.high


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(finite, st.just(math.nan)), max_size=50))
def test_gauge_is_a_share_and_knows_no_units(nll: list[float]) -> None:
    found = competence(nll)
    assert ((found >= 0) & (found <= 1)).all()
    grown = competence(np.array(nll) * 4.0)
    assert grown == pytest.approx(found, abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(finite, st.just(math.nan)), max_size=40), st.integers(0, 40), st.integers(3, 9))
def test_a_gauge_that_was_saved_goes_on_as_if_it_had_not_been(nll: list[float], at: int, window: int) -> None:
    gauge = Gauge(window=window)
    found = []
    for step, value in enumerate(nll):
        if step == at:
            gauge = Gauge.from_state(json.loads(json.dumps(gauge.state())))
        found.append(gauge.update(value))
    assert found == competence(nll, window=window).tolist()


@unhurried
@example("A_A:A")
@given(st.text(max_size=30))
def test_folding_is_idempotent_on_any_text(text: str) -> None:
    folded = fold_token(text)
    assert fold_token(folded) == folded
    assert "\n" not in folded or folded == ""
