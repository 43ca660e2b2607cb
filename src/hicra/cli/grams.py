"""``hicra grams``: look at gram sets and compare them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from hicra import DEFAULT_GRAMS
from hicra.cli.console import FUNCTION_STYLES, out, print_json, visible
from hicra.grams.gramset import Gram, GramSet, shipped_sets

NameOrPath = Annotated[str, typer.Argument(help="Name of a shipped set, or path of a .json file.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a machine.")]


def show(
    grams: NameOrPath = DEFAULT_GRAMS,
    contains: Annotated[str, typer.Option(help="Only grams that contain this.")] = "",
    limit: Annotated[int, typer.Option(help="Show this many grams at most; 0 for all.")] = 0,
    as_json: Json = False,
) -> None:
    """Show a gram set: its grams by cluster or by first word, its source and its hash."""
    chosen = GramSet.load(grams)
    if as_json:
        print_json(chosen.to_dict())
        return
    _print_head(chosen)
    picked = [g for g in chosen if contains.lower() in g.text]
    shown = picked[: limit or None]
    clustered = bool(chosen.clusters)
    table = Table(
        "cluster" if clustered else "", "grams", show_lines=False, show_header=clustered, box=None, pad_edge=False
    )
    groups: dict[str, list[Gram]] = {}
    for gram in shown:
        groups.setdefault((gram.cluster or "-") if clustered else gram.text[0], []).append(gram)
    for name, members in sorted(groups.items()):
        table.add_row(Text(visible(name), style="bold"), Text(", ").join([_gram_text(g) for g in members]))
    out.print(table)
    if len(shown) < len(chosen):
        out.print(Text(f"{len(shown)} shown of {len(picked)} that fit, {len(chosen)} in all", style="dim"))


def list_sets(as_json: Json = False) -> None:
    """List the gram sets that come with the package."""
    sets = [GramSet.load(name) for name in shipped_sets()]
    if as_json:
        print_json([{"name": s.name, "grams": len(s), "clusters": len(s.clusters), "hash": s.hash} for s in sets])
        return
    table = Table("name", "grams", "clusters", "hash", "source", box=None)
    for chosen in sets:
        source = str(chosen.provenance.get("source", ""))
        table.add_row(chosen.name, str(len(chosen)), str(len(chosen.clusters)), chosen.hash[:12], visible(source))
    out.print(table)


def diff(
    before: NameOrPath,
    after: NameOrPath,
    as_json: Json = False,
) -> None:
    """Say what has to change to turn one gram set into another."""
    change = GramSet.load(before).diff(GramSet.load(after))
    if as_json:
        print_json(
            {
                "added": [asdict(g) for g in change.added],
                "removed": [asdict(g) for g in change.removed],
                "changed": [[asdict(old), asdict(new)] for old, new in change.changed],
            }
        )
        return
    for gram in change.removed:
        out.print(Text.assemble(("- ", "red"), _gram_text(gram)))
    for gram in change.added:
        out.print(Text.assemble(("+ ", "green"), _gram_text(gram)))
    for old, new in change.changed:
        fields = [f for f in ("at", "cluster", "function") if getattr(old, f) != getattr(new, f)]
        what = ", ".join(f"{f} {getattr(old, f)} -> {getattr(new, f)}" for f in fields)
        out.print(Text.assemble(("~ ", "yellow"), _gram_text(new), f"  {visible(what)}"))
    if not change:
        out.print("the same grams")


def _gram_text(gram: Gram) -> Text:
    text = Text(visible(gram.text), style=FUNCTION_STYLES[gram.function] if gram.function else "")
    if gram.at != "any":
        text.append(f" @{gram.at}", style="dim")
    return text


def _print_head(grams: GramSet) -> None:
    lengths = Counter(len(g.text.split()) for g in grams)
    functions = Counter(g.function for g in grams if g.function)
    facts = Table.grid(padding=(0, 2))
    facts.add_row("set", Text(visible(grams.name), style="bold"))
    facts.add_row("grams", f"{len(grams)}  (words: {', '.join(f'{n}: {c}' for n, c in sorted(lengths.items()))})")
    if grams.clusters:
        facts.add_row("clusters", str(len(grams.clusters)))
    if functions:
        legend = Text("  ").join(
            Text(f"{name} {count}", style=FUNCTION_STYLES[name]) for name, count in functions.items()
        )
        facts.add_row("functions", legend)
    if grams.patterns:
        facts.add_row("patterns", str(grams.patterns))
    facts.add_row("text rules", f"{grams.rules} version {grams.text_version}")
    facts.add_row("hash", grams.hash)
    for key, value in grams.provenance.items():
        plain = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        facts.add_row(Text(visible(key)), Text(visible(plain), style="dim"))
    for remark in grams.remarks[:5]:
        facts.add_row("remark", Text(visible(remark), style="yellow"))
    out.print(facts)
    out.print()
