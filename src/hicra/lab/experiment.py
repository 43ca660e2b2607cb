"""A whole experiment: one warm start, then GRPO and HICRA side by side, each in a process of its own on one thread.

Both arms start from the same model, see the same problems in the same order, and are judged on the same held-out
problems with the same random draws; they differ in alpha alone. Everything survives being killed: a finished warm
start is found again by its hash, an arm goes on from its last checkpoint, a finished arm is left alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from hicra.errors import ConfigError, HicraError
from hicra.lab.layout import Layout
from hicra.lab.settings import ARMS, LabSettings

_POLL_SECONDS = 0.3
_ARM = "hicra.lab.arm"


class Watcher(Protocol):
    """Is told how an experiment comes along."""

    def warm_start(self, done: int, total: int, loss: float) -> None:
        """`done` of `total` batches of the warm start; the loss in nats a token. Found finished, it is called once
        with `done == total`.
        """

    def arm(self, arm: str, step: int, total: int, metrics: dict[str, Any], evals: list[dict[str, Any]]) -> None:
        """An arm has committed `step` of `total`; the metrics of that step and all evaluations so far."""


def run_experiment(root: Path, settings: LabSettings, *, watcher: Watcher | None = None, fresh: bool = False) -> Layout:
    """Run an experiment in a folder, or go on with the one that is there.

    Args:
        root: the experiment's folder; it may exist.
        settings: the experiment.
        watcher: is told about progress.
        fresh: drop the runs that are there, whatever they are; a warm start with the same settings is kept.

    Raises:
        ConfigError: the folder holds an experiment with other settings (and `fresh` is False), or another process is at
            work in it.
        HicraError: an arm failed; the message holds the end of its log.
    """
    layout = Layout(root)
    with _alone_in(root):
        _claim(layout, settings, fresh)
        prepare(layout, settings, watcher)
        _run_arms(layout, settings, watcher)
    return layout


def prepare(layout: Layout, settings: LabSettings, watcher: Watcher | None = None) -> None:
    """Make what both arms need, as far as it is not there: the settings, the gram set, the warm-started model."""
    import torch

    from hicra.lab.base import has_base, make_base
    from hicra.lab.phrases import gram_set

    layout.save_settings(settings)
    gram_set(settings.world).save(layout.grams)
    if has_base(layout.warm_start, settings):
        if watcher is not None:
            watcher.warm_start(1, 1, float("nan"))
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # repeatable; a second thread wins little here, and loses much where the core is shared
    try:
        make_base(layout.warm_start, settings, None if watcher is None else watcher.warm_start)
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _alone_in(root: Path) -> Iterator[None]:
    """Hold the folder's lock; the system lets go of it however this process ends."""
    try:
        import fcntl
    except ImportError:  # not on this system: two experiments in one folder are then the user's care
        yield
        return
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"another process is at work in {root}", mend="wait for it to end, or choose another folder"
            ) from error
        yield


def _claim(layout: Layout, settings: LabSettings, fresh: bool) -> None:
    """Make sure that what is in the folder belongs to this experiment."""
    there = [path for path in (*map(layout.run, ARMS), layout.root / "work", layout.report) if path.exists()]
    if fresh:
        for path in there:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    elif layout.settings.exists():
        if there and layout.load_settings() != settings:
            raise ConfigError(
                f"{layout.root} holds an experiment with other settings",
                mend="choose another folder, or say --fresh to train anew there (a fitting warm start is kept)",
            )
    elif there:
        raise ConfigError(
            f"{layout.root} holds runs that are not the lab's",
            got=", ".join(path.name for path in there),
            mend="choose another folder",
        )


def _run_arms(layout: Layout, settings: LabSettings, watcher: Watcher | None) -> None:
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for arm in ARMS:
            if layout.finished(arm):
                layout.drop_checkpoints(arm)  # killed between saving the model and this
            else:
                processes[arm] = _start(layout, arm)
        while True:
            ended = {arm: process.poll() for arm, process in processes.items()}
            for arm in ARMS:
                _tell(layout, settings, arm, watcher)
            failed = [arm for arm, code in ended.items() if code not in (None, 0)]
            if failed:
                raise _failure(layout, failed[0], ended[failed[0]])
            if None not in ended.values():
                return
            time.sleep(_POLL_SECONDS)
    finally:
        for process in processes.values():
            if process.poll() is None:
                process.terminate()
        for process in processes.values():
            process.wait()


def _start(layout: Layout, arm: str) -> subprocess.Popen[bytes]:
    log = layout.log(arm)
    log.parent.mkdir(parents=True, exist_ok=True)
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    offline = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", _ARM, str(layout.root.resolve()), arm],
            env={**os.environ, **one_thread, **offline},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def _tell(layout: Layout, settings: LabSettings, arm: str, watcher: Watcher | None) -> None:
    from hicra.traces.runlog import read_log

    if watcher is None:
        return
    log = read_log(layout.run(arm) / "metrics.jsonl")
    step = log.last or 0
    watcher.arm(arm, step, settings.training.steps, log.metrics.get(step, {}), list(log.evals.values()))


def _failure(layout: Layout, arm: str, code: int | None) -> HicraError:
    lines = layout.log(arm).read_text("utf-8", "replace").strip().splitlines()
    return HicraError(
        f"the {arm} run ended with exit code {code}",
        got="\n" + "\n".join(lines[-12:]),
        mend=f"the whole log is {layout.log(arm)}; the same command goes on from the last checkpoint",
    )
