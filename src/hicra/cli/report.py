"""``hicra report``: one HTML file on one or more runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run directories; training may still be going on.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The HTML file to write.")] = Path("report.html"),
    name: Annotated[
        list[str] | None, typer.Option("--name", help="What to call a run; once for each run, in order.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Heading of the report.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document: the file and what is in it.")
    ] = False,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the report in a browser.")] = False,
) -> None:
    """Write a self-contained report.html on one or more runs."""
    from hicra.cli.console import err, out, print_json
    from hicra.report.page import write_report

    with err.status("drawing the report"):
        path = write_report(runs, output, title=title, names=name or None)
    if as_json:
        print_json({"report": str(path), "bytes": path.stat().st_size, "runs": [str(run) for run in runs]})
    else:
        out.print(str(path), highlight=False, markup=False, soft_wrap=True)
    if open_browser:
        import webbrowser

        webbrowser.open(path.resolve().as_uri())
