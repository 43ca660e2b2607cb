"""Rows of other tools' files, each with the place it came from, and what to do about a file still being written."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hicra.errors import DataError
from hicra.traces.lines import read_lines

LINES = tuple(ext + zipped for ext in (".jsonl", ".ndjson", ".json") for zipped in ("", ".gz", ".zst"))
"""Endings of files of JSON lines."""

Row = dict[str, Any]


class TornError(Exception):
    """A file ends in the middle of a row: it is still being written, or its writer was killed."""


def json_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """(place, object) of each line.

    Raises:
        TornError: the last line has no end and is no JSON; what came before it was yielded.
        DataError: any other line is broken or no object.
    """
    complete = _complete_lines(path)
    if complete == 0:
        raise TornError
    for number, line in read_lines(path):
        if complete is not None and number > complete:
            raise TornError
        where = f"{path}:{number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            column = getattr(error, "colno", 1)
            raise DataError(
                f"{where}: broken JSON at column {column}: {getattr(error, 'msg', error)}",
                expected="one JSON object a line",
                got=f"... {line[max(0, column - 20) : column + 40].strip()} ...",
                mend="remove that line, or copy the file again",
            ) from error
        if not isinstance(row, dict):
            raise DataError(f"{where}: a line must be one JSON object", got=f"a JSON {type(row).__name__}")
        yield where, row
        if number == complete:
            raise TornError


def parquet_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """(place, row) of each row of a Parquet file.

    Raises:
        TornError: the file has no footer: it is being written, or its writer was killed.
        DataError: damaged otherwise.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not _has_footer(path):
        raise TornError
    number = 0
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            for batch in file.iter_batches(batch_size=256, use_threads=False):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}: row {number}", row
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: bytes that are no UTF-8
        raise DataError(
            f"{path}: is not an intact Parquet file (read up to row {number})", got=str(error).splitlines()[0]
        ) from error


def rows_of(path: Path) -> Iterator[tuple[str, Row]]:
    """Rows of a file of JSON lines or of Parquet, by its name; raises what these two do."""
    return parquet_rows(path) if path.suffix == ".parquet" else json_rows(path)


def first_row(path: Path) -> Row:
    """The first row, empty where there is none that can be read."""
    try:
        return next(iter(rows_of(path)), ("", {}))[1]
    except (TornError, DataError, OSError):
        return {}


def numbered(paths: Iterable[Path], pattern: str) -> list[Path]:
    """The paths whose name matches, by the number in its group."""
    found = [(int(match[1]), path) for path in paths if (match := re.fullmatch(pattern, path.name))]
    return [path for _, path in sorted(found)]


def is_last(path: Path, files: Iterable[Path]) -> bool:
    """Whether the file is the last one of a run; only that one may be torn."""
    return path == list(files)[-1]


def torn(path: Path) -> DataError:
    """The error for a file that is cut off though later ones are there."""
    return DataError(
        f"{path}: ends in the middle of a row, though later steps are there",
        expected="whole rows; only the last file of a run may still be being written",
        mend="copy the file again, or move it away to leave its step out",
    )


def need(row: Mapping[str, Any], name: str, kinds: type | tuple[type, ...], where: str) -> Any:
    """A value that has to be there and of that type.

    Raises:
        DataError: it is not.
    """
    value = row.get(name)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in _tuple(kinds)):
        names = " or ".join(kind.__name__ for kind in _tuple(kinds))
        raise DataError(
            f"{where}: {name!r} is {'missing' if name not in row else 'of the wrong type'}",
            expected=names,
            got=f"columns {', '.join(map(repr, row))}"
            if name not in row
            else f"{type(value).__name__} {value!r}"[:120],
        )
    return value


def number(value: Any, where: str, name: str) -> float:
    """A number as a float; None and a missing value as NaN.

    Raises:
        DataError: neither of these.
    """
    if value is None:
        return math.nan
    if isinstance(value, bool | int | float):
        return float(value)
    raise DataError(f"{where}: {name!r} is no number", got=f"{type(value).__name__} {value!r}"[:120])


def numbers(value: Any, where: str, name: str) -> list[float | None] | None:
    """A list of numbers, None where one is unknown or not finite; None for no list at all.

    Raises:
        DataError: anything else.
    """
    if value is None:
        return None
    if not isinstance(value, list):
        raise DataError(f"{where}: {name!r} is no list of numbers", got=f"{type(value).__name__} {value!r}"[:120])
    found = [number(item, where, name) for item in value]
    return [item if math.isfinite(item) else None for item in found]


def token_ids(value: Any, where: str, name: str) -> list[int]:
    """A list of token ids.

    Raises:
        DataError: anything else.
    """
    if not isinstance(value, list) or not all(type(item) is int and 0 <= item < 2**31 for item in value):
        raise DataError(f"{where}: {name!r} is no list of token ids", got=f"{type(value).__name__} {value!r}"[:120])
    return value


def conversation(value: Any, where: str, name: str) -> str | list[dict[str, Any]]:
    """A text, or the messages of a conversation.

    Raises:
        DataError: neither of these.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, dict) and isinstance(item.get("role"), str) for item in value):
        return [{"role": item["role"], "content": content_text(item.get("content"))} for item in value]
    raise DataError(
        f"{where}: {name!r} is neither a text nor a conversation",
        expected='"..." or [{"role": "user", "content": "..."}]',
        got=f"{type(value).__name__} {value!r}"[:120],
    )


def spoken(value: Any, where: str, name: str) -> str:
    """What a completion says: its text, or the texts of its assistant messages one after the other."""
    found = conversation(value, where, name)
    if isinstance(found, str):
        return found
    return "\n\n".join(str(m["content"]) for m in found if m["role"] == "assistant")


def content_text(content: Any) -> str:
    """The text of a message's content: a string, or parts of which the text ones count."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [part.get("text") or "" for part in content if isinstance(part, dict)]
        return "".join(part for part in parts if isinstance(part, str))
    return ""


def _tuple(kinds: type | tuple[type, ...]) -> tuple[type, ...]:
    return kinds if isinstance(kinds, tuple) else (kinds,)


def _complete_lines(path: Path) -> int | None:
    """None if every line is whole; else how many come before the torn one."""
    if path.suffix in (".gz", ".zst"):
        return None
    ends, tail = 0, b""
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            ends += chunk.count(b"\n")
            cut = chunk.rfind(b"\n")
            tail = tail + chunk if cut < 0 else chunk[cut + 1 :]
    if not tail.strip():
        return None
    try:
        json.loads(tail)
    except ValueError:
        return ends
    return None


def _has_footer(path: Path) -> bool:
    """False for the beginning of a Parquet file without its end; True for a whole one, and for what is none at all."""
    with path.open("rb") as file:
        head = file.read(4)
        if head != b"PAR1":
            return not b"PAR1".startswith(head)
        size = file.seek(0, 2)
        file.seek(max(0, size - 4))
        return size >= 12 and file.read(4) == b"PAR1"
