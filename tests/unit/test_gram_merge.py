"""Merging gram sets: the first decides, later ones fill in, clusters that share wordings become one."""

from __future__ import annotations

import pytest

from hicra import Gram, GramSet
from hicra.errors import DataError
from hicra.grams.merge import merge


def test_the_first_set_decides_and_later_ones_fill_in() -> None:
    first = GramSet.from_grams([Gram("so", at="clause"), Gram("wait", function="backtracing")], name="a")
    later = GramSet.from_grams(
        [Gram("so", function="deduction"), Gram("wait", function="branching"), "hmm"],
        name="b",
        provenance={"source": "here"},
    )
    made = first.merge(later)
    assert {g.text: (g.at, g.function) for g in made} == {
        "so": ("clause", "deduction"),
        "wait": ("any", "backtracing"),
        "hmm": ("any", None),
    }
    assert made.name == "a+b"
    assert made.provenance["disagreements"] == 2  # where "so" counts, what "wait" does
    assert made.provenance["merged"] == [
        {"name": "a", "hash": first.hash, "grams": 2, "new": 2, "provenance": {}},
        {"name": "b", "hash": later.hash, "grams": 3, "new": 1, "provenance": {"source": "here"}},
    ]


def test_clusters_that_share_grams_become_one() -> None:
    first = GramSet.from_grams(
        [Gram("let me check", cluster="check"), Gram("let me verify", cluster="check")], name="a"
    )
    later = GramSet.from_grams(
        [
            Gram("let me verify", cluster="verify"),
            Gram("double check", cluster="verify"),
            Gram("maybe", cluster="doubt"),
        ],
        name="b",
    )
    made = merge([first, later], name="both")
    assert {g.text: g.cluster for g in made} == {
        "let me check": "check",
        "let me verify": "check",
        "double check": "check",
        "maybe": "doubt",
    }
    assert made.name == "both"
    assert made.provenance["disagreements"] == 0


def test_merging_with_itself_changes_nothing_but_the_name() -> None:
    paper = GramSet.load("paper")
    assert paper.merge(paper).hash == paper.hash


def test_one_set_or_two_kinds_of_text_are_refused() -> None:
    paper = GramSet.load("paper")
    with pytest.raises(DataError, match="nothing to merge"):
        merge([paper])
    other = GramSet(paper.grams, "old", text_version=0)
    with pytest.raises(DataError, match="different text rules"):
        merge([paper, other])
