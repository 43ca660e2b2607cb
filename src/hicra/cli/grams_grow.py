"""``hicra grams grow``: propose neighbours of a set's grams, and take accepted ones in."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from hicra.cli.console import err, out, print_json, visible
from hicra.cli.grams import Json, NameOrPath
from hicra.errors import ConfigError
from hicra.grams.gramset import GramSet


def grow(
    grams: NameOrPath,
    traces: Annotated[
        list[str] | None, typer.Argument(help="The corpus: files or folders of traces; default: the bundled sample.")
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The proposals (.tsv or .jsonl); with --apply the new set (.json).")
    ] = Path("proposals.tsv"),
    accept: Annotated[
        str, typer.Option(help="Rule that accepts, e.g. 'problems >= 20 and likeness >= .8' or 'kind = frame'.")
    ] = "",
    apply: Annotated[
        Path | None, typer.Option(help="Take the accepted proposals of this file in and write the new set.")
    ] = None,
    name: Annotated[str, typer.Option(help="Of the new set; default: <set>-grown.")] = "",
    min_problems: Annotated[int, typer.Option(min=1, help="Distinct problems that hold a proposal.")] = 5,
    near: Annotated[float, typer.Option(help="Least cosine to a gram of the set.")] = 0.75,
    context: Annotated[float, typer.Option(help="Least likeness of what follows, nats.")] = 1.0,
    meaning: Annotated[bool, typer.Option(help="Embed candidates and grams to find the near ones.")] = True,
    show: Annotated[int, typer.Option(min=0, help="Show so many proposals of each kind.")] = 5,
    as_json: Json = False,
) -> None:
    """Propose neighbours of a set's grams with evidence, or (--apply) take accepted ones in."""
    from hicra.grams.grow_file import accept_rule, apply_proposals

    chosen = GramSet.load(grams)
    if apply is not None:
        if traces or accept:
            raise ConfigError(
                "--apply takes no traces and no rule", mend="write the file with them first, then apply it"
            )
        if output.suffix != ".json":
            raise ConfigError("the new set needs a place", expected="-o NAME.json", got=str(output))
        made = apply_proposals(chosen, apply, name=name or None)
        made.save(output)
        accepted = made.provenance["grown"]["accepted"]
        if as_json:
            print_json(
                {"output": str(output), "name": made.name, "grams": len(made), "hash": made.hash, "accepted": accepted}
            )
        else:
            said = ", ".join(f"{n:,} {kind}" for kind, n in accepted.items())
            err.print(
                Text(visible(f"wrote {output}: {made.name}, {len(made):,} grams, {made.hash[:12]}; taken in: {said}")),
                soft_wrap=True,
            )
        return
    if accept:
        accept_rule(accept)  # told before any work is done
    _propose(chosen, traces, output, accept, (min_problems, near, context), meaning=meaning, show=show, as_json=as_json)


def _propose(
    grams: GramSet,
    traces: list[str] | None,
    output: Path,
    accept: str,
    thresholds: tuple[int, float, float],
    *,
    meaning: bool,
    show: int,
    as_json: bool,
) -> None:
    from hicra.grams.embed import Encoder
    from hicra.grams.grow import Settings, grow
    from hicra.grams.grow_file import write_proposals
    from hicra.grams.sources import Sources
    from hicra.traces.read import sample_traces

    encoder = Encoder() if meaning else None
    if encoder is not None:
        encoder.check()
    settings = Settings(min_problems=thresholds[0], near=thresholds[1], context=thresholds[2])

    def progress(stage: str, done: int, total: int | None) -> None:
        if err.is_terminal:
            err.print(f"{stage} {done:,}{'' if total is None else f' of {total:,}'}", end="\r", highlight=False)

    found = grow(grams, Sources(traces or list(sample_traces())), encoder=encoder, settings=settings, progress=progress)
    accepted = write_proposals(output, found, grams, accept=accept or None)
    kinds = Counter(p.kind for p in found)
    if as_json:
        print_json({"output": str(output), "proposals": len(found), "kinds": dict(kinds), "accepted": accepted})
        return
    table = Table("kind", "proposal", "problems", "evidence", box=None)
    for kind in kinds:
        for proposal in [p for p in found if p.kind == kind][:show]:
            table.add_row(
                proposal.kind, Text(visible(proposal.text)), f"{proposal.problems:,}", Text(visible(proposal.evidence))
            )
    out.print(table)
    said = ", ".join(f"{n:,} {kind}" for kind, n in kinds.items()) or "none"
    err.print(Text(visible(f"wrote {output}: {said}; accepted by the rule: {accepted:,}")), soft_wrap=True)
