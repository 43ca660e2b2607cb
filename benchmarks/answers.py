"""Speed and verdicts of the answer checker beside math-verify alone and TRL's reward, in one run.

    python benchmarks/answers.py [--folder FOLDER] [--json]

Claims: check_many judges at least twice as many answers a second on two cores as math-verify on one; what needs algebra
is judged faster by two workers than by one, where two cores are free; on the tricky answers of tests/answer_cases.py it
errs less than math-verify and TRL's reward.

The answers are those of tests/answer_cases.py and, with --folder (files in the schema of hicra.evals.benchmarks), every
gold of the text benchmarks boxed as it is, boxed for another item, and spelled another way. Each way judges the same
pairs; no pair occurs twice in a measurement, so that no cache helps. Workers are warm before the clock starts; all
times are wall clock, the fastest of --repeats. math-verify and TRL's reward run in this process, as they are meant to.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
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


def fastest(work: Callable[[], object], repeats: int) -> float:
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", help="folder with aime24.jsonl, ..., olympiadbench.jsonl")
    parser.add_argument("--peers", type=int, default=300, help="pairs that the slow ways judge")
    parser.add_argument("--algebra", type=int, default=160, help="pairs that need algebra")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)

    cases = [(completion, gold) for gold, completion, _ in CASES]
    pairs = benchmark_pairs(options.folder) if options.folder else sorted(set(cases))
    few = random.Random(0).sample(pairs, min(options.peers, len(pairs)))
    rates = {}
    pools = {n: Pool(n, Limits(seconds=30)) for n in (1, 2)}
    for n, pool in pools.items():
        pool.verdicts([(r"\int_0^1 2x\,dx", "1")] * 4 * n)
    for round_ in range(options.repeats):  # in turn, so that what else the machine does falls on both
        for n, pool in pools.items():
            hard = algebra_pairs(options.algebra, 2 * round_ + n)
            took = fastest(lambda pool=pool, hard=hard: pool.verdicts(hard), 1)
            name = f"algebra_{n}_workers_per_s"
            rates[name] = max(rates.get(name, 0.0), len(hard) / took)
    took = fastest(lambda: check_many([c for c, _ in pairs], [g for _, g in pairs], pool=pools[2]), options.repeats)
    rates["check_many_per_s"] = len(pairs) / took
    rates["math_verify_per_s"] = len(few) / fastest(lambda: math_verify_alone(few), 1)
    rates["trl_reward_per_s"] = len(few) / fastest(lambda: trl_reward(few), 1)

    undecided = sum(same(a, g) is None for c, g in pairs if (a := final_answer(c)) is not None)
    wanted = [right for *_, right in CASES]
    ways = {
        "hicra": lambda p: check_many([c for c, _ in p], [g for _, g in p], pool=pools[2]),
        "math_verify": math_verify_alone,
        "trl_reward": trl_reward,
    }
    right = {n: sum(v == w for v, w in zip(way(cases), wanted, strict=True)) for n, way in ways.items()}
    for pool in pools.values():
        pool.close()
    result = {
        "pairs": len(pairs),
        "pairs_that_need_a_worker": undecided,
        **{name: round(rate) for name, rate in rates.items()},
        "algebra_two_workers_over_one": round(rates["algebra_2_workers_per_s"] / rates["algebra_1_workers_per_s"], 2),
        "over_math_verify": round(rates["check_many_per_s"] / rates["math_verify_per_s"], 1),
        "over_trl_reward": round(rates["check_many_per_s"] / rates["trl_reward_per_s"], 1),
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
