"""A pool of worker processes that can be killed: what checks answers whose computation may never end.

Threads cannot be stopped and an alarm cannot interrupt a computation inside an extension, so each pair of answers goes
to a process of its own kind (`hicra.evals._worker`), as one JSON line over a pipe. A worker that takes longer than the
limit, needs more memory than the limit or dies is replaced, and its pair is judged wrong; no other pair is lost.

A pool may be used from any thread, from several at once, and from async code (`Pool.submit` returns a future). After a
fork the child starts workers of its own. Workers start with the first pair that needs them.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import LifoQueue
from types import TracebackType

from hicra.errors import HicraError, require

START_SECONDS = 120.0
"""How long a worker may take to import its libraries, on a machine that does other things."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one pair of answers may cost.

    Attributes:
        seconds: wall-clock time.
        megabytes: memory beyond what a worker needs when idle.
    """

    seconds: float = 5.0
    megabytes: int = 1_024


class WorkerError(HicraError):
    """A worker process does not start."""


class Pool:
    """Worker processes, started on demand and replaced when killed.

    Args:
        workers: how many; by default one for each core that this process may use.
        limits: what one pair may cost.
    """

    def __init__(self, workers: int | None = None, limits: Limits | None = None) -> None:
        self.size = workers or usable_cores()
        self.limits = limits or Limits()
        self._lock = threading.Lock()
        self._pid = -1
        self._start()

    def submit(self, answer: str, gold: str) -> Future[bool]:
        """Verdict on one pair, when a worker has come to it. For async code: ``await asyncio.wrap_future(...)``."""
        if self._pid != os.getpid():  # forked: the pipes belong to the parent
            with self._lock:
                if self._pid != os.getpid():
                    self._start()
        return self._threads.submit(self._judge, answer, gold)

    def verdicts(self, pairs: Iterable[tuple[str, str]]) -> list[bool]:
        """Verdicts on pairs ``(answer, gold)``, in their order."""
        return [future.result() for future in [self.submit(answer, gold) for answer, gold in pairs]]

    @property
    def killed(self) -> int:
        """How many pairs were judged wrong because they went beyond a limit."""
        return sum(worker.killed for worker in self._workers)

    def close(self) -> None:
        """Ends the workers. The pool starts new ones if it is used again."""
        with self._lock:
            if self._pid == os.getpid():
                self._threads.shutdown(wait=True, cancel_futures=True)
                for worker in self._workers:
                    worker.end()
            self._pid = -1

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[type[Pool], tuple[int, Limits]]:
        return Pool, (self.size, self.limits)  # for actors of Ray: another process has workers of its own

    def _start(self) -> None:
        require("math_verify", "eval")
        self._workers = [_Worker(self.limits) for _ in range(self.size)]
        self._idle: LifoQueue[_Worker] = LifoQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(self.size, thread_name_prefix="hicra-answers")
        self._pid = os.getpid()
        _POOLS.add(self)

    def _judge(self, answer: str, gold: str) -> bool:
        worker = self._idle.get()
        try:
            return worker.verdict(answer, gold)
        finally:
            self._idle.put(worker)


@dataclass(eq=False)
class _Worker:
    limits: Limits
    process: subprocess.Popen[bytes] | None = None
    killed: int = 0
    rest: bytes = field(default=b"", repr=False)

    def verdict(self, answer: str, gold: str) -> bool:
        """What the process says of a pair; False if it dies over it."""
        question = json.dumps([answer, gold]).encode("ascii") + b"\n"  # lone surrogates are escaped, so this is ASCII
        for attempt in range(2):
            process = self.running()
            try:
                assert process.stdin is not None
                process.stdin.write(question)
                process.stdin.flush()
                break
            except (BrokenPipeError, OSError):  # it was killed from outside while idle
                self.end()
                if attempt:
                    return False
        answered = self.line(self.limits.seconds * 1.5 + 0.5)  # its own alarm comes first
        if answered is None:
            self.killed += 1
            self.end()
            return False
        return answered == b"true"

    def running(self) -> subprocess.Popen[bytes]:
        if self.process is not None and self.process.poll() is None:
            return self.process
        self.end()
        here = str(Path(__file__).parents[2])
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONSAFEPATH": "1",  # a file json.py in the working directory is none of a worker's business
            "PYTHONPATH": os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")])),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hicra.evals._worker", str(self.limits.seconds), str(self.limits.megabytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            bufsize=-1,
        )
        if self.line(START_SECONDS) != b'"ready"':
            code = self.process.poll()
            self.end()
            raise WorkerError(
                "a worker that checks answers does not start",
                got=f"exit status {code}",
                mend="python -m hicra.evals._worker 5 1024 shows why",
            )
        return self.process

    def line(self, seconds: float) -> bytes | None:
        """The next line of the process, or None if it ends or takes too long."""
        assert self.process is not None
        assert self.process.stdout is not None
        pipe = self.process.stdout.fileno()
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(pipe, select.POLLIN | select.POLLHUP)
        while b"\n" not in self.rest:
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                return None
            piece = os.read(pipe, 65_536)
            if not piece:
                return None
            self.rest += piece
        first, _, self.rest = self.rest.partition(b"\n")
        return first

    def end(self) -> None:
        process, self.process, self.rest = self.process, None, b""
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what was not written has no reader any more
                    pipe.close()


def usable_cores() -> int:
    """Cores that this process may run on."""
    try:
        return max(1, len(os.sched_getaffinity(0)))
    except AttributeError:
        return os.cpu_count() or 1


_POOLS: weakref.WeakSet[Pool] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for pool in list(_POOLS):
        pool.close()
