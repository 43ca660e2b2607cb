"""Pictures for a README or a talk: a reasoning trace with its planning tokens highlighted, and the main curves.

Letters are drawn as outlines, so that the highlights sit where the words are on any machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from hicra.errors import DataError, require
from hicra.report.draw import figure_image
from hicra.report.figures import build_figures
from hicra.report.plotting import new_figure, saved, styled
from hicra.report.runs import read_runs
from hicra.report.style import FUNCTIONS, PALETTES, Theme, function_role, visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MplFigure

MAIN_PANELS = ("held-out", "reward", "length", "perplexity-execution", "perplexity-planning", "semantic-gram-rarefied")
"""Panels of the picture of a comparison; those that the runs have."""

_SIZE, _LINE, _MARGIN = 14.0, 26.0, 30.0


class SpanLike(Protocol):
    """What `hicra.labels.Labeller.spans` yields: characters [start, end) of the text that are one gram."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def gram(self) -> str: ...


class _Piece(NamedTuple):
    x: float
    y: float
    width: float
    text: str
    span: tuple[int, int, str] | None


def render_trace_svg(text: str, spans: Iterable[SpanLike], **options: Any) -> str:
    """A highlighted trace as SVG text; arguments as in `render_trace_png` (without dpi)."""
    return _render_trace(text, spans, "svg", **options).decode()


def render_trace_png(text: str, spans: Iterable[SpanLike], *, dpi: int = 160, **options: Any) -> bytes:
    """A reasoning trace with its planning tokens highlighted, as a PNG.

    Args:
        text: the trace.
        spans: where the grams are, in order, not overlapping: what `Labeller(...).spans(text)` gives.
        dpi: resolution; 72 is one pixel a point.
        functions: gram text -> ``"deduction"``, ``"branching"`` or ``"backtracing"`` where known; gives the colours.
        title: a line above, or None.
        theme: ``"light"`` or ``"dark"``.
        width: in points.

    Raises:
        DataError: spans that overlap, are out of order or outside the text.
        MissingExtraError: matplotlib is not installed.
    """
    return _render_trace(text, spans, "png", dpi=dpi, **options)


def render_curves(
    run_dirs: Sequence[Path | str],
    *,
    names: Sequence[str] | None = None,
    panels: Sequence[str] = MAIN_PANELS,
    columns: int = 3,
    theme: Theme = "light",
    format: Literal["png", "svg", "pdf"] = "png",
    dpi: int = 160,
) -> bytes:
    """The main curves of runs, as one picture; the same definitions as in the report.

    Args:
        run_dirs, names: as in `write_report`.
        panels: keys of the panels; those that no run has are left out.
        columns: panels in a row.
        theme, format, dpi: of the picture.
    """
    runs = read_runs([Path(p) for p in run_dirs], names)
    return figure_image(build_figures(runs), runs, format=format, theme=theme, columns=columns, panels=panels, dpi=dpi)


def _render_trace(
    text: str,
    spans: Iterable[SpanLike],
    format: Literal["png", "svg", "pdf"],
    *,
    functions: Mapping[str, str | None] | None = None,
    title: str | None = None,
    theme: Theme = "light",
    width: float = 860,
    dpi: int = 160,
) -> bytes:
    roles = _roles(text, spans, functions or {})
    palette = PALETTES[theme]
    with styled(theme, hashsalt="trace", outlines=True):
        measure = _measure()
        pieces, bottom = _set(text, roles, width - 2 * _MARGIN, measure)
        head = 44.0 if title else 0.0
        shown = [r for r in (*FUNCTIONS, "planning") if r in {role for _, _, role in roles}]
        height = 2 * _MARGIN + head + bottom + (38 if shown else 0)
        figure = new_figure(width, height, palette["paper"])
        top = height - _MARGIN - head
        if title:
            _text(figure, _MARGIN, height - _MARGIN - 16, visible(title), palette["ink"], size=17, weight="bold")
        for (span, y), group in groupby(pieces, key=lambda piece: (piece.span, piece.y)):
            line = list(group)
            if span is not None:
                _highlight(
                    figure, _MARGIN + line[0].x, top - y, line[-1].x + line[-1].width - line[0].x, palette[span[2]]
                )
            for piece in line:
                _text(figure, _MARGIN + piece.x, top - y, piece.text, palette["ink"])
        x = _MARGIN + 3
        for role in shown:
            name = "planning tokens" if role == "planning" else role
            _highlight(figure, x, _MARGIN - 8, measure(name), palette[role])
            _text(figure, x, _MARGIN - 8, name, palette["ink"])
            x += measure(name) + 26
        return saved(figure, format, dpi=dpi)


def _roles(text: str, spans: Iterable[SpanLike], functions: Mapping[str, str | None]) -> list[tuple[int, int, str]]:
    out: list[tuple[int, int, str]] = []
    for span in spans:
        if not (out[-1][1] if out else 0) <= span.start < span.end <= len(text):
            raise DataError(
                "spans must lie in the text, in order and without overlap",
                expected=f"start and end within {out[-1][1] if out else 0}..{len(text)}",
                got=f"{span.start}..{span.end}",
            )
        out.append((span.start, span.end, function_role(functions.get(span.gram))))
    return out


def _measure() -> Callable[[str], float]:
    """Width of a text in points."""
    backend = require("matplotlib.backends.backend_agg", "report")
    fine = 16  # measured large: at reading size, letters are fitted to whole pixels, which outlines are not
    renderer = backend.RendererAgg(16, 16, 72 * fine)
    font = require("matplotlib.font_manager", "report").FontProperties(size=_SIZE)
    known: dict[str, float] = {}

    def width(text: str) -> float:
        if text not in known:
            known[text] = float(renderer.get_text_width_height_descent(text, font, ismath=False)[0]) / fine
        return known[text]

    return width


def _set(
    text: str, roles: Sequence[tuple[int, int, str]], width: float, measure: Callable[[str], float]
) -> tuple[list[_Piece], float]:
    """Words on lines of at most `width`; a highlight that meets the end of a line goes on in the next."""
    space = measure("a a") - 2 * measure("a")
    pieces: list[_Piece] = []
    x, y = 0.0, _LINE * 0.75
    for word in re.finditer(r"\n+|[^\s]+", text):
        if word[0].startswith("\n"):
            if x > 0:
                x, y = 0.0, y + _LINE * (1 if len(word[0]) == 1 else 1.45)
            continue
        parts = _parts(word.start(), word.end(), roles)
        total = sum(measure(visible(text[a:b])) for a, b, _ in parts)
        if x > 0 and x + total > width:
            x, y = 0.0, y + _LINE
        for a, b, span in parts:
            shown = visible(text[a:b])
            pieces.append(_Piece(x, y, measure(shown), shown, span))
            x += measure(shown)
        x += space
    return pieces, y + _LINE * 0.4


def _parts(
    start: int, end: int, roles: Sequence[tuple[int, int, str]]
) -> list[tuple[int, int, tuple[int, int, str] | None]]:
    """A word cut where highlights begin and end."""
    out: list[tuple[int, int, tuple[int, int, str] | None]] = []
    at = start
    for span in roles:
        if span[1] <= at or span[0] >= end:
            continue
        if span[0] > at:
            out.append((at, span[0], None))
        out.append((max(at, span[0]), min(end, span[1]), span))
        at = min(end, span[1])
    if at < end:
        out.append((at, end, None))
    return out


def _highlight(figure: MplFigure, x: float, y: float, width: float, colour: str) -> None:
    """A tinted, underlined box behind the text that starts at (x, y), in points from the bottom left."""
    from matplotlib.patches import Rectangle

    scale = figure.get_size_inches() * 72
    for tall, alpha in ((20.0, 0.17), (1.8, 1.0)):
        corner = ((x - 2.5) / scale[0], (y - 5.5) / scale[1])
        box = Rectangle(corner, (width + 5) / scale[0], tall / scale[1], facecolor=colour, alpha=alpha, linewidth=0)
        figure.add_artist(box)  # in units of the figure


def _text(
    figure: MplFigure, x: float, y: float, text: str, colour: str, *, size: float = _SIZE, weight: str = "normal"
) -> None:
    scale = figure.get_size_inches() * 72
    figure.text(
        x / scale[0], y / scale[1], text, color=colour, fontsize=size, fontweight=weight, ha="left", va="baseline"
    )
