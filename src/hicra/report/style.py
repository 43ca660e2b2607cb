"""Colours and type: one table for the SVG figures, the page and the README's pictures.

A figure is drawn in the light theme's hex values. In the page every one of them becomes the CSS variable of its role,
so the same drawing follows the reader's theme. The hues of runs can be told apart with the common kinds of colour
blindness (blue and orange first); no meaning hangs on hue alone (direct labels, dashes, underlines).
"""

from __future__ import annotations

from typing import Literal

Theme = Literal["light", "dark"]

N_RUN_COLOURS = 7

LIGHT = {
    "paper": "#fefefd",
    "card": "#f6f6f4",
    "ink": "#17191e",
    "soft": "#5c636f",
    "rule": "#e3e4e2",
    "baseline": "#767d89",
    "run0": "#0b62c4",
    "run1": "#c2500a",
    "run2": "#0d7a5f",
    "run3": "#8a3ea8",
    "run4": "#997009",
    "run5": "#b3266c",
    "run6": "#357692",
    "deduction": "#1f6fd0",
    "branching": "#c97a06",
    "backtracing": "#b8336f",
    "planning": "#11866b",
    "heat": "#6d3fc4",
    "positive": "#1668c7",
    "negative": "#c4540b",
}
"""Role -> colour; every value is unique, since `draw` finds the role of a colour by its value."""

DARK = {
    "paper": "#111317",
    "card": "#191c22",
    "ink": "#eceef2",
    "soft": "#a0a8b6",
    "rule": "#2a2f38",
    "baseline": "#9097a4",
    "run0": "#6cb1ff",
    "run1": "#ff9c56",
    "run2": "#4fcfa7",
    "run3": "#cf9cff",
    "run4": "#e0bb4e",
    "run5": "#ff87b9",
    "run6": "#7dc8e1",
    "deduction": "#6aaeff",
    "branching": "#f2b04a",
    "backtracing": "#ff82b4",
    "planning": "#45cba6",
    "heat": "#b293ff",
    "positive": "#69adff",
    "negative": "#ff9a52",
}

PALETTES: dict[Theme, dict[str, str]] = {"light": LIGHT, "dark": DARK}

FUNCTIONS = ("deduction", "branching", "backtracing")
"""What a gram can do to the flow of a solution, as far as the set says it."""

SANS = ("Inter", "Noto Sans", "Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans")
"""Fonts for the pictures, best first; DejaVu Sans comes with matplotlib."""


def function_role(function: str | None) -> str:
    """Colour role of a gram's function; one colour for all whose function is unknown."""
    return function if function in FUNCTIONS else "planning"


def css_variables(theme: Theme) -> str:
    """The palette as CSS custom properties."""
    return "".join(f"--{role}:{value};" for role, value in PALETTES[theme].items())


_CONTROLS = {*range(0x20), *range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)}


def visible(text: str, limit: int | None = None, *, keep: str = "") -> str:
    """`text` with control and direction characters made visible, cut to `limit` characters.

    A right-to-left override in a run's name would else turn the words around it, and control characters break XML.

    Args:
        text: anything.
        limit: longest result, the ellipsis included; None: all of it.
        keep: characters to leave alone, e.g. newlines in a completion.
    """
    shown = "".join(f"‹U+{ord(c):04X}›" if c not in keep and _is_control(c) else c for c in text)
    return shown if limit is None or len(shown) <= limit else shown[: limit - 1] + "…"


def _is_control(character: str) -> bool:
    code = ord(character)
    return code in _CONTROLS or 0xD800 <= code < 0xE000 or code in (0xFFFE, 0xFFFF)
