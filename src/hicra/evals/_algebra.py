"""Equality of two expressions by math-verify: the last resort for what `hicra.evals._compare` cannot read.

Runs only inside a worker of `hicra.evals.pool`: math-verify's own time limit is an alarm signal, which is wrong outside
the main thread and helpless against ``2^{1000000000}``, so it is switched off here and the worker is killed instead.
"""

from __future__ import annotations

import re
from typing import Any

from hicra.evals._latex import AND, END, OR, ROW, TEXT
from hicra.evals._values import ROUNDED

_POWER_TOWER = re.compile(r"\^\s*\{?\s*\(?\d{6,}")


def algebraic(answer: str, gold: str) -> bool:
    """Whether math-verify takes two cleaned expressions as equal, and as relatively equal where both are numbers."""
    if _POWER_TOWER.search(answer) and not _POWER_TOWER.search(gold):
        return False
    parsed_gold, parsed = _parsed(_latex(gold)), _parsed(_latex(answer))
    if not parsed_gold or not parsed:
        return False
    from math_verify import verify

    if not verify(parsed_gold, parsed, timeout_seconds=None):
        return False
    return _relatively_close(parsed_gold[0], parsed[0])


def warm_up() -> None:
    """Imports math-verify and builds its parser, the slow part of the first call."""
    algebraic(r"\frac{1}{2}", r"\int_0^1 x\,dx")


def _parsed(latex: str) -> list[Any]:
    from math_verify import LatexExtractionConfig, parse

    return parse(  # type: ignore[no-any-return]
        f"${latex}$", [LatexExtractionConfig()], fallback_mode="no_fallback", parsing_timeout=None
    )


def _latex(cleaned: str) -> str:
    text = cleaned.replace(TEXT, r"\text{").replace(END, "}").replace(OR, ",").replace(AND, ",").replace(ROW, r"\\")
    text = re.sub(r"(\\[A-Za-z]+) (?=[^A-Za-z])", r"\1", text)
    return text.replace("°", r"^{\circ}").replace("¤", "").replace("%", r"\%")


def _relatively_close(gold: Any, answer: Any) -> bool:
    """math-verify rounds decimals to six places, so that all tiny numbers are equal to it."""
    try:
        if not (gold.is_number and answer.is_number):
            return True
        a, g = complex(answer.evalf()), complex(gold.evalf())
    except (AttributeError, TypeError, ValueError, OverflowError):
        return True
    return abs(a - g) <= 2 * ROUNDED * max(abs(a), abs(g)) or abs(a - 100 * g) < 1e-9 or abs(100 * a - g) < 1e-9
