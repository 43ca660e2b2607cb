"""Sums of one mode (training or evaluation), reduced over processes once and turned into metrics.

A step's sums are one vector: the loss, sums over completions, then `hicra.credit.Sums`. What was reduced is kept twice:
for the step that is being committed, and for everything since the last log line.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from hicra.credit.sums import Sums
from hicra.dynamics.semantic import cluster_counts, entropy_bits
from hicra.engines.generation import Generation

if TYPE_CHECKING:
    from hicra.grams.gramset import GramSet

_HEAD = ("loss", "completions", "scored", "reward", "length", "truncated", "alpha")
"""Sums in front of the vector: over micro-batches (loss), over completions (the others)."""

_NAMES = {
    "completions/mean_length": "length",
    "completions/clipped_ratio": "truncated",
}
_OWN = ("num_tokens", "reward", *_NAMES)
"""TRL's metrics that the run directory has from the rows themselves."""


def flat_name(name: str) -> str:
    """A metric's name in the run directory: TRL's, without hicra's prefix, and length and truncation by ours."""
    name = name.removeprefix("hicra/")
    return _NAMES.get(name, name)


class Meter:
    """Local sums, waiting to be reduced, and reduced ones, waiting to be reported."""

    def __init__(self, grams: GramSet) -> None:
        self._grams = grams
        self._loss: list[torch.Tensor] = []
        self._waiting: list[torch.Tensor] = []
        self._step: torch.Tensor | None = None
        self._log: torch.Tensor | None = None
        self._marks: dict[str, int] = {}

    def add_loss(self, loss: torch.Tensor) -> None:
        """Take in the loss of a micro-batch; their sum over a step is the step's, as the trainer reports it."""
        self._loss.append(loss.detach())

    def add(self, generation: Generation) -> None:
        """Take in a generation that has gone through the loss."""
        assert generation.sums is not None
        vector = generation.sums.to_tensor()
        scored = [r for r in generation.rewards if not math.isnan(r)]
        length, truncated = sum(map(len, generation.token_ids)), sum(generation.truncated)
        n = len(generation)
        head = [0.0, n, len(scored), sum(scored), length, truncated, generation.alpha * n]
        self._waiting.append(torch.cat([vector.new_tensor(head), vector]))

    def reduce(self, accelerator: Any) -> None:
        """Add what is waiting over all processes, every one of which has to call this; None: this one has it all."""
        if not self._loss and not self._waiting:
            return
        device = (self._waiting or self._loss)[0].device
        nothing = Sums.zeros(len(self._grams), device).to_tensor()
        local = torch.stack([torch.cat([nothing.new_zeros(len(_HEAD)), nothing]), *self._waiting]).sum(0)
        if self._loss:
            local[0] = torch.stack(self._loss).sum() / accelerator.num_processes
        self._loss, self._waiting = [], []
        reduced = local.cpu() if accelerator is None else accelerator.reduce(local, reduction="sum").cpu()
        self._step = reduced if self._step is None else self._step + reduced
        self._log = reduced if self._log is None else self._log + reduced

    def since_log(self) -> dict[str, float]:
        """Metrics since the last call, by their names without prefix; what TRL reports itself is left out."""
        vector, self._log = self._log, None
        self._marks = {}  # TRL clears its lists when it logs
        metrics = {} if vector is None else self._metrics(vector)
        return {k: v for k, v in metrics.items() if k not in ("loss", "reward", "length", "truncated")}

    def step(self, trl: Mapping[str, Sequence[float]]) -> dict[str, float]:
        """Metrics of the step, and the mean of what TRL has added to its own lists since the last call."""
        vector, self._step = self._step, None
        fresh = {name: list(values)[self._marks.get(name, 0) :] for name, values in trl.items() if name not in _OWN}
        self._mark(trl)
        metrics = {flat_name(name): sum(values) / len(values) for name, values in fresh.items() if values}
        return metrics | ({} if vector is None else self._metrics(vector))

    def _mark(self, trl: Mapping[str, Sequence[float]]) -> None:
        self._marks = {name: len(values) for name, values in trl.items()}

    def state(self) -> list[float] | None:
        """Reduced sums since the last log line."""
        return None if self._log is None else self._log.tolist()

    def restore(self, state: list[float] | None, trl: Mapping[str, Sequence[float]]) -> None:
        """Go on from a saved state, with TRL's lists as they were."""
        self._log = None if state is None else torch.tensor(state, dtype=torch.float64)
        self._mark(trl)

    def _metrics(self, vector: torch.Tensor) -> dict[str, float]:
        head = dict(zip(_HEAD, vector[: len(_HEAD)].tolist(), strict=True))
        metrics = {"loss": head["loss"]}
        if not head["completions"]:  # a step within a generation: nothing new was sampled
            return metrics
        sums = Sums.from_tensor(vector[len(_HEAD) :])
        n = head["completions"]
        metrics |= {name: head[name] / n for name in ("length", "truncated", "alpha")}
        metrics["reward"] = head["reward"] / head["scored"] if head["scored"] else math.nan
        metrics |= sums.metrics()
        counts = sums.gram_counts
        metrics["n_occurrences"] = float(counts.sum())
        if counts.sum():
            metrics["semantic_entropy_bits"] = entropy_bits(counts)
            clusters = cluster_counts(counts, self._grams.cluster_id)
            if clusters.sum():
                metrics["semantic_entropy_clusters_bits"] = entropy_bits(clusters)
        return metrics
