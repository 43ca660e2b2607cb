"""``hicra analyze``: what RL did to planning and execution, as a page, as figures for a paper, or as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hicra.errors import ConfigError

if TYPE_CHECKING:
    from hicra.dynamics.result import Analysis
    from hicra.report.analysis.paper import Format
    from hicra.report.runs import Run


def analyze(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run directories; training may still be going on.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="What to write: a page (default: report.html); with --figure a .pdf, .png or .svg."
        ),
    ] = None,
    figure: Annotated[
        str | None,
        typer.Option(help="Draw one figure of the paper, by number or name, or 'all' into the folder OUTPUT."),
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option("--name", help="What to call a run; once for each run, in order.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Heading of the page.")] = None,
    top_share: Annotated[float, typer.Option(help="Share of tokens that counts as high-entropy.")] = 0.3,
    drop: Annotated[float, typer.Option(help="Share of the grams that the sensitivity band leaves out.")] = 0.3,
    draws: Annotated[int, typer.Option(min=1, help="How many times.")] = 20,
    pass_k: Annotated[int, typer.Option(min=1, help="k of Pass@k; smaller where groups are smaller.")] = 8,
    right_above: Annotated[float, typer.Option(help="A solution with a reward above this is right.")] = 0.5,
    held_out: Annotated[str, typer.Option(help="What evaluations call their accuracy.")] = "accuracy",
    seed: Annotated[int, typer.Option(help="Seed of every bootstrap and simulation.")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the whole analysis as one JSON document; writes files only with -o.")
    ] = False,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Analyse runs: phases, semantic entropy, planning against high entropy, strategy flow, failures, alarms."""
    from hicra.cli.console import err, out, print_json
    from hicra.dynamics.result import Settings
    from hicra.report.analysis.page import analysis_page, analyze_runs
    from hicra.report.page import save_page

    settings = Settings(
        top_share=top_share,
        drop=drop,
        draws=draws,
        pass_k=pass_k,
        right_above=right_above,
        held_out=held_out,
        seed=seed,
    )
    plan = [] if figure is None else _plan(figure, output)
    with err.status("reading and analysing the runs"):
        read, analysis = analyze_runs(runs, names=name or None, settings=settings)
    written: list[Path] = []
    if plan:
        with err.status("drawing"):
            written = _draw(plan, read, analysis, skip=figure == "all")
    elif output is not None or not as_json:
        with err.status("drawing the page"):
            written = [save_page(analysis_page(read, analysis, title=title), output or Path("report.html"))]
    if as_json:
        print_json({"written": [str(path) for path in written], **analysis.to_dict()})
    else:
        for path in written:
            out.print(str(path), highlight=False, markup=False, soft_wrap=True)
    if open_browser and written:
        import webbrowser

        webbrowser.open(written[0].resolve().as_uri())


def _plan(asked: str, output: Path | None) -> list[tuple[Any, Path, Format]]:
    """Which figures go to which files; what cannot be done is told before the runs are read."""
    from hicra.report.analysis.paper import FIGURES, FORMATS, find_figure

    if asked == "all":
        folder = output or Path("figures")
        if folder.suffix:
            raise ConfigError("--figure all writes many files", expected="-o FOLDER", got=str(folder))
        return [(f, folder / f"figure-{f.number}-{f.name}.pdf", "pdf") for f in FIGURES]
    found = find_figure(asked)
    target = output or Path(f"figure-{found.number}.pdf")
    suffix = next((f for f in FORMATS if target.suffix.lower() == f".{f}"), None)
    if suffix is None:
        raise ConfigError(
            f"{target}: no format of a figure", expected=", ".join(f".{f}" for f in FORMATS), got=target.suffix or None
        )
    return [(found, target, suffix)]


def _draw(plan: list[tuple[Any, Path, Format]], runs: list[Run], analysis: Analysis, *, skip: bool) -> list[Path]:
    from hicra.cli.console import err, visible
    from hicra.report.analysis.paper import draw_figure
    from hicra.report.page import written_to

    written = []
    for figure, target, format in plan:
        try:
            picture, missing = draw_figure(figure, runs, analysis, format=format)
        except ConfigError as error:
            if not skip:
                raise
            err.print(visible(error.problem), highlight=False, markup=False, soft_wrap=True)
            continue
        for reason in missing:
            err.print(
                visible(f"not in figure {figure.number}: {reason}"), highlight=False, markup=False, soft_wrap=True
            )
        with written_to(target):
            if skip:
                target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(picture)
        written.append(target)
    return written
