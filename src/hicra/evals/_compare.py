r"""Whether two answers, the contents of two boxes, say the same: letters, words, lists, sets, equations, numbers.

Three-valued: True, False, or None where this file cannot tell and algebra (math-verify) has to. `same` is pure Python,
bounded in time for any text, and needs nothing installed; it decides nearly every pair of answers to a benchmark.

What counts as the same:

- a list "2, 3" and a set ``\{3, 2\}`` have no order, a tuple ``(2, -1)`` has one; a list in its order may stand for it;
- ``n = 7`` is 7, but ``x = 1`` is not ``y = 1``; equations are equal up to a factor, inequalities as sets;
- all of the gold's elements and no others: ``8 \text{ or } 9`` is not 9;
- words by their letters, whatever their case; a choice by its letter, with or without what stands behind it;
- numbers by `hicra.evals._values`, units by `hicra.evals._units`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction

from hicra.evals._expression import Expression, Unreadable, read
from hicra.evals._latex import AND, END, OR, ROW, TEXT, clean, plain
from hicra.evals._sets import real_set, same_set
from hicra.evals._shapes import Group, Matrix, Relation, group, items, matrix, relation, split
from hicra.evals._units import Quantity, Unit, quantity
from hicra.evals._values import TooLarge, equal, number_of, numbers_equal, proportional

Algebra = Callable[[str, str], bool | None]
Verdict = bool | None

MAX_CHARACTERS = 4_000
"""Longer texts are compared letter for letter only."""

_CHOICE = re.compile(r"^\(?\s*([A-J])\s*[).:]?$")
_LABELLED = re.compile(r"^(?:\(\s*([A-Ja-j])\s*\)|([A-J])\s*[).:])\s*(.*)$", re.S)
_MORE_LABELS = re.compile(r"\(\s*[A-Ja-j]\s*\)|\b(?:or|and|not)\b|[" + OR + AND + "]")
_NOT_A_WORD = re.compile(r"[\d=<>+*/^|\\]")
_THOUSANDS = re.compile(r"(?<![\d.,(\[])\d{1,3}(?:,\d{3})+(?![\d,])")
_BASE = re.compile(r"^([0-9A-Fa-f]+)\s*_\s*\{?\s*(\d{1,2}|" + TEXT + r"\s*[a-z]+\s*" + END + r")\s*\}?$")
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


def same(answer: str, gold: str, algebra: Algebra | None = None) -> Verdict:
    """Whether the content of a box says what the gold says.

    Args:
        answer: content of the completion's box, LaTeX or plain.
        gold: the reference, LaTeX or plain, as it would stand in a box.
        algebra: compares two expressions that this file cannot read; without it the verdict on them is None.
    """
    if not answer.strip() or not gold.strip():
        return False
    if answer.strip() == gold.strip():
        return True
    if max(len(answer), len(gold)) > MAX_CHARACTERS:
        return "".join(answer.split()) == "".join(gold.split())
    a, g = clean(answer), clean(gold)
    if not a or not g:
        return False
    if _letters(a) == _letters(g):
        return True
    try:
        return _Comparison(algebra).whole(a, g)
    except TooLarge:
        return False
    except RecursionError:
        return None


class _Comparison:
    def __init__(self, algebra: Algebra | None) -> None:
        self.algebra = algebra

    def whole(self, a: str, g: str) -> Verdict:
        """Two cleaned answers."""
        if (choice := _choice(a, g)) is not None:
            return choice
        if labelled := _LABELLED.match(_bare(a)):
            rest = labelled[3].strip()
            if rest and not _MORE_LABELS.search(rest) and not _choice_like(g):
                a = clean(rest)
        if (words := _words(a, g)) is not None:
            return words
        if a.endswith("=") or a.startswith("="):
            a = a.strip("= ")
        if (base := _numeral(a, g)) is not None:
            return base
        return _any_of(self.shapes(x, y) for x, y in _readings(a, g))

    def shapes(self, a: str, g: str) -> Verdict:
        """Two answers read as one kind of thing or another."""
        if _letters(a) == _letters(g):
            return True
        a_matrix, g_matrix = matrix(a), matrix(g)
        if a_matrix or g_matrix:
            return self.matrices(a, a_matrix, g, g_matrix)
        if (sets := _sets(a, g)) is not None:
            return sets
        a, g = _no_member(a), _no_member(g)
        a_items, g_items = items(a), items(g)
        g_group, a_group = group(g), group(a)
        if len(g_items) == 1 and len(a_items) == 1 and not (g_group or a_group):
            return self.element(g=g_items[0], a=a_items[0])
        a_elements, a_order = _elements(a_items, a_group)
        g_elements, g_order = _elements(g_items, g_group)
        if len(a_elements) == 1 and len(g_elements) == 1 and not (a_order and g_order):
            if a_elements[0] != a or g_elements[0] != g:
                return self.shapes(a_elements[0], g_elements[0])
            return self.element(a_elements[0], g_elements[0])
        return self.collections(a_elements, a_group, a_order, g_elements, g_group, g_order)

    def collections(
        self,
        a: Sequence[str],
        a_group: Group | None,
        a_order: bool,
        g: Sequence[str],
        g_group: Group | None,
        g_order: bool,
    ) -> Verdict:
        if len(a) == len(g) == 1 and not _braces(a_group) and not _braces(g_group):  # brackets around an expression
            return self.element(_joined(a_group, a), _joined(g_group, g))
        if len(a) != len(g):
            if _braces(a_group) and _braces(g_group):
                a, g = self.distinct(a), self.distinct(g)
            if len(a) != len(g):
                return False
        if a_order and g_order:
            assert a_group is not None
            assert g_group is not None
            if (a_group.opening, a_group.closing) != (g_group.opening, g_group.closing):
                plain_brackets = {"()", "[]"}
                both = {a_group.opening + a_group.closing, g_group.opening + g_group.closing}
                if len(a) == 2 or not both <= plain_brackets:
                    return False
            return _all_of(self.shapes(x, y) for x, y in zip(a, g, strict=True))
        if a_order or g_order:
            ordered = a_group if a_order else g_group
            other = g_group if a_order else a_group
            if _braces(other) or (ordered and ordered.opening + ordered.closing not in ("()", "[]")):
                return False
            return _all_of(self.shapes(x, y) for x, y in zip(a, g, strict=True))
        return self.matching(a, g)

    def matching(self, a: Sequence[str], g: Sequence[str]) -> Verdict:
        """Whether the elements of two lists can be paired off."""
        free = list(range(len(a)))
        unsure = False
        for y in g:
            verdicts = [(i, self.shapes(a[i], y)) for i in free]
            hit = next((i for i, v in verdicts if v), None)
            if hit is None:
                if all(v is False for _, v in verdicts):
                    return False
                unsure = True
                hit = next(i for i, v in verdicts if v is None)
            free.remove(hit)
        return None if unsure else True

    def distinct(self, elements: Sequence[str]) -> list[str]:
        kept: list[str] = []
        for e in elements:
            if not any(self.shapes(e, k) for k in kept):
                kept.append(e)
        return kept

    def element(self, a: str, g: str) -> Verdict:
        """Two single answers: relations, matrices or expressions."""
        if _letters(a) == _letters(g):
            return True
        a_relation, g_relation = relation(a), relation(g)
        if a_relation or g_relation:
            return self.relations(a, a_relation, g, g_relation)
        a_ratio, g_ratio = split(a, ":"), split(g, ":")
        if len(a_ratio) > 1 or len(g_ratio) > 1:
            return self.ratios(a_ratio, g_ratio)
        return self.expressions(a, g)

    def matrices(self, a: str, a_matrix: Matrix | None, g: str, g_matrix: Matrix | None) -> Verdict:
        if a_matrix and g_matrix:
            if "v" in (a_matrix.kind, g_matrix.kind) and a_matrix.kind != g_matrix.kind:
                return self.other(a, g)
            if [len(r) for r in a_matrix.rows] != [len(r) for r in g_matrix.rows]:
                return False
            pairs = zip(sum(a_matrix.rows, ()), sum(g_matrix.rows, ()), strict=True)
            return _all_of(self.shapes(x, y) for x, y in pairs)
        one, other = (a_matrix, group(g)) if a_matrix else (g_matrix, group(a))
        assert one is not None
        if other and other.opening == "(" and all(len(r) == 1 for r in one.rows):  # a column vector as a tuple
            column = [r[0] for r in one.rows]
            if len(column) != len(other.elements):
                return False
            return _all_of(self.shapes(x, y) for x, y in zip(column, other.elements, strict=True))
        return False if _is_readable(g if a_matrix else a) else self.other(a, g)

    def relations(self, a: str, a_rel: Relation | None, g: str, g_rel: Relation | None) -> Verdict:
        if a_rel and g_rel:
            if a_rel.is_equation and g_rel.is_equation:
                return self.equations(a, a_rel, g, g_rel)
            if a_rel.is_equation != g_rel.is_equation:
                return False
            if a_rel.signs == g_rel.signs:
                alike = _all_of(self.expressions(x, y) for x, y in zip(a_rel.sides, g_rel.sides, strict=True))
                if alike:
                    return True
            flipped = tuple({"<": ">", ">": "<", "<=": ">=", ">=": "<="}.get(s, s) for s in reversed(a_rel.signs))
            if flipped == g_rel.signs:
                sides = zip(reversed(a_rel.sides), g_rel.sides, strict=True)
                if _all_of(self.expressions(x, y) for x, y in sides):
                    return True
            return self.other(a, g)
        if g_rel and not g_rel.is_equation:
            return False
        if a_rel and not a_rel.is_equation:
            return False
        if a_rel:
            return self.shapes_or_expression(_conclusion(a_rel), g)
        assert g_rel is not None
        if not _is_name(g_rel.sides[0]):
            if _is_name(g_rel.sides[-1]):
                return self.expressions(a, g_rel.sides[0])
            return False if _is_readable(a) else self.other(a, g)
        return self.shapes_or_expression(a, g_rel.sides[-1])

    def shapes_or_expression(self, a: str | None, g: str) -> Verdict:
        return False if not a else self.shapes(a, g)

    def equations(self, a: str, a_rel: Relation, g: str, g_rel: Relation) -> Verdict:
        a_name, g_name = a_rel.sides[0], g_rel.sides[0]
        if _is_name(a_name) and _is_name(g_name) and _letters(a_name) == _letters(g_name):
            verdict = self.shapes(a_rel.sides[-1], g_rel.sides[-1])
            if verdict or (verdict is False and _letters(g_name) not in _letters(g_rel.sides[-1] + a_rel.sides[-1])):
                return verdict
        if len(a_rel.sides) == 2 and len(g_rel.sides) == 2:
            try:
                x, y = (read(f"({r.sides[0]})-({r.sides[1]})") for r in (a_rel, g_rel))
            except Unreadable:
                return self.other(a, g)
            if not x.symbols or not y.symbols:
                return False
            verdict = proportional(x, y)
            if verdict is not None:
                return verdict
            if x.symbols != y.symbols:
                return False
        return self.other(a, g)

    def ratios(self, a: Sequence[str], g: Sequence[str]) -> Verdict:
        if len(a) != len(g):
            if {len(a), len(g)} == {1, 2}:
                long, short = (a, g[0]) if len(a) == 2 else (g, a[0])
                return self.expressions(f"({long[0]})/({long[1]})", short) if all(long) else False
            return False
        try:
            x, y = [number_of(read(e)) for e in a], [number_of(read(e)) for e in g]
        except Unreadable:
            return _all_of(self.expressions(p, q) for p, q in zip(a, g, strict=True))
        if None in x or None in y:
            return _all_of(self.expressions(p, q) for p, q in zip(a, g, strict=True))
        return all(
            numbers_equal(x[0] * q, p * y[0], False, False)  # type: ignore[operator]
            for p, q in zip(x[1:], y[1:], strict=True)
        )

    def expressions(self, a: str, g: str) -> Verdict:
        """Two expressions with or without units."""
        if _letters(a) == _letters(g):
            return True
        if not a or not g:
            return False
        x, y = quantity(a), quantity(g)
        verdict = self.quantities(x, y)
        if verdict is not False and (x.value, y.value) == (a, g):
            return verdict
        if verdict:
            return True
        for name, factor in (("percent", "/100"), ("degree", r"\pi/180")):  # 28% is 0.28, 90 degrees are pi/2
            has = [q.unit is not None and q.unit.name == name for q in (x, y)]
            bare = y.value if has[0] else x.value
            if has[0] != has[1] and (name == "percent" or r"\pi" in bare):
                scaled = [f"({q.value}){factor}" if own else q.value for q, own in zip((x, y), has, strict=True)]
                return True if self.numbers(*scaled) else verdict
        return verdict

    def quantities(self, x: Quantity, y: Quantity) -> Verdict:
        a, g = x.value, y.value
        if x.multiplier != y.multiplier:
            a = f"({a})*{x.multiplier}" if x.multiplier > 1 else a
            g = f"({g})*{y.multiplier}" if y.multiplier > 1 else g
        scale = _scale(x.unit, y.unit)
        if scale is None:
            return False
        if scale != 1:
            g = f"({g})*{scale.numerator}/{scale.denominator}"
        return self.numbers(a, g)

    def numbers(self, a: str, g: str) -> Verdict:
        if _letters(a) == _letters(g):
            return True
        try:
            y = read(g)
        except Unreadable:
            return self.other(a, g)
        try:
            x = read(a)
        except Unreadable:
            if TEXT in a or OR in a or AND in a or ROW in a:
                return False  # words that are no unit: nothing that a number could be
            return self.other(a, g)
        verdict = _equal(x, y)
        return self.other(a, g) if verdict is None else verdict

    def other(self, a: str, g: str) -> Verdict:
        """What this file cannot tell."""
        return None if self.algebra is None else self.algebra(a, g)


def _equal(x: Expression, y: Expression) -> Verdict:
    if x.symbols != y.symbols and (not x.symbols or not y.symbols):
        tree = y.tree if y.symbols else x.tree
        if tree[0] == "symbol":  # a name is no number
            return False
    return equal(x, y)


def _scale(a: Unit | None, g: Unit | None) -> Fraction | None:
    """What the gold's number has to be multiplied by to be in the answer's unit; None: two kinds of unit."""
    if a is None or g is None:
        return Fraction(1)
    if a.powers == g.powers:
        return g.factor / a.factor
    for one, other in ((a, g), (g, a)):  # "units" stand for any unit of the same power
        powers = [p for _, p in one.powers]
        if [n for n, _ in one.powers] == ["unit"] and powers == [p for _, p in other.powers] and not other.words:
            return Fraction(1)
    if a.words and g.words and set(a.powers[0][0].split()) & set(g.powers[0][0].split()):
        return Fraction(1)  # "red balls" and "balls"
    return None


def _choice(a: str, g: str) -> Verdict:
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


def _choice_like(g: str) -> bool:
    return _CHOICE.match(_bare(g)) is not None


def _bare(text: str) -> str:
    r"""A cleaned text without marks of text around its words: ``\text{(B)}`` is ``(B)``."""
    return re.sub(rf"[{TEXT}{END}]", "", text).replace(r"\ ", " ").strip().strip("{}").strip()


def _words(a: str, g: str) -> Verdict:
    """Verdict on answers in words; None where the gold is not in words."""
    gold, answer = plain(g), plain(a)
    for names in (_EMPTY, _UNDEFINED, _INFINITE):
        if gold in names or (names is _EMPTY and _letters(g) == r"\{\}"):
            return answer in names or (names is _EMPTY and _letters(a) == r"\{\}") or None
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


def _numeral(a: str, g: str) -> Verdict:
    """Verdict on a numeral in a base, ``52_8``: digits and base, or the digits alone (a base is like a unit)."""
    sides = [_BASE.match(a), _BASE.match(g)]
    if not any(sides):
        return None
    (a_digits, a_base), (g_digits, g_base) = (
        (side[1], _base(side[2])) if side else (text, None) for side, text in zip(sides, (a, g), strict=True)
    )
    if not (re.fullmatch(r"[0-9A-Fa-f]+", a_digits) and re.fullmatch(r"[0-9A-Fa-f]+", g_digits)):
        return False
    same_digits = a_digits.lstrip("0").lower() == g_digits.lstrip("0").lower()
    return same_digits and (a_base is None or g_base is None or a_base == g_base)


def _base(text: str) -> str:
    names = {"two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9"}
    name = text.strip(TEXT + END + " ")
    return names.get(name, name)


def _readings(a: str, g: str) -> list[tuple[str, str]]:
    """Ways to read the commas of both: as between thousands (``58,500``) or between elements of a list."""
    a_number, g_number = (_THOUSANDS.sub(lambda m: m[0].replace(",", ""), t) for t in (a, g))
    pairs = [(a_number, g_number), (a, g)]
    if a_number != a and g_number != g:
        return pairs
    return pairs if (a_number, g_number) != (a, g) else pairs[:1]


def _sets(a: str, g: str) -> Verdict:
    """Verdict on sets of real numbers; None where one side is none, or both may be meant otherwise."""
    gold, answer = real_set(g), real_set(a)
    if gold is None or answer is None:
        surely = (gold is not None and not gold[1]) or (answer is not None and not answer[1])
        return False if surely and _is_readable(g if gold is None else a) else None
    if gold[1] and answer[1]:
        return None
    return same_set(answer[0], gold[0])


def _no_member(text: str) -> str:
    r"""``x \in \{1, 2\}`` is ``\{1, 2\}``, ``(x, y) = (1, 2)`` is ``(1, 2)``."""
    text = re.sub(r"^\((?:[A-Za-z](?:_\w)?\s*,?\s*)+\)\s*=\s*(?=[(\\])", "", text)
    return re.sub(r"^(?:[A-Za-z]|\\[a-z]+\s*|\([A-Za-z, ]+\))\s*\\in(?![A-Za-z])\s*", "", text)


def _elements(bare: Sequence[str], bracketed: Group | None) -> tuple[Sequence[str], bool]:
    """Elements and whether they have an order."""
    if bracketed is None:
        return bare, False
    return bracketed.elements, bracketed.opening != "{" and len(bracketed.elements) > 1


def _braces(bracketed: Group | None) -> bool:
    return bracketed is not None and bracketed.opening == "{"


def _joined(bracketed: Group | None, elements: Iterable[str]) -> str:
    inside = ",".join(elements)
    if bracketed is None:
        return inside
    if bracketed.opening == "{":
        return r"\{" + inside + r"\}"
    return bracketed.opening + inside + bracketed.closing


def _conclusion(found: Relation) -> str | None:
    """What an equation says: its last side, or the first where the last is the name; None if it contradicts itself."""
    first, last = found.sides[0], found.sides[-1]
    if _is_name(last) and not _is_name(first):
        return first
    try:
        values = [number_of(e) for e in map(read, found.sides) if not e.symbols]
    except Unreadable:
        return last
    known = [v for v in values if v is not None]
    if len(known) > 1 and not all(numbers_equal(known[0], v, "~" in found.signs, True) for v in known[1:]):
        return None
    return last


def _is_name(side: str) -> bool:
    """Whether one side of an equation only names what the other side is: ``x``, ``f(n)``, ``m_{max}``, a text."""
    if re.fullmatch(rf"(?:\\(?:angle|triangle)\s*)?{TEXT}[^{END}]*{END}|\|.{{1,9}}\||\\angle\s*[A-Z ]+", side):
        return True
    try:
        tree = read(side).tree
    except Unreadable:
        return bool(re.fullmatch(r"\\?[A-Za-z]+(?:\s*\([^()]*\)|\s*_\s*\{?[^{}]*\}?|'|\s)*", side))
    return (
        tree[0] in ("symbol", "apply")
        or re.fullmatch(r"[A-Z ]{2,4}(?:\([^()]{1,8}\))?|[A-Z]\([^()]{1,12}\)", side) is not None
    )


def _is_readable(text: str) -> bool:
    try:
        read(text)
    except Unreadable:
        return False
    return True


def _letters(text: str) -> str:
    """The text without spaces and without braces around one sign, for comparison letter for letter."""
    text = re.sub(r"(?<=\d)\s+(?=\d)", "_", text)
    text = re.sub(rf"[\s{TEXT}{END}]+", "", text)
    return re.sub(r"\{(\w)\}", r"\1", text).replace(r"\cdot", r"\times")


def _all_of(verdicts: Iterable[Verdict]) -> Verdict:
    unsure = False
    for verdict in verdicts:
        if verdict is False:
            return False
        unsure |= verdict is None
    return None if unsure else True


def _any_of(verdicts: Iterable[Verdict]) -> Verdict:
    unsure = False
    for verdict in verdicts:
        if verdict:
            return True
        unsure |= verdict is None
    return None if unsure else False
