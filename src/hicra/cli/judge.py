"""``hicra judge``: what went wrong in failed rollouts, asked of a model or of a person."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from hicra.cli.console import err, out, print_json, visible
from hicra.dynamics.failures import (
    CATEGORIES,
    Failure,
    Judgement,
    agreements,
    failure_rates,
    failure_series,
    sample_failures,
)
from hicra.dynamics.judge import MEANINGS, Endpoint, Judge, Store, ask, estimate, unanswered
from hicra.errors import ConfigError

_KEYS = {category[0]: category for category in CATEGORIES}


def judge(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory whose text was kept.")],
    endpoint: Annotated[
        str, typer.Option(help="Address of an OpenAI-compatible server, e.g. http://localhost:8000/v1.")
    ] = "",
    model: Annotated[str, typer.Option(help="Name of the model there.")] = "",
    person: Annotated[str, typer.Option(help="Ask a person at this terminal, who is called this.")] = "",
    name: Annotated[str, typer.Option(help="What to call the judge (default: the model).")] = "",
    key_env: Annotated[
        str, typer.Option(help="Environment variable that holds the key, where the server wants one.")
    ] = "",
    steps: Annotated[int, typer.Option(min=1, help="Look at this many steps, evenly spaced.")] = 10,
    each: Annotated[int, typer.Option(min=1, help="Failures a step.")] = 20,
    failed_below: Annotated[float, typer.Option(help="A rollout with a reward under this has failed.")] = 0.5,
    seed: Annotated[int, typer.Option(help="Seed of the sample; judges share a sample by sharing it.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Questions under way at a time.")] = 4,
    price_in: Annotated[float, typer.Option(min=0, help="Price of a million tokens sent.")] = 0.0,
    price_out: Annotated[float, typer.Option(min=0, help="Price of a million tokens received.")] = 0.0,
    max_tokens: Annotated[int, typer.Option(min=16, help="Longest reply.")] = 512,
    body: Annotated[
        list[str] | None,
        typer.Option(help="A further field of the request: name=JSON, e.g. reasoning_effort='\"low\"'."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before spending.")] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Where answers are kept (default: RUN/judgements.jsonl).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document: series and agreement.")] = False,
) -> None:
    """Ask what went wrong in failed rollouts; without --endpoint or --person, show what was answered."""
    from hicra.traces.rundir import RunReader

    reader = RunReader(run)
    store = Store(output or run / "judgements.jsonl")
    if endpoint and person:
        raise ConfigError("one judge at a time", expected="--endpoint or --person", got="both")
    if endpoint or person:
        failures = sample_failures(reader, below=failed_below, steps=steps, each=each, seed=seed)
        asked: Judge
        if person:
            asked, workers = Person(person), 1
        else:
            if not model:
                raise ConfigError("--endpoint needs the name of a model", mend="add --model NAME")
            asked = Endpoint(endpoint, model, name, _key(key_env), max_tokens=max_tokens, extra=_fields(body))
            _agree_on_cost(unanswered(failures, asked.name, store), asked, price_in, price_out, yes)
        _run(failures, asked, store, workers)
    judgements = store.judgements()
    if not judgements:
        raise ConfigError(
            f"{store.path}: no answers yet",
            mend=f"hicra judge {run} --endpoint http://HOST:PORT/v1 --model NAME, or --person NAME",
        )
    rates = failure_rates(reader, sorted({j.step for j in judgements} & set(reader.steps)), failed_below)
    if as_json:
        print_json(_document(judgements, rates))
    else:
        _show(judgements, rates)


@dataclass
class Person:
    """Somebody at the terminal, who sees neither the step nor what others said.

    Attributes:
        name: what the judge is called.
        read: takes a prompt and returns a line; raises EOFError at the end of input.
    """

    name: str
    read: Callable[[str], str] = input

    def judge(self, failure: Failure) -> tuple[str | None, str]:
        """Show a failure and take a key.

        Raises:
            KeyboardInterrupt: the person stops.
        """
        out.print(Panel(Text(visible(failure.prompt)), title="problem", title_align="left"))
        out.print(Panel(Text(visible(failure.completion)), title="attempt", title_align="left"))
        for key, category in _KEYS.items():
            out.print(Text(f"  {key}  {category}: {MEANINGS[category]}"))
        while True:
            try:
                said = self.read("plan, execution, unrelated, acceptable, or quit? ").strip().lower()
            except EOFError:
                raise KeyboardInterrupt from None
            if said in ("q", "quit"):
                raise KeyboardInterrupt
            if said[:1] in _KEYS and _KEYS[said[:1]].startswith(said):
                return _KEYS[said[:1]], ""


def _run(failures: Sequence[Failure], asked: Judge, store: Store, workers: int) -> None:
    try:
        if workers == 1:
            ask(failures, asked, store, workers=1)
        else:
            with err.status("asking") as status:
                ask(failures, asked, store, workers=workers, progress=lambda n, of: status.update(f"{n} of {of}"))
    except KeyboardInterrupt:
        err.print("stopped; what was answered is kept, and the next call goes on from there")


def _agree_on_cost(todo: Sequence[Failure], asked: Endpoint, price_in: float, price_out: float, yes: bool) -> None:
    if not todo:
        return
    cost = estimate(todo, asked)
    text = f"{cost.questions} questions to {asked.name}: about {cost.tokens_in:,} tokens to send"
    text += f", at most {cost.tokens_out:,} to receive"
    if price_in or price_out:
        text += f", at most about {cost.price(price_in, price_out):.2f}"
    err.print(visible(text), highlight=False, markup=False, soft_wrap=True)
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError("nobody is there to agree to the cost", mend="add --yes")
    if not typer.confirm("ask them?", err=True):
        raise typer.Exit(1)


def _key(variable: str) -> str | None:
    """The key that a variable holds; none is sent to a server unless its variable was named for it."""
    if not variable:
        return None
    if not (key := os.environ.get(variable)):
        raise ConfigError(f"--key-env {variable}: no such variable", mend=f"export {variable}=... first")
    return key


def _fields(body: Sequence[str] | None) -> dict[str, Any]:
    fields = {}
    for text in body or ():
        name, _, value = text.partition("=")
        try:
            fields[name] = json.loads(value)
        except ValueError as error:
            raise ConfigError(f"--body {text!r} is no field", expected="name=JSON, e.g. temperature=null") from error
    return fields


def _document(judgements: Sequence[Judgement], rates: dict[int, float]) -> dict[str, Any]:
    def bare(value: float) -> float | None:
        return value if value == value else None

    judges = sorted({j.judge for j in judgements})
    pairs = {"four": agreements(judgements), "two": agreements(judgements, two_classes=True)}
    return {
        "judges": {
            name: {
                "unclear": sum(j.judge == name and j.category is None for j in judgements),
                "series": [
                    {**asdict(p), "failed": bare(p.failed), "planning_rate": bare(p.planning_rate)}
                    for p in failure_series([j for j in judgements if j.judge == name], rates)
                ],
            }
            for name in judges
        },
        "agreement": {
            classes: [
                {"judges": list(a.judges), "n": a.n}
                | {k: bare(getattr(a, k)) for k in ("agreed", "kappa", "low", "high")}
                for a in found
            ]
            for classes, found in pairs.items()
        },
    }


def _show(judgements: Sequence[Judgement], rates: dict[int, float]) -> None:
    for name in sorted({j.judge for j in judgements}):
        own = [j for j in judgements if j.judge == name]
        table = Table(
            "step", "failed", *CATEGORIES, "planning & strategy", title=visible(name), title_justify="left", box=None
        )
        for p in failure_series(own, rates):
            share = f"{p.share:.0%} ({p.low:.0%} to {p.high:.0%})"
            table.add_row(str(p.step), f"{p.failed:.0%}", *(str(p.counts[c]) for c in CATEGORIES), share)
        out.print(table)
        if unclear := sum(j.category is None for j in own):
            out.print(f"{unclear} of {len(own)} answers could not be read and are left out", highlight=False)
    for classes, pairs in (
        ("four answers", agreements(judgements)),
        ("two classes", agreements(judgements, two_classes=True)),
    ):
        for a in pairs:
            kappa = (
                f"kappa {a.kappa:.2f} ({a.low:.2f} to {a.high:.2f}), {a.agreed:.0%} alike" if a.n else "no shared items"
            )
            names = visible(" and ".join(a.judges))
            out.print(f"{names}, {classes}: {kappa}, {a.n} items", highlight=False, markup=False, soft_wrap=True)
