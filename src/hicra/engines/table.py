"""Tables of settings from outside (TOML, YAML, the command line), checked against the types of a dataclass."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from hicra.errors import ConfigError


def types_of(cls: type[Any]) -> dict[str, Any]:
    """Field -> annotated type of a dataclass's settings."""
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in fields(cls) if f.init}


def checked(
    table: Mapping[str, Any],
    known: Mapping[str, Any],
    where: str,
    elsewhere: Mapping[str, Any] | None = None,
    there: str = "",
) -> dict[str, Any]:
    """The table's values, if every key is known and every value of its type; whole numbers become floats where asked.

    Args:
        table: key -> value, as TOML, YAML or JSON give it.
        known: key -> type.
        where: how an error names the table.
        elsewhere, there: keys that belong into another table, and its name.

    Raises:
        ConfigError: an unknown key (with the nearest known one), or a value of another type.
    """
    for key, value in table.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            mend = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(sorted(known))}"
            if elsewhere is not None and key in elsewhere:
                mend = f"put it into {there}"
            raise ConfigError(f"{where} has an unknown key {key!r}", mend=mend)
        if not _fits(value, known[key]):
            raise ConfigError(f"{where} {key} is of the wrong type", expected=_name(known[key]), got=repr(value))
    return {key: _as_float(value, known[key]) for key, value in table.items()}


def check_kept(rollouts_per_step: int) -> None:
    """The number of completions that a step keeps with their text, where every engine has it.

    Raises:
        ConfigError: it is negative.
    """
    if rollouts_per_step < 0:
        raise ConfigError(
            "rollouts_per_step is negative",
            expected="a number of completions, 0 for none",
            got=str(rollouts_per_step),
        )


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of an annotated type; types that configuration files have no values of are left to others."""
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in typing.get_args(kind))
    if origin in (list, dict) or kind in (list, dict):
        return isinstance(value, origin or kind) and (
            origin is not list or all(_fits(item, typing.get_args(kind)[0]) for item in value)
        )
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind in (str, bool):
        return isinstance(value, kind)
    return kind is not types.NoneType


def _as_float(value: Any, kind: Any) -> Any:
    return float(value) if kind is float else value


def _name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")
