r"""Reads a cleaned LaTeX expression into a small tree: numbers, symbols, the usual operations and functions.

Recursive descent over tokens; bounded in tokens and depth, so that the time is bounded whatever the text. What it does
not know (integrals, sums, matrices ...) is `Unreadable` and left to math-verify.

Conventions where LaTeX leaves a choice: ``3\frac{1}{2}`` is a mixed number and ``3\frac{n}{2}`` a product; ``1/2 x``
is read from left to right; ``f(x)`` with a single symbol or number inside is the value of a function and ``n(n-1)`` a
product; ``\sin 2 x`` takes the whole product; ``\dot x``, ``x'`` and ``\frac{dx}{dt}`` are one symbol.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from hicra.evals._latex import END, TEXT
from hicra.evals._tokens import ALWAYS_FUNCTIONS, DECORATED, FUNCTIONS, GREEK, INVERSE, Unreadable, tokens, word

Node = tuple[Any, ...]
"""("number", Fraction), ("symbol", name), ("constant", name), ("apply", name, *nodes) or (operation, *nodes)."""

MAX_DEPTH, MAX_DIGITS = 40, 400


@dataclass(frozen=True, slots=True)
class Expression:
    """A tree and what a comparison has to know of it.

    Attributes:
        tree: the root.
        symbols: names of its free symbols.
        decimal: it is one number, written with a decimal point or as ``2.5e3``: possibly a rounded one.
        discrete: it holds floors, factorials or binomials, which are compared at whole numbers.
        imaginary: it holds the imaginary unit.
        opaque: it holds values of functions that nobody knows, as ``f(3)``.
    """

    tree: Node
    symbols: frozenset[str]
    decimal: bool
    discrete: bool
    imaginary: bool
    opaque: bool


def read(text: str) -> Expression:
    """The expression that a cleaned text spells.

    Raises:
        Unreadable: it spells none, or one beyond the limits of size.
    """
    reader = _Reader(tokens(text))
    tree = reader.sum()
    if reader.kind() is not None:
        raise Unreadable(f"not read: {reader.tokens[reader.at][1][:20]!r}")
    return Expression(
        tree=tree,
        symbols=frozenset(reader.symbols),
        decimal=reader.decimal and not reader.symbols,
        discrete=reader.discrete,
        imaginary=reader.imaginary,
        opaque=reader.opaque,
    )


@dataclass
class _Reader:
    tokens: list[tuple[str, str]]
    at: int = 0
    depth: int = 0
    bars: int = 0  # open absolute values: a bar inside closes one
    symbols: set[str] = field(default_factory=set)
    decimal: bool = False
    discrete: bool = False
    imaginary: bool = False
    opaque: bool = False

    def kind(self) -> str | None:
        """What stands next: a mark itself, a command with its backslash, "number", "letter", "text", or None."""
        if self.at >= len(self.tokens):
            return None
        kind, text = self.tokens[self.at]
        return text if kind in ("mark", "command") else kind

    def take(self) -> str:
        if self.at >= len(self.tokens):
            raise Unreadable("it ends too early")
        self.at += 1
        return self.tokens[self.at - 1][1]

    def expect(self, what: str) -> None:
        if self.kind() != what:
            raise Unreadable(f"{what!r} is missing")
        self.at += 1

    def sum(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("too deep")
        tree = self.product()
        while (sign := self.kind()) in ("+", "-"):
            self.at += 1
            tree = (sign, tree, self.product())
        self.depth -= 1
        return tree

    def product(self) -> Node:
        negative = False
        while (sign := self.kind()) in ("+", "-"):
            negative ^= sign == "-"
            self.at += 1
        before = self.at
        tree = self.power()
        whole = self.at == before + 1 and self.tokens[before][0] == "number"  # a bare number, it may begin a mixed one
        while (kind := self.kind()) is not None:
            if kind in ("*", r"\cdot", r"\times", "/"):
                self.at += 1
                sign_of = 1
                while self.kind() in ("+", "-"):
                    sign_of *= -1 if self.take() == "-" else 1
                before = self.at
                right = self.power()
                right = right if sign_of > 0 else ("negative", right)
                tree = ("/" if kind == "/" else "*", tree, right)
                whole = False
            elif self.begins_atom(kind):
                if kind == "number" and self.tokens[self.at - 1][0] == "number":
                    raise Unreadable("two numbers side by side")
                right = self.power()
                if whole and kind == r"\frac" and _proper(right) and tree[1].denominator == 1:
                    tree = ("+", tree, right)
                else:
                    tree = ("*", tree, right)
                whole = False
            else:
                break
        return ("negative", tree) if negative else tree

    def begins_atom(self, kind: str) -> bool:
        if kind in ("number", "letter", "text", "(", "{", "[", r"\frac", r"\sqrt", r"\binom", r"\lfloor", r"\lceil"):
            return True
        if kind == "|":
            return self.bars == 0
        name = kind[1:]
        return kind.startswith("\\") and (
            name in GREEK or name in FUNCTIONS or name in DECORATED or name in ("pi", "overline")
        )

    def power(self) -> Node:
        tree = self.postfix(self.atom())
        if self.kind() == "^":
            self.at += 1
            tree = self.postfix(("^", tree, self.argument()))
        return tree

    def postfix(self, tree: Node) -> Node:
        while (kind := self.kind()) in ("!", "%", "°"):
            self.at += 1
            if kind == "!":
                self.discrete = True
                tree = ("factorial", tree)
            elif kind == "%":
                tree = ("/", tree, ("number", Fraction(100)))
            else:
                tree = ("*", tree, ("/", ("constant", "pi"), ("number", Fraction(180))))
        return tree

    def argument(self, *, one_digit: bool = False) -> Node:
        """What a command or ``^`` takes: a group in braces, or one atom; of a number one digit if asked for."""
        kind = self.kind()
        if kind == "{":
            self.at += 1
            tree = self.sum()
            self.expect("}")
            return tree
        if kind in ("+", "-"):
            self.at += 1
            tree = self.argument()
            return ("negative", tree) if kind == "-" else tree
        if kind == "number" and one_digit:
            text = self.tokens[self.at][1]
            if len(text) > 1:
                self.tokens[self.at] = ("number", text[1:])
                return ("number", Fraction(text[0])) if text[0].isdigit() else self.atom()
        return self.postfix(self.atom()) if kind == "(" else self.atom()

    def atom(self) -> Node:
        kind = self.kind()
        text = self.take()
        if kind == "number":
            return self.number(text)
        if kind == "letter":
            return self.letter(text)
        if kind == "text":
            return self.symbol(word(text))
        if kind in ("(", "{", "["):
            bars, self.bars = self.bars, 0
            tree = self.sum()
            self.bars = bars
            self.expect({"(": ")", "{": "}", "[": "]"}[kind])
            return tree
        if kind == "|":
            self.bars += 1
            tree = self.sum()
            self.bars -= 1
            self.expect("|")
            return ("abs", tree)
        if not text.startswith("\\"):
            raise Unreadable(f"a {text!r} begins nothing")
        return self.command(text[1:])

    def number(self, text: str) -> Node:
        if len(text) > MAX_DIGITS or abs(int(text.lower().partition("e")[2] or 0)) > MAX_DIGITS:
            raise Unreadable("a number too long")
        if self.kind() in (r"\overline", r"\bar", r"\dot") and "." in text:  # 0.1\overline{6}
            self.at += 1
            braced = self.kind() == "{"
            self.at += braced
            digits = self.take()
            if not digits.isdigit() or len(digits) > 40:
                raise Unreadable("no digits repeat")
            if braced:
                self.expect("}")
            places = len(text.partition(".")[2])
            return ("number", Fraction(text) + Fraction(int(digits), (10 ** len(digits) - 1) * 10**places))
        if "." in text or "e" in text.lower():
            self.decimal = True
        return ("number", Fraction(text))

    def letter(self, text: str) -> Node:
        if text == "i":
            self.imaginary = True
            return ("constant", "i")
        if text == "e" and self.kind() != "_":
            return ("constant", "e")
        return self.symbol(text)

    def symbol(self, name: str) -> Node:
        """A symbol with what decorates it; the value of a function where its argument makes it one."""
        if self.kind() == "_":
            self.at += 1
            name += "_" + self.subscript()
        while self.kind() == "'":
            self.at += 1
            name += "'"
        if self.kind() == "(" and (name[0] in ALWAYS_FUNCTIONS or self.atomic_group()):
            self.at += 1
            arguments = [self.sum()]
            while self.kind() == ",":
                self.at += 1
                arguments.append(self.sum())
            self.expect(")")
            self.opaque = True
            return ("apply", name, *arguments)
        self.symbols.add(name)
        return ("symbol", name)

    def atomic_group(self) -> bool:
        inside = self.tokens[self.at + 1 : self.at + 3]
        return (
            len(inside) == 2
            and inside[1][1] == ")"
            and (inside[0][0] in ("number", "letter") or inside[0][1][1:] in GREEK)
        )

    def subscript(self) -> str:
        if self.kind() != "{":
            return word(self.take())
        self.at += 1
        parts: list[str] = []
        depth = 1
        while True:
            text = self.take()
            depth += (text == "{") - (text == "}")
            if depth == 0:
                return "".join(parts)
            parts.append(word(text))

    def command(self, name: str) -> Node:
        if name == "pi":
            return ("constant", "pi")
        if name == "infty":
            return ("constant", "infty")
        if name == "frac":
            return self.derivative() or ("/", self.argument(one_digit=True), self.argument(one_digit=True))
        if name == "binom":
            self.discrete = True
            return ("binomial", self.argument(one_digit=True), self.argument(one_digit=True))
        if name == "sqrt":
            if self.kind() == "[":
                self.at += 1
                degree = self.sum()
                self.expect("]")
                return ("root", self.argument(), degree)
            return ("root", self.argument(), ("number", Fraction(2)))
        if name in ("lfloor", "lceil", "floor", "ceil"):
            self.discrete = True
            tree = self.sum() if name[0] == "l" else self.argument()
            if name[0] == "l":
                self.expect("\\r" + name[1:])
            return (name.removeprefix("l") if name[0] == "l" else name, tree)
        if name in FUNCTIONS:
            return self.function(name)
        if name in DECORATED:
            begins = self.at
            inner = self.argument()
            if inner[0] != "symbol":
                raise Unreadable(f"\\{name} over {self.tokens[begins][1]!r}")
            self.symbols.discard(inner[1])
            return self.symbol(inner[1] + DECORATED[name])
        if name == "overline":
            return self.symbol("-" + self.subscript())
        if name in GREEK:
            return self.symbol("\\" + name)
        raise Unreadable(f"\\{name} is not known here")

    def function(self, name: str) -> Node:
        power = None
        if name in ("max", "min") and self.kind() not in ("(", "{"):
            return self.symbol("\\" + name)
        base: Node | None = None
        if name == "log" and self.kind() == "_":
            self.at += 1
            base = self.argument()
        if self.kind() == "^":
            self.at += 1
            power = self.argument()
            if name in INVERSE and power == ("negative", ("number", Fraction(1))):
                name, power = INVERSE[name], None
        arguments = self.function_arguments()
        if base is not None:
            arguments = [arguments[0], base]
        tree: Node = ("function", name, *arguments)
        return tree if power is None else ("^", tree, power)

    def function_arguments(self) -> list[Node]:
        if self.kind() in ("(", "{", "["):
            closing = {"(": ")", "{": "}", "[": "]"}[self.take()]
            arguments = [self.sum()]
            while self.kind() == ",":
                self.at += 1
                arguments.append(self.sum())
            self.expect(closing)
            if closing == "}" or self.kind() != "^":
                return arguments
            self.at += 1
            return [("^", arguments[0], self.argument())]
        if self.kind() in ("+", "-"):
            sign = self.take()
            inner = self.power()
            return [("negative", inner) if sign == "-" else inner]
        tree = self.power()
        while (kind := self.kind()) is not None and self.begins_atom(kind) and kind[1:] not in FUNCTIONS:
            if kind in ("(", "["):
                break
            tree = ("*", tree, self.power())
        return [tree]

    def derivative(self) -> Node | None:
        r"""``\frac{d^2 x}{d t^2}`` as the symbol ``x''``, or None where the fraction is none."""
        begins, symbols = self.at, set(self.symbols)
        try:
            order = self._differential()
            if self.kind() in ("letter", None) or (self.kind() or "").startswith("\\"):
                tree = self.atom()
                self.expect("}")
                if order == self._differential() and tree[0] == "symbol":
                    variable = self.atom()
                    if self.kind() == "^":
                        self.at += 1
                        self.argument()
                    self.expect("}")
                    if variable[0] == "symbol":
                        self.symbols = symbols
                        return self.symbol(tree[1] + "'" * order)
        except Unreadable:
            pass
        self.at, self.symbols = begins, symbols
        return None

    def _differential(self) -> int:
        self.expect("{")
        if self.take() not in ("d", r"\partial", TEXT + "d" + END):
            raise Unreadable("no differential")
        if self.kind() != "^":
            return 1 if self.kind() != "}" else self._fail()
        self.at += 1
        power = self.argument()
        return int(power[1]) if power[0] == "number" and 1 <= power[1] <= 4 else self._fail()

    def _fail(self) -> int:
        raise Unreadable("no differential")


def _proper(tree: Node) -> bool:
    """Whether a tree is a fraction of two whole numbers below one."""
    if tree[0] != "/" or tree[1][0] != "number" or tree[2][0] != "number":
        return False
    above, below = tree[1][1], tree[2][1]
    return bool(above.denominator == below.denominator == 1 and 0 < above < below)
