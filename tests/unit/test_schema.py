"""The stored columns: names, types and units are what the documents promise, and looking at them costs no pyarrow."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hicra.traces import RUN_SCHEMA_VERSION, Trace, completion_schema, rollout_schema, schema, trace_schema
from tests.rundir_rows import completion_row, rollout_row


def test_the_package_is_light() -> None:
    heavy = "pyarrow torch numba polars datasets zstandard numpy transformers trl"
    code = f"import sys, hicra.traces; print([m for m in {heavy.split()!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_trace_has_the_columns_of_its_schema() -> None:
    assert trace_schema().names == list(schema.TRACE_FIELDS)
    trace = Trace("1", "2 + 2", "4")
    assert (trace.correct, trace.source, trace.license, trace.style) == (None, None, None, None)
    with pytest.raises(AttributeError):
        trace.id = "2"  # type: ignore[misc]


def test_the_columns_of_version_1() -> None:
    """Readers elsewhere rely on these: another name or type is another RUN_SCHEMA_VERSION."""
    assert RUN_SCHEMA_VERSION == 1
    keys = {"step": "int32", "rank": "int32", "prompt_id": "string", "group_id": "int64", "reward": "double"}
    sums = {f"sum_{what}_{kind}": "double" for what in ("logprob", "entropy") for kind in ("planning", "execution")}
    assert {f.name: str(f.type) for f in completion_schema()} == {
        **keys,
        "advantage": "double",
        "length": "int32",
        "truncated": "bool",
        "n_planning": "int32",
        "n_execution": "int32",
        **sums,
        "gram_ids": "list<element: int32>",
        "gram_counts": "list<element: int32>",
    }
    assert {f.name: str(f.type) for f in rollout_schema()} == {
        **keys,
        "prompt": "string",
        "completion": "string",
        "token_ids": "list<element: int32>",
        "token_text": "list<element: string>",
        "logprob": "list<element: float>",
        "entropy": "list<element: float>",
        "advantage": "list<element: float>",
        "planning": "list<element: bool>",
        "gram_id": "list<element: int32>",
        "begin": "list<element: bool>",
    }


@pytest.mark.parametrize("make", [trace_schema, completion_schema, rollout_schema])
def test_every_column_says_what_it_is(make: object) -> None:
    made = make()  # type: ignore[operator]
    assert made.metadata == {b"hicra.schema_version": b"1"}
    assert all(field.metadata[b"doc"] for field in made)


def test_rows_of_the_tests_are_complete() -> None:
    """So that a column added to the schema is added to the tests."""
    assert set(completion_row()) == set(completion_schema().names) - {"step", "rank"}
    assert set(rollout_row()) == set(rollout_schema().names) - {"step", "rank"}
