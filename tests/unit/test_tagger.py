"""The tagger: words as the text rules see them, labels whatever the tokens and the batch, soft credit by hand."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra.credit import CreditConfig, HicraCredit
from hicra.errors import ConfigError, DataError
from hicra.grams.gramset import GramSet
from hicra.grams.text import text_rules, words
from hicra.labels import _tagger_features as features
from hicra.labels import _tagger_words as reading
from hicra.labels.labeller import Labeller
from hicra.labels.quality import read_excerpts, score
from hicra.labels.tagger import FUNCTIONS, TaggerMachine, is_tagger, load_model, move_hash, packaged, tag
from hicra.labels.vocab import Vocab, byte_vocab

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "src" / "hicra" / "labels" / "data" / "tagger.safetensors"
TEXT = (
    "To solve this problem, we need to find the sum of 12 and 7.\n\nFirst, let's add them: $12 + 7 = 19$. Wait, let me "
    "double-check that. But the problem says that x2 is even, so we're wrong. Therefore, the answer is 20.\n"
)


@pytest.fixture(scope="module")
def machine() -> TaggerMachine:
    return TaggerMachine(byte_vocab())


def labelled(text: str, cuts: set[int], mask: np.ndarray | None = None, *, rows: bool = False):
    """Labels of a text that is cut into tokens at some bytes, as (gram of each byte, probability of each byte)."""
    data = text.encode()
    bounds = sorted({0, len(data), *(c for c in cuts if 0 < c < len(data))})
    tokens = [data[a:z] for a, z in itertools.pairwise(bounds)]
    labels = Labeller("tagger", Vocab.from_tokens(tokens)).label(np.arange(len(tokens)), mask)
    sizes = [len(t) for t in tokens]
    return np.repeat(labels.gram_id, sizes), np.repeat(labels.probability, sizes)


# --- words ------------------------------------------------------------------------------------------------------------
@given(st.text(st.sampled_from([*"abZ'’-. ,\n\n$\\(12_é\"*:?"]), max_size=60))
@settings(max_examples=150, deadline=None)
def test_words_are_those_of_the_text_rules(machine: TaggerMachine, text: str) -> None:
    data = np.frombuffer(text.encode(), np.uint8)
    bounds = np.array([0, len(data)], np.int64)
    word, _, first, last, hashes = machine.entries(data, bounds, np.empty(0, np.bool_))
    real = word != reading.PAD
    expected = [w for stretch in words(text) for w in stretch]
    assert hashes[real].tolist() == [reading.word_hash(w.encode("latin-1")) for w in expected]
    assert (first[real] <= last[real]).all()
    assert (first[real][1:] > last[real][:-1]).all()
    if expected:
        assert (~real).sum() == 2 * features.REACH


def test_what_lies_in_the_gaps(machine: TaggerMachine) -> None:
    data = np.frombuffer(b'Wait, 3 + x2 so\n\nBut "AB"? ok', np.uint8)
    word, flags, *_ = machine.entries(data, np.array([0, len(data)]), np.empty(0, np.bool_))
    r = reading
    assert flags[word != r.PAD].tolist() == [
        r.START | r.CAPITAL,
        r.PAUSE | r.DIGIT | r.SIGN | r.NAME,
        r.LINE | r.BLANK | r.CAPITAL,
        r.QUOTE | r.CAPITAL | r.CAPITALS,
        r.QUOTE | r.ASK,
    ]


def test_features_fit_their_room_and_their_window(machine: TaggerMachine) -> None:
    rng = np.random.default_rng(0)
    n, reach = 200, features.REACH
    word = rng.integers(1, 50, n + 2 * reach).astype(np.int32)
    flags = rng.integers(0, 1 << reading.FLAGS, n + 2 * reach).astype(np.int32) * (rng.random(n + 2 * reach) < 0.2)
    out = np.zeros((2, features.TEMPLATES), np.uint64)
    arrays = [word, word % 7, word % 13, flags.astype(np.int32)]
    i = n // 2
    count = features.keys_of(*arrays, i, out[0])
    assert 0 < count <= features.TEMPLATES
    for outside in (i - reach - 1, i + reach + 1):
        changed = [a.copy() for a in arrays]
        for a in changed:
            a[outside] += 1
        features.keys_of(*changed, i, out[1])
        assert (out[0] == out[1]).all()
    arrays[0][i + 1] += 1
    features.keys_of(*arrays, i, out[1])
    assert (out[0, :count] != out[1, :count]).any()


def test_scores_equal_a_slow_sum(machine: TaggerMachine) -> None:
    from hicra.labels import _tagger_score as scoring

    data = np.frombuffer(TEXT.encode(), np.uint8)
    word, flags, *_ = machine.entries(data, np.array([0, len(data)]), np.empty(0, np.bool_))
    t = machine.model.tensors
    raw = np.empty(len(word), np.int32)
    scoring.raw_scores(word, machine._coarse, machine._fine, flags, machine._first_head, machine._seen, raw)
    weight_of = dict(zip(t["keys"].tolist(), t["weights"][:, 0].tolist(), strict=True))
    keys = np.zeros(features.TEMPLATES, np.uint64)
    for i in np.flatnonzero(word):
        n = features.keys_of(word, machine._coarse[word], machine._fine[word], flags, i, keys)
        assert raw[i] == sum(weight_of.get(int(k) >> 32, 0) for k in keys[:n])
    assert np.ptp(raw) > 100


# --- labels -----------------------------------------------------------------------------------------------------------
def test_it_finds_what_steers() -> None:
    found = tag(TEXT)
    text = {span.text: span.function for span in found}
    assert any(span.startswith("Therefore") and function == "deduction" for span, function in text.items())
    assert any(span.startswith("To solve this problem") and function == "branching" for span, function in text.items())
    assert any("double-check" in span and function == "backtracing" for span, function in text.items())
    assert all(0 < span.probability <= 1 and TEXT[span.start : span.end] == span.text for span in found)
    assert "therefore the answer is" in [span.move for span in found]
    assert not any("sum" in span.text or "even" in span.text for span in found)
    assert tag("") == []
    spans = Labeller("tagger").spans(TEXT)
    assert [(s.start, s.end) for s in spans] == [(s.start, s.end) for s in found]


@given(st.sets(st.integers(1, len(TEXT))))
@settings(max_examples=15, deadline=None)
def test_labels_do_not_depend_on_the_tokens(cuts: set[int]) -> None:
    """Tokens cut by hand: what a token holds of a labelled word labels it, whatever the cuts."""
    whole, likely = labelled(TEXT, set(range(len(TEXT) + 1)))
    cut, cut_likely = labelled(TEXT, cuts)
    data = TEXT.encode()
    bounds = sorted({0, len(data), *(c for c in cuts if c < len(data))})
    for a, z in itertools.pairwise(bounds):
        inside = whole[a:z][whole[a:z] >= 0]
        assert cut[a] == (inside[0] if len(inside) else -1)
        assert cut_likely[a] == likely[a:z].max()


def test_labels_do_not_depend_on_the_batch() -> None:
    vocab = byte_vocab()
    labeller = Labeller("tagger", vocab)
    rows = [list(text.encode()) for text in (TEXT, "So", "", "Hmm, wait. Let me think", TEXT[40:])]
    together = labeller.label(rows)
    width = max(map(len, rows))
    padded = np.full((len(rows), width), 7, np.int64)
    mask = np.zeros((len(rows), width), bool)
    for i, row in enumerate(rows):
        padded[i, : len(row)], mask[i, : len(row)] = row, True
    tensors = labeller.label(torch.tensor(padded), torch.tensor(mask))
    flat = labeller.label(
        np.concatenate([np.array(r, np.int64) for r in rows]), offsets=np.cumsum([0, *map(len, rows)])
    )
    at = 0
    for i, row in enumerate(rows):
        alone = labeller.label(np.array(row, np.int64))
        for name in ("mask", "gram_id", "begin", "probability"):
            one = getattr(alone, name)
            assert (getattr(together, name)[i] == one).all()
            assert (getattr(tensors, name)[i, : len(row)].numpy() == one).all()
            assert not getattr(tensors, name)[i, len(row) :].gt(0).any()
            assert (getattr(flat, name)[at : at + len(row)] == one).all()
        at += len(row)
    assert tensors.probability.dtype == torch.float32


def test_the_contract_of_labels() -> None:
    labels = Labeller("tagger", byte_vocab()).label(np.frombuffer(TEXT.encode(), np.uint8))
    assert (labels.mask == (labels.gram_id >= 0)).all()
    assert labels.mask.any()
    assert labels.mask[labels.begin].all()
    assert (labels.probability[labels.mask] >= packaged().threshold).all()
    assert (labels.probability[~labels.mask] < packaged().threshold).all()
    assert labels.begin.sum() == len(tag(TEXT))


def test_tokens_outside_the_mask_break() -> None:
    text = "Wait, let me check that. Wait, let me check that."
    data = np.frombuffer(text.encode(), np.uint8)
    keep = np.ones(len(data), bool)
    keep[24] = False  # the space between the two
    labels = Labeller("tagger", byte_vocab()).label(data, keep)
    halves = [labels.probability[:24], labels.probability[25:]]
    assert (halves[0] == halves[1]).all()
    alone = Labeller("tagger", byte_vocab()).label(data[:24])
    assert (alone.probability == halves[0]).all()
    assert not Labeller("tagger", byte_vocab()).label(data, np.zeros(len(data), bool)).mask.any()


def test_a_tokenizer_that_loses_white_space() -> None:
    pieces = ["let", "'", "s", "check", "that", "double", "-", "the", "sum"]
    vocab = Vocab.from_tokens([b" " + p.encode() for p in pieces], lossy=True)
    labels = Labeller("tagger", vocab).label(np.array([0, 1, 2, 5, 6, 3, 4]))
    whole = labelled("let's double-check that", set(range(25)))[1]
    assert labels.probability.tolist() == pytest.approx([whole[i] for i in (0, 3, 4, 6, 12, 13, 19)])


def test_an_id_outside_the_vocabulary() -> None:
    with pytest.raises(DataError, match="completion 1, token 2"):
        Labeller("tagger", Vocab.from_tokens([b"so", b" we"])).label([[0, 1], [0, 1, 9]])


def test_moves_and_others() -> None:
    grams = GramSet.load("tagger")
    assert is_tagger(grams)
    assert is_tagger("tagger")
    assert not is_tagger(GramSet.load("paper"))
    for function in FUNCTIONS:
        assert grams[grams.index(f"other {function}")].function == function
    assert "let me check" in grams
    assert move_hash("so") != move_hash("so so")
    labels = Labeller(grams, byte_vocab()).label(np.frombuffer(b"Hmm, let me check.", np.uint8))
    assert labels.probability is not None  # the set of a run's file stands for the tagger too
    with pytest.raises(ConfigError, match="no automaton"):
        _ = Labeller("tagger", byte_vocab()).automaton
    with pytest.raises(ConfigError, match="unknown kind"):
        Labeller("paper", kind="phrases")  # type: ignore[arg-type]
    assert Labeller(kind="tagger").grams.name == "tagger"
    cut = GramSet.from_grams([g for g in grams if g.text != "other branching"], provenance=grams.provenance)
    with pytest.raises(DataError, match="no set of the tagger's moves"):
        Labeller(cut, byte_vocab())


def test_files_that_are_no_tagger(tmp_path: Path) -> None:
    raw = WEIGHTS.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    head = json.loads(raw[8 : 8 + size])
    path = tmp_path / "t.safetensors"
    path.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(DataError, match="cannot read the tagger"):
        load_model(path)
    with pytest.raises(DataError, match="cannot read the tagger"):
        load_model(tmp_path / "none")

    def with_head(changed: dict[str, object]) -> None:
        new = json.dumps(changed).encode()
        path.write_bytes(len(new).to_bytes(8, "little") + new + raw[8 + size :])

    with_head(head | {"__metadata__": head["__metadata__"] | {"text_version": "9"}})
    with pytest.raises(DataError, match="no tagger for this version"):
        load_model(path)
    with_head({("other" if k == "near" else k): v for k, v in head.items()})
    with pytest.raises(DataError, match=r"missing or of another kind[\s\S]*near"):
        load_model(path)
    with_head(head)
    assert load_model(path).threshold == packaged().threshold
    assert packaged().nbytes < 5e6


@pytest.mark.filterwarnings("error")
def test_it_is_far_better_than_phrases() -> None:
    """In sample: it was fitted to these excerpts. This guards the file; docs/quality.md has the honest figures."""
    excerpts = read_excerpts(ROOT / "annotations" / "planning_spans_round2.jsonl")[:150]
    found = score(Labeller("tagger"), excerpts, resamples=0)
    assert found.precision > 0.92
    assert found.recall > 0.88
    assert score(Labeller("paper"), excerpts, resamples=0).recall < 0.6


# --- soft credit ------------------------------------------------------------------------------------------------------
def soft_credit(**options: object) -> HicraCredit:
    return HicraCredit(CreditConfig(grams="tagger", soft=True, **options), byte_vocab())  # type: ignore[arg-type]


IDS = torch.tensor([list(TEXT.encode()), list(TEXT.encode())])


def test_soft_credit_by_hand() -> None:
    credit = soft_credit(alpha=0.4)
    labels = credit.plan(IDS)
    p = labels.probability
    got = credit.advantages(torch.tensor([1.0, -2.0]), labels)
    assert torch.allclose(got, torch.stack([1 + 0.4 * p[0], -2 + 0.8 * p[1]]), atol=1e-6)
    both = soft_credit(alpha=0.4, estimator="hicra_symmetric").advantages(torch.tensor([1.0, -2.0]), labels)
    assert torch.allclose(both, torch.stack([1 + 0.4 * p[0], -2 - 0.8 * p[1]]), atol=1e-6)
    mask = torch.ones_like(IDS)
    mask[:, :30] = 0
    outside = credit.advantages(torch.tensor([1.0, -2.0]), credit.plan(IDS, mask), mask=mask)
    assert (outside[:, :30] == torch.tensor([[1.0], [-2.0]])).all()
    assert (outside[0, 30:] > 1).any()


def test_soft_credit_at_alpha_0_is_grpo_itself() -> None:
    credit = soft_credit(alpha=0.0)
    advantages = torch.tensor([1.0, -2.0])
    assert credit.advantages(advantages, credit.plan(IDS)) is advantages


@given(st.lists(st.floats(-1e4, 1e4, width=32, allow_subnormal=False), min_size=2, max_size=2), st.floats(0, 0.99))
@settings(max_examples=40, deadline=None)
def test_soft_credit_changes_no_sign_and_no_more_than_hard(advantages: list[float], alpha: float) -> None:
    credit = soft_credit(alpha=alpha)
    a = torch.tensor(advantages)
    got = credit.apply(a, IDS)
    before = a[:, None].expand(-1, IDS.shape[1]) if got.ndim == 2 else a
    assert (torch.sign(got) == torch.sign(before)).all()
    assert (got >= before).all()
    assert (got <= before + alpha * before.abs() * (1 + 1e-5) + 1e-30).all()


def test_soft_credit_needs_probabilities() -> None:
    with pytest.raises(ConfigError, match="soft credit needs labels with probabilities"):
        HicraCredit(CreditConfig(soft=True), byte_vocab())
    for estimator in ("grpo", "placebo", "random_mask", "top_entropy"):
        with pytest.raises(ConfigError, match="no use for probabilities"):
            CreditConfig(estimator=estimator, soft=True)


def test_the_rules_are_those_of_the_labeller() -> None:
    assert text_rules().version == int(packaged().about["text_version"])
