"""`hicra demo`: from real traces to two trained models and one report, on two cores in under ten minutes."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the two run directories, the models and the report.")] = Path(
        "hicra-demo"
    ),
    seed: Annotated[int, typer.Option(help="Seed of training: problems, draws, evaluation.")] = 0,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps of each run.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A minute's run through every station; learns little.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Train anew; a fitting warm start is kept.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="One JSON document on stdout, everything else on stderr.")
    ] = False,
) -> None:
    """Label real traces, train a tiny model with GRPO and with HICRA side by side, and write a report.

    Started again after it was stopped, it goes on where it was.
    """
    from hicra.cli import console, demo_view
    from hicra.errors import require

    for module in ("torch", "transformers", "trl"):
        require(module, "train")
    from hicra.lab.compare import outcome
    from hicra.lab.experiment import run_experiment
    from hicra.report import write_report

    to = console.err if json else console.out
    settings = _settings(seed, steps, quick)
    began = time.monotonic()

    to.rule("1 · Planning tokens in real traces")
    labelled = demo_view.label_sample()
    to.print(demo_view.sample_table(labelled), demo_view.sample_picture(labelled))

    to.rule("2 · A tiny model learns to reason badly, then GRPO and HICRA train it side by side")
    to.print(demo_view.task(settings))
    with demo_view.Bars(to, settings) as bars:
        layout = run_experiment(out, settings, watcher=bars, fresh=fresh)
    found = outcome(layout, settings)
    report = write_report(
        [layout.run("grpo"), layout.run("hicra")], layout.report, title="hicra demo", names=["GRPO", "HICRA"]
    )

    to.rule("3 · What came out")
    to.print(demo_view.outcome_table(found))
    for sentence in found.words:
        to.print(sentence)
    seconds = time.monotonic() - began
    to.print(f"\nReport: [bold]{report}[/bold]   ({seconds / 60:.1f} minutes)", soft_wrap=True)
    if json:
        console.print_json(_document(layout.root, report, found, labelled, seconds))


def _settings(seed: int, steps: int | None, quick: bool) -> Any:
    from hicra.lab.settings import LabSettings

    settings = LabSettings.quick(seed) if quick else LabSettings(seed=seed)
    return settings if steps is None else replace(settings, training=replace(settings.training, steps=steps))


def _document(root: Path, report: Path, found: Any, labelled: Any, seconds: float) -> dict[str, Any]:
    return {
        "out": str(root),
        "report": str(report),
        "runs": {arm: str(root / arm) for arm in found.last},
        "sample": labelled.shares(),
        **found.to_dict(),
        "seconds": round(seconds, 1),
    }
