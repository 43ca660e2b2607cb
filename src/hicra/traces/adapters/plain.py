"""Plain rows: JSON lines (or Parquet) with a completion on each, for whatever has no adapter of its own.

    {"step": 12, "prompt": "...", "completion": "...", "reward": 1.0, "token_ids": [...], "logprobs": [...], ...}

Only the completion has to be there. Fields are found by their own name or a usual one (`ALIASES`), or named by
``columns=``. Texts may be conversations. Rows come in the order of their steps in each file; several files (one a step,
or one a process) are merged. Where no row has a step, the number in the file's name is it.
"""

from __future__ import annotations

import heapq
import itertools
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from hicra.errors import ConfigError, DataError
from hicra.traces.adapters.files import (
    LINES,
    Row,
    TornError,
    conversation,
    first_row,
    is_last,
    number,
    numbers,
    rows_of,
    spoken,
    token_ids,
    torn,
)
from hicra.traces.adapters.sampled import Adapter, Sampled, Source, Step

ALIASES: dict[str, tuple[str, ...]] = {
    "step": ("step", "global_step", "iteration"),
    "prompt": ("prompt", "problem", "question", "input"),
    "completion": ("completion", "response", "output", "generation", "solution"),
    "reward": ("reward", "score", "is_correct", "correct"),
    "prompt_id": ("prompt_id", "problem_id", "example_id", "id"),
    "group": ("group_id", "group"),
    "advantage": ("advantage", "advantages"),
    "truncated": ("truncated", "is_truncated"),
    "token_ids": ("token_ids", "completion_ids"),
    "pieces": ("tokens", "token_text"),
    "mask": ("mask", "loss_mask"),
    "logprobs": ("logprobs", "logprob", "log_probs"),
    "entropies": ("entropies", "entropy"),
}
"""Our field -> the names it is found by, the first one there first."""


def find(path: Path) -> list[Path]:
    """Files of JSON lines or Parquet whose first rows hold completions; a folder's ``.json`` files are settings."""
    lines = tuple(ending for ending in LINES if path.is_file() or not ending.startswith(".json") or ".jsonl" in ending)
    inside = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    files = [p for p in inside if p.name.endswith((*lines, ".parquet")) and not p.name.startswith(".")]
    files.sort(key=lambda p: (_in_name(p) or 0, str(p)))
    return files if any(set(ALIASES["completion"]) & first_row(file).keys() for file in files[:3]) else []


def find_any(path: Path) -> list[Path]:
    """As `find`, whatever the columns are called: for those who name them."""
    return find(path) or [p for p in ([path] if path.is_file() else sorted(path.rglob("*.jsonl*"))) if p.is_file()]


def read(source: Source) -> Iterator[Step]:
    """The steps, merged over files."""
    if unknown := [field for field in source.options.columns if field not in ALIASES]:
        raise ConfigError(
            f"columns= has the key {unknown[0]!r}, which is no field of a completion", expected=", ".join(ALIASES)
        )
    streams = [_file(path, source) for path in source.files]
    merged = heapq.merge(*streams, key=lambda pair: pair[0])
    for step, rows in itertools.groupby(merged, key=lambda pair: pair[0]):
        yield Step(step, [sample for _, sample in rows])


def _file(path: Path, source: Source) -> Iterator[tuple[int, Sampled]]:
    before = 0
    at: dict[str, str] = {}
    names: tuple[str, ...] = ()
    try:
        for where, row in rows_of(path):
            if tuple(row) != names:
                names = tuple(row)
                at = _places(names, source, where)
            step = _step(row, at, path, source, where)
            if step < before:
                raise DataError(
                    f"{where}: step {step} comes after step {before}",
                    expected="rows in the order of their steps",
                    mend="sort the rows by step first, or split the file by step",
                )
            before = step
            yield step, _sampled(row, at, where)
    except TornError as error:
        if not is_last(path, source.files):
            raise torn(path) from error
        source.note(f"{path.name} is still being written: its torn last row was left out, step {before} may lack more")


def _places(names: tuple[str, ...], source: Source, where: str) -> dict[str, str]:
    """Field -> column, for rows that have these columns."""
    at = {}
    for field, aliases in ALIASES.items():
        chosen = source.options.columns.get(field)
        if chosen is not None and chosen not in names:
            raise DataError(
                f"{where}: no column {chosen!r} for the {field}", got=f"columns {', '.join(map(repr, names))}"
            )
        place = chosen or next((name for name in aliases if name in names), None)
        if place is not None:
            at[field] = place
    if "completion" not in at and "token_ids" not in at:
        raise DataError(
            f"{where}: no column for the completion",
            expected=" or ".join(map(repr, ALIASES["completion"])),
            got=f"columns {', '.join(map(repr, names))}",
            mend="name it: --column completion=<one of those>",
        )
    return at


def _step(row: Row, at: Mapping[str, str], path: Path, source: Source, where: str) -> int:
    value = row[at["step"]] if "step" in at else _in_name(path)
    if value is None:
        source.note("no step in the rows nor in the files' names: all of it counts as step 1, so nothing over training")
        return 1
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise DataError(f"{where}: the step is no whole number from 0", got=repr(value)[:80])
    return value


def _sampled(row: Row, at: Mapping[str, str], where: str) -> Sampled:
    def value(field: str) -> Any:
        return row[at[field]] if field in at else None

    take = partial(_list, row, at, where)
    ids = None if value("token_ids") is None else token_ids(value("token_ids"), where, at["token_ids"])
    pieces, mask = take("pieces", str), take("mask", bool | int)
    advantage = value("advantage")
    if isinstance(advantage, list):
        advantage = [item or 0.0 for item in numbers(advantage, where, at["advantage"]) or []]
    elif advantage is not None:
        advantage = number(advantage, where, at["advantage"])
    name, group, truncated = value("prompt_id"), value("group"), value("truncated")
    return Sampled(
        where=where,
        prompt="" if value("prompt") is None else conversation(value("prompt"), where, at["prompt"]),
        completion=None if value("completion") is None else spoken(value("completion"), where, at["completion"]),
        reward=number(value("reward"), where, at.get("reward", "reward")),
        prompt_id=None if name is None else str(name),
        group=group if isinstance(group, str | int) else None,
        advantage=advantage,
        token_ids=ids,
        pieces=pieces,
        mask=None if mask is None else [bool(flag) for flag in mask],
        logprobs=None if "logprobs" not in at else numbers(value("logprobs"), where, at["logprobs"]),
        entropies=None if "entropies" not in at else numbers(value("entropies"), where, at["entropies"]),
        truncated=None if truncated is None else bool(truncated),
    )


def _list(row: Row, at: Mapping[str, str], where: str, field: str, kind: Any) -> list[Any] | None:
    value = row[at[field]] if field in at else None
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, kind) for item in value):
        raise DataError(
            f"{where}: {at[field]!r} is no list of {getattr(kind, '__name__', kind)}", got=f"{type(value).__name__}"
        )
    return value


def _in_name(path: Path) -> int | None:
    """The number in a file's name, if there is just one: ``step_12.jsonl``, ``00012.jsonl``."""
    found = re.findall(r"\d+", path.name.split(".")[0])
    return int(found[0]) if len(found) == 1 else None


PLAIN = Adapter(
    "plain",
    "rows of JSON lines or Parquet with a column " + ", ".join(ALIASES["completion"][:-1]) + " or solution",
    find,
    read,
)
