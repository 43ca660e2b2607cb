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

    [context]                                  # let completions grow: hicra.engines.context
    raise_to = 31744

    [launch]                                   # the machines it is for: hicra.engines.memory
    gpus = 8

A recipe may say ``base = "other.toml"``: what it leaves out is as there. Settings on top, and other estimators:
``load_recipe(path, arm="grpo", settings=["trainer.seed=1"])``.

Model, data and gram files are looked for beside the recipe. Unknown keys, wrong types and missing files are errors that
say what was meant. A recipe is recorded in the run directory as it was understood.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hicra.credit.estimators import ESTIMATORS
from hicra.engines.evaluation import EvaluationSettings
from hicra.engines.prompts import PROMPT_SETS
from hicra.engines.recipe_sections import ContextSection, DataSection, LaunchSection, ModelSection, RewardSection
from hicra.engines.table import checked, types_of
from hicra.errors import ConfigError, require

if TYPE_CHECKING:
    from hicra.engines.trl_config import HICRAConfig

__all__ = [
    "ContextSection",
    "DataSection",
    "LaunchSection",
    "ModelSection",
    "Recipe",
    "RewardSection",
    "load_recipe",
    "read_toml",
]

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class Recipe:
    """A run, as its file says it. Make one with `load_recipe`.

    Attributes:
        output: folder for checkpoints and, in it, the run directory.
        model, data, reward, launch: the sections of these names.
        hicra: fields that `HICRAConfig` adds.
        trainer: fields of `GRPOConfig`.
        folder: where the recipe's file lies.
        evaluation: held-out evaluation during training, None where there is none.
        context: when completions may grow, None: never.
    """

    output: str
    model: ModelSection
    data: DataSection
    reward: RewardSection
    hicra: dict[str, Any]
    trainer: dict[str, Any]
    folder: Path
    evaluation: EvaluationSettings | None = None
    context: ContextSection | None = None
    launch: LaunchSection = field(default_factory=LaunchSection)

    def to_dict(self) -> dict[str, Any]:
        """The recipe with its defaults, as JSON values."""
        return {name: value for name, value in asdict(self).items() if name != "folder"}

    def file(self, name: str) -> Path | None:
        """The file or folder of that name beside the recipe, or None where there is none."""
        path = self.folder / Path(name).expanduser()
        return path if path.exists() else None

    def training_config(self, *, elsewhere: bool = False) -> HICRAConfig:
        """The trainer's settings.

        Args:
            elsewhere: check a recipe for other machines than this one: what needs a GPU is switched off where there is
                none.

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
        here = _without_gpu() if elsewhere else {}
        try:
            return HICRAConfig(**{**trainer, **hicra, **weights, **init, **here, "output_dir": self.output})
        except (TypeError, ValueError) as error:  # what TRL and transformers refuse
            raise ConfigError("[trainer]: the trainer refuses these settings", got=str(error)) from error


def load_recipe(path: str | Path, *, arm: str | None = None, settings: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe; the trainer's own settings are checked by `Recipe.training_config`.

    Args:
        path: the TOML file.
        arm: another estimator than the recipe's, a name of `hicra.credit.ESTIMATORS`; "grpo" observes. Goes into the
            name of the output folder too.
        settings: further settings as ``section.key=value``, values as in TOML (a word may do without quotes).

    Raises:
        ConfigError: the file is missing or no TOML, has an unknown section or key or a value of the wrong type, or
            names a model or data that is not there; there is no such arm.
    """
    path = Path(path)
    content = _content(path)
    for setting in settings:
        content = _merged(content, _parsed(setting))
    tables = ("model", "data", "reward", "evaluation", "context", "launch", "hicra", "trainer")
    top = checked(content, {"output": str, **dict.fromkeys(tables, dict)}, str(path))
    for name in ("output", "model", "data"):
        if name not in top:
            raise ConfigError(f"{path} says no {name}", expected=f"{name} = ..." if name == "output" else f"[{name}]")
    if arm is not None:
        if arm not in ESTIMATORS:
            raise ConfigError(f"there is no arm {arm!r}", expected=" | ".join(ESTIMATORS))
        top["output"] = f"{top['output'].rstrip('/')}-{arm}"
        top["hicra"] = {**top.get("hicra", {}), "estimator": arm, "observe": arm == "grpo"}
    recipe = Recipe(
        output=top["output"],
        model=_section(ModelSection, top["model"], "[model]"),
        data=_section(DataSection, top["data"], "[data]"),
        reward=_section(RewardSection, top.get("reward", {}), "[reward]"),
        hicra=top.get("hicra", {}),
        trainer=top.get("trainer", {}),
        folder=path.resolve().parent,
        evaluation=_section(EvaluationSettings, top["evaluation"], "[evaluation]") if "evaluation" in top else None,
        context=_section(ContextSection, top["context"], "[context]") if "context" in top else None,
        launch=_section(LaunchSection, top.get("launch", {}), "[launch]"),
    )
    _there(
        recipe, recipe.model.name, "[model] name", "a folder beside the recipe, or a hub id such as Qwen/Qwen3-4B-Base"
    )
    for name, sources in (("train", recipe.data.sources), ("eval", [recipe.data.eval] if recipe.data.eval else [])):
        for source in sources:
            if source not in PROMPT_SETS:
                expected = f"a .jsonl or .parquet file beside the recipe, {', '.join(PROMPT_SETS)}, or a hub id"
                _there(recipe, source, f"[data] {name}", expected)
    return recipe


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        ConfigError: it is missing or no TOML.
    """
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.toml")], n=1)
        raise ConfigError(
            f"there is no recipe {path}", mend=f"did you mean {path.parent / near[0]}?" if near else None
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as TOML", got=str(error)) from error


def _content(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A recipe's tables, with those of its base under them."""
    content = read_toml(path)
    base = content.pop("base", None)
    if base is None:
        return content
    where = (path.parent / str(base)).resolve()
    if not isinstance(base, str) or where in (*above, path.resolve()):
        raise ConfigError(f"{path}: base leads nowhere", expected="the name of another recipe", got=repr(base))
    return _merged(_content(where, (*above, path.resolve())), content)


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Tables key by key; anything else as it stands in `over`."""
    both = {k: _merged(under[k], v) for k, v in over.items() if isinstance(v, dict) and isinstance(under.get(k), dict)}
    return {**under, **over, **both}


def _parsed(setting: str) -> dict[str, Any]:
    """``section.key=value`` as tables."""
    key, equals, value = setting.partition("=")
    for text in (value, json.dumps(value)):
        try:
            return tomllib.loads(f"{key} = {text}")
        except tomllib.TOMLDecodeError:
            continue
    raise ConfigError(
        f"the setting {setting!r} cannot be read", expected="section.key=value" if equals else "an equals sign"
    )


def _without_gpu() -> dict[str, Any]:
    import torch

    return {} if torch.cuda.is_available() else {"use_cpu": True, "bf16": False, "fp16": False, "tf32": None}


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
