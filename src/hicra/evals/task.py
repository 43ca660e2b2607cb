"""One benchmark as a task of inspect-ai: its items as samples, our prompt, our grades.

An item is a sample, its answers are the sample's epochs. The scorer hands each answer to the benchmark's grader
(`hicra.evals.grading`) and writes the grade into the log as the score ``hicra``: value C or I, the answer that was
found, and the grade. `inspect view` shows it all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hicra.errors import require
from hicra.evals.benchmarks import Problem
from hicra.evals.extract import Extract
from hicra.evals.grading import Grade, Graded
from hicra.evals.pictures import Picture, data_uri

SCORE = "hicra"
"""Name of our score in a log."""

CUT = frozenset({"max_tokens", "model_length"})
"""Reasons to stop that say that the model had not finished."""

Grader = Callable[[Problem, str, bool, str | None], Graded]
"""Grade of one answer: the item, the text, whether the length limit ended it, what an extractor found in it (None
without one). Runs in a thread."""

Message = str | Sequence[str | Picture]
"""What a model is asked: a text, or texts and pictures in their order."""


class NoAnswerError(RuntimeError):
    """The model's provider gave no answer, and no further attempt would change that."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How answers are sampled; the defaults are the paper's (the protocol of DeepSeek-R1).

    Attributes:
        temperature, top_p: of the sampler; temperature 0 takes the likeliest token.
        max_tokens: longest answer, in tokens.
        top_k: None leaves it to the engine; transformers then uses none, vLLM what the model's files say.
        seed: makes answers repeatable where the engine honours it (never bit for bit across batch sizes).
        system: a system message.
    """

    temperature: float = 0.6
    top_p: float = 0.95
    max_tokens: int = 32_768
    top_k: int | None = None
    seed: int | None = None
    system: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """One benchmark of an evaluation.

    Attributes:
        name: of the benchmark.
        problems: its items.
        samples: answers of each.
        message: what the model is asked.
        grader: grades one answer.
        extract: finds the answer in a text before it is graded, by a language model.
        about: what the message and the grader are, for settings.json: others make another evaluation.
    """

    name: str
    problems: Sequence[Problem]
    samples: int
    message: Callable[[Problem], Message]
    grader: Grader
    about: str = ""
    extract: Extract | None = None


def make_task(asked: Asked, sampling: Sampling, on_answer: Callable[[str, Graded], None]) -> Any:
    """The benchmark as an `inspect_ai.Task`; `on_answer` hears of every new answer."""
    inspect = require("inspect_ai", "eval")
    from inspect_ai.dataset import MemoryDataset, Sample

    problems = {p.id: p for p in asked.problems}
    samples = [Sample(input=p.problem, target=p.answer, id=p.id) for p in asked.problems]
    return inspect.Task(
        dataset=MemoryDataset(samples, name=asked.name),
        solver=_solver(asked.message, problems)(sampling.system, sampling.seed),
        scorer=_scorer(asked, problems, on_answer)(),
        epochs=inspect.Epochs(asked.samples, "mean"),
        name=asked.name,
        metadata={"hicra": "evaluation"},
    )


def seed_of(seed: int, item: str, sample: int) -> int:
    """Seed of one answer: with one seed for all of them, a server would give the same answer again and again.

    >>> seed_of(0, "a", 1) == seed_of(0, "a", 1) != seed_of(0, "a", 2)
    True
    """
    digest = hashlib.blake2b(f"{seed}\x1f{item}\x1f{sample}".encode("utf-8", "replace"), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1


def _solver(message: Callable[[Problem], Message], problems: Mapping[str, Problem]) -> Any:
    import anyio.to_thread
    from inspect_ai.model import ChatMessageSystem, ChatMessageUser
    from inspect_ai.solver import Generate, TaskState, solver

    @solver(name="hicra_ask")
    def ask(system: str | None, seed: int | None) -> Any:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            content = await anyio.to_thread.run_sync(_content, message(problems[str(state.sample_id)]))
            first = [] if system is None else [ChatMessageSystem(content=system)]
            state.messages = [*first, ChatMessageUser(content=content)]
            own: dict[str, Any] = {} if seed is None else {"seed": seed_of(seed, str(state.sample_id), state.epoch)}
            try:
                return await generate(state, **own)
            except RuntimeError as error:  # its text begins with the whole request
                if (said := getattr(error, "provider_message", None)) is None:
                    raise
                raise NoAnswerError(str(said)[:500]) from error

        return solve

    return ask


def _scorer(asked: Asked, problems: Mapping[str, Problem], on_answer: Callable[[str, Graded], None]) -> Any:
    import anyio.to_thread
    from inspect_ai.scorer import CORRECT, INCORRECT, Score, Target, accuracy, scorer
    from inspect_ai.solver import TaskState

    @scorer(metrics=[accuracy()], name=SCORE)
    def grades() -> Any:
        async def score(state: TaskState, target: Target) -> Any:
            cut = str(state.output.stop_reason) in CUT
            problem, text = problems[str(state.sample_id)], state.output.completion
            extracted = None if asked.extract is None else await asked.extract(problem, text)
            graded = await anyio.to_thread.run_sync(asked.grader, problem, text, cut, extracted)
            on_answer(asked.name, graded)
            right = graded.grade is Grade.RIGHT
            metadata = {"grade": graded.grade.value, "cut_off": cut, "reading": graded.reading}
            return Score(value=CORRECT if right else INCORRECT, answer=graded.answer, metadata=metadata)

        return score

    return grades


def _content(message: Message) -> Any:
    """The message in inspect-ai's terms; pictures are read here."""
    if isinstance(message, str):
        return message
    from inspect_ai.model import ContentImage, ContentText

    return [ContentText(text=p) if isinstance(p, str) else ContentImage(image=data_uri(p)) for p in message]
