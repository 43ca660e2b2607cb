"""``hicra annotate``: excerpts to mark, and marked excerpts back in, checked."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.table import Table
from rich.text import Text

from hicra.cli.console import err, out, print_json, visible
from hicra.errors import DataError
from hicra.labels.agreement import Agreement, agreement
from hicra.labels.annotations import (
    draw,
    join,
    read_marks,
    read_texts,
    write_annotated,
    write_excerpts,
    write_marks,
)
from hicra.labels.quality import read_excerpts


def export(
    traces: Annotated[
        list[str] | None, typer.Argument(help="JSONL or Parquet files or folders; default: the bundled sample.")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the files.")] = Path("annotation"),
    excerpts: Annotated[int, typer.Option(min=1, help="How many excerpts to draw.")] = 100,
    characters: Annotated[int, typer.Option(min=50, help="About how long one is.")] = 700,
    per_problem: Annotated[int, typer.Option(min=1, help="Most excerpts of solutions to one problem.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    annotators: Annotated[
        list[str] | None, typer.Option("--annotator", help="Name of an annotator; give it twice for two passes.")
    ] = None,
    kind: Annotated[
        Literal["text", "jsonl"],
        typer.Option("--format", help="text: for an editor; jsonl: for doccano and other tools."),
    ] = "text",
) -> None:
    """Draw excerpts from solutions and write a file to mark for each annotator (docs/annotation.md)."""
    from hicra.traces.read import read_traces, sample_traces

    names = annotators or ["first", "second"]
    files = [output / f"{name}.{'txt' if kind == 'text' else 'jsonl'}" for name in names]
    there = [str(path) for path in [output / "excerpts.jsonl", *files] if path.exists()]
    if there:  # hours of somebody's work may be in it
        raise DataError("files of an earlier export are in the way", got=", ".join(there), mend="name another folder")
    rows = itertools.chain.from_iterable(map(read_traces, traces)) if traces else sample_traces()
    drawn = draw(rows, excerpts, seed=seed, characters=characters, per_problem=per_problem)
    if not drawn:
        raise DataError("no solution is long enough for an excerpt", expected=f"about {characters} characters")
    for path in files:
        write_marks(path, drawn)
    write_excerpts(output / "excerpts.jsonl", drawn)
    err.print(f"{len(drawn)} excerpts; mark them in {', '.join(map(str, files))}", highlight=False)


def import_(
    texts: Annotated[Path, typer.Argument(metavar="EXCERPTS", help="excerpts.jsonl of the export.")],
    passes: Annotated[list[Path], typer.Argument(help="The two marked files, .txt or .jsonl.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the annotated excerpts go.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the agreement as JSON.")] = False,
) -> None:
    """Check two marked files against their excerpts, write them as one and print how far they agree."""
    if len(passes) != 2:
        raise DataError("two passes make an annotation", expected="two marked files", got=str(len(passes)))
    excerpts = read_texts(texts)
    first, second = (read_marks(path, excerpts) for path in passes)
    rows = join(excerpts, first, second)
    write_annotated(output, rows)
    if len(rows) < len(excerpts):
        err.print(f"{len(excerpts) - len(rows)} of {len(excerpts)} excerpts are not in both files", highlight=False)
    _tell(agreement(rows), as_json)


def agree(
    annotated: Annotated[list[Path], typer.Argument(help="Files of annotated excerpts.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a machine.")] = False,
) -> None:
    """How far the two passes of annotated excerpts agree."""
    _tell(agreement(read_excerpts(annotated)), as_json)


def _tell(found: Agreement, as_json: bool) -> None:
    if as_json:
        print_json(_plain(found))
        return

    def interval(value: float, bounds: tuple[float, float]) -> str:
        return f"{value:.3f} [{bounds[0]:.3f}, {bounds[1]:.3f}]"

    out.print(
        f"{found.excerpts} excerpts, {found.words:,} words; marked by the first pass {found.first:,}, by the second "
        f"{found.second:,}, by both {found.both:,}\n"
        f"word F1 {interval(found.f1, found.f1_interval)}, kappa {interval(found.kappa, found.kappa_interval)}, "
        f"one class on {found.same_class:.1%} of the words that both mark",
        highlight=False,
    )
    table = Table("source", "words", "F1", "kappa")
    for source, (words, f1, kappa) in found.by_source.items():
        table.add_row(Text(visible(source)), f"{words:,}", f"{f1:.3f}", f"{kappa:.3f}")
    out.print(table)
    for name, spans in (("first", found.only_first), ("second", found.only_second)):
        most = ", ".join(f"{visible(text)} {n}" for text, n in spans[:12])
        out.print(Text(f"only the {name} pass: {sum(n for _, n in spans)} spans: {most}"))


def _plain(found: Agreement) -> dict[str, Any]:
    def number(value: Any) -> Any:
        if isinstance(value, float):
            return value if value == value else None
        return [number(v) for v in value] if isinstance(value, Sequence) and not isinstance(value, str) else value

    facts = {k: number(v) for k, v in asdict(found).items() if k not in ("classes", "by_source")}
    facts["classes"] = [[a, b, n] for (a, b), n in sorted(found.classes.items())]
    return facts | {"by_source": {source: number(row) for source, row in found.by_source.items()}}
