"""The two consoles of the command line: results go to stdout, progress and remarks to stderr."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from rich.text import Text

    from hicra.labels.labeller import Span

out = Console()
err = Console(stderr=True)

_UNSEEN = {"Cc", "Cf", "Cs"}  # controls, directions and joiners, lone surrogates

FUNCTION_STYLES = {
    "deduction": "black on bright_cyan",
    "branching": "black on bright_yellow",
    "backtracing": "black on bright_magenta",
    None: "black on bright_green",
}
"""How a planning phrase is shown, by its function; None where the gram set does not say."""


def print_json(document: Any) -> None:
    """Print one JSON document on stdout, bare of colours and of line folding, for a machine to read."""
    print(json.dumps(document, ensure_ascii=False, allow_nan=False))


def visible(text: str) -> str:
    """The text with control characters replaced: model output must not steer the terminal (colours, titles, cursor)."""
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in _UNSEEN else "\ufffd" for c in text)


def highlighted(text: str, spans: Sequence[Span], functions: dict[str, str | None]) -> Text:
    """A text with its planning phrases coloured by function."""
    from rich.text import Text

    # `visible` keeps the length, so the spans' offsets stay right
    shown = Text(visible(text))
    for span in spans:
        shown.stylize(FUNCTION_STYLES[functions.get(span.gram)], span.start, span.end)
    return shown
