"""Draw docs/images/coverage-{light,dark}.png: how often intervals that claim 95 % hold the truth.

    python scripts/make_coverage_figure.py [--out docs/images] [--replicates 10000]

Simulated evaluations of the sizes that the paper's benchmarks have (hicra.evals.simulate). Prints the figures, too.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import numpy as np

from hicra.evals.estimators import Floats, Ints
from hicra.evals.simulate import (
    PAPER,
    Design,
    bootstrap_interval,
    coverage,
    draw,
    items_only_interval,
    naive_interval,
    paired_interval,
)
from hicra.report.style import PALETTES, Theme

Ends = tuple[Floats, Floats]
SEED, PART = 20260101, 500

WAYS: dict[str, tuple[str, str, Callable[[Design, Ints, Ints], Ends]]] = {
    "hicra compare": ("run0", "o", paired_interval),
    "paired t over items": ("run2", "D", items_only_interval),
    "bootstrap over items": (
        "run1",
        "s",
        lambda d, a, b: bootstrap_interval(d, a, b, np.random.default_rng(SEED), 499),
    ),
    "answers as if independent": ("run3", "^", naive_interval),
}
"""Name -> role of the colour, marker, interval."""

LIMITS = {"AIME, model at 3 %": Design(30, 32, base=-6), "AIME, 3 equal runs of each": Design(30, 32, runs=3)}


def measure(replicates: int) -> Iterator[tuple[str, Design, dict[str, float]]]:
    """Coverage of each way in each design."""
    for name, design in {**PAPER, **LIMITS}.items():
        rng, found = np.random.default_rng(SEED), dict.fromkeys(WAYS, 0.0)
        parts = replicates // PART
        for _ in range(parts):
            after, before = draw(design, PART, rng)
            for way, (_, _, interval) in WAYS.items():
                found[way] += coverage(design, interval(design, after, before)) / parts
        yield name, design, found


def picture(rows: list[tuple[str, Design, dict[str, float]]], theme: Theme, path: Path) -> None:
    """Two panels on one list of designs: one run of each method, several runs."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    ink = PALETTES[theme]
    blocks = [[r for r in rows if r[1].runs == 1], [r for r in rows if r[1].runs > 1]]
    figure, panels = pyplot.subplots(
        2,
        1,
        figsize=(8.2, 6.6),
        height_ratios=[len(block) for block in blocks],
        facecolor=ink["paper"],
        layout="constrained",
    )
    heads = ("One run of each method: the truth is the two models'", "Several runs: the truth is the two methods'")
    for ax, block, head, low in zip(panels, blocks, heads, (80, 40), strict=True):
        ax.set_facecolor(ink["paper"])
        ax.axvspan(93.5, 96.5, color=ink["rule"], lw=0)
        ax.axvline(95, color=ink["baseline"], lw=1)
        for way, (role, marker, _) in reversed(WAYS.items()):
            x = [max(100 * found[way], low) for _, _, found in block]
            ax.plot(x, range(len(block)), marker, color=ink[role], ms=7 if way == "hicra compare" else 5.5, label=way,
                    mec=ink["paper"], mew=0.6)  # fmt: skip
        ax.set_yticks(range(len(block)), [name for name, _, _ in block])
        ax.set_ylim(len(block) - 0.5, -0.5)
        ax.set_xlim(low - 0.02 * (100 - low), 100.4)
        ax.set_title(head, loc="left", fontsize=10.5, color=ink["ink"])
        ax.tick_params(colors=ink["soft"], length=0, labelsize=9.5)
        ax.grid(axis="y", color=ink["rule"], lw=0.6)
        ax.set_axisbelow(True)
        for spine in ax.spines.values():
            spine.set_visible(False)
    panels[-1].set_xlabel("intervals that hold the truth, % (band: 93.5 to 96.5)", color=ink["soft"], fontsize=9.5)
    handles, labels = panels[0].get_legend_handles_labels()
    place = {"loc": "outside upper center", "ncols": 4, "frameon": False, "handletextpad": 0.3}
    figure.legend(handles[::-1], labels[::-1], labelcolor=ink["ink"], fontsize=9.5, **place)
    figure.savefig(path, dpi=160, facecolor=ink["paper"])
    pyplot.close(figure)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--replicates", type=int, default=10_000)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rows = []
    print("| |", " | ".join(WAYS), "|")
    for name, design, found in measure(args.replicates):
        rows.append((name, design, found))
        print(f"| {name} |", " | ".join(f"{100 * found[way]:.1f}" for way in WAYS), "|", flush=True)
    for theme in get_args(Theme):
        picture(rows, theme, args.out / f"coverage-{theme}.png")


if __name__ == "__main__":
    main()
