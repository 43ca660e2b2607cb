"""``hicra prompts``: look at training prompts: how many, which benchmarks are among them; write them for an engine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hicra.cli.console import err, out, print_json
from hicra.errors import ConfigError


def prompts(
    sources: Annotated[list[str], typer.Argument(help="Files, names of prompt sets, or hub ids.")],
    overlap: Annotated[
        list[str] | None,
        typer.Option("--overlap", help="Look for this benchmark's problems (a name, or name=file). May be repeated."),
    ] = None,
    share: Annotated[float, typer.Option(help="Share of a problem's words that must occur.")] = 0.5,
    drop: Annotated[bool, typer.Option("--drop", help="Leave such prompts out of what is written.")] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write them: .parquet or .jsonl.")] = None,
    verl: Annotated[bool, typer.Option("--verl", help="Write the columns that verl reads (Parquet).")] = False,
    prompt: Annotated[str, typer.Option(help="Column with the problem.")] = "prompt",
    answer: Annotated[str, typer.Option(help="Column with the reference answer.")] = "answer",
    template: Annotated[str | None, typer.Option(help="Text with {problem}; default: the one of hicra eval.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document, for a machine.")] = False,
) -> None:
    """Look at training prompts: how many, and which benchmarks' problems are among them; write them for an engine."""
    if (verl or drop) and output is None:
        raise ConfigError("--verl and --drop are about a file", expected="--output FILE")
    if verl and output is not None and output.suffix != ".parquet":
        raise ConfigError("verl reads Parquet", expected="--output FILE.parquet", got=str(output))
    from hicra.engines.dataset import load_sources, texts
    from hicra.engines.overlap import find, without
    from hicra.engines.recipe_sections import DataSection

    rows = load_sources(DataSection(train=sources, prompt=prompt, answer=answer), Path.cwd())
    found = find(texts(rows), overlap or [], Path.cwd(), share=share)
    kept = rows.select(without(len(rows), found)) if drop else rows
    if output is not None:
        _write(kept, output, verl=verl, template=template)
    summary: dict[str, Any] = {
        "sources": sources,
        "prompts": len(rows),
        "kept": len(kept),
        "overlap": {f.benchmark: {"items": f.n, "found": f.items, "prompts": [i for i, _ in f.prompts]} for f in found},
        "output": None if output is None else str(output),
    }
    if as_json:
        print_json(summary)
        return
    err.print(f"{len(rows):,} prompts", highlight=False)
    for f in found:
        where = f"in {len({i for i, _ in f.prompts}):,} prompts" if f.prompts else ""
        err.print(
            f"{f.benchmark}: {len(f.items)} of its {f.n} problems are among them {where}".rstrip(), highlight=False
        )
    if output is not None:
        out.print(str(output), highlight=False, markup=False, soft_wrap=True)


def _write(rows: Any, path: Path, *, verl: bool, template: str | None) -> None:
    from hicra.engines.dataset import for_verl
    from hicra.traces.disk import explained

    with explained(path, "nothing was written"):
        if verl:
            for_verl(rows, template).to_parquet(str(path))
        elif path.suffix == ".parquet":
            rows.to_parquet(str(path))
        else:
            rows.to_json(str(path), force_ascii=False)
