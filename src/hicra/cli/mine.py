"""``hicra mine``: Strategic Grams from a corpus of solutions."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from hicra.cli.console import FUNCTION_STYLES, err, out, print_json, visible
from hicra.errors import ConfigError, HicraWarning
from hicra.grams.embed import DEFAULT_ENCODER
from hicra.grams.gramset import GramSet
from hicra.grams.text import ENGLISH

if TYPE_CHECKING:
    from hicra.grams.evidence import Evidence
    from hicra.grams.profiles import Profile

_CLUSTERS = 12  # shown of each function


def mine(
    traces: Annotated[list[str], typer.Argument(help="JSONL or Parquet files, folders or patterns of them.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where to write the set.")] = Path("grams.json"),
    profile: Annotated[str, typer.Option(help="refined, or paper: the published recipe.")] = "refined",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A threshold of the profile, as name=value; repeatable.")
    ] = None,
    columns: Annotated[
        list[str] | None, typer.Option("--column", help="problem=THEIRS, solution=THEIRS ...; repeatable.")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the set; default: the output's.")] = "",
    encoder: Annotated[str, typer.Option(help="A sentence-transformers model, by name or folder.")] = DEFAULT_ENCODER,
    dtype: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
    cache: Annotated[str, typer.Option(help="Folder for embeddings; default: the user's cache folder.")] = "",
    rules: Annotated[str, typer.Option(help="Text rules: english-maths, or code-agent for agents and code.")] = ENGLISH,
    wrong: Annotated[bool, typer.Option("--wrong", help="Mine wrong solutions too.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="A broken line ends it.")] = False,
    engine: Annotated[str, typer.Option(help="local, or ray: on a Ray cluster.")] = "local",
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; default: one a core.")] = None,
    work_dir: Annotated[Path | None, typer.Option(help="Scratch space; default: the system's.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document, for a machine.")] = False,
) -> None:
    """Mine Strategic Grams: the phrases that steer the solutions of a corpus."""
    from hicra.grams.embed import Encoder
    from hicra.grams.evidence import Evidence, evidence_path
    from hicra.grams.mine import mine, profile_named

    with _told() as told, Bars(err) as bars:
        made = mine(
            traces,
            profile=_with(profile_named(profile), settings or []),
            encoder=Encoder(encoder, dtype=dtype, cache=cache or None),  # type: ignore[arg-type]
            out=output,
            name=name or output.stem,
            columns=dict(_pair(given, "--column") for given in columns or []),
            strict=strict,
            wrong=wrong,
            engine=engine,
            workers=workers,
            work_dir=work_dir,
            progress=bars,
            rules=rules,
        )
    evidence = Evidence.load(evidence_path(output))
    if as_json:
        print_json({**_summary(made, output), "warnings": told})
    else:
        _print(made, evidence, output)


def _with(profile: Profile, settings: list[str]) -> Profile:
    """The profile with some of its thresholds changed, each read as the type of its default."""
    known = {field.name: getattr(profile, field.name) for field in fields(profile)}
    changed: dict[str, Any] = {}
    for given in settings:
        name, text = _pair(given, "--set")
        if name not in known:
            raise ConfigError(f"profile {profile.name!r} has no threshold {name!r}", expected=", ".join(known))
        changed[name] = _like(known[name], text, name)
    return replace(profile, **changed)


def _like(default: Any, text: str, name: str) -> Any:
    """A value that can stand for a default, from text; where the default is a pair, a number will do."""
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    value = tuple(value) if isinstance(value, list) else value
    numbers: tuple[type, ...] = (int, float)
    kinds = {bool: (bool,), int: numbers, float: numbers, tuple: (tuple, *numbers)}.get(type(default), (type(default),))
    if type(value) not in kinds:
        raise ConfigError(f"--set {name}: not a value for it", expected=f"something like {default!r}", got=repr(text))
    return value


def _pair(given: str, option: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if not equals or not name or not value:
        raise ConfigError(f"{option} {given!r} is no pair", expected=f"{option} name=value")
    return name, value


@contextlib.contextmanager
def _told() -> Iterator[list[str]]:
    """Warnings of ours as a list of sentences, which are told at the end in place of lines of Python."""
    told: list[str] = []
    with warnings.catch_warnings():
        before = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
            if issubclass(category, HicraWarning):
                told.append(str(message))
            else:
                before(message, category, *rest, **more)

        warnings.simplefilter("always", HicraWarning)
        warnings.showwarning = show
        try:
            yield told
        finally:
            for warning in told:
                err.print(Text.assemble(("warning ", "bold yellow"), visible(warning)), soft_wrap=True)


class Bars:
    """Progress of mining, a bar for each stage on a terminal, else a line when one ends."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._task: TaskID | None = None
        self._stage = ""
        self._last = ""
        self._progress = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=28),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end_stage()
        self._progress.stop()

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        note = f"{done:,}" if total is None else f"{done:,} of {total:,}"
        if stage != self._stage:
            self._end_stage()
            self._task = self._progress.add_task(stage, total=total, note=note)
        self._stage, self._last = stage, note
        assert self._task is not None
        self._progress.update(self._task, completed=done, total=total, note=note)

    def _end_stage(self) -> None:
        if not self._stage:
            return
        assert self._task is not None
        self._progress.update(self._task, completed=1, total=1)
        if not self._console.is_terminal:
            self._console.print(f"{self._stage} {self._last}", highlight=False)


def _summary(made: GramSet, path: Path) -> dict[str, Any]:
    from hicra.grams.evidence import evidence_path

    return {
        "output": str(path),
        "evidence": str(evidence_path(path)),
        "name": made.name,
        "hash": made.hash,
        "grams": len(made),
        "clusters": len(made.clusters),
        "provenance": dict(made.provenance),
    }


def _print(made: GramSet, evidence: Evidence, path: Path) -> None:
    facts = made.provenance
    corpus, counted = facts["corpus"], facts["counted"]
    out.print(
        f"{corpus['traces']:,} traces, {counted['n_problems']:,} problems, {counted['n_words']:,} words",
        highlight=False,
    )
    funnel = Table(box=None, pad_edge=False, show_header=False)
    funnel.add_column(justify="right")
    funnel.add_column()
    first, *rules = facts["funnel"]
    funnel.add_row(f"{first['left']:,}", Text(visible(first["what"])))
    for step in rules:
        funnel.add_row(f"{step['left']:,}", Text(visible(f"left by the rule {step['what']!r}")))
    out.print(funnel)
    out.print()
    clusters = _clusters(made, evidence)
    for function in ("deduction", "branching", "backtracing", None):
        rows = [row for row in clusters if row[0] == function]
        if not rows:
            continue
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(justify="right", style="dim")
        table.add_column(overflow="fold")
        for _, share, members in rows[:_CLUSTERS]:
            shown = ", ".join(members[:6]) + (f" and {len(members) - 6} more" if len(members) > 6 else "")
            table.add_row(f"{share:.1%}", Text(visible(shown)))
        out.print(Text(f" {function or 'no function'} ", style=FUNCTION_STYLES[function]), f"{len(rows)} clusters")
        out.print(table)
    out.print()
    out.print(
        Text(visible(f"wrote {path}: {len(made):,} grams in {len(made.clusters):,} clusters, {made.hash[:12]}")),
        soft_wrap=True,
    )
    out.print(
        Text(visible(f'hicra grams why "let me check" --grams {path}   says why a phrase is in or out'), style="dim"),
        soft_wrap=True,
    )


def _clusters(made: GramSet, evidence: Evidence) -> list[tuple[str | None, float, list[str]]]:
    """Function, share of the problems and wordings of each cluster of a set, the most common first."""
    total = max(1, int(evidence.facts["counted"]["n_problems"]))
    members: dict[str, list[str]] = {}
    function: dict[str, str | None] = {}
    for gram in made:
        if gram.cluster is not None:
            members.setdefault(gram.cluster, []).append(gram.text)
            function[gram.cluster] = gram.function
    found = []
    for name, texts in members.items():
        row = evidence.row(texts[0])
        share = float(row["cluster_problems"]) / total if row else 0.0
        rank = {text: i for i, text in enumerate(evidence.members(name))}
        found.append((function[name], share, sorted(texts, key=lambda t: rank.get(t, 0))))
    return sorted(found, key=lambda row: (-row[1], row[2]))
