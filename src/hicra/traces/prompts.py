"""Names of prompts: the same prompt gets the same name whoever recorded it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def prompt_name(prompt: Any, columns: Mapping[str, Any]) -> str:
    """Name of a prompt, the same at every step and in every run on the same data.

    The dataset's ``prompt_id`` or ``id`` where it has one, else 16 hex digits of a hash of the prompt; an image in it
    counts with its pixels.
    """
    for key in ("prompt_id", "id"):
        if columns.get(key) is not None:
            return str(columns[key])
    content = json.dumps(prompt, sort_keys=True, ensure_ascii=False, default=_stand_in)
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _stand_in(other: Any) -> str:
    """What a value that JSON does not know is hashed as: a picture by its content, anything else by its kind."""
    if hasattr(other, "tobytes") and hasattr(other, "size"):
        return f"{getattr(other, 'mode', '')} {other.size} {hashlib.sha256(other.tobytes()).hexdigest()}"
    return type(other).__name__
