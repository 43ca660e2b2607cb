"""The results file: what a model answered on a benchmark, one row an answer.

    column      type     meaning
    item        string   the problem's id; the same id is the same problem in every file
    sample      int      number of the answer to it, from 0
    correct     bool     whether the checker accepted it
    model       string   what was trained, e.g. "Qwen3-4B-Base"                         optional, else ""
    method      string   how: "base", "GRPO", "HICRA"                                   optional, else the file's name
    benchmark   string   e.g. "aime24"                                                  optional, else "held-out"
    seed        int      of the training run; several make several runs of a method    optional, else null
    cluster     string   items of one cluster are versions of one problem (MathVerse)   optional
    truncated   bool     the answer was cut off at the length limit                     optional

Parquet, or JSON lines (plain, .gz or .zst) with the same names. A file may hold several models, methods, benchmarks and
seeds. Further columns are left alone. The evaluations of a run directory (evals/step-000040.parquet: item, sample,
correct) are such files; their model, method and seed come from run.json and the directory's name.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hicra.errors import DataError, HicraError
from hicra.traces.disk import write_atomic
from hicra.traces.lines import read_lines

if TYPE_CHECKING:
    import pyarrow as pa

    from hicra.evals.estimators import Ints

HELD_OUT = "held-out"
REQUIRED = ("item", "sample", "correct")
SUFFIXES = (".parquet", ".jsonl", ".jsonl.gz", ".jsonl.zst")
VERSION = 1
"""Of the file; Parquet files carry it as `hicra.results` in their metadata."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One row of a results file (see the module's text)."""

    item: str
    sample: int
    correct: bool
    model: str = ""
    method: str = ""
    benchmark: str = HELD_OUT
    seed: int | None = None
    cluster: str | None = None
    truncated: bool | None = None


COLUMNS = tuple(field.name for field in fields(Answer))


@dataclass(frozen=True, slots=True)
class Result:
    """One training run of one method on one benchmark: how many answers to each of I items are right.

    Attributes:
        model, method, benchmark: names.
        seed: of the training run.
        items: (I,) ids, sorted, each once.
        samples: (I,) answers of each item.
        correct: (I,) right ones among them.
        clusters: (I,) cluster of each item, None where every item stands for itself.
        truncated: answers that were cut off, None where that was not recorded.
    """

    model: str
    method: str
    benchmark: str
    seed: int | None
    items: tuple[str, ...]
    samples: Ints
    correct: Ints
    clusters: tuple[str, ...] | None = None
    truncated: int | None = None


def write_results(path: str | os.PathLike[str], answers: Iterable[Answer]) -> None:
    """Write a results file, whole or not at all: Parquet for ``.parquet``, else JSON lines.

    Raises:
        DataError: an ending that is not known, or no answers.
    """
    target, rows = Path(path), [asdict(answer) for answer in answers]
    if not rows:
        raise DataError(f"{target}: no answers to write", expected="at least one", got="none")
    if target.suffix == ".jsonl":
        lines = (json.dumps({k: v for k, v in row.items() if v is not None}, ensure_ascii=False) for row in rows)
        write_atomic(target, "".join(line + "\n" for line in lines).encode())
    elif target.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(rows, schema=_schema()), sink, compression="zstd")
        write_atomic(target, sink.getvalue().to_pybytes())
    else:
        raise DataError(f"{target}: unknown ending", expected=".parquet or .jsonl", got=target.suffix or "none")


def read_results(path: str | os.PathLike[str], *, method: str | None = None) -> list[Result]:
    """Read one results file, by model, method, benchmark and seed in the order of their first rows.

    Args:
        path: the file.
        method: name of the method for rows that do not say; default: the file's name.

    Raises:
        DataError: no such file, a missing or wrong column, an answer that occurs twice, or no answers.
    """
    source = Path(path)
    if not source.is_file():
        raise DataError(f"{source}: no such file", expected="a results file")
    stem = source.name
    for ending in sorted(SUFFIXES, key=len, reverse=True):
        stem = stem.removesuffix(ending)
    rows = _parquet_rows(source) if source.suffix == ".parquet" else _json_rows(source)
    return collect(rows, str(source), method=method or stem)


def collect(
    rows: Iterable[tuple[int, Mapping[str, Any]]],
    where: str,
    *,
    method: str = "",
    model: str = "",
    seed: int | None = None,
) -> list[Result]:
    """Results from (number of the row, row); `method`, `model` and `seed` are for rows that do not say.

    Raises:
        DataError: as `read_results`.
    """
    groups: dict[tuple[str, str, str, int | None], _Group] = {}
    for number, row in rows:
        answer = _answer(row, f"{where}: row {number}")
        name = (
            answer.model or model,
            answer.method or method,
            answer.benchmark,
            seed if answer.seed is None else answer.seed,
        )
        groups.setdefault(name, _Group()).add(answer, f"{where}: row {number}")
    if not groups:
        raise DataError(f"{where}: no answers", expected=f"rows with {', '.join(REQUIRED)}", got="none")
    return [group.result(*name, where) for name, group in groups.items()]


class _Group:
    """Answers of one run of one method on one benchmark, as they come."""

    def __init__(self) -> None:
        self.seen: dict[str, dict[int, bool]] = {}
        self.clusters: dict[str, str | None] = {}
        self.truncated: int | None = None

    def add(self, answer: Answer, where: str) -> None:
        samples = self.seen.setdefault(answer.item, {})
        if answer.sample in samples:
            raise DataError(
                f"{where}: this answer was there before",
                expected="each item and sample once for a model, method, benchmark and seed",
                got=f"item {answer.item!r}, sample {answer.sample} again",
                mend="give the runs different seeds, or the answers different sample numbers",
            )
        samples[answer.sample] = answer.correct
        if self.clusters.setdefault(answer.item, answer.cluster) != answer.cluster:
            raise DataError(
                f"{where}: item {answer.item!r} changes its cluster",
                expected=repr(self.clusters[answer.item]),
                got=repr(answer.cluster),
            )
        if answer.truncated is not None:
            self.truncated = (self.truncated or 0) + answer.truncated

    def result(self, model: str, method: str, benchmark: str, seed: int | None, where: str) -> Result:
        items = tuple(sorted(self.seen))
        clusters = [self.clusters[item] for item in items]
        if any(c is None for c in clusters) and any(c is not None for c in clusters):
            raise DataError(f"{where}: {benchmark}: some items have a cluster, others none", expected="all or none")
        return Result(
            model,
            method,
            benchmark,
            seed,
            items,
            np.array([len(self.seen[item]) for item in items], np.int64),
            np.array([sum(self.seen[item].values()) for item in items], np.int64),
            None if clusters[0] is None else tuple(c for c in clusters if c is not None),
            self.truncated,
        )


def _answer(row: Mapping[str, Any], where: str) -> Answer:
    missing = [name for name in REQUIRED if row.get(name) is None]
    if missing:
        raise DataError(
            f"{where}: not a row of a results file",
            expected=f"{', '.join(REQUIRED)}, none of them null",
            got=f"no {' and no '.join(missing)} among {', '.join(sorted(map(str, row))[:12])}",
        )
    values = {name: row[name] for name in COLUMNS if row.get(name) is not None}
    for name, value in values.items():
        whole = isinstance(value, int) and not isinstance(value, bool)
        if name in ("correct", "truncated"):
            fits = isinstance(value, bool) or (whole and value in (0, 1))
        elif name in ("sample", "seed"):
            fits = whole
        else:
            fits = isinstance(value, str)
        if not fits:
            kind = {
                "correct": "true or false",
                "truncated": "true or false",
                "sample": "an integer",
                "seed": "an integer",
            }
            raise DataError(f"{where}: {name}", expected=kind.get(name, "a string"), got=repr(value)[:80])
    for name in ("correct", "truncated"):
        if name in values:
            values[name] = bool(values[name])
    return Answer(**values)


def _json_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in read_lines(path):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{path}: row {number}: not JSON", expected="a JSON object a line", got=str(error)[:120]
            ) from error
        if not isinstance(row, dict):
            raise DataError(f"{path}: row {number}", expected="a JSON object", got=type(row).__name__)
        yield number, row


def _parquet_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        names = [name for name in COLUMNS if name in file.schema_arrow.names]
        missing = [name for name in REQUIRED if name not in names]
        if missing:
            raise DataError(
                f"{path}: not a results file",
                expected=f"columns {', '.join(REQUIRED)}",
                got=f"no {' and no '.join(missing)} among {', '.join(file.schema_arrow.names[:12])}",
            )
        number = 0
        for batch in file.iter_batches(columns=names):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, HicraError):
            raise
        raise DataError(f"{path}: cannot be read as Parquet", got=str(error)[:200]) from error


def _schema() -> pa.Schema:
    import pyarrow as pa

    types = {"sample": pa.int32(), "seed": pa.int64(), "correct": pa.bool_(), "truncated": pa.bool_()}
    return pa.schema(
        [(name, types.get(name, pa.string())) for name in COLUMNS], metadata={"hicra.results": str(VERSION)}
    )
