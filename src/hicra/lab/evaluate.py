"""Judging a model of the lab on problems that it has never seen."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hicra.lab.intervals import mean_interval
from hicra.lab.verifier import attempts, equations, is_right
from hicra.lab.world import Problem

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    from hicra.lab.sampler import Samples
    from hicra.labels.labeller import Labeller, Labels


RAREFIED = 200
"""Occurrences of grams that the rarefied semantic entropy is about."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Metrics over all completions, and one row for each (`item`, `sample`, `correct`, `length`)."""

    metrics: dict[str, float]
    items: list[dict[str, Any]]

    def save_items(self, path: Path) -> None:
        """Write the rows as Parquet, whole or not at all."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pa.schema(
            [("item", pa.string()), ("sample", pa.int32()), ("correct", pa.bool_()), ("length", pa.int32())]
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        pq.write_table(pa.Table.from_pylist(self.items, schema=schema), part)
        part.replace(path)


def evaluate(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    labeller: Labeller,
    problems: Sequence[Problem],
    *,
    samples: int,
    max_tokens: int,
    seed: int,
) -> Evaluation:
    """Draw `samples` completions of each problem at temperature 1 and measure them. Torch's global random state is
    left alone.

    Metrics: accuracy (share of completions with an earned answer; its 95 % interval over problems is accuracy_low to
    accuracy_high), length (tokens), truncated (share),
    execution_error (share of wrong equations), attempts (a completion), approach_entropy_bits and
    first_approach_entropy_bits (which approach is announced, at all and first), semantic_entropy_bits and
    semantic_entropy_clusters_bits (which gram, which cluster), semantic_entropy_rarefied_bits (which gram, among
    `RAREFIED` occurrences: completions that only get longer do not raise it; NaN where there are fewer),
    planning_share, perplexity and entropy (nats a token) of both kinds of tokens, n (completions). What is undefined,
    for want of occurrences, is left out.
    """
    import torch

    from hicra.lab.sampler import Sampler

    asked = [problem for problem in problems for _ in range(samples)]
    drawn = Sampler(model).sample(
        [tokenizer(problem.prompt)["input_ids"] for problem in asked],
        max_tokens,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        generator=torch.Generator().manual_seed(seed),
    )
    ids = drawn.ids()
    texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
    correct = [is_right(problem, text) for problem, text in zip(asked, texts, strict=True)]
    labels = labeller.label(drawn.tokens_BT, drawn.mask_BT)
    by_problem = [correct[i : i + samples] for i in range(0, len(correct), samples)]
    accuracy, low, high = mean_interval([sum(found) / samples for found in by_problem])
    metrics = {
        "accuracy": accuracy,
        "accuracy_low": max(0.0, low),
        "accuracy_high": min(1.0, high),
        "length": sum(map(len, ids)) / len(asked),
        "truncated": sum(row[-1] != tokenizer.eos_token_id for row in ids) / len(asked),
        "n": float(len(asked)),
        **_procedure_and_strategy(texts),
        **_phrases(labels, labeller),
        **_by_kind(drawn, labels),
    }
    rows = [
        {"item": problem.id, "sample": i % samples, "correct": right, "length": len(row)}
        for i, (problem, right, row) in enumerate(zip(asked, correct, ids, strict=True))
    ]
    return Evaluation(metrics, rows)


def _procedure_and_strategy(texts: Sequence[str]) -> dict[str, float]:
    written = [right for text in texts for right in equations(text)]
    announced = [[attempt.approach for attempt in attempts(text) if attempt.approach] for text in texts]
    metrics = {"attempts": sum(map(len, announced)) / len(texts)}
    if written:
        metrics["execution_error"] = 1 - sum(written) / len(written)
    if any(announced):
        metrics["approach_entropy_bits"] = _entropy_bits([name for names in announced for name in names])
        metrics["first_approach_entropy_bits"] = _entropy_bits([names[0] for names in announced if names])
    return metrics


def _entropy_bits(names: Sequence[str | None]) -> float:
    import numpy as np

    from hicra.dynamics.semantic import entropy_bits

    return float(entropy_bits(np.array(list(Counter(names).values()))))


def _phrases(labels: Labels, labeller: Labeller) -> dict[str, float]:
    import numpy as np

    from hicra.dynamics.semantic import cluster_counts, entropy_bits, rarefied_entropy_bits

    grams = labeller.grams
    counts = np.bincount(labels.gram_id[labels.begin].numpy(), minlength=len(grams))
    if not counts.sum():
        return {}
    return {
        "semantic_entropy_bits": float(entropy_bits(counts)),
        "semantic_entropy_rarefied_bits": float(rarefied_entropy_bits(counts, RAREFIED)),
        "semantic_entropy_clusters_bits": float(entropy_bits(cluster_counts(counts, grams.cluster_id))),
    }


def _by_kind(drawn: Samples, labels: Labels) -> dict[str, float]:
    planning = labels.mask & drawn.mask_BT
    metrics = {"planning_share": float(planning.sum() / drawn.mask_BT.sum())}
    for name, kind in (("planning", planning), ("execution", drawn.mask_BT & ~planning)):
        if kind.any():
            metrics[f"perplexity_{name}"] = math.exp(-float(drawn.logprobs_BT[kind].mean()))
            metrics[f"entropy_{name}"] = float(drawn.entropies_BT[kind].mean())
    return metrics
