"""From a benchmark's name to what `hicra.evals.harness` asks: items, samples, prompt and grader."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from hicra.errors import ConfigError
from hicra.evals.benchmarks import Problem, load
from hicra.evals.catalogue import BENCHMARKS, PRESETS, VISION
from hicra.evals.extract import extractor as make_extractor
from hicra.evals.models import ModelName
from hicra.evals.pool import Pool
from hicra.evals.prompts import BOXED, fill, parts, question
from hicra.evals.task import Asked, Message
from hicra.evals.vision import grade_vision


def choose(benches: Iterable[str], preset: str | None = None) -> dict[str, tuple[int, Path | None]]:
    """Samples and file of each benchmark that was asked for.

    Args:
        benches: names, each may be ``name=file`` and several in one text with commas.
        preset: one of `PRESETS`; what `benches` names goes on top.

    Raises:
        ConfigError: nothing was asked for, or no such preset.
    """
    if preset is not None and preset not in PRESETS:
        raise ConfigError(f"there is no preset {preset!r}", expected=", ".join(PRESETS))
    chosen: dict[str, tuple[int, Path | None]] = {n: (k, None) for n, k in PRESETS.get(preset or "", {}).items()}
    for text in benches:
        for part in filter(None, (p.strip() for p in text.split(","))):
            name, _, file = part.partition("=")
            if not name.replace("-", "").replace("_", "").isalnum():
                raise ConfigError(
                    "a benchmark's name names files", expected="letters, digits, - and _", got=repr(name)[:80]
                )
            known = BENCHMARKS.get(name) or VISION.get(name)
            chosen[name] = (known.samples if known else 1, Path(file) if file else None)
    if not chosen:
        raise ConfigError(
            "no benchmark was asked for",
            expected=f"--bench with some of {', '.join((*BENCHMARKS, *VISION))}, or name=file.jsonl; or --preset paper",
        )
    return chosen


def ask(
    name: str,
    samples: int,
    path: str | os.PathLike[str] | None = None,
    *,
    first: int | None = None,
    prompt: str | None = None,
    extractor: ModelName | None = None,
    pool: Pool | None = None,
) -> Asked:
    """One benchmark as something to ask.

    Args:
        name, path: as in `hicra.evals.benchmarks.load`.
        samples: answers of each item.
        first: only so many items, for a try.
        prompt: a template with ``{problem}`` in place of the benchmark's own.
        extractor: a model that finds the answers in responses to vision benchmarks, in place of rules.
        pool: workers of the answer checker.

    Raises:
        ConfigError: no such benchmark, no samples, or a template without a place for the problem.
        DataError: a broken file.
    """
    if samples < 1 or (first is not None and first < 1):
        raise ConfigError("nothing to answer", expected="at least 1 sample of 1 item", got=f"{samples}, {first}")
    problems = load(name, path)[:first]
    graders = {p.grader for p in problems}
    if len(graders) > 1:
        raise ConfigError(f"{name}: one benchmark, several graders", expected="one", got=", ".join(sorted(graders)))
    grader = graders.pop()
    if grader == "boxed" and extractor is not None:
        extractor = None  # a box needs none
    if prompt is not None:
        fill(prompt, "")

    def text(problem: Problem) -> str:
        if prompt is not None or problem.grader == "boxed":
            return fill(prompt or BOXED, problem.problem)
        return question(problem, box=extractor is None)

    def message(problem: Problem) -> Message:
        return parts(text(problem), problem.images) if problem.images else text(problem)

    about = (prompt or BOXED) if grader == "boxed" else f"{grader}: {prompt or 'as its authors ask'}"
    if extractor is not None:
        about += f"; answers extracted by {extractor.name}"
    extract = None if extractor is None else make_extractor(extractor)
    return Asked(name, problems, samples, message, partial(grade_vision, pool=pool), about, extract)
