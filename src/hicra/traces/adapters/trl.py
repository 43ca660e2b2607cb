"""TRL's completions: ``<output_dir>/completions/completions_00012.parquet``, written where ``log_completions=True``.

One file a logged step, columns ``step, prompt, completion, <one a reward function>, <extras>, advantage``; prompt and
completion are texts or conversations, completions without special tokens. A file holds the newest generated batch, in
which the completions of one prompt stand together; a batch that several steps train on is in the files of all of them.
Read in TRL 1.16.0 (`GRPOTrainer.log`).
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hicra.errors import DataError
from hicra.traces.adapters.files import (
    Row,
    TornError,
    conversation,
    is_last,
    number,
    numbered,
    parquet_rows,
    spoken,
    torn,
)
from hicra.traces.adapters.sampled import Adapter, Sampled, Source, Step

_COLUMNS = ("step", "prompt", "completion", "advantage")


def find(path: Path) -> list[Path]:
    """Files named as TRL names them, in the folder or in its ``completions/``, whose columns are TRL's."""
    inside = path / "completions" if (path / "completions").is_dir() else path
    files = numbered(inside.iterdir() if inside.is_dir() else [path], r"completions_(\d+)\.parquet")
    return files if files and _names(files[0]) >= set(_COLUMNS) else []


def read(source: Source) -> Iterator[Step]:
    """The steps, with what was seen twice left out."""
    before: list[tuple[str, str]] = []
    for path in source.files:
        try:
            rows = list(parquet_rows(path))
        except TornError as error:
            if not is_last(path, source.files):
                raise torn(path) from error
            source.note(f"{path.name} is still being written and was left out")
            return
        if not rows:
            source.note(f"{path.name} holds no completion")
            continue
        step = int(number(rows[0][1].get("step"), rows[0][0], "step"))
        if step == 0:
            source.note(f"{path.name} is from before the first step, so an evaluation: left out")
            continue
        texts = [(str(row["prompt"]), str(row["completion"])) for _, row in rows]
        if texts == before:
            source.note("steps that trained on an earlier step's batch again are left out: TRL wrote that batch twice")
            continue
        before = texts
        names, weights = _rewards([row for _, row in rows], source, path)
        groups = _groups([prompt for prompt, _ in texts])
        yield Step(
            step,
            [
                Sampled(
                    where=where,
                    prompt=conversation(row["prompt"], where, "prompt"),
                    completion=spoken(row["completion"], where, "completion"),
                    reward=_total([number(row[n], where, n) for n in names], weights),
                    group=group,
                    advantage=number(row["advantage"], where, "advantage"),
                )
                for (where, row), group in zip(rows, groups, strict=True)
            ],
        )


def _names(path: Path) -> set[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return set(pq.read_schema(path).names)
    except (pa.ArrowException, OSError):
        return set(_COLUMNS)  # torn: its name alone has to do


def _groups(prompts: Sequence[str]) -> list[int]:
    """Numbers of groups: runs of one prompt, cut at the most common length where a prompt was drawn twice in a row."""
    runs = [len(list(run)) for _, run in itertools.groupby(prompts)]
    usual = Counter(runs).most_common(1)[0][0]
    sizes = [size for run in runs for size in ([usual] * (run // usual) if run % usual == 0 else [run])]
    return [group for group, size in enumerate(sizes) for _ in range(size)]


def _rewards(rows: Sequence[Row], source: Source, path: Path) -> tuple[list[str], list[float]]:
    """The reward columns and their weights.

    The files say neither which numeric column is a reward and which one an extra, nor the weights. All of them with
    weight 1 it is where the advantages follow from that; else the largest choice of columns from which they do.

    Raises:
        DataError: no numeric column, or one that was named is not there.
    """
    there = [n for n in rows[0] if n not in _COLUMNS and _numeric([row[n] for row in rows])]
    if chosen := source.options.rewards:
        if missing := [n for n in chosen if n not in there]:
            raise DataError(
                f"{path}: no reward column {missing[0]!r}", expected=f"one of {', '.join(map(repr, there)) or 'none'}"
            )
        return list(chosen), list(chosen.values())
    if not there:
        raise DataError(
            f"{path}: no reward column",
            expected="a numeric column for each reward function",
            got=f"{', '.join(rows[0])}",
        )
    if len(there) == 1 or _explain(rows, there):
        return there, [1.0] * len(there)
    if len(there) <= 8:
        for size in range(len(there) - 1, 0, -1):
            for some in map(list, itertools.combinations(there, size)):
                if _explain(rows, some):
                    rest = ", ".join(n for n in there if n not in some)
                    source.note(f"rewards: {' + '.join(some)}; the advantages do not follow {rest}, taken for extras")
                    return some, [1.0] * size
    source.note(
        f"rewards: {' + '.join(there)}, though the advantages do not follow from this sum: give the columns and their "
        f"weights by --reward, e.g. --reward {there[0]}=1"
    )
    return there, [1.0] * len(there)


def _explain(rows: Sequence[Row], names: Sequence[str]) -> bool:
    """Whether in every group the advantages are the centred sums of these columns times one factor above 0."""
    groups: dict[int, list[tuple[float, float]]] = {}
    for group, row in zip(_groups([str(row["prompt"]) for row in rows]), rows, strict=True):
        total = _total([number(row[n], "", n) for n in names], [1.0] * len(names))
        groups.setdefault(group, []).append((total, number(row["advantage"], "", "advantage")))
    for pairs in groups.values():
        mean = sum(r for r, _ in pairs) / len(pairs)
        centred = [(r - mean, a) for r, a in pairs]
        xx, xy = sum(x * x for x, _ in centred), sum(x * a for x, a in centred)
        slope = xy / xx if xx > 1e-12 else 0.0
        worst = max(abs(a - slope * x) for x, a in centred)
        if slope < 0 or not worst <= 1e-3 * max(1e-6, max(abs(a) for _, a in pairs)) + 1e-6:
            return False
    return True


def _total(values: Sequence[float], weights: Sequence[float]) -> float:
    """As TRL adds them: rewards that do not apply are left out; NaN where none applies."""
    if all(math.isnan(value) for value in values):
        return math.nan
    return sum(w * v for v, w in zip(values, weights, strict=True) if not math.isnan(v))


def _numeric(values: Sequence[Any]) -> bool:
    return all(v is None or isinstance(v, bool | int | float) for v in values) and any(v is not None for v in values)


TRL = Adapter(
    "trl",
    "completions/completions_<step>.parquet with step, prompt, completion, advantage (log_completions=True)",
    find,
    read,
)
