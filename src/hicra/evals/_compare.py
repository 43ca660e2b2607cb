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

from hicra.evals._expression import Expression, read
from hicra.evals._latex import AND, OR, ROW, TEXT, clean, letters
from hicra.evals._relations import conclusion, is_name, is_readable
from hicra.evals._sets import real_set, same_set
from hicra.evals._shapes import Group, Matrix, Relation, group, items, matrix, relation, split
from hicra.evals._tokens import Unreadable
from hicra.evals._units import Quantity, quantity, scale
from hicra.evals._values import TooLarge, equal, number_of, numbers_equal, proportional
from hicra.evals._wording import choice, is_choice, numeral, without_label, words

Algebra = Callable[[str, str], bool | None]
Verdict = bool | None

MAX_CHARACTERS = 4_000
"""Longer texts are compared letter for letter only."""

_THOUSANDS = re.compile(r"(?<![\d.,(\[])\d{1,3}(?:,\d{3})+(?![\d,])")


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
    if letters(a) == letters(g):
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
        if (verdict := choice(a, g)) is not None:
            return verdict
        if not is_choice(g) and (rest := without_label(a)) != a:
            a = clean(rest)
        if (verdict := words(a, g)) is not None:
            return verdict
        if a.endswith("=") or a.startswith("="):
            a = a.strip("= ")
        if (verdict := numeral(a, g)) is not None:
            return verdict
        return _any_of(self.shapes(x, y) for x, y in _readings(a, g))

    def shapes(self, a: str, g: str) -> Verdict:
        """Two answers read as one kind of thing or another."""
        if letters(a) == letters(g):
            return True
        a_matrix, g_matrix = matrix(a), matrix(g)
        if g_matrix and not a_matrix and (named := relation(a)) and named.is_equation:
            a_matrix = matrix(named.sides[-1])
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
        if letters(a) == letters(g):
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
        return self.other(a, g) if r"\begin" in (g if a_matrix else a) else False

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
            return self.shapes_or_expression(conclusion(a_rel), g)
        assert g_rel is not None
        if not is_name(g_rel.sides[0]):
            if is_name(g_rel.sides[-1]):
                return self.expressions(a, g_rel.sides[0])
            return False if is_readable(a) else self.other(a, g)
        return self.shapes_or_expression(a, g_rel.sides[-1])

    def shapes_or_expression(self, a: str | None, g: str) -> Verdict:
        return False if not a else self.shapes(a, g)

    def equations(self, a: str, a_rel: Relation, g: str, g_rel: Relation) -> Verdict:
        a_name, g_name = a_rel.sides[0], g_rel.sides[0]
        if is_name(a_name) and is_name(g_name) and letters(a_name) == letters(g_name):
            verdict = self.shapes(a_rel.sides[-1], g_rel.sides[-1])
            if verdict or (verdict is False and letters(g_name) not in letters(g_rel.sides[-1] + a_rel.sides[-1])):
                return verdict
        if "y" in (a_name, g_name) and all(re.fullmatch(r"y|[a-zA-Z]\s*\(\s*x\s*\)", n) for n in (a_name, g_name)):
            return self.shapes(a_rel.sides[-1], g_rel.sides[-1])  # y = 2x is f(x) = 2x
        if len(a_rel.sides) > 2 or len(g_rel.sides) > 2:  # a chain: its first and its last side are what it says
            if not any(letters(g_name) == letters(side) for side in a_rel.sides[:-1]):
                return False
            return self.shapes(a_rel.sides[-1], g_rel.sides[-1])
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
        if letters(a) == letters(g):
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
        factor = scale(x.unit, y.unit)
        if factor is None:
            return False
        if factor != 1:
            g = f"({g})*{factor.numerator}/{factor.denominator}"
        return self.numbers(a, g)

    def numbers(self, a: str, g: str) -> Verdict:
        if letters(a) == letters(g):
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
        return False if surely and is_readable(g if gold is None else a) else None
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
