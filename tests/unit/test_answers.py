"""The answer checker: tricky answers, golds of benchmarks, hostile texts, and workers that can be killed."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hicra.errors import DataError, MissingExtraError
from hicra.evals import answers, pool
from hicra.evals._compare import same
from hicra.evals.answers import check, check_many, final_answer
from hicra.evals.boxed import last_boxed
from hicra.evals.pool import Limits, Pool
from tests.answer_cases import CASES

SHARED = Path(__file__).parents[3] / "shared" / "data"
SETS = ("aime24", "aime25", "amc23", "amc83", "math500", "minerva", "olympiadbench")
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="the data is not here")

NEEDS_ALGEBRA = (r"\int_0^1 2x\,dx", "1")
NEVER_ENDS = (r"\sum_{k=1}^{2} 10^{10^{10^{10}}}", r"\int_0^3 x\,dx")


@pytest.fixture(scope="module")
def workers() -> Iterator[Pool]:
    with Pool(2, Limits(seconds=30)) as shared:
        yield shared


def golds() -> list[dict[str, str]]:
    return [
        json.loads(line) for name in SETS for line in (SHARED / "benchmarks" / f"{name}.jsonl").read_text().splitlines()
    ]


def test_tricky_answers(workers: Pool) -> None:
    verdicts = check_many([c for _, c, _ in CASES], [g for g, _, _ in CASES], pool=workers)
    wrong = [(gold, completion) for (gold, completion, right), v in zip(CASES, verdicts, strict=True) if v != right]
    assert wrong == []


def test_most_answers_need_no_worker() -> None:
    pairs = [(final_answer(completion), gold) for gold, completion, _ in CASES]
    undecided = sum(answer is not None and same(answer, gold) is None for answer, gold in pairs)
    assert undecided < len(pairs) / 25


@needs_shared
def test_the_sample_of_verifier_cases(workers: Pool) -> None:
    rows = [json.loads(line) for line in (SHARED / "verifier_cases_sample.jsonl").read_text().splitlines()]
    verdicts = check_many([r["completion"] for r in rows], [r["gold"] for r in rows], pool=workers)
    assert [r["id"] for r, v in zip(rows, verdicts, strict=True) if v != r["expected"]] == []


@needs_shared
def test_golds_are_right_and_shuffled_golds_are_wrong(workers: Pool) -> None:
    rows = golds()
    boxes = [f"so \\boxed{{{r['answer_latex']}}}" for r in rows]
    assert all(check_many(boxes, [r["answer_latex"] for r in rows], pool=workers))
    as_published = check_many(boxes, [r["answer"] for r in rows], pool=workers)
    not_taken = {r["id"] for r, v in zip(rows, as_published, strict=True) if not v}
    assert not_taken <= {"minerva-005", "olympiadbench-2045"}  # Python code; a typographical error

    rng = random.Random(0)
    pairs = [rng.sample(range(len(rows)), 2) for _ in range(2_000)]
    verdicts = check_many([boxes[i] for i, _ in pairs], [rows[j]["answer_latex"] for _, j in pairs], pool=workers)
    taken = {(rows[i]["answer_latex"], rows[j]["answer_latex"]) for (i, j), v in zip(pairs, verdicts, strict=True) if v}
    assert {(a, g) for a, g in taken if a.replace(" ", "") != g.replace(" ", "")} <= {("1.5", r"\frac{3}{2}")}


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"so \boxed{42}", "42"),
        (r"\boxed{1} no, \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\boxed{2}, \boxed{3}}", r"\boxed{2}, \boxed{3}"),
        (r"\boxed{\boxed{9}", "9"),
        (r"\boxed{a \\}", r"a \\"),
        (r"{ } } \boxed{1} { \boxed{2}", "2"),
        (r"\fbox{7}", "7"),
        ("\\boxed\n {7}", "7"),
        (r"\boxed{}", ""),
        (r"\boxed{1} then \boxed{2", None),
        (r"\boxed 9", None),
        ("", None),
    ],
)
def test_last_boxed(text: str, content: str | None) -> None:
    assert last_boxed(text) == content


HOSTILE = [
    "2^{1000000000}",
    "9^{9^{9^{9^{9}}}}",
    "1e1000000000",
    "1000000000!",
    r"\binom{1000000000}{500000000}",
    "{" * 50_000 + "}" * 50_000,
    "(" * 100_000,
    r"\frac" * 20_000,
    r"\sqrt{" * 900 + "}" * 900,
    r"\text{" * 20_000 + "}" * 20_000,
    "-" * 3_900 + "1",
    "1" * 3_900,
    "1," * 1_900 + "1",
    r"\pm" * 1_000,
    "x^" * 1_500 + "x",
    "|" * 3_000,
    "^" * 3_000,
    r"\begin{pmatrix}" * 200,
    "1 2 " * 900,
    "\ud800",
    "\x00\x1b[31m",
    "\ue0008\ue0029",
    "\N{RIGHT-TO-LEFT OVERRIDE}9",
    "__import__('os').system('false')",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_answers_are_wrong_at_once(text: str) -> None:
    start = time.process_time()
    assert not same(text, "9")
    assert not same(text, r"\int_0^1 x\,dx")
    assert time.process_time() - start < 5  # a guard against quadratic time, not a measurement
    assert not same("9", text)


def test_nests_of_boxes_are_read_once() -> None:
    assert last_boxed(r"\boxed{" * 15_000) is None
    nest = r"\boxed{" * 15_000 + "9" + "}" * 15_000
    assert last_boxed(nest) is not None
    assert not check(nest, "8")


def test_lone_surrogates_and_bytes(workers: Pool) -> None:
    broken = "\\boxed{\\int \ud800}"
    assert check_many([broken, broken], [r"\int \ud800 ", r"\int x"], pool=workers)[1] is False
    assert check(b"\xff\xfe \\boxed{9}", "9")  # type: ignore[arg-type]
    assert workers.verdicts([(r"\int \ud800", r"\int \udfff"), NEEDS_ALGEBRA]) == [False, True]


def test_a_computation_without_end_is_killed_and_costs_no_other_pair() -> None:
    with Pool(2, Limits(seconds=5)) as killing:
        pairs = [NEEDS_ALGEBRA, NEVER_ENDS, NEEDS_ALGEBRA, ("2", NEEDS_ALGEBRA[0]), NEEDS_ALGEBRA]
        assert killing.verdicts(pairs) == [True, False, True, False, True]
        assert killing.killed == 1


def test_memory_is_bounded() -> None:
    code = "from hicra.evals._worker import _bound_memory as b; b(64); print(len(bytes(2**25))); bytes(2**28)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == f"{2**25}\n"
    assert "MemoryError" in done.stderr


def test_a_worker_killed_from_outside_is_replaced() -> None:
    with Pool(1, Limits(seconds=30)) as one:
        assert one.verdicts([NEEDS_ALGEBRA]) == [True]
        process = one._workers[0].process
        assert process is not None
        process.kill()
        process.wait()
        assert one.verdicts([NEEDS_ALGEBRA]) == [True]


def test_threads_and_async_code_share_a_pool(workers: Pool) -> None:
    wanted = [(rf"\int_0^1 {2 * n}x\,dx", str(n)) for n in range(1, 9)]
    got: dict[int, list[bool]] = {}

    def work(k: int) -> None:
        boxes = [rf"\boxed{{{a}}}" for a, _ in wanted]
        got[k] = check_many(boxes, [g if i % 2 == k % 2 else "0" for i, (_, g) in enumerate(wanted)], pool=workers)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == {k: [i % 2 == k % 2 for i in range(8)] for k in range(4)}

    async def ask() -> list[bool]:
        inside = asyncio.to_thread(check, rf"\boxed{{{NEEDS_ALGEBRA[0]}}}", "1", pool=workers)
        futures = [asyncio.wrap_future(workers.submit(*NEEDS_ALGEBRA)), asyncio.wrap_future(workers.submit("2", "3"))]
        return list(await asyncio.gather(inside, *futures))

    assert asyncio.run(ask()) == [True, True, False]


def test_a_pool_travels_as_its_settings() -> None:
    copy = pickle.loads(pickle.dumps(Pool(3, Limits(2, 99))))
    assert (copy.size, copy.limits) == (3, Limits(2, 99))


def test_no_alarm_of_the_caller_is_touched(workers: Pool) -> None:
    signal.setitimer(signal.ITIMER_REAL, 1_000)
    try:
        assert check(rf"\boxed{{{NEEDS_ALGEBRA[0]}}}", "1", pool=workers)
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 900
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_has_workers_of_its_own() -> None:
    code = """
import os
from hicra.evals.answers import check
ask = lambda: check(r"\\boxed{\\int_0^1 2x\\,dx}", "1")
assert ask()
child = os.fork()
if child == 0:
    os._exit(0 if ask() else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert ask()
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=120)


def test_a_worker_leaves_when_its_parent_is_gone() -> None:
    worker = subprocess.Popen(
        [sys.executable, "-m", "hicra.evals._worker", "5", "1024"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert worker.stdout is not None
    assert worker.stdin is not None
    assert worker.stdout.readline() == b'"ready"\n'
    worker.stdin.close()
    assert worker.wait(30) == 0
    worker.stdout.close()


def test_what_is_not_strict() -> None:
    for text in ("The answer is 9.", "The final answer is: $9$", "so it is 8, no, 9", "**Answer:** 9"):
        assert not check(text, "9")
        assert check(text, "9", strict=False), text
    assert not check(r"The answer is 9, \boxed{8}", "9", strict=False)
    assert not check(r"The answer is 9, \boxed{9", "9", strict=False)
    assert not check("nothing", "9", strict=False)


def test_bad_input_is_told() -> None:
    with pytest.raises(DataError, match="2 completions, 1 golds"):
        check_many(["", ""], ["1"])
    with pytest.raises(DataError, match="gold 0 is no text"):
        check(r"\boxed{1}", 1)  # type: ignore[arg-type]
    assert check_many([], []) == []


def test_without_the_extra_easy_pairs_work_and_hard_ones_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(module: str, extra: str) -> None:
        raise MissingExtraError(f"no {module}", mend=f'pip install "hicra[{extra}]"')

    monkeypatch.setattr(pool, "require", absent)
    monkeypatch.setattr(answers, "_default", None)
    assert check(r"\boxed{0.5}", r"\frac{1}{2}")
    with pytest.raises(MissingExtraError, match=r"hicra\[eval\]"):
        check(rf"\boxed{{{NEEDS_ALGEBRA[0]}}}", "1")
