"""Sums of a completion and means of a step, from per-token columns: what a run directory holds beside the text.

Engines that train take these from the loss (`hicra.credit.sums`); runs of other tools, and runs that were scored
afterwards, take them from their rows. Names and definitions are the same:

    planning_share      n_planning / (n_planning + n_execution)
    entropy_*           mean token entropy of that kind, nats
    logprob_*           mean log-prob of that kind, nats;   perplexity_* = exp(-logprob_*)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hicra.dynamics.semantic import cluster_counts, entropy_bits

NO_LOGPROBS = "no token log-probs: perplexity by token kind is switched off (hicra score fills them in)"
NO_ENTROPIES = "no token entropies: entropy by token kind and high-entropy tokens are switched off (hicra score)"
"""Notes of a run directory that scoring takes back."""

Floats = npt.NDArray[np.floating[Any]]
Flags = npt.NDArray[np.bool_]


def sums_by_kind(
    planning: Flags, mask: Flags | None, logprob: Floats | None = None, entropy: Floats | None = None
) -> dict[str, Any]:
    """The columns ``n_*`` and ``sum_*`` of a completion.

    Args:
        planning: (T,) planning tokens.
        mask: (T,) tokens that carry loss; None: all.
        logprob, entropy: (T,) nats; NaN where unknown, None for none at all. A sum is None unless every token that
            carries loss has a value: a partial one would pass for a whole one.
    """
    own = np.ones(len(planning), np.bool_) if mask is None else mask
    kinds = {"planning": planning & own, "execution": ~planning & own}
    out: dict[str, Any] = {f"n_{name}": int(kind.sum()) for name, kind in kinds.items()}
    for column, values in (("logprob", logprob), ("entropy", entropy)):
        known = values is not None and bool(np.isfinite(values[own]).all())
        for name, kind in kinds.items():
            out[f"sum_{column}_{name}"] = (
                float(values[kind].sum(dtype=np.float64)) if known and values is not None else None
            )
    return out


def occurrences(gram_id: npt.NDArray[np.integer[Any]], begin: Flags) -> dict[str, list[int]]:
    """The columns ``gram_ids`` and ``gram_counts`` of a completion."""
    ids, counts = np.unique(gram_id[begin & (gram_id >= 0)], return_counts=True)
    return {"gram_ids": ids.tolist(), "gram_counts": counts.tolist()}


def step_metrics(
    rows: Sequence[Mapping[str, Any]],
    n_grams: int,
    cluster_id: npt.NDArray[np.integer[Any]] | None = None,
) -> dict[str, float]:
    """Metrics of a step by their names in ``metrics.jsonl``.

    Args:
        rows: its completions: columns of `hicra.traces.schema.COMPLETION_COLUMNS`.
        n_grams: K, size of the gram set.
        cluster_id: (K,) cluster of each gram, -1 for none.

    Returns:
        What there are values for; a mean over something that some completion does not know is left out.
    """
    if not rows:
        return {}
    n = {kind: sum(row[f"n_{kind}"] for row in rows) for kind in ("planning", "execution")}
    rewards = [row["reward"] for row in rows if not math.isnan(row["reward"])]
    out: dict[str, float] = {"length": sum(row["length"] for row in rows) / len(rows)}
    if rewards:
        out["reward"] = sum(rewards) / len(rewards)
    if all(row["truncated"] is not None for row in rows):
        out["truncated"] = sum(row["truncated"] for row in rows) / len(rows)
    if total := sum(n.values()):
        out["planning_share"] = n["planning"] / total
    for kind, count in n.items():
        out[f"n_{kind}"] = float(count)
        for column in ("logprob", "entropy"):
            sums = [row.get(f"sum_{column}_{kind}") for row in rows]
            if count and not any(value is None for value in sums):
                out[f"{column}_{kind}"] = sum(map(float, sums)) / count  # type: ignore[arg-type]
        if (logprob := out.get(f"logprob_{kind}")) is not None:
            out[f"perplexity_{kind}"] = math.exp(min(-logprob, 700.0))
    counts = np.zeros(n_grams, np.int64)
    for row in rows:
        np.add.at(counts, np.asarray(row["gram_ids"], np.int64), np.asarray(row["gram_counts"], np.int64))
    out["n_occurrences"] = float(counts.sum())
    if counts.sum():
        out["semantic_entropy_bits"] = entropy_bits(counts)
        if cluster_id is not None and (clusters := cluster_counts(counts, cluster_id)).sum():
            out["semantic_entropy_clusters_bits"] = entropy_bits(clusters)
    return out
