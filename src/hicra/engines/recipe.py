"""Recipes: a training run as one TOML file, typed and checked before anything is loaded.

    output = "runs/first"                      # where checkpoints and the run directory go, from where you stand

    [model]
    name = "Qwen/Qwen3-4B-Base"                # a hub id or a folder

    [data]
    train = "problems.jsonl"                   # JSON lines or Parquet, or a hub id
    prompt = "question"                        # column with the prompt

    [reward]
    functions = ["boxed", "mymodule:function"] # built in, or anywhere on the path

    [evaluation]                               # held-out problems, now and then; may be left out
    problems = ["aime24"]                      # names of benchmarks, or name=file

    [hicra]                                    # what HICRAConfig adds to GRPOConfig
    alpha = 0.2

    [trainer]                                  # any setting of GRPOConfig
    max_steps = 200

Model, data and gram files are looked for beside the recipe. Unknown keys, wrong types and missing files are errors that
say what was meant. A recipe is recorded in the run directory as it was understood.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hicra.engines.evaluation import EvaluationSettings
from hicra.engines.table import checked, types_of
from hicra.errors import ConfigError, require

if TYPE_CHECKING:
    from hicra.engines.trl_config import HICRAConfig

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class ModelSection:
    """`[model]`: which model is trained.

    Attributes:
        name: a hub id, or a folder with a model and its tokenizer.
        init: arguments of `from_pretrained`, e.g. ``{dtype = "bfloat16", revision = "..."}``.
    """

    name: str
    init: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DataSection:
    """`[data]`: what it is trained on.

    Attributes:
        train: JSON lines (also .gz, .zst), Parquet, or a hub id.
        split: of a hub dataset.
        config: of a hub dataset.
        eval: as `train`, for evaluation during training.
        eval_split: of a hub dataset.
        prompt: column with the problem.
        answer: column with the reference answer; reward functions get it as ``answer``.
        template: the prompt's text, with ``{prompt}`` where the problem goes.
        system: a system message; makes the prompt a conversation.
        chat: whether the prompt becomes a conversation, to be laid out by the model's chat template.
        limit: use the first rows only.
    """

    train: str
    split: str = "train"
    config: str | None = None
    eval: str | None = None
    eval_split: str = "test"
    prompt: str = "prompt"
    answer: str = "answer"
    template: str = "{prompt}"
    system: str | None = None
    chat: bool = False
    limit: int | None = None

    def __post_init__(self) -> None:
        if "{prompt}" not in self.template:
            raise ConfigError(
                "[data] template has no place for the problem", expected="a text with {prompt}", got=repr(self.template)
            )
        if self.limit is not None and self.limit < 1:
            raise ConfigError("[data] limit leaves no rows", expected="1 or more", got=str(self.limit))


@dataclass(frozen=True)
class RewardSection:
    """`[reward]`: what is rewarded.

    Attributes:
        functions: names of built-in rewards, or ``module:function``.
        weights: one for each; default: 1.
    """

    functions: list[str] = field(default_factory=lambda: ["boxed"])
    weights: list[float] | None = None

    def __post_init__(self) -> None:
        if not self.functions:
            raise ConfigError("[reward] functions is empty", expected="at least one reward function")
        if self.weights is not None and len(self.weights) != len(self.functions):
            raise ConfigError(
                "[reward] weights do not go with the functions",
                expected=f"{len(self.functions)} weights",
                got=str(len(self.weights)),
            )


@dataclass(frozen=True)
class Recipe:
    """A run, as its file says it. Make one with `load_recipe`.

    Attributes:
        output: folder for checkpoints and, in it, the run directory.
        model, data, reward: the sections of these names.
        hicra: fields that `HICRAConfig` adds.
        trainer: fields of `GRPOConfig`.
        folder: where the recipe's file lies.
        evaluation: held-out evaluation during training, None where there is none.
    """

    output: str
    model: ModelSection
    data: DataSection
    reward: RewardSection
    hicra: dict[str, Any]
    trainer: dict[str, Any]
    folder: Path
    evaluation: EvaluationSettings | None = None

    def to_dict(self) -> dict[str, Any]:
        """The recipe with its defaults, as JSON values."""
        return {name: value for name, value in asdict(self).items() if name != "folder"}

    def file(self, name: str) -> Path | None:
        """The file or folder of that name beside the recipe, or None where there is none."""
        path = self.folder / Path(name).expanduser()
        return path if path.exists() else None

    def training_config(self) -> HICRAConfig:
        """The trainer's settings.

        Raises:
            ConfigError: an unknown setting, one of the wrong type, or what `HICRAConfig` refuses.
            MissingExtraError: TRL is not installed.
        """
        require("trl", "train")
        from trl import GRPOConfig

        from hicra.engines.trl_config import HICRAConfig

        theirs = types_of(GRPOConfig)
        ours = {name: kind for name, kind in types_of(HICRAConfig).items() if name not in theirs}
        taken = {"output_dir": "output", "model_init_kwargs": "[model] init", "reward_weights": "[reward] weights"}
        for name, instead in taken.items():
            if name in self.trainer:
                raise ConfigError(f"[trainer] {name} is set elsewhere", mend=f"use {instead}")
        hicra = checked(self.hicra, ours, "[hicra]", theirs, "[trainer]")
        trainer = checked(self.trainer, theirs, "[trainer]", ours, "[hicra]")
        if "grams" in hicra and (found := self.file(hicra["grams"])) is not None:
            hicra["grams"] = str(found)
        weights = {} if self.reward.weights is None else {"reward_weights": list(self.reward.weights)}
        init = {"model_init_kwargs": dict(self.model.init)} if self.model.init else {}
        try:
            return HICRAConfig(**{**trainer, **hicra, **weights, **init, "output_dir": self.output})
        except (TypeError, ValueError) as error:  # what TRL and transformers refuse
            raise ConfigError("[trainer]: the trainer refuses these settings", got=str(error)) from error


def load_recipe(path: str | Path) -> Recipe:
    """Read and check a recipe; the trainer's own settings are checked by `Recipe.training_config`.

    Raises:
        ConfigError: the file is missing or no TOML, has an unknown section or key or a value of the wrong type, or
            names a model or data that is not there.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.toml")], n=1)
        raise ConfigError(
            f"there is no recipe {path}", mend=f"did you mean {path.parent / near[0]}?" if near else None
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as TOML", got=str(error)) from error
    tables = ("model", "data", "reward", "evaluation", "hicra", "trainer")
    top = checked(content, {"output": str, **dict.fromkeys(tables, dict)}, str(path))
    for name in ("output", "model", "data"):
        if name not in top:
            raise ConfigError(f"{path} says no {name}", expected=f"{name} = ..." if name == "output" else f"[{name}]")
    recipe = Recipe(
        output=top["output"],
        model=_section(ModelSection, top["model"], "[model]"),
        data=_section(DataSection, top["data"], "[data]"),
        reward=_section(RewardSection, top.get("reward", {}), "[reward]"),
        hicra=top.get("hicra", {}),
        trainer=top.get("trainer", {}),
        folder=path.resolve().parent,
        evaluation=_section(EvaluationSettings, top["evaluation"], "[evaluation]") if "evaluation" in top else None,
    )
    _there(
        recipe, recipe.model.name, "[model] name", "a folder beside the recipe, or a hub id such as Qwen/Qwen3-4B-Base"
    )
    for name in ("train", "eval"):
        if (source := getattr(recipe.data, name)) is not None:
            _there(recipe, source, f"[data] {name}", "a .jsonl or .parquet file beside the recipe, or a hub id")
    return recipe


def _there(recipe: Recipe, name: str, where: str, expected: str) -> None:
    looks_like_a_file = Path(name).suffix in (".jsonl", ".json", ".parquet", ".gz", ".zst") or name[:1] in "./~"
    if recipe.file(name) is None and (looks_like_a_file or not _HUB_ID.fullmatch(name)):
        raise ConfigError(f"{where}: there is no {name!r} in {recipe.folder}", expected=expected)


def _section(cls: type[Any], table: Mapping[str, Any], where: str) -> Any:
    values = checked(table, types_of(cls), where)
    for f in fields(cls):
        if f.default is MISSING and f.default_factory is MISSING and f.name not in values:
            raise ConfigError(f"{where} says no {f.name}", expected=f"{f.name} = ...")
    return cls(**values)
