"""``hicra compare``: methods side by side on benchmarks, with intervals and honest marks."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from hicra.evals.compare import Comparison


class Format(StrEnum):
    """What the table is written as."""

    terminal = "terminal"
    markdown = "markdown"
    latex = "latex"
    html = "html"


def compare(
    results: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[RESULTS...]", help="Results files, run directories, or folders of them, in order."),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name", help="The method of an argument; once for each, in order. Equal names: runs of one method."
        ),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Method to compare with (default: GRPO, or the last but one).")
    ] = None,
    family: Annotated[
        list[str] | None, typer.Option("--family", help="A benchmark that is tested; repeat it (default: all).")
    ] = None,
    pass_k: Annotated[int | None, typer.Option(min=1, help="pass@k in place of the mean over samples.")] = None,
    step: Annotated[int | None, typer.Option(min=0, help="Of run directories: the evaluation after this step.")] = None,
    base: Annotated[bool, typer.Option(help="Of run directories: show the model before training, too.")] = True,
    published: Annotated[
        list[str] | None,
        typer.Option("--published", help="Show the paper's figures: text, vision, all, or part of a model's name."),
    ] = None,
    gain: Annotated[float, typer.Option(help="Points of gain that the plan is about.")] = 2.0,
    form: Annotated[Format, typer.Option("--format", "-f", help="What to write.")] = Format.terminal,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the table to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document for a machine.")] = False,
) -> None:
    """Compare methods on benchmarks: base, GRPO, HICRA and the difference, paired by problem."""
    from hicra.cli.console import out, print_json
    from hicra.errors import ConfigError
    from hicra.evals.tables import text
    from hicra.traces.disk import explained, write_atomic

    if not 0 < gain < 100:
        raise ConfigError("--gain is out of range", expected="points between 0 and 100", got=f"{gain:g}")
    comparison = _comparison(results or [], name, baseline, family, pass_k, step, base, published)
    if output is not None:
        with explained(output, "nothing was written"):
            write_atomic(output, _written(comparison, form, gain).encode())
    if as_json:
        print_json(comparison.to_dict(gain / 100))
    elif output is not None:
        out.print(str(output), highlight=False, markup=False, soft_wrap=True)
    elif form is Format.terminal:
        _show(comparison, gain, out)
    else:
        print(text(comparison, form.value), end="")


def _written(comparison: Comparison, form: Format, gain: float) -> str:
    from hicra.evals.tables import text

    if form is not Format.terminal:
        return text(comparison, form.value)
    import io

    from rich.console import Console

    stream = io.StringIO()
    _show(comparison, gain, Console(file=stream, width=160, color_system=None))
    return stream.getvalue()


def _show(comparison: Comparison, gain: float, console: Console) -> None:
    from rich.text import Text

    from hicra.evals.tables import plain
    from hicra.evals.terminal import details, tables

    for table in tables(comparison, console.width):
        console.print(table)
    for note in comparison.notes:
        console.print(Text(plain(note), style="dim"))
    if (table := details(comparison, gain / 100)).rows:
        console.print()
        console.print(table)


def _comparison(
    paths: list[Path],
    names: list[str] | None,
    baseline: str | None,
    family: list[str] | None,
    pass_k: int | None,
    step: int | None,
    base: bool,
    published: list[str] | None,
) -> Comparison:
    from hicra.errors import ConfigError
    from hicra.evals import published as paper
    from hicra.evals.compare import compare as compare_results
    from hicra.evals.sources import read_arm

    if names and len(names) != len(paths):
        raise ConfigError(
            "--name has to come once for each argument", expected=f"{len(paths)} names", got=f"{len(names)}"
        )
    figures = paper.comparison(published) if published else None
    if not paths:
        if figures is None:
            raise ConfigError(
                "nothing to compare",
                expected="results files or run directories",
                got="no argument",
                mend="hicra compare demo/grpo demo/hicra, or hicra compare --published text",
            )
        return figures
    arms = [
        result
        for i, path in enumerate(paths)
        for result in read_arm(path, name=names[i] if names else None, step=step, base=base)
    ]
    own = compare_results(arms, baseline=baseline, family=family, pass_k=pass_k)
    return own if figures is None else own + figures
