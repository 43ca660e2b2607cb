"""A small corpus to mine: problems in the words of a shop, solved with turns of phrase that real solutions use."""

from __future__ import annotations

import random

from hicra.traces import Trace

_THINGS = ("apples", "books", "tickets", "marbles", "boxes", "coins", "chairs", "pencils", "stamps", "candles")
_PEOPLE = ("Anna", "Ben", "Chen", "Dara", "Emil", "Fatima", "Goran", "Hana")
_OPEN = (
    "Let's think step by step.",
    "First, I need to find the total.",
    "To solve this problem, we need to find the total.",
)
_WORK = (
    "{who} buys {a} {thing} and {b} {thing}, so the total number of {thing} is {a} + {b} = {c}.",
    "The number of {thing} is {a} and {b} more are bought, which gives {c} {thing}.",
    "We know that {who} has {a} {thing}. Then {b} {thing} are added, so there are {c} {thing}.",
)
_TURN = (
    "Wait, let me check that again.",
    "Let me double-check that.",
    "Hmm, let me verify this.",
    "Alternatively, we can use the fact that the order does not matter.",
    "But wait, that's not right.",
)
_END = ("Therefore, the answer is {c}.", "So the answer is {c}.", "This means that the answer is {c}.")


def corpus(problems: int = 120, *, solutions: int = 2, seed: int = 0) -> list[Trace]:
    """Traces of so many problems, two sources and two styles among them, each trace with its own id."""
    rng = random.Random(seed)
    traces = []
    for p in range(problems):
        a, b = rng.randrange(2, 90), rng.randrange(2, 90)
        facts = {"who": rng.choice(_PEOPLE), "thing": rng.choice(_THINGS), "a": a, "b": b, "c": a + b}
        problem = (
            f"{facts['who']} has {a} {facts['thing']} and gets {b} more. How many {facts['thing']} are there? ({p})"
        )
        for s in range(solutions):
            parts = [rng.choice(_OPEN), rng.choice(_WORK), rng.choice(_TURN), rng.choice(_WORK), rng.choice(_END)]
            traces.append(
                Trace(
                    id=f"{p}-{s}",
                    problem=problem,
                    solution=" ".join(parts).format(**facts),
                    correct=True,
                    source=f"shop-{p % 2}:run",
                    license="CC0-1.0",
                    style="cot" if s else "long-cot",
                )
            )
    return traces
