"""Figures and panels to matplotlib: SVG for the page, PNG, SVG or PDF for everything else.

panel_svg      one panel; colours are CSS variables, text is text, no style attribute and no id that could clash, so
               that it can stand in a page with a strict content security policy and follow the reader's theme
figure_image   all panels of one or more figures with titles, in one theme's colours
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hicra.report.inline_svg import inline_svg
from hicra.report.plotting import new_figure, saved, styled
from hicra.report.scales import x_limits, y_limits
from hicra.report.style import LIGHT, PALETTES, Theme, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hicra.report.figures import Figure, Mark, Panel
    from hicra.report.quantities import Curve
    from hicra.report.runs import Run

WIDTH, HEIGHT = 440, 250
"""Size of a panel in CSS pixels; 1 px is 1 pt of the drawing."""

_TOP, _BOTTOM, _LEFT = 10, 34, 46
_DASHES = ("solid", (0, (4, 2)), (0, (1, 1.6)))
_MAX_DOTS = 160
_LABEL_CHARS = 18


@dataclass(frozen=True, slots=True)
class Placed:
    """Where the axes are in the SVG (pixels from the top left) and what they span, for a pointer to read values."""

    left: float
    right: float
    top: float
    bottom: float
    x: tuple[float, float]
    y: tuple[float, float]


def panel_svg(panel: Panel, runs: Sequence[Run]) -> tuple[str, Placed]:
    """One panel as an SVG element to be placed inline; the same input gives the same bytes.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with styled("light", hashsalt=panel.key):
        figure = new_figure(WIDTH, HEIGHT)
        right = WIDTH - right_margin(panel, runs)
        ax = figure.add_axes((_LEFT / WIDTH, _BOTTOM / HEIGHT, (right - _LEFT) / WIDTH, 1 - (_TOP + _BOTTOM) / HEIGHT))
        draw_panel(ax, panel, runs, LIGHT)
        svg = inline_svg(figure, panel.key)
    return svg, Placed(_LEFT, right, _TOP, HEIGHT - _BOTTOM, ax.get_xlim(), ax.get_ylim())


def figure_image(
    figures: Sequence[Figure],
    runs: Sequence[Run],
    *,
    format: Literal["png", "svg", "pdf"] = "png",
    theme: Theme = "light",
    columns: int = 2,
    panels: Sequence[str] | None = None,
    dpi: int = 160,
) -> bytes:
    """Panels as one picture, e.g. for a paper or a README.

    Args:
        figures: what `figures.build_figures` gave.
        runs: the runs they were built from.
        format: ``"png"``, ``"svg"`` (text as outlines) or ``"pdf"``.
        theme: ``"light"`` or ``"dark"``.
        columns: panels in a row.
        panels: keys of the panels to show, in this order; None: all that have curves.
        dpi: resolution of a PNG.
    """
    found = {p.key: p for f in figures for p in f.panels if p.curves}
    chosen = list(found.values()) if panels is None else [found[key] for key in panels if key in found]
    columns = min(columns, max(1, len(chosen)))
    rows = max(1, -(-len(chosen) // columns))
    title_room = 30
    height = HEIGHT + title_room
    palette = PALETTES[theme]
    with styled(theme, hashsalt="figure", outlines=True):
        figure = new_figure(WIDTH * columns, height * rows, palette["paper"])
        for i, panel in enumerate(chosen):
            column, row = i % columns, i // columns
            left, base = WIDTH * column + _LEFT, height * (rows - 1 - row) + _BOTTOM
            size = (WIDTH - _LEFT - right_margin(panel, runs), HEIGHT - _TOP - _BOTTOM)
            box = (left / WIDTH / columns, base / height / rows, size[0] / WIDTH / columns, size[1] / height / rows)
            ax = figure.add_axes(box)
            draw_panel(ax, panel, runs, palette)
            ax.set_title(panel.title, loc="left", fontsize=12, fontweight="bold", color=palette["ink"], pad=14, x=0)
        return saved(figure, format, dpi=dpi)


def right_margin(panel: Panel, runs: Sequence[Run]) -> float:
    """Room for the names of the runs at the ends of their curves, in points."""
    longest = max((len(visible(runs[c.run].name, _LABEL_CHARS)) for c in panel.curves), default=0)
    return 16 + 6.6 * longest


def draw_panel(ax: Axes, panel: Panel, runs: Sequence[Run], palette: dict[str, str]) -> None:
    """Curves, marks, axes and names of one panel."""
    for x0, y0, x1, y1 in panel.guides:
        ax.plot((x0, x1), (y0, y1), color=palette["soft"], linewidth=0.9, linestyle=(0, (2, 2)))
    for curve in panel.curves:
        run = runs[curve.run]
        draw = _draw_points if panel.points else _draw_line
        draw(ax, curve, palette[run.role], _DASHES[run.dash])
    for mark in panel.marks:
        _draw_mark(ax, mark, panel, palette[runs[mark.run].role], palette["paper"])
    ax.set_xlim(x_limits(panel.curves))
    ax.set_ylim(panel.limits or y_limits(panel.curves, panel.unit))
    if panel.points:
        ax.margins(x=0)
        low, high = x_limits(panel.curves)
        ax.set_xlim(low - 0.02 * (high - low), high + 0.02 * (high - low))
    _axes(ax, panel, palette)
    _labels(ax, panel, runs, palette)


def _draw_line(ax: Axes, curve: Curve, colour: str, dash: Any) -> None:
    if curve.low is not None and curve.high is not None:
        ax.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.14, linewidth=0)
    if len(curve.x) <= _MAX_DOTS and not np.array_equal(curve.raw, curve.line, equal_nan=True):
        ax.plot(
            curve.x, curve.raw, linestyle="none", marker=".", markersize=4.4, color=colour, alpha=0.5, markeredgewidth=0
        )
    marker = "o" if np.isfinite(curve.line).sum() == 1 else None
    ax.plot(curve.x, curve.line, color=colour, linewidth=1.9, linestyle=dash, marker=marker, markersize=5)


def _draw_points(ax: Axes, curve: Curve, colour: str, dash: Any) -> None:
    if curve.low is not None and curve.high is not None:
        ax.vlines(curve.x, curve.low, curve.high, color=colour, alpha=0.4, linewidth=1.6)
    ax.plot(
        curve.x, curve.raw, color=colour, linewidth=1.5, linestyle=dash, marker="o", markersize=4.6, markeredgewidth=0
    )


def _draw_mark(ax: Axes, mark: Mark, panel: Panel, colour: str, paper: str) -> None:
    """A diamond on the run's line, with a bar over the steps where it may as well lie."""
    curve = next(c for c in panel.curves if c.run == mark.run)
    known = np.isfinite(curve.line)
    y = float(np.interp(mark.x, curve.x[known], curve.line[known]))
    if mark.low is not None and mark.high is not None:
        ax.hlines(y, mark.low, mark.high, color=colour, alpha=0.5, linewidth=4)
    ax.plot(
        [mark.x], [y], marker="D", markersize=6.5, color=colour, markeredgecolor=paper, markeredgewidth=1.4, zorder=5
    )


def _axes(ax: Axes, panel: Panel, palette: dict[str, str]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    ax.tick_params(length=0, pad=6)
    ax.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]))
    ax.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=not panel.x_share, steps=[1, 2, 5, 10]))
    if panel.x_share:
        ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.0f} %"))
    if panel.unit == "share":
        ticks = 100 * np.asarray(ax.yaxis.get_major_locator().tick_values(*ax.get_ylim()))
        places = next((n for n in (0, 1, 2) if np.allclose(ticks, ticks.round(n), rtol=0, atol=1e-6)), 3)
        ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.{places}f} %"))
    ax.grid(axis="y", color=palette["rule"], linewidth=0.8)
    ax.set_axisbelow(True)
    if panel.unit == "ratio" and ax.get_ylim()[0] < 1 < ax.get_ylim()[1]:
        ax.axhline(1, color=palette["soft"], linewidth=0.8, linestyle=(0, (2, 2)))
    # "step" once, under the end of the axis, in place of a centred label
    ax.annotate(panel.x_name, (1, 0), xycoords="axes fraction", xytext=(0, -27), textcoords="offset points",
                ha="right", va="baseline", fontsize=9.5, color=palette["soft"])  # fmt: skip


def _labels(ax: Axes, panel: Panel, runs: Sequence[Run], palette: dict[str, str]) -> None:
    """Names at the ends of their lines, pushed apart where they would overlap."""
    low, high = ax.get_ylim()
    height = HEIGHT - _TOP - _BOTTOM
    wanted = []
    for curve in panel.curves:
        known = np.flatnonzero(np.isfinite(curve.line))
        wanted.append((float(curve.line[known[-1]]) - low) / (high - low) * height)
    for curve, y in zip(panel.curves, spread(wanted, 14, 0, height), strict=True):
        run = runs[curve.run]
        ax.annotate(visible(run.name, _LABEL_CHARS), (1, y / height), xycoords="axes fraction", xytext=(9, 0),
                    textcoords="offset points", ha="left", va="center", color=palette[run.role], fontweight="bold",
                    annotation_clip=False)  # fmt: skip


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions as near as possible to `wanted`, in the same order, `gap` apart and within [low, high].

    >>> spread([10, 12, 50], 14, 0, 100)
    [4.0, 18.0, 50.0]
    """
    gap = min(gap, (high - low) / max(1, len(wanted) - 1))
    order = np.argsort(wanted, kind="stable")
    blocks: list[list[Any]] = []  # (indices, centre): runs of labels that touch
    for i in order.tolist():
        blocks.append([[i], float(wanted[i])])
        while True:
            members, centre = blocks[-1]
            half = gap * (len(members) - 1) / 2
            blocks[-1][1] = centre = min(max(centre, low + half), high - half)
            if len(blocks) < 2:
                break
            before, centre_before = blocks[-2]
            if centre - half - (centre_before + gap * (len(before) - 1) / 2) >= gap - 1e-9:
                break
            joined = before + members
            blocks[-2:] = [[joined, float(np.mean([wanted[j] for j in joined]))]]
    out = [0.0] * len(wanted)
    for members, centre in blocks:
        for k, i in enumerate(members):
            out[i] = centre + gap * (k - (len(members) - 1) / 2)
    return out
