"""The steering phrases of the lab: which wordings there are for each move, and the gram set made of them.

Ten moves: one cluster for each approach (branching), one each for opening, going back, checking and concluding. A
tokenizer word is what stands between two spaces, so an apostrophe is written apart (`let 's`), as classic word
tokenizers do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hicra.lab.world import APPROACHES, World

if TYPE_CHECKING:
    from hicra.grams.gramset import Function, GramSet

APPROACH_PHRASES: Mapping[str, tuple[str, ...]] = {
    "product plus": (
        "let 's multiply then add",
        "try the product plus last",
        "what about times plus",
        "we can build it up",
    ),
    "sum times": ("let 's add then multiply", "try the sum times last", "what about plus times", "we can scale a sum"),
    "product minus": (
        "let 's multiply then subtract",
        "try the product minus last",
        "what about times minus",
        "we can cut it down",
    ),
    "gap times": (
        "let 's subtract then multiply",
        "try the gap times last",
        "what about minus times",
        "we can scale a gap",
    ),
    "tail product plus": (
        "let 's multiply the tail",
        "try first plus the product",
        "what if first comes last",
        "we can keep the first",
    ),
    "tail sum times": (
        "let 's add the tail",
        "try first times the sum",
        "what if we group last",
        "we can scale the first",
    ),
    "tail product minus": (
        "let 's cut the tail",
        "try the product minus first",
        "what if first goes off",
        "we can drop the first",
    ),
    "tail gap times": (
        "let 's subtract the tail",
        "try first times the gap",
        "what if we split last",
        "we can stretch the first",
    ),
}
OPENING = ("let 's look at it", "we need the target", "first think about size", "how big is it")
BACKTRACKING = (
    "wait that is wrong",
    "this does not work",
    "try a different approach",
    "let me think again",
    "there is another way",
)
CHECKING = ("let me check this", "we should verify that", "to be sure again")
CONCLUDING = ("this means too big", "this means too small")

CLUSTERS: Mapping[str, tuple[str, ...]] = {
    **APPROACH_PHRASES,
    "opening": OPENING,
    "backtracking": BACKTRACKING,
    "checking": CHECKING,
    "concluding": CONCLUDING,
}
FUNCTIONS: Mapping[str, Function] = {
    **dict.fromkeys(APPROACH_PHRASES, "branching"),
    "opening": "deduction",
    "backtracking": "backtracing",
    "checking": "deduction",
    "concluding": "deduction",
}
"""What each cluster does to the flow, in the terms of arXiv 2509.03646: deduction, branching, backtracing."""

APPROACH_OF: Mapping[str, str] = {phrase: name for name, phrases in APPROACH_PHRASES.items() for phrase in phrases}
"""The approach that a phrase announces."""

assert tuple(APPROACH_PHRASES) == tuple(choice.name for choice in APPROACHES)


def clusters(world: World) -> dict[str, tuple[str, ...]]:
    """The moves that occur in this world, with their wordings."""
    unused = {choice.name for choice in APPROACHES[world.approaches :]}
    return {name: phrases for name, phrases in CLUSTERS.items() if name not in unused}


def gram_set(world: World) -> GramSet:
    """The lab's Strategic Grams: every phrase of this world, with its cluster and its function."""
    from hicra.grams.gramset import Gram, GramSet

    grams = [
        Gram(phrase.replace(" '", "'"), cluster=name, function=FUNCTIONS[name])
        for name, phrases in clusters(world).items()
        for phrase in phrases
    ]
    return GramSet.from_grams(grams, name="lab")
