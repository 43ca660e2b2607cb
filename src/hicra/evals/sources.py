"""Where results come from: results files, run directories, and folders of either."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from hicra.errors import DataError, RunDirError
from hicra.evals.results import SUFFIXES, Result, read_results
from hicra.traces.rundir import RunReader

BASE = "base"
"""Name of the method that is no method: the model before training."""

_STEP = re.compile(r"step-(\d+)\.parquet")


def read_arm(path: Path, *, name: str | None = None, step: int | None = None, base: bool = True) -> list[Result]:
    """Everything that one argument of ``hicra compare`` stands for.

    Args:
        path: a results file; a run directory (its last evaluation); or a folder of results files and run directories.
        name: the method of all of it; default: what the rows say, else the file's or directory's name.
        step: of a run directory, the evaluation after this step in place of the last one.
        base: of a run directory, its evaluation before training too, as the method ``base``.

    Raises:
        DataError: nothing there, or a broken results file.
        RunDirError: a run directory without such an evaluation.
    """
    if (path / "run.json").is_file():
        return read_run(path, name=name, step=step, base=base)
    if path.is_dir():
        inside = sorted(path.iterdir())
        runs = [p for p in inside if (p / "run.json").is_file()]
        files = [p for p in inside if p.is_file() and p.name.endswith(SUFFIXES) and not p.name.startswith(".")]
        if not runs and not files:
            raise DataError(
                f"{path}: no results in it",
                expected=f"run directories, or files that end in {', '.join(SUFFIXES)}",
                got=", ".join(p.name for p in inside[:8]) or "an empty folder",
            )
        found = [r for run in runs for r in read_run(run, name=name, step=step, base=base)]
        return found + [r for file in files for r in _renamed(read_results(file), name)]
    return _renamed(read_results(path), name)


def read_run(path: Path, *, name: str | None = None, step: int | None = None, base: bool = True) -> list[Result]:
    """The evaluations of a run directory (see `read_arm`)."""
    meta = RunReader(path).meta
    files = {int(m[1]): p for p in (path / "evals").glob("step-*.parquet") if (m := _STEP.fullmatch(p.name))}
    wanted = max(files, default=0) if step is None else step
    if wanted not in files:
        raise RunDirError(
            f"{path}: no evaluation" + ("" if step is None else f" after step {step}"),
            expected="files evals/step-NNNNNN.parquet with item, sample, correct",
            got=f"evaluations after steps {', '.join(map(str, sorted(files)))}" if files else "none",
        )
    about = {"model": _model(meta), "seed": _seed(meta)}
    found = _told(read_results(files[wanted], method=name or path.name), about, name)
    if base and 0 in files and wanted != 0:
        found = _told(read_results(files[0]), about, BASE) + found
    return found


def _told(results: list[Result], about: dict[str, Any], name: str | None) -> list[Result]:
    said = [
        replace(r, model=r.model or about["model"], seed=about["seed"] if r.seed is None else r.seed) for r in results
    ]
    return _renamed(said, name)


def _renamed(results: list[Result], name: str | None) -> list[Result]:
    return results if name is None else [replace(result, method=name) for result in results]


def _model(meta: dict[str, Any]) -> str:
    config = meta.get("config") or {}
    named = config.get("model") if isinstance(config, dict) else None
    return Path(named).name if isinstance(named, str) and "/" in named else str(named or "")


def _seed(meta: dict[str, Any]) -> int | None:
    seeds = meta.get("seeds") or {}
    found = seeds.get("seed", next(iter(seeds.values()), None))
    return found if isinstance(found, int) and not isinstance(found, bool) else None
