"""Speed and verdicts of the answer checker beside math-verify alone, TRL's reward and verl's rewards, in one run.

    python benchmarks/answers.py [--folder FOLDER] [--verl-python PYTHON] [--json]

Claims: check_many judges at least twice as many answers a second on two cores as math-verify on one; what needs algebra
is judged by two workers nearly as fast as two processes of their own judge it (which is what the machine gives: two
busy cores share caches and memory); on the tricky answers of tests/answer_cases.py it errs less than the others.

--verl-python names an interpreter that has verl, in an environment of its own if need be; its string comparison
(math_reward) and its DAPO reward (math_dapo, the box demanded) judge the same pairs there.

The answers are those of tests/answer_cases.py and, with --folder (files in the schema of hicra.evals.benchmarks), every
gold of the text benchmarks boxed as it is, boxed for another item, and spelled another way. Each way judges the same
pairs; no pair occurs twice in a measurement, so that no cache helps. Rates "per_cpu_s" are answers a second of
processor time of one process, the fastest of --repeats; they hold on a busy machine, and leave out what workers do,
which on benchmark golds is nothing (`pairs_that_need_a_worker`). Rates of pairs that need algebra are wall clock;
workers are warm before the clock starts.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import random
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from hicra.evals._compare import same
from hicra.evals.answers import check_many, final_answer
from hicra.evals.benchmarks import BENCHMARKS, load
from hicra.evals.pool import Limits, Pool
from tests.answer_cases import CASES

Pair = tuple[str, str]
"""A completion and a gold."""

ALGEBRA = [
    (r"\int_0^{%d} x\,dx", r"\frac{%d}{2}", lambda n: n * n),
    (r"\sum_{k=1}^{%d} k", r"%d", lambda n: n * (n + 1) // 2),
    (r"\lim_{x \to 0} \frac{\sin(%d x)}{x}", "%d", lambda n: n),
    (r"\int_0^1 x^{%d}\,dx", r"\frac{1}{%d}", lambda n: n + 1),
]


def benchmark_pairs(folder: str) -> list[Pair]:
    """Golds boxed as they are, for another item, and spelled another way."""
    rng = random.Random(0)
    golds = [p.answer for name in BENCHMARKS for p in load(name, folder)]
    pairs = set()
    for gold in golds:
        pairs |= {
            (rf"So the answer is \boxed{{{gold}}}.", gold),
            (rf"So the answer is \boxed{{{rng.choice(golds)}}}.", gold),
            (rf"So \[\boxed{{{spelled_differently(gold)}}}\]", gold),
        }
    return sorted(pairs)


def algebra_pairs(number: int, block: int) -> list[Pair]:
    """Pairs that need algebra; those of two blocks are alike and not the same."""
    pairs = []
    for i in range(number):
        question, answer, of = ALGEBRA[i % len(ALGEBRA)]
        n = 2 + i // len(ALGEBRA) + block * (1 + number // len(ALGEBRA))
        pairs.append((question % n, answer % of(n)))
    return pairs


def spelled_differently(gold: str) -> str:
    """The same answer as another writer would put it."""
    spelled = gold.replace(r"\frac", r"\dfrac").replace("(", r"\left(").replace(")", r"\right)").replace(",", r",\ ")
    plain = not any(sign in gold for sign in ("=", "<", ">", r"\ge", r"\le", r"\in ", r"\text", "{pmatrix}"))
    return f"x = {spelled}" if plain else spelled


def math_verify_alone(pairs: list[Pair]) -> list[bool]:
    """The library as its README shows it: golds between dollar signs, answers wherever it finds them."""
    from math_verify import parse, verify

    return [verify(parse(f"${gold}$"), parse(completion)) for completion, gold in pairs]


def trl_reward(pairs: list[Pair]) -> list[bool]:
    """trl.rewards.accuracy_reward, golds boxed, as its datasets have them."""
    from trl.rewards import accuracy_reward

    completions = [[{"content": completion}] for completion, _ in pairs]
    return [bool(r) for r in accuracy_reward(completions, [rf"\boxed{{{gold}}}" for _, gold in pairs])]


VERL = """
import json, sys, time
from verl.utils.reward_score import math_dapo, math_reward
pairs, cases = json.load(sys.stdin)
ways = {
    "verl_math": lambda c, g: math_reward.compute_score(c, g) > 0,
    "verl_dapo": lambda c, g: math_dapo.compute_score(c, g, strict_box_verify=True)["acc"],
}
out = {}
for name, way in ways.items():
    start = time.process_time()
    for c, g in pairs:
        way(c, g)
    out[name] = [time.process_time() - start, [bool(way(c, g)) for c, g in cases]]
print(json.dumps(out))
"""


def verl_rewards(python: str, pairs: list[Pair], cases: list[Pair]) -> dict[str, tuple[float, list[bool]]]:
    """Seconds for the pairs, and verdicts on the cases, of each of verl's rewards."""
    done = subprocess.run(
        [python, "-c", VERL], input=json.dumps([pairs, cases]), capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    return {name: (seconds, verdicts) for name, (seconds, verdicts) in found.items()}


class Alone:
    """A process that judges lists of pairs in a loop, without a pool: what a core gives."""

    def __init__(self) -> None:
        command = [sys.executable, __file__, "--alone"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.answer()

    def ask(self, pairs: list[Pair]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(pairs) + "\n")
        self.process.stdin.flush()

    def answer(self) -> float:
        """Seconds of processor time that the last list took."""
        assert self.process.stdout is not None
        return float(self.process.stdout.readline())

    def close(self) -> None:
        self.process.communicate()

    @staticmethod
    def run() -> None:
        """What such a process does."""
        from hicra.evals._algebra import algebraic, warm_up

        warm_up()
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)
        print(0, flush=True)
        for line in sys.stdin:
            start = time.process_time()
            for answer, gold in json.loads(line):
                same(answer, gold, algebraic)
            print(time.process_time() - start, flush=True)


def algebra(number: int, repeats: int) -> dict[str, float]:
    """Pairs that need algebra: by one and two workers of a pool, and by one and two processes of their own.

    Rates are the best of the repeats; processor times are medians over them, in milliseconds a pair, and speak of the
    machine even while it does other things.
    """
    pools = {n: Pool(n, Limits(seconds=60)) for n in (1, 2)}
    alone = [Alone() for _ in range(2)]
    for n, pool in pools.items():
        pool.verdicts([(r"\int_0^1 2x\,dx", "1")] * 4 * n)
    block, rates, used, parent = 0, {}, {}, []
    for _ in range(repeats):  # in turn, so that what else the machine does falls on all
        for n in (1, 2):
            block += 1
            hard, ours, start = algebra_pairs(number, block), time.process_time(), time.perf_counter()
            pools[n].verdicts(hard)
            rates.setdefault(f"algebra_pool_{n}", []).append(number / (time.perf_counter() - start))
            parent.append((time.process_time() - ours) / number)
            parts = [algebra_pairs(number // n, block := block + 1) for _ in range(n)]
            start = time.perf_counter()
            for process, part in zip(alone, parts, strict=False):
                process.ask(part)
            took = sum(process.answer() for process in alone[:n])
            rates.setdefault(f"algebra_alone_{n}", []).append(number / (time.perf_counter() - start))
            used.setdefault(f"algebra_cpu_ms_{n}_busy", []).append(1000 * took / number)
    for closing in (*pools.values(), *alone):
        closing.close()
    best = {f"{name}_per_s": max(found) for name, found in rates.items()}
    times = {name: statistics.median(found) for name, found in used.items()}
    return {
        **{name: round(value, 1) for name, value in (best | times).items()},
        "algebra_parent_cpu_ms": round(1000 * statistics.median(parent), 2),
        "algebra_pool_two_over_one": round(best["algebra_pool_2_per_s"] / best["algebra_pool_1_per_s"], 2),
        "algebra_alone_two_over_one": round(best["algebra_alone_2_per_s"] / best["algebra_alone_1_per_s"], 2),
    }


def fastest(work: Callable[[], object], repeats: int) -> float:
    """Seconds of this process' processor time: what else the machine does is not in it, nor is what workers do."""
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", help="folder with aime24.jsonl, ..., olympiadbench.jsonl")
    parser.add_argument("--peers", type=int, default=300, help="pairs that the slow ways judge")
    parser.add_argument("--algebra", type=int, default=160, help="pairs that need algebra")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--verl-python", help="an interpreter that has verl")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    if options.alone:
        Alone.run()
        return

    cases = [(completion, gold) for gold, completion, _ in CASES]
    pairs = benchmark_pairs(options.folder) if options.folder else sorted(set(cases))
    few = random.Random(0).sample(pairs, min(options.peers, len(pairs)))
    rates: dict[str, float] = {}
    pool = Pool(2, Limits(seconds=30))
    hard = algebra(options.algebra, options.repeats)
    took = fastest(lambda: check_many([c for c, _ in pairs], [g for _, g in pairs], pool=pool), options.repeats)
    rates["check_many_per_cpu_s"] = len(pairs) / took
    rates["math_verify_per_cpu_s"] = len(few) / fastest(lambda: math_verify_alone(few), 1)
    rates["trl_reward_per_cpu_s"] = len(few) / fastest(lambda: trl_reward(few), 1)

    undecided = sum(same(a, g) is None for c, g in pairs if (a := final_answer(c)) is not None)
    wanted = [right for *_, right in CASES]
    ways = {
        "hicra": lambda p: check_many([c for c, _ in p], [g for _, g in p], pool=pool),
        "math_verify": math_verify_alone,
        "trl_reward": trl_reward,
    }
    right: dict[str, int] = {}
    if options.verl_python:
        for name, (seconds, verdicts) in verl_rewards(options.verl_python, few, cases).items():
            rates[f"{name}_per_cpu_s"] = len(few) / seconds
            right[name] = sum(v == w for v, w in zip(verdicts, wanted, strict=True))
    right |= {n: sum(v == w for v, w in zip(way(cases), wanted, strict=True)) for n, way in ways.items()}
    pool.close()
    result = {
        "pairs": len(pairs),
        "pairs_that_need_a_worker": undecided,
        **{name: round(rate) for name, rate in rates.items()},
        **hard,
        "over_math_verify": round(rates["check_many_per_cpu_s"] / rates["math_verify_per_cpu_s"], 1),
        "over_trl_reward": round(rates["check_many_per_cpu_s"] / rates["trl_reward_per_cpu_s"], 1),
        "tricky_answers": len(CASES),
        **{f"tricky_right_{name}": n for name, n in right.items()},
    }
    if options.json:
        print(json.dumps(result))
        return
    for key, value in result.items():
        print(f"{key:32} {value}")


if __name__ == "__main__":
    main()
