"""The run directory: what is written is read back, what is not committed does not count, errors say what is safe."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import textwrap
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hicra.errors import DataError, RunDirError
from hicra.traces import RunReader, RunWriter, completion_schema, rollout_schema
from tests.rundir_rows import GRAMS, completion_row, files, log_lines, new_run, rollout_row, write_step


def message(call: Callable[[], object], kind: type[Exception] = RunDirError) -> str:
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


# --- a run and its reader


def test_a_run_as_it_lies_on_the_disk(tmp_path: Path) -> None:
    writer = new_run(tmp_path / "run")
    writer.eval(0, {"accuracy": 0.25})
    write_step(writer, 1)
    writer.note(1, "planning share is low")
    assert files(tmp_path / "run") == {
        "run.json",
        "grams.json",
        "metrics.jsonl",
        "completions/step-000001.rank-0.parquet",
        "rollouts/step-000001.rank-0.parquet",
    }
    assert log_lines(tmp_path / "run") == [
        {"event": "eval", "step": 0, "accuracy": 0.25},
        {"event": "metrics", "step": 1, "reward": 1.0},
        {"event": "commit", "step": 1, "completions": [0], "rollouts": [0]},
        {"event": "note", "step": 1, "text": "planning share is low"},
    ]
    assert json.loads((tmp_path / "run" / "grams.json").read_text()) == GRAMS


def test_what_was_written_is_read(tmp_path: Path) -> None:
    writer = new_run(tmp_path / "run")
    writer.eval(0, {"accuracy": 0.25})
    for step in (1, 2, 4):
        write_step(writer, step)
    writer.eval(4, {"accuracy": 0.5, "n": 40})
    writer.note(4, "a remark")
    reader = RunReader(str(tmp_path / "run"))
    assert reader.steps == [1, 2, 4]
    assert reader.metrics() == [{"step": step, "reward": float(step)} for step in (1, 2, 4)]
    assert reader.evals() == [{"step": 0, "accuracy": 0.25}, {"step": 4, "accuracy": 0.5, "n": 40}]
    assert reader.notes() == [(4, "a remark")]
    assert reader.grams == GRAMS
    assert reader.completions().schema.equals(completion_schema())
    assert reader.rollouts().schema.equals(rollout_schema())
    assert reader.completions()["step"].to_pylist() == [1, 1, 2, 2, 4, 4]
    row = reader.completions([2]).to_pylist()[1]
    assert row == {**completion_row(1, reward=2.0), "step": 2, "rank": 0}
    assert reader.rollouts([4]).to_pylist()[0] == {**rollout_row(0, reward=4.0), "step": 4, "rank": 0}
    assert reader.rollouts([4, 1], columns=["step", "completion"]).to_pydict() == {
        "step": [1, 1, 4, 4],
        "completion": ["let me 2"] * 4,
    }


def test_run_json(tmp_path: Path) -> None:
    class Loss(Enum):
        TOKEN = "token"

    config = {
        "path": Path("/x"),
        "loss": Loss.TOKEN,
        "inf": math.inf,
        "eps": np.float32(0.5),
        "set": {2, 1},
        "t": (1, None),
    }
    new_run(tmp_path / "run", config=config, engine="trl")
    meta = RunReader(tmp_path / "run").meta
    assert meta["schema_version"] == 1
    assert meta["engine"] == "trl"
    assert meta["config"] == {"path": "/x", "loss": "token", "inf": None, "eps": 0.5, "set": [1, 2], "t": [1, None]}
    assert meta["seeds"] == {"train": 1}
    assert meta["grams"] == {"name": "two", "hash": "abc123", "text_version": 1, "n": 2}
    assert set(meta["versions"]) == {"python", "hicra", "torch", "transformers", "trl", "verl"}
    assert meta["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert meta["versions"]["hicra"]


def test_a_run_without_grams(tmp_path: Path) -> None:
    new_run(tmp_path / "run", grams=None)
    reader = RunReader(tmp_path / "run")
    assert reader.grams is None
    assert reader.meta["grams"] is None
    assert "hash" in message(lambda: new_run(tmp_path / "other", grams={"name": "x", "grams": []}))


def test_an_empty_run_has_empty_tables(tmp_path: Path) -> None:
    new_run(tmp_path / "run")
    reader = RunReader(tmp_path / "run")
    assert (reader.steps, reader.metrics(), reader.evals()) == ([], [], [])
    assert reader.completions().schema.equals(completion_schema())
    assert reader.rollouts().num_rows == 0


def test_numbers_that_are_none_become_null(tmp_path: Path) -> None:
    writer = new_run(tmp_path / "run")
    torch = pytest.importorskip("torch")
    values = {
        "a": math.nan,
        "b": -math.inf,
        "c": None,
        "d": np.float32("nan"),
        "e": torch.tensor(0.5),
        "f": np.int64(3),
    }
    writer.commit(1, values)
    expected = {"step": 1, "a": None, "b": None, "c": None, "d": None, "e": 0.5, "f": 3}
    assert RunReader(tmp_path / "run").metrics() == [expected]
    assert "NaN" not in (tmp_path / "run" / "metrics.jsonl").read_text()


@pytest.mark.parametrize(
    "metrics", [{"step": 1.0}, {"event": 1}, {"a": "high"}, {"a": [1.0]}, {"a": np.ones(2)}, {3: 1.0}]
)
def test_metrics_that_are_no_numbers(tmp_path: Path, metrics: dict[Any, Any]) -> None:
    writer = new_run(tmp_path / "run")
    before = files(tmp_path / "run")
    message(lambda: writer.commit(1, metrics), DataError)
    assert files(tmp_path / "run") == before
    assert RunReader(tmp_path / "run").steps == []


def test_several_ranks(tmp_path: Path) -> None:
    writers = [new_run(tmp_path / "run", rank=rank) for rank in (1, 0, 2)]
    for writer in writers:
        writer.write_rows(1, [completion_row(reward=writer.rank)], [rollout_row()] if writer.rank else [])
    for writer in (writers[0], writers[2]):
        assert "rank 0 alone" in message(lambda writer=writer: writer.commit(1, {}))  # type: ignore[misc]
        assert "rank 0 alone" in message(lambda writer=writer: writer.eval(1, {}))  # type: ignore[misc]
    assert RunReader(tmp_path / "run").steps == []
    writers[1].commit(1, {})
    reader = RunReader(tmp_path / "run")
    assert reader.completions().select(["rank", "reward"]).to_pydict() == {"rank": [0, 1, 2], "reward": [0.0, 1.0, 2.0]}
    assert reader.rollouts()["rank"].to_pylist() == [1, 2]


def test_steps_are_in_the_order_of_numbers(tmp_path: Path) -> None:
    writer = new_run(tmp_path / "run")
    for step in (999_999, 1_000_000, 10_000_000):
        write_step(writer, step, rows=1)
    assert RunReader(tmp_path / "run").completions()["step"].to_pylist() == [999_999, 1_000_000, 10_000_000]


def test_evals_of_one_step_are_one_row_and_the_later_value_wins(tmp_path: Path) -> None:
    writer = new_run(tmp_path / "run")
    writer.eval(0, {"accuracy": 0.1, "n": 10})
    writer.eval(0, {"accuracy": 0.2, "length": 5})
    assert RunReader(tmp_path / "run").evals() == [{"step": 0, "accuracy": 0.2, "n": 10, "length": 5}]


# --- rows


def test_values_of_numpy_and_torch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    writer = new_run(tmp_path / "run")
    completion = completion_row(
        reward=np.float32(0.5), length=torch.tensor(3.0), gram_ids=np.array([1], dtype=np.int64)
    )
    rollout = rollout_row(
        token_ids=torch.tensor([5, 6, 7]),
        logprob=np.array([-0.5, -1, -0.25], dtype=np.float32),
        planning=torch.tensor([True, True, False]),
        advantage=(0.5, 0.25, 0),
    )
    writer.write_rows(1, [completion], [rollout])
    writer.commit(1, {})
    reader = RunReader(tmp_path / "run")
    assert reader.completions().to_pylist()[0] == {**completion_row(reward=0.5), "step": 1, "rank": 0}
    assert reader.rollouts().to_pylist()[0] == {**rollout_row(advantage=[0.5, 0.25, 0.0]), "step": 1, "rank": 0}


def test_optional_columns_may_be_left_out(tmp_path: Path) -> None:
    writer = new_run(tmp_path / "run")
    row = completion_row()
    for name in ("advantage", "sum_logprob_planning", "sum_logprob_execution"):
        del row[name]
    writer.write_rows(1, [row], [])
    writer.commit(1, {})
    assert RunReader(tmp_path / "run").completions()["advantage"].to_pylist() == [None]


def test_a_step_without_rows_or_text(tmp_path: Path) -> None:
    writer = new_run(tmp_path / "run")
    writer.write_rows(1, [], [])
    writer.commit(1, {"reward": None})
    writer.commit(2, {})
    reader = RunReader(tmp_path / "run")
    assert reader.steps == [1, 2]
    assert reader.completions().num_rows == reader.rollouts().num_rows == 0
    assert not list((tmp_path / "run" / "rollouts").iterdir())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reward": "high"}, "column 'reward'"),
        ({"reward": None}, "'reward' is missing"),
        ({"length": 2.5}, "column 'length'"),
        ({"gram_ids": [0.5]}, "0.5 is not a whole number"),
        ({"length": 2**40}, "column 'length'"),
        ({"truncated": "no"}, "column 'truncated'"),
        ({"colour": "red"}, "'colour'"),
        ({"gram_ids": [1, 2]}, "gram_ids 2, gram_counts 1"),
        ({"gram_ids": 1}, "column 'gram_ids'"),
    ],
)
def test_rows_of_another_shape_name_the_column(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    writer = new_run(tmp_path / "run")
    text = message(lambda: writer.write_rows(3, [completion_row(), completion_row(**changes)], []), DataError)
    assert "completions of step 3" in text
    assert said in text
    assert not list((tmp_path / "run" / "completions").iterdir())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"token_ids": [1, 2]}, "token_ids 2"),
        ({"logprob": [0.0]}, "logprob 1"),
        ({"completion": b"bytes"[0]}, "column 'completion'"),
        ({"planning": None}, "'planning' is missing"),
        ({"begin": ["x", "y", "z"]}, "column 'begin'"),
    ],
)
def test_rollouts_of_another_shape_name_the_column(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    writer = new_run(tmp_path / "run")
    text = message(lambda: writer.write_rows(3, [completion_row()], [rollout_row(**changes)]), DataError)
    assert "rollouts of step 3" in text
    assert said in text
    assert files(tmp_path / "run") == {"run.json", "grams.json", "metrics.jsonl"}  # not half of a step's files either


def test_hostile_text_survives(tmp_path: Path) -> None:
    hostile = '<script>alert("\u2028\x00\ud800")</script>\n\r\u202e😀'
    writer = new_run(tmp_path / "run")
    writer.write_rows(1, [completion_row()], [rollout_row(completion=hostile, token_text=["\udfff", "\x00", "😀"])])
    writer.commit(1, {})
    writer.note(1, hostile)
    reader = RunReader(tmp_path / "run")
    row = reader.rollouts().to_pylist()[0]
    assert row["completion"] == hostile.replace("\ud800", "?")  # a lone surrogate is no text in UTF-8
    assert row["token_text"] == ["?", "\x00", "😀"]
    assert reader.notes() == [(1, hostile)]
    assert len((tmp_path / "run" / "metrics.jsonl").read_bytes().splitlines()) == 3


# --- order and refusals


def test_a_committed_step_never_changes(tmp_path: Path) -> None:
    writer = new_run(tmp_path / "run")
    assert writer.last_step is None
    write_step(writer, 3)
    assert writer.last_step == 3
    for step in (2, 3):
        assert "above 3" in message(lambda step=step: writer.commit(step, {}))  # type: ignore[misc]
        assert "above 3" in message(lambda step=step: writer.write_rows(step, [], []))  # type: ignore[misc]
    for step in (-1, 2.0, True, "4"):
        assert "whole number" in message(lambda step=step: writer.eval(step, {}))  # type: ignore[misc]
    assert RunReader(tmp_path / "run").steps == [3]


@pytest.mark.parametrize("step", [-1, 1.5, True, None])
def test_a_first_step_must_be_a_step_too(tmp_path: Path, step: Any) -> None:
    writer = new_run(tmp_path / "run")
    message(lambda: writer.write_rows(step, [], []))
    message(lambda: writer.commit(step, {}))
    assert files(tmp_path / "run") == {"run.json", "grams.json", "metrics.jsonl"}


def test_a_fresh_run_does_not_overwrite_another(tmp_path: Path) -> None:
    write_step(new_run(tmp_path / "run"), 7)
    before = {name: (tmp_path / "run" / name).read_bytes() for name in files(tmp_path / "run")}
    text = message(lambda: new_run(tmp_path / "run"))
    assert "holds a run already" in text
    assert "up to 7" in text
    assert "resume_step=" in text
    assert {name: (tmp_path / "run" / name).read_bytes() for name in files(tmp_path / "run")} == before


def test_other_files_and_a_start_that_was_killed_are_no_run(tmp_path: Path) -> None:
    (tmp_path / "run" / "completions").mkdir(parents=True)
    (tmp_path / "run" / "recipe.toml").write_text("")
    (tmp_path / "run" / "metrics.jsonl").touch()
    write_step(new_run(tmp_path / "run"), 1)
    assert RunReader(tmp_path / "run").steps == [1]
    (tmp_path / "file").touch()
    assert "is a file" in message(lambda: new_run(tmp_path / "file"))


def test_what_is_not_a_run_directory(tmp_path: Path) -> None:
    assert "no such directory" in message(lambda: RunReader(tmp_path / "nowhere"))
    assert "empty directory" in message(lambda: RunReader(tmp_path))
    new_run(tmp_path / "grpo")
    text = message(lambda: RunReader(tmp_path))
    assert "expected: a directory with run.json" in text
    assert "run directories inside it: grpo" in text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"schema_version": 2}', "--upgrade"),
        ('{"schema_version": 0}', "the hicra that wrote it"),
        ('{"schema_version": "x"}', "version 'x'"),
        ("{", "damaged"),
        ("[]", "damaged"),
        ("{}", "damaged"),
    ],
)
def test_another_schema_version_or_a_damaged_run_json(tmp_path: Path, content: str, said: str) -> None:
    new_run(tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text(content)
    assert said in message(lambda: RunReader(tmp_path / "run"))
    assert said in message(lambda: new_run(tmp_path / "run", resume_step=1))


def test_damage_is_named(tmp_path: Path) -> None:
    writer = new_run(tmp_path / "run")
    for step in (1, 2, 3):
        write_step(writer, step)
    run = tmp_path / "run"
    (run / "completions" / "step-000002.rank-0.parquet").write_bytes(b"PAR1 no")
    (run / "rollouts" / "step-000003.rank-0.parquet").unlink()
    reader = RunReader(run)
    assert reader.completions([1, 3]).num_rows == 4
    assert "step-000002.rank-0.parquet: damaged" in message(reader.completions)
    assert "step-000003.rank-0.parquet: missing" in message(reader.rollouts)
    assert "step 9 is not committed" in message(lambda: reader.rollouts([9]))
    assert "no column 'colour'" in message(lambda: reader.rollouts([1], columns=["colour"]))
    lines = (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    for damaged in (
        b'{"event": "metrics", "st\n',
        b"\xff\n",
        b"[]\n",
        b'{"event": "commit"}\n',
        b'{"event": 1, "step": 1}\n',
    ):
        (run / "metrics.jsonl").write_bytes(b"".join([lines[0], damaged, *lines[1:]]))
        assert "metrics.jsonl:2: damaged line" in message(lambda: RunReader(run))
    evil = b'{"event": "commit", "step": 1, "completions": ["../../../x"]}\n'
    (run / "metrics.jsonl").write_bytes(evil + b"".join(lines))
    assert "metrics.jsonl:1: damaged line" in message(lambda: RunReader(run))
    (run / "metrics.jsonl").write_bytes(b"".join(lines))
    (run / "grams.json").write_text("{")
    assert "grams.json: damaged" in message(lambda: RunReader(run))


def test_a_file_of_another_schema_is_named(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    write_step(new_run(tmp_path / "run"), 1)
    path = tmp_path / "run" / "completions" / "step-000001.rank-0.parquet"
    pq.write_table(pa.table({"step": [1], "reward": ["x"]}), path)
    assert "not of this schema" in message(RunReader(tmp_path / "run").completions)


def test_a_commit_that_lists_no_files_counts_all_that_are_there(tmp_path: Path) -> None:
    """What another program writes without our writer: the commit line's two keys are all that it must know."""
    write_step(new_run(tmp_path / "run"), 1)
    log = tmp_path / "run" / "metrics.jsonl"
    log.write_text('{"event":"metrics","step":1,"reward":1}\n{"event":"commit","step":1}\n{"event":"other","step":1}\n')
    reader = RunReader(tmp_path / "run")
    assert reader.steps == [1]
    assert reader.completions().num_rows == reader.rollouts().num_rows == 2
    new_run(tmp_path / "run", resume_step=1)
    assert RunReader(tmp_path / "run").completions().num_rows == 2


def test_a_reader_is_a_snapshot(tmp_path: Path) -> None:
    writer = new_run(tmp_path / "run")
    write_step(writer, 1)
    reader = RunReader(tmp_path / "run")
    write_step(writer, 2)
    assert reader.steps == [1]
    assert reader.completions()["step"].to_pylist() == [1, 1]
    assert RunReader(tmp_path / "run").steps == [1, 2]
    reader.metrics()[0]["reward"] = 5.0
    assert reader.metrics() == [{"step": 1, "reward": 1.0}]


# --- others read it without us


@pytest.fixture
def run_in_training(tmp_path: Path) -> Path:
    writer = new_run(tmp_path / "run")
    for step in (1, 2):
        write_step(writer, step)
    writer.write_rows(3, [completion_row(reward=3)], [rollout_row(reward=3)])  # being written: no commit yet
    return tmp_path / "run"


def test_polars_reads_it(run_in_training: Path) -> None:
    pl = pytest.importorskip("polars")
    log = pl.read_ndjson(run_in_training / "metrics.jsonl")
    committed = log.filter(pl.col("event") == "commit").select("step")
    rows = pl.read_parquet(run_in_training / "completions" / "*.parquet")
    assert rows.join(committed, on="step", how="semi")["reward"].to_list() == [1.0, 1.0, 2.0, 2.0]
    text = pl.read_parquet(run_in_training / "rollouts" / "*.parquet")
    assert text["token_text"].to_list()[0] == ["let", " me", " 2"]
    assert text.height == 5


def test_duckdb_reads_it(run_in_training: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    query = f"""
        with committed as (select step from read_json('{run_in_training}/metrics.jsonl', format = 'newline_delimited')
                           where event = 'commit')
        select step, avg(reward), sum(n_planning) from '{run_in_training}/completions/*.parquet'
        where step in (from committed) group by step order by step
    """
    with duckdb.connect() as connection:
        assert connection.sql(query).fetchall() == [(1, 1.0, 4), (2, 2.0, 4)]
        longest = f"select max(len(planning)) from '{run_in_training}/rollouts/*.parquet'"
        assert connection.sql(longest).fetchall() == [(3,)]


def test_datasets_reads_it(run_in_training: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    paths = sorted(map(str, (run_in_training / "rollouts").glob("*.parquet")))
    loaded = datasets.Dataset.from_parquet(paths, cache_dir=str(run_in_training.parent / "cache"), keep_in_memory=True)
    assert loaded["step"][:] == [1, 1, 2, 2, 3]
    assert loaded[0]["planning"] == [True, True, False]


def test_create_needs_no_heavy_packages(tmp_path: Path) -> None:
    """Versions are looked up, not imported: every rank of a run that writes nothing stays light."""
    code = f"""
        import sys
        from hicra.traces import RunWriter
        RunWriter.create({str(tmp_path / "run")!r}, config={{}}, seeds={{}})
        print([m for m in ("torch", "transformers", "trl", "pyarrow") if m in sys.modules])
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert isinstance(RunWriter.create(tmp_path / "other", config={}, seeds={}), RunWriter)
