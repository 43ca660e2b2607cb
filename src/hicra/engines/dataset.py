"""From a recipe's `[data]` to a dataset of prompts and answers for the trainer."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hicra.engines.overlap import Found, find, without
from hicra.engines.prompts import PROMPT_SETS, column, local_copy
from hicra.engines.recipe_sections import DataSection
from hicra.errors import ConfigError, DataError, HicraWarning, require

if TYPE_CHECKING:
    from hicra.engines.recipe import Recipe

PLACEHOLDER = "<image>"
"""What data sets write where a picture goes; chat templates put their own tokens there."""


def load_prompts(recipe: Recipe, *, evaluation: bool = False) -> Any:
    """The training (or evaluation) prompts as a `datasets.Dataset`: ``prompt``, ``answer`` and every other column.

    Pictures come as the column ``images``, a list for each row. Training prompts that hold problems of the benchmarks
    in `[data] overlap` are told of in a warning, and left out where `drop_overlap` says so.

    Raises:
        DataError: the data cannot be loaded, are empty, or lack the column of prompts.
        ConfigError: `evaluation`, and the recipe has no evaluation data; or a benchmark that there is not.
        MissingExtraError: `datasets` is not installed.
    """
    data = recipe.data
    if evaluation and data.eval is None:
        raise ConfigError("the recipe has no evaluation data", expected='[data] eval = "..."')
    sources = [str(data.eval)] if evaluation else data.sources
    rows = load_sources(
        replace(data, train=sources, split=data.eval_split if evaluation else data.split), recipe.folder
    )
    if not evaluation and data.overlap:
        found = find(texts(rows), data.overlap, recipe.folder)
        _tell(found, data)
        if data.drop_overlap:
            rows = rows.select(without(len(rows), found))
    if data.limit is not None:
        rows = rows.select(range(min(data.limit, len(rows))))
    where = " + ".join(sources)
    if not len(rows):
        raise DataError(f"{where} holds no rows")
    pictures = "images" in rows.column_names
    prompts = [_prompt(text, data, where, i, pictures) for i, text in enumerate(rows["prompt"])]
    # not by way of the loader's own column: a text and a conversation are of different types
    return _with(rows, prompts)


def load_sources(data: DataSection, folder: Path) -> Any:
    """What `[data] train` names, one after the other, with the columns prompt, answer, id and images as far as they are
    there; nothing is laid out or left out.

    Args:
        data: the section.
        folder: where files are looked for.

    Raises:
        DataError: a source cannot be loaded, or lacks the column of prompts.
        MissingExtraError: `datasets` is not installed.
    """
    parts = [_rows(data, folder, source) for source in data.sources]
    return parts[0] if len(parts) == 1 else _joined(parts)


def for_verl(rows: Any, template: str | None = None) -> Any:
    """The columns that verl's data set reads: data_source, prompt (a conversation), reward_model, extra_info, images.

    Args:
        rows: from `load_sources`.
        template: text with ``{problem}``; default: the prompt of ``hicra eval``. Conversations stay as they are.

    Raises:
        DataError: there are no answers.
    """
    from hicra.evals.prompts import BOXED, fill

    if "answer" not in rows.column_names:
        raise DataError("verl's reward compares with an answer", expected="a column of answers (--answer)")
    pictures = "images" in rows.column_names

    def row(one: dict[str, Any], index: int) -> dict[str, Any]:
        text = one["prompt"]
        if isinstance(text, str):
            text = [{"role": "user", "content": fill(template or BOXED, text)}]
        truth = {"style": "rule", "ground_truth": str(one["answer"])}
        info = {"index": index, "id": str(one.get("id") or index)}
        kept = {"images": one["images"]} if pictures else {}
        return {"data_source": "hicra", "prompt": text, "reward_model": truth, "extra_info": info, **kept}

    return type(rows).from_list([row(one, i) for i, one in enumerate(rows)])


def texts(rows: Any) -> Iterator[str]:
    """The problems as text, of conversations what is said in them."""
    for prompt in rows["prompt"]:
        yield prompt if isinstance(prompt, str) else "\n".join(str(message.get("content")) for message in prompt)


def _with(rows: Any, prompts: list[Any]) -> Any:
    columns = {name: rows[name] for name in rows.column_names if name not in ("prompt", "images")}
    made = type(rows).from_dict({"prompt": prompts} | columns)
    if "images" not in rows.column_names:
        return made
    datasets = require("datasets", "train")
    pictures = rows.select_columns(["images"])
    return datasets.concatenate_datasets([made, pictures], axis=1)


def _rows(data: DataSection, folder: Path, source: str) -> Any:
    """One source, its columns called prompt, answer, id and images where it has them."""
    known = PROMPT_SETS.get(source)
    beside = folder / Path(source).expanduser()
    path = beside if beside.exists() else local_copy(source)
    rows = _load(data, source, path)
    prompt = column(rows.column_names, data.prompt, known.prompt if known else None)
    if prompt is None:
        raise DataError(
            f"{source} has no column {data.prompt!r}",
            expected="the column that [data] prompt names",
            got=f"columns {', '.join(rows.column_names)}",
        )
    if known is not None and len(rows) != known.rows:
        text = f"{source}: {len(rows):,} rows, {known.rows:,} were known: another version, or a part"
        warnings.warn(text, HicraWarning, stacklevel=3)
    for name, given in (
        ("prompt", prompt),
        ("answer", column(rows.column_names, data.answer, known.answer if known else None)),
        ("images", column(rows.column_names, data.images, known.images if known else None)),
        ("id", column(rows.column_names, "id", known.id if known else None)),
    ):
        if given is not None and given != name:
            if name in rows.column_names:
                rows = rows.remove_columns(name)
            rows = rows.rename_column(given, name)
    return _pictures(rows, data, folder, path) if "images" in rows.column_names else rows


def _joined(parts: list[Any]) -> Any:
    """Several sources under each other, with the columns that all of them have."""
    datasets = require("datasets", "train")
    shared = [name for name in parts[0].column_names if all(name in part.column_names for part in parts)]
    if "answer" in shared:  # whole numbers here, LaTeX there
        kinds = {str(part.features["answer"]) for part in parts}
        parts = parts if len(kinds) == 1 else [p.cast_column("answer", datasets.Value("string")) for p in parts]
    return datasets.concatenate_datasets([part.select_columns(shared) for part in parts])


def _load(data: DataSection, source: str, path: Path | None) -> Any:
    datasets = require("datasets", "train")
    known = PROMPT_SETS.get(source)
    try:
        if path is not None:
            kind = "parquet" if path.suffix == ".parquet" else "json"
            return datasets.load_dataset(kind, data_files=str(path), split="train")
        if known is not None:
            return datasets.load_dataset(known.repository, known.config, split=known.split)
        return datasets.load_dataset(source, data.config, split=data.split)
    except Exception as error:  # the library raises a dozen kinds, with the reason in the text
        raise DataError(f"{source} cannot be loaded", got=f"{type(error).__name__}: {error}"[:500]) from error


def _pictures(rows: Any, data: DataSection, beside: Path, path: Path | None) -> Any:
    """Pictures as `datasets` decodes them when they are looked at; relative paths made whole."""
    datasets = require("datasets", "train")
    folder = beside / data.image_folder if data.image_folder else path.parent if path else None
    first = next((v for value in rows["images"] for v in _listed(value)), None)
    if isinstance(first, str):
        if folder is None:
            raise DataError(
                "the pictures are named by relative paths",
                expected='[data] image_folder = "...", where they lie',
                got=repr(first)[:80],
            )
        whole = [[str(folder / v) for v in _listed(value)] for value in rows["images"]]
        missing = next((v for value in whole for v in value if not Path(v).is_file()), None)
        if missing is not None:
            raise DataError(f"there is no picture {missing}", mend="unpack the pictures there, or set image_folder")
        rows = rows.remove_columns("images").add_column("images", whole)
    return rows.cast_column("images", datasets.List(datasets.Image()))


def _listed(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]


def _tell(found: list[Found], data: DataSection) -> None:
    for f in found:
        if f.prompts:
            done = "left out" if data.drop_overlap else "kept: set drop_overlap to leave them out"
            text = f"{len(f.items)} of the {f.n} problems of {f.benchmark} are among the training prompts, {done}"
            warnings.warn(text, HicraWarning, stacklevel=3)


def _prompt(problem: Any, data: DataSection, source: str, row: int, pictures: bool) -> Any:
    if isinstance(problem, list):  # already a conversation
        if data.template != "{prompt}":
            raise DataError(f"{source}, row {row}: a template needs a text", expected="a string", got="a conversation")
        return problem
    if not isinstance(problem, str) or not problem.strip():
        raise DataError(f"{source}, row {row}: no prompt", expected="a text", got=repr(problem)[:80])
    if pictures:
        problem = problem.replace(PLACEHOLDER, "").strip()
    text = data.template.replace("{prompt}", problem)
    if not data.chat and data.system is None:
        return text
    system = [] if data.system is None else [{"role": "system", "content": data.system}]
    return [*system, {"role": "user", "content": text}]
