"""Answers found by a language model, as the authors of MathVista and MathVerse do it; an option, never the default.

The model is any that `hicra.evals.models` can name, usually one behind an OpenAI-compatible endpoint. It reads the
question and the response and writes the final answer, which is then compared by the same rules. Whoever reports such
numbers says so, with the model's name: another extractor is another grader, and a response may talk to it. What it
wrote is in the log beside every answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from hicra.evals.benchmarks import Problem
from hicra.evals.models import ModelName, open_model
from hicra.evals.vision import choices

NONE = "NONE"
MOST = 20_000
"""Characters at the end of a response that the model reads."""

Extract = Callable[[Problem, str], Awaitable[str]]
"""The answer in a response, "" where there is none."""


def extractor(model: ModelName, connections: int = 8) -> Extract:
    """A function that asks `model`; the model is opened with the first response."""
    opened: list[Any] = []

    async def extract(problem: Problem, response: str) -> str:
        from inspect_ai.model import GenerateConfig

        if not opened:
            opened.append(open_model(model, connections))
        settings = GenerateConfig(temperature=0, max_tokens=256, max_retries=5)
        output = await opened[0].generate(instruction(problem, response), config=settings)
        said = str(output.completion).strip().removeprefix("Final answer:").strip()
        return "" if said.strip(" .`'\"").upper() == NONE else said[:1_000]

    return extract


def instruction(problem: Problem, response: str) -> str:
    """What the extracting model is asked."""
    listed = choices(problem)
    if listed:
        wanted = "the letter of the option that the response chooses"
    elif problem.extra.get("answer_type") == "integer":
        wanted = "an integer, without unit"
    elif problem.extra.get("answer_type") == "float":
        wanted = "a decimal number, without unit"
    elif problem.extra.get("answer_type") == "list":
        wanted = "a Python list"
    else:
        wanted = "the final value or expression"
    shown = "".join(f"({chr(ord('A') + i)}) {option}\n" for i, option in enumerate(listed) if option)
    return (
        "Here are a question and a response to it. Write down the final answer that the response gives, "
        f"as {wanted}. Do not solve the question, do not correct the response, write nothing else. "
        f"If the response gives no final answer, write {NONE}.\n\n"
        f"Question:\n{problem.problem}\n{shown}\nResponse:\n{response[-MOST:]}\n\nFinal answer:"
    )
