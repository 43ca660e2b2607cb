"""Whatever a run writes and wherever it is cut off, the directory reads as the run was at its last commit."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra.traces import RunReader
from tests.rundir_rows import completion_row, new_run, rollout_row, write_step

ids = st.integers(-(2**31), 2**31 - 1)
text = st.text(max_size=20)  # Hypothesis draws no lone surrogates into st.text
number = st.floats(allow_nan=False, width=64)
metric = st.one_of(st.none(), st.floats(), st.integers(-(2**60), 2**60))
names = st.text(max_size=8).filter(lambda name: name not in ("event", "step"))


@st.composite
def completion_rows(draw: st.DrawFn) -> dict[str, Any]:
    grams = draw(st.lists(st.tuples(ids, ids), max_size=4))
    optional = st.none() | number
    return completion_row(
        prompt_id=draw(text),
        group_id=draw(st.integers(-(2**63), 2**63 - 1)),
        reward=draw(number),
        advantage=draw(optional),
        length=draw(ids),
        truncated=draw(st.booleans()),
        sum_entropy_planning=draw(optional),
        gram_ids=[g for g, _ in grams],
        gram_counts=[n for _, n in grams],
    )


@st.composite
def rollout_rows(draw: st.DrawFn) -> dict[str, Any]:
    length = draw(st.integers(0, 4))

    def column(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=length, max_size=length))

    single = st.floats(width=32, allow_nan=False)
    return rollout_row(
        prompt=draw(text),
        completion=draw(text),
        token_ids=column(ids),
        token_text=column(text),
        logprob=(draw(st.booleans()) and column(single)) or None,
        entropy=column(single),
        advantage=column(single),
        planning=column(st.booleans()),
        gram_id=column(ids),
        begin=column(st.booleans()),
    )


@st.composite
def runs(draw: st.DrawFn) -> dict[int, tuple[list[Any], list[Any], dict[str, Any]]]:
    steps = draw(st.lists(st.integers(1, 2_000_000), unique=True, min_size=1, max_size=4).map(sorted))
    rows = st.tuples(
        st.lists(completion_rows(), max_size=2),
        st.lists(rollout_rows(), max_size=2),
        st.dictionaries(names, metric, max_size=3),
    )
    return {step: draw(rows) for step in steps}


def as_json(metrics: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in metrics.items()}


@settings(max_examples=40, deadline=None)
@given(runs())
def test_round_trip(run: dict[int, tuple[list[Any], list[Any], dict[str, Any]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        writer = new_run(Path(folder) / "run")
        for step, (completions, rollouts, metrics) in run.items():
            writer.write_rows(step, completions, rollouts)
            writer.commit(step, metrics)
        reader = RunReader(Path(folder) / "run")
        assert reader.steps == list(run)
        assert reader.metrics() == [{"step": step, **as_json(metrics)} for step, (_, _, metrics) in run.items()]
        assert reader.completions().to_pylist() == [{**c, "step": s, "rank": 0} for s, r in run.items() for c in r[0]]
        assert reader.rollouts().to_pylist() == [{**c, "step": s, "rank": 0} for s, r in run.items() for c in r[1]]


@pytest.fixture(scope="module")
def five_steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of five steps, with an evaluation before training and after every other step."""
    run = tmp_path_factory.mktemp("five_steps") / "run"
    writer = new_run(run)
    writer.eval(0, {"accuracy": 0.0})
    for step in range(1, 6):
        write_step(writer, step)
        if step % 2 == 0:
            writer.eval(step, {"accuracy": step / 10})
    return run


def test_cut_off_at_every_byte_of_the_log(five_steps: Path, tmp_path: Path) -> None:
    """A process that dies while appending leaves a beginning of the log. Files of steps that it says nothing of may be
    there or not."""
    shutil.copytree(five_steps, tmp_path / "run")
    whole = (five_steps / "metrics.jsonl").read_bytes()
    events = []  # (end of the JSON text, event): the newline after it is not needed to know it
    start = 0
    for line in whole.splitlines(keepends=True):
        events.append((start + len(line) - 1, json.loads(line)))
        start += len(line)
    for cut in range(len(whole) + 1):
        (tmp_path / "run" / "metrics.jsonl").write_bytes(whole[:cut])
        there = [event for end, event in events if end <= cut]
        committed = [event["step"] for event in there if event["event"] == "commit"]
        reader = RunReader(tmp_path / "run")
        assert reader.steps == committed
        assert [m["reward"] for m in reader.metrics()] == committed
        last = committed[-1] if committed else 0
        assert [e["step"] for e in reader.evals()] == [
            e["step"] for e in there if e["event"] == "eval" and e["step"] <= last
        ]
        if cut % 40 == 0:
            assert reader.completions()["reward"].to_pylist() == [step for step in committed for _ in range(2)]


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_killed_anywhere_then_resumed_at_a_checkpoint(five_steps: Path, data: st.DataObject) -> None:
    """Cut the log at any byte, lose any of the files after the last commit, resume from any checkpoint up to it, train
    on: the directory is that of a run that was never disturbed, and what was replaced is in superseded/."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        shutil.copytree(five_steps, run)
        whole = (run / "metrics.jsonl").read_bytes()
        undisturbed = RunReader(five_steps)
        cut = data.draw(st.integers(0, len(whole)), label="cut")
        (run / "metrics.jsonl").write_bytes(whole[:cut])
        committed = RunReader(run).steps
        last = committed[-1] if committed else 0
        for path in sorted(run.glob("*/step-*.parquet")):
            if int(path.name[5:11]) > last and data.draw(st.booleans(), label=f"lose {path.name}"):
                path.unlink()
        assert RunReader(run).completions().equals(undisturbed.completions(committed))
        assert RunReader(run).rollouts().equals(undisturbed.rollouts(committed))

        checkpoint = data.draw(st.integers(0, last), label="checkpoint")
        rest = {p.relative_to(run) for p in run.glob("*/step-*.parquet") if int(p.name[5:11]) > checkpoint}
        writer = new_run(run, resume_step=checkpoint)
        assert RunReader(run).steps == list(range(1, checkpoint + 1))
        moved = {p.relative_to(run / "superseded") for p in (run / "superseded").rglob("step-*.parquet")}
        assert {Path(*p.parts[1:]) for p in moved} == rest
        if checkpoint == 0:
            writer.eval(0, {"accuracy": 0.0})
        for step in range(checkpoint + 1, 6):
            write_step(writer, step)
            if step % 2 == 0:
                writer.eval(step, {"accuracy": step / 10})
        if checkpoint and checkpoint % 2 == 0:
            writer.eval(checkpoint, {"accuracy": checkpoint / 10})  # an engine may evaluate again where it resumes
        after = RunReader(run)
        assert (after.steps, after.metrics(), after.evals()) == (
            undisturbed.steps,
            undisturbed.metrics(),
            undisturbed.evals(),
        )
        assert after.completions().equals(undisturbed.completions())
        assert after.rollouts().equals(undisturbed.rollouts())
