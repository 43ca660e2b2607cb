"""Figures by number, as pictures for a paper: ``hicra analyze --figure N``.

Numbers 1 to 9 follow the claims of arXiv 2509.03646 in the order of docs/paper_index.md, which maps each to the paper;
those after them are ours. Every figure has a name too, and the name is what a script should use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hicra.errors import ConfigError
from hicra.report.analysis.page import all_figures
from hicra.report.pictures import _render_trace
from hicra.report.rollouts import select
from hicra.report.sheet import sheet

if TYPE_CHECKING:
    from hicra.dynamics.result import Analysis
    from hicra.report.figures import Panel
    from hicra.report.picture import Picture
    from hicra.report.runs import Run

Format = Literal["png", "svg", "pdf"]
FORMATS: tuple[Format, ...] = ("pdf", "png", "svg")


@dataclass(frozen=True, slots=True)
class Numbered:
    """One figure.

    Attributes:
        number, name: what it is asked for by.
        title: what it shows.
        keys: panels and pictures in order; one that ends in ``*`` stands for all that begin so.
        columns: items in a row.
    """

    number: int
    name: str
    title: str
    keys: tuple[str, ...]
    columns: int = 2


FIGURES = (
    Numbered(1, "phases", "The two phases of training", ("bent-execution", "bent-semantic", "timeline", "competence")),
    Numbered(2, "trace", "A solution with its planning tokens", ()),
    Numbered(
        3,
        "dynamics",
        "Training dynamics by kind of token",
        (
            "perplexity-execution",
            "entropy-execution",
            "semantic-cluster-rarefied",
            "held-out",
            "perplexity-planning",
            "entropy-planning",
            "semantic-gram-rarefied",
            "length",
        ),
        4,
    ),
    Numbered(4, "failures", "Planning & Strategy failures against others", ("failures-*",), 3),
    Numbered(
        5,
        "exploration",
        "Strategic exploration: semantic entropy with accuracy and length",
        ("semantic-cluster-rarefied", "semantic-gram-rarefied", "held-out", "reward", "length", "planning-share"),
        3,
    ),
    Numbered(
        6,
        "compasses",
        "Token entropy, Pass@k and semantic entropy as compasses",
        ("entropy-all", "pass-at-k", "semantic-cluster-rarefied", "held-out", "compass-correlations"),
        3,
    ),
    Numbered(
        7,
        "overlap",
        "Planning tokens against tokens of high entropy",
        ("planning-in-top-by-share", "top-that-plans-by-share", "planning-in-top", "top-that-plans"),
    ),
    Numbered(8, "sensitivity", "Semantic entropy with grams left out at random", ("sensitivity-semantic-*",)),
    Numbered(
        9,
        "conditional",
        "Entropy of the procedure after a move",
        ("conditional-rarefied", "conditional-chao-shen", "conditional-plug-in", "conditional-coverage"),
    ),
    Numbered(10, "flow", "Which move comes after which", ("flow-*",)),
    Numbered(11, "moves", "Moves of right and wrong solutions", ("move-odds", "move-success")),
    Numbered(12, "estimators", "Semantic entropy by every estimator", ("semantic-cluster-*", "semantic-gram-*"), 4),
)


def find_figure(asked: str) -> Numbered:
    """The figure of a number or a name.

    Raises:
        ConfigError: there is none.
    """
    for figure in FIGURES:
        if asked.strip().lower() in (str(figure.number), figure.name):
            return figure
    raise ConfigError(
        "there is no such figure",
        expected="; ".join(f"{f.number} {f.name}" for f in FIGURES),
        got=repr(asked),
    )


def draw_figure(
    figure: Numbered, runs: Sequence[Run], analysis: Analysis, *, format: Format = "pdf"
) -> tuple[bytes, list[str]]:
    """The figure as a picture, and what of it the runs have no data for.

    Raises:
        ConfigError: the runs have nothing to draw in it.
        MissingExtraError: matplotlib is not installed.
    """
    if figure.name == "trace":
        return _trace(runs, format), []
    known: dict[str, Panel | Picture] = {}
    for f in all_figures(runs, analysis):
        known |= {p.key: p for p in (*f.panels, *f.more)} | {p.key: p for p in f.pictures}
    items: list[Panel | Picture] = []
    missing: list[str] = []
    for key in figure.keys:
        stem = key.removesuffix("*")
        found = [known[k] for k in known if k.startswith(stem)] if key.endswith("*") else [known.get(key)]
        for item in found:
            if item is None:
                continue
            if getattr(item, "curves", True):
                items.append(item)
            missing += [f"{item.title}: {reason}" for reason in getattr(item, "missing", ())]
    if not items:
        raise ConfigError(
            f"figure {figure.number} ({figure.name}): the runs have nothing to draw in it",
            got="; ".join(missing) or None,
            mend="hicra judge RUN asks a model or a person about failures" if figure.name == "failures" else None,
        )
    return sheet(items, runs, format=format, columns=figure.columns), missing


@dataclass(frozen=True, slots=True)
class _Span:
    start: int
    end: int
    gram: str


def _trace(runs: Sequence[Run], format: Format) -> bytes:
    """The best kept completion of the last step of the last run that kept any."""
    for run, shown in reversed(list(zip(runs, select(runs), strict=True))):
        if not shown.steps:
            continue
        step = max(shown.steps)
        best = max(shown.steps[step][0].completions, key=lambda c: (c.reward, c.length))
        grams = list((run.grams or {}).get("grams") or [])
        starts = [0]
        for text in best.text:
            starts.append(starts[-1] + len(text))
        whole = "".join(best.text)
        spans, functions = [], {}
        for first, end, gram in best.spans:
            a, b = starts[first], starts[end]
            a += len(whole[a:b]) - len(whole[a:b].lstrip())
            name = str(gram)
            functions[name] = grams[gram].get("function") if 0 <= gram < len(grams) else None
            if a < b:
                spans.append(_Span(a, b, name))
        title = f"{run.name}, step {step}, reward {best.reward:g}"
        return _render_trace(whole, spans, format, functions=functions, title=title)
    raise ConfigError("figure 2 (trace): no run kept the text of its completions", mend="set rollouts_per_step above 0")
