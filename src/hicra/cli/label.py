"""``hicra label``: which words or tokens of some traces are planning ones."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from hicra import DEFAULT_GRAMS
from hicra.cli.console import err, highlighted, out, print_json, visible
from hicra.errors import ConfigError, DataError, require
from hicra.labels.audit import Audit, audit
from hicra.labels.labeller import Labeller

if TYPE_CHECKING:
    from hicra.traces.schema import Trace


def label(
    traces: Annotated[
        list[str] | None, typer.Argument(help="JSONL or Parquet files or folders; default: the bundled sample.")
    ] = None,
    grams: Annotated[str, typer.Option(help="Gram set, by name or path.")] = DEFAULT_GRAMS,
    tokenizer: Annotated[
        str, typer.Option(help="Tokenizer, by hub name or path; without one, words are labelled.")
    ] = "",
    show_audit: Annotated[
        bool, typer.Option("--audit", help="Count what would be labelled for this tokenizer.")
    ] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write spans as JSON lines.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Look at this many traces at most (default: all; audit: 2,000).")
    ] = None,
    show: Annotated[int, typer.Option(min=0, help="Show this many labelled traces.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a machine.")] = False,
) -> None:
    """Label the planning phrases of traces; with --audit and --tokenizer, see what training would label."""
    if show_audit:
        _audit(traces, grams, tokenizer, limit or 2_000, show, as_json)
        return
    labeller = Labeller(grams)
    counted = {"traces": 0, "characters": 0, "spans": 0, "planning_characters": 0}
    shown: list[Trace] = []

    def rows() -> Iterator[dict[str, Any]]:
        for trace in _read(traces, limit):
            spans = labeller.spans(trace.solution)
            counted["traces"] += 1
            counted["characters"] += len(trace.solution)
            counted["spans"] += len(spans)
            covered = itertools.chain.from_iterable(range(s.start, s.end) for s in spans)
            counted["planning_characters"] += len(set(covered))
            if len(shown) < show:
                shown.append(trace)
            yield {"id": trace.id, "spans": [s._asdict() for s in spans]}

    if output is not None:
        _write_lines(output, rows())
    else:
        for _ in rows():
            pass
    if not counted["traces"]:
        raise DataError("there is no trace to label")
    summary = {**counted, "grams": labeller.grams.name, "grams_hash": labeller.grams.hash}
    if as_json:
        print_json(summary)
        return
    _show(shown, labeller)
    share = counted["planning_characters"] / max(1, counted["characters"])
    out.print(
        f"{counted['traces']:,} traces, {counted['spans']:,} planning phrases, {share:.1%} of the characters "
        f"(gram set {labeller.grams.name}, {labeller.grams.hash[:12]})",
        highlight=False,
    )
    if output is not None:
        err.print(f"wrote {output}", highlight=False)


def _audit(traces: list[str] | None, grams: str, tokenizer: str, limit: int, show: int, as_json: bool) -> None:
    if not tokenizer:
        raise ConfigError(
            "--audit needs the tokenizer of your model",
            mend="add --tokenizer NAME_OR_PATH, e.g. --tokenizer Qwen/Qwen3-4B",
        )
    made = load_tokenizer(tokenizer)
    labeller = Labeller(grams, made)
    kept: list[Trace] = []

    def texts() -> Iterator[tuple[str, str | None]]:
        for trace in _read(traces, limit):
            if len(kept) < show:
                kept.append(trace)
            yield trace.solution, trace.style

    def encode(text: str) -> list[int]:
        return list(made(text, add_special_tokens=False)["input_ids"])

    result = audit(texts(), labeller, encode, limit=limit)
    if as_json:
        print_json(result.to_dict())
        return
    for trace in kept:
        out.print(
            Panel(
                _tokens(labeller, encode(trace.solution)), title=visible(trace.source or trace.id), title_align="left"
            )
        )
    _print_audit(result)


def load_tokenizer(name_or_path: str) -> Any:
    """A transformers tokenizer by hub name or path.

    Raises:
        MissingExtraError: transformers is not installed.
        ConfigError: there is no such tokenizer here and none could be fetched.
    """
    auto = require("transformers", "train").AutoTokenizer
    try:
        return auto.from_pretrained(name_or_path)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"cannot load the tokenizer {name_or_path!r}",
            expected="a folder with tokenizer.json, or the name of a model on the hub",
            got=str(error).splitlines()[0][:200],
        ) from error


def _read(traces: list[str] | None, limit: int | None) -> Iterator[Trace]:
    from hicra.traces.read import read_traces, sample_traces

    found: Iterable[Trace] = itertools.chain.from_iterable(map(read_traces, traces)) if traces else sample_traces()
    return itertools.islice(found, limit)


def _show(traces: list[Trace], labeller: Labeller) -> None:
    functions = {g.text: g.function for g in labeller.grams}
    for trace in traces:
        text = trace.solution if len(trace.solution) < 1_500 else trace.solution[:1_500] + " ..."
        shown = highlighted(text, labeller.spans(text), dict(functions))
        out.print(Panel(shown, title=visible(trace.source or trace.id), title_align="left"))


def _tokens(labeller: Labeller, ids: list[int], most: int = 400) -> Text:
    """The first tokens, planning ones coloured, borders between tokens marked by shades."""
    from hicra.cli.console import FUNCTION_STYLES

    labels = labeller.label(ids)
    text = Text()
    for i, token in enumerate(ids[:most]):
        piece = visible(labeller.vocab[token].decode("utf-8", "replace"))
        g = int(labels.gram_id[i])
        style = FUNCTION_STYLES[labeller.grams[g].function] if g >= 0 else ""
        text.append(piece, style=f"{style} underline" if g >= 0 and i % 2 else style)
    if len(ids) > most:
        text.append(f" ... {len(ids) - most} more tokens", style="dim")
    return text


def _print_audit(result: Audit) -> None:
    facts = result.to_dict()
    table = Table.grid(padding=(0, 2))
    table.add_row("gram set", Text(visible(f"{result.grams}, {result.set_size} grams, {result.grams_hash[:12]}")))
    kind = f"{result.tokenizer_kind}, {'white space is lost' if result.lossy else 'lossless'}"
    table.add_row("tokenizer", Text(visible(f"{result.tokenizer} ({kind})")))
    table.add_row(
        "completions", f"{result.completions:,} ({facts['completions_without']:,} without any planning token)"
    )
    quartiles = " / ".join(f"{q:.1%}" for q in facts["planning_share_quartiles"])
    table.add_row(
        "planning share", f"{result.share:.2%} of {result.tokens:,} tokens; quartiles by completion {quartiles}"
    )
    for style, (tokens, planning) in sorted(result.by_style.items()):
        table.add_row("", Text(visible(f"{style}: {planning / max(1, tokens):.2%} of {tokens:,}"), style="dim"))
    table.add_row("grams seen", f"{len(result.gram_counts)} of {result.set_size}")
    most = ", ".join(f"{gram} {count:,}" for gram, count in result.gram_counts.most_common(20))
    table.add_row("most common", Text(visible(most)))
    out.print(table)
    for warning in result.warnings:
        err.print(Text.assemble(("warning ", "bold yellow"), visible(warning)))


def _write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    part = path.with_name(path.name + ".part")
    try:
        with part.open("w", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise DataError(f"cannot write {path}", got=str(error)) from error
