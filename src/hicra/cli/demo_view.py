"""What `hicra demo` shows on the terminal: the labelled sample, progress bars, the outcome."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from hicra.lab.compare import Outcome
    from hicra.lab.settings import LabSettings
    from hicra.labels.labeller import Span
    from hicra.traces.schema import Trace

_EXCERPT = 700  # characters of a trace in the picture
_HIGHLIGHT = "bold black on bright_yellow"


@dataclass(frozen=True)
class LabelledSample:
    """The bundled traces with the occurrences of the paper's grams."""

    traces: Sequence[Trace]
    spans: Sequence[Sequence[Span]]

    def shares(self) -> dict[str, dict[str, float]]:
        """By style of trace: how many traces, words a trace, share of words in grams, occurrences a trace."""
        found: dict[str, list[int]] = {}
        for trace, spans in zip(self.traces, self.spans, strict=True):
            row = found.setdefault(trace.style or "?", [0, 0, 0, 0])
            planning = sum(len(trace.solution[span.start : span.end].split()) for span in spans)
            for i, value in enumerate((1, len(trace.solution.split()), planning, len(spans))):
                row[i] += value
        return {
            style: {"traces": n, "words": words / n, "planning_share": planning / words, "occurrences": occurrences / n}
            for style, (n, words, planning, occurrences) in sorted(found.items(), key=lambda item: -item[1][0])
        }


def label_sample() -> LabelledSample:
    """Label the bundled traces with the paper's gram set."""
    from hicra.labels.labeller import Labeller
    from hicra.traces.read import sample_traces

    labeller = Labeller("paper")
    traces = list(sample_traces())
    return LabelledSample(traces, [labeller.spans(trace.solution) for trace in traces])


def sample_table(sample: LabelledSample) -> Table:
    """Planning shares by style of trace."""
    table = Table(
        title=f"{len(sample.traces)} bundled traces, labelled with the paper's Strategic Grams", title_justify="left"
    )
    table.add_column("style")
    for name in ("traces", "words a trace", "planning words", "grams a trace"):
        table.add_column(name, justify="right")
    for style, row in sample.shares().items():
        cells = (
            f"{row['traces']:.0f}",
            f"{row['words']:.0f}",
            f"{row['planning_share']:.1%}",
            f"{row['occurrences']:.1f}",
        )
        table.add_row(style, *cells)
    return table


def sample_picture(sample: LabelledSample) -> Panel:
    """The stretch of a trace with the most different grams, planning words highlighted."""
    trace, spans, start = max(
        (
            (trace, spans, span.start)
            for trace, spans in zip(sample.traces, sample.spans, strict=True)
            for span in spans
            if trace.correct
        ),
        key=lambda found: len({s.gram for s in found[1] if found[2] <= s.start and s.end <= found[2] + _EXCERPT}),
    )
    end = min(len(trace.solution), start + _EXCERPT)
    end = trace.solution.rfind(" ", start, end) if end < len(trace.solution) else end
    picture = Text(trace.solution[start:end])
    for span in spans:
        if start <= span.start and span.end <= end:
            picture.stylize(_HIGHLIGHT, span.start - start, span.end - start)
    return Panel(picture, title="planning tokens in a real trace", subtitle=Text(str(trace.source)), width=100)


def task(settings: LabSettings) -> str:
    """What the tiny model is asked to do."""
    n = len(settings.world.problems("train")), len(settings.world.problems("heldout"))
    return (
        "The task: make a target from three numbers, in words. "
        f"{n[0]:,} problems to train on, {n[1]} others to judge on; the starting model imitates a careless writer."
    )


class Bars:
    """Progress of an experiment (a `hicra.lab.experiment.Watcher`): bars on a terminal, else a line now and then."""

    def __init__(self, console: Console, settings: LabSettings) -> None:
        self._console, self._settings = console, settings
        self._live = console.is_terminal
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not self._live,
        )
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, tuple[int, int]] = {}
        self._began = time.monotonic()

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def warm_start(self, done: int, total: int, loss: float) -> None:
        """See `Watcher`."""
        kept = loss != loss
        self._show(
            "warm start", done, total, "kept from before" if kept else f"loss {loss:.2f} nats a token", total // 8
        )

    def arm(self, arm: str, step: int, total: int, metrics: dict[str, Any], evals: list[dict[str, Any]]) -> None:
        """See `Watcher`."""
        notes = []
        if metrics.get("reward") is not None:
            notes.append(f"reward {metrics['reward']:.2f}")
        if evals:
            judged = ", ".join(f"{found['accuracy']:.2f}" for found in evals[-4:])
            notes.append(f"accuracy on unseen problems {judged}")
        self._show(arm.upper(), step, total, " · ".join(notes) or "starting", max(1, total // 8), len(evals))

    def _show(self, name: str, done: int, total: int, note: str, every: int, change: int = 0) -> None:
        if self._live:
            if name not in self._tasks:
                self._tasks[name] = self._progress.add_task(f"{name:<10}", total=total, note="")
            self._progress.update(self._tasks[name], completed=done, total=total, note=note)
            return
        state = (done if done == total else done // max(1, every), change)
        if self._said.get(name) != state:
            self._said[name] = state
            elapsed = time.monotonic() - self._began
            self._console.print(f"{elapsed:6.0f} s  {name:<10} {done}/{total}  {note}", soft_wrap=True)


_ROWS = (
    ("accuracy on unseen problems", "accuracy", "{:.3f}"),
    ("wrong equations", "execution_error", "{:.1%}"),
    ("entropy of execution tokens (nats)", "entropy_execution", "{:.3f}"),
    ("entropy of planning tokens (nats)", "entropy_planning", "{:.3f}"),
    ("approaches tried (entropy, bits)", "approach_entropy_bits", "{:.2f}"),
    ("grams (semantic entropy, bits)", "semantic_entropy_bits", "{:.2f}"),
    ("grams at equal counts (bits)", "semantic_entropy_rarefied_bits", "{:.2f}"),
    ("length (tokens)", "length", "{:.0f}"),
    ("cut off", "truncated", "{:.1%}"),
)


def outcome_table(found: Outcome) -> Table:
    """First and last evaluation of both arms."""
    table = Table(title="On held-out problems", title_justify="left")
    table.add_column("")
    for name in ("before", "GRPO", "HICRA"):
        table.add_column(name, justify="right")
    for label, key, form in _ROWS:
        values = (found.first["grpo"].get(key), found.last["grpo"].get(key), found.last["hicra"].get(key))
        table.add_row(label, *("–" if value is None else form.format(value) for value in values))
    return table
