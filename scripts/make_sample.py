"""Make src/hicra/traces/data/sample.jsonl.zst: some 300 traces, drawn at random from a folder of larger corpora.

    python scripts/make_sample.py --traces DIR --benchmarks DIR [--out FILE]

DIR of traces: the corpora named in QUOTAS, `<name>.jsonl.zst`, rows of the schema of hicra.traces. DIR of benchmarks:
JSON lines with a `problem`, named in NOT_TO_SHIP. Nothing is looked up in the solutions but their length and whether
they hold prose at all: which phrases occur in the sample is chance. The draw is a function of the ids and the seed, so
the same corpora give the same rows. src/hicra/traces/data/README.md tells what is in it and why.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import zstandard

from hicra.traces import Trace, read_traces

SEED = "hicra sample 1"

QUOTAS = {
    "misguided": (54, 2),  # rows, at most so many of one problem (there are only some 50 problems, many traces of each)
    "rg_zero": (64, 1),
    "rg_rl": (46, 1),
    "rg_math": (40, 1),
    "zeroeval": (40, 1),
    "mmlu_pro": (32, 1),
    "gsm8k": (24, 1),
}
WRONG_SHARE = 0.25
SOLUTION_CHARS = (100, 8000)
PROBLEM_CHARS = 2500  # grids and tables of thousands of characters would fill the file without anything to read
MIN_WORDS = 25  # different words of letters; some answers are a grid of digits

LICENCES = {"MIT", "Apache-2.0", "CC0-1.0"}
NOT_TO_SHIP = ("aime24", "aime25", "amc23", "amc83", "minerva")
BANNED_SOURCE = re.compile(r"aime|amc|minerva", re.IGNORECASE)

# A licence in the corpora is that of the repository that holds the solutions. Runs on problems with terms of their own
# stay out: MATH, which draws on AMC and AIME, and exam or non-commercial collections (asdiv, tabmwp, carp_en, gaokao,
# sat).
SHIPPED_MATH_RUNS = re.compile(r"/(gsm8k|svamp|mawps|aqua|olympiadbench)$")
SHIPPED_ZEROEVAL_RUNS = re.compile(r":(gsm|crux)/")


def normalised(problem: str) -> str:
    """Letters and digits alone, so that spacing, LaTeX spelling and punctuation cannot hide a known problem."""
    return re.sub(r"[^a-z0-9]+", "", unicodedata.normalize("NFKC", problem).lower())


def shingles(problem: str, size: int = 10) -> set[str]:
    """Runs of `size` words: a benchmark problem inside a longer prompt, or reworded at one end, shares some."""
    words = re.findall(r"[a-z0-9]+", unicodedata.normalize("NFKC", problem).lower())
    return {" ".join(words[i : i + size]) for i in range(len(words) - size + 1)}


class Benchmarks:
    """Problems that may not be shipped."""

    def __init__(self, problems: Iterable[str]) -> None:
        problems = list(problems)
        self.texts = {normalised(problem) for problem in problems}
        self.shingles = set().union(*(shingles(problem) for problem in problems))

    def __contains__(self, problem: str) -> bool:
        return normalised(problem) in self.texts or bool(self.shingles & shingles(problem))


def may_ship(name: str, trace: Trace, benchmarks: Benchmarks) -> bool:
    """Whether the row is free, readable prose of a fitting length, of known correctness."""
    source = trace.source or ""
    return (
        trace.license in LICENCES
        and trace.correct is not None
        and not BANNED_SOURCE.search(source)
        and (name != "rg_math" or bool(SHIPPED_MATH_RUNS.search(source)))
        and (name != "zeroeval" or bool(SHIPPED_ZEROEVAL_RUNS.search(source)))
        and SOLUTION_CHARS[0] <= len(trace.solution) <= SOLUTION_CHARS[1]
        and len(trace.problem) <= PROBLEM_CHARS
        and len(set(re.findall(r"[a-z]{2,}", trace.solution.lower()))) >= MIN_WORDS
        and trace.problem not in benchmarks
    )


def stratum(name: str, trace: Trace) -> str:
    """What the rows of one corpus are balanced over: the model, or the run where there is one model only."""
    run = (trace.source or "").split(":", 1)[1].split("/")
    if name in ("rg_zero", "rg_math"):
        return "/".join(run[2:4] if name == "rg_math" else run[2:3])
    if name == "zeroeval":
        return "/".join(run)
    return run[0] if name == "mmlu_pro" else "/".join(run[:2])


def draw(name: str, traces: Iterable[Trace], benchmarks: Benchmarks) -> list[Trace]:
    """The quota of a corpus, in turns over its strata, WRONG_SHARE of it wrong, each stratum in an order of chance."""
    quota, per_problem = QUOTAS[name]
    strata: dict[tuple[bool, str], list[Trace]] = defaultdict(list)
    for trace in traces:
        strata[bool(trace.correct), stratum(name, trace)].append(trace)
    wrong = round(quota * WRONG_SHARE)
    problems: Counter[str] = Counter()
    chosen: list[Trace] = []
    for correct, rows in ((False, wrong), (True, quota - wrong)):
        queues = [sorted(strata[key], key=_chance) for key in sorted(strata, key=_chance_of_key) if key[0] is correct]
        taken = 0
        while taken < rows and any(queues):
            for queue in queues:
                while queue and (
                    problems[normalised(queue[-1].problem)] >= per_problem
                    or not may_ship(name, queue[-1], benchmarks)  # asked here, of few rows: it is the slow part
                ):
                    queue.pop()
                if queue and taken < rows:
                    chosen.append(queue.pop())
                    problems[normalised(chosen[-1].problem)] += 1
                    taken += 1
    return chosen


def make_sample(traces: Path, benchmarks: Path) -> list[Trace]:
    """The rows of the sample, in the order of their names."""
    banned = Benchmarks(
        json.loads(line)["problem"]
        for name in NOT_TO_SHIP
        for line in (benchmarks / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    )
    rows: list[Trace] = []
    for name in QUOTAS:
        rows += draw(name, read_traces(traces / f"{name}.jsonl.zst"), banned)
    return sorted(rows, key=_chance)


def to_lines(rows: Iterable[Trace]) -> bytes:
    """JSON lines of the sample, before compression."""
    return b"".join(json.dumps(asdict(row), ensure_ascii=False).encode() + b"\n" for row in rows)


def _chance(trace: Trace) -> bytes:
    return hashlib.sha256(f"{SEED}/{trace.id}".encode()).digest()


def _chance_of_key(key: tuple[bool, str]) -> bytes:
    return hashlib.sha256(f"{SEED}/{key[1]}".encode()).digest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=Path, required=True, help="folder of <name>.jsonl.zst")
    parser.add_argument("--benchmarks", type=Path, required=True, help="folder of benchmarks not to ship")
    package = Path(__file__).resolve().parents[1] / "src" / "hicra" / "traces" / "data"
    parser.add_argument("--out", type=Path, default=package / "sample.jsonl.zst")
    arguments = parser.parse_args()
    rows = make_sample(arguments.traces, arguments.benchmarks)
    data = to_lines(rows)
    arguments.out.write_bytes(zstandard.ZstdCompressor(level=19).compress(data))
    styles = Counter(row.style for row in rows)
    right = sum(bool(row.correct) for row in rows)
    sizes = f"{len(data):,} bytes, {arguments.out.stat().st_size:,} compressed"
    print(f"{len(rows)} traces, {right} correct, {sizes}; {dict(styles)}")


if __name__ == "__main__":
    main()
