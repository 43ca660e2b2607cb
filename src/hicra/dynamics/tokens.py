"""The two kinds of tokens through training: perplexity, entropy, log-prob, share and length, with bands over prompts.

    log-prob of a kind        sum over its tokens of log p / number of them                       nats
    relative perplexity       exp(-log-prob) at the step / the same at the first step that has one
    token entropy             sum over its tokens of H(pi(. | context)) / number of them          nats
    planning share            planning tokens / all tokens that carry loss
    length, truncated, reward means over completions
    no signal                 groups whose rewards are all equal / groups of two or more

Definitions: arXiv 2509.03646. Means are ratios of sums over a step's tokens, never means of means. Bands come from a
bootstrap over prompts (`hicra.dynamics.resample`); that of the relative perplexity includes the noise of the first
step.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hicra.dynamics.reading import Completions
from hicra.dynamics.resample import banded, ratio, step_sums
from hicra.dynamics.series import Floats, Ints, Series

KINDS = ("planning", "execution")

_PAIRS = {
    **{f"logprob_{k}": (f"sum_logprob_{k}", f"n_{k}", "nats") for k in KINDS},
    **{f"entropy_{k}": (f"sum_entropy_{k}", f"n_{k}", "nats") for k in KINDS},
    "entropy": ("sum_entropy", "n_tokens", "nats"),
    "planning_share": ("n_planning", "n_tokens", "share"),
    "length": ("length", "n", "tokens"),
    "truncated": ("truncated", "n", "share"),
    "reward": ("reward", "n", ""),
    "no_signal": ("flat_groups", "groups", "share"),
}
"""Series -> what is summed, over what, unit."""


def token_series(completions: Completions, *, seed: int = 0) -> tuple[dict[str, Series], dict[str, str]]:
    """Every series of this module that the run has columns for.

    Returns:
        Series by name (the keys of the table above and ``relative_perplexity_*``), and for what is missing the reason.
    """
    sums, step_of = prompt_sums(completions)
    series: dict[str, Series] = {}
    missing: dict[str, str] = {}
    columns, places = [], {}
    for name, (top, bottom, _) in _PAIRS.items():
        a, b = sums[top], sums[bottom]
        known = np.isfinite(a) & np.isfinite(b)
        columns += [np.where(known, a, 0.0), np.where(known, b, 0.0)]
        places[name] = len(columns) - 2
        if not known.any():
            missing[name] = _LACKING.get(top, f"the run has no column {top}")
        elif not columns[-1].any():
            missing[name] = _NOTHING.get(bottom, "there is nothing to average over")
    steps = completions.steps
    resampled = step_sums(np.stack(columns, axis=1), step_of, len(steps), seed=seed)
    for name, (_, _, unit) in _PAIRS.items():
        if name in missing:
            continue
        value, drawn = ratio(resampled, places[name], places[name] + 1)
        series[name] = banded(steps, value, drawn, unit)
        if name.startswith("logprob_"):
            relative = f"relative_perplexity_{name.removeprefix('logprob_')}"
            series[relative] = banded(steps, *relative_perplexity(value, drawn))
    for kind in KINDS:
        if (reason := missing.get(f"logprob_{kind}")) is not None:
            missing[f"relative_perplexity_{kind}"] = reason
    return series, missing


_NOTHING = {
    "n_planning": "the run has no planning tokens",
    "n_execution": "the run has no execution tokens",
    "groups": "no prompt was sampled twice in a step, with a reward each time",
}
_LACKING = {
    "reward": "the run has no rewards",
    "sum_entropy": "the run has no token entropies",
    **{f"sum_entropy_{k}": "the run has no token entropies" for k in KINDS},
    **{f"sum_logprob_{k}": "the run has no log-probs" for k in KINDS},
}


def relative_perplexity(logprob: Floats, replicates: Floats) -> tuple[Floats, Floats]:
    """exp(logprob_first - logprob_s): perplexity over its value at the first step that has one.

    Args:
        logprob: (S,) mean log-prob, nats.
        replicates: (S, R) the same on resampled prompts.

    Returns:
        (S,) and (S, R).
    """
    known = np.flatnonzero(np.isfinite(logprob))
    first = known[0] if len(known) else 0
    return np.exp(logprob[first] - logprob), np.exp(replicates[first] - replicates)


def prompt_sums(completions: Completions) -> tuple[Mapping[str, Floats], Ints]:
    """Sums of each prompt of each step, and the index of its step.

    Returns:
        Name -> (M,): the run's own columns, and ``n`` (completions), ``n_tokens``, ``sum_entropy``, ``groups`` (of two
        completions or more, all with rewards) and ``flat_groups`` (those whose rewards are equal); and the (M,)
        indices of steps, ascending.
    """
    c = completions
    values = {
        **c.columns,
        "n": np.ones(len(c)),
        "n_tokens": c.columns["n_planning"] + c.columns["n_execution"],
    }
    # a completion without planning tokens may have no entropy of them: nothing to add, not unknown
    for quantity in ("entropy", "logprob"):
        for kind in KINDS:
            name = f"sum_{quantity}_{kind}"
            other = values[f"sum_{quantity}_{KINDS[kind == 'planning']}"]
            nothing = np.isnan(values[name]) & (values[f"n_{kind}"] == 0) & np.isfinite(other)
            values[name] = np.where(nothing, 0.0, values[name])
    values["sum_entropy"] = values["sum_entropy_planning"] + values["sum_entropy_execution"]
    key = c.step_of * (int(c.prompt.max(initial=0)) + 1) + c.prompt
    keys, row = np.unique(key, return_inverse=True)
    out = {name: np.bincount(row, column, len(keys)).astype(np.float64) for name, column in values.items()}
    first_of_group, group = np.unique(c.group, return_index=True, return_inverse=True)[1:]
    size, reward = np.bincount(group), c.columns["reward"]
    scored = np.bincount(group, np.isfinite(reward)) == size
    known = scored[group]
    low, high = np.full(len(size), np.inf), np.full(len(size), -np.inf)
    np.minimum.at(low, group[known], reward[known])
    np.maximum.at(high, group[known], reward[known])
    compared = scored & (size > 1)
    for name, kept in (("groups", compared), ("flat_groups", compared & (low == high))):
        out[name] = np.bincount(row[first_of_group], kept.astype(np.float64), len(keys)).astype(np.float64)
    return out, keys // (int(c.prompt.max(initial=0)) + 1)
