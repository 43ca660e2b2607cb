"""The command line: one verb a file, registered here."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer


def main() -> None:
    """Run ``hicra``; an error of ours is told in its own words, and the exit status is 1."""
    from hicra.errors import HicraError

    try:
        _app()()
    except HicraError as error:
        from rich.text import Text

        from hicra.cli.console import err, print_json, visible

        if "--json" in sys.argv:
            fields = {"problem": error.problem, "expected": error.expected, "got": error.got, "mend": error.mend}
            print_json({"error": {k: v for k, v in fields.items() if v is not None}})
        err.print(Text.assemble(("error ", "bold red"), visible(str(error))), highlight=False, soft_wrap=True)
        raise SystemExit(1) from error


def _app() -> typer.Typer:
    import typer

    from hicra import __version__
    from hicra.cli import (
        analyze,
        annotate,
        compare,
        demo,
        eval,
        grams,
        grams_grow,
        grams_make,
        import_,
        judge,
        label,
        mine,
        prompts,
        report,
        score,
        train,
        why,
    )

    app = typer.Typer(
        name="hicra",
        help="Credit where reasoning is decided: Strategic Grams, planning-token labels, HICRA training, reports.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )

    def version(value: bool) -> None:
        if value:
            print(__version__)
            raise typer.Exit

    @app.callback()
    def options(
        version: bool = typer.Option(False, "--version", callback=version, is_eager=True, help="Print the version."),
    ) -> None: ...

    app.command()(demo.demo)
    app.command()(mine.mine)
    app.command()(label.label)
    app.command()(train.train)
    app.command()(prompts.prompts)
    app.command()(report.report)
    app.command("eval")(eval.evaluate)
    app.command()(compare.compare)
    app.command()(analyze.analyze)
    app.command("import")(import_.import_)
    app.command()(score.score)
    app.command()(judge.judge)
    shelf = typer.Typer(
        help="Look at gram sets, ask why a phrase is in one, make new ones, share them.", no_args_is_help=True
    )
    shelf.command("show")(grams.show)
    shelf.command("list")(grams.list_sets)
    shelf.command("diff")(grams.diff)
    shelf.command("why")(why.why)
    shelf.command("merge")(grams_make.merge)
    shelf.command("grow")(grams_grow.grow)
    shelf.command("placebo")(grams_make.placebo)
    shelf.command("push")(grams_make.push)
    shelf.command("pull")(grams_make.pull)
    app.add_typer(shelf, name="grams")
    marking = typer.Typer(help="Excerpts to mark by hand or by a tool, and back in.", no_args_is_help=True)
    marking.command("export")(annotate.export)
    marking.command("import")(annotate.import_)
    marking.command("agreement")(annotate.agree)
    app.add_typer(marking, name="annotate")
    return app
