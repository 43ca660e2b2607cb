"""What the sides of an equation are: a name and what it names, or an equation proper."""

from __future__ import annotations

import re

from hicra.evals._expression import read
from hicra.evals._latex import END, TEXT
from hicra.evals._shapes import Relation
from hicra.evals._tokens import Unreadable
from hicra.evals._values import number_of, numbers_equal


def conclusion(found: Relation) -> str | None:
    """What an equation says: its last side, or the first where the last is the name; None if it contradicts itself."""
    first, last = found.sides[0], found.sides[-1]
    if is_name(last) and not is_name(first):
        return first
    if last.strip() == "0" and not is_name(first) and re.search(r"(?<![\\A-Za-z])[A-Za-z]", first):
        return None  # an equation to be solved says no number
    try:
        values = [number_of(e) for e in map(read, found.sides) if not e.symbols]
    except Unreadable:
        return last
    known = [v for v in values if v is not None]
    if len(known) > 1 and not all(numbers_equal(known[0], v, "~" in found.signs, True) for v in known[1:]):
        return None
    return last


def is_name(side: str) -> bool:
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


def is_readable(text: str) -> bool:
    try:
        read(text)
    except Unreadable:
        return False
    return True
