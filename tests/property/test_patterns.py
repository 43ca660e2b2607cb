"""Patterns: the automaton against the oracle's regular expressions, and what reading and compiling promise."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra.grams.gramset import Gram, GramSet
from hicra.grams.pattern import frames_of, parse
from hicra.labels.automaton import build
from hicra.labels.labeller import Labeller
from hicra.labels.vocab import Vocab
from tests import oracle

PARTS = [
    *["so", "we", "need to", "wait", "let's", "find", "can't"],
    *["<det>", "<modal>", "<pron>", "<word>", "<find~>", "<let's~>", "<we'll~>", "<can't~>", "<the|a few|x>", "<be>"],
    *["[now]", "[<adv>]", "[just <modal>]", "[we]", "[<word>]"],
]
TEXTS = st.lists(st.sampled_from(PARTS), min_size=1, max_size=4).map(" ".join)
AT = st.sampled_from(["any", "clause", "sentence"])
WORDS = [
    *[
        "so",
        "we",
        "need",
        "to",
        "wait",
        "let's",
        "let us",
        "Let’s",
        "find",
        "finding",
        "found",
        "can't",
        "cannot",
        "can",
    ],
    *[
        "not",
        "the",
        "a",
        "few",
        "x",
        "an",
        "we'll",
        "we will",
        "now",
        "just",
        "may",
        "is",
        "zebra",
        "quickly",
        "i",
        "it",
    ],
]
GAPS = [" ", " ", " ", " ", "  ", "\n", ", ", ". ", "\n\n", " 5 ", " -", "-", "'", "", "_x "]
PROSE = st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(GAPS)), max_size=30).map(
    lambda pairs: "".join(itertools.chain.from_iterable(pairs))
)


def usable(text: str) -> bool:
    try:
        parse(text)
    except Exception:
        return False
    return True


SETS = st.dictionaries(TEXTS.filter(usable), AT, min_size=1, max_size=6).map(
    lambda found: GramSet.from_grams(
        {parse(text).text if set(text) & set("<[") else text: Gram(text, at) for text, at in found.items()}.values()
    )
)


def by_oracle(text: str, ranges: list[tuple[int, int]], grams: GramSet, lossy: bool = False) -> list[list]:
    found = oracle.label_ranges(text, ranges, [(g.text, g.at) for g in grams], lossy=lossy)
    return [list(part) for part in found]


@settings(max_examples=400, deadline=None)
@given(SETS, PROSE, st.lists(st.integers(0, 300), max_size=40))
def test_patterns_equal_the_oracle_for_any_tokenisation(grams: GramSet, text: str, cuts: list[int]) -> None:
    starts = np.cumsum([0, *(len(c.encode()) for c in text)])
    edges = sorted({0, len(text), *(c % (len(text) + 1) for c in cuts)})
    ranges = [(a, b) for a, b in itertools.pairwise(edges)]
    data = text.encode()
    if not data:
        return
    vocab = Vocab.from_tokens([data[starts[a] : starts[b]] for a, b in ranges])
    labels = Labeller(grams, vocab).label(np.arange(len(ranges)))
    assert [labels.mask.tolist(), labels.gram_id.tolist(), labels.begin.tolist()] == by_oracle(text, ranges, grams)


@settings(max_examples=200, deadline=None)
@given(
    SETS,
    st.lists(
        st.sampled_from(
            ["so", "we", "let", "'", "s", "us", "let's", "can", "t", "n't", "the", ",", "find", "now", "'ll"]
        ),
        max_size=20,
    ),
)
def test_patterns_equal_the_oracle_on_word_tokens(grams: GramSet, tokens: list[str]) -> None:
    vocabulary = sorted(set(tokens))
    vocab = Vocab.from_tokens([b" " + w.encode() for w in vocabulary], lossy=True)
    labels = Labeller(grams, vocab).label(np.array([vocabulary.index(w) for w in tokens], np.int64))
    text, ranges = "", []
    for word in tokens:
        text += " "
        ranges.append((len(text), len(text) + len(word)))
        text += word
    expected = by_oracle(text, ranges, grams, lossy=True)
    assert [labels.mask.tolist(), labels.gram_id.tolist(), labels.begin.tolist()] == expected


@settings(max_examples=300, deadline=None)
@given(TEXTS.filter(usable), st.lists(st.sampled_from([w.lower().replace("’", "'") for w in WORDS]), max_size=8))
def test_filling_a_pattern_agrees_with_the_oracle_and_with_its_frames(text: str, phrase: list[str]) -> None:
    flat = " ".join(phrase).split() or ["so"]
    pattern = parse(text)
    filled = pattern.fill(flat)
    assert (filled is not None) == (
        oracle.expression(pattern.text, False).fullmatch("".join(f" {w}" for w in flat)) is not None
    )
    frames = pattern.frames()
    fits = any(len(f) == len(flat) and all(c is None or w in c for c, w in zip(f, flat, strict=True)) for f in frames)
    assert fits == (filled is not None)
    if filled:
        assert set(" ".join(words for _, words in filled).split()) <= set(flat)


@settings(max_examples=200, deadline=None)
@given(SETS)
def test_pattern_sets_survive_saving_and_spelling(tmp_path_factory, grams: GramSet) -> None:
    again = GramSet.load(grams.save(tmp_path_factory.mktemp("set") / "set.json"))
    assert again.grams == grams.grams
    assert again.hash == grams.hash
    for gram in grams:
        if set(gram.text) & set("<["):
            assert parse(gram.text).text == gram.text


@settings(max_examples=50, deadline=None)
@given(SETS, PROSE)
def test_a_set_of_patterns_labels_what_its_phrases_would(grams: GramSet, text: str) -> None:
    """Written out as phrases (where there is no <word>) a set has the same mask, and no fewer states."""
    phrases: dict[tuple[str, str], None] = {}
    for gram in grams:
        for frame in frames_of(gram.text):
            if None in frame or np.prod([len(c) for c in frame]) > 3000:
                return
            for choice in itertools.product(*(sorted(c) for c in frame)):
                phrases[" ".join(choice), gram.at] = None
    if len(phrases) > 3000:
        return
    data = np.frombuffer(text.encode(), np.uint8)
    bytes_ = Vocab.from_tokens([bytes([b]) for b in range(256)])
    mask = Labeller(grams, bytes_).label(data).mask
    parts = [
        GramSet.from_grams([Gram(t, a) for t, a in phrases if a == at])  # type: ignore[arg-type]
        for at in ("any", "clause", "sentence")
        if any(a == at for _, a in phrases)
    ]
    assert mask.tolist() == np.any([Labeller(p, bytes_).label(data).mask for p in parts], axis=0).tolist()
    assert len(build(grams).go) <= len(build(GramSet.from_grams({t for t, _ in phrases})).go)
