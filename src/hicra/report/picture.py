"""Pictures that are no curves over steps: dots with intervals, tables of shares, spans of time.

A picture paints itself into a box of its own size, so that the same drawing stands in the page (`picture_svg`) and on a
sheet for a paper (`hicra.report.sheet`). Spots tell a pointer what lies where; `head` and `rows` say the same as text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from hicra.report.inline_svg import inline_svg
from hicra.report.plotting import new_figure, styled
from hicra.report.style import LIGHT, visible
from hicra.report.words import value_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as MplFigure

    from hicra.report.stats import Floats

WIDTH = 440
"""Width of every picture in CSS pixels, as wide as a panel."""

_LABELS = 118
_ROW = 24


@dataclass(frozen=True, slots=True)
class Canvas:
    """A box on a matplotlib figure; all lengths in points (1 pt is 1 px of the page), y from the top of the box."""

    figure: MplFigure
    left: float
    bottom: float
    width: float
    height: float
    palette: dict[str, str]

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        """Axes whose top left corner is at (x, y)."""
        w, h = self.figure.get_size_inches() * 72
        box = ((self.left + x) / w, (self.bottom + self.height - y - height) / h, width / w, height / h)
        return self.figure.add_axes(box)

    def text(self, x: float, y: float, text: str, *, colour: str = "ink", **options: Any) -> None:
        """Text whose baseline starts at (x, y)."""
        w, h = self.figure.get_size_inches() * 72
        at = ((self.left + x) / w, (self.bottom + self.height - y) / h)
        self.figure.text(*at, text, color=self.palette[colour], **{"fontsize": 10, "va": "baseline", **options})


@dataclass(frozen=True, slots=True)
class Spot:
    """A rectangle in pixels from the top left, and what to say of it."""

    x: float
    y: float
    width: float
    height: float
    says: str


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture.

    Attributes:
        key: unique name, fit for an id.
        title: what is shown, in words.
        height: in CSS pixels; the width is `WIDTH`.
        paint: draws it.
        head, rows: the same as a table.
        findings: sentences computed from the data.
        spots: what a pointer can ask about.
    """

    key: str
    title: str
    height: float
    paint: Callable[[Canvas], None]
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    findings: tuple[str, ...] = ()
    spots: tuple[Spot, ...] = ()


def picture_svg(picture: Picture) -> str:
    """The picture as an SVG element to be placed inline, its colours CSS variables.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with styled("light", hashsalt=picture.key):
        figure = new_figure(WIDTH, picture.height)
        picture.paint(Canvas(figure, 0, 0, WIDTH, picture.height, LIGHT))
        return inline_svg(figure, picture.key)


# --- dots with intervals ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Dot:
    """An estimate with its interval; `low` and `high` are NaN where it has none. `role` gives the colour."""

    value: float
    low: float
    high: float
    role: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """One pair of axes beside the row labels.

    Attributes:
        name: heading.
        dots: for each row, its dots, top to bottom.
        limits: of the x axis.
        at: where "no effect" is, a dashed line; None: nowhere.
        unit: as of a `Panel`; ``"odds"`` is a ratio on a logarithmic axis.
    """

    name: str
    dots: Sequence[Sequence[Dot]]
    limits: tuple[float, float]
    at: float | None = None
    unit: str = ""


def dots_picture(
    key: str, title: str, rows: Sequence[str], columns: Sequence[Column], *, findings: Sequence[str] = ()
) -> Picture:
    """Rows of dots with intervals, in one column or a few."""
    most = max((len(dots) for column in columns for dots in column.dots), default=1)
    row = max(_ROW, 11 * most + 10)
    top, gap = 22, 16
    width = (WIDTH - _LABELS - gap * len(columns)) / len(columns)
    height = top + row * len(rows) + 26

    def paint(canvas: Canvas) -> None:
        for r, name in enumerate(rows):
            canvas.text(
                _LABELS - 8, top + row * (r + 0.5) + 4, visible(name, 19), ha="right", fontsize=10.2, colour="ink"
            )
        for c, column in enumerate(columns):
            x = _LABELS + (width + gap) * c + gap / 2
            canvas.text(x, 12, column.name, colour="soft", fontsize=9.5)
            _paint_dots(canvas.axes(x, top, width, row * len(rows)), column, canvas.palette)

    spots, table = [], []
    for r, name in enumerate(rows):
        for c, column in enumerate(columns):
            x = _LABELS + (width + gap) * c + gap / 2
            dots = [d for d in column.dots[r] if np.isfinite(d.value)]
            said = [f"{f'{d.name}: ' if d.name else ''}{_dot_text(d, column.unit)}" for d in dots]
            head = f"{visible(name, 60)}, {column.name}" if column.name else visible(name, 60)
            if said:
                spots.append(Spot(x, top + row * r, width, row, "\n".join([head, *said])))
            table += [
                (visible(name, 80), column.name, d.name or "–", _dot_text(d, column.unit))
                for d in dots
            ]  # fmt: skip
    return Picture(key, title, height, paint, ("", "", "run", ""), tuple(table), tuple(findings), tuple(spots))


def _paint_dots(ax: Axes, column: Column, palette: dict[str, str]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    n = len(column.dots)
    low, high = column.limits
    if column.unit == "odds":
        ax.set_xscale("log")
    ax.set_xlim(low, high)
    ax.set_ylim(n, 0)
    for r in range(n):
        ax.axhline(r + 0.5, color=palette["rule"], linewidth=0.8)
    if column.at is not None:
        ax.axvline(column.at, color=palette["soft"], linewidth=0.9, linestyle=(0, (2, 2)))
    for r, dots in enumerate(column.dots):
        for i, d in enumerate(dots):
            if not np.isfinite(d.value):
                continue
            y = r + 0.5 + (i - (len(dots) - 1) / 2) * 0.72 / max(2, len(dots))
            if np.isfinite(d.low) and np.isfinite(d.high):
                ends = max(d.low, low), min(d.high, high)
                ax.hlines(y, *ends, color=palette[d.role], alpha=0.5, linewidth=2.4)
            faint = not (np.isfinite(d.low) and np.isfinite(d.high))
            ax.plot(
                [min(max(d.value, low), high)], [y], marker="o", markersize=5.6, color=palette[d.role],
                markerfacecolor=palette["paper"] if faint else palette[d.role], markeredgewidth=1.2, clip_on=False,
            )  # fmt: skip
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    ax.tick_params(length=0, pad=5, labelsize=9)
    ax.yaxis.set_major_locator(NullLocator())
    ax.xaxis.set_minor_locator(NullLocator())
    if column.unit == "odds":
        ticks = [t for t in (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100) if low <= t <= high]
        ax.xaxis.set_major_locator(FixedLocator(ticks))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    else:
        ax.xaxis.set_major_locator(MaxNLocator(nbins=4 if ax.get_position().width > 0.4 else 3, steps=[1, 2, 5, 10]))
        if column.unit == "share":
            ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.0f} %"))
        else:
            ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}".replace("-", "−")))


def _dot_text(d: Dot, unit: str) -> str:
    unit = "" if unit == "odds" else unit
    if not (np.isfinite(d.low) and np.isfinite(d.high)):
        return f"{value_text(d.value, unit)} (no interval)"
    return f"{value_text(d.value, unit)} ({value_text(d.low, unit)} to {value_text(d.high, unit)})"


# --- shares in a grid -------------------------------------------------------------------------------------------------


def grid_picture(
    key: str,
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    shares: Floats,
    says: Callable[[int, int], str],
    *,
    role: str = "planning",
    findings: Sequence[str] = (),
) -> Picture:
    """Shares (R, C) as tinted cells; those of 5 % and more as numbers too. NaN rows are left blank.

    Args:
        key, title, findings: as of a `Picture`.
        rows, columns: names.
        shares: (R, C) in [0, 1].
        says: what to tell of a cell.
        role: colour.
    """
    head, cell = 92.0, (WIDTH - _LABELS - 6) / max(1, len(columns))
    row = min(26.0, max(19.0, cell * 0.8))
    height = head + row * len(rows) + 6

    def paint(canvas: Canvas) -> None:
        from matplotlib.patches import Rectangle

        ax = canvas.axes(_LABELS, head, cell * len(columns), row * len(rows))
        ax.set_xlim(0, len(columns))
        ax.set_ylim(len(rows), 0)
        ax.axis("off")
        for r, name in enumerate(rows):
            canvas.text(_LABELS - 8, head + row * (r + 0.5) + 3.5, visible(name, 19), ha="right", fontsize=10.2)
            for c in range(len(columns)):
                share = float(shares[r, c])
                if not np.isfinite(share):
                    continue
                tint = Rectangle((c, r), 1, 1, facecolor=canvas.palette[role], alpha=round(0.04 + 0.62 * share, 3))
                ax.add_patch(tint)
                if share >= 0.05:
                    ax.text(c + 0.5, r + 0.5, f"{100 * share:.0f}", ha="center", va="center", fontsize=9,
                            color=canvas.palette["ink"])  # fmt: skip
        for c, name in enumerate(columns):
            canvas.text(_LABELS + cell * (c + 0.5) + 3, head - 6, visible(name, 17), rotation=48, ha="left",
                        rotation_mode="anchor", fontsize=9.5)  # fmt: skip

    spots = [
        Spot(_LABELS + cell * c, head + row * r, cell, row, says(r, c))
        for r in range(len(rows))
        for c in range(len(columns))
        if np.isfinite(shares[r, c])
    ]
    table = [
        (visible(name, 80), *(value_text(float(v), "share") for v in shares[r]))
        for r, name in enumerate(rows)
    ]  # fmt: skip
    return Picture(
        key,
        title,
        height,
        paint,
        ("", *(visible(c, 80) for c in columns)),
        tuple(table),
        tuple(findings),
        tuple(spots),
    )


# --- spans of steps ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Span:
    """From step `begin` to step `end`, with the intervals of both ends where they have one; hatched: a second kind."""

    begin: float
    end: float
    begin_low: float | None = None
    begin_high: float | None = None
    end_low: float | None = None
    end_high: float | None = None
    says: str = ""
    hatched: bool = False


@dataclass(frozen=True, slots=True)
class SpanRow:
    """The spans of one row, and its colour."""

    name: str
    role: str
    spans: tuple[Span, ...] = field(default=())


def spans_picture(
    key: str, title: str, rows: Sequence[SpanRow], steps: tuple[float, float], *, findings: Sequence[str] = ()
) -> Picture:
    """Bars over training steps; plain ones and hatched ones lie on two tracks of a row."""
    top, row = 4.0, 44.0
    width = WIDTH - _LABELS - 18
    height = top + row * len(rows) + 30
    scale = width / max(1e-9, steps[1] - steps[0])

    def paint(canvas: Canvas) -> None:
        from matplotlib.ticker import MaxNLocator

        ax = canvas.axes(_LABELS, top, width, row * len(rows))
        ax.set_xlim(steps)
        ax.set_ylim(len(rows), 0)
        for r, one in enumerate(rows):
            canvas.text(_LABELS - 10, top + row * (r + 0.5) + 4, visible(one.name, 20), ha="right", fontsize=9.5,
                        fontweight="bold", colour=one.role)  # fmt: skip
            ax.axhline(r + 1, color=canvas.palette["rule"], linewidth=0.8)
            for span in one.spans:
                y = r + (0.68 if span.hatched else 0.32)
                _paint_span(ax, span, y, canvas.palette[one.role], canvas.palette["ink"])
        for side in ("top", "right", "left"):
            ax.spines[side].set_visible(False)
        ax.tick_params(length=0, pad=5, labelsize=9.5)
        ax.yaxis.set_visible(False)
        ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, steps=[1, 2, 5, 10]))
        canvas.text(WIDTH - 18, height - 2, "training step", ha="right", fontsize=9.5, colour="soft")

    spots = [
        Spot(
            _LABELS + (span.begin - steps[0]) * scale,
            top + row * (r + (0.52 if span.hatched else 0.16)),
            max(6.0, (span.end - span.begin) * scale),
            row * 0.32,
            span.says,
        )
        for r, one in enumerate(rows)
        for span in one.spans
    ]
    table = [(visible(one.name, 80), span.says) for one in rows for span in one.spans]
    return Picture(key, title, height, paint, ("run", ""), tuple(table), tuple(findings), tuple(spots))


def _paint_span(ax: Axes, span: Span, y: float, colour: str, ink: str) -> None:
    from matplotlib.patches import Rectangle

    ax.add_patch(
        Rectangle(
            (span.begin, y - 0.11),
            span.end - span.begin,
            0.22,
            facecolor=colour,
            linewidth=1.1,
            alpha=0.28 if span.hatched else 0.62,
        )
    )
    if span.hatched:
        ax.hlines(y, span.begin, span.end, color=colour, linewidth=1.6, linestyle=(0, (4, 2)))
    for at, low, high in (
        (span.begin, span.begin_low, span.begin_high),
        (span.end, span.end_low, span.end_high),
    ):
        if low is not None and high is not None:
            ax.hlines(y, low, high, color=ink, linewidth=1.1)
            ax.vlines([low, at, high], y - 0.06, y + 0.06, color=ink, linewidth=1.1)
