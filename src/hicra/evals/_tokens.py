"""Tokens of a cleaned expression, and which commands are symbols and which are functions."""

from __future__ import annotations

import re

from hicra.evals._latex import END, TEXT

MAX_TOKENS = 1_500
_GREEK_LIST = """
alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi chi psi omega
Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega hbar ell odot oplus mho aleph nabla partial max min
star infty triangle circ parallel perp
"""
GREEK = frozenset(_GREEK_LIST.split())
_FUNCTIONS_LIST = """
sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log lg exp gcd lcm min max Re Im arg det
"""
FUNCTIONS = frozenset(_FUNCTIONS_LIST.split())
INVERSE = {"sin": "arcsin", "cos": "arccos", "tan": "arctan"}
ALWAYS_FUNCTIONS = frozenset("fgh")
DECORATED = {"dot": "'", "ddot": "''", "vec": "", "hat": "^", "bar": "-", "tilde": "~", "overrightarrow": ""}

_TOKEN = re.compile(
    rf"""
      (?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+(?![\d.]*[A-Za-z^]))?)
    | (?P<command>\\[A-Za-z]+)
    | (?P<text>{TEXT}[^{END}]*{END})
    | (?P<letter>[A-Za-z])
    | (?P<mark>[-+*/^_(){{}}\[\]|!',%°])
    """,
    re.VERBOSE,
)


class Unreadable(ValueError):
    """The text is not an expression that this reader knows."""


def tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        match = _TOKEN.match(text, at)
        if match is None or len(found) > MAX_TOKENS:
            raise Unreadable(f"not read: {text[at : at + 20]!r}")
        kind = match.lastgroup or ""
        found.append((kind, match[0]))
        at = match.end()
    return found


def word(text: str) -> str:
    name = text.strip(TEXT + END + " ")
    if len(name) > 30 or not re.fullmatch(r"\\?[\w+*',-]+|", name):
        raise Unreadable(f"{name[:20]!r} names nothing")
    return name
