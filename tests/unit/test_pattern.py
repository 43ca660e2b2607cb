"""Patterns on examples worked out by hand; random ones are compared with the oracle in tests/property."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from hicra import Gram, GramSet, Labeller
from hicra.credit.controls import placebo_grams
from hicra.errors import ConfigError, DataError
from hicra.grams.pattern import frames_of, is_pattern, parse
from hicra.grams.slots import SLOTS_VERSION, describe, forms, inventory
from hicra.grams.text import words
from hicra.grams.why import why
from hicra.labels.automaton import build
from hicra.labels.vocab import Vocab


def spans(grams: GramSet | list[str], text: str, **options: str) -> list[tuple[str, str]]:
    made = grams if isinstance(grams, GramSet) else GramSet.from_grams(grams)
    return [(text[s.start : s.end], s.gram) for s in Labeller(made, **options).spans(text)]


# --- the word lists ---------------------------------------------------------------------------------------------------
def test_the_word_lists_are_pinned_to_their_version() -> None:
    """A change of any list changes what patterns mean: raise SLOTS_VERSION with it, then this hash."""
    content = json.loads((files("hicra.grams") / "slots.json").read_text("utf-8"))
    assert content["version"] == SLOTS_VERSION
    pinned = json.dumps([content["slots"], content["forms"]], sort_keys=True)
    assert hashlib.sha256(pinned.encode()).hexdigest()[:16] == "ed1a75b5c9d12418"


def test_every_word_of_the_lists_is_a_word_of_the_text_rules() -> None:
    for name, listed in inventory().items():
        assert describe()[name]
        assert [words(w) for w in listed] == [[[w]] for w in listed], name
        assert len(set(listed)) == len(listed) > 0
    content = json.loads((files("hicra.grams") / "slots.json").read_text("utf-8"))
    for family in content["forms"]:
        assert [words(item) for item in family] == [[item.split(" ")] for item in family]


def test_forms() -> None:
    assert forms("find") == ("find", "finding", "finds", "found")
    assert forms("finding") == forms("find")
    assert forms("let's") == ("let us", "let's")
    assert set(forms("i'd")) == {"i'd", "i would", "i had"}
    with pytest.raises(DataError, match="forms of 'zebra' are not known"):
        forms("zebra")


# --- reading ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("We  need to find <Det>", "we need to find <det>"),
        ("<Let’s~> [ <adv> ] <verb>", "<let's~> [<adv>] <verb>"),
        ("<see|find|see>", "<find|see>"),
        ("[now] so", "[now] so"),
    ],
)
def test_patterns_have_one_spelling(written: str, text: str) -> None:
    assert parse(written).text == text
    assert parse(text).text == text
    assert GramSet.from_grams([written]).hash == GramSet.from_grams([text]).hash


def test_frames_are_what_a_pattern_stands_for() -> None:
    assert frames_of("so we") == ((frozenset({"so"}), frozenset({"we"})),)
    one, other = frozenset({"cannot", "can't"}), (frozenset({"can"}), frozenset({"not"}))
    assert set(frames_of("we <can't~> [go]")) == {
        (frozenset({"we"}), one, frozenset({"go"})),
        (frozenset({"we"}), one),
        (frozenset({"we"}), *other, frozenset({"go"})),
        (frozenset({"we"}), *other),
    }
    assert frames_of("so <word>") == ((frozenset({"so"}), None),)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("<foo> so", "no slot <foo>"),
        ("<> so", "no slot <>"),
        ("[so", "not closed"),
        ("so]", "holds a break"),
        ("so <det>]", "brackets that do not fit"),
        ("<a<b>", "brackets that do not fit"),
        ("[a [b]]", "brackets that do not fit"),
        ("so []", "empty brackets"),
        ("<word>", "too little"),
        ("<word> [so]", "too little"),
        ("so <det>. we", "holds a break"),
        ("<zebra~>", "are not known"),
        ("<x2|y>", "holds no word|holds a break"),
        (" ".join(["[so]"] * 9), "too many sequences"),
        (" ".join(["so <det>"] * 9), "too little or too much"),
    ],
)
def test_patterns_that_cannot_be_are_refused(written: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        GramSet.from_grams([written])


def test_phrases_are_no_patterns_and_hash_as_ever() -> None:
    made = GramSet.from_grams(["so we", "wait"])
    assert not made.patterns
    assert "slots" not in made.to_dict()
    assert "text_rules" not in made.to_dict()
    with_slots = GramSet.from_grams(["so we", "wait <det>"])
    assert (with_slots.patterns, with_slots.to_dict()["slots"]) == (1, SLOTS_VERSION)
    canonical = '[1,["so we","any",null,null],["wait <det>","any",null,null],{"slots":1}]'
    assert with_slots.hash == hashlib.sha256(canonical.encode()).hexdigest()
    assert is_pattern("[so] we")


def test_sets_for_other_word_lists_are_refused(tmp_path: Path) -> None:
    path = GramSet.from_grams(["wait <det>"]).save(tmp_path / "set.json")
    path.write_text(path.read_text().replace('"slots": 1', '"slots": 2'))
    with pytest.raises(DataError, match="other word lists"):
        GramSet.load(path)


# --- labels -----------------------------------------------------------------------------------------------------------
def test_slots_options_and_forms_match() -> None:
    text = "We need to find the sum. Let us now check; let's verify, let’s carefully go on."
    assert spans(["we need to find <det>", "<let's~> [<adv>] <verb>"], text) == [
        ("We need to find the", "we need to find <det>"),
        ("Let us now check", "<let's~> [<adv>] <verb>"),
        ("let's verify", "<let's~> [<adv>] <verb>"),
        ("let’s carefully go", "<let's~> [<adv>] <verb>"),
    ]


def test_breaks_and_positions_hold_for_patterns() -> None:
    grams = GramSet.from_grams([Gram("so <pron> [<modal>]", at="clause")])
    assert spans(grams, "so we can. And so we do, so $x$ we, so x2 we can") == [("so we can", "so <pron> [<modal>]")]
    assert spans(["so <word> we"], "so 5 we so x2 we so\n\nwe we so then we") == [("so then we", "so <word> we")]


def test_a_phrase_comes_before_patterns_and_these_in_their_order() -> None:
    text = "let's check it"
    assert spans(["let's <verb>", "let's check", "let's <word>"], text) == [("let's check", "let's check")]
    assert spans(["let's <verb>", "let's <word>"], text) == [("let's check", "let's <verb>")]
    # where the phrase may not begin, the pattern does
    mixed = GramSet.from_grams([Gram("let's check", at="sentence"), Gram("let's <verb>")])
    assert [gram for _, gram in spans(mixed, "let's check, let's check")] == ["let's check", "let's <verb>"]


def test_the_longest_wins_across_words() -> None:
    assert spans(["we <modal>", "we can see"], "we can see that") == [("we can see", "we can see")]
    assert spans(["we <modal> <verb>", "we can"], "we can see that, we can too") == [
        ("we can see", "we <modal> <verb>"),
        ("we can", "we can"),
    ]


def test_slots_share_what_follows_them() -> None:
    """Three slots of 20, 15 and 83 words: phrases would be 25 thousand."""
    many = build(GramSet.from_grams(["<det> <modal> <verb>"]))
    one, two = build(GramSet.from_grams(["<det> <modal> so"])), build(GramSet.from_grams(["so <verb>"]))
    assert len(many.go) < len(one.go) + 25 * len(two.go)
    assert len(many.go) < 3000
    assert many.longest == 3


def test_too_many_states_are_refused(monkeypatch) -> None:
    monkeypatch.setattr("hicra.labels.automaton.MOST_BYTES", 1 << 12)
    with pytest.raises(DataError, match=r"more than .* states"):
        build(GramSet.from_grams(["<word> <adv> <verb>", "<adv> <word> <verb>"]))


# --- nested and adjacent moves ----------------------------------------------------------------------------------------
MOVES = GramSet.from_grams(
    [
        Gram("let me check", cluster="check"),
        Gram("check that again", cluster="check"),
        Gram("me", cluster="other"),
        Gram("wait", cluster="doubt"),
        Gram("wait no", cluster="doubt"),
        Gram("so"),
    ]
)


@pytest.mark.parametrize(
    ("text", "apart", "joined"),
    [
        ("let me check", ["let me check"], ["let me check"]),  # what lies inside a longer one is part of it
        ("let me check that again", ["let me check", "check that again"], ["let me check that again"]),
        ("wait wait no", ["wait", "wait no"], ["wait wait no"]),  # word on word
        ("wait, wait", ["wait", "wait"], ["wait, wait"]),  # a comma is a space
        ("wait. Wait", ["wait", "Wait"], ["wait", "Wait"]),  # a break parts
        ("wait x wait", ["wait", "wait"], ["wait", "wait"]),
        ("wait x2 wait", ["wait", "wait"], ["wait", "wait"]),
        ("wait let me check", ["wait", "let me check"], ["wait", "let me check"]),  # two clusters
        ("so so", ["so", "so"], ["so", "so"]),  # no cluster
    ],
)
def test_touching_occurrences_stay_apart_or_are_joined(text: str, apart: list[str], joined: list[str]) -> None:
    assert [piece for piece, _ in spans(MOVES, text)] == apart
    assert [piece for piece, _ in spans(MOVES, text, join="cluster")] == joined
    vocab = Vocab.from_tokens([bytes([b]) for b in range(256)])
    data = np.frombuffer(text.encode(), np.uint8)
    one, other = Labeller(MOVES, vocab).label(data), Labeller(MOVES, vocab, join="cluster").label(data)
    assert np.array_equal(one.mask, other.mask)
    assert (one.begin.sum(), other.begin.sum()) == (len(apart), len(joined))
    assert np.array_equal(other.mask, other.gram_id >= 0)
    # rows do not touch
    both = Labeller(MOVES, vocab, join="cluster").label([data, data])
    assert [b.sum() for b in both.begin] == [len(joined)] * 2
    with pytest.raises(ConfigError, match="unknown way to join"):
        Labeller(MOVES, join="maybe")  # type: ignore[arg-type]


# --- the shipped set --------------------------------------------------------------------------------------------------
def test_the_shipped_patterns_label_general_moves_and_merge() -> None:
    shipped = GramSet.load("patterns")
    assert shipped.patterns > 25
    text = "First, let's carefully check this. We know that x = 2, which means that it is. But wait, that isn't right."
    assert [piece for piece, _ in spans(shipped, text)] == [
        "First, let's carefully check",
        "We know that",
        "which means that",
        "But",
        "that isn't right",
    ]
    both = GramSet.load("math").merge(shipped)
    assert both.patterns == shipped.patterns
    assert len(both) > len(GramSet.load("math"))


# --- why --------------------------------------------------------------------------------------------------------------
def test_why_tells_the_pattern_and_what_fills_it() -> None:
    grams = GramSet.from_grams([Gram("<let's~> [<adv>] <verb>", cluster="next"), Gram("let's go", cluster="next")])
    answer = why("Let us quickly verify", grams)
    assert (answer.verdict, answer.pattern) == ("in", "<let's~> [<adv>] <verb>")
    assert answer.slots == (("let's~", "let us"), ("adv", "quickly"), ("verb", "verify"))
    assert "<adv> is 'quickly'" in answer.reasons[0]
    assert answer.cluster == ("let's go",)
    assert why("so let's check", grams).inside == ("<let's~> [<adv>] <verb>",)
    assert why("so let's check", grams).verdict == "unknown"
    assert why("let's go", grams).pattern is None  # the phrase has it
    itself = why("<let's~> [<adv>] <verb>", grams)
    assert itself.verdict == "in"
    assert "analyze" in " ".join(itself.reasons)


def test_patterns_have_no_placebo() -> None:
    with pytest.raises(DataError, match="no partner"):
        placebo_grams(GramSet.from_grams(["so <det>"]), ["so the end"])
