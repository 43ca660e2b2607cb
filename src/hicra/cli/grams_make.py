"""``hicra grams merge | placebo | push | pull``: gram sets from other gram sets, and to and from the hub."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from hicra.cli.console import err, out, print_json, visible
from hicra.cli.grams import Json, NameOrPath
from hicra.grams.gramset import GramSet

Output = Annotated[Path, typer.Option("-o", "--output", help="Where to write the set.")]


def merge(
    sets: Annotated[list[str], typer.Argument(help="Two or more sets, by name or path; the first one decides.")],
    output: Output,
    name: Annotated[str, typer.Option(help="Name of the result; default: the names joined by +.")] = "",
    as_json: Json = False,
) -> None:
    """Merge gram sets; what each of them brought is recorded in the result."""
    from hicra.grams.merge import merge

    made = merge([GramSet.load(given) for given in sets], name=name or None)
    made.save(output)
    parents, disagreements = made.provenance["merged"], made.provenance["disagreements"]
    if not as_json:
        for parent in parents:
            out.print(Text(visible(f"{parent['name']}: {parent['grams']:,} grams, {parent['new']:,} of them new")))
        if disagreements:
            err.print(f"[dim]on {disagreements:,} grams a later set disagreed; the first one decided[/]")
    _written(made, output, as_json, parents=[{k: p[k] for k in ("name", "hash", "grams", "new")} for p in parents])


def placebo(
    grams: NameOrPath,
    traces: Annotated[
        list[str] | None, typer.Argument(help="The corpus: files or folders of traces; default: the bundled sample.")
    ] = None,
    output: Output = Path("placebo.json"),
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Read this many traces at most.")] = None,
    as_json: Json = False,
) -> None:
    """Draw random n-grams of a corpus, one for each gram of a set, alike in length and frequency: the control."""
    from hicra.credit.controls import placebo_grams
    from hicra.traces.read import read_traces, sample_traces

    def texts() -> Iterator[str]:
        found = itertools.chain.from_iterable(map(read_traces, traces)) if traces else sample_traces()
        return (trace.solution for trace in itertools.islice(found, limit))

    made = placebo_grams(GramSet.load(grams), texts(), seed=seed)
    made.save(output)
    share, occurrences = made.provenance["share_of_words"], made.provenance["occurrences"]
    if not as_json:
        out.print(
            f"occurrences: the set {occurrences['parent']:,}, its placebo {occurrences['placebo']:,}\n"
            f"share of the words: the set {share['parent']:.2%}, its placebo {share['placebo']:.2%}",
            highlight=False,
        )
    _written(made, output, as_json, occurrences=occurrences, share_of_words=share)


def push(
    grams: NameOrPath,
    repository: Annotated[str, typer.Argument(help="user/name on the Hugging Face hub.")],
    licence: Annotated[str, typer.Option(help="The hub's name of a licence, for the card, e.g. cc0-1.0.")] = "",
    evidence: Annotated[
        Path | None, typer.Option(help="Publish this evidence too; it lists every n-gram that was counted.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository a private one.")] = False,
    as_json: Json = False,
) -> None:
    """Publish a gram set with a card as a data set of the Hugging Face hub."""
    chosen = GramSet.load(grams)
    address = chosen.push_to_hub(
        repository, licence=licence or None, evidence=evidence, private=True if private else None
    )
    if as_json:
        print_json({"name": chosen.name, "hash": chosen.hash, "commit": address})
    else:
        out.print(visible(address), highlight=False, soft_wrap=True)


def pull(
    repository: Annotated[str, typer.Argument(help="user/name on the Hugging Face hub.")],
    output: Output,
    revision: Annotated[str, typer.Option(help="Branch, tag or commit.")] = "",
    as_json: Json = False,
) -> None:
    """Fetch a gram set from the Hugging Face hub and write it to a file."""
    made = GramSet.from_hub(repository, revision=revision or None)
    made.save(output)
    _written(made, output, as_json, revision=made.provenance["hub"]["revision"])


def _written(made: GramSet, path: Path, as_json: bool, **more: Any) -> None:
    if as_json:
        print_json({"output": str(path), "name": made.name, "grams": len(made), "hash": made.hash, **more})
    else:
        err.print(Text(visible(f"wrote {path}: {made.name}, {len(made):,} grams, {made.hash[:12]}")), soft_wrap=True)
