"""The run directory: what every engine writes and every reader reads.

    run.json                                   engine, config, seeds, versions, gram set (name, hash, text version)
    grams.json                                 the gram set itself: gram_id and gram_ids are indices into its "grams"
    metrics.jsonl                              one line of metrics a step, and the commit that ends it (see runlog.py)
    completions/step-000007.rank-0.parquet     every completion of step 7: rewards, lengths, sums by token kind
    rollouts/step-000007.rank-0.parquet        text and per-token columns of a few whole groups
    superseded/001-after-step-000005/          what a resume from the checkpoint of step 5 replaced

A step counts once its commit line is in metrics.jsonl, which is written after all of the step's files are in place; so
the directory is complete up to the last commit at whatever moment the writer dies. Columns and units are in schema.py.
Nothing but a JSON and a Parquet reader is needed to read it.
"""

from __future__ import annotations

import json
import operator
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hicra.errors import RunDirError
from hicra.traces import disk, runlog
from hicra.traces.rows import completion_table, rollout_table
from hicra.traces.runlog import KINDS
from hicra.traces.runmeta import check_same_grams, new_meta, read_meta, resume_entry, to_json

if TYPE_CHECKING:
    import os

    import pyarrow as pa

RUN, GRAMS, METRICS, SUPERSEDED = "run.json", "grams.json", "metrics.jsonl", "superseded"

_STEP_FILE = re.compile(r"step-(\d+)\.rank-(\d+)\.parquet")


def step_file(step: int, rank: int) -> str:
    """Name of the file that `rank` writes for `step`."""
    return f"step-{step:06d}.rank-{rank}.parquet"


class RunWriter:
    """Writes a run directory; one on each rank. Make one with `RunWriter.create`.

    A step is: `write_rows` on every rank, the engine's barrier, `commit` on rank 0. Steps increase; a committed step
    never changes.
    """

    def __init__(self, path: Path, rank: int, log: runlog.RunLog) -> None:
        self.path, self.rank = path, rank
        self._last = log.last

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        *,
        config: Mapping[str, Any],
        seeds: Mapping[str, int],
        grams: Mapping[str, Any] | None = None,
        rank: int = 0,
        resume_step: int | None = None,
        engine: str = "",
    ) -> RunWriter:
        """Start a run directory, or go on with one.

        On ranks above 0 nothing but the directories is made: put a barrier after this, so that rank 0 has moved old
        files away before another rank writes new ones.

        Args:
            path: the run directory; it may exist, and hold other files, but no other run.
            config: the settings of the run; what JSON has no word for is written as text.
            seeds: name -> seed.
            grams: ``{"name", "hash", "text_version", "grams": [{"text", "at", "cluster", "function"}, ...]}``.
            rank: which process this is.
            resume_step: go on after the checkpoint of this step: what is there of later steps, and what was never
                committed, is moved to ``superseded/``. None: a fresh run.
            engine: name of the engine, for run.json.

        Raises:
            RunDirError: there is a run already (and `resume_step` is None), it was made with another gram set or by
                another schema version, or the place cannot be written.
        """
        run = Path(path)
        resume_step = None if resume_step is None else _step(resume_step)
        with disk.explained(run, "nothing has been written"):
            if run.exists() and not run.is_dir():
                raise RunDirError(f"{run}: is a file", expected="a directory, or a path that does not exist yet")
            for kind in KINDS:
                (run / kind).mkdir(parents=True, exist_ok=True)
            if rank != 0:
                return cls(run, rank, runlog.RunLog())
            fresh = not (run / RUN).exists()
            if resume_step is None and _has_data(run):
                raise RunDirError(
                    f"{run}: holds a run already",
                    expected="an empty or new directory for a fresh run",
                    got=f"committed steps up to {runlog.read_log(run / METRICS).last or 0}",
                    mend="resume from its last checkpoint (resume_step=), choose another directory, or remove this one",
                )
            meta = new_meta(config, seeds, grams, engine) if fresh else read_meta(run / RUN)
            if not fresh:
                check_same_grams(meta, grams, run)
        log = runlog.RunLog()
        with disk.explained(run, "nothing of the old run is lost"):
            if resume_step is not None:
                log = _supersede(run, resume_step)
                meta["resumes"].append(resume_entry(resume_step, config))
            if grams is not None and not (run / GRAMS).exists():
                disk.write_atomic(run / GRAMS, to_json(grams))
            if not (run / METRICS).exists():
                disk.write_atomic(run / METRICS, b"")
            disk.write_atomic(run / RUN, to_json(meta))
        return cls(run, rank, log)

    @property
    def last_step(self) -> int | None:
        """The last committed step that this writer knows of (rank 0 only), None before the first."""
        return self._last

    def write_rows(
        self, step: int, completions: Sequence[Mapping[str, Any]], rollouts: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """Write this rank's rows of a step. They count once rank 0 has called `commit`.

        Args:
            step: the training step, above every committed one.
            completions: every completion of this rank: the columns of `schema.COMPLETION_COLUMNS` but step and rank;
                those that are not required may be left out. Values may be numpy's or torch's.
            rollouts: whole groups with text: the columns of `schema.ROLLOUT_COLUMNS`; if empty, no file is made.

        Raises:
            DataError: a column is unknown, missing or of another type.
            RunDirError: the step is committed already, or the disk is full.
        """
        step = self._check_step(step)
        files = {"completions": completion_table(completions, step, self.rank)}
        if rollouts:
            files["rollouts"] = rollout_table(rollouts, step, self.rank)
        for kind, table in files.items():
            path = self.path / kind / step_file(step, self.rank)
            with disk.explained(path, self._safe()):
                disk.write_atomic(path, _parquet(table))

    def commit(self, step: int, metrics: Mapping[str, Any]) -> None:
        """End a step: after this its files and metrics count. Rank 0, after every rank's `write_rows`.

        Args:
            step: the step.
            metrics: name -> number, or None where there is none; NaN and infinities are written as null.

        Raises:
            DataError: a metric is not a number.
            RunDirError: not on rank 0, the step is committed already, or the disk is full.
        """
        step = self._check_step(step)
        files = {kind: [rank for _, rank, _ in _step_files(self.path / kind, step)] for kind in KINDS}
        values = runlog.numbers(metrics)
        self._append(runlog.line("metrics", step, values) + runlog.line("commit", step, files))
        self._last = step

    def eval(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Record an evaluation of the model as it was after `step` (0: before training). Raises what `commit` does."""
        self._append(runlog.line("eval", _step(step), runlog.numbers(metrics)))

    def note(self, step: int, text: str) -> None:
        """Record a remark, e.g. a warning that the reader of a report should see."""
        self._append(runlog.line("note", _step(step), {"text": text}))

    def _append(self, data: bytes) -> None:
        if self.rank != 0:
            raise RunDirError(f"rank {self.rank} cannot write {METRICS}", expected="rank 0 alone records and commits")
        with disk.explained(self.path / METRICS, self._safe()):
            disk.append(self.path / METRICS, data)

    def _check_step(self, step: int) -> int:
        step = _step(step)
        if self._last is not None and step <= self._last:
            raise RunDirError(
                f"{self.path}: step {step} cannot be written again",
                expected=f"a step above {self._last}, the last committed one",
                mend="to go back to a checkpoint, make the writer with resume_step=",
            )
        return step

    def _safe(self) -> str:
        return (
            "no step was committed yet" if self._last is None else f"steps up to {self._last} are complete and readable"
        )


class RunReader:
    """Reads a run directory: a snapshot of what was committed when the reader was made. Training may go on meanwhile.

    Attributes:
        path: the directory.
        meta: the content of run.json.
        grams: the content of grams.json, None if the run has none.
        steps: the committed steps, ascending.

    Raises:
        RunDirError: not a run directory, one of another schema version, or a damaged one.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not (self.path / RUN).is_file():
            there = sorted(p.name for p in self.path.iterdir()) if self.path.is_dir() else None
            raise RunDirError(
                f"{self.path}: not a run directory",
                expected=f"a directory with {RUN}",
                got="no such directory" if there is None else ", ".join(there[:8]) or "an empty directory",
                mend=_suggest(self.path),
            )
        self.meta: dict[str, Any] = read_meta(self.path / RUN)
        self.grams: dict[str, Any] | None = None
        if (self.path / GRAMS).exists():
            try:
                self.grams = json.loads((self.path / GRAMS).read_bytes())
            except ValueError as error:
                raise RunDirError(f"{self.path / GRAMS}: damaged", got=str(error)) from error
        self._log = runlog.read_log(self.path / METRICS)
        self.steps: list[int] = list(self._log.commits)

    def metrics(self) -> list[dict[str, Any]]:
        """One dict for each committed step, in order: ``step`` and the metrics (numbers or None)."""
        return [dict(values) for values in self._log.metrics.values()]

    def evals(self) -> list[dict[str, Any]]:
        """One dict for each evaluation, in order: ``step`` (0: before training) and what was measured."""
        return [dict(values) for values in self._log.evals.values()]

    def notes(self) -> list[tuple[int, str]]:
        """Remarks of the writer: (step, text)."""
        return list(self._log.notes)

    def completions(self, steps: Iterable[int] | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """Completions of `steps` (None: all committed), by step and rank; `columns` reads a few of them only.

        Raises:
            RunDirError: a step that is not committed, or a file that is missing or damaged.
        """
        return self._table("completions", steps, columns)

    def rollouts(self, steps: Iterable[int] | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """Rollouts of `steps`; as `completions`. Steps that kept no text have none."""
        return self._table("rollouts", steps, columns)

    def _table(self, kind: str, steps: Iterable[int] | None, columns: Sequence[str] | None) -> pa.Table:
        import pyarrow as pa
        import pyarrow.parquet as pq

        from hicra.traces.schema import completion_schema, rollout_schema

        schema = completion_schema() if kind == "completions" else rollout_schema()
        if columns is not None:
            if unknown := [name for name in columns if name not in schema.names]:
                raise RunDirError(f"{kind} have no column {unknown[0]!r}", expected=", ".join(schema.names))
            schema = pa.schema([schema.field(name) for name in columns], metadata=schema.metadata)
        tables = []
        for path in self._files(kind, steps):
            try:
                with pq.ParquetFile(path) as file:
                    table = file.read(columns=schema.names)
                tables.append(table.select(schema.names).cast(schema))
            except (pa.ArrowException, OSError, KeyError, ValueError) as error:
                raise RunDirError(
                    f"{path}: damaged, or not of this schema",
                    expected=f"the columns {', '.join(schema.names)}",
                    got=str(error).splitlines()[0],
                ) from error
        return pa.concat_tables(tables) if tables else schema.empty_table()

    def _files(self, kind: str, steps: Iterable[int] | None) -> Iterator[Path]:
        wanted = self.steps if steps is None else sorted(set(steps))
        for step in wanted:
            commit = self._log.commits.get(step)
            if commit is None:
                last = self._log.last
                raise RunDirError(
                    f"{self.path}: step {step} is not committed",
                    got="no committed step" if last is None else f"{len(self.steps)} steps, the last one {last}",
                )
            ranks = commit.get(kind)
            if ranks is None:  # an engine that writes the files without our writer need not list them
                ranks = [rank for _, rank, _ in _step_files(self.path / kind, step)]
            for rank in ranks:
                path = self.path / kind / step_file(step, rank)
                if not path.exists():
                    raise RunDirError(f"{path}: missing, though step {step} was committed with it")
                yield path


def _supersede(run: Path, step: int) -> runlog.RunLog:
    """Move everything but committed steps up to `step` to ``superseded/``; the log of what stays.

    Copies the lines, cuts them off metrics.jsonl, then moves the files: killed between any two of these, the directory
    is readable (up to the old last step, or up to `step`), no line or file is lost, and the next resume finishes the
    work.
    """
    log = runlog.read_log(run / METRICS, until=step)
    stale = [
        (kind, path)
        for kind in KINDS
        for n, rank, path in _step_files(run / kind)
        if n not in log.commits or rank not in log.commits[n].get(kind, (rank,))
    ]
    if log.dropped or stale:
        parent = run / SUPERSEDED
        number = 1 + max((int(p.name[:3]) for p in parent.glob("[0-9][0-9][0-9]-*")), default=0)
        target = parent / f"{number:03d}-after-step-{step:06d}"
        for kind in KINDS:
            (target / kind).mkdir(parents=True)
        disk.write_atomic(target / METRICS, b"".join(raw + b"\n" for raw in log.dropped))
        disk.write_atomic(run / METRICS, b"".join(raw + b"\n" for raw in log.kept))
        for kind, path in stale:
            shutil.move(path, target / kind / path.name)
        for directory in [*(run / kind for kind in KINDS), *(target / kind for kind in KINDS), target, parent, run]:
            disk.sync_directory(directory)
    elif (run / METRICS).exists():
        disk.write_atomic(run / METRICS, b"".join(raw + b"\n" for raw in log.kept))  # a torn last line goes
    for directory in (run, *(run / kind for kind in KINDS)):
        for left in directory.glob(f".*{disk.TMP_SUFFIX}"):
            left.unlink(missing_ok=True)
    return log


def _step_files(directory: Path, step: int | None = None) -> list[tuple[int, int, Path]]:
    """(step, rank, path) of the files in `directory`, of one step or of all, in that order."""
    found = []
    for path in directory.glob("step-*.parquet" if step is None else f"step-{step:06d}.rank-*.parquet"):
        if match := _STEP_FILE.fullmatch(path.name):
            found.append((int(match[1]), int(match[2]), path))
    return sorted(found)


def _has_data(run: Path) -> bool:
    """Whether a run would be lost by starting another one here (a start that was killed leaves nothing to lose)."""
    log = run / METRICS
    return (
        (run / RUN).exists()
        or (log.exists() and log.stat().st_size > 0)
        or any(_step_files(run / kind) for kind in KINDS)
    )


def _parquet(table: pa.Table) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(memoryview(sink.getvalue()))


def _step(step: int) -> int:
    try:
        number = -1 if isinstance(step, bool) else operator.index(step)  # numpy's integers are fine
    except TypeError:
        number = -1
    if number < 0:
        raise RunDirError("a step is a whole number from 0", got=repr(step))
    return number


def _suggest(path: Path) -> str | None:
    inner = sorted(p.parent.name for p in path.glob(f"*/{RUN}")) if path.is_dir() else []
    return f"run directories inside it: {', '.join(inner)}" if inner else None
