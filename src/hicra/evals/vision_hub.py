"""Rows of the Hugging Face hub in the schema of `hicra.evals.benchmarks`; pictures stay where they are until asked for.

mathvista   pid, question, choices, decoded_image, unit, precision, answer_type, question_type
mathvision  id, question, options, decoded_image
mathverse   sample_index, problem_index, problem_version, question, image, question_type
emma        pid, question, options, image_1 ... image_5, context, type, subject
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from hicra.errors import ConfigError, DataError, require
from hicra.evals.catalogue import Hub
from hicra.evals.pictures import MAX_BYTES, Picture

PICTURES = {
    "mathvista": ("decoded_image",),
    "mathvision": ("decoded_image",),
    "mathverse": ("image",),
    "emma": tuple(f"image_{i}" for i in range(1, 6)),
}
"""Columns with pictures, by grader."""

_NEVER = ("decoded_image", "image")
"""Further columns that text never needs: some hold paths, some hold pictures."""


def from_hub(hub: Hub, grader: str, pictures: bool = True) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Rows of a benchmark, each with its place for messages.

    Raises:
        ConfigError: it cannot be loaded.
        MissingExtraError: datasets is not installed.
    """
    datasets = require("datasets", "eval")
    for config in hub.configs or (hub.config,):
        try:
            rows = datasets.load_dataset(hub.repository, config, split=hub.split)
        except Exception as error:  # it raises a dozen kinds for one cause
            raise ConfigError(
                f"{hub.repository} cannot be loaded from the hub: {error}",
                mend="load it from a file: a path, or a folder named by HICRA_BENCHMARKS",
            ) from error
        if grader not in _ROWS:
            yield from ((f"row {number}", row) for number, row in enumerate(rows))
            continue
        columns = [c for c in PICTURES[grader] if c in rows.column_names]
        raw = rows
        for column in columns:
            raw = raw.cast_column(column, datasets.Image(decode=False))
        raw = raw.select_columns(columns)
        text = rows.remove_columns([c for c in {*columns, *_NEVER} if c in rows.column_names])
        for number, row in enumerate(text):
            images = list(_images(raw, number, columns)) if pictures else []
            place = f"{config} row {number}" if hub.configs else f"row {number}"
            yield place, {**_ROWS[grader](row), "images": images, "grader": grader}


def _images(raw: Any, number: int, columns: Iterable[str]) -> Iterator[Picture]:
    row = raw[number]
    for column in columns:
        if row[column] is not None:
            yield Picture(f"{column} of row {number}", partial(_cell, raw, number, column))


def _cell(raw: Any, number: int, column: str) -> bytes:
    image: Mapping[str, Any] = raw[number][column]
    if image.get("bytes") is not None:
        return bytes(image["bytes"])
    path = Path(image["path"])  # in the cache of datasets
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"the picture {path.name} is too large", expected=f"at most {MAX_BYTES:,} bytes")
    return path.read_bytes()


def _mathvista(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "id": row["pid"], "problem": row["question"], "options": row.get("choices") or []}


def _mathvision(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "problem": row["question"]}


def _mathverse(row: Mapping[str, Any]) -> dict[str, Any]:
    shown = not str(row["question"] or "").strip()  # the version "Vision Only"
    asked = "The question stands in the picture." if shown else row["question"]
    about = {"problem": asked, "question_in_picture": shown, "cluster": row.get("problem_index")}
    return {**row, "id": row["sample_index"], **about}


def _emma(row: Mapping[str, Any]) -> dict[str, Any]:
    options = row.get("options")
    return {**row, "id": row["pid"], "problem": row["question"], "options": options if _real(options) else []}


def _real(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value)


_ROWS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "mathvista": _mathvista,
    "mathvision": _mathvision,
    "mathverse": _mathverse,
    "emma": _emma,
}
