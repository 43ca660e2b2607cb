"""One generated batch, from its scoring until the loss has seen all of it once.

TRL generates a batch, shuffles it, splits it into micro-batches, buffers these and may go through them several times.
A row index that travels with the batch (`ROW`) says which generated row a loss row is, whatever was done to it in
between. Only the first pass is recorded: later ones see tokens that were already trained on, so that their
log-probabilities are no longer those of a sample of the policy.

Letters: B rows of this process, T completion tokens (padded), b rows of one micro-batch.
"""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from hicra.errors import DataError, HicraWarning

if TYPE_CHECKING:
    from hicra.credit.apply import HicraCredit, Sums
    from hicra.labels.labeller import Labels

ROW = "hicra_row"
"""Key of the (B,) row index in TRL's batch."""


class OnHost:
    """A small tensor on its way to the host.

    Making one does not wait for the device. Reading waits for what was queued before it was made and no more: nothing,
    where somebody else has waited for the device in between.
    """

    def __init__(self, tensor: torch.Tensor) -> None:
        self._value, self._copied = tensor, None
        if tensor.is_cuda:
            self._value = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._value.copy_(tensor, non_blocking=True)
            self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._copied.record()

    def read(self) -> list[Any]:
        """The numbers."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._value.tolist()


@dataclass(frozen=True)
class Seen:
    """What the loss computed for b rows on their first pass: log-probs and entropies (b,T) in nats."""

    logprobs: torch.Tensor
    entropies: torch.Tensor
    bad: OnHost
    """How many of the rows have a log-prob, and how many an entropy, that is not finite."""


@dataclass(frozen=True)
class Pass:
    """What the loss saw of b rows: log-probs, entropies (b,T) in nats, and the advantages it used, (b,) or (b,T)."""

    rows: torch.Tensor
    logprobs: torch.Tensor
    entropies: torch.Tensor
    advantages: torch.Tensor
    by_kind: torch.Tensor
    """(b,6): n, sum of log-prob, sum of entropy, each for planning tokens and then for execution tokens."""


@dataclass
class Generation:
    """B completions of this process, in the order in which they were generated.

    Attributes:
        number: index of the generation in the run, counted from 0.
        alpha: the amplification that its advantages got.
        prompts: (B,P) prompt tokens as the model saw them, and their (B,P) mask.
        prompt_ids: B names of prompts.
        token_ids: B lists of completion tokens, environment tokens included.
        groups: B global numbers of groups.
        rewards: B total rewards; NaN where no reward function applied.
        mask: (B,T) bool, tokens that carry loss.
        labels: (B,T) labels.
        advantages: (B,) or (B,T), before hicra.
    """

    number: int
    alpha: float
    prompts: tuple[torch.Tensor, torch.Tensor]
    prompt_ids: list[str]
    token_ids: list[list[int]]
    groups: list[int]
    rewards: list[float]
    truncated: list[bool]
    mask: torch.Tensor
    labels: Labels
    advantages: torch.Tensor
    passes: list[Pass] = field(default_factory=list)
    sums: Sums | None = None

    def __len__(self) -> int:
        return len(self.token_ids)

    def complete(self) -> bool:
        """Whether every row went through the loss."""
        return sum(len(p.rows) for p in self.passes) >= len(self)

    def rows_of(self, rows: torch.Tensor) -> tuple[Labels, torch.Tensor]:
        """Labels and mask of some rows, (b,T) each."""
        parts = {f.name: getattr(self.labels, f.name) for f in dataclasses.fields(self.labels)}
        taken = {name: None if part is None else part[rows] for name, part in parts.items()}
        return type(self.labels)(**taken), self.mask[rows]

    def look(self, rows: torch.Tensor, logprobs: torch.Tensor, entropies: torch.Tensor) -> Seen:
        """Take what the forward of the loss gave for b rows, and ask whether it is finite, without waiting to hear."""
        mask = self.mask[rows]
        bad = torch.stack([(~v.isfinite() & mask).any(1).sum() for v in (logprobs, entropies)])
        return Seen(logprobs, entropies, OnHost(bad))

    def observe(
        self, credit: HicraCredit, rows: torch.Tensor, seen: Seen, advantages: torch.Tensor, *, step: int
    ) -> None:
        """Take in what the loss computed for b rows on its first pass.

        Nothing here waits for the device: TRL's loss has, for its own metrics, since `look` asked.

        Raises:
            DataError: a log-probability is not finite; raised before the gradient is applied.
        """
        bad = seen.bad.read()
        labels, mask = self.rows_of(rows)
        planning = labels.mask & mask
        execution = mask & ~planning
        logprobs, entropies = seen.logprobs, seen.entropies
        exact = torch.float32 if logprobs.device.type == "mps" else torch.float64

        def by_kind(value: torch.Tensor) -> list[torch.Tensor]:
            # `where` before the sum: what stands on padding may be anything, infinities too
            return [torch.where(kind, value, 0.0).to(exact).sum(1) for kind in (planning, execution)]

        columns = [planning.sum(1).to(exact), execution.sum(1).to(exact), *by_kind(logprobs), *by_kind(entropies)]
        table = torch.stack(columns, 1)
        if bad[0]:
            raise DataError(
                f"the model gave a log-probability that is not finite at step {step}",
                expected="finite log-probabilities of the sampled tokens",
                got=f"{bad[0]} of {len(rows)} completions with NaN or infinity",
                mend="lower the learning rate or max_grad_norm, or train in bfloat16 / float32 instead of float16",
            )
        if bad[1]:  # a model may set logits to minus infinity and train well; only its entropies cannot be told
            warnings.warn(
                f"token entropies are not finite in {bad[1]} of {len(rows)} completions at step {step}: their means "
                "are left out",
                HicraWarning,
                stacklevel=2,
            )
        sums = credit.observe(
            labels,
            mask,
            logprobs=logprobs,
            entropies=None if bad[1] else entropies,
            advantages_before=self.advantages[rows],
            advantages_after=advantages,
        )
        self.sums = sums if self.sums is None else self.sums + sums
        self.passes.append(Pass(rows, logprobs, entropies, advantages, table))
