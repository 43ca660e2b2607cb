"""``hicra import``: the rollouts of another tool as a run directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from hicra import DEFAULT_GRAMS
from hicra.errors import ConfigError


def import_(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="What TRL, verl, prime-rl or inspect-ai wrote, or plain JSON lines.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The run directory to write, or to go on with.")],
    tokenizer: Annotated[
        str, typer.Option(help="The model's tokenizer, by hub name or path; without one, words are labelled.")
    ] = "",
    grams: Annotated[str, typer.Option(help="Gram set, by name or path.")] = DEFAULT_GRAMS,
    format: Annotated[str, typer.Option(help="trl, verl, prime-rl, inspect or plain; default: find out.")] = "",
    column: Annotated[
        list[str] | None, typer.Option(help="A column of plain rows: field=name, e.g. completion=generation.")
    ] = None,
    reward: Annotated[
        list[str] | None, typer.Option(help="A reward column of TRL's files, with its weight: name=1.0.")
    ] = None,
    scorer: Annotated[str, typer.Option(help="Which score of an inspect log is the reward; default: the first.")] = "",
    keep: Annotated[
        int | None, typer.Option(min=0, help="Keep text of this many completions a step (default: all).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document: what was imported.")] = False,
) -> None:
    """Import a run of another tool, so that every other command can read it."""
    from hicra.cli.console import err, out, print_json, visible
    from hicra.cli.label import load_tokenizer
    from hicra.engines.imported import import_run
    from hicra.traces.adapters import Options

    options = Options(
        columns=dict(_pairs(column, "--column")),
        rewards={name: _weight(name, weight) for name, weight in _pairs(reward, "--reward", "1")},
        scorer=scorer or None,
    )
    with err.status("reading") as status:
        done = import_run(
            run,
            output,
            format=format or None,
            grams=grams,
            tokenizer=load_tokenizer(tokenizer) if tokenizer else None,
            options=options,
            keep=keep,
            progress=lambda step: status.update(f"step {step}"),
        )
    for note in done.notes:
        err.print(visible(f"note: {note}"), highlight=False, markup=False, soft_wrap=True)
    if as_json:
        print_json(
            {
                "run": str(done.path),
                "format": done.format,
                "steps": list(done.steps),
                "completions": done.completions,
                "tokens": done.tokens,
                "notes": list(done.notes),
            }
        )
        return
    what = (
        f"{len(done.steps)} steps, {done.completions:,} completions, {done.tokens:,} tokens ({done.format})"
        if done.steps
        else f"nothing new ({done.format})"
    )
    out.print(f"{done.path}: {what}", highlight=False, markup=False, soft_wrap=True)


def _pairs(given: Sequence[str] | None, option: str, default: str = "") -> list[tuple[str, str]]:
    """``name=value`` of each; a name alone has the default value where there is one."""
    found = []
    for text in given or ():
        name, equals, value = text.partition("=")
        if not name or not (value or (default and not equals)):
            raise ConfigError(f"{option} {text!r} is no pair", expected=f"{option} name={default or 'column'}")
        found.append((name, value or default))
    return found


def _weight(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(
            f"--reward {name}={text}: the weight is no number", expected="e.g. --reward exact=1.0"
        ) from error
