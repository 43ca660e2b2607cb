"""matplotlib as every drawing here uses it: our style, no global state, files without a date."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hicra.errors import require
from hicra.report.style import PALETTES, SANS, Theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MplFigure


@contextmanager
def styled(theme: Theme, *, hashsalt: str, outlines: bool = False) -> Iterator[None]:
    """Settings for what is drawn inside.

    Args:
        theme: whose colours axes and ticks have.
        hashsalt: of ids in an SVG; the same one gives the same bytes.
        outlines: text as outlines, for files that stand alone; otherwise text stays text.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    matplotlib = require("matplotlib", "report")
    require("matplotlib.figure", "report")
    palette = PALETTES[theme]
    settings = {
        "svg.fonttype": "path" if outlines else "none",
        "svg.hashsalt": hashsalt,
        "font.family": font_families() if outlines else ["DejaVu Sans"],
        "font.size": 11,
        "text.parse_math": False,  # a run named $x$ is a name, not a formula
        "text.usetex": False,
        "axes.facecolor": "none",
        "axes.edgecolor": palette["rule"],
        "axes.labelcolor": palette["soft"],
        "xtick.color": palette["soft"],
        "ytick.color": palette["soft"],
        "axes.unicode_minus": True,
        "path.simplify": True,
        "path.simplify_threshold": 0.3,
        "pdf.fonttype": 42,
    }
    ours = {**matplotlib.rcParamsDefault, "backend": matplotlib.rcParams["backend"], **settings}
    with matplotlib.rc_context(ours), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield


def font_families() -> list[str]:
    """The installed ones among the fonts we like; matplotlib complains of every family that it cannot find."""
    manager = require("matplotlib.font_manager", "report").fontManager
    there = {font.name for font in manager.ttflist}
    return [name for name in SANS if name in there] or ["DejaVu Sans"]


def new_figure(width: float, height: float, colour: str = "none") -> MplFigure:
    """A figure of a size in points, without pyplot: no global state, no display."""
    from matplotlib.figure import Figure as MplFigure

    return MplFigure(figsize=(width / 72, height / 72), dpi=72, facecolor=colour)


def saved(figure: MplFigure, format: str, **options: Any) -> bytes:
    """A figure's file, to be called inside `styled`: the same drawing gives the same bytes on another day.

    Args:
        figure: from `new_figure`; the file has its colour.
        format: ``"png"``, ``"svg"`` or ``"pdf"``.
        options: of `savefig`, e.g. ``dpi``.
    """
    dateless = {"svg": {"Date": None, "Creator": None}, "pdf": {"CreationDate": None, "Creator": None}}.get(format)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=format, metadata=dateless, **options)
    return buffer.getvalue()
