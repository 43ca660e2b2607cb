"""The text rules on examples worked out by hand; random text is compared with the oracle in tests/property."""

from __future__ import annotations

import pytest

from hicra.errors import DataError
from hicra.grams.text import normalise, normalise_gram, text_rules, variants, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Wait, that's NOT right", ["wait that's not right"]),
        ("Let’s go", ["let's go"]),
        ("so we\ncan see", ["so we can see"]),  # a single newline is a space
        ("so we\n\ncan see", ["so we", "can see"]),  # a blank line breaks
        ("so we\n \t\ncan see", ["so we", "can see"]),
        ("a. b! c? d: e; f", ["a", "b", "c", "d", "e", "f"]),
        ("we get 12 so fine", ["we get", "so fine"]),
        ("then $x^2 + so$ holds", ["then", "holds"]),
        ("then \\(so\\) and \\[so\\] and $$so$$ ok", ["then", "and", "and", "ok"]),
        ("open $x and so\n\nlater", ["open", "later"]),  # unclosed maths ends at the blank line
        ("use \\frac so", ["use", "so"]),
        ("it costs $5 and so on", ["it costs", "and so on"]),  # money, not maths
        ("it costs $40. So we pay $3.", ["it costs", "so we pay"]),
        ("is $5 + x$ so", ["is", "so"]),
        ("'wait' he said", ["wait he said"]),
        ("don't double-check - now", ["don't double-check", "now"]),
        ("x2 so wait_for me", ["so", "me"]),  # identifiers are no words
        ("the 1980's style", ["the", "style"]),
        ("**Wait** _but_ `so`", ["wait but so"]),
        ("well — so – now", ["well so now"]),
        ("NAÏVE Éclair", ["naïve éclair"]),
        ("a\u00a0b\u200bc", ["a b c"]),
        ("", []),
        ("... 5 $ \\", []),
    ],
)
def test_words_between_breaks(text: str, expected: list[str]) -> None:
    assert [" ".join(stretch) for stretch in words(text)] == expected


def test_bytes_that_are_no_utf8_break() -> None:
    assert words(b"so \xc2so we \xe2 can") == [["so"], ["we"], ["can"]]


def test_lossy_marks_are_words_of_their_own() -> None:
    rules = text_rules(lossy=True)
    assert normalise("let ' s double - check", rules) == "let ' s double - check"
    assert set(variants("let's", lossy=True)) == {b"let's", b"let 's", b"let' s", b"let ' s"}
    assert variants("let's", lossy=False) == [b"let's"]


@pytest.mark.parametrize(
    ("gram", "expected", "remark"),
    [
        ("## Step", "step", "leading #"),
        ("does this make sense?", "does this make sense", "trailing ?"),
        ("hmm,", "hmm", "trailing ,"),
        ("however, we need to", "however we need to", None),
        ("let 's go", "let's go", None),
        ("  Let’s   GO ", "let's go", None),
    ],
)
def test_grams_are_normalised(gram: str, expected: str, remark: str | None) -> None:
    text, told = normalise_gram(gram)
    assert text == expected
    assert (told is None) == (remark is None)
    if remark:
        assert remark in told


@pytest.mark.parametrize("gram", ["", "?", "5", "so. we", "step 5", "x^2", "the $x$ of", "wait_for", "a2"])
def test_grams_that_no_text_can_match_are_refused(gram: str) -> None:
    with pytest.raises(DataError, match="gram"):
        normalise_gram(gram)


def test_unknown_versions_are_refused() -> None:
    with pytest.raises(DataError, match="unknown version of the text rules: 2"):
        text_rules(2)
