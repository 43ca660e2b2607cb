"""Slow and obvious counts, straight from the definitions: Python sets and dictionaries over `tests.oracle`'s words."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from hicra.traces.schema import Trace
from tests import oracle

NEAR = 4
LONGEST = 64  # letters of a word that a gram may hold
SUMS = ("tf", "clause", "sentence", "maths_adjacent", "maths_near", "maths_after")


def marks(gap: str) -> list[str]:
    """What stands between two words: "stop" and "maths" in their order."""
    found, i = [], 0
    while i < len(gap):
        c = gap[i]
        if c in "$\\":
            found.append("maths")
            i = max(oracle.maths_end(gap, i), i + 1)
            continue
        if c in ".!?:;\n":
            found.append("stop")
        elif c in "0123456789+=^%" or identifier(c) or maths_sign(c):
            found.append("maths")
        i += 1
    return found


def identifier(c: str) -> bool:
    return oracle.letter(c)  # a word would not be in a gap


def maths_sign(c: str) -> bool:
    if c in oracle.SPACES or c in oracle.QUOTES or oracle.apostrophe(c) or oracle.hyphen(c):
        return False
    return c in "×÷" or 0x80 <= ord(c) <= 0xBF or 0x2040 <= ord(c) <= 0x2FFF


def places(text: str) -> tuple[list[list[oracle.Word]], dict[int, list[str]]]:
    """The stretches of a text, and what stands before the word that begins at each position (and before the end)."""
    stretches = [s for s in oracle.stretches(text) if s]
    words = [w for s in stretches for w in s]
    begin = [w.chars[0] for w in words] + [len(text)]
    before = {}
    last = 0
    for start, word in zip(begin, [*words, None], strict=True):
        before[start] = marks(text[last:start]) + (["stop"] if start == len(text) else [])
        last = word.chars[-1] + 1 if word else start
    return stretches, before


def direction(gaps: list[list[str]], *, minding_stops: bool) -> int:
    """Words between a gram and the first maths in the gaps beside it, the nearest gap first; many where none is."""
    for distance, gap in enumerate(gaps):
        for mark in gap:
            if mark == "maths":
                return distance
            if minding_stops:
                return 1000
    return 1000


def occurrences(text: str, n_max: int, kept: set[str] | None) -> list[dict[str, Any]]:
    stretches, before = places(text)
    words = [w for s in stretches for w in s]
    starts = [w.chars[0] for w in words] + [len(text)]
    found = []
    at = 0
    for stretch in stretches:
        for i in range(len(stretch)):
            for n in range(1, min(n_max, len(stretch) - i) + 1):
                first, last = at + i, at + i + n - 1
                left = [before[starts[k]][::-1] for k in range(first, -1, -1)]
                right = [before[starts[k]] for k in range(last + 1, len(words) + 1)]
                near_left = direction(left, minding_stops=True)
                near_right = direction(right, minding_stops=True)
                neighbours = [
                    stretch[k].text if 0 <= k < len(stretch) and (kept is None or stretch[k].text in kept) else None
                    for k in (i - 1, i + n)
                ]
                found.append(
                    {
                        "text": " ".join(w.text for w in stretch[i : i + n]),
                        "clause": stretch[i].clause,
                        "sentence": stretch[i].sentence,
                        "maths_adjacent": min(near_left, near_right) == 0,
                        "maths_near": min(near_left, near_right) < NEAR,
                        "maths_after": direction(right, minding_stops=False) < NEAR,
                        "left": neighbours[0],
                        "right": neighbours[1],
                    }
                )
        at += len(stretch)
    return found


def distinct(
    traces: Sequence[Trace], group: Callable[[Trace], str | None]
) -> tuple[dict[tuple[str, str], str], dict[str, set[str]], dict[str, int]]:
    """Group of each distinct (problem, solution), statements of each problem, and what is skipped."""
    solutions: dict[tuple[str, str], str] = {}
    statements: dict[str, set[str]] = defaultdict(set)
    for trace in traces:
        problem = " ".join(trace.problem.lower().split()) or f"\0alone {trace.solution}"
        name = group(trace) or "(unknown)"
        key = (problem, trace.solution)
        solutions[key] = min(solutions.get(key, name), name)
        if trace.problem.strip():
            statements[problem].add(trace.problem)
    kept = {key: g for key, g in solutions.items() if any(oracle.stretches(key[1]))}
    skipped = {"duplicates": len(traces) - len(solutions), "empty": len(solutions) - len(kept)}
    return kept, statements, skipped


def cluster_counts(
    traces: Sequence[Trace], texts: list[str], at: list[str], cluster: list[int], group: Callable[[Trace], str | None]
) -> dict[int, tuple[int, int, int, dict[str, int]]]:
    """Problems, solutions, occurrences and problems by group of each cluster."""
    solutions, _, _ = distinct(traces, group)
    longest = max(len(text.split()) for text in texts)
    hits = [
        (cluster[texts.index(o["text"])], key)
        for key in solutions
        for o in occurrences(key[1], longest, None)
        if o["text"] in texts and o.get(at[texts.index(o["text"])], True)
    ]
    found = {}
    for c in range(max(cluster) + 1):
        keys = [key for member, key in hits if member == c]
        problems = {(solutions[key], key[0]) for key in keys}
        by_group = Counter(name for name, _ in problems)
        found[c] = (len({problem for _, problem in problems}), len(set(keys)), len(keys), dict(by_group))
    return found


def count(
    traces: Sequence[Trace], *, n_max: int, minimum: int, group: Callable[[Trace], str | None]
) -> dict[str, dict[str, Any]]:
    """Every kept gram with its columns, by text, and under "" the totals."""
    solutions, statements, skipped = distinct(traces, group)
    solved = {problem for problem, _ in solutions}

    holders: dict[str, set[str]] = defaultdict(set)
    for problem, solution in solutions:
        for occurrence in occurrences(solution, n_max, None):
            holders[occurrence["text"]].add(problem)
    kept = {text for text, problems in holders.items() if len(problems) >= minimum}
    kept = {text for text in kept if all(len(word.encode()) <= LONGEST for word in text.split())}

    rows: dict[str, dict[str, Any]] = {
        text: Counter({"n": len(text.split()), "problems": len(holders[text])}) for text in kept
    }
    sides: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    by_group: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    n_words = 0
    for (problem, solution), name in solutions.items():
        here = set()
        n_words += sum(map(len, oracle.stretches(solution)))
        for occurrence in occurrences(solution, n_max, kept):
            text = occurrence["text"]
            if text not in kept:
                continue
            row = rows[text]
            row["tf"] += 1
            for column in SUMS[1:]:
                row[column] += occurrence[column]
            for side in ("left", "right"):
                if occurrence[side] is not None:
                    sides[text, side][occurrence[side]] += 1
            by_group[text][name].add(problem)
            here.add(text)
        for text in here:
            rows[text]["df"] += 1
    for problem in solved:
        texts = {o["text"] for statement in statements.get(problem, ()) for o in occurrences(statement, n_max, None)}
        for text in texts & kept:
            rows[text]["statements"] += 1
    for text, row in rows.items():
        for side in ("left", "right"):
            row[f"{side}_top"] = max(sides[text, side].values(), default=0)
        row["groups"] = {name: len(problems) for name, problems in by_group[text].items()}
    in_group: dict[str, set[str]] = defaultdict(set)
    for (problem, _), name in solutions.items():
        in_group[name].add(problem)
    rows[""] = {
        "n_solutions": len(solutions),
        "n_problems": len(solved),
        "n_statements": len(solved & statements.keys()),
        "n_words": n_words,
        "n_characters": sum(len(solution) for _, solution in solutions),
        "skipped": skipped,
        "groups": {name: len(problems) for name, problems in in_group.items()},
    }
    return rows
