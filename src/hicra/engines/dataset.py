"""From a recipe's `[data]` to a dataset of prompts and answers for the trainer."""

from __future__ import annotations

from typing import Any

from hicra.engines.recipe import DataSection, Recipe
from hicra.errors import ConfigError, DataError, require


def load_prompts(recipe: Recipe, *, evaluation: bool = False) -> Any:
    """The training (or evaluation) prompts as a `datasets.Dataset`: ``prompt``, ``answer`` and every other column.

    Raises:
        DataError: the data cannot be loaded, are empty, or lack the column of prompts.
        ConfigError: `evaluation`, and the recipe has no evaluation data.
        MissingExtraError: `datasets` is not installed.
    """
    data = recipe.data
    source = data.eval if evaluation else data.train
    if source is None:
        raise ConfigError("the recipe has no evaluation data", expected='[data] eval = "..."')
    rows = _load(recipe, source, data.eval_split if evaluation else data.split)
    if data.prompt not in rows.column_names:
        raise DataError(
            f"{source} has no column {data.prompt!r}",
            expected="the column that [data] prompt names",
            got=f"columns {', '.join(rows.column_names)}",
        )
    if data.limit is not None:
        rows = rows.select(range(min(data.limit, len(rows))))
    if not len(rows):
        raise DataError(f"{source} holds no rows")
    for name, column in (("prompt", data.prompt), ("answer", data.answer)):
        if column != name and column in rows.column_names:
            if name in rows.column_names:
                rows = rows.remove_columns(name)
            rows = rows.rename_column(column, name)
    prompts = [_prompt(text, data, source, i) for i, text in enumerate(rows["prompt"])]
    # not by way of the loader's own column: a text and a conversation are of different types
    columns = {name: rows[name] for name in rows.column_names if name != "prompt"}
    return type(rows).from_dict({"prompt": prompts} | columns)


def _load(recipe: Recipe, source: str, split: str) -> Any:
    datasets = require("datasets", "train")
    path = recipe.file(source)
    try:
        if path is None:
            return datasets.load_dataset(source, recipe.data.config, split=split)
        kind = "parquet" if path.suffix == ".parquet" else "json"
        return datasets.load_dataset(kind, data_files=str(path), split="train")
    except Exception as error:  # the library raises a dozen kinds, with the reason in the text
        raise DataError(f"{source} cannot be loaded", got=f"{type(error).__name__}: {error}"[:500]) from error


def _prompt(problem: Any, data: DataSection, source: str, row: int) -> Any:
    if isinstance(problem, list):  # already a conversation
        if data.template != "{prompt}":
            raise DataError(f"{source}, row {row}: a template needs a text", expected="a string", got="a conversation")
        return problem
    if not isinstance(problem, str) or not problem.strip():
        raise DataError(f"{source}, row {row}: no prompt", expected="a text", got=repr(problem)[:80])
    text = data.template.replace("{prompt}", problem)
    if not data.chat and data.system is None:
        return text
    system = [] if data.system is None else [{"role": "system", "content": data.system}]
    return [*system, {"role": "user", "content": text}]
