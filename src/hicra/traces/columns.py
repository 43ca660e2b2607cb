"""From a row with somebody else's column names to a `Trace`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from hicra.errors import ConfigError, DataError
from hicra.traces.schema import TRACE_FIELDS, Trace

REQUIRED = ("problem", "solution")

ALIASES: dict[str, tuple[str, ...]] = {
    "problem": ("problem", "prompt", "question"),
    "solution": ("solution", "completion", "response", "output"),
    "correct": ("correct", "is_correct"),
}
"""Names that are understood without being told, if exactly one of a field's names is there. A data set with a prompt, a
reference `solution` and a sampled `completion` is common: which one is meant is for its owner to say."""


def check_mapping(columns: Mapping[str, str] | None) -> dict[str, str]:
    """Check `columns` (our name -> theirs) before any file is opened.

    Raises:
        ConfigError: a key that is no field of `Trace`, a value that is no name, or one column given to two fields.
    """
    mapping = dict(columns or {})
    for field, column in mapping.items():
        if field not in TRACE_FIELDS:
            raise ConfigError(
                f"columns= has the key {field!r}, which is no field of a trace",
                expected=f"keys among {', '.join(TRACE_FIELDS)}; values are the names in your data",
                got=f"{field!r}: {column!r}",
                mend='for example columns={"problem": "question", "solution": "generation"}',
            )
        if not isinstance(column, str):
            raise ConfigError(f"columns= gives {field!r} no column name", expected="a string", got=repr(column))
    for field, column in mapping.items():
        twins = [other for other in mapping if mapping[other] == column]
        if len(twins) > 1:
            raise ConfigError(
                f"columns= takes {' and '.join(map(repr, twins))} from the same column {column!r}",
                expected="each field from a column of its own",
                got=repr(mapping),
                mend=f"leave one of them out, or name another column for {field!r}",
            )
    return mapping


class RowReader:
    """Turns rows into traces; works out once per set of column names where each field is."""

    def __init__(self, columns: Mapping[str, str]) -> None:
        self._mapping = columns
        self._resolved: dict[tuple[str, ...], dict[str, str]] = {}

    def resolve(self, names: Iterable[str], where: str) -> dict[str, str]:
        """Field -> column name for rows that have the columns `names`.

        Raises:
            DataError: a column is missing, there twice, or two of them could be the same field.
        """
        key = tuple(names)
        if key not in self._resolved:
            if len(self._resolved) > 1000:  # rows with ever new keys must not fill the memory
                self._resolved.clear()
            self._resolved[key] = self._resolve(key, where)
        return self._resolved[key]

    def _resolve(self, names: tuple[str, ...], where: str) -> dict[str, str]:
        there = ", ".join(map(repr, names)) or "none"
        for name in names:
            if names.count(name) > 1:
                raise DataError(f"{where}: the column {name!r} is there twice", got=f"columns {there}")
        for field, column in self._mapping.items():
            if column not in names:
                raise DataError(
                    f"{where}: there is no column {column!r}, which columns= gives for {field!r}",
                    expected=f"a column {column!r}",
                    got=f"columns {there}",
                    mend=f"name one of them: columns={{{field!r}: ...}}",
                )
        found = dict(self._mapping)
        taken = set(self._mapping.values())
        for field in TRACE_FIELDS:
            if field in found:
                continue
            aliases = ALIASES.get(field, (field,))
            candidates = [name for name in aliases if name in names and name not in taken]
            if len(candidates) > 1:
                raise DataError(
                    f"{where}: {' and '.join(map(repr, candidates))} could each be the {field}",
                    expected=f"one column that is the {field}",
                    got=f"columns {there}",
                    mend=f"say which one: columns={{{field!r}: {candidates[0]!r}}}",
                )
            if candidates:
                found[field] = candidates[0]
            elif field in REQUIRED:
                raise DataError(
                    f"{where}: no column for the {field}",
                    expected=f"a column named {' or '.join(map(repr, aliases))}",
                    got=f"columns {there}",
                    mend=f"name it: columns={{{field!r}: <one of those>}}",
                )
        return found

    def trace(self, row: Mapping[str, Any], where: str, default_id: str) -> Trace:
        """The trace in `row`; `where` names the row in errors, `default_id` is its id if it has none."""
        at = self.resolve(row, where)

        def text(field: str) -> str:
            value = row[at[field]]
            if not isinstance(value, str):
                raise _wrong(where, at[field], field, "a string", value)
            return _clean(value)

        def text_or_none(field: str) -> str | None:
            return None if field not in at or _missing(row[at[field]]) else text(field)

        name = row[at["id"]] if "id" in at else None
        if isinstance(name, bool) or not (_missing(name) or isinstance(name, str | int)):
            raise _wrong(where, at["id"], "id", "a string or an integer", name)
        return Trace(
            id=default_id if _missing(name) else _clean(str(name)),
            problem=text("problem"),
            solution=text("solution"),
            correct=_truth(row[at["correct"]], where, at["correct"]) if "correct" in at else None,
            source=text_or_none("source"),
            license=text_or_none("license"),
            style=text_or_none("style"),
        )


def _truth(value: Any, where: str, column: str) -> bool | None:
    if getattr(value, "ndim", None) == 0:  # a scalar of numpy or torch
        value = value.item()
    if _missing(value):
        return None
    if isinstance(value, bool | int | float) and value in (0, 1):
        return bool(value)
    raise _wrong(where, column, "correct", "true, false, 0, 1 or null", value)


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))  # pandas writes a missing value as NaN


def _clean(text: str) -> str:
    """Replace lone surrogates (JSON can hold "\\ud800"), which no UTF-8 can: everything after this works on bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _wrong(where: str, column: str, field: str, expected: str, value: Any) -> DataError:
    shown = repr(value)
    mend = None
    if isinstance(value, list) and value and isinstance(value[0], Mapping) and "content" in value[0]:
        mend = "this is a conversation: join its messages to one text first"
    elif field not in (column, "correct"):
        mend = f"name another column: columns={{{field!r}: ...}}"
    return DataError(
        f"{where}: the {field} (column {column!r}) has the wrong type",
        expected=expected,
        got=f"{type(value).__name__} {shown if len(shown) <= 80 else shown[:77] + '...'}",
        mend=mend,
    )
