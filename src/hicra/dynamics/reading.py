"""Run directories as flat arrays: all completions at once, the kept rollouts one step at a time.

A step whose file is torn or missing is passed over with a note: a run may be read while it is written, or after a disk
ran full. Text is never read here but for `step_texts`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hicra.dynamics.series import Bools, Floats, Ints
from hicra.errors import RunDirError

if TYPE_CHECKING:
    import numpy.typing as npt

    from hicra.traces.rundir import RunReader

NUMBERS = (
    "reward",
    "length",
    "truncated",
    "n_planning",
    "n_execution",
    "sum_logprob_planning",
    "sum_logprob_execution",
    "sum_entropy_planning",
    "sum_entropy_execution",
)

_TOKEN_COLUMNS = ("prompt_id", "group_id", "reward", "token_ids", "planning", "gram_id", "begin", "logprob", "entropy")


@dataclass(frozen=True, slots=True, eq=False)
class Completions:
    """Every completion of a run; N of them, by step.

    Attributes:
        steps: (S,) training steps that have completions.
        step_of: (N,) index into `steps`, ascending.
        prompt: (N,) number of the prompt, the same at every step.
        group: (N,) number of the group (completions of one prompt sampled together), unique in the run.
        columns: the columns `NUMBERS`, (N,) float64 each; NaN where the engine had no value.
        gram_row, gram_id, gram_count: (J,) occurrences: completion (ascending), gram, how often.
    """

    steps: Ints
    step_of: Ints
    prompt: Ints
    group: Ints
    columns: dict[str, Floats]
    gram_row: Ints
    gram_id: Ints
    gram_count: Ints

    def __len__(self) -> int:
        return len(self.step_of)


@dataclass(frozen=True, slots=True, eq=False)
class StepTokens:
    """The kept rollouts of one step, their N completions end to end.

    Attributes:
        step: training step.
        offsets: (N+1,) where each completion begins.
        prompt: (N,) number of the prompt within the step.
        reward: (N,) total reward.
        token_id: (T,) int32.
        planning, begin: (T,) planning token; an occurrence begins here.
        gram_id: (T,) int32, -1 for none.
        logprob, entropy: (T,) float32 in nats, NaN on tokens that are not the policy's; None where the engine had none.
    """

    step: int
    offsets: Ints
    prompt: Ints
    reward: Floats
    token_id: npt.NDArray[np.int32]
    planning: Bools
    gram_id: npt.NDArray[np.int32]
    begin: Bools
    logprob: npt.NDArray[np.float32] | None
    entropy: npt.NDArray[np.float32] | None

    @property
    def row(self) -> Ints:
        """(T,) completion that each token belongs to."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))


def read_completions(reader: RunReader, notes: list[str]) -> Completions | None:
    """All completions of a run, or None where it kept none; what is skipped is told in `notes`."""
    import pyarrow as pa

    columns = ["step", "prompt_id", "group_id", *NUMBERS, "gram_ids", "gram_counts"]
    try:
        tables = [reader.completions(columns=columns)]
    except RunDirError:
        tables = [t for step in reader.steps if (t := _step_table(reader, "completions", step, columns, notes))]
    table = pa.concat_tables(tables).combine_chunks() if tables else None
    if table is None or len(table) == 0:
        return None
    steps, step_of = np.unique(table["step"].to_numpy(), return_inverse=True)
    order = np.argsort(step_of, kind="stable")
    prompt = _codes(table["prompt_id"])
    group = np.unique(np.stack([step_of, prompt, table["group_id"].to_numpy()]), axis=1, return_inverse=True)[1]
    ids, counts = _flat(table["gram_ids"]), _flat(table["gram_counts"])
    length = table["gram_ids"].combine_chunks().value_lengths().to_numpy()
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    row = np.repeat(place, length)
    by_row = np.argsort(row, kind="stable")
    return Completions(
        steps=steps.astype(np.int64),
        step_of=step_of[order].astype(np.int64),
        prompt=prompt[order],
        group=np.asarray(group, np.int64).reshape(-1)[order],
        columns={name: table[name].to_numpy().astype(np.float64)[order] for name in NUMBERS},
        gram_row=row[by_row].astype(np.int64),
        gram_id=ids[by_row].astype(np.int64),
        gram_count=counts[by_row].astype(np.int64),
    )


def read_tokens(reader: RunReader, notes: list[str]) -> Iterator[StepTokens]:
    """The kept rollouts of each step in turn; steps that kept none are left out, broken ones told in `notes`."""
    for step in reader.steps:
        table = _step_table(reader, "rollouts", step, _TOKEN_COLUMNS, notes)
        if table is None or len(table) == 0:
            continue
        table = table.combine_chunks()
        lengths = table["token_ids"].combine_chunks().value_lengths().to_numpy()
        yield StepTokens(
            step=step,
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            prompt=_codes(table["prompt_id"]),
            reward=table["reward"].to_numpy().astype(np.float64),
            token_id=_flat(table["token_ids"]),
            planning=_flat(table["planning"]),
            gram_id=_flat(table["gram_id"]),
            begin=_flat(table["begin"]),
            logprob=_values(table["logprob"], lengths),
            entropy=_values(table["entropy"], lengths),
        )


def step_texts(reader: RunReader, step: int, places: Ints) -> tuple[Ints, list[str]]:
    """Text of the tokens at `places` of a step's flat tokens (as `StepTokens` lays them out).

    Returns:
        (P,) index into the distinct texts, and those.
    """
    column = reader.rollouts([step], ["token_text"])["token_text"].combine_chunks()
    found = column.flatten().take(places).dictionary_encode()
    return found.indices.to_numpy().astype(np.int64), [str(text) for text in found.dictionary.to_pylist()]


def _step_table(reader: RunReader, kind: str, step: int, columns: Sequence[str], notes: list[str]) -> Any:
    read = reader.completions if kind == "completions" else reader.rollouts
    try:
        return read([step], columns)
    except RunDirError as error:
        notes.append(f"step {step} is passed over: {error.problem}")
        return None


def _codes(column: Any) -> Ints:
    codes: Ints = column.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    return codes


def _flat(column: Any) -> Any:
    return column.combine_chunks().flatten().to_numpy(zero_copy_only=False)


def _values(column: Any, lengths: Ints) -> npt.NDArray[np.float32] | None:
    """A list column as flat float32; completions without one are NaN, None where no completion has any."""
    lists = column.combine_chunks()
    if lists.null_count == len(lists):
        return None
    flat = np.asarray(lists.flatten().to_numpy(zero_copy_only=False), np.float32)
    if lists.null_count == 0:
        return flat
    there = np.repeat(np.asarray(lists.is_valid().to_numpy(zero_copy_only=False), bool), lengths)
    out = np.full(len(there), np.nan, np.float32)
    out[there] = flat
    return out
