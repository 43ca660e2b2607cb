"""A run directory survives what happens to runs: resumes, kills at any moment, full disks."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hicra.errors import RunDirError
from hicra.traces import RunReader, disk
from tests.rundir_rows import GRAMS, completion_row, files, log_lines, new_run, rollout_row, write_step


def message(call: Callable[[], object]) -> str:
    with pytest.raises(RunDirError) as caught:
        call()
    return str(caught.value)


# --- resume


def test_resume_moves_what_came_later_to_superseded(tmp_path: Path) -> None:
    run = tmp_path / "run"
    writer = new_run(run)
    for step in (1, 2, 3, 4):
        write_step(writer, step)
        writer.eval(step, {"accuracy": step / 10})
    writer.write_rows(5, [completion_row()], [rollout_row()])  # died before the commit of step 5
    old = RunReader(run)
    later = {
        name: (run / name).read_bytes() for name in files(run) if "00003" in name or "00004" in name or "00005" in name
    }
    assert len(later) == 6

    resumed = new_run(run, resume_step=2)
    assert resumed.last_step == 2
    reader = RunReader(run)
    assert reader.steps == [1, 2]
    assert [e["step"] for e in reader.evals()] == [1, 2]
    assert reader.completions().equals(old.completions([1, 2]))
    moved = run / "superseded" / "001-after-step-000002"
    assert {name: (moved / name).read_bytes() for name in later} == later
    assert [(e["event"], e["step"]) for e in log_lines(moved)] == [
        (event, step) for step in (3, 4) for event in ("metrics", "commit", "eval")
    ]
    assert [entry["step"] for entry in reader.meta["resumes"]] == [2]

    write_step(resumed, 3, rows=4)
    assert RunReader(run).completions([3]).num_rows == 4
    new_run(run, resume_step=1)
    assert RunReader(run).steps == [1]
    assert {p.name for p in (run / "superseded").iterdir()} == {"001-after-step-000002", "002-after-step-000001"}


def test_resume_at_the_end_moves_nothing(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_step(new_run(run), 2)
    before = (run / "metrics.jsonl").read_bytes()
    writer = new_run(run, resume_step=2)
    assert not (run / "superseded").exists()
    assert (run / "metrics.jsonl").read_bytes() == before
    write_step(writer, 3)
    assert RunReader(run).steps == [2, 3]


def test_resume_between_commits_keeps_the_eval_of_the_checkpoint(tmp_path: Path) -> None:
    run = tmp_path / "run"
    writer = new_run(run)
    write_step(writer, 4)
    writer.eval(5, {"accuracy": 0.5})
    writer.eval(6, {"accuracy": 0.6})
    assert RunReader(run).evals() == []  # after the last committed step
    write_step(new_run(run, resume_step=5), 8)
    assert RunReader(run).evals() == [{"step": 5, "accuracy": 0.5}]


def test_rows_that_were_never_committed_are_superseded_too(tmp_path: Path) -> None:
    """Died between the rows and the commit of step 2, whose checkpoint exists: nothing may count them later."""
    run = tmp_path / "run"
    writer = new_run(run)
    write_step(writer, 1)
    writer.write_rows(2, [completion_row()], [rollout_row()])
    new_run(run, rank=1).write_rows(1, [completion_row()], [])  # later than the commit of step 1
    assert RunReader(run).completions([1]).num_rows == 2
    assert new_run(run, resume_step=2).last_step == 1
    assert files(run / "completions") == {"step-000001.rank-0.parquet"}
    assert files(run / "superseded" / "001-after-step-000002") == {
        "metrics.jsonl",
        "completions/step-000001.rank-1.parquet",
        "completions/step-000002.rank-0.parquet",
        "rollouts/step-000002.rank-0.parquet",
    }


def test_resume_cuts_off_a_torn_line_and_clears_what_a_dead_writer_left(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_step(new_run(run), 1)
    with (run / "metrics.jsonl").open("ab") as log:
        log.write(b'{"event": "metrics", "step": 2, "rew')
    left = run / "completions" / f".step-000002.rank-0.parquet.77{disk.TMP_SUFFIX}"
    left.write_bytes(b"PAR1")
    assert RunReader(run).steps == [1]
    write_step(new_run(run, resume_step=1), 2)
    assert RunReader(run).steps == [1, 2]
    assert [e["step"] for e in log_lines(run)] == [1, 1, 2, 2]
    assert not left.exists()


def test_resume_into_nothing_starts_a_run(tmp_path: Path) -> None:
    """The checkpoint of a run that recorded nothing: its steps are simply not here."""
    write_step(new_run(tmp_path / "run", resume_step=100), 101)
    reader = RunReader(tmp_path / "run")
    assert reader.steps == [101]
    assert reader.meta["resumes"][0]["step"] == 100


def test_resume_with_other_grams_is_refused(tmp_path: Path) -> None:
    write_step(new_run(tmp_path / "run"), 1)
    before = (tmp_path / "run" / "run.json").read_bytes()
    text = message(lambda: new_run(tmp_path / "run", resume_step=1, grams={**GRAMS, "hash": "other"}))
    assert "another gram set" in text
    assert "abc123" in text
    message(lambda: new_run(tmp_path / "run", resume_step=1, grams=None))
    assert (tmp_path / "run" / "run.json").read_bytes() == before


@pytest.mark.parametrize("fatal", range(12))
def test_a_resume_that_dies_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fatal: int) -> None:
    """Die at each of its steps on the disk in turn: the old or the new state is readable, a second resume finishes."""
    run = tmp_path / "run"
    writer = new_run(run)
    for step in (1, 2, 3):
        write_step(writer, step)
    text = (run / "completions" / "step-000003.rank-0.parquet").read_bytes()
    calls = {"n": 0}

    class Killed(BaseException):
        pass

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            calls["n"] += 1
            if calls["n"] > fatal:
                raise Killed
            return real(*arguments, **keywords)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", dying(os.replace))
        patch.setattr(os, "rename", dying(os.rename))
        patch.setattr(os, "mkdir", dying(os.mkdir))
        try:
            new_run(run, resume_step=1)
        except Killed:
            assert calls["n"] == fatal + 1
        else:
            assert fatal >= 8, "fewer steps than thought: nothing was tried here"
    reader = RunReader(run)
    assert reader.steps in ([1, 2, 3], [1])
    assert reader.completions([1]).num_rows == 2
    writer = new_run(run, resume_step=1)
    assert RunReader(run).steps == [1]
    assert files(run / "completions") == {"step-000001.rank-0.parquet"}
    assert text in [p.read_bytes() for p in (run / "superseded").rglob("step-000003.rank-0.parquet")]
    lost = [e for p in (run / "superseded").rglob("metrics.jsonl") for e in log_lines(p.parent)]
    assert {(e["event"], e["step"]) for e in lost} == {
        (event, step) for event in ("metrics", "commit") for step in (2, 3)
    }
    write_step(writer, 2)
    assert RunReader(run).steps == [1, 2]


# --- disk full, kill


@pytest.mark.parametrize("call", ["write", "fsync"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_a_full_disk_says_what_is_safe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: int) -> None:
    run = tmp_path / "run"
    writer = new_run(run)
    write_step(writer, 1)
    before = {name: (run / name).read_bytes() for name in files(run)}
    real = os.write

    def full(fd: int, data: Any = b"") -> int:
        if call == "write" and len(data) > 20:
            return real(fd, data[:20])  # some of it fits
        raise OSError(error, os.strerror(error))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        for attempt in (
            lambda: writer.write_rows(2, [completion_row()], [rollout_row()]),
            lambda: writer.commit(2, {"reward": 1.0}),
            lambda: writer.eval(1, {"accuracy": 1.0}),
        ):
            text = message(attempt)
            assert "steps up to 1 are complete and readable" in text
            assert ("the disk is full" in text) == (error == errno.ENOSPC)
            assert os.strerror(error) in text
        assert {name: (run / name).read_bytes() for name in files(run)} == before  # nothing half-written is left
        assert RunReader(run).completions().num_rows == 2
        text = message(lambda: new_run(tmp_path / "other"))
        assert "nothing of the old run is lost" in text or "nothing has been written" in text
    write_step(writer, 2)  # room again
    assert RunReader(run).steps == [1, 2]


def test_a_log_that_vanished_is_an_error_of_the_run_directory(tmp_path: Path) -> None:
    writer = new_run(tmp_path / "run")
    (tmp_path / "run" / "metrics.jsonl").unlink()
    assert "cannot be written" in message(lambda: writer.commit(1, {}))


KILLED = """
    import sys
    from tests.rundir_rows import new_run, write_step
    resume = None if sys.argv[2] == "fresh" else int(sys.argv[2])
    writer = new_run(sys.argv[1], resume_step=resume)
    for step in range((resume or 0) + 1, 100_000):
        write_step(writer, step, rows=40)
        print(step, flush=True)
"""


def test_kill_9_in_the_middle_of_writing(tmp_path: Path) -> None:
    run = tmp_path / "run"
    said = None
    for round_, resume in enumerate(("fresh", None, None)):
        arguments = [sys.executable, "-c", textwrap.dedent(KILLED), str(run), resume or str(said)]
        process = subprocess.Popen(
            arguments, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).resolve().parents[2]
        )
        assert process.stdout is not None
        for _ in range(3 + 2 * round_):
            said = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split()
        process.stdout.close()
        assert process.wait() == -signal.SIGKILL
        said = int(rest[-1]) if rest else said
        reader = RunReader(run)
        # What the process said is there; one step more may be: it died between the commit and saying so.
        assert reader.steps in (list(range(1, said + 1)), list(range(1, said + 2)))
        assert [m["reward"] for m in reader.metrics()] == [float(step) for step in reader.steps]
        assert reader.completions()["reward"].to_pylist() == [float(s) for s in reader.steps for _ in range(40)]
        assert reader.rollouts().num_rows == 40 * len(reader.steps)
