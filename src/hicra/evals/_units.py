r"""Units of answers: what a number is followed by, and when two quantities with units are the same.

The policy:

1. A unit may be left out or added: ``12\text{ square units}`` is 12, 45 is ``45^\circ``, 28 is ``28\%``.
2. Two different units of one kind are converted: 3 m is 300 cm. Units of two kinds never match: 3 m is not 3 kg.
3. ``28\%`` is 28 and also 0.28; ``90^\circ`` is 90 and also ``\frac{\pi}{2}``.
4. A word that is no known unit counts as one when it is a short noun ("ways", "red balls"): up to three words, none of
   which changes the value ("or", "not", "at least" ...). "million" and its like multiply.
5. Letters outside ``\text{}`` are units only if they have two letters or more: ``6m`` is six times m.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

from hicra.evals._latex import END, TEXT

_TABLE = """
length m 1: m meter metre
length m 1/100: cm centimeter centimetre
length m 1/1000: mm millimeter millimetre
length m 1000: km kilometer kilometre
length m 1/1000000000: nm nanometer nanometre
length m 127/5000: in inch inche
length m 381/1250: ft foot feet
length m 1143/1250: yd yard
length m 201168/125: mi mile
length m 1/10000000000: angstrom
mass kg 1: kg kilogram
mass kg 1/1000: g gram gm
mass kg 1/1000000: mg milligram
mass kg 1000: tonne
mass kg 45359237/100000000: lb pound
mass kg 45359237/1600000000: oz ounce
time s 1: s sec second
time s 1/1000: ms millisecond
time s 1/1000000: microsecond
time s 1/1000000000: ns nanosecond
time s 60: min minute
time s 3600: h hr hour
time s 86400: day d
time s 604800: week wk
time month 1: month
time year 1: year yr
money dollar 1: dollar usd buck
money dollar 1/100: cent penny pennie
money euro 1: euro eur
angle degree 1: degree deg
angle radian 1: radian rad
share percent 1: percent pct percentage
volume l 1: l liter litre
volume l 1/1000: ml milliliter millilitre
temperature celsius 1: c celsius
temperature fahrenheit 1: f fahrenheit
temperature k 1: k kelvin
force n 1: n newton
energy j 1: j joule
energy j 1000: kj kilojoule
energy erg 1: erg ergs
energy ev 1: ev
power w 1: w watt
power w 1000: kw kilowatt
charge c 1: coulomb
potential v 1: v volt
current a 1: a amp ampere
resistance ohm 1: ohm
pressure pa 1: pa pascal
pressure pa 1000: kpa
pressure pa 101325: atm
frequency hz 1: hz hertz
amount mol 1: mol mole
speed mph 1: mph
distance pc 1: pc parsec
distance au 1: au
angle arcsecond 1: arcsec arcsecond
angle arcminute 1: arcmin arcminute
plain unit 1: unit
"""
_MODIFIERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3, "squared": 2, "cubed": 3}
MULTIPLIERS = {
    "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
}  # fmt: skip
_NO_NOUNS_LIST = """
or and not no non if when where with without but except least most more less than about approximately approx
around over under between to through is are was the answer correct incorrect wrong right either both neither
any all some none half quarter twice double times plus minus mod modulo for which that ignore accept accepted
true false solution solutions only exactly possible impossible infinite pi root factorial recurring repeating
choice option grade grader score up
"""
_NO_NOUNS = frozenset(_NO_NOUNS_LIST.split())
_EXPONENT = r"(?:\s*\^\s*(?:\{\s*(-?\d)\s*\}|(-?\d)))?"
_ANGLE_WITHIN = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![A-Za-z])[^%]*°$")
_TEXT_UNIT = rf"{TEXT}([^{END}{TEXT}]*){END}{_EXPONENT}"
_TRAILING = re.compile(
    rf"^(?P<value>.*[^\s/])??\s*(?P<unit>{_TEXT_UNIT}(?:\s*(?:/|\\cdot|\*)?\s*{_TEXT_UNIT})*)$", re.S
)
_PIECE = re.compile(rf"(/|\\cdot|\*)?\s*{_TEXT_UNIT}")
_BARE = re.compile(
    r"^(?P<value>.*[\d})\]!])\s*(?P<unit>[A-Za-z][A-Za-z.]+(?:[ /][A-Za-z]+|\s*\^\s*\{?-?\d\}?)*)$", re.S
)


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit as powers of base units and the number that converts to them; ``words``: a noun, no unit of the table."""

    powers: tuple[tuple[str, int], ...] = ()
    factor: Fraction = Fraction(1)
    words: bool = False

    @property
    def name(self) -> str | None:
        """The one base unit that it is, to the first power, or None."""
        return self.powers[0][0] if len(self.powers) == 1 and self.powers[0][1] == 1 else None


@dataclass(frozen=True, slots=True)
class Quantity:
    """A cleaned text without its unit. ``multiplier`` is what a word like "million" multiplies it by."""

    value: str
    unit: Unit | None = None
    multiplier: int = 1


PERCENT = Unit((("percent", 1),))
DEGREE = Unit((("degree", 1),))
DOLLAR = Unit((("dollar", 1),))
CELSIUS, FAHRENHEIT = Unit((("celsius", 1),)), Unit((("fahrenheit", 1),))


def quantity(text: str) -> Quantity:
    """Splits a cleaned text into its value and its unit, if it ends (or begins, for money) with one."""
    if match := re.match(r"^(-?)\s*¤\s*(?=\S)(.+)$", text, re.S):
        inner = quantity(match[1] + match[2])
        return Quantity(inner.value, inner.unit or DOLLAR, inner.multiplier)
    if (match := re.match(r"^(.*\S)\s*([%¤°])$", text, re.S)) and not _ANGLE_WITHIN.search(text):
        return Quantity(match[1], {"%": PERCENT, "¤": DOLLAR, "°": DEGREE}[match[2]])
    if match := re.match(rf"^(.*\S)\s*°\s*{TEXT}?\s*([CF])\s*{END}?$", text, re.S):
        return Quantity(match[1], CELSIUS if match[2] == "C" else FAHRENHEIT)
    if TEXT in text and (match := _TRAILING.match(text)) and match["value"]:
        pieces = [(sign, words, int(a or b or 1)) for sign, words, a, b in _PIECE.findall(match["unit"])]
        return _with(match["value"], pieces, text, nouns=True)
    if (match := _BARE.match(text)) and not re.search(r"\\[A-Za-z]+$", match["value"]):
        return _with(match["value"], [("", match["unit"], 1)], text, nouns=False)
    return Quantity(text)


def scale(a: Unit | None, g: Unit | None) -> Fraction | None:
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


def _with(value: str, pieces: list[tuple[str, str, int]], text: str, *, nouns: bool) -> Quantity:
    words: list[tuple[str, int]] = []
    for sign, phrase, power in pieces:
        parts = _split(phrase)
        below = sign in ("/", "per")
        for i, (word, exponent) in enumerate(parts):
            exponent *= power if i == len(parts) - 1 else 1
            words.append((word, -exponent if below else exponent))
    multiplier = 1
    while words and words[0][0] in MULTIPLIERS:
        multiplier *= MULTIPLIERS[words.pop(0)[0]]
    if not words:
        return Quantity(value, None, multiplier) if multiplier > 1 else Quantity(text)
    unit = _known(words) or (_noun(words) if nouns else None)
    return Quantity(text) if unit is None else Quantity(value, unit, multiplier)


def _split(phrase: str) -> list[tuple[str, int]]:
    """Words of a phrase with their powers: "square feet per second" is [("feet", 2), ("second", -1)]."""
    out: list[tuple[str, int]] = []
    power, sign = 1, 1
    for token in re.findall(r"/|[A-Za-z]+\.?[A-Za-z]*|\^\s*\{?-?\d\}?|\S", re.sub(r"\\(?:cdot|times)", " ", phrase)):
        word = token.rstrip(".")
        if token == "/" or word == "per":
            sign = -1
        elif token.startswith("^") and token != "^" and out:  # a caret alone is no power, and no unit either
            out[-1] = (out[-1][0], out[-1][1] * int(re.sub(r"[^-\d]", "", token)))
        elif word.lower() in ("squared", "cubed") and out:
            out[-1] = (out[-1][0], out[-1][1] * _MODIFIERS[word.lower()])
        elif word.lower() in _MODIFIERS:
            power = _MODIFIERS[word.lower()]
        else:
            out.append((word, sign * power))
            power = 1
    return out


def _known(words: list[tuple[str, int]]) -> Unit | None:
    powers: dict[str, int] = {}
    factor = Fraction(1)
    for word, exponent in words:
        found = _table().get(word.lower()) or _table().get(re.sub(r"s$", "", word.lower()))
        if found is None:
            return None
        powers[found[0]] = powers.get(found[0], 0) + exponent
        factor *= found[1] ** exponent
    return Unit(tuple(sorted((n, p) for n, p in powers.items() if p)), factor)


def _noun(words: list[tuple[str, int]]) -> Unit | None:
    names = [word.lower() for word, _ in words]
    if len(names) > 3 or any(not re.fullmatch(r"[a-z]+", name) or name in _NO_NOUNS for name in names):
        return None
    if any(len(name) < 2 for name in names):
        return None
    return Unit(((" ".join(re.sub(r"s$", "", name) for name in names), 1),), words=True)


@cache
def _table() -> dict[str, tuple[str, Fraction]]:
    table = {}
    for line in _TABLE.strip().splitlines():
        kind, _, names = line.partition(":")
        _, base, factor = kind.split()
        for name in names.split():
            table[name] = (base, Fraction(factor))
    return table
