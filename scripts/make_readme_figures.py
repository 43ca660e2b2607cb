"""Draw the README's pictures: a highlighted trace and the curves of a demo, light and dark.

    python scripts/make_readme_figures.py DEMO_DIR [--out docs/images]

DEMO_DIR is what `hicra demo --out DEMO_DIR` wrote: run directories side by side. The trace is one of the bundled ones.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from hicra.errors import DataError, RunDirError
from hicra.labels.labeller import Labeller
from hicra.report import render_curves, render_trace_png
from hicra.report.style import Theme
from hicra.traces import sample_traces

TRACE = "928d57e650f318cb"
PARAGRAPHS = 3
FUNCTIONS = {
    # Listing 1 names no functions; this is our reading of the grams in this trace, for their colours alone
    **dict.fromkeys(("wait but", "but", "hmm"), "backtracing"),
    **dict.fromkeys(("maybe", "maybe i can", "let me"), "branching"),
    **dict.fromkeys(
        ("so", "since", "goal is to", "need to", "need to use", "let's", "okay", "alright", "now"), "deduction"
    ),
}


def draw_trace(out: Path) -> None:
    """trace-{light,dark}.png."""
    found = [trace for trace in sample_traces() if trace.id == TRACE]
    if not found:
        raise DataError(f"no bundled trace {TRACE}", mend="name one of hicra.traces.sample_traces() in this script")
    text = "\n\n".join(found[0].solution.removeprefix("<think>").strip().split("\n\n")[:PARAGRAPHS])
    spans = Labeller().spans(text)
    for theme in get_args(Theme):
        (out / f"trace-{theme}.png").write_bytes(render_trace_png(text, spans, functions=FUNCTIONS, theme=theme))


def draw_curves(demo: Path, out: Path) -> None:
    """curves-{light,dark}.png."""
    runs = sorted(path.parent for path in demo.glob("*/run.json"))
    if not runs:
        raise RunDirError(f"{demo}: no run directory in it", mend=f"make one with `hicra demo --out {demo}`")
    for theme in get_args(Theme):
        (out / f"curves-{theme}.png").write_bytes(render_curves(runs, theme=theme))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path, help="folder with run directories")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    draw_trace(args.out)
    draw_curves(args.demo, args.out)
    for path in sorted(args.out.iterdir()):
        print(f"{path}  {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
