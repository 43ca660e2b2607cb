r"""Answers that are no expressions: the letter of a choice, words, numerals in another base.

Each function takes two cleaned texts and says True, False, or None where the gold is nothing of the kind.
"""

from __future__ import annotations

import re

from hicra.evals._latex import AND, END, OR, TEXT, letters, plain

_CHOICE = re.compile(r"^\(?\s*([A-J])\s*[).:]?$")
_LABELLED = re.compile(r"^(?:\(\s*([A-Ja-j])\s*\)|([A-J])\s*[).:])\s*(.*)$", re.S)
_MORE_LABELS = re.compile(r"\(\s*[A-Ja-j]\s*\)|\b(?:or|and|not)\b|[" + OR + AND + "]")
_NOT_A_WORD = re.compile(r"[\d=<>+*/^|\\]")
_BASE = re.compile(r"^(?=[A-Fa-f]*\d)([0-9A-Fa-f]+)\s*_\s*\{?\s*(\d{1,2}|" + TEXT + r"\s*[a-z]+\s*" + END + r")\s*\}?$")
_EMPTY = {
    "emptyset",
    "empty set",
    "null",
    "none",
    "no solution",
    "no solutions",
    "no real solution",
    "no real solutions",
}
_UNDEFINED = {"undefined", "does not exist", "dne", "not defined", "diverges"}
_INFINITE = {"infinity", "infty", "infinite", "infinitely many"}


def choice(a: str, g: str) -> bool | None:
    """Verdict on a multiple-choice answer; None where the gold is none, or the answer is no letter."""
    gold = _CHOICE.match(_bare(g))
    if gold is None:
        return None
    letter = re.match(r"^\(?\s*([A-Ja-j])\s*[).:]?$", _bare(a))
    if letter:
        return letter[1].upper() == gold[1]
    labelled = _LABELLED.match(_bare(a))
    if labelled:
        if _MORE_LABELS.search(labelled[3]):
            return False
        return (labelled[1] or labelled[2]).upper() == gold[1]
    return None


def without_label(a: str) -> str:
    """``(B) 12`` as ``12``; the text itself where no letter of a choice stands before an answer."""
    labelled = _LABELLED.match(_bare(a))
    rest = labelled[3].strip() if labelled else ""
    return rest if rest and not _MORE_LABELS.search(rest) else a


def is_choice(g: str) -> bool:
    return _CHOICE.match(_bare(g)) is not None


def _bare(text: str) -> str:
    r"""A cleaned text without marks of text around its words: ``\text{(B)}`` is ``(B)``."""
    text = re.sub(rf"^{TEXT}?\s*(?:option|choice)\s+(?={TEXT}?\(?[A-J]\b)", "", text, flags=re.I)
    return re.sub(rf"[{TEXT}{END}]", "", text).replace(r"\ ", " ").strip().strip("{}").strip()


def words(a: str, g: str) -> bool | None:
    """Verdict on answers in words; None where the gold is not in words."""
    gold, answer = plain(g), plain(a)
    for names in (_EMPTY, _UNDEFINED, _INFINITE):
        if gold in names or (names is _EMPTY and letters(g) == r"\{\}"):
            return answer in names or (names is _EMPTY and letters(a) == r"\{\}") or None
    is_text = g.startswith(TEXT) and g.endswith(END) and g.count(TEXT) == 1
    is_word = re.fullmatch(r"[A-Za-z]{4,}(?: [A-Za-z]+)*", g) is not None
    if not is_text and not is_word:
        return None
    if _NOT_A_WORD.search(gold) or len(gold) < 2:
        return None
    return _stripped(answer) == _stripped(gold)


def _stripped(words: str) -> str:
    words = re.sub(r"^(?:the|an?|it is|on|to the)\s+", "", words)
    return re.sub(r"[^\w]+", "", words)


def numeral(a: str, g: str) -> bool | None:
    """Verdict on numerals in a base: ``52_8`` is right as 52 (a base is like a unit), and 42 is right as ``52_8``."""
    sides = [_BASE.match(a), _BASE.match(g)]
    if not any(sides):
        return None
    (a_digits, a_base), (g_digits, g_base) = (
        (side[1], _base(side[2])) if side else (text, None) for side, text in zip(sides, (a, g), strict=True)
    )
    if not (re.fullmatch(r"[0-9A-Fa-f]+", a_digits) and re.fullmatch(r"[0-9A-Fa-f]+", g_digits)):
        return False
    if g_base is None:
        return _number(a_digits, a_base) == _number(g_digits, "10")
    return a_digits.lstrip("0").lower() == g_digits.lstrip("0").lower() and a_base in (None, g_base)


def _number(digits: str, base: str | None) -> int | None:
    try:
        return int(digits, int(base or 10))
    except ValueError:
        return None


def _base(text: str) -> str:
    names = {"two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9"}
    name = text.strip(TEXT + END + " ")
    return names.get(name, name)
