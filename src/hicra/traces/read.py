"""Traces from JSON lines, Parquet and `datasets`, one at a time: memory grows with what the caller keeps."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from glob import glob, has_magic
from importlib import resources
from pathlib import Path
from typing import Any

from hicra.errors import DataError
from hicra.traces.columns import RowReader, check_mapping
from hicra.traces.lines import read_lines
from hicra.traces.schema import Trace

_LINES = (".jsonl", ".ndjson", ".json")
_EXTENSIONS = (*(ext + zipped for ext in _LINES for zipped in ("", ".gz", ".zst")), ".parquet")
_BATCH = 256  # rows of Parquet decoded at a time

OnBroken = Callable[[DataError], None]


def read_traces(
    path_or_dataset: str | os.PathLike[str] | Iterable[Mapping[str, Any]],
    *,
    columns: Mapping[str, str] | None = None,
    on_broken: OnBroken | None = None,
) -> Iterator[Trace]:
    """Stream traces.

    Args:
        path_or_dataset: a file of JSON lines (``.jsonl``, ``.ndjson`` or ``.json``, plain or with ``.gz`` / ``.zst``),
            a ``.parquet`` file, a directory (searched to its depth) or a glob pattern of them, read in the order of
            their names; or a ``datasets.Dataset`` / ``IterableDataset``, or any other iterable of mappings.
        columns: our name -> the name in the data, e.g. ``{"solution": "generation"}``. Fields that are not given are
            found by their own name or a usual one (prompt, question; completion, response, output; is_correct) if no
            two columns could be meant. A trace needs a problem and a solution; its id is made up from the place where
            there is none, the other fields are None.
        on_broken: is handed the error of each broken row (with file and line), which is then skipped. Default: the
            first one is raised. A damaged file is an error either way, and so is one without any sound row.

    Returns:
        An iterator over traces. What is wrong with the arguments is raised at once, what is wrong with the data when it
        is reached.

    Raises:
        ConfigError: `columns` is not a mapping from fields of a trace to distinct columns.
        DataError: nothing there, an unknown extension, a damaged file, broken JSON, a missing or ambiguous column, a
            value of another type (each with file and line), or no row at all.
    """
    rows = RowReader(check_mapping(columns))
    broken = _Broken(on_broken)
    if isinstance(path_or_dataset, str | os.PathLike):
        path = Path(path_or_dataset)
        files = _files(path, str(path_or_dataset))
        root = path if path.is_dir() else None
        source = str(path_or_dataset)
        return _at_least_one((t for file in files for t in _from_file(file, root, rows, broken)), source, broken)
    if isinstance(path_or_dataset, Mapping):
        raise DataError(
            "a mapping is not a sequence of rows",
            expected="one split of a data set",
            got=f"{type(path_or_dataset).__name__} with the keys {', '.join(map(repr, path_or_dataset))}",
            mend='pick a split, e.g. read_traces(dataset["train"])',
        )
    if not isinstance(path_or_dataset, Iterable):
        raise DataError(
            "traces come from a path or from rows",
            expected="a path, a datasets.Dataset, or an iterable of mappings",
            got=type(path_or_dataset).__name__,
        )
    name = type(path_or_dataset).__name__
    return _at_least_one(_from_rows(path_or_dataset, name, rows, broken), name, broken)


class _Broken:
    """What to do with broken rows: raise the first, or hand each over and remember the first."""

    def __init__(self, on_broken: OnBroken | None) -> None:
        self._hand_over = on_broken
        self.rows = 0
        self.first: DataError | None = None

    def __call__(self, error: DataError) -> None:
        if self._hand_over is None:
            raise error
        self.rows += 1
        self.first = self.first or error
        self._hand_over(error)


def sample_traces() -> Iterator[Trace]:
    """Stream the bundled sample: some 300 real traces of several styles (sources, licences: ``data/README.md``)."""
    with resources.as_file(resources.files("hicra.traces") / "data" / "sample.jsonl.zst") as path:
        yield from read_traces(path)


def trace_files(path_or_pattern: str | os.PathLike[str]) -> list[Path]:
    """The files that a path, a directory or a pattern stands for, in the order in which they are read.

    Raises:
        DataError: there is none, or one of them is of no known kind.
    """
    return _files(Path(path_or_pattern), str(path_or_pattern))


def _files(path: Path, given: str) -> list[Path]:
    if path.is_dir():
        files = sorted(
            p
            for p in path.rglob("*")
            if p.name.endswith(_EXTENSIONS)
            and p.is_file()
            and not any(part.startswith(".") for part in p.relative_to(path).parts)
        )
        if not files:
            there = sorted(p.name for p in path.iterdir())
            arrow = any(name.endswith(".arrow") for name in there)
            raise DataError(
                f"{path}: no file of traces in this directory",
                expected=f"files that end in {', '.join(_EXTENSIONS)}",
                got=_some(there) or "an empty directory",
                mend='read_traces(datasets.load_from_disk("..."))' if arrow else None,
            )
        return files
    if path.exists():
        if not path.name.endswith(_EXTENSIONS):
            raise _unknown_extension(path)
        return [path]
    if "://" in given:
        raise DataError(
            f"{given}: addresses are not read",
            expected="a local path or a loaded data set",
            mend="download the file, or load it: read_traces(datasets.load_dataset(...))",
        )
    if has_magic(given):
        files = sorted(Path(p) for p in glob(given, recursive=True) if Path(p).is_file())
        if not files:
            raise DataError(f"{given}: no file matches this pattern")
        for file in files:
            if not file.name.endswith(_EXTENSIONS):
                raise _unknown_extension(file)
        return files
    beside = sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []
    raise DataError(
        f"{given}: no such file or directory",
        got=f"beside it: {_some(beside)}" if beside else None,
        mend="for a data set of the hub: read_traces(datasets.load_dataset(..., split=...))" if not beside else None,
    )


def _unknown_extension(path: Path) -> DataError:
    return DataError(
        f"{path}: unknown kind of file",
        expected=f"a name that ends in {', '.join(_EXTENSIONS)}",
        got=f"the ending {path.suffix!r}",
        mend="rename the file, or load it with `datasets` and hand over the data set",
    )


def _from_file(path: Path, root: Path | None, rows: RowReader, broken: _Broken) -> Iterator[Trace]:
    name = path.relative_to(root).as_posix() if root else path.name
    read = _from_parquet if path.suffix == ".parquet" else _from_lines
    yield from read(path, name, rows, broken)


def _from_lines(path: Path, name: str, rows: RowReader, broken: _Broken) -> Iterator[Trace]:
    for number, line in read_lines(path, broken):
        where = f"{path}:{number}"
        try:
            trace = rows.trace(_parsed(line, number, where, path), where, f"{name}:{number}")
        except DataError as error:
            broken(error)
        else:
            yield trace


def _parsed(line: str, number: int, where: str, path: Path) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:  # ValueError: also an integer of too many digits
        raise _broken_json(where, number, line, error) from error
    if not isinstance(row, dict):
        raise DataError(
            f"{where}: a line must be one JSON object",
            expected='{"problem": "...", "solution": "..."}',
            got=f"a JSON {type(row).__name__}",
            mend=f"jq -c '.[]' {path} > lines.jsonl" if isinstance(row, list) else None,
        )
    return row


def _broken_json(where: str, number: int, line: str, error: Exception) -> DataError:
    column = getattr(error, "colno", 1)
    near = line[max(0, column - 20) : column + 40].strip()
    mend = None
    if number == 1 and line.strip() in ("[", "{"):  # a document over many lines, not lines of documents
        mend = "one JSON object a line is wanted: jq -c '.[]' file.json > file.jsonl (or jq -c . if it is objects)"
    return DataError(
        f"{where}: broken JSON at column {column}: {getattr(error, 'msg', error)}",
        expected="one JSON object a line",
        got=f"... {near} ..." if near else "the end of the line",
        mend=mend,
    )


def _from_parquet(path: Path, name: str, rows: RowReader, broken: _Broken) -> Iterator[Trace]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            at = rows.resolve(file.schema_arrow.names, str(path))
            for batch in file.iter_batches(batch_size=_BATCH, columns=sorted(set(at.values())), use_threads=False):
                for row in batch.to_pylist():
                    number += 1
                    try:
                        trace = rows.trace(row, f"{path}: row {number}", f"{name}:{number}")
                    except DataError as error:
                        broken(error)
                    else:
                        yield trace
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path}: is not an intact Parquet file (read up to row {number})",
            got=str(error).splitlines()[0],
            mend="copy or download the file again",
        ) from error


def _from_rows(source: Iterable[Any], name: str, rows: RowReader, broken: _Broken) -> Iterator[Trace]:
    for number, row in enumerate(source, start=1):
        where = f"{name}: row {number}"
        try:
            if not isinstance(row, Mapping):
                raise DataError(f"{where}: not a row", expected="a mapping from column names", got=type(row).__name__)
            trace = rows.trace(row, where, f"{name}:{number}")
        except DataError as error:
            broken(error)
        else:
            yield trace


def _at_least_one(traces: Iterator[Trace], source: str, broken: _Broken) -> Iterator[Trace]:
    empty = True
    for trace in traces:
        empty = False
        yield trace
    if empty and broken.first is not None:
        raise DataError(
            f"{source}: none of its {broken.rows:,} rows can be read; the first: {broken.first.problem}",
            expected=broken.first.expected,
            got=broken.first.got,
            mend=broken.first.mend,
        ) from broken.first
    if empty:
        raise DataError(f"{source}: holds no traces", expected="at least one row", got="an empty corpus")


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f", and {len(names) - 8} more" if len(names) > 8 else "")
