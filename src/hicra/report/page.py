"""The page: one HTML file without any address in it, that runs one script of ours and nothing else.

Text of models and users reaches the page in two ways only: through Jinja with autoescape on, and as JSON in a data
block (with ``< > &`` and line separators escaped) that our script puts on the page as text nodes. A content security
policy allows our script and style sheet by their hashes, and no request to anywhere.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hicra.errors import ConfigError, require
from hicra.report.draw import HEIGHT, WIDTH, Placed, panel_svg
from hicra.report.facts import glance_rows, run_rows
from hicra.report.figures import build_figures
from hicra.report.picture import WIDTH as PICTURE_WIDTH
from hicra.report.picture import picture_svg
from hicra.report.rollouts import Completion, Shown, gram_facts, payload, select
from hicra.report.runs import Run, read_runs
from hicra.report.style import FUNCTIONS, N_RUN_COLOURS, css_variables, function_role, visible
from hicra.report.words import noise_words

if TYPE_CHECKING:
    from hicra.report.figures import Figure, Panel
    from hicra.report.picture import Picture
    from hicra.report.quantities import Curve

_PRINTED_TOKENS = 400


def write_report(
    run_dirs: Sequence[Path | str],
    out: Path | str,
    *,
    title: str | None = None,
    names: Sequence[str] | None = None,
) -> Path:
    """Write one self-contained HTML file on one or more run directories.

    Args:
        run_dirs: run directories; training may still be going on in them.
        out: the file to write (its directory must exist).
        title: heading; the default names the runs.
        names: what to call the runs, in order; the default is the end of each path.

    Returns:
        The file's path.

    Raises:
        ConfigError: no run, names that do not fit, or an `out` that cannot be written.
        RunDirError: a path is not a run directory, or there is nothing in it yet.
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    return save_page(build_page([Path(p) for p in run_dirs], title=title, names=names), out)


def save_page(page: str, out: Path | str) -> Path:
    """Write a page to a file.

    Raises:
        ConfigError: `out` cannot be written.
    """
    target = Path(out)
    with written_to(target):
        target.write_text(page, encoding="utf-8", errors="replace", newline="\n")
    return target


@contextmanager
def written_to(target: Path) -> Iterator[None]:
    """Tell of an `OSError` as a `ConfigError` about the file that was asked for."""
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"{target}: cannot be written",
            expected="a file in a directory that exists",
            got=error.strerror or str(error),
            mend="name another file with -o",
        ) from error


def build_page(run_dirs: Sequence[Path], *, title: str | None = None, names: Sequence[str] | None = None) -> str:
    """The HTML text of `write_report`."""
    require("jinja2", "report")
    runs = read_runs(run_dirs, names)
    return render(runs, build_figures(runs), title=title)


@dataclass(frozen=True, slots=True)
class Extras:
    """What a page on an analysis has beyond its figures.

    Attributes:
        eyebrow: what kind of page it is.
        said: (run, sentences) at the top.
        notes: (run, remark) in place of the runs' own notes.
        top_share: share of tokens that counts as high-entropy.
        thresholds: for each run, step -> the entropy above which a token does, nats; colours completions by it.
    """

    eyebrow: str = "training report"
    said: Sequence[tuple[str, Sequence[str]]] = ()
    notes: Sequence[tuple[str, str]] | None = None
    top_share: float = 0.0
    thresholds: Sequence[Mapping[int, float]] = ()


def render(
    runs: Sequence[Run],
    figures: Sequence[Figure],
    *,
    title: str | None = None,
    extras: Extras = Extras(),
    shown: Sequence[Shown] | None = None,
) -> str:
    """The HTML text of a page.

    Args:
        runs: what it is on.
        figures: in reading order.
        title: heading; the default names the runs.
        extras: what an analysis adds.
        shown: completions to carry; None: chosen here.
    """
    jinja2 = require("jinja2", "report")
    shown = select(runs) if shown is None else shown
    panels = [p for f in figures for p in (*f.panels, *f.more) if p.curves]
    pictures = [p for f in figures for p in f.pictures]
    drawn = {p.key: panel_svg(p, runs) for p in panels}
    data = {
        **payload(runs, shown),
        "panels": {p.key: _panel_data(p, drawn[p.key][1]) for p in panels},
        "pictures": {p.key: _picture_data(p) for p in pictures},
        "size": [WIDTH, HEIGHT],
        "roles": list(FUNCTIONS),
        "top": extras.top_share,
    }
    for run, thresholds in zip(data["runs"], extras.thresholds, strict=False):
        for step in run["steps"]:
            if (threshold := thresholds.get(step["step"])) is not None:
                step["h"] = round(1000 * threshold)
    markup = require("markupsafe", "report").Markup
    script, sheet = _asset("report.js"), _style_sheet()
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string(_asset("report.html.j2"))
    notes = extras.notes
    if notes is None:
        notes = [(run.name, f"step {step}: {text}") for run in runs for step, text in run.notes]
    page: str = template.render(
        title=visible(title) if title else _title(runs),
        eyebrow=extras.eyebrow,
        policy=_policy(script, sheet),
        script=markup(script),
        sheet=markup(sheet),
        data=markup(json_block(data)),
        svg={key: markup(svg) for key, (svg, _) in drawn.items()} | {p.key: markup(picture_svg(p)) for p in pictures},
        runs=runs,
        figures=figures,
        glance=glance_rows(figures, runs),
        facts=run_rows(runs),
        headline=_headline(figures),
        said=extras.said,
        noise=noise_words(runs),
        warnings=[(name, visible(text)) for name, text in notes],
        configs=[visible(json.dumps(run.meta, indent=1, ensure_ascii=False, default=str), keep="\n") for run in runs],
        shown=shown,
        printed=_printed(runs, shown),
        now=datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC").lstrip("0"),
        version=_version(),
    )
    return page


def _title(runs: Sequence[Run]) -> str:
    names = [run.name for run in runs]
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) <= 4 else f"{len(names)} runs"


def _version() -> str:
    from hicra import __version__

    return __version__


def _headline(figures: Sequence[Figure]) -> tuple[str, list[str]] | None:
    """(what is measured, findings) on accuracy, held-out where there are evaluations; comparisons first."""
    panels = [p for p in figures[0].panels if p.findings]
    if not panels:
        return None
    best = panels[-1]
    single = len(best.curves) if len(best.curves) <= 4 else 0
    return best.title, [*best.findings[single:], *best.findings[:single]]


# --- what the script reads --------------------------------------------------------------------------------------------


def json_block(data: Any) -> str:
    """JSON that may stand in a script element: nothing in it can end the element or start a comment.

    >>> print(json_block("</script>&"))
    "\\u003c/script\\u003e\\u0026"
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode("utf-8", "backslashreplace").decode()  # a lone surrogate becomes JSON's own escape of it


def _panel_data(panel: Panel, placed: Placed) -> dict[str, Any]:
    return {
        "title": panel.title,
        "unit": panel.unit,
        "points": panel.points,
        "xn": panel.x_name,
        "xs": panel.x_share,
        "box": [placed.left, placed.right, placed.top, placed.bottom],
        "x": list(placed.x),
        "y": list(placed.y),
        "curves": [_curve_data(c) for c in panel.curves],
    }


def _picture_data(picture: Picture) -> dict[str, Any]:
    return {
        "title": picture.title,
        "size": [PICTURE_WIDTH, picture.height],
        "spots": [[round(v, 1) for v in (s.x, s.y, s.width, s.height)] + [s.says] for s in picture.spots],
    }


def _curve_data(c: Curve) -> dict[str, Any]:
    smoothed = not np.array_equal(c.raw, c.line, equal_nan=True)
    return {
        "run": c.run,
        "x": c.x.tolist(),
        "y": _short(c.raw),
        "line": _short(c.line) if smoothed else None,
        "low": None if c.low is None else _short(c.low),
        "high": None if c.high is None else _short(c.high),
    }


def _short(values: Any) -> list[float | None]:
    return [float(f"{v:.4g}") if math.isfinite(v) else None for v in values.tolist()]


# --- safe by construction -------------------------------------------------------------------------------------------


def _policy(script: str, sheet: str) -> str:
    def source(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    allowed = f"script-src {source(script)}; style-src {source(sheet)}"
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"


def _asset(name: str) -> str:
    return files("hicra.report").joinpath("templates", name).read_text(encoding="utf-8").replace("\r\n", "\n")


def _style_sheet() -> str:
    light, dark = css_variables("light"), css_variables("dark")
    roles = ["baseline", *(f"run{i}" for i in range(N_RUN_COLOURS)), *FUNCTIONS, "planning"]
    classes = "".join(f".c-{role}{{--c:var(--{role})}}" for role in roles)
    return (
        f":root{{color-scheme:light dark;{light}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n{classes}\n{_asset('report.css')}"
    )


# --- on paper -------------------------------------------------------------------------------------------------------


def _printed(runs: Sequence[Run], shown: Sequence[Shown]) -> list[dict[str, Any]]:
    """A few completions as plain markup, for print and where no script runs: best and worst of each run's last step."""
    out = []
    for run, found in zip(runs[:4], shown, strict=False):
        if not found.steps:
            continue
        step = max(found.steps)
        group = found.steps[step][0]
        ranked = sorted(group.completions, key=lambda c: c.reward)
        chosen = [ranked[-1]] if ranked[0].reward == ranked[-1].reward else [ranked[-1], ranked[0]]
        facts = gram_facts(run)
        out += [
            {
                "run": run,
                "step": step,
                "prompt": visible(group.prompt, 600, keep="\n\t"),
                "reward": f"{c.reward:.3g}",
                "tokens": c.length,
                "pieces": _pieces(c, facts),
                "cut": len(c.text) < c.length or len(c.text) > _PRINTED_TOKENS,
            }
            for c in chosen
        ]
    return out


def _pieces(c: Completion, facts: Sequence[dict[str, Any]]) -> list[tuple[str, str | None]]:
    """(text, colour role or None) of the first tokens, spans whole."""
    out: list[tuple[str, str | None]] = []
    at = 0
    for start, end, gram in [*c.spans, (len(c.text), len(c.text), -1)]:
        start, end = min(start, _PRINTED_TOKENS), min(end, _PRINTED_TOKENS)
        plain, marked = "".join(c.text[at:start]), "".join(c.text[start:end])
        lead = marked[: len(marked) - len(marked.lstrip())]
        out += [(visible(plain + lead, keep="\n\t"), None)] if plain + lead else []
        function = facts[gram]["f"] if 0 <= gram < len(facts) else None
        out += [(visible(marked.lstrip(), keep="\n\t"), function_role(function))] if marked.strip() else []
        at = end
    return out
