"""Slots: the closed inventory of word lists that patterns may name, and forms of words.

The lists are data (``slots.json`` beside this file, with their source and licence). They are part of what a pattern
means, so they have a version, and the hash of a gram set that holds patterns covers it.
"""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files
from typing import Any

from hicra.errors import DataError

SLOTS_VERSION = 1
"""Of the word lists; a change of any list is a new version."""
ANY_WORD = "word"
"""The slot that any one word fills."""


@lru_cache(maxsize=1)
def inventory() -> dict[str, tuple[str, ...]]:
    """Words of each slot, sorted; `ANY_WORD` is not among them."""
    return {name: tuple(sorted(slot["words"])) for name, slot in _content()["slots"].items()}


def describe() -> dict[str, str]:
    """What each slot holds, in a few words."""
    found = {name: str(slot["what"]) for name, slot in _content()["slots"].items()}
    return {**found, ANY_WORD: "any one word"}


@lru_cache(maxsize=1)
def _families() -> dict[str, frozenset[str]]:
    """Each known word or contraction with all its forms, itself among them; a word of two families has both."""
    found: dict[str, frozenset[str]] = {}
    for family in _content()["forms"]:
        for item in family:
            found[item] = found.get(item, frozenset()) | frozenset(family)
    return found


def forms(item: str) -> tuple[str, ...]:
    """All forms of a verb (``find``: find, finds, finding, found) or contraction (``let's``: let's, let us), sorted.

    Raises:
        DataError: the inventory does not know the word.
    """
    if item not in _families():
        raise DataError(
            f"the forms of {item!r} are not known",
            expected="a common verb of reasoning or a contraction",
            mend=f"list them: <{item}|...>",
        )
    return tuple(sorted(_families()[item]))


def _content() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((files("hicra.grams") / "slots.json").read_text("utf-8"))
    return content
