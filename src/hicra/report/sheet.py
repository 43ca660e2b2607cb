"""Panels and pictures on one sheet, as a PNG, SVG or PDF for a paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from hicra.report.draw import HEIGHT, WIDTH, draw_panel, right_margin
from hicra.report.figures import Panel
from hicra.report.picture import Canvas, Picture
from hicra.report.plotting import new_figure, saved, styled
from hicra.report.style import PALETTES, Theme, visible

if TYPE_CHECKING:
    from hicra.report.runs import Run

_TITLE = 30
_TOP, _BOTTOM, _LEFT, _GAP = 10, 34, 46, 24


def sheet(
    items: Sequence[Panel | Picture],
    runs: Sequence[Run],
    *,
    format: Literal["png", "svg", "pdf"] = "pdf",
    theme: Theme = "light",
    columns: int = 2,
    dpi: int = 200,
) -> bytes:
    """Draw items left to right, top to bottom.

    Args:
        items: panels that have curves, and pictures.
        runs: the runs that they were built from.
        format: ``"png"``, ``"svg"`` (text as outlines) or ``"pdf"`` (text as text, fonts embedded).
        theme: ``"light"`` or ``"dark"``.
        columns: items in a row.
        dpi: resolution of a PNG.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    columns = max(1, min(columns, len(items)))
    rows = [items[i : i + columns] for i in range(0, len(items), columns)]
    heights = [_TITLE + max(_height(item) for item in row) for row in rows]
    width, height = WIDTH * columns + _GAP * (columns - 1), sum(heights) + _GAP * (len(rows) - 1)
    palette = PALETTES[theme]
    with styled(theme, hashsalt="sheet", outlines=True):
        figure = new_figure(width, height, palette["paper"])
        top = float(height)
        for row, tall in zip(rows, heights, strict=True):
            for c, item in enumerate(row):
                bottom = top - _TITLE - _height(item)
                _place(item, Canvas(figure, (WIDTH + _GAP) * c, bottom, WIDTH, _height(item), palette), runs)
            top -= tall + _GAP
        return saved(figure, format, dpi=dpi)


def _height(item: Panel | Picture) -> float:
    return HEIGHT if isinstance(item, Panel) else item.height


def _place(item: Panel | Picture, canvas: Canvas, runs: Sequence[Run]) -> None:
    unit = getattr(item, "unit", "")
    title = f"{item.title}, {unit}" if unit in ("nats", "bits", "tokens") else item.title
    canvas.text(4, -14, visible(title, 76), fontsize=11.5, fontweight="bold")
    if isinstance(item, Picture):
        item.paint(canvas)
        return
    width = WIDTH - _LEFT - right_margin(item, runs)
    draw_panel(canvas.axes(_LEFT, _TOP, width, HEIGHT - _TOP - _BOTTOM), item, runs, canvas.palette)
