r"""What kind of thing an answer is: a list, a tuple, a set of numbers, a matrix, a relation, or one expression.

Works on cleaned text (`hicra.evals._latex.clean`) and only looks at brackets and separators; the leaves stay text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product

from hicra.evals._latex import AND, END, OR, ROW, TEXT

OPENING, CLOSING = "([{", ")]}"
_RELATION = re.compile(r"\\(le|ge|ne|approx|equiv|in|to|sim|cong|propto|subset|subseteq|notin)(?![A-Za-z])\s*|[=<>]=?")
_MATRIX = re.compile(
    r"^\\begin\s*\{((?:small|[pbBvV])?)(?:matrix|array)\}\s*(?:\{[lcr| ]*\})?(.*)\\end\s*\{\1(?:matrix|array)\}$", re.S
)
_PLUS_MINUS = re.compile(r"\\(pm|mp)(?![A-Za-z])\s*")


@dataclass(frozen=True, slots=True)
class Group:
    """Elements between brackets: ``(1,2)``, ``[0,1)``, ``{1,2}`` (opening "{"), or a bare list (no brackets)."""

    opening: str
    elements: tuple[str, ...]
    closing: str
    separator: str = ","


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of entries; `kind` "v" is a determinant."""

    rows: tuple[tuple[str, ...], ...]
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Relation:
    """Sides and the signs between them: ``0 < x \\le 1`` has three sides and the signs "<" and "<="."""

    sides: tuple[str, ...]
    signs: tuple[str, ...]

    @property
    def is_equation(self) -> bool:
        return set(self.signs) <= {"=", "~"}


def split(text: str, separators: str = "," + OR + AND + ";") -> list[str]:
    """Pieces between separators that stand outside all brackets; brackets may be of mixed kinds, as in ``(0,1]``."""
    pieces, begin, depth, at = [], 0, 0, 0
    in_text = False
    while at < len(text):
        char = text[at]
        if char == TEXT:
            in_text = True
        elif char == END:
            in_text = False
        elif in_text:
            pass
        elif char == "\\":
            if text[at + 1 : at + 2] in ("{", "}"):
                depth += 1 if text[at + 1] == "{" else -1
            elif text.startswith(("\\langle", "\\rangle"), at):
                depth += 1 if text[at + 1] == "l" else -1
            at += 2
            continue
        elif char in OPENING:
            depth += 1
        elif char in CLOSING:
            depth -= 1
        elif depth <= 0 and char in separators:
            pieces.append(text[begin:at])
            begin = at + 1
        at += 1
    pieces.append(text[begin:])
    return [piece.strip() for piece in pieces]


def items(text: str) -> list[str]:
    r"""Elements of a bare list, each ``\pm`` written out; one element where it is none."""
    pieces = [piece for piece in split(text) if piece]
    return [written for piece in pieces for written in plus_minus(piece)]


def plus_minus(text: str) -> list[str]:
    r"""``1 \pm \sqrt 2`` as its two values; signs of several ``\pm`` go together where there is a ``\mp``."""
    found = _PLUS_MINUS.findall(text)
    if not found or len(found) > 3 or text.startswith(("(", "[", r"\{")):
        return [text]
    together = "mp" in found
    choices = [("+",) * len(found), ("-",) * len(found)] if together else list(product("+-", repeat=len(found)))
    out = []
    for choice in choices:
        signs = iter(
            sign if name == "pm" else "-" if sign == "+" else "+" for name, sign in zip(found, choice, strict=True)
        )
        out.append(_PLUS_MINUS.sub(lambda _, signs=signs: next(signs), text))  # type: ignore[misc]
    return out


def group(text: str) -> Group | None:
    """The brackets around everything and what they hold, or None where nothing holds everything."""
    brackets = _around(text)
    if brackets is None:
        return None
    opening, inside, closing = brackets
    separator = ";" if ";" in inside and "," not in inside else ","
    elements = split(inside, separator)
    if opening == "{":
        elements = items(inside)
    return Group(opening, tuple(elements), closing, separator)


def _around(text: str) -> tuple[str, str, str] | None:
    if len(text) < 2:
        return None
    for begin, end in ((r"\{", r"\}"), (r"\langle", r"\rangle")):
        if text.startswith(begin) and text.endswith(end) and _one_pair(text):
            opening = "{" if begin == r"\{" else "("
            return opening, text[len(begin) : -len(end)].strip(), "}" if opening == "{" else ")"
    if text[0] in "([" and text[-1] in ")]" and _one_pair(text):
        return text[0], text[1:-1].strip(), text[-1]
    if text[0] == "]" and text[-1] in "[]" and "," in text:  # ]0,1[ is (0,1)
        return "(", text[1:-1].strip(), ")" if text[-1] == "[" else "]"
    if text[0] == "[" and text[-1] == "[" and "," in text:
        return "[", text[1:-1].strip(), ")"
    return None


def _one_pair(text: str) -> bool:
    """Whether the first bracket closes at the very end."""
    depth, at = 0, 0
    while at < len(text):
        step = 1
        if text[at] == "\\":
            name = next((n for n in (r"\{", r"\}", r"\langle", r"\rangle") if text.startswith(n, at)), "")
            step = len(name) or 2
            depth += {r"\{": 1, r"\langle": 1, r"\}": -1, r"\rangle": -1}.get(name, 0)
        elif text[at] in OPENING:
            depth += 1
        elif text[at] in CLOSING:
            depth -= 1
        if depth == 0:
            return not text[at + step :].strip()
        at += step
    return False


def matrix(text: str) -> Matrix | None:
    """Rows and entries of a matrix environment, or None."""
    if text[:1] in "([" and text[-1:] in ")]" and text[1:].lstrip().startswith(r"\begin"):
        text = text[1:-1].strip()
    match = _MATRIX.match(text)
    if match is None:
        return None
    rows = [row.strip() for row in match[2].replace(r"\hline", "").split(ROW)]
    return Matrix(tuple(tuple(e.strip() for e in row.split("&")) for row in rows if row), match[1].lower())


def relation(text: str) -> Relation | None:
    """Sides and signs of an equation or inequality outside all brackets, or None where there is no sign."""
    sides, signs, begin = [], [], 0
    for match in _RELATION.finditer(text):
        if match.start() < begin or _depth(text, match.start()):
            continue
        sides.append(text[begin : match.start()].strip())
        signs.append(_SIGNS.get(match[0].strip(), match[0].strip()))
        begin = match.end()
    if not signs:
        return None
    return Relation((*sides, text[begin:].strip()), tuple(signs))


_SIGNS = {"==": "=", r"\le": "<=", r"\ge": ">=", r"\ne": "!=", r"\approx": "~", r"\in": "in", r"\equiv": "equiv"}


def _depth(text: str, end: int) -> bool:
    """Whether a place is inside brackets or text."""
    before = text[:end]
    if before.count(TEXT) > before.count(END):
        return True
    return sum(before.count(b) for b in "([{") > sum(before.count(b) for b in ")]}")
