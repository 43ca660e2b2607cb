"""The transducer, the automaton and the labeller against the slow oracle, on random text and random tokenisations."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra.grams.gramset import GramSet
from hicra.grams.text import words
from hicra.labels.labeller import Labeller
from hicra.labels.vocab import Vocab
from tests import oracle

GRAMS = [
    ("wait", "any"),
    ("wait no", "any"),
    ("so", "clause"),
    ("so we", "any"),
    ("we can", "any"),
    ("can see that", "any"),
    ("but", "sentence"),
    ("but wait no so", "any"),
    ("let's", "any"),
    ("let's double-check", "any"),
    ("double-check", "clause"),
    ("naïve idea", "any"),
    ("now", "any"),
    ("now now", "sentence"),
]
SET = GramSet.from_grams([{"text": text, "at": at} for text, at in GRAMS])
PAIRS = [(g.text, g.at) for g in SET]
LABELLER = Labeller(SET)

PIECES = [
    *["wait", "no", "so", "we", "can", "see", "that", "but", "let's", "let’s", "double-check", "double", "now"],
    *["Wait", "SO", "Let'S", "naïve", "NAÏVE", "idea", "x", "é", "λ", "中"],
    *[
        " ",
        "  ",
        "\n",
        "\n\n",
        " \n \n ",
        "\t",
        ",",
        ", ",
        ". ",
        ".",
        "!",
        "?",
        ":",
        ";",
        "-",
        " - ",
        "—",
        "–",
        "'",
        "’",
        "_",
        "__",
    ],
    *[
        "$",
        "$$",
        "\\(",
        "\\)",
        "\\[",
        "\\]",
        "\\",
        "\\frac",
        "\\$",
        "{",
        "}",
        "5",
        "12",
        "3.5",
        "$5",
        "$40 ",
        "%",
        "*",
        "**",
        '"',
    ],
    *[
        "(",
        ")",
        "`",
        "<think>",
        "\u00a0",
        "\u2028",
        "\u200b",
        "×",
        "…",
        "•",
        "“",
        "”",
        "A",
        "\r\n",
        "#",
        "/",
        "=",
        "+",
        "~",
        "‐",
    ],
]
TEXTS = st.lists(
    st.one_of(st.sampled_from(PIECES), st.sampled_from([" ", "wait", "so", "we", "can"])), max_size=40
).map("".join) | st.text(max_size=60)


def ranges_of(cuts: list[int], data: bytes) -> list[tuple[int, int]]:
    """Byte ranges of the tokens, as ranges of *bytes*; the oracle gets them by character below."""
    edges = [0, *sorted({c % (len(data) + 1) for c in cuts} - {0, len(data)}), len(data)]
    return [(a, b) for a, b in itertools.pairwise(edges) if b > a]


def oracle_labels(text: str, byte_ranges: list[tuple[int, int]]) -> tuple[list[bool], list[int], list[bool]]:
    """The oracle's labels for tokens that may cut through characters: one byte of a character is enough."""
    starts = np.cumsum([0, *(len(c.encode("utf-8", "surrogatepass")) for c in text)])
    ranges = []
    for a, b in byte_ranges:
        first = int(np.searchsorted(starts, a, "right")) - 1
        last = int(np.searchsorted(starts, b, "left"))
        ranges.append((first, last))
    return oracle.label_ranges(text, ranges, PAIRS)


@settings(max_examples=600, deadline=None)
@given(TEXTS)
def test_words_equal_the_oracle(text: str) -> None:
    expected = [[w.text for w in stretch] for stretch in oracle.stretches(text) if stretch]
    assert words(text) == expected


@settings(max_examples=600, deadline=None)
@given(TEXTS, st.lists(st.integers(0, 400), max_size=60))
def test_labels_equal_the_oracle_for_any_tokenisation(text: str, cuts: list[int]) -> None:
    data = text.encode("utf-8", "surrogatepass")
    tokens = ranges_of(cuts, data)
    vocab = Vocab.from_tokens([data[a:b] for a, b in tokens])
    if not tokens:
        return
    labels = Labeller(SET, vocab).label(np.arange(len(tokens)))
    mask, gram_id, begin = oracle_labels(text, tokens)
    assert labels.mask.tolist() == mask
    assert labels.gram_id.tolist() == gram_id
    assert labels.begin.tolist() == begin


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_spans_equal_the_oracle(text: str) -> None:
    found = oracle.matches(text, PAIRS)
    owner = {}
    for c in range(len(text)):
        over = [m for m in found if c in m[2]]
        if over:
            owner[c] = min(over, key=lambda m: (m[0], -m[2][-1]))
    expected = sorted({(m[0], m[2][-1] + 1, SET[m[1]].text) for m in owner.values()})
    assert [(s.start, s.end, s.gram) for s in LABELLER.spans(text)] == expected


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=5), st.data())
def test_padding_rows_and_containers_do_not_matter(texts: list[str], data: st.DataObject) -> None:
    """Padded, flat and ragged rows give what each row gives alone (tokens: bytes and one special)."""
    vocab = Vocab.from_tokens([*(bytes([b]) for b in range(256)), b""])
    labeller = Labeller(SET, vocab)
    rows = [list(t.encode("utf-8", "surrogatepass")) for t in texts]
    alone = [labeller.label(np.array(row, np.int64)) for row in rows]
    ragged = labeller.label(rows)
    width = max(map(len, rows)) + 2
    left = data.draw(st.booleans())
    padded = np.full((len(rows), width), 256)
    keep = np.zeros((len(rows), width), bool)
    for i, row in enumerate(rows):
        where = slice(width - len(row), width) if left else slice(0, len(row))
        padded[i, where] = row
        keep[i, where] = True
    offsets = np.cumsum([0, *map(len, rows)])
    flat = labeller.label(np.array([b for row in rows for b in row], np.int64), offsets=offsets)
    by_special, by_mask = labeller.label(padded), labeller.label(np.where(keep, padded, -100), keep)
    flipped = labeller.label(padded[::-1])
    for field in ("mask", "gram_id", "begin"):
        want = [getattr(one, field).tolist() for one in alone]
        assert [row.tolist() for row in getattr(ragged, field)] == want
        assert np.split(getattr(flat, field), offsets[1:-1])[0].tolist() == want[0]
        assert getattr(flat, field).tolist() == list(itertools.chain.from_iterable(want))
        assert [getattr(by_special, field)[i][keep[i]].tolist() for i in range(len(rows))] == want
        assert np.array_equal(getattr(by_special, field), getattr(by_mask, field))
        assert np.array_equal(getattr(flipped, field), getattr(by_special, field)[::-1])
    assert not by_mask.mask[~keep].any()


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.lists(st.booleans(), max_size=200))
def test_tokens_outside_the_mask_break_and_are_never_labelled(text: str, bits: list[bool]) -> None:
    data = list(text.encode("utf-8", "surrogatepass"))
    keep = np.array((bits * (len(data) // max(1, len(bits)) + 1))[: len(data)] or [True] * len(data), bool)
    labeller = Labeller(SET, Vocab.from_tokens([*(bytes([b]) for b in range(256)), b""]))
    labels = labeller.label(np.array(data, np.int64), keep)
    assert not labels.mask[~keep].any()
    assert np.array_equal(labels.mask, labels.gram_id >= 0)
    assert not (labels.begin & ~labels.mask).any()
    # each stretch of kept tokens is labelled as if it stood alone
    specials = np.where(keep, np.array(data, np.int64), 256)
    assert np.array_equal(labeller.label(specials).gram_id, labels.gram_id)


LOSSY_WORDS = [
    "let",
    "'",
    "s",
    "'s",
    "double",
    "-",
    "check",
    "wait",
    "no",
    "so",
    "we",
    "can",
    ",",
    ".",
    "5",
    "let's",
    "n't",
    "now",
]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(LOSSY_WORDS), max_size=25))
def test_word_tokens_equal_the_oracle_on_the_decoded_text(tokens: list[str]) -> None:
    vocab = Vocab.from_tokens([b" " + w.encode() for w in LOSSY_WORDS], lossy=True)
    ids = np.array([LOSSY_WORDS.index(w) for w in tokens], np.int64)
    labels = Labeller(SET, vocab).label(ids)
    text, ranges = "", []
    for word in tokens:
        text += " "
        ranges.append((len(text), len(text) + len(word)))
        text += word
    mask, gram_id, begin = oracle.label_ranges(text, ranges, PAIRS, lossy=True)
    assert labels.mask.tolist() == mask
    assert labels.gram_id.tolist() == gram_id
    assert labels.begin.tolist() == begin


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.lists(st.text("abcdefghijklmnopqrstuvwxyzéλ", min_size=1, max_size=5), min_size=1, max_size=4).map(" ".join),
        st.tuples(
            st.sampled_from(["any", "clause", "sentence"]),
            st.none() | st.text(max_size=5),
            st.sampled_from([None, "deduction", "branching", "backtracing"]),
        ),
        min_size=1,
        max_size=12,
    ),
    st.floats(0, 0.99),
    st.integers(0, 3),
)
def test_gram_sets_survive_saving_and_dropping(tmp_path_factory, grams, fraction, seed) -> None:
    made = GramSet.from_grams(
        [
            {"text": t, "at": at, "cluster": cluster, "function": function}
            for t, (at, cluster, function) in grams.items()
        ]
    )
    path = made.save(tmp_path_factory.mktemp("set") / "set.json")
    again = GramSet.load(path)
    assert again.grams == made.grams
    assert again.hash == made.hash
    assert GramSet.from_dict(made.to_dict()) == made
    fewer = made.drop(fraction, seed)
    assert len(fewer) == max(1, len(made) - round(fraction * len(made)))
    assert set(fewer.grams) <= set(made.grams)
    assert fewer == made.drop(fraction, seed)
    change = made.diff(fewer)
    assert not change.added
    assert not change.changed
    assert set(change.removed) == set(made.grams) - set(fewer.grams)
