"""Which completions a report carries, and how: a few steps, whole groups, compact enough for one HTML file.

Steps: the first, the last and evenly spaced ones between. In each, groups whose rewards differ come first (they are the
ones that teach), and those on prompts that all runs have at that step before others. What is left out is counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hicra.report.runs import readable

if TYPE_CHECKING:
    from hicra.report.runs import Run

STEPS = 5
TOKEN_BUDGET = 80_000
"""Tokens in all that a report carries; a token costs some 16 bytes."""

MAX_TOKENS = 4_000
"""A longer completion is cut, and says so."""

MAX_TOKEN_CHARS = 2_000
"""A longer token is cut, and says so."""

MAX_PROMPT_CHARS = 8_000


@dataclass(frozen=True, slots=True)
class Completion:
    """One completion for a reader's eyes. T tokens are shown, of `length`.

    Attributes:
        reward: total reward.
        length: tokens in all.
        text: (T,) tokens as text; joined they read like the completion.
        logprob, entropy: (T,) nats, None where the engine had none.
        advantage: (T,) after hicra.
        spans: (start, end, gram) of planning tokens, end exclusive; gram is -1 where unknown.
    """

    reward: float
    length: int
    text: Sequence[str]
    logprob: Sequence[float | None] | None
    entropy: Sequence[float | None] | None
    advantage: Sequence[float | None]
    spans: Sequence[tuple[int, int, int]]


@dataclass(frozen=True, slots=True)
class Group:
    """Completions of one prompt."""

    prompt_id: str
    prompt: str
    completions: Sequence[Completion]


@dataclass(frozen=True, slots=True)
class Shown:
    """What a report carries of one run.

    Attributes:
        steps: step -> its groups.
        left_out: number of stored completions that are not shown.
        why_none: why there is nothing to show, or None.
    """

    steps: Mapping[int, Sequence[Group]]
    left_out: int
    why_none: str | None = None


def select(runs: Sequence[Run], budget: int = TOKEN_BUDGET) -> list[Shown]:
    """Choose completions of all runs within `budget` tokens; at least one group of each chosen step."""
    stored = [readable(run.reader.rollouts, run.reader.steps, ["step", "prompt_id"])[0] for run in runs]
    steps = [_steps(np.unique(t["step"].to_numpy()).tolist()) for t in stored]
    kept = [set(t["step"].to_numpy().tolist()) for t in stored if len(t)]
    if len(kept) > 1 and (both := set.intersection(*kept)):
        steps = [_steps(sorted(both))] * len(runs)
    places = sum(len(s) for s, t in zip(steps, stored, strict=True) if len(t))
    out = []
    for run, table, chosen in zip(runs, stored, steps, strict=True):
        if len(table) == 0:
            out.append(Shown({}, 0, f"{run.name} kept no completions (rollouts_per_step is 0)."))
            continue
        found = {}
        for step in chosen:
            found[step] = _groups(run, step, _shared_prompts(stored, step), budget // places)
        number = sum(len(g.completions) for groups in found.values() for g in groups)
        out.append(Shown(found, len(table) - number))
    return out


def _steps(there: list[int]) -> list[int]:
    if len(there) <= STEPS:
        return there
    return [there[round(i * (len(there) - 1) / (STEPS - 1))] for i in range(STEPS)]


def _shared_prompts(tables: Iterable[Any], step: int) -> set[str]:
    sets = []
    for table in tables:
        here = table["step"].to_numpy() == step
        sets.append({name for name, h in zip(table["prompt_id"].to_pylist(), here, strict=True) if h})
    return set.intersection(*sets) if sets else set()


def _groups(run: Run, step: int, shared: set[str], budget: int) -> list[Group]:
    """Groups of a step within a budget of tokens, one at least; only these become Python objects."""
    table = run.reader.rollouts([step]).combine_chunks()
    keys = list(zip(table["prompt_id"].to_pylist(), table["group_id"].to_pylist(), strict=True))
    rewards = table["reward"].to_pylist()
    lengths = np.minimum(table["token_text"].chunk(0).value_lengths().to_numpy(), MAX_TOKENS)
    rows: dict[tuple[str, int], list[int]] = {}
    for place, key in enumerate(keys):
        rows.setdefault(key, []).append(place)
    order = sorted(rows, key=lambda k: (len({rewards[i] for i in rows[k]}) == 1, k[0] not in shared))
    out: list[Group] = []
    for key in order:
        budget -= int(lengths[rows[key]].sum())
        if out and budget < 0:
            break
        members = table.take(rows[key]).to_pylist()
        prompt = _cut(members[0]["prompt"], MAX_PROMPT_CHARS)
        out.append(Group(key[0], prompt, [_completion(row) for row in members]))
    return out


def _completion(row: Mapping[str, Any]) -> Completion:
    n = min(len(row["token_text"]), MAX_TOKENS)
    return Completion(
        reward=row["reward"],
        length=len(row["token_text"]),
        text=[_cut(t, MAX_TOKEN_CHARS) for t in spaced(row["token_text"], row["completion"])[:n]],
        logprob=None if row["logprob"] is None else row["logprob"][:n],
        entropy=None if row["entropy"] is None else row["entropy"][:n],
        advantage=row["advantage"][:n],
        spans=spans(row["planning"][:n], row["gram_id"][:n], row["begin"][:n]),
    )


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text) - limit:,} characters more)"


def spaced(tokens: Sequence[str], completion: str) -> list[str]:
    """Tokens as they stand in the completion: a tokenizer of words leaves the spaces to the text, which has them.

    >>> spaced(["let", "'s", "add"], "let 's add")
    ['let', " 's", ' add']
    """
    if "".join(tokens) == completion:
        return list(tokens)
    out, at = [], 0
    for token in tokens:
        found = completion.find(token, at)
        if found < 0 or completion[at:found].strip():
            return list(tokens)  # special tokens or torn characters: the tokens speak for themselves
        out.append(completion[at : found + len(token)])
        at = found + len(token)
    return out


def spans(planning: Sequence[bool], gram_id: Sequence[int], begin: Sequence[bool]) -> list[tuple[int, int, int]]:
    """Runs of planning tokens of one occurrence: (start, end, gram).

    >>> spans([True, True, True, False], [4, 4, 4, -1], [True, False, True, False])
    [(0, 2, 4), (2, 3, 4)]
    """
    out: list[tuple[int, int, int]] = []
    for i, (is_planning, gram, starts) in enumerate(zip(planning, gram_id, begin, strict=True)):
        if not is_planning:
            continue
        if out and out[-1][1] == i and out[-1][2] == gram and not starts:
            out[-1] = (out[-1][0], i + 1, gram)
        else:
            out.append((i, i + 1, gram))
    return out


def gram_facts(run: Run) -> list[dict[str, Any]]:
    """Text, cluster and function of each gram of a run, in the order of gram_id."""
    grams = (run.grams or {}).get("grams") or []
    return [{"t": str(g.get("text", "")), "c": g.get("cluster"), "f": g.get("function")} for g in grams]


def payload(runs: Sequence[Run], shown: Sequence[Shown]) -> dict[str, Any]:
    """What the page's script reads. Numbers are thousandths (log-prob, entropy) or indices, text is a table of strings.

    ``{"strings": [...], "runs": [{"name", "role", "grams": [{"t", "c", "f"}], "steps": [{"step", "groups": [{"id",
    "prompt", "items": [{"r": reward, "n": length, "t": [string], "l": [..]|null, "e": [..]|null, "a": [values],
    "i": [index of a], "p": [start, end, gram, ...]}]}]}]}]}``
    """
    table: dict[str, int] = {}

    def index(text: str) -> int:
        return table.setdefault(text, len(table))

    def item(c: Completion) -> dict[str, Any]:
        values: dict[float | None, int] = {}
        places = [
            values.setdefault(None if a is None or not np.isfinite(a) else float(f"{a:.4g}"), len(values))
            for a in c.advantage
        ]
        return {
            "r": c.reward if np.isfinite(c.reward) else None,
            "n": c.length,
            "t": [index(t) for t in c.text],
            "l": _thousandths(c.logprob),
            "e": _thousandths(c.entropy),
            "a": list(values),
            "i": places if len(values) > 1 else [],
            "p": [number for span in c.spans for number in span],
        }

    out = []
    for run, found in zip(runs, shown, strict=True):
        steps = [
            {
                "step": step,
                "groups": [
                    {"id": g.prompt_id, "prompt": g.prompt, "items": [item(c) for c in g.completions]} for g in groups
                ],
            }
            for step, groups in found.steps.items()
        ]
        out.append(
            {"name": run.name, "role": run.role, "grams": gram_facts(run), "steps": steps, "none": found.why_none}
        )
    return {"runs": out, "strings": list(table)}


def _thousandths(values: Sequence[float | None] | None) -> list[int | None] | None:
    if values is None:
        return None
    return [None if v is None or not np.isfinite(v) else round(1000 * v) for v in values]
