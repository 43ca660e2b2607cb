"""Values of expressions, and whether two expressions are equal: exactly where they are rational, else at points.

Rational numbers are compared as fractions. Everything else is evaluated in double precision; expressions with symbols
at fixed points, the same for both sides (whole, positive and negative ones; a point counts only where both sides are
real, unless the imaginary unit occurs). Two different answers to one question agree at every point with a negligible
probability (Schwartz 1980, doi:10.1145/322217.322225), so agreement is taken as equality and disagreement as proof.

Decimals: a number with a finite decimal form must be matched exactly; for any other (1/3, pi) a decimal stands if it
agrees to one part in a million: 0.333333 is 1/3, 0.67 is not 2/3, 6.28 is not 2 pi.
"""

from __future__ import annotations

import cmath
import hashlib
import math
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any, cast

from hicra.evals._expression import Expression, Node

Value = Fraction | float | complex

ROUNDED, SAME, SAME_AT_POINTS = 1e-6, 1e-11, 1e-9
MAX_BITS = 40_000
POINTS = 12
WANTED_POINTS = 3


class Undefined(ArithmeticError):
    """The expression has no (real) value at this point."""


class TooLarge(ArithmeticError):
    """The value is a number beyond all bounds of an answer."""


def equal(answer: Expression, gold: Expression) -> bool | None:
    """Whether two expressions are equal; None where the points cannot tell.

    Raises:
        TooLarge: a number in one of them has more than `MAX_BITS` bits.
    """
    if not answer.symbols and not gold.symbols:
        is_complex = answer.imaginary or gold.imaginary
        a, g = _constant(answer, is_complex), _constant(gold, is_complex)
        return None if a is None or g is None else numbers_equal(a, g, answer.decimal, gold.decimal)
    seen = 0
    for i in range(POINTS):
        values = at_point([answer, gold], i)
        if values is None:
            continue
        if not _close(values[0], values[1], SAME_AT_POINTS):
            return False
        seen += 1
    return True if seen >= WANTED_POINTS else None


def proportional(answer: Expression, gold: Expression) -> bool | None:
    """Whether ``answer = 0`` and ``gold = 0`` are one equation up to a factor; None where that stays open."""
    if answer.symbols != gold.symbols:
        return None
    ratio: Value | None = None
    seen = 0
    for i in range(POINTS):
        values = at_point([answer, gold], i)
        if values is None or values[0] == 0 or values[1] == 0:
            continue
        if ratio is None:
            ratio = values[0] / values[1]
        elif not _close(values[0] / values[1], ratio, 1e-8):
            return None
        seen += 1
    return True if seen >= WANTED_POINTS else None


def at_point(expressions: list[Expression], i: int) -> list[Value] | None:
    """Values of all expressions at the i-th point, or None where one has none there."""
    is_complex = any(e.imaginary for e in expressions)
    discrete = any(e.discrete for e in expressions)
    try:
        point = {name: _coordinate(name, i, discrete) for e in expressions for name in e.symbols}
        return [value_of(e.tree, point, is_complex) for e in expressions]
    except (Undefined, OverflowError, ZeroDivisionError, ValueError):
        return None


def number_of(expression: Expression) -> Value | None:
    """Value of an expression without symbols, infinities included; None where it has none."""
    return None if expression.symbols or expression.opaque else _constant(expression, expression.imaginary)


def numbers_equal(a: Value, b: Value, a_decimal: bool, b_decimal: bool) -> bool:
    """Whether two numbers are equal by the rule for decimals above; a and b may be rounded if they are decimals."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        if a == b:
            return True
        if a_decimal and b_decimal:
            return _float_noise(a, b)
        rounded = (a_decimal and not _finite(b)) or (b_decimal and not _finite(a))
        if rounded:
            return _close(a, b, ROUNDED)
        return (a_decimal or b_decimal) and _float_noise(a, b)
    if (isinstance(a, Fraction) and a_decimal) or (isinstance(b, Fraction) and b_decimal):
        return _close(a, b, ROUNDED)
    return _close(a, b, SAME)


def value_of(tree: Node, point: Mapping[str, Value], is_complex: bool) -> Value:
    """Value of a tree at a point.

    Raises:
        Undefined, ZeroDivisionError, OverflowError, ValueError: there is none.
        TooLarge: it would take too long to compute.
    """
    kind = tree[0]
    if kind == "number":
        return tree[1]  # type: ignore[no-any-return]
    if kind == "symbol":
        return point[tree[1]]
    if kind == "constant":
        return _CONSTANTS[str(tree[1])]
    if kind == "function":
        return _function(tree[1], [value_of(t, point, is_complex) for t in tree[2:]], is_complex)
    if kind == "apply":
        return _opaque(tree[1], [value_of(t, point, is_complex) for t in tree[2:]])
    values = [value_of(t, point, is_complex) for t in tree[1:]]
    a = values[0]
    if kind == "negative":
        return -a
    if kind == "abs":
        return _absolute(a)
    if kind == "factorial":
        return _factorial(a)
    if kind in ("floor", "ceil"):
        real = _real(a)
        near = round(real)
        if not isinstance(real, Fraction) and abs(real - near) < 1e-9 * max(1.0, abs(real)):
            return Fraction(near)
        return Fraction(math.floor(real) if kind == "floor" else math.ceil(real))
    b = values[1]
    if kind == "+":
        return a + b
    if kind == "-":
        return a - b
    if kind == "*":
        return _checked(a * b)
    if kind == "/":
        if b == 0:
            raise Undefined("division by zero")
        return _checked(a / b)
    if kind == "^":
        return power(a, b, is_complex)
    if kind == "root":
        return _root(a, b, is_complex)
    if kind == "binomial":
        return _binomial(a, b)
    raise Undefined(str(kind))


def power(a: Value, b: Value, is_complex: bool) -> Value:
    """``a ** b``: exact for a rational base and a whole exponent; real unless complex numbers are in play."""
    if isinstance(b, Fraction) and b.denominator == 1:
        n = int(b)
        if n < 0 and a == 0:
            raise Undefined("zero to a negative power")
        if isinstance(a, Fraction):
            bits = max(a.numerator.bit_length(), a.denominator.bit_length())
            if a not in (0, 1, -1) and bits * abs(n) > MAX_BITS:
                raise TooLarge("a power")
            return Fraction(a**n)
        return a**n
    if isinstance(a, Fraction) and a > 0 and isinstance(b, Fraction) and b.denominator == 2:
        return power(_root(a, Fraction(2), is_complex), Fraction(b.numerator), is_complex)
    if not is_complex and isinstance(a, complex):
        raise Undefined("complex")
    if isinstance(a, complex) or isinstance(b, complex) or (is_complex and a < 0):
        if a == 0:
            raise Undefined("zero to a complex power")
        return complex(a) ** complex(b)
    if a < 0:
        raise Undefined("root of a negative number")
    return math.pow(a, b)


def _constant(expression: Expression, is_complex: bool) -> Value | None:
    try:
        return value_of(expression.tree, {}, is_complex)
    except (Undefined, OverflowError, ZeroDivisionError, ValueError):
        return None


def _close(a: Value, b: Value, tolerance: float) -> bool:
    if a == b:
        return True
    try:
        size = max(float(_absolute(a)), float(_absolute(b)))
        if math.isinf(size) or math.isnan(size):
            return False
        return float(_absolute(a - b)) <= tolerance * (1 + 1e-6) * size or (
            size < 1e-14 and not (isinstance(a, Fraction) and isinstance(b, Fraction)) and 0 in (a, b)
        )
    except OverflowError:
        return False


def _absolute(a: Value) -> Fraction | float:
    return abs(a) if isinstance(a, Fraction) else float(abs(a))


def _float_noise(a: Fraction, b: Fraction) -> bool:
    """0.30000000000000004 is what a computer says for 0.3."""
    return _close(a, b, 1e-12)


def _finite(number: Fraction) -> bool:
    """Whether a fraction has a finite decimal form: no prime but 2 and 5 divides its denominator."""
    below = number.denominator
    for prime in (2, 5):
        while below % prime == 0:
            below //= prime
    return below == 1


@lru_cache(4096)
def _coordinate(name: str, i: int, discrete: bool) -> Value:
    """Points 0-3 whole, 4-8 positive, the rest negative; whole ones only where floors and factorials occur."""
    noise = int.from_bytes(hashlib.blake2b(f"{i} {name}".encode("utf-8", "replace"), digest_size=6).digest(), "big")
    if discrete or i < 4:
        return Fraction(2 + noise % 17)
    size = Fraction(1 + noise % 2_999, 1_009)
    return size if i < 9 else -size


_CONSTANTS: dict[str, Value] = {"pi": math.pi, "e": math.e, "i": 1j, "infty": math.inf}


def _opaque(name: str, arguments: list[Value]) -> Value:
    """Value of a function that nobody knows: any number, as long as it is the same for the same arguments."""
    key = name + "".join(f" {complex(a):.9g}" for a in arguments)
    noise = hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=6).digest()
    return Fraction(1 + int.from_bytes(noise, "big") % 4_001, 1_013)


def _function(name: str, arguments: list[Value], is_complex: bool) -> Value:
    a = arguments[0]
    if name in ("gcd", "lcm") and len(arguments) > 1:
        return Fraction(getattr(math, name)(*(int(_whole(x)) for x in arguments)))
    if name in ("max", "min"):
        reals: list[Fraction | float] = [_real(x) for x in arguments]
        return max(reals) if name == "max" else min(reals)
    if len(arguments) > 2 or (len(arguments) == 2 and name != "log"):
        raise Undefined(f"{name} of {len(arguments)}")
    if name in ("Re", "Im", "arg", "det"):
        raise Undefined(name)
    if name == "exp":
        return power(math.e, a, is_complex)
    library: Any = cmath if is_complex and isinstance(a, complex) else math
    x = a if isinstance(a, complex) else float(a)
    if name in ("ln", "log", "lg"):
        if a == 0:
            raise Undefined("log of zero")
        if is_complex and not isinstance(x, complex) and x < 0:
            library = cmath
        base = 10 if name == "lg" else arguments[1] if len(arguments) == 2 else None
        top = library.log(x)
        return cast(Value, top if base is None else top / math.log(float(_real(base))))
    if name in ("cot", "sec", "csc"):
        below = {"cot": library.tan, "sec": library.cos, "csc": library.sin}[name](x)
        if abs(below) < 1e-12:
            raise Undefined(name)
        return cast(Value, 1 / below)
    inverse = {"arcsin": "asin", "arccos": "acos", "arctan": "atan"}
    return cast(Value, getattr(library, inverse.get(name, name))(x))


def _root(a: Value, degree: Value, is_complex: bool) -> Value:
    n = int(_whole(degree))
    if n <= 0 or n > 1_000:
        raise Undefined("degree of a root")
    if isinstance(a, Fraction) and n == 2 and a >= 0:
        above, below = math.isqrt(a.numerator), math.isqrt(a.denominator)
        if above**2 == a.numerator and below**2 == a.denominator:
            return Fraction(above, below)
    if isinstance(a, complex) or a < 0:
        if isinstance(a, complex) or n % 2 == 0:
            if not is_complex:
                raise Undefined("root of a negative number")
            return complex(a) ** (1 / n)
        return -math.pow(-a, 1 / n)
    return math.sqrt(a) if n == 2 else float(a) ** (1 / n)


def _factorial(a: Value) -> Value:
    n = int(_whole(a))
    if n < 0:
        raise Undefined("factorial of a negative number")
    if n > 2_000:
        raise TooLarge("a factorial")
    return Fraction(math.factorial(n))


def _binomial(a: Value, b: Value) -> Value:
    n, k = int(_whole(a)), int(_whole(b))
    if n < 0 or n > 5_000:
        raise Undefined("binomial") if n < 0 else TooLarge("a binomial")
    return Fraction(math.comb(n, k) if k >= 0 else 0)


def _whole(a: Value) -> Fraction:
    if not isinstance(a, Fraction) or a.denominator != 1:
        raise Undefined("not a whole number")
    return a


def _real(a: Value) -> Fraction | float:
    if isinstance(a, complex):
        raise Undefined("complex")
    return a


def _checked(a: Value) -> Value:
    if isinstance(a, Fraction) and a.numerator.bit_length() + a.denominator.bit_length() > 2 * MAX_BITS:
        raise TooLarge("a product")
    return a
