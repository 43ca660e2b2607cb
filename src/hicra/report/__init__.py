"""Figures and words on what RL did, in one self-contained HTML file or as pictures. Reads run directories only."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOME = {
    "render_curves": "hicra.report.pictures",
    "render_trace_png": "hicra.report.pictures",
    "render_trace_svg": "hicra.report.pictures",
    "write_analysis": "hicra.report.analysis.page",
    "write_report": "hicra.report.page",
}

__all__ = ["render_curves", "render_trace_png", "render_trace_svg", "write_analysis", "write_report"]

if TYPE_CHECKING:
    from hicra.report.analysis.page import write_analysis
    from hicra.report.page import write_report
    from hicra.report.pictures import render_curves, render_trace_png, render_trace_svg


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'hicra.report' has no attribute {name!r}")
