"""What was run, and what came out of it, as rows of a table: one column a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from hicra.report.style import visible
from hicra.report.words import change, value_text

if TYPE_CHECKING:
    from hicra.report.figures import Figure
    from hicra.report.runs import Run


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: a cell for each run, or one for all of them where they agree."""

    name: str
    cells: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether all runs agree."""
        return len(self.cells) > 1 and len(set(self.cells)) == 1


_MODEL = ("model", "model_name_or_path", "model_id", "base_model")
_SETTINGS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("alpha", ("alpha",)),
    ("alpha schedule", ("alpha_schedule",)),
    ("Completions a prompt", ("num_generations", "group_size")),
    ("Learning rate", ("learning_rate", "lr")),
    ("Loss", ("loss_type",)),
)


def run_rows(runs: Sequence[Run]) -> list[Row]:
    """What was run: model, method, alpha, grams, steps, seeds, versions. Rows that no run knows are left out."""
    rows = [_row(runs, "Method", _method), _row(runs, "Model", _model)]
    rows += [_row(runs, name, lambda run, keys=keys: run.setting(*keys)) for name, keys in _SETTINGS]  # type: ignore[misc]
    rows += [
        _row(runs, "Gram set", _gram_set),
        _row(runs, "Steps", _steps),
        _row(runs, "Completions a step", _batch),
        _row(runs, "Seeds", lambda run: ", ".join(f"{k} {v}" for k, v in run.seeds.items())),
        _row(runs, "Engine", lambda run: run.meta.get("engine")),
        _row(runs, "Versions", _versions),
        _row(runs, "Started", lambda run: str(run.meta.get("created") or "").replace("T", " ").removesuffix("+00:00")),
        _row(
            runs, "Resumed", lambda run: ", ".join(f"after step {r.get('step')}" for r in run.meta.get("resumes") or [])
        ),
    ]
    return [row for row in rows if any(cell != "–" for cell in row.cells)]


def _row(runs: Sequence[Run], name: str, value: Callable[[Run], Any]) -> Row:
    return Row(name, tuple(_cell(value(run)) for run in runs))


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "–"
    return visible(f"{value:g}" if isinstance(value, float) else str(value), 120)


def _method(run: Run) -> Any:
    estimator = run.setting("estimator")
    return "grpo (alpha 0, observed)" if run.baseline and estimator not in (None, "grpo") else estimator


def _model(run: Run) -> Any:
    """Name of the model; of a folder only the end of its path: where it lies on one machine tells a reader nothing."""
    name = run.setting(*_MODEL)
    parts = PurePath(name).parts if isinstance(name, str) else ()
    return "/".join(("…", *parts[-2:])) if len(parts) > 3 else name


def _gram_set(run: Run) -> str | None:
    grams = run.meta.get("grams") or {}
    if not grams:
        return None
    number = f", {grams['n']} grams" if "n" in grams else ""
    return f"{grams.get('name')}{number} · {str(grams.get('hash'))[:12]}"


def _steps(run: Run) -> str:
    steps = run.reader.steps
    if not steps:
        return "none committed"
    planned = run.setting("max_steps")
    done = len(steps)
    return f"{done} of {planned}" if isinstance(planned, int) and planned > done else str(done)


def _batch(run: Run) -> str | None:
    if run.prompts is None:
        return None
    completions, prompts = run.prompts.sums["n"].sum(), len(run.prompts.step_of)
    steps = len(run.prompts.steps)
    return f"{completions / steps:.4g} on {prompts / steps:.3g} prompts"


def _versions(run: Run) -> str:
    versions = run.meta.get("versions") or {}
    return ", ".join(f"{name} {version}" for name, version in versions.items() if version)


_GLANCE = (
    "held-out",
    "reward",
    "length",
    "truncated",
    "perplexity-execution",
    "perplexity-planning",
    "entropy-execution",
    "entropy-planning",
    "semantic-gram-rarefied",
    "semantic-cluster-rarefied",
    "planning-share",
    "eval-approach_entropy_bits",
)
"""Panels whose start and end stand in the table at the top."""


def glance_rows(figures: Sequence[Figure], runs: Sequence[Run]) -> list[Row]:
    """Start and end of the main quantities of each run."""
    panels = {p.key: p for f in figures for p in f.panels if p.curves}
    rows = []
    for key in _GLANCE:
        if (panel := panels.get(key)) is None:
            continue
        cells = ["–"] * len(runs)
        for c in panel.curves:
            if (found := change(c)) is not None:
                unit = "share" if panel.unit == "share" else ""
                cells[c.run] = f"{value_text(found[0].value, unit)} → {value_text(found[1].value, unit)}"
        rows.append(
            Row(panel.title + (f", {panel.unit}" if panel.unit in ("tokens", "nats", "bits") else ""), tuple(cells))
        )
    return rows
