"""A worker process of `hicra.evals.pool`: one pair of answers in, one verdict out, a JSON line each.

Asks ``[answer, gold]``, says ``true`` or ``false``; says ``"ready"`` once at the start. The limits are the kernel's: an
alarm with its default action ends the process even in the middle of a computation that never returns to Python, and
the address space is bounded. A worker whose parent is gone reads the end of its input and leaves.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import sys
import warnings


def main(seconds: float, megabytes: int) -> None:
    """Answers until the input ends; dies by the alarm or by `MemoryError` on what is too much."""
    channel = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # what libraries print must not get among the verdicts
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes the pipe
    warnings.simplefilter("ignore")
    import logging

    logging.disable(logging.CRITICAL)
    from hicra.evals._algebra import algebraic, warm_up
    from hicra.evals._compare import same

    warm_up()
    # sympy keeps 85,000 objects that no collection will ever free; looking at them again and again is a tenth of the
    # time of a pair
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    _bound_memory(megabytes)
    sys.setrecursionlimit(3_000)
    _say(channel, "ready")
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for line in sys.stdin.buffer:
        answer, gold = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        verdict = False
        with contextlib.suppress(Exception):  # whatever the text does to a parser, it is no right answer
            verdict = same(answer, gold, algebraic) is True
        signal.setitimer(signal.ITIMER_REAL, 0)
        _say(channel, verdict)


def _say(channel: object, what: object) -> None:
    channel.write(json.dumps(what) + "\n")  # type: ignore[attr-defined]
    channel.flush()  # type: ignore[attr-defined]


def _bound_memory(megabytes: int) -> None:
    try:
        import resource

        with open("/proc/self/statm") as statm:
            used = int(statm.read().split()[0]) * resource.getpagesize()
        limit = used + megabytes * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, OSError, ValueError):  # no such limit on this system
        pass


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
