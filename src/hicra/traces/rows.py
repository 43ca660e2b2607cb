"""From an engine's rows (Python, numpy or torch values) to Arrow tables of the run directory's schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hicra.errors import DataError
from hicra.traces import schema

if TYPE_CHECKING:
    import pyarrow as pa


_WHOLE = {int, bool, type(None)}


def completion_table(rows: Sequence[Mapping[str, Any]], step: int, rank: int) -> pa.Table:
    """Rows -> table of `completion_schema`.

    Raises:
        DataError: a column is unknown, missing or of another type, or list columns differ in length.
    """
    return _table("completions", schema.COMPLETION_COLUMNS, schema.COMPLETION_LISTS, rows, step, rank)


def rollout_table(rows: Sequence[Mapping[str, Any]], step: int, rank: int) -> pa.Table:
    """Rows -> table of `rollout_schema`; raises what `completion_table` does."""
    return _table("rollouts", schema.ROLLOUT_COLUMNS, schema.ROLLOUT_LISTS, rows, step, rank)


def _table(
    kind: str,
    columns: tuple[schema.Column, ...],
    lists: tuple[str, ...],
    rows: Sequence[Mapping[str, Any]],
    step: int,
    rank: int,
) -> pa.Table:
    import pyarrow as pa

    target = schema.completion_schema() if kind == "completions" else schema.rollout_schema()
    plain = [_plain(row, columns, lists, f"{kind} of step {step}, row {i}") for i, row in enumerate(rows)]
    fixed = {"step": step, "rank": rank}
    arrays = []
    for column in columns:
        values = [fixed[column.name] if column.name in fixed else row[column.name] for row in plain]
        arrays.append(_array(values, target.field(column.name).type, f"{kind} of step {step}, column {column.name!r}"))
    return pa.Table.from_arrays(arrays, schema=target)


def _plain(
    row: Mapping[str, Any], columns: tuple[schema.Column, ...], lists: tuple[str, ...], where: str
) -> dict[str, Any]:
    known = {column.name for column in columns}
    if unknown := [name for name in row if name not in known]:
        raise DataError(
            f"{where}: unknown columns {', '.join(map(repr, unknown))}", expected=f"columns {', '.join(sorted(known))}"
        )
    out = {column.name: _python(row.get(column.name)) for column in columns}
    for column in columns:
        if column.required and out[column.name] is None and column.name not in ("step", "rank"):
            raise DataError(f"{where}: {column.name!r} is missing", expected=f"{column.type}: {column.doc}")
    lengths = {name: len(out[name]) for name in lists if isinstance(out[name], list)}
    if len(set(lengths.values())) > 1:
        raise DataError(
            f"{where}: list columns of different lengths",
            expected="one length for all of them",
            got=", ".join(f"{name} {n}" for name, n in lengths.items()),
        )
    return out


def _python(value: Any) -> Any:
    if hasattr(value, "tolist"):  # numpy and torch alike
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value


def _array(values: list[Any], type_: pa.DataType, where: str) -> pa.Array:
    import pyarrow as pa

    try:
        if pa.types.is_integer(getattr(type_, "value_type", type_)) and (broken := _broken(values)) is not None:
            raise ValueError(f"{broken} is not a whole number")  # Arrow would cut off what follows the point
        try:
            return pa.array(values, type=type_)
        except (
            UnicodeEncodeError
        ):  # lone surrogates: a tokenizer, or a JSON file, can produce them; UTF-8 cannot hold them
            return pa.array([_encodable(value) for value in values], type=type_)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{where}: a value has the wrong type", expected=str(type_), got=str(error)) from error


def _broken(values: list[Any]) -> float | None:
    """The first number in `values`, or in the lists in it, that is not whole."""
    if _WHOLE.issuperset(map(type, values)):  # hundreds of thousands of ids a step
        return None
    for value in values:
        if type(value) is list:
            if (inner := _broken(value)) is not None:
                return inner
        elif isinstance(value, float) and not value.is_integer():
            return value
    return None


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return [_encodable(item) for item in value] if isinstance(value, list) else value
