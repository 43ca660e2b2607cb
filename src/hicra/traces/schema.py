"""The columns of everything that hicra stores, with units and shapes, in one place.

Three kinds of rows: a **trace** (a solution from anywhere, read by `hicra.traces.read`), a **completion** (one row for
each sampled completion of a training step, no text) and a **rollout** (a completion with its text and per-token
columns, kept for a few whole groups a step). Completions and rollouts live in a run directory (`hicra.traces.rundir`).

Units: log-probabilities and entropies are in nats; lengths are numbers of tokens. T is the number of completion tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

RUN_SCHEMA_VERSION = 1
"""Version of the run directory's layout and columns; a reader refuses any other one."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One solution to one problem.

    Attributes:
        id: name of the row, unique in its corpus.
        problem: what was asked; the same text for all solutions to a problem (grams are counted over problems).
        solution: what was answered, thoughts included.
        correct: whether the final answer is right; None where nobody knows.
        source: where the row comes from.
        license: under what licence, an SPDX identifier where there is one.
        style: kind of writing, e.g. ``"long-cot"`` or ``"human-short"``.
    """

    id: str
    problem: str
    solution: str
    correct: bool | None = None
    source: str | None = None
    license: str | None = None
    style: str | None = None


TRACE_FIELDS = tuple(field.name for field in fields(Trace))


@dataclass(frozen=True, slots=True)
class Column:
    """A stored column: `type` is an Arrow type name (``"list<float>"`` for lists); a required one holds no null."""

    name: str
    type: str
    required: bool
    doc: str


TRACE_COLUMNS = (
    Column("id", "string", True, "name of the row, unique in its corpus"),
    Column("problem", "string", True, "what was asked"),
    Column("solution", "string", True, "what was answered, thoughts included"),
    Column("correct", "bool", False, "whether the final answer is right; null: unknown"),
    Column("source", "string", False, "where the row comes from"),
    Column("license", "string", False, "licence of the row"),
    Column("style", "string", False, "kind of writing"),
)

_KEY_COLUMNS = (
    Column("step", "int32", True, "training step that used the row, counted from 1"),
    Column("rank", "int32", True, "process that wrote the row"),
    Column("prompt_id", "string", True, "name of the prompt, the same at every step and in every run on the same data"),
    Column("group_id", "int64", True, "completions of one prompt sampled together share it; unique within a step"),
    Column("reward", "float64", True, "total reward"),
)

COMPLETION_COLUMNS = (
    *_KEY_COLUMNS,
    Column("advantage", "float64", False, "group-relative advantage, before hicra"),
    Column("length", "int32", True, "completion tokens, the end token included"),
    Column("truncated", "bool", False, "ended by the length limit, not by an end token; null where nobody knows"),
    Column("n_planning", "int32", True, "planning tokens among those that carry loss"),
    Column("n_execution", "int32", True, "the other tokens that carry loss"),
    Column("sum_logprob_planning", "float64", False, "sum over planning tokens of log p(token), nats"),
    Column("sum_logprob_execution", "float64", False, "sum over execution tokens of log p(token), nats"),
    Column("sum_entropy_planning", "float64", False, "sum over planning tokens of the next-token entropy, nats"),
    Column("sum_entropy_execution", "float64", False, "sum over execution tokens of the next-token entropy, nats"),
    Column("gram_ids", "list<int32>", True, "grams that occur, as indices into grams.json"),
    Column("gram_counts", "list<int32>", True, "how often each of gram_ids occurs"),
)

ROLLOUT_COLUMNS = (
    *_KEY_COLUMNS,
    Column("prompt", "string", True, "the prompt as the model saw it"),
    Column("completion", "string", True, "the completion as text"),
    Column("token_ids", "list<int32>", True, "(T,) completion tokens"),
    Column("token_text", "list<string>", True, "(T,) each token as text"),
    Column("logprob", "list<float>", False, "(T,) log p(token), nats; null where the engine has none"),
    Column("entropy", "list<float>", False, "(T,) next-token entropy, nats; null where the engine has none"),
    Column("advantage", "list<float>", True, "(T,) per-token advantage, after hicra"),
    Column("planning", "list<bool>", True, "(T,) whether the token is a planning token"),
    Column("gram_id", "list<int32>", True, "(T,) gram that the token belongs to, -1 for none"),
    Column("begin", "list<bool>", True, "(T,) whether an occurrence of a gram begins here"),
)

COMPLETION_LISTS = ("gram_ids", "gram_counts")
"""List columns of a completion, of one length."""

ROLLOUT_LISTS = ("token_ids", "token_text", "logprob", "entropy", "advantage", "planning", "gram_id", "begin")
"""List columns of a rollout, all of length T where they are not null."""


def trace_schema() -> pa.Schema:
    """Arrow schema of traces."""
    return _schema(TRACE_COLUMNS)


def completion_schema() -> pa.Schema:
    """Arrow schema of ``completions/step-N.rank-R.parquet``: every completion of a step."""
    return _schema(COMPLETION_COLUMNS)


def rollout_schema() -> pa.Schema:
    """Arrow schema of ``rollouts/step-N.rank-R.parquet``: whole groups with text and per-token columns."""
    return _schema(ROLLOUT_COLUMNS)


def _schema(columns: tuple[Column, ...]) -> pa.Schema:
    import pyarrow as pa

    def arrow_type(name: str) -> pa.DataType:
        if name.startswith("list<"):
            return pa.list_(pa.field("element", pa.type_for_alias(name[5:-1])))
        return pa.type_for_alias(name)

    return pa.schema(
        [pa.field(c.name, arrow_type(c.type), nullable=not c.required, metadata={"doc": c.doc}) for c in columns],
        metadata={"hicra.schema_version": str(RUN_SCHEMA_VERSION)},
    )
