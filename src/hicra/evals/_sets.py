r"""Sets of real numbers: intervals, unions, inequalities, ``\mathbb{R} \setminus \{2\}``, in one canonical form.

A set is a sorted tuple of disjoint pieces ``(low, low_open, high, high_open)``; a point is a piece of length zero. Only
ends that are numbers have a place here; intervals with letters in their ends are compared end by end elsewhere.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

from hicra.evals._expression import read
from hicra.evals._latex import AND, END, OR, TEXT
from hicra.evals._shapes import Relation, group, relation, split
from hicra.evals._tokens import Unreadable
from hicra.evals._values import Value, number_of, numbers_equal

Real = Fraction | float
Piece = tuple[Real, bool, Real, bool]
RealSet = tuple[Piece, ...]

EVERYTHING: RealSet = ((-math.inf, True, math.inf, True),)
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "!=": "!=", "=": "="}
_ALL = re.compile(rf"^(?:\\mathbb\s*\{{R\}}|{TEXT}?\s*(?:all )?real(?: number)?s?\s*{END}?)$", re.I)
_NAMED = re.compile(rf"^(?:[A-Za-z]|\\[a-z]+\s*|{TEXT}[A-Za-z ]+{END})\s*(\\in(?![A-Za-z])|=)\s*(.+)$", re.S)
_BUILDER = re.compile(r"^\\\{\s*[A-Za-z]\s*(?:\\in\s*\\mathbb\s*\{R\}\s*)?[|:](.+)\\\}$", re.S)
_VARIABLE = re.compile(r"^(?:[A-Za-z]|\\[a-z]+)(?:_\{?\w+\}?)?(?:\([A-Za-z]\))?$")


def real_set(text: str) -> tuple[RealSet, bool] | None:
    """The set that a cleaned text describes and whether it could as well be meant otherwise, as ``(1,2)`` can.

    None: it describes no set of numbers that this file knows.
    """
    text = text.strip()
    if match := _NAMED.match(text):
        found = real_set(match[2])
        return None if found is None else (found[0], found[1] and match[1] == "=")
    if match := _BUILDER.match(text):
        return real_set(match[1])
    if _ALL.match(text):
        return EVERYTHING, False
    difference = re.split(r"\\setminus(?![A-Za-z])", text)
    if len(difference) == 2:
        sides = [real_set(side) for side in difference]
        if sides[0] is None or sides[1] is None:
            return None
        return _intersect(sides[0][0], _complement(sides[1][0])), False
    parts = re.split(r"\\cup(?![A-Za-z])|(?<=[)\]}])\s*U\s*(?=[(\[\\])", text)
    if len(parts) > 1:
        pieces: list[Piece] = []
        for part in parts:
            found = real_set(part)
            if found is None:
                return None
            pieces += found[0]
        return _merged(pieces), False
    return _interval(text) or _points(text) or _inequalities(text)


def same_set(a: RealSet, b: RealSet) -> bool:
    """Whether two sets are equal, ends compared as numbers are."""
    return len(a) == len(b) and all(
        p[1] == q[1] and p[3] == q[3] and _same(p[0], q[0]) and _same(p[2], q[2]) for p, q in zip(a, b, strict=True)
    )


def end_value(text: str) -> Real | None:
    """Value of an end of an interval, or None where it is not a real number."""
    try:
        value = number_of(read(text))
    except (Unreadable, ArithmeticError):
        return None
    return None if value is None or isinstance(value, complex) or value != value else value


def _same(a: Real, b: Real) -> bool:
    return a == b or numbers_equal(a, b, False, False)


def _interval(text: str) -> tuple[RealSet, bool] | None:
    found = group(text)
    if found is None or found.opening == "{" or len(found.elements) != 2:
        return None
    low, high = (end_value(e) for e in found.elements)
    if low is None or high is None:
        return None
    if low >= high and not (low == high and found.opening + found.closing == "[]"):
        return None
    otherwise = found.opening + found.closing == "()" and not math.isinf(low) and not math.isinf(high)
    return ((low, found.opening == "(", high, found.closing == ")"),), otherwise


def _points(text: str) -> tuple[RealSet, bool] | None:
    found = group(text)
    if found is None or found.opening != "{":
        return None
    values = [end_value(e) for e in found.elements]
    if not values or any(v is None or math.isinf(v) for v in values):
        return None
    return _merged([(v, False, v, False) for v in values if v is not None]), True


def _inequalities(text: str) -> tuple[RealSet, bool] | None:
    alternatives = split(text, OR)
    if len(alternatives) > 1:
        sets = [_inequalities(part) for part in alternatives]
        return None if None in sets else (_merged([p for s in sets if s for p in s[0]]), False)
    parts = split(text, AND + ",")
    if len(parts) > 1:
        several = [_inequalities(part) for part in parts]
        if None in several:
            return None
        both = EVERYTHING
        for s in several:
            both = _intersect(both, s[0] if s else ())
        if not both:  # "x < 2, x > 3" lists two rays
            return _merged([p for s in several if s for p in s[0]]), False
        return both, False
    found = relation(text)
    if found is None or not set(found.signs) <= set(_FLIPPED) or set(found.signs) == {"="}:
        return None
    return _chain(found)


def _chain(found: Relation) -> tuple[RealSet, bool] | None:
    if distance := _distance(found):
        return distance
    places = [i for i, side in enumerate(found.sides) if _VARIABLE.match(side) and end_value(side) is None]
    if len(places) != 1 or "=" in found.signs or ("!=" in found.signs and len(found.signs) > 1):
        return None
    at = places[0]
    result = EVERYTHING
    for i, side in enumerate(found.sides):
        if i == at:
            continue
        value = end_value(side)
        if value is None or abs(i - at) > 1:
            return None
        sign = found.signs[min(i, at)]
        sign = _FLIPPED[sign] if i < at else sign  # as seen from the variable: x sign value
        result = _intersect(result, _ray(sign, value))
    return (result, False) if result else None


def _distance(found: Relation) -> tuple[RealSet, bool] | None:
    """``|x - 1| < 2`` and its like."""
    if len(found.sides) != 2:
        return None
    for i, side in enumerate(found.sides):
        match = re.fullmatch(r"\|\s*[A-Za-z]\s*([+-].+?)?\s*\|", side)
        bound = end_value(found.sides[1 - i])
        middle = end_value(match[1]) if match and match[1] else Fraction(0)
        if match is None or bound is None or middle is None or bound < 0:
            continue
        sign = found.signs[0] if i == 0 else _FLIPPED[found.signs[0]]
        near, far = _ray("<" + sign[1:], bound - middle), _ray(">" + sign[1:], -bound - middle)
        if sign[0] == "<":
            return _intersect(near, far), False
        if sign[0] == ">":
            return _merged([*_ray(sign, bound - middle), *_ray("<" + sign[1:], -bound - middle)]), False
    return None


def _ray(sign: str, value: Real) -> RealSet:
    if sign == "!=":
        return _complement(((value, False, value, False),))
    if sign[0] == "<":
        return ((-math.inf, True, value, sign == "<"),)
    return ((value, sign == ">", math.inf, True),)


def _merged(pieces: list[Piece]) -> RealSet:
    out: list[Piece] = []
    for low, low_open, high, high_open in sorted(pieces, key=lambda p: (p[0], p[1])):
        if out and (out[-1][2] > low or (out[-1][2] == low and not (out[-1][3] and low_open))):
            before = out[-1]
            end, is_open = max((before[2], not before[3]), (high, not high_open))
            out[-1] = (before[0], before[1], end, not is_open)
        else:
            out.append((low, low_open, high, high_open))
    return tuple(out)


def _intersect(a: RealSet, b: RealSet) -> RealSet:
    out: list[Piece] = []
    for p in a:
        for q in b:
            low, low_open = max((p[0], p[1]), (q[0], q[1]))
            high, closed = min((p[2], not p[3]), (q[2], not q[3]))
            if low < high or (low == high and not low_open and closed):
                out.append((low, low_open, high, not closed))
    return _merged(out)


def _complement(a: RealSet) -> RealSet:
    out: list[Piece] = []
    low: Real = -math.inf
    low_open = True
    for piece in a:
        if low < piece[0] or (low == piece[0] and not low_open and piece[1]):
            out.append((low, low_open, piece[0], not piece[1]))
        low, low_open = piece[2], not piece[3]
    if low < math.inf:
        out.append((low, low_open, math.inf, True))
    return tuple(out)


__all__ = ["EVERYTHING", "RealSet", "Value", "end_value", "real_set", "same_set"]
