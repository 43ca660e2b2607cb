"""``hicra eval``: a model answers benchmarks; answers are checked, logged and counted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from hicra.evals.grading import Graded
    from hicra.evals.harness import Outcome


def evaluate(
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="A folder, a name on the hub or of inspect-ai; or an endpoint's, with --base-url.",
        ),
    ],
    bench: Annotated[
        list[str] | None,
        typer.Option("--bench", "-b", help="Benchmarks, with commas or repeated: aime24,math500 or mine=file.jsonl."),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="'paper': its six text benchmarks with its numbers of samples; 'vision'.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder with <benchmark>.jsonl (default: HICRA_BENCHMARKS, else the hub).")
    ] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Answers of each item (default: the paper's).")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first items, for a try.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the evaluation (default: evals/MODEL).")
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="An OpenAI-compatible endpoint; its key in HICRA_API_KEY.")
    ] = None,
    engine: Annotated[str, typer.Option(help="What runs a folder or a hub's model: hf or vllm.")] = "hf",
    chat_template: Annotated[
        str | None, typer.Option(help="A Jinja file, or 'none' for the bare prompt (default: the model's).")
    ] = None,
    prompt: Annotated[Path | None, typer.Option(help="A file with {problem} in it, in place of our prompt.")] = None,
    system: Annotated[str | None, typer.Option(help="A system message.")] = None,
    extractor: Annotated[
        str | None, typer.Option(help="A model that finds the answers in responses to vision benchmarks (else rules).")
    ] = None,
    extractor_url: Annotated[str | None, typer.Option(help="Its OpenAI-compatible endpoint.")] = None,
    temperature: Annotated[float, typer.Option(min=0, help="0 takes the likeliest token.")] = 0.6,
    top_p: Annotated[float, typer.Option(min=0, max=1)] = 0.95,
    top_k: Annotated[int | None, typer.Option(min=1, help="Default: none with hf, else the engine's.")] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 32_768,
    seed: Annotated[int | None, typer.Option(help="Of the sampler.")] = None,
    connections: Annotated[int, typer.Option(min=1, help="Requests at a time; the batch of a local model.")] = 32,
    retries: Annotated[int, typer.Option(min=0, help="Of a request, with growing pauses.")] = 5,
    timeout: Annotated[int | None, typer.Option(min=1, help="Seconds for one request with its retries.")] = None,
    method: Annotated[
        str | None, typer.Option(help="How it was trained, for hicra compare (default: the folder's name).")
    ] = None,
    trained: Annotated[str, typer.Option(help="What was trained, e.g. Qwen3-4B-Base, for hicra compare.")] = "",
    training_seed: Annotated[int | None, typer.Option(help="Of the training run, for hicra compare.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document for a machine.")] = False,
) -> None:
    """Let a model answer benchmarks; the same command goes on where a stopped one was."""
    from hicra.cli.console import err, out, print_json
    from hicra.evals.asking import ask, choose
    from hicra.evals.harness import Labels, Limits, evaluate
    from hicra.evals.models import name_model
    from hicra.evals.task import Sampling

    named = name_model(model, base_url=base_url, engine=engine, chat_template=chat_template)
    template = None if prompt is None else _template(prompt)
    finder = None if extractor is None else name_model(extractor, base_url=extractor_url)
    asked = [
        ask(name, samples or usual, path or data, first=limit, prompt=template, extractor=finder)
        for name, (usual, path) in choose(bench or [], preset).items()
    ]
    folder = output or Path("evals") / named.name.rstrip("/").rsplit("/", 1)[-1]
    progress = _Bars(err)
    with progress.shown:
        try:
            outcomes = evaluate(
                named,
                asked,
                folder,
                labels=Labels(method or folder.resolve().name, trained, training_seed),
                sampling=Sampling(temperature, top_p, max_tokens, top_k, seed, system),
                limits=Limits(connections, retries, timeout),
                on_start=progress.start,
                on_answer=progress.answer,
            )
        except KeyboardInterrupt:
            progress.shown.stop()
            err.print("stopped; the same command goes on from here", highlight=False)
            raise typer.Exit(130) from None
    rows = [_row(outcome) for outcome in outcomes]
    if as_json:
        print_json({"folder": str(folder), "benchmarks": rows})
    else:
        out.print(_table(rows))
        out.print(f"inspect view --log-dir {folder / 'logs'}", style="dim", highlight=False, markup=False)
    _tell_missing(outcomes)
    if not all(outcome.complete for outcome in outcomes):
        raise typer.Exit(1)


class _Bars:
    """A bar a benchmark: answers, share of right ones, share cut off."""

    def __init__(self, console: Any) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[says]}"),
        )
        self.shown = Progress(*columns, TimeRemainingColumn(), console=console)
        self.bars: dict[str, Any] = {}
        self.grades: dict[str, list[str]] = {}

    def start(self, name: str, done: int, wanted: int) -> None:
        """Before the first new answer."""
        self.bars[name] = self.shown.add_task(name, total=wanted, completed=done, says="")
        self.grades[name] = []

    def answer(self, name: str, graded: Graded) -> None:
        """After each new answer."""
        grades = self.grades[name]
        grades.append(graded.grade.value)
        right, cut = (100 * grades.count(kind) / len(grades) for kind in ("right", "cut_off"))
        says = f"{right:.0f} % right" + (f", {cut:.0f} % cut off" if cut else "")
        self.shown.update(self.bars[name], advance=1, says=says)


def _template(path: Path) -> str:
    from hicra.errors import ConfigError

    if not path.is_file():
        raise ConfigError("--prompt is no file", expected="a text with {problem} in it", got=str(path))
    return path.read_text("utf-8")


def _row(outcome: Outcome) -> dict[str, Any]:
    from hicra.evals.results import read_results
    from hicra.evals.stats import estimate

    counts = outcome.tally
    row: dict[str, Any] = {
        "benchmark": outcome.name,
        "complete": outcome.complete,
        "wanted": outcome.wanted,
        "answers": counts.n,
        "right": counts.right,
        "wrong": counts.wrong,
        "no_answer": counts.no_answer,
        "cut_off": counts.cut_off,
        "results": str(outcome.path) if outcome.path else None,
        "log": str(outcome.log) if outcome.log else None,
        "errors": outcome.errors,
    }
    if outcome.path is not None:
        found = estimate(read_results(outcome.path))
        row |= {"accuracy": found.value, "low": found.low, "high": found.high, "items": found.items}
        row["samples"] = found.samples[1]
        finished = counts.accuracy_of_finished
        row["accuracy_of_finished"] = finished if finished == finished else None
    return row


def _table(rows: list[dict[str, Any]]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True, min_width=max(len(row["benchmark"]) for row in rows))
    for head in ("answers", "right", "95 %", "no answer", "cut off", "ended"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        if not row["complete"]:
            table.add_row(row["benchmark"], f"{row['answers']:,} of {row['wanted']:,}", *[""] * 5)
            continue
        n, finished = row["answers"], row["accuracy_of_finished"]
        table.add_row(
            row["benchmark"],
            f"{row['items']:,} × {row['samples']:,}",
            f"{100 * row['accuracy']:.1f}",
            f"{100 * row['low']:.1f}–{100 * row['high']:.1f}",
            f"{100 * row['no_answer'] / n:.1f} %",
            f"{100 * row['cut_off'] / n:.1f} %",
            "–" if finished is None else f"{100 * finished:.1f}",
        )
    return table


def _tell_missing(outcomes: list[Outcome]) -> None:
    from hicra.cli.console import err, visible

    for outcome in outcomes:
        if outcome.complete:
            continue
        missing = outcome.wanted - outcome.tally.n
        err.print(
            f"{outcome.name}: {missing:,} answers are missing; the same command asks for them again", markup=False
        )
        for text, times in sorted(outcome.errors.items(), key=lambda pair: -pair[1])[:3]:
            err.print(visible(f"  {times:,} x {text[:300]}"), highlight=False, markup=False)
