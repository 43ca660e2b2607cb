"""``run.json``: what was run, with which settings, seeds, versions and grams."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import Any

from hicra.errors import RunDirError
from hicra.traces.schema import RUN_SCHEMA_VERSION

PACKAGES = ("hicra", "torch", "transformers", "trl", "verl")

_GRAMS_KEYS = ("name", "hash", "text_version")


def new_meta(
    config: Mapping[str, Any], seeds: Mapping[str, int], grams: Mapping[str, Any] | None, engine: str
) -> dict[str, Any]:
    """The content of a fresh run.json.

    Raises:
        RunDirError: `grams` lacks its name, hash, text version or list.
    """
    if grams is not None and (missing := [key for key in (*_GRAMS_KEYS, "grams") if key not in grams]):
        raise RunDirError(
            f"the gram set of a run needs {', '.join(missing)}",
            expected=f"keys {', '.join((*_GRAMS_KEYS, 'grams'))}",
            got=f"keys {', '.join(map(str, grams))}",
            mend="hand over GramSet.to_dict()",
        )
    return {
        "schema_version": RUN_SCHEMA_VERSION,
        "engine": engine,
        "created": _now(),
        "config": config,
        "seeds": seeds,
        "versions": _versions(),
        "grams": None if grams is None else {**{key: grams[key] for key in _GRAMS_KEYS}, "n": len(grams["grams"])},
        "resumes": [],
    }


def resume_entry(step: int, config: Mapping[str, Any]) -> dict[str, Any]:
    """What run.json keeps of a resume: after which step, when, with what."""
    return {"step": step, "at": _now(), "config": config, "versions": _versions()}


def read_meta(path: Path) -> dict[str, Any]:
    """Read a run.json.

    Raises:
        RunDirError: unreadable, damaged, or of another schema version.
    """
    try:
        meta = json.loads(path.read_bytes())
        version = meta["schema_version"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunDirError(
            f"{path}: damaged",
            expected="a JSON object with a schema_version",
            got=f"{type(error).__name__}: {error}",
        ) from error
    if version != RUN_SCHEMA_VERSION:
        newer = isinstance(version, int) and version > RUN_SCHEMA_VERSION
        raise RunDirError(
            f"{path}: a run directory of another schema version",
            expected=f"version {RUN_SCHEMA_VERSION}",
            got=f"version {version!r}",
            mend="pip install --upgrade hicra" if newer else "read it with the hicra that wrote it (see its versions)",
        )
    meta.setdefault("resumes", [])
    return dict(meta)


def check_same_grams(meta: Mapping[str, Any], grams: Mapping[str, Any] | None, run: Path) -> None:
    """Refuse to go on with another gram set: gram ids of the two halves of the run would mean different grams.

    Raises:
        RunDirError: the hash of `grams` is not the one of the run.
    """
    before = (meta.get("grams") or {}).get("hash")
    now = None if grams is None else grams.get("hash")
    if before != now:
        raise RunDirError(
            f"{run}: was started with another gram set",
            expected=f"the gram set with hash {before}",
            got=f"hash {now}",
            mend="resume with the same grams, or start a new run directory",
        )


def to_json(value: Mapping[str, Any]) -> bytes:
    """JSON for people's eyes. Numbers that are not finite become null, what JSON has no word for its text."""
    return (json.dumps(_jsonable(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode(
        "utf-8", "replace"
    )


def _jsonable(value: Any) -> Any:
    if isinstance(value, Enum):
        return _jsonable(value.value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((_jsonable(item) for item in value), key=str)
    if is_dataclass(value) and not isinstance(value, type):
        return _jsonable(asdict(value))
    if hasattr(value, "tolist"):
        return _jsonable(value.tolist())
    return str(value)


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
