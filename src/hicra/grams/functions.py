"""What a cluster of grams does to the flow of a solution: deduction, branching or backtracing.

Each function has prototypes: sentences in the wording of the guidelines by which planning spans are annotated. A vector
gets the function whose prototypes are nearest: of each function, the mean cosine of the `NEAREST` likest counts.
`CONTENT` holds the other side, what steers nothing: calculation, substitution, the things of a problem. The refined
profile's judge measures likeness to all of them (`hicra.grams.judge`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, get_args

import numpy as np

from hicra.errors import ConfigError, DataError
from hicra.grams.gramset import Function

if TYPE_CHECKING:
    import numpy.typing as npt

    Vectors = npt.NDArray[np.float32]

PROTOTYPES: Mapping[Function, Sequence[str]] = {
    "deduction": (
        "So we can conclude that",
        "Therefore",
        "Thus",
        "This means that",
        "This implies that",
        "which means that",
        "it follows that",
        "we know that",
        "we can use the fact that",
        "we can see that",
        "hence",
        "the answer is",
        "this gives us",
        "because of this we get",
        "by the theorem we have",
    ),
    "branching": (
        "Let us try a different approach",
        "To solve this problem, we need to",
        "First, I need to",
        "let us consider the case",
        "Alternatively",
        "The problem asks for",
        "Next, we need to find",
        "Then",
        "Finally",
        "Now let us",
        "I will use",
        "we can do this by",
        "we are given that",
        "we want to determine",
        "Suppose that",
        "Let us break it down step by step",
        "Let us assume",
        "another way is to",
        "in this case",
    ),
    "backtracing": (
        "Wait, that is not right",
        "Let me double-check",
        "but the problem says that",
        "Hmm",
        "going back to",
        "However",
        "But",
        "let me check again",
        "I made a mistake",
        "is that correct",
        "maybe I misread the question",
        "no, that does not make sense",
        "actually",
        "let me verify",
    ),
}
"""Sentences that do what the function is about."""

CONTENT: Sequence[str] = (
    "the number of apples",
    "is equal to",
    "the value of x",
    "multiply both sides by",
    "the total cost of the items",
    "plus the remaining",
    "simplifying the expression",
    "in the box",
    "of the triangle",
    "red and blue balls",
    "the first term",
    "substitute the values",
    "hours per day",
    "the color of the car",
    "because the",
    "if the",
    "the area of the square",
    "times the",
    "he bought",
    "per week",
    "of the",
    "and the",
)
"""Phrases that steer nothing."""

NEAREST = 3
"""How many prototypes of a function are averaged."""


class Encodes(Protocol):
    """The part of `hicra.grams.embed.Encoder` that is needed here."""

    def encode(self, texts: Sequence[str]) -> Any:
        """(K, D) rows of length 1."""
        ...


def assign(
    vectors: Vectors,
    encoder: Encodes,
    *,
    prototypes: Mapping[Function, Sequence[str]] = PROTOTYPES,
    nearest: int = NEAREST,
) -> list[Function]:
    """The function of each vector.

    Args:
        vectors: (C, D) unit rows, e.g. of the centres of clusters.
        encoder: the one that made the vectors.
        prototypes: sentences for each function; give your own for another language or domain.
        nearest: average over so many of the likest prototypes of a function.

    Returns:
        C functions; of two that are equally near, the one that `prototypes` names first.

    Raises:
        ConfigError: an unknown function, or one without a prototype.
        DataError: the vectors are not of the encoder's width.
    """
    unknown = set(prototypes) - set(get_args(Function))
    if unknown or not prototypes or not all(prototypes.values()):
        raise ConfigError(
            "these prototypes cannot be used",
            expected=f"at least one sentence for each of {', '.join(get_args(Function))}",
            got=", ".join(f"{name}: {len(texts)}" for name, texts in prototypes.items()) or "none",
        )
    names = list(prototypes)
    scores = []
    for name in names:
        known = np.asarray(encoder.encode(list(prototypes[name])), np.float32)
        if vectors.ndim != 2 or known.shape[1] != vectors.shape[1]:
            raise DataError(
                "the vectors are not of the encoder's width",
                expected=f"(C, {known.shape[1]})",
                got=str(tuple(vectors.shape)),
            )
        likeness = vectors @ known.T
        top = min(nearest, likeness.shape[1])
        scores.append(np.sort(likeness, axis=1)[:, -top:].mean(1))
    return [names[i] for i in np.argmax(np.stack(scores, 1), axis=1)]
