"""Solutions and rollouts from anywhere; the run directory that every engine writes and every reader reads."""

from __future__ import annotations

from hicra.traces.read import read_traces, sample_traces
from hicra.traces.rundir import RunReader, RunWriter
from hicra.traces.schema import RUN_SCHEMA_VERSION, Trace, completion_schema, rollout_schema, trace_schema

__all__ = [
    "RUN_SCHEMA_VERSION",
    "RunReader",
    "RunWriter",
    "Trace",
    "completion_schema",
    "read_traces",
    "rollout_schema",
    "sample_traces",
    "trace_schema",
]
